"""The examples in docstrings and in the README run, give what they say, and type-check."""

import doctest
import importlib
import pathlib
import pkgutil
import re
import types

import matplotlib.pyplot as plt
import mypy.api
import pytest

import manual_bp
from manual_bp.diagnosis.edits import CATALOGUE
from printed import blocks, without_distances
from running import call

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
# An η of 0.1 that was found from numbers in float32: its last digits are the machine's.
FITTED = re.compile(r"η = 0\.(0999|1000?)\d*")
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


def test_readme_examples(monkeypatch, tmp_path, capsys):
    """They run, and print what stands below them."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    compared = 0
    for i, (kind, block, shown) in enumerate(blocks(README), start=1):
        if kind != "python":
            continue
        exec(compile(block, f"README.md, block {i}", "exec"), namespace)
        printed = capsys.readouterr().out
        if shown is not None:
            told, shown = (FITTED.sub("η = 0.1", without_distances(t)) for t in (printed, shown))
            assert told == shown
            compared += 1
    assert compared == 1


def test_what_readme_shows_of_its_first_command():
    """The shapes and verdicts of its table, and the totals; other numbers are the machine's."""
    row = re.compile(r"^(\S+ \S+) +(\([\d, ]+\)) .* (\w+)$", re.M)
    *_, shown = [after for kind, _, after in blocks(README) if kind == "sh" and after]
    code, printed, _ = call("compare")
    assert code == 0
    rows = row.findall(shown)
    assert len(rows) == 7
    assert rows == [found for found in row.findall(printed) if found in rows]
    worst = re.compile(r"\(\S+ at step \d+\)\.$")
    totals, printed = (text.rstrip("\n").splitlines()[-2:] for text in (shown, printed))
    totals, printed = (worst.sub("", without_distances("\n".join(t))) for t in (totals, printed))
    assert totals == printed


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
    commands, told, *programs, of_files = re.findall(r"^```\w+\n(.*?)^```$", page, re.M | re.S)
    install, *commands = [line.split()[1:] for line in commands.splitlines()]
    assert install == ["install", "manual_bp"]
    (code, out, _), (predicted, classes, right) = (
        call(*command, folder=tmp_path) for command in commands
    )
    assert (code, out.startswith(told), predicted) == (0, True, 0)
    assert classes.split()[:2] == ["setosa", "setosa"]
    assert int(right.split()[0]) >= 140
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "training"}
    for program, shown in zip(programs[::2], programs[1::2], strict=True):
        exec(compile(program, "docs/training.md", "exec"), namespace)
        assert capsys.readouterr().out == shown
    assert call(*of_files.split()[1:])[0] == 0


def test_the_page_on_any_gradient(tmp_path, capsys):
    """Its code runs as a file, prints what is shown, and its test is one that finds the mistake."""
    page = [block for block in blocks(ROOT / "docs" / "any_gradient.md") if block[0] == "python"]
    path, told, before = tmp_path / "any_gradient.py", "", ""
    path.write_text("\n".join(code for _, code, _ in page))
    namespace = {"__name__": "any_gradient"}
    for _, code, shown in page:
        # As many empty lines before it, so that a line has the number that it has in the file.
        exec(compile("\n" * before.count("\n") + code, path, "exec"), namespace)
        before += f"{code}\n"
        told = capsys.readouterr().out
        if shown is not None:
            assert without_distances(told) == without_distances(shown)
    with pytest.raises(AssertionError, match="factor_left_out"):
        namespace["test_gradients"]((16, 64), namespace["jnp"].float32)


def test_the_page_on_layers(capsys):
    """Its code prints what is shown."""
    ((_, code, shown),) = blocks(ROOT / "docs" / "layers.md")
    exec(compile(code, "docs/layers.md", "exec"), {"__name__": "layers"})
    assert without_distances(capsys.readouterr().out) == without_distances(shown)


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


def test_the_explorer_page(monkeypatch, tmp_path):
    """Its code writes the pages of which it speaks; its picture is small."""
    page, picture = (ROOT / "docs" / f"explorer.{kind}" for kind in ("md", "png"))
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S))
    exec(compile(code, "docs/explorer.md", "exec"), {"__name__": "explorer"})
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "page.html"}
    assert len(picture.read_bytes()) < 100_000


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 190


@pytest.mark.sweep  # mypy reads all of JAX, which takes it half a minute
def test_a_users_file_type_checks(tmp_path):
    """The code that each page shows, as one file of a user's, with mypy's own defaults."""
    files = []
    for page in ("README.md", "docs/checking.md", "docs/pictures.md", "docs/explorer.md"):
        blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
        files.append(tmp_path / f"{pathlib.Path(page).stem.lower()}.py")
        files[-1].write_text("\n\n".join(blocks))
    out, err, code = mypy.api.run(
        [*map(str, files), "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    )
    assert code == 0, out + err


def test_every_public_name_is_in_the_reference():
    """As the site finds it: `manual_bp.backprop` is a module there, for it reads code unrun."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    listed = [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]
    assert len(listed) == len(set(listed))
    told = {id(pkgutil.resolve_name(name)) for name in listed if name not in BRIDGES}
    for package in map(importlib.import_module, set(MODULES) - set(BRIDGES)):
        for name in getattr(package, "__all__", []):
            thing = getattr(package, name)
            if not isinstance(thing, types.ModuleType):
                assert id(thing) in told, f"{package.__name__}.{name}: add it to docs/reference"
    assert set(BRIDGES) <= set(listed)


def test_the_docs_name_every_mistake():
    page = (ROOT / "docs" / "checking.md").read_text()
    chapter = page.partition("## The mistakes it knows\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", chapter)) - {"forward", "x"} == set(CATALOGUE)
