"""Arrays that another program computed, from files that are taken as untrusted.

Nothing is unpickled or executed, and nothing is read that is larger than the case calls for: a file
is refused beyond `MAX_BYTES`, before it is parsed, and an array whose shape the case does not know,
before it is read. At most about half a GiB is taken, by the worst JSON that there is.
"""

import json
import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from manual_bp.backprop import Backprop
from manual_bp.checking.convention import Convention
from manual_bp.checking.golden import (
    DTYPES,
    FORMAT,
    MAX_VALUES,
    VERSION,
    Golden,
    results,
    shapes_of,
)
from manual_bp.network import Layer, Network, nearest
from manual_bp.npz import Npz

MAX_BYTES = 2**25
"""The most that one file may hold (32 MiB): the JSON of the largest case there is takes 29."""

_MAX_ITEMS = 2**22  # commas and brackets of a JSON file: what its lists take in memory
_MAX_MEMBER = 16 * MAX_VALUES + 2**16  # bytes of an array in a .npz, its header with it
_DOCUMENT = (
    *("format", "version", "network", "dtype", "seed"),
    *("values", "hex", "rounded", "rounded_hex"),
)
_NETWORK = ("sizes", "activations", "cost", "l2")
_DESCRIPTION = ("format", "version", "sizes", "activations", "cost_name", "l2", "dtype", "seed")
_HEX = re.compile(r"[+-]?0[xX](?=\.?[0-9a-fA-F])[0-9a-fA-F]*\.?[0-9a-fA-F]*([pP][+-]?[0-9]+)?")

_OVERFLOW = "find where it overflows, or leave the array out"

Numbers = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def read_golden(folder: str | os.PathLike[str]) -> Golden:
    """The case that a folder's `golden.json` holds.

    Raises:
        ValueError: naming the file, the entry in it that does not fit, and what to do.
    """
    path = Path(folder, "golden.json")
    document = _load_json(path)
    refuse = partial(_refuse, path, fix="write the folder again with scripts/golden.py")
    if not isinstance(document, dict):
        refuse("", "an object", _found(document))
    for entry, expected in (("format", FORMAT), ("version", VERSION)):
        if document.get(entry) != expected:
            refuse(entry, f"{expected!r}", _shown(document.get(entry, "none")))
    network: Any = document.get("network")
    for entry, found, keys in (("", document, _DOCUMENT), ("network", network, _NETWORK)):
        if not isinstance(found, dict) or set(found) != set(keys):
            refuse(entry, f"the keys {', '.join(keys)}", _found(found))

    sizes, activations, cost, l2 = (network[key] for key in _NETWORK)
    if not isinstance(sizes, list) or not all(map(_is_whole, sizes)):
        refuse("network.sizes", "a list of whole numbers", reprlib.repr(sizes))
    try:
        net = Network([int(n) for n in sizes], activations, cost, l2)
    except (TypeError, ValueError) as error:
        refuse("network", "a network", f"one that is none ({error})")
    dtype, seed = document["dtype"], document["seed"]
    if dtype not in DTYPES:
        refuse("dtype", f"one of {', '.join(DTYPES)}", reprlib.repr(dtype))
    if seed is not None and not _is_whole(seed):
        refuse("seed", "a whole number or null", reprlib.repr(seed))

    values = document["values"]
    if not isinstance(values, dict) or len(values) < len(sizes):
        refuse("values", f"every array of {len(sizes) - 1} layers", _found(values))
    x = values.get("x")
    shapes = shapes_of(net, len(x) if isinstance(x, list) else 0)
    if set(values) != set(shapes):
        refuse("values", f"the arrays {_listed(shapes)}", _found(values))
    arrays = {name: _from_json(path, name, values[name], [shape]) for name, shape in shapes.items()}
    params = [Layer(arrays[f"W{l}"], arrays[f"b{l}"]) for l in net.layers]  # type: ignore[arg-type]
    try:
        return Golden(
            *(net, tuple(params), arrays["x"], arrays["y"], _as_record(net, arrays), "float64"),
            seed=None if seed is None else int(seed),
        ).in_dtype(dtype)
    except ValueError as error:
        refuse("values", f"inputs that {dtype} holds exactly", f"others ({error})")


