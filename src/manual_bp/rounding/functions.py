"""How far rounding can take a σ, a σ′, a C and a ∇ₐC, and what the errors of their inputs do."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.activations import Activation
from manual_bp.costs import Cost, class_targets
from manual_bp.families import parsed
from manual_bp.rounding.arithmetic import Arithmetic, Uncertain


def derivative_bound(ar: Arithmetic, sigma: Activation, z: Uncertain) -> tuple[Array, Array]:
    """σ′(z) by autodiff, and how far a right σ′ in this arithmetic may be from it."""
    prime = partial(_slope_of, sigma)
    off = ar.u * activation_rounding(sigma, z.value, sigma(z.value))[1]
    off += (1 + jnp.abs(z.value)) * ar.tiny
    for kink in sigma.kinks:  # on whose other side rounding may put z
        near = jnp.abs(z.value - kink) <= 16 * ar.u * abs(kink) + ar.flush
        low, high = prime(kink + jnp.array([-(2.0**-20), 2.0**-20]))
        off += jnp.where(near, jnp.abs(high - low), 0)
    if sigma.departures is not None:
        off += sigma.departures(z.value)[1]
    return prime(z.value), off + spread_of(prime, z)


def _slope_of(sigma: Activation, z: Array) -> Array:
    """σ′(z) by autodiff."""
    _, pull = jax.vjp(sigma.sigma, z)
    return pull(jnp.ones_like(z))[0]


def activation_rounding(sigma: Activation, z: Array, a: Array) -> tuple[Array, Array]:
    """The rounding errors of σ and σ′ in unit roundoffs: those stated, or those assumed."""
    if sigma.rounding is not None:
        return sigma.rounding(z, a)
    slope, bend = jax.jvp(partial(_slope_of, sigma), (z,), (z,))
    e_a = 8 * jnp.maximum(jnp.maximum(1, jnp.abs(a)), jnp.abs(z * slope))
    return e_a, 8 * jnp.maximum(jnp.maximum(1, jnp.abs(slope)), jnp.abs(bend))


def cost_rounding(cost: Cost, z: Array, a: Array, y: Array) -> tuple[Array, Array]:
    """The rounding errors of an example's cost, and of its ∇ₐC or δᴸ, in unit roundoffs.

    Sums over the outputs not counted. Of a user's own cost it is assumed that its terms do not
    cancel, and that value and gradient are within 8 units of what their inputs' last place does.
    """
    d = jnp.abs(a - y)
    match cost.family:
        case "quadratic":
            return 4 * cost.value(a, y), 2 * d
        case "mean_squared_error":
            return 6 * cost.value(a, y), 8 / y.shape[-1] * d
        case "absolute_error":
            return 2 * cost.value(a, y), jnp.ones_like(d)
        case "huber":  # where it is linear, |a − y| − ½δ is half of |a − y| at least
            return 8 * cost.value(a, y), 4 * jnp.abs(cost.slope(a, y))
        case "hinge":
            size = jnp.abs(y * a)
            return jnp.where(y * a < 2, 3 * (1 + size), 0).sum(axis=-1), jnp.abs(y)
        case "cross_entropy":
            # log aⱼ = zⱼ − max z − log Σ: each difference rounded, and exp passes its error on.
            top, n, t = z.max(axis=-1, keepdims=True), z.shape[-1], targets_of(cost, y)
            passed_on = (a * (top - z)).sum(axis=-1, keepdims=True) + n
            each = 8 + 2 * (jnp.abs(z) + jnp.abs(top)) + passed_on
            of_delta = 4.0
            if parsed(cost.name).named:  # t is a sum over the classes, smoothed and weighed
                each += (n + 8) * (top - z + jnp.log(n))
                of_delta += n + 8
            return (t * each).sum(axis=-1), of_delta * (a * total(t) + t)
        case "binary_cross_entropy":
            each = 8 * (1 + jnp.abs(z))
            return each.sum(axis=-1), 4 * (a + jnp.abs(y))
        case "poisson":  # a and yz, which may cancel in any order of all sums
            terms = (10 + 3 * jnp.abs(z)) * a + 2 * jnp.abs(y * z)
            terms += y.size * (a + jnp.abs(y * z))
            return terms.sum(axis=-1), 4 * (a + jnp.abs(y))
    inputs = z if cost.of == "z" else a
    value, slope = _value_and_slope(cost, inputs, y)
    off = 8 * (jnp.abs(value) + jnp.abs(slope * inputs).sum(axis=-1))
    result, change = jax.jvp(lambda a: cost.slope(a, y), (a,), (a,))
    return off, 8 * (jnp.abs(result) + jnp.abs(change))


def _value_and_slope(cost: Cost, inputs: Array, y: Array) -> tuple[Array, Array]:
    value, pull = jax.vjp(lambda v: cost.value(v, y), inputs)
    return value, pull(jnp.ones_like(value))[0]


def total(y: Array) -> Array:
    """Σ|y| of each example, as a column."""
    return jnp.abs(y).sum(axis=-1, keepdims=True)


def spread_of(f: Callable[[Array], Array], z: Uncertain, elementwise: bool = True) -> Array | float:
    """How far f(z) may move when z does by its error, or softmax's Jacobian's reach.

    Far from 0 f is monotone, and both ends tell. Near 0 so do steps of ¼ between them: there σ and
    σ′ have their extremes, such as sigmoid's σ′ at 0. A user's own f is taken to be such a one.
    """
    if z.error is None:
        return 0.0
    middle = f(z.value)
    if elementwise:
        low, high = z.value - z.error, z.value + z.error

        def farther(reach: Array, step: Array) -> tuple[Array, None]:
            moved = f(jnp.clip(step, low, high))
            return jnp.maximum(reach, jnp.abs(moved - middle)), None

        steps = jnp.array([-jnp.inf, *(t / 4 for t in range(-10, 11)), jnp.inf])
        return jax.lax.scan(farther, jnp.zeros_like(middle), steps)[0]
    low, high = softmax_range(z.value, z.error)
    return jnp.maximum(high - middle, middle - low)


def softmax_range(z: Array, error: Array) -> tuple[Array, Array]:
    """The least and the greatest softmax of z ± error: aⱼ is least where zⱼ is, and others most."""
    error = jnp.minimum(jnp.nan_to_num(error, nan=jnp.inf), 1e300)

    def share(own: Array, others: Array) -> Array:
        top = others.max(axis=-1, keepdims=True)
        sizes = jnp.exp(others - top)
        rest = jnp.maximum(sizes.sum(axis=-1, keepdims=True) - sizes, 0)
        return 1 / (1 + rest * jnp.exp(top - own))  # 0 · ∞: of one class alone that can be

    return jnp.nan_to_num(share(z - error, z + error)), share(z + error, z - error)


def cost_spread(cost: Cost, inputs: Uncertain, y: Uncertain) -> Array:
    """How far C of each example may move with a or z, and y: by the steepest slope within reach.

    Not by the slope where they are, which is 0 where a is y. A slope is monotone in a and in y, so
    the ends tell; a user's own is taken to be so.
    """
    e_y = jnp.zeros_like(y.value) if y.error is None else y.error
    error = jnp.zeros_like(y.value) if inputs.error is None else inputs.error
    if cost.family == "cross_entropy":  # its slope in z is aΣt − t
        t, e_t = (targets_of(cost, one) for one in (y.value, e_y))
        least, greatest = softmax_range(inputs.value, error)
        steep = _largest([a * total(t) - t for a in (least, greatest)]) + total(e_t) + e_t
        log_a = jax.nn.logsumexp(inputs.value, axis=-1, keepdims=True) - inputs.value
        return (carried(steep, error) + e_t * (log_a + 2 * error.max())).sum(axis=-1)
    ends = [(inputs.value + s * error, y.value - s * e_y) for s in (-1, 0, 1)]
    by_input, by_y = zip(*(_slopes(cost, *end) for end in ends), strict=True)
    off = carried(_largest(by_input), error) + carried(_largest(by_y), e_y)
    return off.sum(axis=-1)


def _slopes(cost: Cost, inputs: Array, y: Array) -> tuple[Array, Array]:
    value, pull = jax.vjp(cost.value, inputs, y)
    return pull(jnp.ones_like(value))


def _largest(arrays: Sequence[Array]) -> Array:
    return jnp.abs(jnp.stack(arrays)).max(axis=0)


def carried(slope: Array, error: Array) -> Array:
    """A slope times an error: nothing where there is no error, however steep, or no slope."""
    return jnp.where((slope == 0) | (error == 0), 0, slope * error)


def jump(cost: Cost, a: Array, error: Array, y: Array, e_y: Array) -> Array:
    """How far ∇ₐC goes within a's error and y's, a kink such as that of |a − y| at y included."""
    here, low, high = (cost.slope(a + s * error, y - s * e_y) for s in (0, -1, 1))
    return jnp.maximum(jnp.abs(high - here), jnp.abs(low - here))


def targets_of(cost: Cost, y: Array) -> Array:
    """The targets that δᴸ goes by, where a cross-entropy smooths or weighs them."""
    if cost.family != "cross_entropy":
        return y
    given: dict[str, Any] = dict(parsed(cost.name).named)
    return class_targets(y, **given)
