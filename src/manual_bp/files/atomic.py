"""A file that takes its name only when it is whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_PREFIX = ".manual_bp-"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write; it takes the name `path` only when it is whole and on the disk.

    A symbolic link stays, and the file that it leads to is replaced. What is no regular file, such
    as /dev/stdout or a pipe, cannot be replaced and is written directly.

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
    there = os.path.exists(path)
    try:
        if there and not os.path.isfile(path):
            with open(path, "wb") as file:
                yield file
            return
        # A folder of its own, for in it a new file has the usual permissions.
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=os.path.dirname(target)) as folder:
            whole = os.path.join(folder, "whole")
            with open(whole, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if there:
                shutil.copymode(target, whole)
            os.replace(whole, target)
    except OSError as error:
        # A full disk names no file, and the temporary name is of no use to anyone.
        named = error.filename is not None and _PREFIX not in str(error.filename)
        if named or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
