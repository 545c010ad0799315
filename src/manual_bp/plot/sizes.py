"""How large the numbers of a record are."""

from typing import Any

import numpy as np

from manual_bp.arrays import read_array
from manual_bp.checks import Problems, kind
from manual_bp.record import Backprop


def sizes(step: Any, quantity: str) -> dict[int, np.ndarray]:
    """The absolute values of a record's a or δ by layer, each (m, n_l) of float64.

    Raises:
        TypeError, ValueError: naming what is no record of it.
    """
    if not isinstance(step, Backprop):
        raise TypeError(
            f"step: expected the record of manual_bp.backprop(net, params, x, y), got {kind(step)}"
        )
    arrays = getattr(step, quantity)
    if not isinstance(arrays, (tuple, list)) or not arrays:
        got = "none" if arrays is None else f"{kind(arrays)} of {len(arrays)}"
        raise ValueError(f"step: expected {quantity}, an array for each layer, got {got}")
    problems, found = Problems(), {}
    for place, array in Backprop(**{quantity: arrays}).items():
        argument = f"step: {quantity}, layer {place.layer}"
        if (given := read_array(argument, array, problems)) is None:
            continue
        values = np.abs(np.asarray(given.array, np.float64))
        if values.ndim not in (1, 2) or not values.size:
            problems.value(
                f"{argument}: expected shape (m, n), or (n,) for one example, got {values.shape}"
            )
        found[place.layer] = np.atleast_2d(values)
    problems.raise_all()
    return found


def rms(values: np.ndarray, axis: int | None = None) -> Any:
    """The root of the mean square, of sizes whose squares may overflow or underflow."""
    largest = values.max(axis=axis, keepdims=True)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    with np.errstate(all="ignore"):  # of shares too small to matter, and beside an infinity
        return np.squeeze(scale, axis) * np.sqrt(np.mean((values / scale) ** 2, axis=axis))


def decades(values: np.ndarray) -> tuple[float, float]:
    """The powers of ten around these positive numbers, one at least between them."""
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    low, high = max(low - (low == high), -320.0), min(high, 308.0)
    return 10.0**low, 10.0**high
