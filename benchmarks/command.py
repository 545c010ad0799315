"""How the two commands end: 0 or their own code, 2 for bad usage, 130 after Ctrl-C."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from manual_bp.cli.terminal import check_target

Earlier = Annotated[Path | None, Parameter("--from")]


def run(command: Callable[..., int | None], argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; an error is one line, without a traceback."""
    app = App(version_flags=(), result_action="return_value", suppress_keyboard_interrupt=False)
    app.default_parameter = Parameter(negative=())
    app.default(command)
    try:
        return app(argv, exit_on_error=False, print_error=False) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (CycloptsError, ImportError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def check_targets(**files: Path | None) -> None:
    """Refuse what cannot be written before minutes are spent on measuring it."""
    for flag, file in files.items():
        check_target(f"--{flag}", file)
