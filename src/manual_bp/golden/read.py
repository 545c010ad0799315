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
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from manual_bp.checks import FLOATS, nearest
from manual_bp.files.npz import Npz
from manual_bp.golden.case import FORMAT, MAX_VALUES, VERSIONS, Golden, Numbers, Shape, shapes
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop, named_places
from manual_bp.subjects.convention import Convention

MAX_BYTES = 2**25
"""The most that one file may hold (32 MiB): the JSON of the largest case there is takes 29."""

_MAX_ITEMS = 2**22  # commas and brackets of a JSON file: what its lists take in memory
_MAX_MEMBER = 16 * MAX_VALUES + 2**16  # bytes of an array in a .npz, its header with it
_NETWORK: dict[int, tuple[str, ...]] = {
    1: ("sizes", "activations", "cost", "l2"),
    2: ("sizes", "activations", "cost", "l2", "l2_biases", "biases"),
}
_VALUES = ("values", "hex", "rounded", "rounded_hex")
_DOCUMENT = ("format", "version", "network", "dtype", "seed", *_VALUES)
_DESCRIPTION = (
    *("format", "version", "sizes", "activations", "cost_name", "l2", "dtype", "seed"),
    *("l2_biases", "biases"),
)
_HEX = re.compile(r"[+-]?0[xX](?=\.?[0-9a-fA-F])[0-9a-fA-F]*\.?[0-9a-fA-F]*([pP][+-]?[0-9]+)?")

_OVERFLOW = "find where it overflows, or leave the array out"
_TOO_LARGE = "write the arrays of this case alone"


