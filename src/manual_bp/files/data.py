"""Examples to train on: scikit-learn's digits, a `.npz` file, or MNIST's IDX files in a folder.

Examples are rows, so x is (m, n_0) and y is (m, n_L). A file is taken as untrusted: nothing is
unpickled, and no size that a header claims is believed before it is checked.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from manual_bp.checks import Problems, float_dtype, whole_number
from manual_bp.files import idx
from manual_bp.files.digits import digits
from manual_bp.files.npz import Npz
from manual_bp.files.unpacking import check_unpacked

_PAIRS = (("x", "y"), ("x_test", "y_test"))
_KEYS = tuple(chain(*_PAIRS))


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
        dtype: of every array returned: float16, bfloat16, float32 or float64.

    Returns:
        The examples: x (m, n_0) and y (m, n_L), dimensionless.

    Raises:
        ValueError: source is none of these; a file is damaged, claims more than `idx.MAX_BYTES`,
            unpacks to 100 times its size and 256 MiB, or holds arrays that are no examples; or a
            value is beyond the range of dtype.
        TypeError: source is no path, or dtype none of the four.
        ModuleNotFoundError: "digits" without scikit-learn.

    Source:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (digits);
        Y. LeCun, C. Cortes and C. Burges, The MNIST Database of Handwritten Digits (IDX).

    Example:
        >>> data = load("digits", dtype="bfloat16")
        >>> data.x.shape, data.y.shape, data.x.dtype.name
        ((1797, 64), (1797, 10), 'bfloat16')

    """
    problems = Problems()
    dtype = float_dtype("dtype", dtype, problems)
    problems.raise_all()
    path = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(path, str):
        raise TypeError(f'source: expected "digits" or a path, got {source!r}; pass a str or Path')
    name = os.path.basename(os.path.abspath(path))
    if isinstance(source, str) and source == "digits":
        x, y = digits()
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


def load_inputs(
    source: str | os.PathLike[str], dtype: Any = "float32"
) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs of what `load` reads, and their targets; of a `.npz` file of x alone, None.

    Args:
        source: as of `load`, or a `.npz` file without `y`.
        dtype: as of `load`.

    Returns:
        x (m, n_0), and y (m, n_L) or None.

    Raises:
        ValueError, TypeError, ModuleNotFoundError: as `load`.

    Example:
        >>> x, y = load_inputs("digits")
        >>> x.shape, y.shape
        ((1797, 64), (1797, 10))

    """
    path = os.fspath(source)
    if path.lower().endswith(".npz") and os.path.isfile(path):
        with Npz(path) as archive:
            archive.check_members(_KEYS)
            if "x" in archive.names and "y" not in archive.names:
                x = _arrays(archive, ["x"])["x"]
                problems = Problems()
                kind = float_dtype("dtype", dtype, problems)
                problems.raise_all()
                arrays = {"x": x, "y": np.zeros(x.shape[:1], np.int64)}
                return _assemble(path, os.path.basename(path), arrays, kind).x, None
    data = load(source, dtype)
    return data.x, data.y


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
    problems = Problems()
    if not isinstance(fraction, Real):
        problems.type(f"fraction: expected a real number, got {fraction!r}; pass e.g. 0.2")
    elif not 0 < fraction < 1:
        problems.value(f"fraction: expected 0 < fraction < 1, got {fraction}; pass e.g. 0.2")
    whole_number("seed", seed, 0, problems)
    problems.raise_all()
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
        arrays[key] = idx.read_idx(path)
        ndim = 3 if key.startswith("x") else 1
        if arrays[key].ndim != ndim:
            raise idx.refusal(path, f"{ndim} dimensions", f"the shape {arrays[key].shape}")
    return arrays


def _missing(present: Iterable[str]) -> list[str]:
    """What lacks of x, y and, once one of them is there, x_test, y_test."""
    there = set(present)
    wanted = {"x", "y"} | ({"x_test", "y_test"} if there & {"x_test", "y_test"} else set())
    return sorted(wanted - there)


def _read_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays x, y and, where there are both, x_test, y_test of a .npz file."""
    with Npz(path) as archive:
        archive.check_members(_KEYS)
        there = sorted(archive.names)
        if missing := _missing(there):
            raise ValueError(
                f"{path}: expected the arrays x and y, and x_test and y_test or neither, got "
                f"{', '.join(there) or 'none'}; add {' and '.join(missing)} with numpy.savez"
            )
        return _arrays(archive, [key for key in _KEYS if key in there])


def _arrays(archive: Npz, keys: list[str]) -> dict[str, np.ndarray]:
    """These arrays, none of them read before the size of all is known."""
    headers, total = {key: archive.header(key) for key in keys}, 0
    for key, header in headers.items():
        total += header.size
        if total > idx.MAX_BYTES:
            raise idx.too_large(archive.path, f"{key} of the shape {header.shape}", total)
    check_unpacked(archive.path, total)
    return {key: archive.array(key, header) for key, header in headers.items()}


def _assemble(where: str, name: str, arrays: dict[str, np.ndarray], dtype: np.dtype) -> Data:
    """Data of raw arrays: images flattened and scaled, labels one-hot, everything checked."""
    if wrong := [*_mismatches(arrays, dtype)]:
        raise ValueError(f"{where}: " + "; ".join(wrong))
    labels = [array for array in arrays.values() if array.ndim == 1]
    classes = 1 + max((int(each.max()) for each in labels), default=0)
    entries = sum(array.size * (classes if array.ndim == 1 else 1) for array in arrays.values())
    if (size := entries * dtype.itemsize) > idx.MAX_BYTES:
        what = f"labels up to {classes - 1}" if labels else "no labels"
        raise idx.too_large(where, f"{len(arrays['x'])} examples with {what} in {dtype}", size)
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
    low, high = float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)
    if float(array.min()) < low or float(array.max()) > high:
        yield (
            f"expected {key} in {dtype}'s range [{low:.3g}, {high:.3g}], got "
            f"[{array.min():.3g}, {array.max():.3g}]; rescale it or choose another dtype"
        )
