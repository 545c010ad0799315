"""C, ∇ₐC, and δᴸ where σ′ cancels: the costs, each of one example, and their mean over a batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array, lax

from manual_bp.checks import Problems, functions, one_of, real, shown
from manual_bp.families import Family, Parameter, found, parsed, positive, written

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

    Raises:
        ValueError, TypeError: naming every part that does not fit.

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

    def __post_init__(self) -> None:
        problems = Problems()
        if not isinstance(self.name, str) or not self.name:
            problems.type(f"name: expected a word for reports, got {shown(self.name)}")
        functions(self, ("value",), ("gradient", "delta"), problems)
        one_of("of", self.of, ("z", "a"), problems)
        if not isinstance(self.output, str | None):
            problems.type(f"output: expected the name of a σ or None, got {shown(self.output)}")
        limits = tuple(map(real, self.targets)) if isinstance(self.targets, (tuple, list)) else ()
        if len(limits) != 2 or None in limits or not limits[0] <= limits[1]:  # type: ignore
            problems.value(
                f"targets: expected the least and the greatest y, such as (0, 1), "
                f"got {shown(self.targets)}"
            )
        problems.raise_all()
        object.__setattr__(self, "targets", limits)

    def __str__(self) -> str:
        return self.name

    @property
    def built_in(self) -> bool:
        """Whether it is one of the library's own, for which its name stands."""
        try:
            return cost(self.name) is self
        except ValueError:
            return False

    @property
    def family(self) -> str:
        """The name of a built-in C without its parameters; of a user's own, nothing."""
        return parsed(self.name).name if self.built_in else ""

    def __reduce__(self) -> Any:
        """Pickle a built-in C as its name, so that it comes back as the same object."""
        return (cost, (self.name,)) if self.built_in else super().__reduce__()

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


def class_targets(y: Array, smoothing: float = 0.0, weights: tuple[float, ...] = ()) -> Array:
    """The targets that a categorical cross-entropy goes by, of y's shape.

    w ⊙ ((1 − ε)y + ε/n Σy), with ε the smoothing and w the weights of the n classes. A row of
    zeros, an example that is masked, stays one.
    """
    if smoothing:
        n = y.shape[-1]
        y = (1 - smoothing) * y + smoothing / n * y.sum(axis=-1, keepdims=True)
    return y * jnp.asarray(weights, y.dtype) if weights else y


def _huber(threshold: float, a: Array, y: Array) -> Array:
    d = jnp.abs(a - y)
    inside = jnp.where(d <= threshold, d, 0)
    return jnp.where(d <= threshold, inside**2 / 2, threshold * (d - threshold / 2)).sum(axis=-1)


quadratic = Cost(
    "quadratic",
    value=lambda a, y: ((a - y) ** 2).sum(axis=-1) / 2,
    gradient=lambda a, y: a - y,
)


def _cross_entropy_of(name: str, smoothing: float = 0.0, weights: tuple[float, ...] = ()) -> Cost:
    targets = partial(class_targets, smoothing=smoothing, weights=weights)

    def delta(a: Array, y: Array) -> Array:
        t = targets(y)
        return a * t.sum(axis=-1, keepdims=True) - t

    return Cost(
        name,
        value=lambda z, y: _cross_entropy(z, targets(y)),
        delta=delta,
        of="z",
        output="softmax",
        targets=(0, math.inf),
    )


def _huber_of(threshold: float, name: str = "") -> Cost:
    return Cost(
        name or written("huber", threshold),
        value=partial(_huber, threshold),
        gradient=lambda a, y: jnp.clip(a - y, -threshold, threshold),
    )


