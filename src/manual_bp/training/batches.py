"""Where the mini-batches of an epoch come from: arrays in memory, in files, or anybody's iterator.

Each source gives them as segments: mini-batches of one size, stacked, which one program takes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Array

from manual_bp.checks import kind, theirs
from manual_bp.network import Network
from manual_bp.training.epoch import Batches, one_hot, one_of_two, order_of, shuffled

Read = Callable[[Any, Any], Batches]
"""Checks examples, and puts them on the devices as arrays of the parameters' format."""

AT_ONCE = 1 << 22  # bytes of a file's examples, as float64, that are read as one segment


class Source(Protocol):
    """What an epoch goes through."""

    @property
    def steps(self) -> int | None:
        """How many mini-batches that is; None where nobody knows."""

    @property
    def classes(self) -> bool:
        """Whether the targets are those of classes, so that there is an accuracy."""

    def epoch(self, number: int, key: Array) -> Iterator[Batches]:
        """The segments of an epoch."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Arrays of JAX's, all examples in them: every row, or these."""

    net: Network
    x: Array
    y: Array
    batch_size: int
    rows: Array | None = None

    @property
    def steps(self) -> int:
        """Full mini-batches, and what is left."""
        return math.ceil(len(self.x if self.rows is None else self.rows) / self.batch_size)

    @cached_property
    def classes(self) -> bool:
        """Whether all of the targets are those of classes."""
        return are_classes(self.net, self.y)

    def epoch(self, number: int, key: Array) -> Iterator[Batches]:
        """All examples once, in an order drawn from the epoch's key."""
        key = jax.random.fold_in(key, number)
        yield from shuffled(self.x, self.y, key, self.batch_size, self.rows)


@dataclass(frozen=True, eq=False)
class InFiles:
    """Memory-mapped arrays, of which a few mini-batches are read at a time."""

    net: Network
    read: Read
    x: Any
    y: Any
    batch_size: int

    @property
    def steps(self) -> int:
        """Full mini-batches, and what is left."""
        return math.ceil(len(self.x) / self.batch_size)

    @cached_property
    def classes(self) -> bool:
        """Whether all of the targets are those of classes."""
        slices = (slice(i, i + self.at_once) for i in range(0, len(self.y), self.at_once))
        return all(are_classes(self.net, self._rows(rows)[1]) for rows in slices)

    @property
    def at_once(self) -> int:
        """How many examples are read as one segment, a mini-batch at least."""
        of_an_example = 8 * (self.net.sizes[0] + self.net.sizes[-1])
        return self.batch_size * max(1, AT_ONCE // (self.batch_size * of_an_example))

    def epoch(self, number: int, key: Array) -> Iterator[Batches]:
        """The mini-batches that arrays in memory would give, in the same order."""
        order = np.asarray(order_of(jax.random.fold_in(key, number), len(self.x)))
        full = len(order) - len(order) % self.batch_size
        for start in range(0, full, self.at_once):
            yield self._stacked(order[start : min(start + self.at_once, full)], self.batch_size)
        if full < len(order):
            yield self._stacked(order[full:], len(order) - full)

    def _stacked(self, rows: Any, size: int) -> Batches:
        x, y = self._rows(rows)
        return x.reshape(-1, size, x.shape[-1]), y.reshape(-1, size, y.shape[-1])

    def _rows(self, rows: Any) -> Batches:
        try:
            return self.read(self.x[rows], self.y[rows])
        except ValueError as error:
            numbers = range(len(self.x))[rows] if isinstance(rows, slice) else rows
            first, last = min(numbers), max(numbers)
            raise ValueError(f"x, y: among rows {first} to {last}: {error}") from error


@dataclass(frozen=True, eq=False)
class FromAnIterable:
    """Pairs (x, y), a mini-batch each, of an iterable or of a function of the epoch's number."""

    net: Network
    read: Read
    pairs: Iterable[Any] | Callable[[int], Iterable[Any]]
    steps: None = None

    @cached_property
    def classes(self) -> bool:
        """Whether accuracy is measured: targets of cross-entropy are classes."""
        return self.net.cost.family == "cross_entropy"

    def epoch(self, number: int, key: Array) -> Iterator[Batches]:
        """Each pair as a segment of one mini-batch."""
        count = 0
        with theirs("x"):
            pairs = iter(self.pairs(number) if callable(self.pairs) else self.pairs)
        while True:
            with theirs("x"):
                pair = next(pairs, None)
            if pair is None:
                break
            count += 1
            where = f"x: batch {count} of epoch {number + 1}"
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"{where}: expected a pair (x, y), got {kind(pair)}")
            try:
                x, y = self.read(*pair)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{where}: {error}") from error
            if x.ndim != 2:
                raise ValueError(f"{where}: expected rows, got one example without its axis")
            yield x[None], y[None]
        if not count:
            raise ValueError(
                f"x: expected a batch at least, got none in epoch {number + 1}; an iterator can be "
                f"gone through once: pass a list, an object with __iter__, or a function of the "
                f"epoch's number"
            )


def are_classes(net: Network, y: Array) -> bool:
    """Whether these targets are those of classes."""
    if y.shape[1] == 1:
        of_two = net.cost.family == "hinge" or net.activations[-1].name == "sigmoid"
        return of_two and bool(one_of_two(net, y))
    return net.cost.family == "cross_entropy" or bool(one_hot(y))


def segments(groups: Iterable[Batches], every: int | None) -> Iterator[tuple[int, Batches]]:
    """The mini-batches with the number of their first step, cut before each `every`-th step."""
    first = 0
    for x, y in groups:
        steps = len(x)
        cuts = [] if every is None else list(range(-first % every, steps, every))
        edges = sorted({0, *cuts, steps})
        for start, end in pairwise(edges):
            yield first + start, (x, y) if end - start == steps else (x[start:end], y[start:end])
        first += steps