def read_record(
    path: str | os.PathLike[str], golden: Golden, *, convention: Convention | None = None
) -> Backprop:
    """What another program computed for a case: a record with None for what it does not give.

    Args:
        path: one of

            - `.npz`: arrays by their names, z1, a1, delta1, dW1, db1, cost, any of them;
            - `.json`: an object of such names, each with nested lists of numbers, which may be
              C99 hexadecimal strings such as "0x1.8p+1";
            - `.bin`: every result, little-endian float64, in the order of `golden.bin`.

            Inputs (x, y, W1, b1) may stand there too, and have to be the case's own.
        golden: the case.
        convention: how the arrays of a `.bin` are laid out. The other files' arrays may have the
            shapes of any convention; it is for `check` to hold them against the declared one.

    Returns:
        The record, for `manual_bp.check`, of NumPy arrays laid out as they came.

    Raises:
        ValueError: naming the file, the entry that does not fit, what was expected and received,
            and what to do: a damaged, oversized or pickled file, an unknown or repeated name, a
            shape of no convention, NaN or Inf, or a format narrower than the case's.

    Example:
        >>> import pathlib, manual_bp as mbp
        >>> from manual_bp.checking import golden, received
        >>> net = mbp.Network((2, 1), ("identity",), "quadratic")
        >>> case = golden.of(net, [([[2.0, -1.0]], [0.5])], [[1.0, 3.0]], [[1.0]])
        >>> _ = pathlib.Path("mine.json").write_text('{"dW1": [[-1.5, "-0x1.2p+2"]]}')
        >>> received.read_record("mine.json", case).dW[0].tolist()
        [[-1.5, -4.5]]
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".json": _read_json, ".bin": _read_bin}
    if path.suffix.lower() not in readers:
        _refuse(path, "", "a .npz, .json or .bin file", "another name", "rename or convert it")
    arrays = readers[path.suffix.lower()](path, golden, convention or Convention())
    inputs = golden.values()
    for name, array in arrays.items():
        _check_numbers(path, name, array, golden.dtype)
        if name not in results(golden.net) and not _same(array, inputs[name]):
            fix = "compute from the case's inputs, and write W and b as they were before an update"
            _refuse(
                path, name, f"the case's own {name}", "other numbers", f"{fix}, or leave it out"
            )
    if not set(arrays) & set(results(golden.net)):
        _refuse(
            *(path, "", f"at least one of {_listed(results(golden.net))}", _listed(arrays)),
            "write what your program computed under these names",
        )
    return _as_record(golden.net, arrays)


# ── Three kinds of file ──────────────────────────────────────────────────────────────────────────


def _read_npz(path: Path, golden: Golden, convention: Convention) -> dict[str, Numbers]:
    _content(path, whole=False)
    shapes = shapes_of(golden.net, len(golden.x))
    own = {*_DESCRIPTION, *(f"{name}_{golden.dtype}" for name in shapes)}  # of golden.npz itself
    arrays = {}
    with Npz(str(path)) as archive:
        names = [name for name in archive.names if name not in own]
        _known(path, names, shapes)
        for name in names:
            if (size := archive.stored(name)) > _MAX_MEMBER:
                fix = "write the arrays of this case alone"
                _refuse(path, name, f"at most {_MAX_MEMBER:,} bytes", f"{size:,}", fix)
            header = archive.header(name)
            _check_shape(path, name, header.shape, _allowed(name, shapes[name]))
            array = archive.array(name, header)
            narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 8
            with np.errstate(over="ignore"):  # of a wider format; an infinity is told of later
                kept = array.dtype.newbyteorder("=") if narrow else np.float64
                arrays[name] = array.astype(kept)
    return arrays


def _read_json(path: Path, golden: Golden, convention: Convention) -> dict[str, Numbers]:
    document = _load_json(path)
    if isinstance(document, dict) and document.get("format") == FORMAT:
        document = document.get("values")
    if not isinstance(document, dict):
        _refuse(
            *(path, "", "an object of arrays by name", _found(document)),
            'write {"z1": [[...], ...], ...}',
        )
    shapes = shapes_of(golden.net, len(golden.x))
    _known(path, document, shapes)
    return {
        name: _from_json(path, name, value, _allowed(name, shapes[name]))
        for name, value in document.items()
    }


def _read_bin(path: Path, golden: Golden, convention: Convention) -> dict[str, Numbers]:
    content = _content(path)
    names = results(golden.net)
    shapes = shapes_of(golden.net, len(golden.x))
    size = 8 * sum(math.prod(shapes[name]) for name in names)
    if len(content) != size:
        _refuse(
            *(path, "", f"{size:,} bytes: {_listed(names)} as float64", f"{len(content):,}"),
            "write every result and nothing else, in the order of golden.bin",
        )
    numbers, arrays = np.frombuffer(content, "<f8").astype(np.float64), {}
    for name, (field, _) in names.items():
        shape = shapes[name]
        columns = field in ("z", "a", "delta") and convention.examples == "columns"
        if columns or (field == "dW" and convention.weights == "in_out"):
            shape = shape[::-1]
        array, numbers = np.split(numbers, [math.prod(shape)])
        arrays[name] = array.reshape(shape)
    return arrays


def _content(path: Path, *, whole: bool = True) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`; none where they are not asked for."""
    if not path.is_file():
        found = "something else" if path.exists() else "nothing there"
        _refuse(path, "", "a file", found, "check the path")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(MAX_BYTES + 1) if whole else b""
    if max(size, len(content)) > MAX_BYTES:
        fix = "write the arrays of this case alone"
        _refuse(path, "", f"at most {MAX_BYTES:,} bytes", f"{size:,}", fix)
    return content


