"""Examples to train on: a CSV file, a DataFrame, a `.npz` file, MNIST's folder, or the digits.

Examples are rows, so x is (m, n_0) and y is (m, n_L). A file is taken as untrusted: nothing is
unpickled, and no size that a header claims is believed before it is checked.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from manual_bp.checks import Problems, float_dtype, nearest
from manual_bp.files import idx, table
from manual_bp.files.arrays import PAIRS, read_folder, read_npz
from manual_bp.files.digits import digits
from manual_bp.files.encoding import Encoding, class_text
from manual_bp.files.mapped import MappedRows, flat
from manual_bp.files.table import Task

_CHECKED_AT_ONCE = 1 << 22  # bytes
_TABLES = (".csv", ".tsv", ".txt")


class Data(NamedTuple):
    """Examples and their targets, one example a row.

    Attributes:
        x: inputs, (m, n_0); images are flattened, their pixels in [0, 1].
        y: targets, (m, n_L); one-hot rows where the source has labels.
        x_test: inputs of the held-out test part, (k, n_0), or None.
        y_test: targets of the test part, (k, n_L), or None.
        name: where the examples are from: "digits", or the name of the file or folder.
        encoding: the names of the columns and classes, and how x and y are scaled.

    Example:
        >>> Data(np.ones((5, 3)), np.ones((5, 2)), None, None, "ones").x.shape
        (5, 3)

    """

    x: Float[np.ndarray, "m n_0"]
    y: Float[np.ndarray, "m n_L"]
    x_test: Float[np.ndarray, "k n_0"] | None
    y_test: Float[np.ndarray, "k n_L"] | None
    name: str
    encoding: Encoding = Encoding()

    @property
    def are_classes(self) -> bool:
        """Whether targets tell classes: rows of probabilities, or a 0 or 1 each."""
        if self.y.shape[1] == 1:
            return bool(((self.y == 0) | (self.y == 1)).all())
        y = self.y.astype(np.float64)
        return bool((y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=0.01))

    def with_targets(self, change: Callable[[np.ndarray], np.ndarray]) -> "Data":
        """The same with the targets of both parts changed."""
        y_test = None if self.y_test is None else change(self.y_test)
        return self._replace(y=change(self.y), y_test=y_test)


class Inputs(NamedTuple):
    """Examples to predict from.

    Attributes:
        x: inputs as the network takes them, (m, n_0).
        y: class numbers (m,), −1 for a class that is not known; or numbers (m, n_L); or None. Rows
            of a table without one are masked.
        left_out: the columns that the network does not read.
    """

    x: Float[np.ndarray, "m n_0"]
    y: np.ndarray | None
    left_out: tuple[str, ...] = ()


def load(
    source: Any = "digits",
    dtype: Any = "float32",
    *,
    target: str | None = None,
    ignore: Iterable[str] = (),
    task: Task | None = None,
    encoding: Encoding | None = None,
    memory_map: bool = False,
) -> Data:
    """Examples of a CSV file, a DataFrame, a `.npz` file, a folder, or scikit-learn.

    Args:
        source: one of

            - "digits": scikit-learn's 1,797 images of 8×8 pixels in ten classes, no test part;
            - a `.csv`, `.tsv` or `.txt` file whose first line names the columns, or a DataFrame of
              pandas; every column but the target holds numbers;
            - a `.npz` file with arrays `x` (or `X`) and `y` (or `labels`), and `x_test` and
              `y_test` or neither of them; other arrays are ignored. `x` is (m, ...): floats are
              taken as they are, uint8 is pixels and divided by 255. `y` is (m, n_L) numbers, or
              (m,) labels or numbers;
            - a folder with `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and for a test
              part both `t10k-` files; each may be spelled with `.idx` and end in `.gz`;
            - a folder with `x.npy` and `y.npy`, and for a test part `x_test.npy` and `y_test.npy`,
              which hold what the arrays of a `.npz` file do.

            Labels become one-hot rows. Those from 0 on are the numbers of their classes, max + 1 in
            all, over the train and the test part; others are sorted, and named in the encoding.
        dtype: of every array returned: float16, bfloat16, float32 or float64.
        target: of a table, the name of the target column; the last one by default.
        ignore: of a table, the names of columns to leave out.
        task: "classification" or "regression"; by default text is classes, and so are whole
            numbers of few different values, see `table.targets`.
        encoding: that of a network which is trained on; its columns and classes hold.
        memory_map: of a folder, leave x in its file, unpacked: it becomes a `MappedRows`.

    Returns:
        The examples, x (m, n_0) and y (m, n_L), unscaled, with their encoding.

    Raises:
        ValueError: source is none of these; a file is damaged, claims more than `idx.MAX_BYTES`,
            unpacks to 100 times its size and 256 MiB, or holds what is no examples; or a value is
            beyond the range of dtype. It names column and row.
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
    if task not in (None, "classification", "regression"):
        problems.value(f'task: expected "classification" or "regression", got {task!r}')
    problems.raise_all()
    if memory_map and not (isinstance(source, (str, os.PathLike)) and os.path.isdir(source)):
        raise ValueError(
            f"memory_map: expected a folder of .npy or IDX files, got {_name(source)}; write x and "
            f"y with numpy.save to x.npy and y.npy"
        )
    if is_table(source):
        return _load_table(source, dtype, target, ignore, task, encoding)
    if target is not None or [*ignore]:
        given = "target" if target is not None else "ignore"
        raise ValueError(
            f"{given}: only a CSV file has names of columns, got {source!r}; leave it out"
        )
    where, name, arrays = _read_arrays(source, memory_map=memory_map)
    arrays, classes = _labelled(where, arrays, task, encoding)
    encoding = (encoding or Encoding())._replace(classes=classes)
    return _assemble(where, name, arrays, dtype, encoding)


def load_inputs(
    source: Any, dtype: Any = "float32", encoding: Encoding | None = None, target: str | None = None
) -> Inputs:
    """The inputs of what `load` reads as a network takes them, and their targets if there are any.

    Args:
        source: as of `load`; the targets may lack.
        dtype: as of `load`.
        encoding: that of the network; its columns are found by name, in any order.
        target: of a table, the name of the target column; the network's by default, if there.

    Returns:
        x (m, n_0), scaled as in training, and y.

    Raises:
        ValueError, TypeError, ModuleNotFoundError: as `load`; a column of the network is not there.

    Example:
        >>> x, y, _ = load_inputs("digits")
        >>> x.shape, y.shape
        ((1797, 64), (1797,))

    """
    problems = Problems()
    kind = float_dtype("dtype", dtype, problems)
    problems.raise_all()
    encoding = encoding or Encoding()
    left_out: tuple[str, ...] = ()
    if is_table(source):
        x, y, left_out = _table_inputs(source, encoding, target)
        where = _name(source)
    else:
        where, _, arrays = _read_arrays(source, targets=False)
        x = arrays["x"]
        y = _labels_to_predict(where, arrays["y"], encoding) if "y" in arrays else None
    unscaled = np.dtype(np.float64) if encoding.mean else kind
    if wrong := [*_mismatches({"x": x} if y is None else {"x": x, "y": y}, unscaled)]:
        raise ValueError(f"{where}: " + "; ".join(wrong))
    with np.errstate(over="ignore"):  # an infinity is told of by what takes x
        scaled = encoding.scaled(flat(x, unscaled)).astype(kind)
    return Inputs(scaled, y, left_out)


# ── Sources ──────────────────────────────────────────────────────────────────────────────────────


def is_table(source: Any) -> bool:
    """Whether this is a table with names: a DataFrame, or a CSV file by its name."""
    if table.is_frame(source):
        return True
    named = isinstance(source, (str, os.PathLike)) and os.fspath(source).lower().endswith(_TABLES)
    return named and not os.path.isdir(source)


def _name(source: Any) -> str:
    return "DataFrame" if table.is_frame(source) else os.path.basename(os.path.abspath(source))


def _load_table(
    source: Any,
    dtype: np.dtype,
    target: str | None,
    ignore: Iterable[str],
    task: Task | None,
    encoding: Encoding | None,
) -> Data:
    opened = table.opened(source)
    if encoding is not None and encoding.columns:
        read = table.read(opened, encoding.columns, encoding.target)
        task = "classification" if encoding.classes else "regression"
    else:
        read = table.read(opened, target=target, ignore=ignore)
    y, classes = table.targets(opened.where, read.target, read.cells, read.numbers, task)
    if encoding is None or not encoding.columns:
        encoding = Encoding(read.names, read.target, classes)
    elif classes:
        y = _known_classes(opened.where, read.cells, encoding)
    return _assemble(opened.where, _name(source), {"x": read.x, "y": y}, dtype, encoding)


def _table_inputs(
    source: Any, encoding: Encoding, target: str | None
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    opened = table.opened(source)
    if target is None:
        target = encoding.target if encoding.target in opened.names else ""
    read = table.read(opened, encoding.columns or None, target)
    names = opened.names[opened.first :]
    left_out = tuple(name for name in names if name not in {*read.names, read.target})
    there = [i for i, cell in enumerate(read.cells) if cell is not None]
    if not there:
        return read.x, None, left_out
    cells, numbers = ([whole[i] for i in there] for whole in (read.cells, read.numbers))
    if encoding.classes:
        known = encoding.class_numbers(cells)
    else:
        known, _ = table.targets(opened.where, target, cells, numbers, "regression")
    y = np.ma.masked_all((len(read.cells), *known.shape[1:]), known.dtype)
    y[there] = known
    return read.x, y, left_out


def _known_classes(where: str, cells: Iterable[Any], encoding: Encoding) -> np.ndarray:
    """The number of each class of a network; a ValueError for a class that it does not have."""
    cells = list(cells)
    numbers = encoding.class_numbers(cells)
    if (numbers < 0).any():
        unknown = class_text(cells[int(numbers.argmin())])
        raise ValueError(
            f"{where}: expected the classes that the network was trained on, got {unknown!r}; "
            f"{nearest(unknown, encoding.classes)}"
        )
    return numbers


def _read_arrays(
    source: Any, targets: bool = True, memory_map: bool = False
) -> tuple[str, str, dict[str, np.ndarray]]:
    """How errors and reports name a source that is no table, and its arrays."""
    path = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(path, str):
        raise TypeError(
            f'source: expected "digits", a path or a DataFrame, got {source!r}; pass a str or Path'
        )
    name = os.path.basename(os.path.abspath(path))
    if isinstance(source, str) and source == "digits":
        x, y = digits()
        return "digits", "digits", {"x": x, "y": y}
    if os.path.isdir(path):
        return path, name, read_folder(path, targets, memory_map)
    if os.path.isfile(path) and path.lower().endswith(".npz"):
        return path, name, read_npz(path, targets)
    found = "a file of another kind" if os.path.exists(path) else "nothing there"
    raise ValueError(
        f'source: expected "digits", a .csv or .npz file, or a folder of .npy or IDX files, got '
        f"{path!r} ({found}); check the path, or save arrays x and y with numpy.savez"
    )


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────


def _labelled(
    where: str, arrays: dict[str, np.ndarray], task: Task | None, encoding: Encoding | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays with class numbers (m,) or numbers (m, n_L) as targets, and the classes' names."""
    ys = {key: _column(arrays[key]) for key in ("y", "y_test") if key in arrays}
    if any(y.ndim != 1 or not y.size for y in ys.values()):
        return arrays | ys, ()
    both = np.concatenate([*ys.values()])
    of_classes = encoding is not None and bool(encoding.classes)
    if both.dtype.kind in "iu" and task != "regression" and not of_classes:
        different = np.unique(both)
        if 0 <= different[0] < different[-1] <= 10 * len(different):
            return arrays | ys, ()  # labels that are the numbers of their classes
        task = "classification"
    cells = _cells(where, both)
    if encoding is not None and of_classes:
        numbers, classes = _known_classes(where, cells, encoding), encoding.classes
    else:
        numbers, classes = table.targets(where, "y", cells, range(len(cells)), task)
    parts = np.split(numbers, [len(ys["y"])])
    return arrays | dict(zip(ys, parts, strict=False)), classes


def _labels_to_predict(where: str, y: np.ndarray, encoding: Encoding) -> np.ndarray | None:
    """Class numbers (m,) or numbers (m, n_L); None of text that a network has no classes for."""
    y = _column(y)
    if y.ndim == 1 and encoding.classes:
        return encoding.class_numbers(_cells(where, y))
    if y.dtype.kind not in "iuf":
        return None
    return y[:, None] if y.ndim == 1 and y.dtype.kind == "f" else y


def _column(y: np.ndarray) -> np.ndarray:
    """Targets with the labels of a single column as (m,), and other whole numbers as floats."""
    if y.ndim != 2 or y.dtype.kind == "f":
        return y
    if y.shape[1] == 1:
        return y[:, 0]
    return y.astype(np.float64) if y.dtype.kind in "iub" else y


def _cells(where: str, y: np.ndarray) -> list[Any]:
    try:
        return (y.astype(str) if y.dtype.kind == "S" else y).tolist()
    except ValueError as error:  # bytes of another encoding, or numbers that are no letters
        raise ValueError(
            f"{where}: expected y of text that can be read, got {error}; write it again"
        ) from error


# ── Arrays ───────────────────────────────────────────────────────────────────────────────────────


def _assemble(
    where: str, name: str, arrays: dict[str, np.ndarray], dtype: np.dtype, encoding: Encoding
) -> Data:
    """Data of raw arrays: images flattened and scaled, labels one-hot, everything checked."""
    if wrong := [*_mismatches(arrays, dtype)]:
        raise ValueError(f"{where}: " + "; ".join(wrong))
    labels = [array for array in arrays.values() if array.ndim == 1]
    classes = max([len(encoding.classes), *(1 + int(each.max()) for each in labels)])
    in_memory = [array for array in arrays.values() if not isinstance(array, np.memmap)]
    entries = sum(array.size * (classes if array.ndim == 1 else 1) for array in in_memory)
    if (size := entries * dtype.itemsize) > idx.MAX_BYTES:
        what = f"labels up to {classes - 1}" if labels else "no labels"
        raise idx.too_large(where, f"{len(arrays['x'])} examples with {what} in {dtype}", size)

    def targets(y: np.ndarray) -> np.ndarray:
        if y.ndim == 2:
            return y.astype(dtype)
        one_hot = np.zeros((len(y), classes), dtype)
        one_hot[np.arange(len(y)), y.astype(np.intp)] = 1
        return one_hot

    is_mapped = isinstance(arrays["x"], np.memmap)
    x: Any = MappedRows(arrays["x"], dtype) if is_mapped else flat(arrays["x"], dtype)
    y = targets(arrays["y"])
    if "x_test" not in arrays:
        return Data(x, y, None, None, name, encoding)
    x_test, y_test = flat(arrays["x_test"], dtype), targets(arrays["y_test"])
    return Data(x, y, x_test, y_test, name, encoding)


def _mismatches(arrays: dict[str, np.ndarray], dtype: np.dtype) -> Iterator[str]:
    """All that keeps the arrays from being examples and targets, in words."""
    for x, y in PAIRS:
        if x not in arrays:
            continue
        if arrays[x].dtype.kind != "f" and arrays[x].dtype != np.uint8:
            yield (
                f"expected {x} of floats or uint8 pixels, got {arrays[x].dtype}; save it as float32"
            )
        if arrays[x].ndim < 2:
            yield f"expected {x} of shape (m, n_0), got {arrays[x].shape}; give each example a row"
        if y not in arrays:
            continue
        if (arrays[y].ndim, arrays[y].dtype.kind) not in ((1, "i"), (1, "u"), (2, "f")):
            yield (
                f"expected {y} of (m, n_L) floats or (m,) labels, got {arrays[y].dtype} of shape "
                f"{arrays[y].shape}; save targets as float32 rows, or labels as one number or word "
                f"each"
            )
        if arrays[x].shape[:1] != arrays[y].shape[:1]:
            yield (
                f"expected as many examples in {x} as in {y}, got shapes {arrays[x].shape} and "
                f"{arrays[y].shape}; give each example its target"
            )
    for key, array in arrays.items():
        if not array.size:
            yield f"expected {key} to hold an entry, got the shape {array.shape}; give it examples"
        elif array.ndim and array.dtype.kind == "f":
            yield from _out_of_range(key, array, dtype)
    for train, test in zip(*PAIRS, strict=True) if "x_test" in arrays else ():
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
    low, high = float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)
    least, greatest = float("inf"), -float("inf")
    length = max(1, _CHECKED_AT_ONCE // max(1, array[:1].nbytes))
    for start in range(0, len(array), length):  # or of a file all would be in memory
        part = array[start : start + length]
        if not np.isfinite(part).all():
            i, *rest = (int(i) for i in np.argwhere(~np.isfinite(part))[0])
            got = f"{array[start + i, *rest]} at {(start + i, *rest)}"
            yield f"expected finite {key}, got {got}; leave that example out or mend it"
            return
        least, greatest = min(least, float(part.min())), max(greatest, float(part.max()))
    if least < low or greatest > high:
        yield (
            f"expected {key} in {dtype}'s range [{low:.3g}, {high:.3g}], got "
            f"[{least:.3g}, {greatest:.3g}]; rescale it or choose another dtype"
        )
