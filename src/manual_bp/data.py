"""Examples to train on: scikit-learn's digits, a `.npz` file, or MNIST's IDX files in a folder.

Examples are rows, so x is (m, n_0) and y is (m, n_L). A file is taken as untrusted: nothing is
unpickled, and no size that a header claims is believed before it is checked.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from jaxtyping import Float, UInt8

from manual_bp.npz import Npz

MAX_BYTES = 4 * 2**30
"""The most that one file may hold, and that the arrays of one source may take (4 GiB)."""

_DEFLATE_RATIO = 1032  # zlib's own bound: no gzip file unpacks to more than this times its size
_UNSIGNED_BYTE = 0x08
_finfo: Any = ml_dtypes.finfo  # numpy's, for ml_dtypes' types too; it is not annotated
_MAX_NDIM = 8
_PAIRS = (("x", "y"), ("x_test", "y_test"))


class Data(NamedTuple):
    """Examples and their targets, one example a row.

    Attributes:
        x: inputs, (m, n_0); images are flattened, their pixels in [0, 1].
        y: targets, (m, n_L); one-hot rows where the source has labels.
        x_test: inputs of the held-out test part, (k, n_0), or None.
        y_test: targets of the test part, (k, n_L), or None.
        name: where the examples are from: "digits", or the name of the file or folder.

    Example:
        >>> Data(np.ones((5, 3)), np.ones((5, 2)), None, None, "ones").x.shape
        (5, 3)

    """

    x: Float[np.ndarray, "m n_0"]
    y: Float[np.ndarray, "m n_L"]
    x_test: Float[np.ndarray, "k n_0"] | None
    y_test: Float[np.ndarray, "k n_L"] | None
    name: str


def load(source: str | os.PathLike[str] = "digits", dtype: Any = "float32") -> Data:
    """Examples from scikit-learn, from a `.npz` file or from a folder of IDX files.

    Args:
        source: one of

            - "digits": scikit-learn's 1,797 images of 8×8 pixels in ten classes, no test part;
            - a `.npz` file with arrays `x` and `y`, and `x_test` and `y_test` or neither of them;
              other arrays are ignored. `x` is (m, ...): floats are taken as they are, uint8 is
              pixels and divided by 255. `y` is (m, n_L) floats, or (m,) integer labels;
            - a folder with `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and for a test
              part both `t10k-` files; each may be spelled with `.idx` and end in `.gz`.

            Labels become one-hot rows of max + 1 classes, over the train and the test part.
        dtype: the floating-point dtype of every array returned, bfloat16 included.

    Returns:
        The examples: x (m, n_0) and y (m, n_L), dimensionless.

    Raises:
        ValueError: source is none of these; a file is damaged, claims more than `MAX_BYTES`, or
            holds arrays that are no examples; or a value is beyond the range of dtype.
        TypeError: source is no path, or dtype no floating-point dtype.
        ModuleNotFoundError: "digits" without scikit-learn.

    Source:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (digits);
        Y. LeCun, C. Cortes and C. Burges, The MNIST Database of Handwritten Digits (IDX).

    Example:
        >>> data = load("digits", dtype="bfloat16")
        >>> data.x.shape, data.y.shape, data.x.dtype.name
        ((1797, 64), (1797, 10), 'bfloat16')

    """
    dtype = _float_dtype(dtype)
    path = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(path, str):
        raise TypeError(f'source: expected "digits" or a path, got {source!r}; pass a str or Path')
    name = os.path.basename(os.path.abspath(path))
    if isinstance(source, str) and source == "digits":
        x, y = _digits()
        return _assemble("digits", "digits", {"x": x, "y": y}, dtype)
    if os.path.isdir(path):
        return _assemble(path, name, _read_folder(path), dtype)
    if os.path.isfile(path) and path.lower().endswith(".npz"):
        return _assemble(path, name, _read_npz(path), dtype)
    found = "a file of another kind" if os.path.exists(path) else "nothing there"
    raise ValueError(
        f'source: expected "digits", a .npz file or a folder of IDX files, got {path!r} '
        f"({found}); check the path, or save arrays x and y with numpy.savez"
    )


def split(data: Data, fraction: float = 0.2, seed: int = 0) -> Data:
    """The same examples with a test part held out; unchanged where there is one already.

    Args:
        data: the examples, x (m, n_0) and y (m, n_L).
        fraction: the share to hold out, round(fraction · m) examples, 0 < fraction < 1.
        seed: a whole number ≥ 0 that fixes the permutation the parts are cut from.

    Returns:
        Data with m − k examples in x, y and k in x_test, y_test; none is in both.

    Raises:
        ValueError: fraction is outside (0, 1) or leaves a part empty, seed is negative, or data's
            arrays do not pair up.
        TypeError: fraction is no real number or seed no whole number.

    Source:
        The hold-out method; the permutation is that of `numpy.random.default_rng(seed)`.

    Example:
        >>> parts = split(Data(np.eye(5), np.eye(5), None, None, "eye"), fraction=0.4)
        >>> parts.x.shape, parts.x_test.shape
        ((3, 5), (2, 5))

    """
    if not isinstance(fraction, Real):
        raise TypeError(f"fraction: expected a real number, got {fraction!r}; pass e.g. 0.2")
    if not isinstance(seed, Integral):
        raise TypeError(f"seed: expected a whole number, got {seed!r}; pass e.g. 0")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected 0 < fraction < 1, got {fraction}; pass e.g. 0.2")
    if seed < 0:
        raise ValueError(f"seed: expected a whole number ≥ 0, got {seed}; pass e.g. 0")
    if (data.x_test is None) != (data.y_test is None):
        raise ValueError("data: expected x_test and y_test both or neither, got one; set the other")
    if data.x_test is not None:
        return data
    m = len(data.x)
    if len(data.y) != m:
        raise ValueError(
            f"data: expected as many rows in x as in y, got {m} and {len(data.y)}; "
            "give each example its target"
        )
    k = round(fraction * m)
    if not 0 < k < m:
        raise ValueError(
            f"fraction: expected both parts to hold an example, got {k} of {m} held out by "
            f"{fraction}; choose another fraction or give more examples"
        )
    order = np.random.default_rng(int(seed)).permutation(m)
    test, train = order[:k], order[k:]
    return Data(data.x[train], data.y[train], data.x[test], data.y[test], data.name)


def read_idx(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "..."]:
    """The array of one IDX file of unsigned bytes; a name that ends in `.gz` is unpacked.

    The file is 0, 0, the type code 0x08, the number of dimensions, each dimension as a big-endian
    uint32, then the bytes in row-major order, and nothing after them.

    Args:
        path: the file.

    Returns:
        The array, uint8 and read-only, in the shape that the header states.

    Raises:
        ValueError: the file is missing, damaged, of another type, shorter or longer than its
            header states, empty, or beyond `MAX_BYTES`.

    Source:
        Y. LeCun, C. Cortes and C. Burges, The MNIST Database of Handwritten Digits, file formats.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "labels")
        ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
        ...     read_idx(file)
        array([7, 0, 9], dtype=uint8)

    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected an IDX file, got no such file; check the path")
    zipped = path.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0":
                raise _refusal(path, "an IDX file, which starts with two zero bytes", start)
            if start[2] != _UNSIGNED_BYTE:
                raise _refusal(path, "IDX type code 0x08, unsigned bytes", f"0x{start[2]:02X}")
            ndim = start[3]
            if not 1 <= ndim <= _MAX_NDIM:
                raise _refusal(path, f"1 to {_MAX_NDIM} dimensions", ndim)
            header = file.read(4 * ndim)
            if len(header) < 4 * ndim:
                raise _refusal(path, f"{4 * ndim} bytes of dimensions", f"{len(header)}: truncated")
            shape = struct.unpack(f">{ndim}I", header)
            size = math.prod(shape)
            if not size:
                raise _refusal(path, "at least one entry", f"the empty shape {shape}")
            if size > MAX_BYTES:
                raise _too_large(path, f"the shape {shape}", size)
            # Before the read, which sets aside all that it is asked for.
            if size > os.path.getsize(path) * (_DEFLATE_RATIO if zipped else 1):
                raise _refusal(path, f"{size} bytes for {shape}", "a file too short: truncated")
            # One byte too many shows a file that goes on, and takes gzip to its checksum.
            entries = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole {'gzip' if zipped else 'IDX'} file, got one that cannot be "
            f"read ({error}); fetch it again"
        ) from error
    if len(entries) != size:
        got = f"{len(entries)}: truncated" if len(entries) < size else "more: trailing bytes"
        raise _refusal(path, f"{size} bytes for {shape}", got)
    return np.frombuffer(entries, np.uint8).reshape(shape)


def _refusal(path: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{path}: expected {expected}, got {got}; fetch or write the file again")


def _too_large(path: str, what: str, size: int) -> ValueError:
    return ValueError(
        f"{path}: expected arrays of at most {MAX_BYTES} bytes in all, got {what}, which "
        f"brings them to {size}; keep fewer examples or classes, or check the file"
    )


def _float_dtype(dtype: Any) -> np.dtype:
    """The native floating-point dtype that dtype names, ml_dtypes' own names included."""
    try:
        named = getattr(ml_dtypes, dtype, dtype) if isinstance(dtype, str) else dtype
        if named is None:  # numpy would read it as float64
            raise TypeError("None")
        found = np.dtype(named)
        signed = found.kind != "c" and float(_finfo(found).min) < 0
    except (TypeError, ValueError, AttributeError, SyntaxError):
        signed = False
    if not signed:
        raise TypeError(
            f"dtype: expected a floating-point dtype, got {dtype!r}; pass e.g. 'float32'"
        )
    return found.newbyteorder("=")


def _digits() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'source: "digits" needs scikit-learn, which is not installed; '
            "run: pip install 'manual_bp[data]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels  # ink counts of 4×4 blocks, 0 to 16


def _read_folder(folder: str) -> dict[str, np.ndarray]:
    """The arrays x, y and, where there are both, x_test, y_test of a folder of IDX files."""
    names = {
        key: f"{part}-{kind}-idx{ndim}-ubyte"
        for pair, part in zip(_PAIRS, ("train", "t10k"), strict=True)
        for key, kind, ndim in zip(pair, ("images", "labels"), (3, 1), strict=True)
    }
    files = {}
    for key, name in names.items():
        spellings = [
            os.path.join(folder, spelling + end)
            for end in ("", ".gz")
            for spelling in (name, name.replace("-idx", ".idx"))
        ]
        files[key] = next((path for path in spellings if os.path.isfile(path)), None)
    if missing := _missing(key for key, path in files.items() if path):
        raise ValueError(
            f"{folder}: expected {' and '.join(names[key] for key in missing)} (or .idx, or .gz), "
            "got no such file; put the file there, or name another source"
        )
    arrays = {}
    for key, path in files.items():
        if path is None:
            continue
        arrays[key] = read_idx(path)
        ndim = 3 if key.startswith("x") else 1
        if arrays[key].ndim != ndim:
            raise _refusal(path, f"{ndim} dimensions", f"the shape {arrays[key].shape}")
    return arrays


def _missing(present: Iterable[str]) -> list[str]:
    """What lacks of x, y and, once one of them is there, x_test, y_test."""
    there = set(present)
    wanted = {"x", "y"} | ({"x_test", "y_test"} if there & {"x_test", "y_test"} else set())
    return sorted(wanted - there)


def _read_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays x, y and, where there are both, x_test, y_test of a .npz file."""
    with Npz(path) as archive:
        there = sorted(archive.names)
        if missing := _missing(there):
            raise ValueError(
                f"{path}: expected the arrays x and y, and x_test and y_test or neither, got "
                f"{', '.join(there) or 'none'}; add {' and '.join(missing)} with numpy.savez"
            )
        arrays, total = {}, 0
        for key in (key for pair in _PAIRS for key in pair if key in there):
            header = archive.header(key)
            total += header.size
            if total > MAX_BYTES:
                raise _too_large(path, f"{key} of the shape {header.shape}", total)
            arrays[key] = archive.array(key, header)
    return arrays


def _assemble(where: str, name: str, arrays: dict[str, np.ndarray], dtype: np.dtype) -> Data:
    """Data of raw arrays: images flattened and scaled, labels one-hot, everything checked."""
    if wrong := [*_mismatches(arrays, dtype)]:
        raise ValueError(f"{where}: " + "; ".join(wrong))
    labels = [array for array in arrays.values() if array.ndim == 1]
    classes = 1 + max((int(each.max()) for each in labels), default=0)
    entries = sum(array.size * (classes if array.ndim == 1 else 1) for array in arrays.values())
    if (size := entries * dtype.itemsize) > MAX_BYTES:
        what = f"labels up to {classes - 1}" if labels else "no labels"
        raise _too_large(where, f"{len(arrays['x'])} examples with {what} in {dtype}", size)
    # A table rounds each of the 256 values once, whatever dtype is.
    pixels = (np.arange(256) / 255).astype(dtype)

    def inputs(x: np.ndarray) -> np.ndarray:
        return (pixels[x] if x.dtype == np.uint8 else x.astype(dtype)).reshape(len(x), -1)

    def targets(y: np.ndarray) -> np.ndarray:
        if y.ndim == 2:
            return y.astype(dtype)
        one_hot = np.zeros((len(y), classes), dtype)
        one_hot[np.arange(len(y)), y.astype(np.intp)] = 1
        return one_hot

    if "x_test" not in arrays:
        return Data(inputs(arrays["x"]), targets(arrays["y"]), None, None, name)
    return Data(
        inputs(arrays["x"]),
        targets(arrays["y"]),
        inputs(arrays["x_test"]),
        targets(arrays["y_test"]),
        name,
    )


def _mismatches(arrays: dict[str, np.ndarray], dtype: np.dtype) -> Iterator[str]:
    """All that keeps the arrays from being examples and targets, in words."""
    for x, y in _PAIRS:
        if x not in arrays:
            continue
        if arrays[x].dtype.kind != "f" and arrays[x].dtype != np.uint8:
            yield (
                f"expected {x} of floats or uint8 pixels, got {arrays[x].dtype}; save it as float32"
            )
        if arrays[x].ndim < 2:
            yield f"expected {x} of shape (m, n_0), got {arrays[x].shape}; give each example a row"
        if (arrays[y].ndim, arrays[y].dtype.kind) not in ((1, "i"), (1, "u"), (2, "f")):
            yield (
                f"expected {y} of (m, n_L) floats or (m,) integer labels, got "
                f"{arrays[y].dtype} of shape {arrays[y].shape}; save targets as float32 rows"
            )
        elif arrays[y].dtype.kind == "i" and arrays[y].min(initial=0) < 0:
            yield f"expected labels ≥ 0 in {y}, got {arrays[y].min()}; number the classes from 0"
        if arrays[x].shape[:1] != arrays[y].shape[:1]:
            yield (
                f"expected as many examples in {x} as in {y}, got shapes {arrays[x].shape} and "
                f"{arrays[y].shape}; give each example its target"
            )
    for key, array in arrays.items():
        if not array.size:
            yield f"expected {key} to hold an entry, got the shape {array.shape}; give it examples"
        elif array.dtype.kind == "f":
            yield from _out_of_range(key, array, dtype)
    for train, test in zip(*_PAIRS, strict=True) if "x_test" in arrays else ():
        a, b = arrays[train], arrays[test]
        if a.shape[1:] != b.shape[1:] or a.ndim != b.ndim:
            yield (
                f"expected {test} shaped like {train} but for m, got {b.shape} and {a.shape}; "
                "prepare both the same way"
            )
        if (a.dtype.kind == "f") != (b.dtype.kind == "f"):
            yield (
                f"expected {test} of the kind of {train}, got {b.dtype} and {a.dtype}; "
                "prepare both the same way"
            )


def _out_of_range(key: str, array: np.ndarray, dtype: np.dtype) -> Iterator[str]:
    if not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        yield f"expected finite {key}, got {array[at]} at {at}; leave that example out or mend it"
        return
    low, high = float(_finfo(dtype).min), float(_finfo(dtype).max)
    if array.min() < low or array.max() > high:
        yield (
            f"expected {key} in {dtype}'s range [{low:.3g}, {high:.3g}], got "
            f"[{array.min():.3g}, {array.max():.3g}]; rescale it or choose another dtype"
        )
