"""manual-bp train: what it trains and keeps, how it goes on, and how Ctrl-C ends it."""

import re
import signal
import threading
import time

import numpy as np
import pytest
from matplotlib.figure import Figure

import manual_bp as mbp
from helpers import plain_ctrl_c
from manual_bp.cli import terminal
from manual_bp.cli import train as command
from manual_bp.training.checkpoint import load_settings
from manual_bp.verdicts import compare
from running import call, interrupt, run, started
from trained_files import arrays, assert_same


def train(folder, *flags):
    return call("train", *flags, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small data of three classes, and a.safetensors, which holds three epochs on them."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = (rng.normal(size=(90, 4)) + 2 * np.eye(4)[y]).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=y)
    code, _, err = train(folder, "--data", "data.npz", "--epochs", 3, "--save", "a.safetensors")
    assert (code, err) == (0, "")
    return folder


def test_digits_by_default_reach_97_percent(tmp_path):
    done = run("train.py", "--picture", "a.png", folder=tmp_path)  # the door
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 42  # what is trained, an epoch a line, and the closing line
    assert re.match(
        r"epoch  1 of 40: cost .*, accuracy .*%; held out: cost .* examples/s", lines[1]
    )
    found = re.search(r"held out after 40 epochs: cost \S+, accuracy ([\d.]+)%", lines[-1])
    assert float(found[1]) >= 97
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "\x1b" not in done.stdout


def test_memory_mapped_it_is_the_run_of_arrays_in_memory(folder):
    with np.load(folder / "data.npz") as data:
        (folder / "files").mkdir()
        for name in ("x", "y"):
            np.save(folder / "files" / f"{name}.npy", data[name])
    flags = ("--data", "files", "--memory-map", "--quiet")
    code, _, err = train(folder, *flags, "--epochs", 2, "--save", "mapped.safetensors")
    assert (code, err) == (0, "")
    again = ("--load", "mapped.safetensors", "--epochs", 3, "--quiet", "--save")
    assert train(folder, *again, "mapped.safetensors")[0] == 0
    assert load_settings(folder / "mapped.safetensors")["memory-map"] == "True"
    mapped, whole = (mbp.load(folder / f"{name}.safetensors")[1] for name in ("mapped", "a"))
    assert all(map(np.array_equal, mapped[0], whole[0]))
    for more, words in (
        (("--data", "files", "--standardize"), "--memory-map: inputs are standardized in memory"),
        (("--data", "data.npz"), "--memory-map: expected a folder of .npy or IDX files"),
    ):
        code, _, err = train(folder, "--memory-map", *more)
        assert code == 2
        assert words in err


def test_killed_and_continued_is_the_uninterrupted_run(folder):
    flags = ("--data", "data.npz", "--batch", 7)
    # Long enough to be killed in; the file is there from the first epoch on.
    long = ("train.py", *flags, "--epochs", 10**6, "--save", "killed.npz", "--quiet")
    with started(*long, folder=folder) as process:
        deadline = time.monotonic() + 120
        while not (folder / "killed.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    epochs = len(arrays(folder / "killed.npz")["cost"]) + 5
    code, out, err = train(
        folder, "--load", "killed.npz", "--save", "on.npz", "--epochs", epochs, "--quiet"
    )
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    train(folder, *flags, "--save", "whole.npz", "--epochs", epochs, "--quiet")
    assert_same(folder / "on.npz", folder / "whole.npz")


def test_the_settings_of_a_file_hold_unless_given_anew(folder):
    settings = load_settings(folder / "a.safetensors")
    assert settings["data"] == "data.npz"
    assert settings["sizes"] == "4-128-3"
    again = ("--load", "a.safetensors", "--epochs", 4, "--save", "b.safetensors", "--quiet")
    assert train(folder, *again)[0] == 0
    assert load_settings(folder / "b.safetensors") == settings
    assert train(folder, *again, "--batch=9", "--learning_rate", "0.1")[0] == 0
    changed = load_settings(folder / "b.safetensors")
    assert (changed["batch"], changed["learning-rate"]) == ("9", "0.1")
    assert changed | {"batch": "32", "learning-rate": "0.002"} == settings


# ── Ctrl-C ───────────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_saves_and_exits_with_130(folder):
    long = ("train.py", "--data", "data.npz", "--epochs", 10**6, "--save", "stopped.npz")
    with started(*long, folder=folder) as process:
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        stderr = interrupt(process)
    assert process.returncode == 130
    found = re.search(r"train: interrupted after (\d+) of 1000000 epochs; saved to", stderr)
    assert len(arrays(folder / "stopped.npz")["cost"]) == int(found[1])
    assert "Traceback" not in stderr
    assert not list(folder.glob(".manual_bp*"))


FLAGS = ("--data", "data.npz", "--epochs", 9, "--save", "c.safetensors")


@pytest.fixture
def after_line(monkeypatch):
    """Run something at the end of each epoch, when its line is told and before it is saved."""

    def install(action):
        line = command.line

        def told(history, epochs, m):
            action(history)
            return line(history, epochs, m)

        monkeypatch.setattr(command, "line", told)

    return install


def test_a_first_ctrl_c_waits_until_the_epoch_is_saved(folder, after_line):
    seen = []

    def press(history):
        if history.epoch == 2:
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")  # a line that an exception would not have let through

    after_line(press)
    with plain_ctrl_c():
        code, out, err = train(folder, *FLAGS)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (code, seen) == (130, ["went on"])
    assert "stopping after this epoch; press Ctrl-C again to stop now" in err
    assert "interrupted after 2 of 9 epochs; saved to c.safetensors" in err
    assert len(arrays(folder / "c.safetensors")["cost"]) == 2
    assert "held out after" not in out


def test_a_second_ctrl_c_does_not_wait(folder, after_line):
    seen = []

    def press(history):
        if history.epoch == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")

    after_line(press)
    with plain_ctrl_c():
        code, _, err = train(folder, *FLAGS)
    assert (code, seen) == (130, [])
    assert "interrupted after 2 of 9 epochs; saved to c.safetensors" in err
    assert len(arrays(folder / "c.safetensors")["cost"]) == 2


def test_ctrl_c_in_the_middle_of_a_file_leaves_the_last_whole_one(folder, monkeypatch):
    """Pressed twice while a file is written: it is written again, whole, and no half one stays."""
    save, calls = mbp.save, []

    def pressed(path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        save(path, *args, **kwargs)

    monkeypatch.setattr(mbp, "save", pressed)
    with plain_ctrl_c():
        code, _, _ = train(folder, *FLAGS[:-1], "d.safetensors")
    assert (code, len(calls)) == (130, 2)
    assert len(arrays(folder / "d.safetensors")["cost"]) == 1
    assert not list(folder.glob(".manual_bp*"))


def test_interrupted_and_continued_is_the_uninterrupted_run(folder, after_line):
    def press(history):
        if history.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    train(folder, *FLAGS[:-1], "whole.safetensors", "--quiet")
    after_line(press)
    with plain_ctrl_c():
        assert train(folder, *FLAGS[:-1], "part.safetensors")[0] == 130
    again = ("--load", "part.safetensors", "--save", "part.safetensors", "--epochs", 9)
    assert train(folder, *again, "--quiet")[0] == 0
    assert_same(folder / "part.safetensors", folder / "whole.safetensors")


def test_a_handler_of_the_callers_own_is_left_in_force(folder, after_line):
    heard = []

    def press(history):
        if history.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    after_line(press)
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("own"))
    try:
        code, _, err = train(folder, *FLAGS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, err, heard) == (0, "", ["own"])


def test_another_thread_sets_no_handler():
    found = []

    def inside():
        with terminal.Interrupts("notice"):
            found.append(signal.getsignal(signal.SIGINT))

    with plain_ctrl_c():
        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
    assert found == [signal.default_int_handler]


def test_an_error_with_ctrl_c_behind_it_is_an_interrupt(folder, monkeypatch):
    """As of an archive that is closed in the middle of a write."""

    def save(*args, **kwargs):
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("closed in a write")

    monkeypatch.setattr(mbp, "save", save)
    code, out, err = train(folder, *FLAGS[:2], "--epochs", 1, "--save", "half.npz", "--quiet")
    assert (code, out, err) == (130, "", "\nmanual-bp train: interrupted\n")
    assert not list(folder.glob("half*"))


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def figures(monkeypatch):
    """The figures that were written, to look at."""
    written, save = [], Figure.savefig

    def kept(figure, *args, **kwargs):
        written.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)
    return written


def test_a_picture_shows_the_whole_run(folder, figures):
    again = ("--load", "a.safetensors", "--save", "drawn.safetensors", "--epochs", 5, "--quiet")
    code, out, err = train(folder, *again, "--picture", "run.svg")
    assert (code, err) == (0, "")
    assert "drawn in run.svg" in out
    assert "<svg" in (folder / "run.svg").read_text()
    _, _, history = mbp.load(folder / "drawn.safetensors")
    [figure] = figures
    drawn = {line.get_label(): line.get_ydata() for ax in figure.axes for line in ax.lines}
    np.testing.assert_array_equal(drawn["cost while training"], history.cost)
    np.testing.assert_array_equal(drawn["accuracy of validation"], history.validation_accuracy)
    assert len(history.cost) == 5
    assert "layer $l$" in {ax.get_xlabel() for ax in figure.axes}
    assert "$x_1$" not in {ax.get_xlabel() for ax in figure.axes}


@pytest.mark.parametrize("classes", [True, False], ids=["classes", "numbers"])
def test_two_inputs_have_regions_where_there_are_classes(folder, figures, classes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    y = np.eye(2)[np.arange(40) % 2] if classes else x[:, :1]
    np.savez(folder / "a $x^$ plane.npz", x=x, y=y.astype(np.float32))  # no formula in the title
    head = () if classes else ("--output", "identity", "--cost", "quadratic")
    data = ("--data", "a $x^$ plane.npz", "--sizes", f"2-3-{y.shape[1]}")
    code, _, err = train(folder, *data, *head, "--epochs", 1, "--quiet", "--picture", "p.PNG")
    assert (code, err) == (0, "")
    [figure] = figures
    assert ("$x_1$" in {ax.get_xlabel() for ax in figure.axes}) == classes


# ── Other ends ───────────────────────────────────────────────────────────────────────────────────


def test_a_cost_that_is_not_finite_ends_with_1(folder):
    flags = ("--data", "data.npz", "--optimizer", "sgd", "--learning-rate", "1e30", "--l2", 1)
    code, _, err = train(folder, *flags, "--save", "nan.npz")
    assert code == 1
    assert re.search(r"train: stopped in epoch \d+ at step \d+ of 3: .*smaller", err)
    assert "Traceback" not in err
    assert all(np.isfinite(array).all() for array in arrays(folder / "nan.npz").values())


def test_a_disagreement_ends_with_1(folder, monkeypatch):
    def wrong(*args):
        record = mbp.backprop(*args)
        return record._replace(dW=tuple(-dW for dW in record.dW))

    right = compare.compare
    monkeypatch.setattr(compare, "compare", lambda *args: right(*args, subject=wrong))
    code, _, err = train(folder, "--data", "data.npz", "--epochs", 1, "--verify-every", 2)
    assert code == 1
    assert err.startswith("manual-bp train: error: epoch 1, step 1:")
    assert "BP4" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epoch", "3"], "Did you mean --epochs?"),
        (["--epochs", "0"], "expected a whole number from 1"),
        (["--optimizer", "adm"], 'Invalid value "adm" for --optimizer'),
        (["--picture", "a.txt"], "--picture: expected a name that ends in .avif"),
        (["--picture", "nowhere/a.png"], "--picture: expected a folder to write to"),
        (["--save", "nowhere/a.npz"], "--save: expected a folder to write to"),
        (["--load", "none.npz"], "none.npz: no such file"),
        (["--load", "data.npz"], "data.npz: expected a whole file of"),
        (["--load", "half.npz"], "half.npz: expected a whole file of"),
        (
            ["--load", "a.safetensors", "--epochs", "3"],
            "--epochs: a.safetensors has 3 epochs behind it",
        ),
        (
            ["--load", "a.safetensors", "--sizes", "4-9-3"],
            "a.safetensors: net: expected Network((4, 9, 3)",
        ),
        (["--load", "a.safetensors", "--optimizer", "sgd"], "expected the state of this optimiser"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_error_and_2(folder, flags, message):
    content = (folder / "a.safetensors").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    code, _, err = train(folder, "--data", "data.npz", *flags)
    assert code == 2
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err


def test_help_names_every_flag(tmp_path):
    code, out, _ = train(tmp_path, "--load", "none.npz", "--help")
    assert code == 0
    for flag in ("--epochs", "--optimizer", "--verify-every", "--save", "--load", "--picture"):
        assert flag in out