def _load_json(path: Path) -> Any:
    content = _content(path)
    refuse = partial(_refuse, path, "", fix="write the file again, whole")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            again = next(name for name, times in Counter(k for k, _ in pairs).items() if times > 1)
            _refuse(path, _shown(again), "a name once", "it again", "keep one of them")
        return found

    try:
        text = content.decode("utf-8-sig")
        if (items := sum(map(text.count, ",[{"))) > _MAX_ITEMS:
            refuse(f"at most {_MAX_ITEMS:,} commas and brackets", f"{items:,}")
        return json.loads(text, object_pairs_hook=unique, parse_int=float)
    except UnicodeDecodeError as error:
        refuse("JSON in UTF-8", f"byte {error.start}, which is not")
    except json.JSONDecodeError as error:
        ends = " (the file ends there)" if error.pos >= len(text.rstrip()) else ""
        refuse("JSON", f"{error.msg} at line {error.lineno}, column {error.colno}{ends}")
    except RecursionError:
        refuse("arrays of at most 2 levels of lists", "hundreds of levels")


def _from_json(path: Path, name: str, value: Any, allowed: list[Shape]) -> Numbers:
    """The nested lists of one entry as an array, every row and every number of it checked."""
    shape: Shape = ()
    first = value
    while isinstance(first, list) and len(shape) < 3:
        shape += (len(first),)
        first = first[0] if first else None
    if len(shape) == 3:
        _refuse(path, name, "at most 2 levels of lists", "more", "write an array as its rows")
    if shape:  # of a lone entry that is no number, the number is what is to be told
        _check_shape(path, name, shape, allowed)
    elif () not in allowed:
        _refuse(path, name, _any_of(allowed), _shown(value), "write an array as its rows")
    array = np.empty(shape)
    rows = value if len(shape) == 2 else [value]
    for i, row in enumerate(rows if shape else []):
        at = (i,) if len(shape) == 2 else ()
        if not isinstance(row, list) or len(row) != shape[-1]:
            found = f"{len(row)}" if isinstance(row, list) else _shown(row)
            expected = f"{shape[-1]} numbers, like the first row"
            _refuse(path, _entry(name, at), expected, found, "write rows of one length")
        for j, number in enumerate(row):
            array[(*at, j)] = _number(path, name, (*at, j), number)
    if not shape:
        array[()] = _number(path, name, (), value)
    return array


