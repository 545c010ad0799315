"""How the tests run a command: as its users do, or in the process of the test."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers import plain_ctrl_c
from manual_bp.cli.main import main

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "COLUMNS": "100", "NO_COLOR": "1"}


def run(script, *arguments, folder=None, **options):
    """A script, run to its end; `options` are those of subprocess.run."""
    environment = {"PYTHONIOENCODING": "utf-8"} | options.pop("environment", {})
    return subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)],
        cwd=folder,
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        encoding=environment["PYTHONIOENCODING"],
        timeout=600,
        **options,
    )


def call(command, *arguments, folder=None, encoding="utf-8"):
    """(exit code, stdout, stderr) of a command of `manual-bp`, in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    inside = contextlib.chdir(folder) if folder else contextlib.nullcontext()
    with inside, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([command, *map(str, arguments)])
    return code, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err))


@contextmanager
def started(script, *arguments, folder=None):
    """A script on its way, which Ctrl-C reaches even where the tests are a job in the background.

    Such a job ignores Ctrl-C, and what it starts would inherit that; a signal with a handler is
    reset in the child. (A `preexec_fn` would fork a process that has threads.)
    """
    with plain_ctrl_c():
        process = subprocess.Popen(
            [sys.executable, SCRIPTS / script, *map(str, arguments)],
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process):
    """Ctrl-C, and stderr until the end; it is pressed again where a destructor in JAX lost it."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=40)[1]
    raise AssertionError("Ctrl-C does not end it")
