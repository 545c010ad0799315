"""scripts/train.py, run as its users run it."""

import re
import time

import numpy as np
import pytest
from running import interrupt, run, run_many, started


def train(folder, *flags):
    return run("train.py", *flags, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small data of three classes, and a.npz, which holds three epochs on them."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = (rng.normal(size=(90, 4)) + 2 * np.eye(4)[y]).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=y)
    result = train(folder, "--data", "data.npz", "--epochs", 3, "--save", "a.npz")
    assert (result.returncode, result.stderr) == (0, "")
    return folder


def arrays(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive if name not in ("about", "seconds")}


def assert_same(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_digits_by_default_reach_97_percent(tmp_path):
    result = train(tmp_path, "--picture", "a.png")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 42  # what is trained, an epoch a line, and the closing line
    assert re.match(
        r"epoch  1 of 40: cost .*, accuracy .*%; held out: cost .* examples/s", lines[1]
    )
    found = re.search(r"held out after 40 epochs: cost \S+, accuracy ([\d.]+)%", lines[-1])
    assert float(found[1]) >= 97
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "\x1b" not in result.stdout


def test_killed_and_continued_is_the_uninterrupted_run(folder):
    flags = ("--data", "data.npz", "--batch", 7)
    # Long enough to be killed in; the file is there from the first epoch on.
    call = ("train.py", *flags, "--epochs", 10**6, "--save", "killed.npz", "--quiet")
    with started(*call, folder=folder) as process:
        deadline = time.monotonic() + 120
        while not (folder / "killed.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    epochs = len(arrays(folder / "killed.npz")["cost"]) + 5
    result = train(
        folder, "--load", "killed.npz", "--save", "on.npz", "--epochs", epochs, "--quiet"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1
    train(folder, *flags, "--save", "whole.npz", "--epochs", epochs, "--quiet")
    assert_same(folder / "on.npz", folder / "whole.npz")


def test_ctrl_c_saves_and_exits_with_130(folder):
    call = ("train.py", "--data", "data.npz", "--epochs", 10**6, "--save", "stopped.npz")
    with started(*call, folder=folder) as process:
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        stderr = interrupt(process)
    assert process.returncode == 130
    found = re.match(r"train.py: interrupted after (\d+) of 1000000 epochs; saved to", stderr)
    assert len(arrays(folder / "stopped.npz")["cost"]) == int(found[1])
    assert not list(folder.glob("*.tmp"))


INTERRUPTED = """
import zipfile
import numpy as np
def savez(file, **arrays):
    with zipfile.ZipFile(file, "w") as archive:
        half = archive.open("W1", "w")
        raise KeyboardInterrupt  # comes out as the ValueError of an archive closed in a write
np.savez = savez
"""


def test_ctrl_c_in_the_middle_of_a_file_ends_with_130(folder):
    call = ("--data", "data.npz", "--epochs", 1, "--save", "half.npz", "--quiet")
    ((code, out, err),) = run_many("train.py", call, folder=folder, before=INTERRUPTED)
    assert (code, out, err) == (130, "", "\ntrain.py: interrupted\n")
    assert not list(folder.glob("half*"))


def test_a_cost_that_is_not_finite_ends_with_1(folder):
    flags = ("--data", "data.npz", "--optimizer", "sgd", "--learning-rate", "1e30", "--l2", 1)
    result = train(folder, *flags, "--save", "nan.npz")
    assert result.returncode == 1
    assert re.search(r"train.py: stopped in epoch \d+ at step \d+ of 3: .*smaller", result.stderr)
    assert "Traceback" not in result.stderr
    assert all(np.isfinite(array).all() for array in arrays(folder / "nan.npz").values())


PLANTED = """
import manual_bp as mbp
from manual_bp.verification import agreement
def wrong(*args):
    record = mbp.backprop(*args)
    return record._replace(dW=tuple(-dW for dW in record.dW))
compare = agreement.compare
agreement.compare = lambda *args: compare(*args, subject=wrong)
"""


def test_a_disagreement_ends_with_1(folder):
    flags = ("--data", "data.npz", "--epochs", 1, "--verify-every", 2)
    ((code, _, err),) = run_many("train.py", flags, folder=folder, before=PLANTED)
    assert code == 1
    assert err.startswith("train.py: error: epoch 1, step 1:")
    assert "BP4" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epoch", "3"], "did you mean '--epochs'?"),
        (["--epochs", "0"], "expected a whole number from 1"),
        (["--optimizer", "adm"], "invalid choice: 'adm'"),
        (["--save", "nowhere/a.npz"], "--save: expected a folder to write to"),
        (["--load", "none.npz"], "none.npz: no such file"),
        (["--load", "data.npz"], "data.npz: expected a whole file of"),
        (["--load", "half.npz"], "half.npz: expected a whole file of"),
        (["--load", "a.npz", "--epochs", "3"], "--epochs: a.npz has 3 epochs behind it"),
        (["--load", "a.npz", "--sizes", "4-9-3"], "a.npz: expected Network((4, 9, 3)"),
        (["--load", "a.npz", "--optimizer", "sgd"], "expected the state of this optimiser"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_error_and_2(folder, flags, message):
    content = (folder / "a.npz").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    result = train(folder, "--data", "data.npz", *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr


def test_help_names_every_flag(tmp_path):
    result = train(tmp_path, "--help")
    assert result.returncode == 0
    for flag in ("--epochs", "--optimizer", "--verify-every", "--save", "--load", "--picture"):
        assert flag in result.stdout
