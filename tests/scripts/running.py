"""How the tests run a script: as its users do, or many times in one process."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers import plain_ctrl_c

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "COLUMNS": "100", "NO_COLOR": "1"}

# Starting and compiling is what a run costs.
MANY = """
import contextlib, io, json, runpy, sys
calls, before = json.load(sys.stdin)
script = sys.argv[1]
sys.path.insert(0, script.rpartition("/")[0])
exec(before)
for argv in calls:
    sys.argv, code = [script, *argv], None
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


def run(script, *arguments, folder=None, **options):
    """A script, run to its end; `options` are those of subprocess.run."""
    return _run([SCRIPTS / script, *map(str, arguments)], folder, **options)


def run_many(script, *calls, folder=None, before=""):
    """(exit code, stdout, stderr) of each call of a script; the code in `before` is run first."""
    calls = [list(map(str, call)) for call in calls]
    command = ["-c", MANY, str(SCRIPTS / script)]
    done = _run(command, folder, input=json.dumps([calls, before]))
    assert done.returncode == 0, done.stderr
    results = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(results) == len(calls)
    return results


def _run(command, folder, **options):
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        **options,
    )


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
