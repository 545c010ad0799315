"""manual-bp compare: what it prints, what it writes, how it ends."""

import json
import re

import jsonschema
import numpy as np
import pytest

import manual_bp as mbp
from running import ROOT, call, interrupt, run, started

SCHEMA = json.loads((ROOT / "docs" / "agreement.schema.json").read_text())
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
CLOSING = re.compile(
    r"^([\d,]+) values compared in (\d+) steps?, ([\d,]+) agreed\.\n"
    r"The worst one differed by .* rounding allows \(\S+ at step \d+\)\.$"
)
# As few neurons as the digits allow: what these runs cost is compiling.
TINY = ["--sizes", "64-2-10", "--batch", "2", "--steps", "1"]


def closing(out):
    return CLOSING.match("\n".join(out.rstrip("\n").splitlines()[-2:]))


# ── The main job ─────────────────────────────────────────────────────────────────────────────────


def test_the_digits(tmp_path):
    written = tmp_path / "out.json"
    done = run("compare.py", "--steps", "3", "--json", written)  # the door, and all behind it
    assert (done.returncode, done.stderr) == (0, "")
    assert not CONTROL.search(done.stdout)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == (
        "64-32-10 tanh/softmax/cross_entropy on 1,797 examples of digits, float32 on cpu"
    )
    steps = [line for line in lines if re.match(r"step +\d+  cost ", line)]
    assert len(steps) == 3
    assert all("agrees" in line for line in steps)
    for name in ("forward a⁰", "forward z¹", "BP1 δ²", "BP2 δ¹", "BP3 ∂C/∂b¹", "BP4 ∂C/∂W²"):
        assert sum(line.startswith(name) for line in lines) == 1
    # a⁰, then z, a and δ of both layers; W and b; C
    each = 128 * 64 + 3 * 128 * (32 + 10) + (64 + 1) * 32 + (32 + 1) * 10 + 1
    values = f"{3 * each:,}"
    assert closing(done.stdout).groups() == (values, "3", values)

    result = json.loads(written.read_text(), parse_constant=pytest.fail)
    assert (result["format"], result["version"], result["ok"]) == ("manual_bp.compare", 1, True)
    assert [step["step"] for step in result["steps"]] == [1, 2, 3]
    assert [step["values"] for step in result["steps"]] == [each] * 3
    costs = [step["cost"] for step in result["steps"]]
    assert costs[0] > costs[-1]
    assert result["settings"]["steps"] == 3
    jsonschema.Draft202012Validator(SCHEMA).validate(result["last"])
    assert list(tmp_path.iterdir()) == [written]


def test_other_data_dtypes_batches_and_witnesses(tmp_path):
    rng = np.random.default_rng(0)
    npz = tmp_path / "few.npz"
    np.savez(npz, x=rng.normal(size=(5, 3)), y=np.eye(2)[rng.integers(2, size=5)])
    written = tmp_path / "out.json"
    small = ["--data", str(npz), "--sizes", "3-2-2", "--steps", "1"]
    calls = {
        "npz": small,
        "quiet": [*small, "--quiet"],
        "all": [*small, "--witness", "all", "--json", str(written)],
        "other names": [*small, "--activation", "relu", "--output", "tanh", "--l2", "0.1"],
        "bfloat16": ["--data", str(npz), "--sizes", "3-2", "--steps", "1", "--dtype", "bfloat16"],
        "one layer, one example": [
            *("--sizes", "64-10", "--batch", "1", "--steps", "2"),
            *("--dtype", "float64", "--precision", "default"),
        ],
    }
    done = {name: call("compare", *arguments) for name, arguments in calls.items()}
    for name, (code, out, err) in done.items():
        assert (code, err) == (0, ""), (name, out, err)
        assert closing(out), (name, out)
        assert not CONTROL.search(out), name
    assert done["quiet"][1].count("\n") == 2
    assert closing(done["one layer, one example"][1])[2] == "2"
    assert "on 5 examples of" in done["npz"][1]
    assert "3-2-2 relu/tanh/quadratic + 0.1/2·‖W‖²" in done["other names"][1]
    assert "arithmetic: bfloat16, sums in float32" in done["bfloat16"][1]
    assert "arithmetic: float64" in done["one layer, one example"][1]

    out = done["all"][1]
    assert "each held against autodiff, summation, numerical" in out
    matrix = out[out.index("Each pair") :].splitlines()
    assert [line.split()[0] for line in matrix[2:5]] == ["autodiff", "summation", "numerical"]
    assert [line.count("agree ") for line in matrix[2:5]] == [1, 2, 3]
    pairs = json.loads(written.read_text())["pairs"]
    assert len(pairs) == 6
    for pair in pairs.values():
        jsonschema.Draft202012Validator(SCHEMA).validate(pair)
        assert pair["ok"]


