"""How a command meets the terminal: colour, progress, Ctrl-C, and files that can be written."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column


def silent(*_: object) -> None:
    """Print nothing."""


def say_unless(quiet: bool) -> Callable[..., None]:
    """`print`, or what prints nothing."""
    return silent if quiet else print


def colour() -> bool:
    """Whether to print in colour: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def progress(what: str, total: int, quiet: bool, done: int = 0) -> Iterator[Callable[[str], None]]:
    """A function that tells of one more step: in a bar on a terminal, else in a line."""
    if quiet or not sys.stdout.isatty():
        yield silent if quiet else (lambda line: print(line, flush=True))
        return
    text = TextColumn("{task.description}", table_column=Column())  # which wraps
    columns = (BarColumn(10), MofNCompleteColumn(), text)
    with Progress(*columns, console=Console()) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda line: bar.update(task, advance=1, description=line)


class Interrupts:
    """Ctrl-C that waits: a first one is told by `pressed`, a second one raises KeyboardInterrupt.

    An exception that can come at any line can be lost, or come out as another: a destructor drops
    it, and a file left in the middle of a write raises its own. So the first one raises nothing.
    A handler that is not Python's own is left in force, and so is every other thread than the main
    one.
    """

    def __init__(self, notice: str) -> None:
        self.notice = notice
        self.pressed = False

    def _press(self, number: int, frame: Any) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        with suppress(RuntimeError):  # in the middle of another print, which cannot be entered
            print(self.notice, file=sys.stderr, flush=True)

    def __enter__(self) -> "Interrupts":
        in_main = threading.current_thread() is threading.main_thread()
        self.ours = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.ours:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def check_target(flag: str, path: Path | None) -> None:
    """Raise before the work, not after it, where a file cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{flag}: expected the name of a file, got the folder {path}")
    if path.exists() and not path.is_file():  # a device or a pipe, which is written directly
        if not os.access(path, os.W_OK):
            raise ValueError(f"{flag}: expected a file to write to, got {path}; take another")
        return
    folder = Path(os.path.realpath(path)).parent  # of the file that a link leads to
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{flag}: expected a folder to write to, got {folder}; create it first")
