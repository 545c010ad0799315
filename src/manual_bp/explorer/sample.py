"""Which neurons and examples of a large network are shown."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from manual_bp.network import Network
from manual_bp.record import Place
from manual_bp.verdicts.rows import Row

Indices = np.ndarray
MOST = {"input": 64, "neurons": 32, "examples": 16}
"""So many are shown whole."""
FEW = 12
"""So many are shown of more."""


class Sample(NamedTuple):
    """What is shown: the neurons of each layer l = 0…L, and the examples."""

    neurons: tuple[Indices, ...]
    examples: Indices

    @staticmethod
    def of(net: Network, m: int, wrong: Sequence[Row]) -> "Sample":
        """A few of what is large, evenly spaced, and where each wrong row is farthest off."""
        needed: dict[int, set[int]] = {l: set() for l in range(-1, net.depth + 1)}
        for row in wrong:
            if row.worst is not None:
                for l, i in zip(axes(row.place), row.worst.index, strict=True):
                    needed[l].add(i)
        most = [MOST["input"], *[MOST["neurons"]] * net.depth]
        neurons = (
            _some(n, limit, needed[l])
            for l, (n, limit) in enumerate(zip(net.sizes, most, strict=True))
        )
        return Sample(tuple(neurons), _some(m, MOST["examples"], needed[-1]))

    def part(self, place: Place, array: np.ndarray) -> np.ndarray:
        """What is shown of the array at a place, a batch as rows."""
        return self.cut(axes(place), array)

    def cut(self, layers: Sequence[int], array: np.ndarray) -> np.ndarray:
        """What is shown of an array whose axes are these layers, −1 for the examples."""
        kept = [self.examples if l < 0 else self.neurons[l] for l in layers]
        shown: np.ndarray = array[np.ix_(*kept)] if kept else array
        return shown


def axes(place: Place) -> tuple[int, ...]:
    """What each axis of the array at a place counts: a layer's neurons, or −1, the examples."""
    l = place.layer
    if place.is_per_example:
        return -1, l
    return {"cost": (), "db": (l,), "dW": (l, l - 1)}[place.quantity]


def _some(n: int, most: int, needed: Iterable[int]) -> Indices:
    if n <= most:
        return np.arange(n)
    spaced = np.linspace(0, n - 1, FEW).round().astype(int)
    return np.unique([*sorted(needed)[:FEW], *spaced]).astype(int)
