"""The examples in docstrings and in the README run, and give what they say."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import pytest

import manual_bp

ROOT = pathlib.Path(__file__).parent.parent
MODULES = ["manual_bp"] + [
    module.name for module in pkgutil.walk_packages(manual_bp.__path__, "manual_bp.")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # for what an example writes
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert not result.failed


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    examples = [t for m in MODULES for t in finder.find(importlib.import_module(m)) if t.examples]
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
