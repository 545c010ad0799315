"""How a stranger lays out the same numbers: which is no mistake."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.calls import examples
from manual_bp.checks import Problems, nearest
from manual_bp.diagnosis.subject import arrays_of
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, Place, named_places, places


@dataclass(frozen=True)
class Convention:
    """How a subject's arrays are laid out and scaled; x, y and params are always ours.

    Attributes:
        examples: "rows", z, a and δ of shape (m, n_l), or "columns", (n_l, m).
        weights: "out_in", ∂C/∂W of shape (n_l, n_{l-1}), or "in_out", its transpose.
        reduction: "mean", C is the mean over the examples, or "sum", their sum. The penalty is
            l2/2 · Σ‖W‖² in both.
        delta: "batch", δ is the derivative of the batch's C, or "example", of each example's own
            cost, so that the mean's 1/m comes in with the gradients.

    Raises:
        ValueError: for another value, naming the nearest.

    Example:
        >>> import manual_bp as mbp
        >>> mbp.Convention(examples="columns", reduction="sum").weights
        'out_in'
    """

    examples: Literal["rows", "columns"] = "rows"
    weights: Literal["out_in", "in_out"] = "out_in"
    reduction: Literal["mean", "sum"] = "mean"
    delta: Literal["batch", "example"] = "batch"

    def __post_init__(self) -> None:
        problems = Problems()
        for field in fields(self):
            value, known = getattr(self, field.name), get_args(field.type)
            if value not in known:
                problems.value(f"{field.name}: unknown {value!r}; {nearest(str(value), known)}")
        problems.raise_all()

    def to_ours(self, net: Network, params: Params, x: Any, record: Backprop) -> Backprop:
        """The record in our layout and scale, each array in its own dtype; misfits as they are.

        Biases may be (n,), (n, 1) or (1, n); one example may have a batch axis or none.

        Raises:
            ValueError, TypeError: naming every array that is none of numbers.
        """
        ours = {}
        record = arrays_of(net, record)
        for place in named_places(net).values():
            if (array := record.at(place)) is not None:
                turn = partial(self._turned, place, net, params, x)
                ours[place] = _in_its_dtype(turn, array)
        first = places(net)[0]
        if first in ours:
            # An x that is wider than ours was the same before ours was rounded.
            dtypes = (ours[first].dtype, x.dtype)
            ours[first] = ours[first].astype(max(dtypes, key=lambda dtype: jnp.finfo(dtype).eps))
        return Backprop.from_places(ours, net)

    def from_ours(self, net: Network, params: Params, x: Any, record: Backprop) -> Backprop:
        """A whole record of ours, in this layout and scale."""
        theirs = {}
        for place in places(net):
            array = np.asarray(record.at(place), np.float64)
            added = _penalty(net, params, place)
            array = self.factor(place, examples(x)) * (array - added) + added
            theirs[place] = array.T if self.is_transposed(place) else array
        return Backprop.from_places(theirs, net)

    def factor(self, place: Place, m: int) -> int:
        """How many times ours an array of theirs is, its penalty aside."""
        if place.quantity == "delta":
            return m if self.reduction == "sum" or self.delta == "example" else 1
        return m if self.reduction == "sum" and place.quantity in ("cost", "dW", "db") else 1

    def is_transposed(self, place: Place) -> bool:
        """Whether an array of theirs is ours with its axes exchanged."""
        if place.is_per_example:
            return self.examples == "columns"
        return place.quantity == "dW" and self.weights == "in_out"

    def _turned(self, place: Place, net: Network, params: Params, x: Any, array: Any) -> Any:
        """An array of theirs in our layout and scale; one of another shape as it is."""
        m, factor = examples(x), self.factor(place, examples(x))
        shape = place.shape(net, *x.shape[:-1])
        if self.is_transposed(place) and array.ndim == 2:
            array = array.T
        if place.is_per_example:
            loose = m == 1 and (x.ndim == 1 or array.ndim == 1) and array.size == shape[-1]
        elif place.quantity == "cost":
            loose = array.size == 1
        else:
            loose = place.quantity == "db" and array.shape in {(*shape, 1), (1, *shape)}
        if loose:
            array = array.reshape(shape)
        if factor == 1 or array.shape != shape:
            return array
        added = _penalty(net, params, place)
        return (array - added) / factor + added

    def __str__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Convention({', '.join(changed)})"


def every_convention() -> list[Convention]:
    """All there are, those that differ least from ours first."""
    values = [get_args(field.type) for field in fields(Convention)]
    ours = Convention()
    return sorted(
        (Convention(*combination) for combination in product(*values)),
        key=lambda other: sum(
            getattr(other, field.name) != getattr(ours, field.name) for field in fields(other)
        ),
    )


def _penalty(net: Network, params: Params, place: Place) -> Any:
    """The penalty's part of a quantity, which no convention scales."""
    if not net.l2 or place.quantity not in ("cost", "dW"):
        return 0.0
    W = [np.asarray(W, np.float64) for W, b in params]
    return (
        net.l2 / 2 * sum((w**2).sum() for w in W)
        if place.quantity == "cost"
        else (net.l2 * W[place.layer - 1])
    )


def _in_its_dtype(turn: Callable[[Any], Any], array: Any) -> Any:
    """The array turned in float64, then in its own dtype again, and where it was.

    Both say how it was rounded. A division by m rounds once more, where a subject in our scale
    would have rounded as well.
    """
    if isinstance(array, np.ma.MaskedArray):
        return turn(array.astype(np.float64))
    value = turn(np.asarray(array, np.float64)).astype(array.dtype)
    if not isinstance(array, jax.Array):
        return value
    with jax.enable_x64(True):  # lest a float64 array lose its digits
        return jax.device_put(value, next(iter(array.devices())))
