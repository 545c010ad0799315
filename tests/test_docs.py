"""The examples in docstrings and in the README run, give what they say, and type-check."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import matplotlib.pyplot as plt
import mypy.api
import pytest

import manual_bp
from manual_bp.diagnosis.edits import CATALOGUE
from running import call

ROOT = pathlib.Path(__file__).parent.parent
# The modules that need a library which need not be there.
BRIDGES = {
    f"manual_bp.bridges.{name}": library
    for name, library in (
        ("pytorch", "torch"),
        ("flax", "flax"),
        ("equinox", "equinox"),
        ("keras", "keras"),
    )
}
MODULES = ["manual_bp"] + [
    module.name for module in pkgutil.walk_packages(manual_bp.__path__, "manual_bp.")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, monkeypatch, tmp_path):
    if name in BRIDGES:
        pytest.importorskip(BRIDGES[name])
    monkeypatch.chdir(tmp_path)  # for what an example writes
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert not result.failed


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    modules = [name for name in MODULES if name not in BRIDGES]
    examples = [t for m in modules for t in finder.find(importlib.import_module(m)) if t.examples]
    assert len(examples) >= 5


def test_readme_examples(monkeypatch, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for i, block in enumerate(blocks, start=1):
        if block.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(
                block, namespace, f"block {i}", "README.md", 0
            )
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            assert not runner.run(test, clear_globs=False).failed
            namespace = test.globs
        else:
            exec(compile(block, f"README.md, python block {i}", "exec"), namespace)


def test_the_training_page(monkeypatch, tmp_path, capsys):
    """Its commands and its program, on the file of which it speaks."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    names = [name.removesuffix(" (cm)") for name in iris.feature_names]
    with open(tmp_path / "iris.csv", "w") as file:
        print(*names, "species", sep=",", file=file)
        for x, k in zip(iris.data, iris.target, strict=True):
            print(*x, iris.target_names[k], sep=",", file=file)
    page = (ROOT / "docs" / "training.md").read_text()
    commands, told, program, shown = re.findall(r"^```\w+\n(.*?)^```$", page, re.M | re.S)
    install, *commands = [line.split()[1:] for line in commands.splitlines()]
    assert install == ["install", "manual_bp"]
    (code, out, _), (predicted, classes, right) = (
        call(*command, folder=tmp_path) for command in commands
    )
    assert (code, out.startswith(told), predicted) == (0, True, 0)
    assert classes.split()[:2] == ["setosa", "setosa"]
    assert int(right.split()[0]) >= 140
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/training.md", "exec"), {"__name__": "training"})
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("title", "library"),
    [("PyTorch", "torch"), ("Flax", "flax"), ("Equinox", "equinox"), ("Keras", "keras")],
)
def test_the_bridges_page(title, library, capsys):
    pytest.importorskip(library)
    page = (ROOT / "docs" / "bridges.md").read_text()
    code = re.search(rf"^## {title}\n.*?^```python\n(.*?)^```$", page, re.M | re.S)[1]
    exec(compile(code, f"docs/bridges.md, {title}", "exec"), {"__name__": "bridges"})
    assert capsys.readouterr().out.startswith("Right: 4 of 4 quantities agree.")


def test_the_pictures_page(monkeypatch, tmp_path):
    """Its code makes the picture that it shows, which is small enough for a repository."""
    page, there = (ROOT / "docs" / f"pictures.{kind}" for kind in ("md", "png"))
    code = re.search(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/pictures.md", "exec"), {"__name__": "pictures"})
    made = (tmp_path / "pictures.png").read_bytes()
    assert made[:24] == there.read_bytes()[:24]  # PNG, and the same width and height
    assert len(there.read_bytes()) < 100_000
    plt.close("all")


@pytest.mark.sweep  # mypy reads all of JAX, which takes it half a minute
def test_a_users_file_type_checks(tmp_path):
    """The code that each page shows, as one file of a user's, with mypy's own defaults."""
    files = []
    for page in ("README.md", "docs/checking.md", "docs/pictures.md"):
        blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
        files.append(tmp_path / f"{pathlib.Path(page).stem.lower()}.py")
        files[-1].write_text("\n\n".join(blocks))
    out, err, code = mypy.api.run(
        [*map(str, files), "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    )
    assert code == 0, out + err


def test_the_docs_name_every_mistake():
    page = (ROOT / "docs" / "checking.md").read_text()
    chapter = page.partition("## The mistakes it knows\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", chapter)) - {"forward", "x"} == set(CATALOGUE)
