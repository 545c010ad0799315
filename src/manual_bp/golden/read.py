"""Arrays that another program computed, from files that are taken as untrusted.

Nothing is unpickled or executed, and nothing is read that is larger than the case calls for: a file
is refused beyond `MAX_BYTES`, before it is parsed, and an array whose shape the case does not know,
before it is read. At most about half a GiB is taken, by the worst JSON that there is.
"""

import math
import os
import reprlib
import textwrap
from pathlib import Path
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from manual_bp.checks import FLOATS
from manual_bp.files.npz import Npz
from manual_bp.golden.case import (
    FORMAT,
    MAX_LAYERS,
    MAX_VALUES,
    VERSIONS,
    Golden,
    Numbers,
    Shape,
    in_format,
    shapes,
)
from manual_bp.golden.document import from_json, load_json
from manual_bp.golden.untrusted import (
    OVERFLOW,
    TOO_LARGE,
    check_file,
    check_names,
    check_shape,
    content,
    described,
    listed,
    place,
    refuse,
    shown,
)
from manual_bp.golden.write import checksum
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop, named_places
from manual_bp.subjects.convention import Convention

_MAX_MEMBER = 16 * MAX_VALUES + 2**16  # bytes of an array in a .npz, its header with it
_NETWORK: dict[int, tuple[str, ...]] = {
    1: ("sizes", "activations", "cost", "l2"),
    2: ("sizes", "activations", "cost", "l2", "l2_biases", "biases"),
}
_DOCUMENT = (
    *("format", "version", "network", "dtype", "seed"),
    *("values", "hex", "rounded", "rounded_hex"),
)
_DESCRIPTION = (
    *("format", "version", "sizes", "activations", "cost_name", "l2", "dtype", "seed"),
    *("l2_biases", "biases", "checksum"),
)
_AGAIN = "write the folder again with scripts/golden.py"
_ANOTHER = "compute from this case's inputs, or leave the checksum out"


def read_golden(folder: str | os.PathLike[str]) -> Golden:
    """The case that a folder's `golden.json` holds.

    Raises:
        ValueError: naming the file, the entry in it that does not fit, and what to do.
    """
    path = Path(folder, "golden.json")

    def unfit(entry: str, expected: str, got: str) -> NoReturn:
        refuse(path, entry, expected, got, _AGAIN)

    document = load_json(path)
    if not isinstance(document, dict):
        unfit("", "an object", described(document))
    for entry, wanted in (("format", (FORMAT,)), ("version", VERSIONS)):
        if document.get(entry) not in wanted or isinstance(document[entry], bool):
            unfit(entry, " or ".join(map(repr, wanted)), shown(document.get(entry, "none")))
    network: Any = document.get("network")
    of_network = _NETWORK[int(document["version"])]
    for entry, found, keys in (("", document, _DOCUMENT), ("network", network, of_network)):
        if not isinstance(found, dict) or set(found) - {"checksum"} != set(keys):
            unfit(entry, f"the keys {', '.join(keys)}", described(found))

    sizes, dtype, seed, values = network["sizes"], *map(document.get, ("dtype", "seed", "values"))
    if not isinstance(sizes, list) or not all(map(_is_whole, sizes)):
        unfit("network.sizes", "a list of whole numbers", reprlib.repr(sizes))
    if len(sizes) - 1 > MAX_LAYERS:
        unfit("network.sizes", f"at most {MAX_LAYERS} layers", f"{len(sizes) - 1:,}")
    if not isinstance(network["activations"], list) or len(network["activations"]) >= len(sizes):
        unfit("network.activations", "a name for each layer", shown(network["activations"]))
    biases = network.pop("biases", [True] * (len(sizes) - 1))
    if not isinstance(biases, list) or [*map(type, biases)] != [bool] * (len(sizes) - 1):
        unfit("network.biases", "true or false for each layer", reprlib.repr(biases))
    try:
        net = Network(**network | {"sizes": [int(n) for n in sizes]})
    except (TypeError, ValueError) as error:
        why = textwrap.shorten(str(error), 300)
        unfit("network", "a network", f"one that is none ({why})")
    if dtype not in FLOATS:
        unfit("dtype", f"one of {', '.join(FLOATS)}", reprlib.repr(dtype))
    if seed is not None and not _is_whole(seed):
        unfit("seed", "a whole number or null", reprlib.repr(seed))

    if not isinstance(values, dict) or len(values) < len(sizes):
        unfit("values", f"every array of {net.depth} layers", described(values))
    known = shapes(net, len(values["x"]) if isinstance(values.get("x"), list) else 0, biases)
    if set(values) != set(known):
        unfit("values", f"the arrays {listed(known)}", described(values))
    if (size := sum(map(math.prod, known.values()))) > MAX_VALUES:
        unfit("values", f"a case of at most {MAX_VALUES:,} numbers", f"{size:,}")
    arrays: dict[str, Any] = {
        name: from_json(path, name, values[name], [shape]) for name, shape in known.items()
    }
    _check_copies(path, document, arrays, dtype, _AGAIN)
    params = tuple(Layer(arrays[f"W{l}"], arrays.get(f"b{l}")) for l in net.layers)
    record, seed = _record(net, arrays), None if seed is None else int(seed)
    try:
        golden = Golden(net, params, arrays["x"], arrays["y"], record, "float64", seed)
        golden = golden.in_dtype(dtype)
    except ValueError as error:
        unfit("values", f"inputs that {dtype} holds exactly", f"others ({error})")
    _check_checksum(path, document.get("checksum"), golden, _AGAIN)
    return golden


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
            refuse(path, "", "a .npz, .json or .bin file", "another name", fix)
    for name, array in arrays.items():
        _check_numbers(path, name, array, golden.dtype)
        if name not in results and not _same(array, inputs[name]):
            fix = "compute from the case's inputs, and write W and b as they were before an update"
            fix += ", or leave it out"
            refuse(path, name, f"the case's own {name}", "other numbers", fix)
    if not set(arrays) & set(results):
        fix = "write what your program computed under these names"
        refuse(path, "", f"at least one of {listed(results)}", listed(arrays), fix)
    return _record(golden.net, arrays)


