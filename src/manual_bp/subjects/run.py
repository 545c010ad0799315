"""A stranger's function, run on copies: it is judged against what was there before it ran."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.arrays import as_array
from manual_bp.checks import theirs
from manual_bp.network import Layer, Network
from manual_bp.subjects.forms import Record, record_from
from manual_bp.text import listed, superscript
from manual_bp.witnesses.numerical import numerical, numerical_with_error


class Given(NamedTuple):
    """What a subject gives, before it is read.

    Attributes:
        name: how reports call it.
        record: in whatever layout and scale it came.
        error: how far each number may be off, where its maker says so.
        notes: what else its run showed.
        changed: the arguments that it changed, by their symbols.
    """

    name: str
    record: Record
    error: Record | None = None
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def given_by(argument: str, source: Any, arguments: Sequence[Any], precision: str | None) -> Given:
    """What a function gives for its own copies of (net, params, x, y); or a record as it is."""
    net, *handed = arguments
    if not callable(source):
        return Given("a record", record_from(argument, net, source))
    name = getattr(source, "__name__", "a function")
    before, copies = [[copied(value) for value in handed] for _ in range(2)]
    with jax.default_matmul_precision(precision or "highest"), theirs(argument):
        if source is numerical:
            return Given(name, *numerical_with_error(net, *copies))
        result = source(net, *copies)
    changed = _changed(net, before, copies)
    also = _changed(net, before, handed)
    _put_back(before, handed)
    notes = []
    if changed:
        notes.append(
            f"your function changed {listed(changed)} while it ran. It had copies, and is judged "
            f"against what was there before"
        )
    if also:
        notes.append(
            f"your function changed {listed(also)} of yours while it ran, not the copies that it "
            f"was handed. They have been put back"
        )
    record = record_from(argument, net, result)
    return Given(name, record, None, tuple(notes), (*changed, *also))


def copied(value: Any) -> Any:
    """The same in memory of its own; what cannot change is shared."""
    if value is None or isinstance(value, (jax.Array, int, float)):
        return value
    if isinstance(value, Layer):
        return Layer(*map(copied, value))
    if type(value) in (tuple, list):
        return type(value)(map(copied, value))
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if hasattr(value, "detach"):  # a tensor of PyTorch
        return value.detach().clone().requires_grad_(value.requires_grad)
    return deepcopy(value)


def _changed(net: Network, before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    """Which of the arguments are not what they were, by their symbols."""
    pairs = zip(_named(net, before), _named(net, after), strict=True)
    return [name for (name, old), (_, new) in pairs if not same(old, new)]


def _named(net: Network, handed: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    params, *batch = handed
    for l, layer in zip(net.layers, params, strict=True):
        for name, array in zip("Wb", layer, strict=True):
            yield name + superscript(l), array
    yield from zip("xy", batch, strict=False)


def same(old: Any, new: Any) -> bool:
    """Whether two arrays hold the same numbers; NaN is NaN."""
    if old is new:
        return True
    old, new = np.asarray(as_array(old)), np.asarray(as_array(new))
    return old.shape == new.shape and bool(((old == new) | (old != old) & (new != new)).all())


def _put_back(before: Any, now: Any) -> None:
    """Write what was there before into the caller's own arrays, where they were changed."""
    if isinstance(now, (tuple, list)):
        for old, new in zip(before, now, strict=False):
            if isinstance(now, list) and not hasattr(new, "__len__") and old is not new:
                now[:] = before
                return
            _put_back(old, new)
    elif isinstance(now, np.ndarray) and not same(before, now) and now.flags.writeable:
        now[...] = before
    elif hasattr(now, "detach") and not same(before, now):
        now.detach().copy_(before)
