"""manual-bp golden and check: what they print, how they end."""

import json
import re
import shlex

import numpy as np
import pytest

import manual_bp as mbp
from running import ROOT, call

DOCS = (ROOT / "docs" / "golden.md").read_text()
# The commands of the docs, each on one line.
COMMANDS = [
    shlex.split(line)
    for line in re.search(r"```sh\n(.*?)```", DOCS, re.S)[1].replace("\\\n", "").splitlines()
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the first command of the docs prints, and where it wrote its folder."""
    folder = tmp_path_factory.mktemp("scripts")
    python, script, *arguments = COMMANDS[0]
    assert (python, script) == ("python", "scripts/golden.py")
    return call("golden", *arguments, folder=folder), folder


def test_golden_writes_what_it_says(written):
    (code, out, err), folder = written
    assert (code, err) == (0, "")
    first, second, *files, last = out.splitlines()
    assert first.startswith("4-5-3 tanh/softmax/cross_entropy + 0.01/2·‖W‖², 7 examples, inputs in")
    assert re.match(r"\d+ numbers: x 7×4, y 7×3, W1 5×4, b1 5, .* dW2 3×5, db1 5, db2 3$", second)
    for name, line in zip(("golden.bin", "golden.npz", "golden.json"), files, strict=True):
        size = (folder / "golden" / name).stat().st_size
        assert line == f"wrote golden/{name} ({size:,} bytes)"
    assert last.startswith("Next: manual-bp check golden MINE.npz")


def test_check_judges_and_says_so_by_its_exit_code(written, tmp_path):
    folder = written[1]
    golden = folder / "golden"
    arrays = dict(np.load(golden / "golden.npz"))
    W, delta, a = arrays["W2"], arrays["delta2"], arrays["a1"]

    right = {name: arrays[f"{name}_float32"] for name in ("z1", "a1", "delta1", "dW1", "db1")}
    np.savez(folder / "mine.npz", **right)
    wrong = {
        name: arrays[name].tolist() for name in ("z1", "z2", "a1", "a2", "delta2", "dW2", "db2")
    }
    wrong["delta1"] = (delta @ W).tolist()  # without σ′
    (folder / "wrong.json").write_text(json.dumps(wrong))
    columns = {"a1": a.T, "a2": arrays["a2"].T, "dW2": arrays["dW2"].T, "cost": arrays["cost"]}
    np.savez(folder / "columns.npz", **columns)
    (folder / "bad.json").write_text('{"dW2": [[1, 2')
    python, script, *documented = COMMANDS[1]
    assert (python, script) == ("python", "scripts/check.py")

    plain, found, told, declared, quiet, wide, bad, usage, nothing = (
        call("check", *arguments, folder=folder)
        for arguments in (
            documented,
            ["golden", "wrong.json", "--json", tmp_path / "diagnosis.json"],
            ["golden", "columns.npz"],
            ["golden", "columns.npz", "--examples", "columns", "--weights", "in_out"],
            ["golden", "golden/golden.json", "--quiet"],
            ["golden", "mine.npz", "--dtype", "float64"],
            ["golden", "bad.json"],
            ["golden", "mine.npz", "--exmples", "rows"],
            ["golden"],
        )
    )

    assert plain[0] == 0, plain
    assert plain[1].splitlines()[0] == "mine.npz, of 4-5-3 tanh/softmax/cross_entropy + 0.01/2·‖W‖²"
    assert "Right" in plain[1].splitlines()[1]
    assert plain[2] == ""

    assert found[0] == 1, found
    assert "BP2 at layer 1 [no_hidden_derivative]" in found[1]
    diagnosis = json.loads((tmp_path / "diagnosis.json").read_text())
    assert diagnosis["ok"] is False
    assert [(each["equation"], each["layer"]) for each in diagnosis["findings"]] == [("BP2", 1)]

    assert told[0] == 1, told
    assert "columns" in told[1]
    assert "convention" in told[1].lower()
    assert declared[0] == 0, declared

    assert quiet[0] == 0
    assert len(quiet[1].splitlines()) == 1

    for code, out, err in (wide, bad, usage, nothing):
        assert (code, out) == (2, "")
        assert "Traceback" not in err
    assert wide[2].startswith("manual-bp check: error: mine.npz: ")
    assert "expected numbers as fine as float64, got float32" in wide[2]
    assert bad[2].startswith("manual-bp check: error: bad.json: expected JSON, got ")
    assert bad[2].count("\n") == 1
    assert "Did you mean --examples?" in usage[2]
    assert "MINE" in nothing[2]
    assert "requires an argument" in nothing[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "4-5-3"], "--out requires an argument"),
        (["--sizes", "4-5-3", "--out", "x", "--cost", "quartic"], "unknown name 'quartic'"),
    ],
    ids=["no folder", "no such cost"],
)
def test_golden_refuses_with_one_line(arguments, message, tmp_path):
    code, out, err = call("golden", *arguments, folder=tmp_path)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_the_docs_name_the_conventions():
    for field in mbp.Convention.__dataclass_fields__:
        assert f"`--{field} " in DOCS