# ── Something disagrees ──────────────────────────────────────────────────────────────────────────


def test_a_disagreement_ends_with_1_and_says_where(tmp_path, monkeypatch):
    right, factors = mbp.backprop, iter([1, 2, float("nan")])

    def backprop(*args):
        step = right(*args)
        return step._replace(dW=(step.dW[0], step.dW[1] * next(factors)))

    monkeypatch.setattr(mbp, "backprop", backprop)
    files = [tmp_path / "wrong.json", tmp_path / "nan.json"]
    steps = [*TINY[:-1], "5"]
    wrong, nan = (call("compare", *steps, "--json", file) for file in files)
    for (code, out, err), verdict, file in zip(
        (wrong, nan), ("disagrees", "nonfinite"), files, strict=True
    ):
        assert (code, err) == (1, ""), (out, err)
        assert "DISAGREES" in out
        assert "BP4 at layer 2: ∂C/∂W²[" in out
        result = json.loads(file.read_text(), parse_constant=pytest.fail)
        assert not result["ok"]
        assert {row["verdict"] for row in result["last"]["rows"]} - {"agrees", "undecided"} == {
            verdict
        }
    # The first step was right, the second was not, and the rest was not run.
    total, steps, agreed = closing(wrong[1]).groups()
    assert steps == "2"
    assert 0 < int(total.replace(",", "")) - int(agreed.replace(",", "")) <= 20
    total, steps, agreed = closing(nan[1]).groups()
    assert steps == "1"
    assert int(total.replace(",", "")) - int(agreed.replace(",", "")) == 20


# ── Bad usage ────────────────────────────────────────────────────────────────────────────────────


def test_a_flag_that_is_not_there():
    code, out, err = call("compare", "--learnin-rate", "1")
    assert (code, out) == (2, "")
    assert "Did you mean --learning-rate?" in err
    assert "Traceback" not in err


def test_bad_usage_is_one_line_and_ends_with_2(tmp_path):
    bad = tmp_path / "bad.npz"
    np.savez(bad, x=np.ones((3, 2)))
    calls = {
        "did you mean 'relu'": ["--activation", "rellu"],
        "did you mean 'quadratic'": ["--cost", "quadratc"],
        "did you mean 'softmax'": ["--output", "sofmax"],
        "pass 64-…-10": ["--sizes", "784-30-10"],
        "expected widths such as 64-32-10": ["--sizes", "64"],
        "expected a whole number from 1": ["--steps", "0"],
        "expected a device that is there (cpu), got gpu": ["--device", "gpu"],
        "expected a device that is there (cpu), got tpu": ["--device", "tpu"],
        "nowhere.npz": ["--data", str(tmp_path / "nowhere.npz")],
        "y": ["--data", str(bad)],
        "l2": ["--l2", "-1"],
        "goes with the output activation softmax": ["--output", "tanh", "--cost", "cross_entropy"],
        "make --learning-rate smaller, got 1e+38": [
            *TINY[:-1], "9", "--learning-rate", "1e38", "--activation", "identity",
            "--output", "identity", "--cost", "quadratic",
        ],
    }  # fmt: skip
    for says, arguments in calls.items():
        code, out, err = call("compare", *arguments)
        assert code == 2, (arguments, out, err)
        assert says in err, (arguments, err)
        assert err.count("error: ") == 1
        assert "Traceback" not in err
        assert not closing(out or " ")


# ── Ended from outside ───────────────────────────────────────────────────────────────────────────


def test_ctrl_c_ends_with_130_and_a_closed_pipe_with_0():
    long = [*TINY[:-1], "100000"]
    with started("compare.py", *long) as process:
        for line in process.stdout:
            if line.startswith("step "):
                break
        err = interrupt(process)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err

    with started("compare.py", *long) as process:
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        code = process.wait(timeout=120)
    assert (code, err) == (0, "")
