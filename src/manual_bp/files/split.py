"""The test part, and the scaling that the training part gives."""

from numbers import Real
from typing import Any

import numpy as np

from manual_bp.checks import Problems, whole_number
from manual_bp.files.data import Data
from manual_bp.files.mapped import MappedRows


def split(data: Data, fraction: float = 0.2, seed: int = 0) -> Data:
    """The same examples with a test part held out; unchanged where there is one already.

    Args:
        data: the examples, x (m, n_0) and y (m, n_L).
        fraction: the share to hold out, round(fraction · m) examples, 0 < fraction < 1.
        seed: a whole number ≥ 0 that fixes the permutation the parts are cut from. Classes are not
            balanced between them.

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
    x: Any = data.x.only(train) if isinstance(data.x, MappedRows) else data.x[train]
    return data._replace(x=x, y=data.y[train], x_test=data.x[test], y_test=data.y[test])


def standardized(data: Data, dtype: Any, targets: bool = False) -> Data:
    """The same examples with inputs of mean 0 and standard deviation 1 over the training part.

    A column that is constant there keeps its deviation. An encoding that has a mean and deviation
    already, such as that of a network which is trained on, is applied as it is.

    Args:
        data: the examples, best of float64: short formats lose the digits of what is far from 0.
        dtype: of the arrays returned.
        targets: scale the targets too, (m, 1) numbers.

    Returns:
        Data of dtype, whose encoding says how its parts were scaled.

    Raises:
        ValueError: a scaled value is beyond the range of dtype.

    Example:
        >>> data = Data(np.array([[1.0, 5.0], [3.0, 5.0]]), np.eye(2), None, None, "two")
        >>> standardized(data, "float32").x.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    encoding = data.encoding
    if not encoding.mean:
        encoding = encoding.fitted(data.x, data.y if targets else None)

    def cast(scaled: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            array = scaled.astype(dtype)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{data.name}: expected values in the range of {np.dtype(dtype)} once "
                f"standardized, got {np.abs(scaled).max():.3g}; choose another dtype"
            )
        return array

    x, y = cast(encoding.scaled(data.x)), cast(encoding.targets_scaled(data.y))
    if data.x_test is None or data.y_test is None:
        return data._replace(x=x, y=y, encoding=encoding)
    x_test = cast(encoding.scaled(data.x_test))
    y_test = cast(encoding.targets_scaled(data.y_test))
    return Data(x, y, x_test, y_test, data.name, encoding)
