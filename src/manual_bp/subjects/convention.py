"""How a stranger lays out and scales the same numbers: which is no mistake."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from manual_bp.checks import Problems, one_of, real, shown
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, Place, places


class Scales(NamedTuple):
    """How many times ours a stranger's numbers are; the penalty apart, which no sum multiplies.

    Attributes:
        cost: of C.
        delta: of δ.
        gradient: of ∂C/∂W and ∂C/∂b.
        cost_penalty: of the l2 term in C.
        gradient_penalty: of the l2 term in the gradients.
    """

    cost: float = 1
    delta: float = 1
    gradient: float = 1
    cost_penalty: float = 1
    gradient_penalty: float = 1

    def of(self, place: Place) -> tuple[float, float]:
        """The scale of a place, and of the penalty in it."""
        if place.quantity == "cost":
            return self.cost, self.cost_penalty
        if place.quantity == "delta":
            return self.delta, 0
        return (self.gradient, self.gradient_penalty) if place.quantity in ("dW", "db") else (1, 0)

    def scaled(self, net: Network, params: Params, place: Place, array: Any) -> Any:
        """An array of ours as theirs, its penalty apart."""
        k, k_penalty = self.of(place)
        added = penalty_in(net, params, place)
        return k * (array - added) + k_penalty * added

    @property
    def collected(self) -> float:
        """What BP3 and BP4 multiply their sums over the examples by: 1/m where δ is without it."""
        return self.gradient / self.delta


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
        sign: "descent", or "ascent": δ, ∂C/∂W and ∂C/∂b are minus the gradient, to be added.
        scale: how many times ours C and all its derivatives are, the penalty included: 2 for a
            squared error without ½, 2/n_L for NumPy's mean of squares.
        bias: "separate", or "first" or "last": the biases are that column of W (that row, where
            weights are "in_out"), and ∂C/∂b is that column of ∂C/∂W.

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
    sign: Literal["descent", "ascent"] = "descent"
    scale: float = 1.0
    bias: Literal["separate", "first", "last"] = "separate"

    def __post_init__(self) -> None:
        problems = Problems()
        for field in fields(self):
            if known := get_args(field.type):
                one_of(field.name, getattr(self, field.name), known, problems)
        scale = real(self.scale)
        if scale is None or not 0 < scale < np.inf:
            problems.value(
                f"scale: expected a number > 0, got {shown(self.scale)}; for minus the gradient "
                f"pass sign='ascent'"
            )
        problems.raise_all()
        object.__setattr__(self, "scale", scale)

    def scales(self, m: int) -> Scales:
        """How many times ours the numbers are, of a batch of m examples."""
        sign = -1 if self.sign == "ascent" else 1
        total = m if self.reduction == "sum" else 1
        error = m if self.delta == "example" else total
        s = float(self.scale)
        return Scales(s * total, sign * s * error, sign * s * total, s, sign * s)

    def is_transposed(self, place: Place) -> bool:
        """Whether an array of theirs is ours with its axes exchanged."""
        if place.is_per_example:
            return self.examples == "columns"
        return place.quantity == "dW" and self.weights == "in_out"

    def turned(self, place: Place, net: Network, batch: tuple[int, ...], array: Any) -> Any:
        """An array of theirs in our layout; one that does not fit as it is.

        Biases may be (n,), (n, 1) or (1, n), or one number where there is one bias or the same for
        all; one example may have a batch axis or none. The column of ones that goes with folded
        biases is left out.
        """
        shape, rows = place.shape(net, *batch), batch or (1,)
        if self.is_transposed(place) and array.ndim == 2:
            array = array.T
        if place.is_per_example:
            if array.ndim == 1:
                array = array[None] if rows == (1,) else array[:, None]
            if self.bias != "separate" and array.shape == (*rows, shape[-1] + 1):
                ones = place.quantity == "a"
                if not ones or (np.asarray(array[:, self._folded]) == 1).all():
                    array = np.delete(array, self._folded, axis=1)
            return array.reshape(shape) if array.shape == (*rows, shape[-1]) else array
        if place.quantity == "cost":
            return array.reshape(()) if array.size == 1 else array
        if place.quantity == "db":
            if array.shape in ((*shape, 1), (1, *shape)):
                return array.reshape(shape)
            return np.broadcast_to(array.reshape(()), shape) if array.size == 1 else array
        if array.ndim == 1:  # of one neuron, or from one
            return array[None] if shape[0] == 1 else array[:, None]
        return array

    def unfolded(self, weights: Any) -> tuple[Any, Any]:
        """∂C/∂W, or W, and the biases that are folded into it, laid out (out, in)."""
        return np.delete(weights, self._folded, axis=1), weights[:, self._folded]

    @property
    def _folded(self) -> int:
        return 0 if self.bias == "first" else -1

    def from_ours(self, net: Network, params: Params, record: Backprop, m: int) -> Backprop:
        """A whole record of ours, in this layout and scale."""
        scales, theirs = self.scales(m), {}
        for place in places(net, params):
            array = np.asarray(record.at(place), np.float64)
            theirs[place] = scales.scaled(net, params, place, array)
        if self.bias != "separate":
            side = slice(None, None, -1 if self.bias == "first" else 1)
            for l in net.layers:
                W, b = Place("BP4", "dW", l), Place("BP3", "db", l)
                if b in theirs:
                    parts = [theirs[W], theirs.pop(b)[:, None]]
                    theirs[W] = np.concatenate(parts[side], axis=1)
        return Backprop.from_places(
            {
                place: array.T if self.is_transposed(place) else array
                for place, array in theirs.items()
            },
            net,
        )

    def changed(self) -> dict[str, Any]:
        """What is not as by default."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is not MISSING and getattr(self, field.name) != field.default
        }

    def differences(self, other: "Convention") -> int:
        """In how many of its parts it differs from another."""
        return sum(vars(other)[name] != value for name, value in vars(self).items())

    def layouts(self) -> Iterator["Convention"]:
        """It in every layout, its own first."""
        names = ("examples", "weights", "bias")
        values = [get_args(field.type) for field in fields(self) if field.name in names]
        found = [
            replace(self, **dict(zip(names, chosen, strict=True))) for chosen in product(*values)
        ]
        return iter(sorted(found, key=self.differences))

    def scalings(self, factors: tuple[float, ...]) -> Iterator["Convention"]:
        """It with every reduction, δ and sign, and with each factor as its scale."""
        names = ("reduction", "delta", "sign")
        values = [get_args(field.type) for field in fields(self) if field.name in names]
        for *chosen, scale in product(*values, factors):
            yield replace(self, **dict(zip(names, chosen, strict=True)), scale=scale)

    def __str__(self) -> str:
        return f"Convention({', '.join(f'{k}={v!r}' for k, v in self.changed().items())})"

    @property
    def flags(self) -> str:
        """The same for the command line."""
        return " ".join(f"--{name} {value}" for name, value in self.changed().items())


def check_convention(convention: Any) -> None:
    """Raise an error where this is no convention, with the one that a lone word means."""
    if isinstance(convention, Convention):
        return
    names = [
        field.name
        for field in fields(Convention)
        if isinstance(convention, str) and convention in get_args(field.type)
    ]
    example = f"{names[0]}={convention!r}" if names else "examples='columns'"
    raise TypeError(
        f"convention: expected a manual_bp.Convention, such as Convention({example}), "
        f"got {shown(convention)}"
    )


def penalty_in(net: Network, params: Params, place: Place) -> Any:
    """The l2 term of a quantity, in our scale; 0 where it has none."""
    if not net.l2:
        return 0.0
    W, b = params[place.layer - 1]
    if place.quantity == "cost":
        squares = (np.square(np.asarray(w, np.float64)).sum() for w in net.penalised(params))
        return net.l2 / 2 * sum(squares)
    if place.quantity == "db" and net.l2_biases and b is not None:
        return net.l2 * np.asarray(b, np.float64)
    return net.l2 * np.asarray(W, np.float64) if place.quantity == "dW" else 0.0
