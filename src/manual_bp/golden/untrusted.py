"""A file from elsewhere: how it is opened, and how what does not fit in it is refused."""

import reprlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from manual_bp.checks import nearest
from manual_bp.golden.case import Shape

MAX_BYTES = 2**25
"""The most that one file may hold (32 MiB): the JSON of the largest case there is takes 29."""

TOO_LARGE = "write the arrays of this case alone"
OVERFLOW = "find where it overflows, or leave the array out"


def check_file(path: Path) -> None:
    """Refuse what is no regular file, or one of more than `MAX_BYTES`."""
    if not path.is_file():
        found = "something else" if path.exists() else "nothing there"
        refuse(path, "", "a file", found, "check the path")
    if (size := path.stat().st_size) > MAX_BYTES:
        refuse(path, "", f"at most {MAX_BYTES:,} bytes", f"{size:,}", TOO_LARGE)


def content(path: Path) -> bytes:
    """The bytes of a file that `check_file` lets through."""
    check_file(path)
    with open(path, "rb") as file:
        return file.read(MAX_BYTES)  # and no more, should it grow meanwhile


def check_once(path: Path, names: Iterable[str]) -> None:
    """Refuse a name that comes twice."""
    for name, times in Counter(names).items():
        if times > 1:
            refuse(path, shown(name), "a name once", f"it {times} times", "keep one of them")


def check_names(path: Path, names: Iterable[str], known: dict[str, Shape]) -> None:
    """Refuse a name that is none of the known ones."""
    for name in names:
        if name not in known:
            alike = [other for other in known if other.lower() == name.lower()]
            fix = nearest(alike[0] if alike else name[:40], known)
            fix = fix if len(known) < 60 else fix.partition(" Known")[0]
            refuse(path, shown(name), "names of the case's arrays", "an unknown one", fix)


def check_shape(path: Path, name: str, shape: Shape, allowed: list[Shape]) -> None:
    """Refuse a shape that no convention has."""
    if shape not in allowed:
        refuse(path, name, any_of(allowed), str(shape), "write the whole array in one of these")


def any_of(allowed: list[Shape]) -> str:
    """The shapes in words."""
    return f"shape {' or '.join(map(str, allowed))}"


def listed(names: Iterable[str]) -> str:
    """Names in a row, of many the first and the last."""
    names = list(names)
    few = names if len(names) <= 12 else [*names[:6], "…", *names[-3:]]
    return ", ".join(few) or "none"


def described(document: Any) -> str:
    """What a JSON value is, in words."""
    if not isinstance(document, dict):
        return f"a {type(document).__name__}"
    return f"the keys {listed(shown(name) for name in document)}"


def shown(value: Any) -> str:
    """A value of unknown size and content, short and printable."""
    return ascii(value[:40]) if isinstance(value, str) else reprlib.repr(value)


def place(name: str, shape: Shape, i: int) -> str:
    """An array's i-th number: dW1[3, 1]; a lone number has the array's name."""
    return f"{name}{list(map(int, np.unravel_index(i, shape)))}" if shape else name


def refuse(path: Path, entry: str, expected: str, got: str, fix: str) -> NoReturn:
    """The one error of all of these: it names the file, the entry, and what to do."""
    where = f"{path}: {entry}" if entry else f"{path}"
    raise ValueError(f"{where}: expected {expected}, got {got}; {fix}")