# ── Three kinds of file ──────────────────────────────────────────────────────────────────────────


def _read_npz(path: Path, golden: Golden) -> dict[str, Numbers]:
    check_file(path)
    known = shapes(golden.net, len(golden.x), golden.biases)
    copies = {f"{name}_{dtype}": (name, dtype) for name in known for dtype in FLOATS}
    with Npz(str(path)) as archive:
        archive.check_members()
        names = [name for name in archive.names if name not in _DESCRIPTION]
        check_names(path, (name for name in names if name not in copies), known)

        def read(name: str, allowed: list[Shape]) -> Numbers:
            if (size := archive.stored(name)) > _MAX_MEMBER:
                refuse(path, name, f"at most {_MAX_MEMBER:,} bytes", f"{size:,}", TOO_LARGE)
            header = archive.header(name)
            check_shape(path, name, header.shape, allowed)
            array = archive.array(name, header)
            narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 8
            with np.errstate(over="ignore"):  # of a wider format; an infinity is told of later
                return array.astype(array.dtype.newbyteorder("=") if narrow else np.float64)

        if "checksum" in archive.names:
            _check_checksum(path, read("checksum", [()]), golden, _ANOTHER)
        arrays = {name: read(name, _allowed(name, known[name])) for name in names if name in known}
        for copy in (name for name in names if name in copies):
            name, dtype = copies[copy]
            if name not in arrays:
                refuse(path, copy, f"{name} beside it", "it alone", f"name it {name}")
            wanted = in_format(arrays[name], dtype).astype(np.float64)
            _check_copy(path, copy, read(copy, [wanted.shape]), wanted, f"leave {copy} out")
    return arrays


