"""C, ∇ₐC, and δᴸ where σ′ cancels: the costs, each of one example, and their mean over a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array, lax

OfOutputAndTarget = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Cost:
    """A cost of one example; a batch's is the mean over its examples.

    Attributes:
        name: how reports call it.
        value: (aᴸ, y) -> C of each example, shape (m, n) or (n,) to (m,) or ().
        gradient: (aᴸ, y) -> ∇ₐC of each example, of aᴸ's shape.
        delta: (aᴸ, y) -> δᴸ of each example, for a cost whose derivative cancels the output
            activation's σ′. Then BP1 uses it, and `gradient` is not needed.
        of: "z" when `value` takes zᴸ in place of aᴸ, so that it stays exact where aᴸ saturates.
        output: the name of the one output activation it goes with, or None for any.
        targets: the least and the greatest value that y may hold.

    Example:
        >>> import jax.numpy as jnp, manual_bp as mbp
        >>> quartic = mbp.Cost(
        ...     "quartic",
        ...     value=lambda a, y: ((a - y) ** 4).sum(axis=-1) / 4,
        ...     gradient=lambda a, y: (a - y) ** 3,
        ... )
        >>> mbp.Network((2, 1), ("tanh",), quartic).cost.name
        'quartic'
    """

    name: str
    value: OfOutputAndTarget
    gradient: OfOutputAndTarget | None = None
    delta: OfOutputAndTarget | None = None
    of: Literal["z", "a"] = "a"
    output: str | None = None
    targets: tuple[float, float] = (-float("inf"), float("inf"))

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        """Pickle a built-in C as its name, so that it comes back as the same object."""
        return self.name if COSTS.get(self.name) is self else super().__reduce__()

    @property
    def slope(self) -> OfOutputAndTarget:
        """What BP1 starts from, of each example: δᴸ where σ′ cancels, else ∇ₐC."""
        formula = self.delta or self.gradient
        assert formula is not None  # Network has seen to it
        return formula

    def mean(self, z: Array, a: Array, y: Array, m: int) -> Array:
        """C of a batch of m examples, from its outputs zᴸ, aᴸ and targets y."""
        values = self.value(z if self.of == "z" else a, y)
        return values.mean() * (values.size / m)  # these may be a part of the m


def _softplus(z: Array) -> Array:
    return jnp.logaddexp(z, 0)


def _cross_entropy(z: Array, y: Array) -> Array:
    shifted = z - lax.stop_gradient(z.max(axis=-1, keepdims=True))
    log_a = shifted - jnp.log(jnp.exp(shifted).sum(axis=-1, keepdims=True))
    return -(y * log_a).sum(axis=-1)


quadratic = Cost(
    "quadratic",
    value=lambda a, y: ((a - y) ** 2).sum(axis=-1) / 2,
    gradient=lambda a, y: a - y,
)
cross_entropy = Cost(
    "cross_entropy",
    value=_cross_entropy,
    delta=lambda a, y: a * y.sum(axis=-1, keepdims=True) - y,
    of="z",
    output="softmax",
    targets=(0, float("inf")),
)
binary_cross_entropy = Cost(
    "binary_cross_entropy",
    value=lambda z, y: (y * _softplus(-z) + (1 - y) * _softplus(z)).sum(axis=-1),
    delta=lambda a, y: a - y,
    of="z",
    output="sigmoid",
    targets=(0, 1),
)

COSTS = {cost.name: cost for cost in (quadratic, cross_entropy, binary_cross_entropy)}
