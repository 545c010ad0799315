"""The command line as a whole: its commands, its doors, and terminals of every kind."""

import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import jax
import pytest

from manual_bp.cli import main as cli
from manual_bp.cli import terminal
from running import ENVIRONMENT, SCRIPTS, call, run

COMMANDS = ("compare", "train", "predict", "check", "golden", "explore")


def test_help_names_the_commands():
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert all(f" {name} " in out for name in COMMANDS)
    assert call("--help")[1] == out  # and once more: nothing stays behind


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_and_its_door(command):
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: manual-bp {command}" in out
    assert "[default: " in out
    assert (SCRIPTS / f"{command}.py").read_text() == (
        f'"""The same as `manual-bp {command}`."""\n\n'
        f'from manual_bp.cli.main import door\n\ndoor("{command}")\n'
    )


@pytest.mark.parametrize("number", ["2.7", "0", "x", "1e1"])
def test_a_whole_number_is_not_rounded(number):
    code, out, err = call("compare", "--steps", number)
    assert (code, out) == (2, "")
    assert f"expected a whole number from 1, got {number!r}" in err


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("compare", ("the data's, 32", "[default: 0.5]", "[default: 128]", "[default: tanh]")),
        ("train", ("the data's, 128", "0.2 for sgd", "[default: 32]", "[default: relu]")),
        ("explore", ("the data's, 12", "[default: 0.5]", "[default: 8]", "[default: tanh]")),
        ("golden", ("[default: 4-5-3]", "[default: tanh]", "[default: float32]")),
    ],
)
def test_help_shows_the_defaults_of_the_command(command, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = call(command, "--help")[1]
    for words in shown:
        assert words in out


def test_a_command_that_is_not_there():
    code, out, err = call("comapre")
    assert (code, out) == (2, "")
    assert 'error: Unknown command "comapre". Did you mean "compare"?' in err


SMALL = ("--sizes", "64-2-10", "--batch", "2", "--steps", "1")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_an_output_that_lacks_letters(encoding):
    """Whatever can be written is written, and the rest in plain letters."""
    code, out, err = call("compare", *SMALL, encoding=encoding)
    assert (code, err) == (0, "")
    assert "BP1 δ²" in out if encoding == "utf-8" else "BP1 delta" in out
    assert "?" not in out


def test_a_process_whose_output_lacks_letters():
    done = run("compare.py", *SMALL, environment={"PYTHONIOENCODING": "cp1252"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "BP1 delta²" in done.stdout
    assert "?" not in done.stdout


def test_help_where_the_output_lacks_letters():
    done = run("train.py", "--help", environment={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "sigma of the hidden layers" in done.stdout
    assert "eta (default: 0.2 for sgd" in done.stdout


def test_help_needs_no_extra():
    """As the installed command, in a process that cannot import what the extras bring."""
    code = """if True:
        import sys
        sys.modules |= dict.fromkeys(["matplotlib", "sklearn"])
        from manual_bp.cli.main import main
        sys.exit(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--help"],
        env=ENVIRONMENT | {"PATH": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--picture" in done.stdout


def rich_ends():
    """As rich does, which writes the help: in the handler of the closed pipe."""
    end = SystemExit(1)
    end.__context__ = BrokenPipeError()
    return end


@pytest.mark.parametrize("error", [BrokenPipeError, rich_ends()], ids=["Python's", "rich's"])
def test_a_closed_pipe_is_no_error(error, monkeypatch, tmp_path):
    """rich, which writes the help, ends with SystemExit where the reader of the pipe has gone."""
    monkeypatch.setattr(cli, "_run", Mock(side_effect=error))
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main(["--help"]) == 0


def test_another_end_is_not_taken_for_a_closed_pipe(monkeypatch):
    monkeypatch.setattr(cli, "_run", Mock(side_effect=SystemExit(3)))
    with pytest.raises(SystemExit, match="3"):
        cli.main(["--help"])


def test_no_memory_is_one_line(monkeypatch, capsys):
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    monkeypatch.setattr(cli, "_run", Mock(side_effect=error))
    assert cli.main(["train"]) == 2
    fix = "make --batch or --sizes smaller, or take fewer examples"
    assert capsys.readouterr().err == (
        f"manual-bp train: error: out of memory on the device; {fix}\n"
    )
    for message in ("INTERNAL: Out of memory allocating 1 bytes.", None):
        error = (
            jax.errors.JaxRuntimeError(message) if message else MemoryError("Unable to allocate")
        )
        monkeypatch.setattr(cli, "_run", Mock(side_effect=error))
        assert cli.main(["train"]) == 2
        where = " on the device" if message else ""
        assert capsys.readouterr().err == (f"manual-bp train: error: out of memory{where}; {fix}\n")
    monkeypatch.setattr(cli, "_run", Mock(side_effect=jax.errors.JaxRuntimeError("INTERNAL")))
    with pytest.raises(jax.errors.JaxRuntimeError):  # a bug has its traceback
        cli.main(["train"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # empty is as if it were not set
def test_an_output_that_is_full_is_named(unbuffered, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, SCRIPTS / "golden.py", "--out", tmp_path],
            env=os.environ | ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("No space left on device: standard output\n")


@pytest.mark.sweep
def test_no_memory_for_an_array_is_no_array_that_is_not_finite():
    """XLA makes an array before it has the memory for it; reading that ended the process."""
    code = """if True:
        import sys, resource
        from manual_bp.cli.main import main
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
        sys.exit(main(["compare", "--sizes", "64-50000-50000-10", "--steps", "1", "--quiet"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("manual-bp compare: error: out of memory on the device; make")


@pytest.mark.parametrize("kind", ["device", "pipe", "link"])
def test_what_can_be_written_though_it_is_no_file_is_a_target(kind, tmp_path):
    path = {"device": os.devnull, "pipe": tmp_path / "p", "link": tmp_path / "l"}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "link":
        path.symlink_to("nowhere/a")
        with pytest.raises(
            ValueError, match=r"--json: expected a folder to write to, got .*nowhere"
        ):
            terminal.check_target("--json", path)
        (tmp_path / "nowhere").mkdir()
    terminal.check_target("--json", Path(path))


def test_a_device_that_cannot_be_written_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="--json: expected a file to write to, got /dev/null"):
        terminal.check_target("--json", Path(os.devnull))


# ── On a terminal ────────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_on_a_terminal_unless_it_is_not_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not terminal.colour()
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert terminal.colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.colour()


@pytest.mark.parametrize("columns", [50, 100])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(columns, monkeypatch, capsys):
    with terminal.progress("epochs", 3, quiet=False) as advance:
        advance("epoch 1 of 3: cost 0.5")
    assert capsys.readouterr().out == "epoch 1 of 3: cost 0.5\n"
    with terminal.progress("epochs", 3, quiet=True) as advance:
        advance("epoch 1 of 3: cost 0.5")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal.progress("epochs", 3, quiet=False, done=1) as advance:
        advance("cost 0.5, accuracy 90.00%, 100 examples/s")
        advance("cost 0.4, accuracy 95.00%, 100 examples/s")
    shown = sys.stdout.getvalue()
    assert "3/3" in shown
    assert "━" * 5 in shown
    for words in ("cost 0.4,", "accuracy 95.00%,", "100", "examples/s"):
        assert words in shown
    assert ("accuracy 95.00%, 100 examples/s" in shown) == (columns == 100)  # else it wraps