def _read_json(path: Path, golden: Golden) -> dict[str, Numbers]:
    document = load_json(path)
    case: dict[str, Any] = {}
    if isinstance(document, dict) and document.get("format") == FORMAT:
        case, document = document, document.get("values")
    if not isinstance(document, dict):
        fix = 'write {"z1": [[...], ...], ...}'
        refuse(path, "", "an object of arrays by name", described(document), fix)
    known = shapes(golden.net, len(golden.x), golden.biases)
    check_names(path, document, known)
    arrays = {
        name: from_json(path, name, value, _allowed(name, known[name]))
        for name, value in document.items()
    }
    if case.get("dtype", golden.dtype) not in FLOATS:
        refuse(path, "dtype", f"one of {', '.join(FLOATS)}", shown(case["dtype"]), _AGAIN)
    fix = "leave it out where you changed the values alone"
    _check_copies(path, case, arrays, case.get("dtype", golden.dtype), fix)
    _check_checksum(path, case.get("checksum"), golden, _ANOTHER)
    return arrays


def _read_bin(path: Path, golden: Golden, convention: Convention) -> dict[str, Numbers]:
    numbers, places = (
        np.frombuffer(content(path), np.uint8),
        named_places(golden.net, golden.params),
    )
    known = {name: place.shape(golden.net, len(golden.x)) for name, place in places.items()}
    if convention.bias != "separate":
        for l, has in enumerate(golden.biases, start=1):
            if has:
                n, n_prev = known[f"dW{l}"]
                known[f"dW{l}"] = n, n_prev + 1
                del known[f"db{l}"]
    if len(numbers) != (size := 8 * sum(map(math.prod, known.values()))):
        expected = f"{size:,} bytes: {listed(known)} as float64"
        fix = "write every result and nothing else, in the order of golden.bin"
        refuse(path, "", expected, f"{len(numbers):,}", fix)
    numbers, arrays = numbers.view("<f8").astype(np.float64), {}
    for name, shape in known.items():
        array, numbers = np.split(numbers, [math.prod(shape)])
        if convention.is_transposed(places[name]):
            shape = shape[::-1]
        arrays[name] = array.reshape(shape)
    return arrays


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


def _check_numbers(path: Path, name: str, array: Numbers, dtype: str) -> None:
    wrong = ~np.isfinite(array).ravel()
    if wrong.any():
        i = int(wrong.argmax())
        got = str(array.ravel()[i])
        refuse(path, place(name, array.shape, i), "a finite number", got, OVERFLOW)
    if jnp.finfo(array.dtype).eps > jnp.finfo(dtype).eps:
        fix = f"make the case in {array.dtype}, or write the numbers as {dtype} gave them"
        refuse(path, name, f"numbers as fine as {dtype}", str(array.dtype), fix)


def _same(array: Numbers, ours: Numbers) -> bool:
    """Whether an input is ours, in any convention's layout."""
    if ours.ndim == 1 or len(ours) == 1:
        return np.array_equal(array.ravel(), ours.ravel())
    return np.array_equal(array, ours) or np.array_equal(array.T, ours)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < 2**53 and value.is_integer()


def _check_copies(
    path: Path, document: dict[str, Any], values: dict[str, Numbers], dtype: str, fix: str
) -> None:
    """Refuse a file that has its numbers in several forms, where one of them differs."""
    rounded = {name: in_format(v, dtype).astype(np.float64) for name, v in values.items()}
    for key, wanted in (("hex", values), ("rounded", rounded), ("rounded_hex", rounded)):
        copies = document.get(key, wanted)
        if not isinstance(copies, dict) or set(copies) != set(wanted):
            refuse(path, key, f"the arrays {listed(wanted)}", described(copies), fix)
        for name, copy in copies.items() if key in document else ():
            array, entry = wanted[name], f"{key}.{name}"
            _check_copy(path, entry, from_json(path, entry, copy, [array.shape]), array, fix)


def _check_copy(path: Path, name: str, copy: Numbers, wanted: Numbers, fix: str) -> None:
    wrong = (copy != wanted).ravel()
    if wrong.any():
        i = int(wrong.argmax())
        expected = f"{float(wanted.ravel()[i])!r}, by the same number in float64"
        refuse(path, place(name, wanted.shape, i), expected, repr(float(copy.ravel()[i])), fix)


def _check_checksum(path: Path, found: Any, golden: Golden, fix: str) -> None:
    if found is not None and found != (wanted := checksum(golden)):
        expected = f"{wanted}, that of the network, x, y, W and b of the case"
        refuse(path, "checksum", expected, shown(found), fix)