def _number(path: Path, name: str, index: Shape, value: Any) -> float:
    if isinstance(value, str) and _HEX.fullmatch(value):
        try:
            value = float.fromhex(value)
        except OverflowError:
            value = math.inf
    if not isinstance(value, float):
        fix = 'write it as 0.1 or as "0x1.8p+1"'
        _refuse(path, _entry(name, index), "a number", _shown(value), fix)
    if not math.isfinite(value):
        _refuse(path, _entry(name, index), "a finite number", str(value), _OVERFLOW)
    return value


def _allowed(name: str, shape: Shape) -> list[Shape]:
    """The shapes of an array in any convention, ours first."""
    if not shape:
        return [(), (1,), (1, 1)]
    if len(shape) == 1:
        return [shape, (*shape, 1), (1, *shape)]
    one_example = [shape[1:]] if shape[0] == 1 and "W" not in name else []
    return list(dict.fromkeys([shape, shape[::-1], *one_example]))


def _as_record(net: Network, arrays: dict[str, Numbers]) -> Backprop:
    fields: dict[str, Any] = {"z": (), "a": (), "delta": (), "dW": (), "db": ()}
    for name, (field, _) in results(net).items():
        if field != "cost":
            fields[field] += (arrays.get(name),)
    cost: Any = arrays["cost"].reshape(()) if "cost" in arrays else None
    return Backprop(cost, **fields)


def _known(path: Path, names: Iterable[str], shapes: dict[str, Shape]) -> None:
    for name, times in Counter(list(names)).items():
        if name not in shapes:
            alike = [known for known in shapes if known.lower() == name.lower()]
            fix = nearest(alike[0] if alike else name[:40], shapes)
            fix = fix if len(shapes) < 60 else fix.partition(" Known")[0]
            expected = "names of the case's arrays"
            _refuse(path, _shown(name), expected, "an unknown one", fix)
        if times > 1:
            _refuse(path, _shown(name), "a name once", f"it {times} times", "keep one of them")


def _check_numbers(path: Path, name: str, array: Numbers, dtype: str) -> None:
    if not np.isfinite(array).all():
        index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        _refuse(path, _entry(name, index), "a finite number", str(array[index]), _OVERFLOW)
    if jnp.finfo(array.dtype).eps > jnp.finfo(dtype).eps:
        fix = f"make the case in {array.dtype}, or write the numbers as {dtype} gave them"
        _refuse(path, name, f"numbers as fine as {dtype}", str(array.dtype), fix)


def _same(array: Numbers, ours: Numbers) -> bool:
    """Whether an input is ours, in any convention's layout."""
    flat = ours.ndim == 1 or len(ours) == 1
    return any(
        np.array_equal(*pair)
        for pair in ((array, ours), (array.T, ours), (array.ravel(), ours.ravel()))[: 2 + flat]
    )


def _check_shape(path: Path, name: str, shape: Shape, allowed: list[Shape]) -> None:
    if shape not in allowed:
        _refuse(path, name, _any_of(allowed), str(shape), "write the whole array in one of these")


def _any_of(allowed: list[Shape]) -> str:
    return f"shape {' or '.join(map(str, allowed))}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < 2**53 and value.is_integer()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    few = names if len(names) <= 12 else [*names[:6], "…", *names[-3:]]
    return ", ".join(few) or "none"


def _found(document: Any) -> str:
    if not isinstance(document, dict):
        return f"a {type(document).__name__}"
    return f"the keys {_listed(_shown(name) for name in document)}"


def _shown(value: Any) -> str:
    """A value of unknown size and content, short and printable."""
    return ascii(value[:40]) if isinstance(value, str) else reprlib.repr(value)


def _entry(name: str, index: Shape) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _refuse(path: Path, entry: str, expected: object, got: object, fix: str) -> NoReturn:
    where = f"{path}: {entry}" if entry else f"{path}"
    raise ValueError(f"{where}: expected {expected}, got {got}; {fix}")
