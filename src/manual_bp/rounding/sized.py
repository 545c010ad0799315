"""Numbers together with the size of the terms that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sized:
    """Numbers, and the sum of the absolute terms that they are made of.

    Rounding is measured by the terms: a sum of large numbers may be small, and yet no more exact.
    """

    value: Any
    size: Any

    __array_ufunc__ = None  # so that NumPy leaves the operators to us

    @classmethod
    def of(cls, array: Any) -> Sized:
        """An array's own numbers."""
        return cls(array, np.abs(array))

    def each(self, function: Callable[[Any], Any]) -> Sized:
        """The same done to the values and to their sizes."""
        return Sized(function(self.value), function(self.size))

    def __add__(self, other: Sized) -> Sized:
        return Sized(self.value + other.value, self.size + other.size)

    def __mul__(self, other: Any) -> Sized:
        other = other if isinstance(other, Sized) else Sized.of(other)
        return Sized(self.value * other.value, self.size * other.size)

    __rmul__ = __mul__

    def __matmul__(self, other: Sized) -> Sized:
        return Sized(self.value @ other.value, self.size @ other.size)

    def sum(self, axis: int | None = None) -> Sized:
        """Along an axis."""
        return self.each(lambda v: v.sum(axis))

    @property
    def transposed(self) -> Sized:
        """The transpose."""
        return self.each(np.transpose)

    def through(self, function: Callable[[Any], Any]) -> Sized:
        """A function of each number, which is no steeper than 1."""
        return Sized(function(self.value), self.size)