cross_entropy = _cross_entropy_of("cross_entropy")
binary_cross_entropy = Cost(
    "binary_cross_entropy",
    value=lambda z, y: (y * _softplus(-z) + (1 - y) * _softplus(z)).sum(axis=-1),
    delta=lambda a, y: a - y,
    of="z",
    output="sigmoid",
    targets=(0, 1),
)
mean_squared_error = Cost(
    "mean_squared_error",
    value=lambda a, y: ((a - y) ** 2).mean(axis=-1),
    gradient=lambda a, y: (a - y) * (2 / a.shape[-1]),
)
# |a − y| as a product: then the slope where a is y is 0 by autodiff as well.
absolute_error = Cost(
    "absolute_error",
    value=lambda a, y: (jnp.sign(a - y) * (a - y)).sum(axis=-1),
    gradient=lambda a, y: jnp.sign(a - y),
)
huber = _huber_of(1.0, "huber")
# As `where`, not `maximum`: then the slope at the kink ya = 1 is 0 by autodiff as well.
hinge = Cost(
    "hinge",
    value=lambda a, y: jnp.where(y * a < 1, 1 - y * a, 0).sum(axis=-1),
    gradient=lambda a, y: jnp.where(y * a < 1, -y, 0),
    targets=(-1, 1),
)
poisson = Cost(
    "poisson",
    value=lambda z, y: (jnp.exp(z) - y * z).sum(axis=-1),
    delta=lambda a, y: a - y,
    of="z",
    output="exp",
    targets=(0, math.inf),
)

COSTS = {
    one.name: one
    for one in (
        *(quadratic, cross_entropy, binary_cross_entropy, mean_squared_error),
        *(absolute_error, huber, hinge, poisson),
    )
}
"""The built-in costs that need no parameter, by name."""


@cache
def _with_threshold(threshold: float) -> Cost:
    return huber if threshold == 1 else _huber_of(threshold)


@cache
def _with_targets(smoothing: float, weights: tuple[float, ...]) -> Cost:
    given: dict[str, Any] = {"smoothing": smoothing} if smoothing else {}
    if weights:
        given["weights"] = weights
    return _cross_entropy_of(written("cross_entropy", **given), **given) if given else cross_entropy


def _hubers(threshold: Parameter = 1.0) -> Cost:
    return _with_threshold(positive("a threshold δ", threshold))


def _cross_entropies(*, smoothing: Parameter = 0.0, weights: Parameter = ()) -> Cost:
    if isinstance(smoothing, tuple) or not 0 <= smoothing < 1:
        raise ValueError(f"expected a smoothing from 0 to below 1, got {smoothing}")
    if not isinstance(weights, tuple) or not all(0 <= w < math.inf for w in weights):
        raise ValueError(f"expected weights ≥ 0, one for each class, got {weights}")
    if weights and not any(weights):
        raise ValueError("expected weights of which one at least is above 0, got zeros")
    return _with_targets(float(smoothing), weights)


FAMILIES = {
    "huber": Family(_hubers, "huber(2)"),
    "cross_entropy": Family(_cross_entropies, "cross_entropy(smoothing=0.1, weights=(1, 2, 0.5))"),
}
"""Those that have parameters."""


def cost(name: str) -> Cost:
    """The built-in cost that a name stands for, with its parameters where it has some.

    huber(δ) is ½(a − y)² up to |a − y| = δ and δ(|a − y| − ½δ) from there, summed over the
    outputs; δ is 1 without it. cross_entropy(smoothing=ε, weights=(w₁, …, wₙ)) is −Σ wⱼtⱼ log aⱼ
    with tⱼ = (1 − ε)yⱼ + ε/n Σy; either may be left out. One text gives one object.

    A batch's cost is the mean over its examples here too. PyTorch has that mean for targets that
    are probabilities; for targets that are class numbers it divides by the sum of the examples'
    weights in place of m.

    Args:
        name: such as "quadratic", "huber(2)" or "cross_entropy(smoothing=0.1)".

    Raises:
        ValueError: there is none of that name, or its parameters do not fit.

    Source: P. Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics
    35 (1964); C. Szegedy et al., CVPR 2016 (label smoothing).

    Example:
        >>> import jax.numpy as jnp
        >>> from manual_bp.costs import cost
        >>> cost("huber(2)").value(jnp.array([3.0, 1.0]), jnp.array([0.0, 0.0])).tolist()
        4.5
        >>> cost("huber(1)") is cost("huber")
        True
    """
    return found(name, COSTS, FAMILIES, what="cost")
