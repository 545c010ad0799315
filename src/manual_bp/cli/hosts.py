"""One process of several: run where its runtime may end it, and watched from outside.

Where another process is lost, JAX's runtime ends this one from within, wherever it is, with a page
of its own words. So the work is done in a child, and who started it says what happened in a line.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax

LOST = 75  # the exit code of a child that noticed by itself that another process is lost
_OF_ANOTHER = re.compile(r"gloo|peer|nccl|unavailable|heartbeat|coordination", re.I)
_RUNTIMES_OWN = re.compile(r"^\[Gloo\] |^[EFIW]\d{4} ")
_ITS_LAST = re.compile(r"^F\d{4} |^E\d{4} .*coordination_service")


def is_one_of_several(argv: Sequence[str]) -> bool:
    """Whether a command line is that of one process of several, which is not yet watched."""
    several = any(word.partition("=")[0] == "--coordinator" for word in argv)
    return several and multiprocessing.parent_process() is None


def watched(command: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """The exit code of a command that is one process of several; 1 where another was lost."""
    said, to_say = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(
        target=_work, args=(command, argv, to_say), daemon=True
    )
    before = signal.signal(signal.SIGINT, lambda *_: None)  # the child has its own way with it
    try:
        child.start()
        to_say.close()
        with os.fdopen(os.dup(said.fileno()), errors="replace") as lines:
            _pass_on(lines)
        child.join()
    finally:
        signal.signal(signal.SIGINT, before)
    code = child.exitcode or 0
    if code in (-signal.SIGABRT, -signal.SIGKILL, LOST):
        print(
            f"manual-bp {argv[0]}: error: another process was lost; start all of them again, with "
            f"--load from the last --save",
            file=sys.stderr,
        )
        return 1
    return code if code >= 0 else 128 - code


def _pass_on(lines: Any) -> None:
    """What the child says, but for what its runtime says to itself."""
    is_ending = False
    for line in lines:
        is_ending |= bool(_ITS_LAST.match(line))
        if not is_ending and not _RUNTIMES_OWN.match(line):
            sys.stderr.write(line)
            sys.stderr.flush()


def _work(command: Callable[[Sequence[str]], int], argv: Sequence[str], to_say: Any) -> None:
    """In the child: the command, with its error stream given to who started it."""
    os.dup2(to_say.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was started by `watched`

    def end_with_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()
    try:
        sys.exit(command(argv))
    except jax.errors.JaxRuntimeError as error:
        if _OF_ANOTHER.search(str(error)):
            os._exit(LOST)  # at once: the others would be waited for
        raise