def read_golden(folder: str | os.PathLike[str]) -> Golden:
    """The case that a folder's `golden.json` holds.

    Raises:
        ValueError: naming the file, the entry in it that does not fit, and what to do.
    """
    path = Path(folder, "golden.json")

    def refuse(entry: str, expected: str, got: str) -> NoReturn:
        _refuse(path, entry, expected, got, "write the folder again with scripts/golden.py")

    document = _load_json(path)
    if not isinstance(document, dict):
        refuse("", "an object", _found(document))
    for entry, wanted in (("format", (FORMAT,)), ("version", VERSIONS)):
        if document.get(entry) not in wanted or isinstance(document[entry], bool):
            refuse(entry, " or ".join(map(repr, wanted)), _shown(document.get(entry, "none")))
    network: Any = document.get("network")
    of_network = _NETWORK[int(document["version"])]
    for entry, found, keys in (("", document, _DOCUMENT), ("network", network, of_network)):
        if not isinstance(found, dict) or set(found) != set(keys):
            refuse(entry, f"the keys {', '.join(keys)}", _found(found))

    sizes, dtype, seed, values = network["sizes"], *map(document.get, ("dtype", "seed", "values"))
    if not isinstance(sizes, list) or not all(map(_is_whole, sizes)):
        refuse("network.sizes", "a list of whole numbers", reprlib.repr(sizes))
    biases = network.pop("biases", [True] * (len(sizes) - 1))
    if not isinstance(biases, list) or [*map(type, biases)] != [bool] * (len(sizes) - 1):
        refuse("network.biases", "true or false for each layer", reprlib.repr(biases))
    try:
        net = Network(**network | {"sizes": [int(n) for n in sizes]})
    except (TypeError, ValueError) as error:
        refuse("network", "a network", f"one that is none ({error})")
    if dtype not in FLOATS:
        refuse("dtype", f"one of {', '.join(FLOATS)}", reprlib.repr(dtype))
    if seed is not None and not _is_whole(seed):
        refuse("seed", "a whole number or null", reprlib.repr(seed))

    if not isinstance(values, dict) or len(values) < len(sizes):
        refuse("values", f"every array of {net.depth} layers", _found(values))
    known = shapes(net, len(values["x"]) if isinstance(values.get("x"), list) else 0, biases)
    if set(values) != set(known):
        refuse("values", f"the arrays {_listed(known)}", _found(values))
    arrays: dict[str, Any] = {
        name: _from_json(path, name, values[name], [shape]) for name, shape in known.items()
    }
    params = tuple(Layer(arrays[f"W{l}"], arrays.get(f"b{l}")) for l in net.layers)
    record, seed = _record(net, arrays), None if seed is None else int(seed)
    try:
        golden = Golden(net, params, arrays["x"], arrays["y"], record, "float64", seed)
        return golden.in_dtype(dtype)
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
        >>> from manual_bp.golden.case import case_from
        >>> net = mbp.Network((2, 1), ("identity",), "quadratic")
        >>> case = case_from(net, [([[2.0, -1.0]], [0.5])], [[1.0, 3.0]], [[1.0]])
        >>> _ = pathlib.Path("mine.json").write_text('{"dW1": [[-1.5, "-0x1.2p+2"]]}')
        >>> read_record("mine.json", case).dW[0].tolist()
        [[-1.5, -4.5]]
    """
    path, inputs = Path(path), golden.values()
    results = named_places(golden.net, golden.params)
    match path.suffix.lower():
        case ".npz":
            arrays = _read_npz(path, golden)
        case ".json":
            arrays = _read_json(path, golden)
        case ".bin":
            arrays = _read_bin(path, golden, convention or Convention())
        case _:
            fix = "rename or convert it"
            _refuse(path, "", "a .npz, .json or .bin file", "another name", fix)
    for name, array in arrays.items():
        _check_numbers(path, name, array, golden.dtype)
        if name not in results and not _same(array, inputs[name]):
            fix = "compute from the case's inputs, and write W and b as they were before an update"
            fix += ", or leave it out"
            _refuse(path, name, f"the case's own {name}", "other numbers", fix)
    if not set(arrays) & set(results):
        fix = "write what your program computed under these names"
        _refuse(path, "", f"at least one of {_listed(results)}", _listed(arrays), fix)
    return _record(golden.net, arrays)


# ── Three kinds of file ──────────────────────────────────────────────────────────────────────────


def _read_npz(path: Path, golden: Golden) -> dict[str, Numbers]:
    _check_file(path)
    known = shapes(golden.net, len(golden.x), golden.biases)
    own = {*_DESCRIPTION, *(f"{name}_{golden.dtype}" for name in known)}  # of golden.npz itself
    arrays = {}
    with Npz(str(path)) as archive:
        names = [name for name in archive.names if name not in own]
        _check_once(path, names)
        _check_names(path, names, known)
        for name in names:
            if (size := archive.stored(name)) > _MAX_MEMBER:
                _refuse(path, name, f"at most {_MAX_MEMBER:,} bytes", f"{size:,}", _TOO_LARGE)
            header = archive.header(name)
            _check_shape(path, name, header.shape, _allowed(name, known[name]))
            array = archive.array(name, header)
            narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 8
            with np.errstate(over="ignore"):  # of a wider format; an infinity is told of later
                kept = array.dtype.newbyteorder("=") if narrow else np.float64
                arrays[name] = array.astype(kept)
    return arrays


def _read_json(path: Path, golden: Golden) -> dict[str, Numbers]:
    document = _load_json(path)
    if isinstance(document, dict) and document.get("format") == FORMAT:
        document = document.get("values")
    if not isinstance(document, dict):
        fix = 'write {"z1": [[...], ...], ...}'
        _refuse(path, "", "an object of arrays by name", _found(document), fix)
    known = shapes(golden.net, len(golden.x), golden.biases)
    _check_names(path, document, known)
    return {
        name: _from_json(path, name, value, _allowed(name, known[name]))
        for name, value in document.items()
    }


def _read_bin(path: Path, golden: Golden, convention: Convention) -> dict[str, Numbers]:
    content, places = _content(path), named_places(golden.net, golden.params)
    known = {name: place.shape(golden.net, len(golden.x)) for name, place in places.items()}
    if convention.bias != "separate":
        for l, has in enumerate(golden.biases, start=1):
            if has:
                n, n_prev = known[f"dW{l}"]
                known[f"dW{l}"] = n, n_prev + 1
                del known[f"db{l}"]
    if len(content) != (size := 8 * sum(map(math.prod, known.values()))):
        expected = f"{size:,} bytes: {_listed(known)} as float64"
        fix = "write every result and nothing else, in the order of golden.bin"
        _refuse(path, "", expected, f"{len(content):,}", fix)
    numbers, arrays = np.frombuffer(content, "<f8").astype(np.float64), {}
    for name, shape in known.items():
        array, numbers = np.split(numbers, [math.prod(shape)])
        if convention.is_transposed(places[name]):
            shape = shape[::-1]
        arrays[name] = array.reshape(shape)
    return arrays


def _check_file(path: Path) -> None:
    """Refuse what is no regular file, or one of more than `MAX_BYTES`."""
    if not path.is_file():
        found = "something else" if path.exists() else "nothing there"
        _refuse(path, "", "a file", found, "check the path")
    if (size := path.stat().st_size) > MAX_BYTES:
        _refuse(path, "", f"at most {MAX_BYTES:,} bytes", f"{size:,}", _TOO_LARGE)


def _content(path: Path) -> bytes:
    _check_file(path)
    with open(path, "rb") as file:
        return file.read(MAX_BYTES)  # and no more, should it grow meanwhile


def _load_json(path: Path) -> Any:
    content = _content(path)

    def refuse(expected: str, got: str) -> NoReturn:
        _refuse(path, "", expected, got, "write the file again, whole")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_once(path, (name for name, _ in pairs))
        return dict(pairs)

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
    for i, row in enumerate(value if len(shape) == 2 else []):
        if not isinstance(row, list) or len(row) != shape[1]:
            found = f"{len(row)}" if isinstance(row, list) else _shown(row)
            expected = f"{shape[1]} numbers, like the first row"
            _refuse(path, f"{name}[{i}]", expected, found, "write rows of one length")
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
        _refuse(path, _entry(name, shape, i), "a number", _shown(value), fix)
    if not math.isfinite(value):
        _refuse(path, _entry(name, shape, i), "a finite number", str(value), _OVERFLOW)
    return value


def _allowed(name: str, shape: Shape) -> list[Shape]:
    """The shapes of an array in any convention, ours first."""
    if not shape:
        return [(), (1,), (1, 1)]
    if len(shape) == 1:
        return [shape, (*shape, 1), (1, *shape)]
    one_example = [shape[1:]] if shape[0] == 1 and "W" not in name else []
    found = [shape, shape[::-1], *one_example]
    if name not in ("x", "y"):  # a column, or a row, for the biases
        folded = (shape[0], shape[1] + 1)
        found += [folded, folded[::-1]]
    return list(dict.fromkeys(found))


def _record(net: Network, arrays: dict[str, Numbers]) -> Backprop:
    places = {place: arrays.get(name) for name, place in named_places(net).items()}
    record = Backprop.from_places(places, net)
    return record if record.cost is None else record._replace(cost=record.cost.reshape(()))


# ── What is refused ──────────────────────────────────────────────────────────────────────────────


def _check_once(path: Path, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            _refuse(path, _shown(name), "a name once", f"it {times} times", "keep one of them")


def _check_names(path: Path, names: Iterable[str], known: dict[str, Shape]) -> None:
    for name in names:
        if name not in known:
            alike = [other for other in known if other.lower() == name.lower()]
            fix = nearest(alike[0] if alike else name[:40], known)
            fix = fix if len(known) < 60 else fix.partition(" Known")[0]
            _refuse(path, _shown(name), "names of the case's arrays", "an unknown one", fix)


def _check_numbers(path: Path, name: str, array: Numbers, dtype: str) -> None:
    wrong = ~np.isfinite(array).ravel()
    if wrong.any():
        i = int(wrong.argmax())
        entry, got = _entry(name, array.shape, i), str(array.ravel()[i])
        _refuse(path, entry, "a finite number", got, _OVERFLOW)
    if jnp.finfo(array.dtype).eps > jnp.finfo(dtype).eps:
        fix = f"make the case in {array.dtype}, or write the numbers as {dtype} gave them"
        _refuse(path, name, f"numbers as fine as {dtype}", str(array.dtype), fix)


def _check_shape(path: Path, name: str, shape: Shape, allowed: list[Shape]) -> None:
    if shape not in allowed:
        _refuse(path, name, _any_of(allowed), str(shape), "write the whole array in one of these")


def _any_of(allowed: list[Shape]) -> str:
    return f"shape {' or '.join(map(str, allowed))}"


def _same(array: Numbers, ours: Numbers) -> bool:
    """Whether an input is ours, in any convention's layout."""
    if ours.ndim == 1 or len(ours) == 1:
        return np.array_equal(array.ravel(), ours.ravel())
    return np.array_equal(array, ours) or np.array_equal(array.T, ours)


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


def _entry(name: str, shape: Shape, i: int) -> str:
    """An array's i-th number: dW1[3, 1]; a lone number has the array's name."""
    return f"{name}{list(map(int, np.unravel_index(i, shape)))}" if shape else name


def _refuse(path: Path, entry: str, expected: str, got: str, fix: str) -> NoReturn:
    where = f"{path}: {entry}" if entry else f"{path}"
    raise ValueError(f"{where}: expected {expected}, got {got}; {fix}")
