"""JSON of arrays by name, in nested lists of decimal or hexadecimal numbers."""

import json
import math
import re
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from manual_bp.golden.case import Numbers, Shape
from manual_bp.golden.untrusted import (
    OVERFLOW,
    any_of,
    check_once,
    check_shape,
    content,
    place,
    refuse,
    shown,
)

MAX_ITEMS = 2**22
"""The most commas and brackets of a file: what its lists take in memory."""

_HEX = re.compile(r"[+-]?0[xX](?=\.?[0-9a-fA-F])[0-9a-fA-F]*\.?[0-9a-fA-F]*([pP][+-]?[0-9]+)?")


def load_json(path: Path) -> Any:
    """What a JSON file holds; every number is a float, and no name comes twice."""
    read = content(path)

    def unfit(expected: str, got: str) -> NoReturn:
        refuse(path, "", expected, got, "write the file again, whole")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_once(path, (name for name, _ in pairs))
        return dict(pairs)

    try:
        text = read.decode("utf-8-sig")
        if (items := sum(map(text.count, ",[{"))) > MAX_ITEMS:
            unfit(f"at most {MAX_ITEMS:,} commas and brackets", f"{items:,}")
        return json.loads(text, object_pairs_hook=unique, parse_int=float)
    except UnicodeDecodeError as error:
        unfit("JSON in UTF-8", f"byte {error.start}, which is not")
    except json.JSONDecodeError as error:
        ends = " (the file ends there)" if error.pos >= len(text.rstrip()) else ""
        unfit("JSON", f"{error.msg} at line {error.lineno}, column {error.colno}{ends}")
    except RecursionError:
        unfit("arrays of at most 2 levels of lists", "hundreds of levels")


def from_json(path: Path, name: str, value: Any, allowed: list[Shape]) -> Numbers:
    """The nested lists of one entry as an array, every row and every number of it checked."""
    shape: Shape = ()
    first = value
    while isinstance(first, list) and len(shape) < 3:
        shape += (len(first),)
        first = first[0] if first else None
    if len(shape) == 3:
        refuse(path, name, "at most 2 levels of lists", "more", "write an array as its rows")
    if shape:  # of a lone entry that is no number, the number is what is to be told
        check_shape(path, name, shape, allowed)
    elif () not in allowed:
        refuse(path, name, any_of(allowed), shown(value), "write an array as its rows")
    for i, row in enumerate(value if len(shape) == 2 else []):
        if not isinstance(row, list) or len(row) != shape[1]:
            found = f"{len(row)}" if isinstance(row, list) else shown(row)
            expected = f"{shape[1]} numbers, like the first row"
            refuse(path, f"{name}[{i}]", expected, found, "write rows of one length")
    flat = chain.from_iterable(value) if len(shape) == 2 else value if shape else [value]
    return np.reshape([_number(path, name, shape, i, v) for i, v in enumerate(flat)], shape)


def _number(path: Path, name: str, shape: Shape, i: int, value: Any) -> float:
    """The number that stands i-th in the array of an entry."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        try:
            value = float.fromhex(value)
        except OverflowError:
            value = math.inf
    if not isinstance(value, float):
        fix = 'write it as 0.1 or as "0x1.8p+1"'
        refuse(path, place(name, shape, i), "a number", shown(value), fix)
    if not math.isfinite(value):
        refuse(path, place(name, shape, i), "a finite number", str(value), OVERFLOW)
    return value
