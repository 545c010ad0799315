"""A file that takes its name only when it is whole."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

fcntl: Any = None
with suppress(ImportError):  # Windows has no such locks: there what is left behind stays
    import fcntl

_PREFIX = ".manual_bp-"
_WHOLE = "whole"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write; it takes the name `path` only when it is whole and on the disk.

    A symbolic link stays, and the file that it leads to is replaced. What cannot be replaced is
    written directly: what is no regular file, such as a pipe or /dev/null, and the file that this
    process prints to, such as /dev/stdout. What a process that was killed in the middle of a write
    left in the folder, goes.

    Raises:
        OSError: the file cannot be written; it names the file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(pathlib.Path(folder, "numbers")) as file:
        ...         _ = file.write(b"1 2 3")
        ...     [entry.name for entry in pathlib.Path(folder).iterdir()]
        ['numbers']
    """
    target = os.path.realpath(path)
    try:
        if (itself := _written_directly(path)) is not None:
            with open(itself, "wb") as file:
                yield file
            return
        if os.path.islink(target):  # a link that leads to itself
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        with _folder_beside(target) as folder:
            whole = os.path.join(folder, _WHOLE)
            with open(whole, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if os.path.exists(target):
                shutil.copymode(target, whole)
            os.replace(whole, target)
    except OSError as error:
        # A full disk names no file, and the temporary name is of no use to anyone.
        named = error.filename is not None and _PREFIX not in str(error.filename)
        if named or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _written_directly(path: str | os.PathLike[str]) -> str | int | None:
    """What to open in place of a new file, if the path names something that cannot be replaced."""
    if not os.path.exists(path):
        return None
    if not os.path.isfile(path):
        return os.fspath(path)
    for stream in (1, 2):
        with suppress(OSError):  # a stream that is closed
            if os.path.samestat(os.stat(path), os.fstat(stream)):
                print(end="", flush=True)  # what was printed before comes before
                return os.dup(stream)
    return None


# ── A folder of our own, and those of processes that are dead ────────────────────────────────────


@contextmanager
def _folder_beside(target: str) -> Iterator[str]:
    """A folder of this write alone, locked; in it a new file has the usual permissions."""
    beside, prefix = os.path.dirname(target), f"{_PREFIX}{_machine()}-"
    _clear(beside, prefix)
    folder = tempfile.mkdtemp(prefix=prefix, dir=beside)
    try:
        with _locked(folder):  # before there is anything in it that `_clear` may take
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear(beside: str, prefix: str) -> None:
    """Take away what writes of this machine left that were killed: nobody holds their lock."""
    with suppress(OSError):
        for name in os.listdir(beside):
            if name.startswith(prefix):
                with suppress(OSError), _locked(os.path.join(beside, name)) as (opened, alone):
                    about, within = os.fstat(opened), os.listdir(opened)
                    # One that is new and empty may be about to be locked.
                    dead = within == [_WHOLE] or (not within and time.time() - about.st_mtime > 60)
                    if alone and dead and about.st_uid == os.geteuid():
                        for file in within:
                            os.unlink(file, dir_fd=opened)
                        os.rmdir(os.path.join(beside, name))


@contextmanager
def _locked(folder: str) -> Iterator[tuple[int, bool]]:
    """The folder opened, and whether this process now holds its lock, which ends with it."""
    if fcntl is None:
        yield -1, False
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        alone = False
        with suppress(OSError):  # another has it, or the file system has no locks
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        yield opened, alone
    finally:
        os.close(opened)


def _machine() -> str:
    """The running system, whose processes see each other's locks, in whatever container they are.

    Where it has no name, it is one of the process: then nobody takes what is left for dead.
    """
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as name:
        return name.read(8)
    return f"process{os.getpid()}"
