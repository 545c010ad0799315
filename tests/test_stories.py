"""docs/checking.md: its code runs, in order, and prints what stands below it; so do its stories."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import manual_bp as mbp
from printed import blocks, without_distances

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "checking.md"
PUBLISHED = json.loads((ROOT / "tests" / "published.json").read_text())["mazur"]


@pytest.fixture(scope="module")
def guide():
    """What the Python blocks leave behind, having printed what they show."""
    namespace = {"__name__": "guide"}
    before = jax.config.jax_enable_x64
    try:
        for kind, code, expected in blocks(GUIDE):
            if kind != "python":
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, "docs/checking.md", "exec"), namespace)
            assert without_distances(out.getvalue()) == without_distances(expected or "")
            if "def test_my_backward_pass" in code:  # while its names mean what they do there
                with pytest.raises(AssertionError, match="Wrong") as failure:
                    namespace["test_my_backward_pass"]()
                namespace["failure"] = str(failure.value)
        yield namespace
    finally:
        jax.config.update("jax_enable_x64", before)


def test_the_guide_has_its_parts():
    kinds = [kind for kind, _, _ in blocks(GUIDE)]
    assert kinds.count("python") >= 7
    assert kinds.count("sh") == 1
    shown = [expected for _, _, expected in blocks(GUIDE) if expected]
    assert len(shown) >= 7
    assert all(len(line) <= 100 for text in shown for line in text.splitlines())
    for link in re.findall(r"\]\(([\w./]+)\)", GUIDE.read_text()):
        assert (GUIDE.parent / link).exists(), link


def test_what_the_guide_shows_is_what_it_prints(guide):
    assert callable(guide["mine"])


def test_distances_alone_are_left_out():
    said = "by 0.013 of\n  what rounding allows; 1.2e-06 of what rounding allows, 5,100 times what"
    said += "\n  rounding allows, η = 0.5, layer 1"
    assert without_distances(said) == (
        "by … of what rounding allows; … of what rounding allows, … times what rounding allows, "
        "η = 0.5, layer 1"
    )


def test_the_line_for_a_test_suite(guide):
    shown = next(text for _, code, text in blocks(GUIDE) if "def mine" in code)
    assert without_distances(guide["failure"]) == without_distances(shown)


def test_the_worked_example(guide):
    """The published cost is that of the program in the guide, and the finding says why."""
    printed = next(text for _, code, text in blocks(GUIDE) if "W2 -= eta" in code)
    wrong, right = (
        PUBLISHED["published_but_wrong"]["cost_after_one_step"],
        PUBLISHED["cost_after_one_step_biases_fixed"],
    )
    assert f"{wrong:.9f}" in printed
    assert f"With the two lines exchanged it is {right:.9f}." in GUIDE.read_text()
    assert [W.tolist() for W, _ in guide["before"]] == PUBLISHED["W"]
    assert [b.tolist() for _, b in guide["before"]] == PUBLISHED["b"]

    code = next(code for _, code, _ in blocks(GUIDE) if "W2 -= eta" in code)
    update, delta1 = "W2 -= eta * dW2\n", "delta1 = W2.T @ delta2 * a1 * (1 - a1)\n"
    assert update + delta1 in code
    namespace = {"np": guide["np"], "mbp": mbp}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code.replace(update + delta1, delta1 + update), namespace)
    assert f"{right:.9f}" in out.getvalue()
    net = mbp.Network((2, 2, 2), ("sigmoid", "sigmoid"), "quadratic")
    before, x, y = namespace["before"], namespace["x"], namespace["y"]
    for names, ok in ((guide, False), (namespace, True)):
        gradients = (names["dW1"], names["dW2"])
        diagnosis = mbp.check(net, before, x, y, mbp.Backprop(dW=gradients))
        assert diagnosis.ok == ok
        if not ok:
            (finding,) = diagnosis.findings
            assert (finding.equation, finding.layer) == ("BP2", 1)
            assert finding.mistake == "weights_updated_first"


def test_the_class_in_columns(guide):
    call = [guide[name] for name in ("net", "params", "x", "y", "columns")]
    (finding,) = mbp.check(*call, convention=guide["convention"]).findings
    assert (finding.equation, finding.layer) == ("BP2", 1)
    assert finding.mistake == "derivative_of_z_as_if_a"
    # Undeclared, the convention is told as well; and put right, there is nothing to tell.
    assert [f.mistake for f in mbp.check(*call).findings] == ["convention", finding.mistake]
    code = next(code for _, code, _ in blocks(GUIDE) if "class Columns" in code)
    assert "(1 - self.Z1**2)" in code
    names = dict(guide)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code.replace("(1 - self.Z1**2)", "(1 - self.A1**2)"), names)
    call[-1] = names["columns"]
    assert mbp.check(*call, convention=guide["convention"]).ok


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_program_in_c(tmp_path):
    """As a reader runs it from the root of the repository, but in a folder of its own."""
    ((_, commands, expected),) = [block for block in blocks(GUIDE) if block[0] == "sh"]
    for name in ("scripts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "JAX_PLATFORMS": "cpu",
        },
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "no_hidden_derivative" in done.stdout
    assert without_distances(done.stdout) == without_distances(expected)
