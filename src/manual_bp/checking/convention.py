"""How a stranger lays out the same numbers: which is no mistake."""

from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.backprop import Backprop
from manual_bp.network import Network, Params, Problems, nearest


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
        record = received(net, record)
        m = 1 if x.ndim == 1 else len(x)
        of_delta = m if self.reduction == "sum" or self.delta == "example" else 1
        of_gradients = m if self.reduction == "sum" else 1

        def per_example(arrays: Any, widths: dict[int, int], scale: int = 1) -> Any:
            def ours(array: Any, n: int) -> Any:
                if self.examples == "columns" and array.ndim == 2:
                    array = array.T
                if x.ndim == 1 and array.size == n:
                    array = array.reshape(n)
                elif m == 1 and array.shape == (n,):
                    array = array.reshape(1, n)
                return array / scale

            return _each(arrays, widths, ours)

        def weights(arrays: Any) -> Any:
            def ours(array: Any, l: int) -> Any:
                array = array.T if self.weights == "in_out" else array
                W = np.asarray(params[l - 1][0], np.float64)
                if of_gradients == 1 or array.shape != W.shape:
                    return array
                return (array - net.l2 * W) / m + net.l2 * W

            return _each(arrays, {l: l for l in net.layers}, ours)

        def biases(arrays: Any) -> Any:
            def ours(array: Any, n: int) -> Any:
                flat = array.reshape(n) if array.shape in ((n, 1), (1, n)) else array
                return flat / of_gradients

            return _each(arrays, of_layers, ours)

        sizes = dict(enumerate(net.sizes))
        of_layers = {l: sizes[l] for l in net.layers}

        def mean_cost(cost: Any, l: int) -> Any:
            if cost.size != 1:
                return cost
            if of_gradients == 1:
                return cost.reshape(())
            W2 = sum(float((np.asarray(W, np.float64) ** 2).sum()) for W, b in params)
            penalty = net.l2 / 2 * W2
            return (cost.reshape(()) - penalty) / of_gradients + penalty

        activations = per_example(record.a, sizes)
        if activations is not None and activations[0] is not None:
            # An x that is wider than ours was the same before ours was rounded.
            coarser = max(activations[0].dtype, x.dtype, key=lambda dtype: jnp.finfo(dtype).eps)
            activations = (activations[0].astype(coarser), *activations[1:])
        return Backprop(
            None if record.cost is None else _each((record.cost,), {0: 0}, mean_cost)[0],
            per_example(record.z, of_layers),
            activations,
            per_example(record.delta, of_layers, of_delta),
            weights(record.dW),
            biases(record.db),
        )

    def from_ours(self, net: Network, params: Params, x: Any, record: Backprop) -> Backprop:
        """A whole record of ours, in this layout and scale."""
        m = 1 if x.ndim == 1 else len(x)
        of_delta = m if self.reduction == "sum" or self.delta == "example" else 1
        scale = m if self.reduction == "sum" else 1
        W = [np.asarray(layer[0], np.float64) for layer in params]
        penalty = net.l2 / 2 * sum((w**2).sum() for w in W)

        def turned(arrays: Any, turn: bool) -> Any:
            return tuple(a.T if turn else a for a in (np.asarray(a, np.float64) for a in arrays))

        columns = self.examples == "columns"
        gradients = [
            scale * (np.asarray(dW, np.float64) - net.l2 * w) + net.l2 * w
            for dW, w in zip(record.dW, W, strict=True)
        ]
        return Backprop(
            scale * (np.asarray(record.cost, np.float64) - penalty) + penalty,
            turned(record.z, columns),
            turned(record.a, columns),
            turned([of_delta * np.asarray(d, np.float64) for d in record.delta], columns),
            turned(gradients, self.weights == "in_out"),
            turned([scale * np.asarray(db, np.float64) for db in record.db], False),
        )

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


def received(net: Network, record: Backprop) -> Backprop:
    """The record with every quantity as arrays of real numbers, or None.

    Raises:
        ValueError, TypeError: naming each field and layer that is none.
    """
    problems = Problems()

    def array(where: str, value: Any) -> Any:
        if value is None:
            return None
        if not hasattr(value, "dtype"):
            try:
                value = np.asarray(value)
            except ValueError:
                problems.value(
                    f"subject: {where}: expected rows of one length, got lists of several"
                )
                return None
        kinds = (jnp.floating, jnp.integer)
        if not any(jnp.issubdtype(value.dtype, kind) for kind in kinds):
            problems.type(f"subject: {where}: expected real numbers, got {value.dtype} values")
            return None
        return value if jnp.issubdtype(value.dtype, jnp.floating) else np.asarray(value, np.float64)

    def arrays(quantity: str, values: Any) -> Any:
        if values is None:
            return None
        first = 0 if quantity == "a" else 1
        count = net.depth + 1 - first
        expected = f"subject: {quantity}: expected {count} arrays, {quantity}{first} … "
        expected += f"{quantity}{net.depth}, None for those not given"
        if not hasattr(values, "__len__") or isinstance(values, (str, bytes, dict)):
            problems.type(f"{expected}; got {type(values).__name__}")
        elif len(values) != count:
            problems.value(f"{expected}; got {len(values)}")
        else:
            return tuple(
                array(f"{quantity}, layer {l}", value) for l, value in enumerate(values, first)
            )
        return None

    found = Backprop(
        array("cost", record.cost),
        *(arrays(name, getattr(record, name)) for name in Backprop._fields[1:]),
    )
    problems.raise_all()
    return found


def _each(arrays: Any, by_layer: dict[int, int], ours: Any) -> Any:
    """`ours` of each array, in float64, with what belongs to its layer; None stays None.

    The result has the array's own dtype again, and is where it was: both say how it was rounded. A
    division by m rounds once more, where a subject in our scale would have rounded as well.
    """
    if arrays is None:
        return None

    def turned(array: Any, of_layer: int) -> Any:
        if isinstance(array, np.ma.MaskedArray):
            return ours(array.astype(np.float64), of_layer)
        value = ours(np.asarray(array, np.float64), of_layer).astype(array.dtype)
        if not isinstance(array, jax.Array):
            return value
        with jax.enable_x64(True):  # lest a float64 array lose its digits
            return jax.device_put(value, next(iter(array.devices())))

    return tuple(
        None if array is None else turned(array, of_layer)
        for array, of_layer in zip(arrays, by_layer.values(), strict=True)
    )
