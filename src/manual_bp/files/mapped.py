"""Examples that stay in their file: rows of a memory-mapped array, read when they are asked for."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Inputs x, (m, n_0), of a memory-mapped array; an index reads its rows, and no others.

    Attributes:
        array: (k, ...), an example each.
        dtype: of the rows that are read.
        rows: the numbers (m,) of those examples that count; None for all.

    Example:
        >>> x = MappedRows(np.arange(12.0).reshape(3, 2, 2), np.dtype("float32"))
        >>> x.shape, x.only(np.array([2, 0]))[:1]
        ((3, 4), array([[ 8.,  9., 10., 11.]], dtype=float32))
    """

    array: np.ndarray
    dtype: np.dtype
    rows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n_0)."""
        return len(self), self.array[:1].size

    def __len__(self) -> int:
        """How many examples count."""
        return len(self.array if self.rows is None else self.rows)

    def __getitem__(self, which: Any) -> np.ndarray:
        """These examples, read."""
        return flat(self.array[which if self.rows is None else self.rows[which]], self.dtype)

    def only(self, which: np.ndarray) -> "MappedRows":
        """The same of these examples alone; nothing is read."""
        return replace(self, rows=which if self.rows is None else self.rows[which])


def flat(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Each example a row; pixels divided by 255."""
    # A table rounds each of the 256 values once, whatever dtype is.
    pixels = (np.arange(256) / 255).astype(dtype)
    with np.errstate(over="ignore"):  # an infinity is told of by what takes x
        return (pixels[x] if x.dtype == np.uint8 else x.astype(dtype)).reshape(len(x), -1)
