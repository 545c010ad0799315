"""`manual-bp`: its commands, and how each of them ends.

Exit codes: 0 when all is well, 1 when something disagrees, 2 for bad usage or a bad file, 130 after
Ctrl-C.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import jax
from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from manual_bp.cli.check import check
from manual_bp.cli.compare import compare
from manual_bp.cli.explore import explore
from manual_bp.cli.golden import golden
from manual_bp.cli.hosts import is_one_of_several, watched
from manual_bp.cli.predict import predict
from manual_bp.cli.train import train, with_its_settings
from manual_bp.text import PLAIN

BAD_INPUT = (CycloptsError, ImportError, OSError, TypeError, ValueError)
_NO_MEMORY = re.compile("RESOURCE_EXHAUSTED|Out of memory")


def new_app(name: str, **fields: Any) -> App:
    """An app whose flags have no negatives, and whose errors and results are left to `run_app`."""
    return App(
        name=name,
        default_parameter=Parameter(negative=()),
        version_flags=(),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        **fields,
    )


app = new_app(
    "manual-bp", help="Backpropagation by hand, and a verdict on every equation of yours."
)
for command in (compare, train, predict, check, golden, explore):
    app.command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of `manual-bp` and give its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return watched(main, argv) if is_one_of_several(argv) else run_app(app, argv)


def run_app(app: App, argv: Sequence[str] | None = None) -> int:
    """Run an app and give its exit code; an error is one line, without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
    name = " ".join([*app.name, *[word for word in argv[:1] if word in app]])
    try:
        code = _run(app, argv)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as end:
        if not isinstance(end, BrokenPipeError) and not isinstance(
            end.__context__, BrokenPipeError
        ):
            raise  # not what rich makes of a closed pipe
        _let_go_of_output()  # the reader of the pipe has gone
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if _is_interrupt(error):
            print(f"\n{name}: interrupted", file=sys.stderr)
            return 130
        message = str(error)
        if lack := _lack_of_memory(error):
            message = f"{lack}; make --batch or --sizes smaller, or take fewer examples"
        elif isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            message += ": standard output"  # whose errors alone name no file
            _let_go_of_output()
        elif not isinstance(error, BAD_INPUT):
            raise
        print(f"{name}: error: {message}", file=sys.stderr)
        return 2


def _run(app: App, argv: list[str]) -> int:
    if argv[:1] == ["train"] and "train" in app:
        argv = with_its_settings(argv)
    code = app(argv, exit_on_error=False, print_error=False)
    return code if isinstance(code, int) else 0  # --help gives none


def _let_go_of_output() -> None:
    """Leave Python nothing to flush at its end: that would fail again, and exit by 120."""
    with suppress(io.UnsupportedOperation):  # of an output that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lack_of_memory(error: BaseException) -> str:
    """What an error says where memory ran out, NumPy's or XLA's; else nothing."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, jax.errors.JaxRuntimeError) and _NO_MEMORY.search(str(error)):
        return "out of memory on the device"
    return ""


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C stands behind an error: a file closed in the middle of a write has its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def door(command: str) -> NoReturn:
    """What a script of a checkout does: run one command on its own arguments."""
    sys.exit(main([command, *sys.argv[1:]]))
