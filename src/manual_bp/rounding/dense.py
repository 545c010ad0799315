"""The truth of each equation of a dense layer, and how far rounding can take it from that.

An equation asks: does this array follow from the arrays that it was computed from? Its truth is
automatic differentiation of that one step in float64, not the formula of `backprop.py`. Its bound
says, element by element, how far rounding alone can take a right computation from the truth.

Every bound rests on one theorem. For a sum of n products computed in a format of unit roundoff u,
in whatever order,

    |fl(Σ aᵢbᵢ) − Σ aᵢbᵢ| ≤ γₙ Σ |aᵢ||bᵢ|,    γₙ = nu / (1 − nu),

and on |fl(x ∘ y) − x ∘ y| ≤ u |x ∘ y| for a single operation ∘ (N. Higham, *Accuracy and Stability
of Numerical Algorithms*, 2nd ed., 2002, §§ 2.2, 3.1, 3.5). An input that is itself uncertain by e
(a quantity that the subject does not show, or one that it used before rounding it) adds what e can
do through the equation's derivative.

Each equation is a compiled program of its own: layers of one shape share it, and there is little
to compile for a network that is new.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.activations import Activation, softmax
from manual_bp.costs import Cost, class_targets
from manual_bp.families import parsed
from manual_bp.network import Network, Params
from manual_bp.rounding.arithmetic import Arithmetic


class Uncertain(NamedTuple):
    """An array to compute with, and how far it may be off (None: not at all)."""

    value: Array
    error: Array | None = None

    def rounded(self, u: float, tiny: float = 0.0) -> "Uncertain":
        """The same, known no better than after one more rounding: below the normal numbers that is
        an absolute error, which `tiny` stands for.
        """
        error = u * jnp.abs(self.value) + tiny
        return Uncertain(self.value, error if self.error is None else error + self.error)


class Bounded(NamedTuple):
    """What an equation must give, and how nearly.

    Attributes:
        truth: autodiff of this one step, in float64.
        bound: the most that a right computation may differ, element by element.
        otherwise: what would be as right, and its bound: σ′ may be had from the subject's own a,
            where that is not σ of its own z (which is another equation's mistake). Or None.
    """

    truth: Array
    bound: Array
    otherwise: tuple[Array, Array] | None = None


class OwnActivation(NamedTuple):
    """The subject's own a of a layer, and the examples, as a column, where it is not σ(z)."""

    a: Array | None
    is_not_of_z: Array | bool


@partial(jax.jit, static_argnums=(0,))
def weighted_input_bound(ar: Arithmetic, W: Array, b: Array | None, a_prev: Uncertain) -> Bounded:
    """zˡ = Wˡ aˡ⁻¹ + bˡ: the product's bound, the rounding of adding b, and |W| times a's error.

    Or b is one more term of the product's sum: compilers start a sum of products with it.
    """
    product = a_prev.value @ W.T
    z = product if b is None else product + b
    spread = 0.0 if a_prev.error is None else a_prev.error @ jnp.abs(W.T)
    absolute = ar.absolute_product(a_prev.value, W.T)
    terms = W.shape[1] + (b is not None)
    bound = ar.of_product(absolute, product, terms, spread)
    if b is not None:
        bound += (ar.gamma(terms) + ar.reading) * jnp.abs(b)
    return Bounded(z, bound + ar.u * (jnp.abs(z) + bound))


@partial(jax.jit, static_argnums=(0, 1))
def activation_bound(ar: Arithmetic, sigma: Activation, z: Uncertain) -> Bounded:
    """aˡ = σ(zˡ): σ's own rounding (see `Activation.rounding`), and what z's error does to it.

    What underflows in σ may be a factor of z, as the logistic function is in silu(z).
    """
    a = sigma(z.value)
    bound = ar.u * activation_rounding(sigma, z.value, a)[0] + (1 + jnp.abs(z.value)) * ar.tiny
    return Bounded(a, bound + _spread(sigma.sigma, z, elementwise=sigma is not softmax))


@partial(jax.jit, static_argnums=(0, 1))
def cost_bound(
    ar: Arithmetic,
    net: Network,
    params: Params,
    z: Uncertain,
    a: Uncertain,
    y: Array,
    scale: float = 1,
    penalty_scale: float = 1,
) -> Bounded:
    """C = mean of each example's cost, and the penalty: its rounding, γ of all sums, its input's.

    A built-in cost's terms are all ≥ 0, so Σ|terms| is the cost itself; of a user's own that is
    assumed. Poisson's have both signs, and `cost_rounding` measures its sums too. Both parts may be
    a stranger's, so many times ours.
    """
    m, n = y.shape
    inputs, e_y = z if net.cost.of == "z" else a, ar.reading * jnp.abs(y)
    value = net.cost.value(inputs.value, y)
    off = ar.u * cost_rounding(net.cost, z.value, a.value, y)[0] + n * ar.tiny
    off += ar.gamma(n) * jnp.abs(value) + _cost_spread(net.cost, inputs, Uncertain(y, e_y))
    size = jnp.abs(value) + off
    truth = scale * value.mean()
    bound = scale * (off.mean() + (ar.gamma(m) + 5 * ar.u) * size.mean())
    if net.l2:
        weights = sum(w.size for w in net.penalised(params))
        added = penalty_scale * penalty(net, params)
        truth += added
        # Each layer's sum may be stored before it is added to the others'.
        bound += (ar.gamma(weights) + (4 + net.depth) * ar.u) * added + ar.u * jnp.abs(truth)
    return Bounded(truth, bound)


def _cost_spread(cost: Cost, inputs: Uncertain, y: Uncertain) -> Array:
    """How far C of each example may move with a or z, and y: by the steepest slope within reach.

    Not by the slope where they are, which is 0 where a is y. A slope is monotone in a and in y, so
    the ends tell; a user's own is taken to be so.
    """
    e_y = jnp.zeros_like(y.value) if y.error is None else y.error
    error = jnp.zeros_like(y.value) if inputs.error is None else inputs.error
    if cost.family == "cross_entropy":  # its slope in z is aΣt − t
        t, e_t = (_targets(cost, one) for one in (y.value, e_y))
        ends = softmax_range(inputs.value, error)
        steep = jnp.maximum(*(jnp.abs(a * _total(t) - t) for a in ends)) + _total(e_t) + e_t
        log_a = jax.nn.logsumexp(inputs.value, axis=-1, keepdims=True) - inputs.value
        return (_times(steep, error) + e_t * (log_a + 2 * error.max())).sum(axis=-1)
    ends = [(inputs.value + s * error, y.value - s * e_y) for s in (-1, 0, 1)]
    by_input, by_y = zip(*(_slopes(cost, *end) for end in ends), strict=True)
    off = _times(_largest(by_input), error) + _times(_largest(by_y), e_y)
    return off.sum(axis=-1)


def _slopes(cost: Cost, inputs: Array, y: Array) -> tuple[Array, Array]:
    value, pull = jax.vjp(cost.value, inputs, y)
    return pull(jnp.ones_like(value))


def _largest(arrays: Sequence[Array]) -> Array:
    return jnp.abs(jnp.stack(arrays)).max(axis=0)


def _times(slope: Array, error: Array) -> Array:
    """A slope times an error: nothing where there is no error, however steep, or no slope."""
    return jnp.where((slope == 0) | (error == 0), 0, slope * error)


def penalty(net: Network, params: Params) -> Array:
    """l2/2 · Σ‖W‖²."""
    return jnp.asarray(net.l2 / 2 * sum(jnp.sum(w**2) for w in net.penalised(params)))


@jax.jit
def penalty_gradient(l2: float, w: Array) -> Array:
    """The derivative of l2/2 · ‖w‖²."""
    return jax.grad(lambda w: l2 / 2 * jnp.sum(w**2))(w)


@partial(jax.jit, static_argnums=(0, 1, 2))
def output_delta_bound(
    ar: Arithmetic, cost: Cost, sigma: Activation, z: Uncertain, own: OwnActivation, y: Array
) -> Bounded:
    """BP1: the rounding of a and of ∇ₐC, carried through σ′ or, for softmax, its Jacobian.

    Where σ′ cancels, δᴸ is a difference of a (times Σy) and y: a's error and four roundings of
    each term. The other way to compute the same, ∇ₐC ⊙ σ′, has terms of the same size.
    """
    m, n = y.shape

    def C(z: Array) -> Array:
        return cost.mean(z, sigma(z), y, m)

    truth = jax.grad(C)(z.value)
    a_of_z, e_a, _ = activation_bound(ar, sigma, z)
    g, through = jax.jvp(lambda a: cost.slope(a, y), (a_of_z,), (e_a,))
    rounded = cost_rounding(cost, z.value, a_of_z, y)[1]
    kinked = cost.family in ("absolute_error", "hinge")
    reach = e_a + 2 * ar.u * jnp.abs(a_of_z) if kinked else e_a
    e_y = ar.reading * jnp.abs(y)
    e_g = ar.u * rounded + jnp.maximum(jnp.abs(through), _jump(cost, a_of_z, reach, y, e_y))
    if cost.delta is not None:
        e_g += ar.reading * rounded  # of terms a and y, which are each as large
        summed = jnp.zeros_like(y) if cost.family == "poisson" else _total(_targets(cost, y))
        bound = e_g + ar.gamma(n) * jnp.abs(a_of_z) * summed
    elif sigma is softmax:
        size = jnp.abs(g) + (a_of_z * jnp.abs(g)).sum(axis=-1, keepdims=True)
        inner = (e_a * (jnp.abs(g) + e_g) + a_of_z * e_g).sum(axis=-1, keepdims=True)
        bound = e_a * (size + e_g) + (a_of_z + e_a) * (e_g + inner)
        bound += (ar.gamma(n) + 4 * ar.u) * a_of_z * size
    else:
        prime, e_prime = derivative_bound(ar, sigma, z)
        bound = (jnp.abs(prime) + e_prime) * e_g + jnp.abs(g) * e_prime
        bound += 3 * ar.u * jnp.abs(g * prime)
    bound = bound / m + 2 * ar.u * jnp.abs(truth) + (1 + 1 / m) * ar.tiny
    if own.a is None:
        return Bounded(truth, bound)
    value, slack = _from_own_a(ar, cost, sigma, z, own.a, y)
    return Bounded(truth, bound, _where(own.is_not_of_z, (value, slack), (truth, bound)))


def _jump(cost: Cost, a: Array, error: Array, y: Array, e_y: Array) -> Array:
    """How far ∇ₐC goes within a's error and y's, a kink such as that of |a − y| at y included."""
    here, low, high = (cost.slope(a + s * error, y - s * e_y) for s in (0, -1, 1))
    return jnp.maximum(jnp.abs(high - here), jnp.abs(low - here))


def _targets(cost: Cost, y: Array) -> Array:
    """The targets that δᴸ goes by, where a cross-entropy smooths or weighs them."""
    if cost.family != "cross_entropy":
        return y
    given: dict[str, Any] = dict(parsed(cost.name).named)
    return class_targets(y, **given)


def _where(
    chosen: Array | bool, one: tuple[Array, Array], other: tuple[Array, Array]
) -> tuple[Array, Array]:
    return jnp.where(chosen, one[0], other[0]), jnp.where(chosen, one[1], other[1])


def _from_own_a(
    ar: Arithmetic, cost: Cost, sigma: Activation, z: Uncertain, a: Array, y: Array
) -> tuple[Array, Array]:
    """BP1 from the subject's own a: some sixteen roundings of each term."""
    m, n = y.shape
    t = _targets(cost, y)
    terms = jnp.abs(a) * _total(t) + jnp.abs(a) + jnp.abs(t)
    value, size = cost.slope(a, y) / m, terms / m
    if cost.delta is None:
        value = sigma.pull_back(value, z.value, a)
        if sigma is softmax:
            size = jnp.abs(a) * (size + (jnp.abs(a) * size).sum(axis=-1, keepdims=True))
        else:
            size = size * (1 + a * a + jnp.abs(sigma.prime(z.value, a)))
    rounded = ar.gamma(n) + 16 * ar.u + ar.reading
    return value, rounded * (size + jnp.abs(value)) + 2 * ar.tiny


@partial(jax.jit, static_argnums=(0, 1))
def hidden_delta_bound(
    ar: Arithmetic,
    sigma: Activation,
    W_next: Array,
    delta_next: Uncertain,
    z: Uncertain,
    own: OwnActivation,
) -> Bounded:
    """BP2: with P = (Wˡ⁺¹)ᵀδˡ⁺¹, P's bound times |σ′|, |P| times σ′'s, and one rounding more."""
    _, pull = jax.vjp(lambda a: a @ W_next.T, jnp.zeros_like(z.value))
    (P,) = pull(delta_next.value)
    S = ar.absolute_product(delta_next.value, W_next)
    spread = 0.0 if delta_next.error is None else delta_next.error @ jnp.abs(W_next)
    e_P = ar.of_product(S, P, W_next.shape[0], spread)
    _, pull = jax.vjp(sigma.sigma, z.value)
    (truth,) = pull(P)
    prime, e_prime = derivative_bound(ar, sigma, z)
    bound = (jnp.abs(prime) + e_prime) * e_P + jnp.abs(P) * e_prime
    bound += 2 * ar.u * (jnp.abs(truth) + bound) + ar.tiny
    if sigma.of != "a" or own.a is None:
        return Bounded(truth, bound)
    prime, e_prime = sigma.sigma_prime(own.a), 16 * ar.u * (1 + own.a * own.a)
    slack = (jnp.abs(prime) + e_prime) * e_P + jnp.abs(P) * e_prime
    slack += 2 * ar.u * jnp.abs(P * prime) + ar.tiny
    return Bounded(truth, bound, _where(own.is_not_of_z, (P * prime, slack), (truth, bound)))


@partial(jax.jit, static_argnums=(0,))
def bias_gradient_bound(
    ar: Arithmetic, delta: Uncertain, scale: float = 1, added: Array | None = None
) -> Bounded:
    """BP3: a sum of m numbers, γₘ Σ|δ|, stored once; times a stranger's scale, and a penalty."""
    m, n = delta.value.shape
    _, pull = jax.vjp(lambda b: jnp.broadcast_to(b, (m, n)), jnp.zeros(n))
    (truth,) = pull(delta.value)
    spread = 0.0 if delta.error is None else delta.error.sum(axis=0)
    bound = spread + ar.gamma(m) * (jnp.abs(delta.value).sum(axis=0) + spread)
    bound = bound + ar.u * (jnp.abs(truth) + bound) + m * ar.tiny
    return _scaled_and_penalised(ar, Bounded(truth, bound), scale, m, added)


@partial(jax.jit, static_argnums=(0,))
def weight_gradient_bound(
    ar: Arithmetic,
    delta: Uncertain,
    a_prev: Uncertain,
    scale: float = 1,
    added: Array | None = None,
) -> Bounded:
    """BP4: a product of length m; times a stranger's scale, and a penalty."""
    m = delta.value.shape[0]
    W = jnp.zeros((delta.value.shape[1], a_prev.value.shape[1]))
    _, pull = jax.vjp(lambda W: a_prev.value @ W.T, W)
    (product,) = pull(delta.value)
    size_delta, size_a = jnp.abs(delta.value), jnp.abs(a_prev.value)
    absolute = ar.absolute_product(delta.value.T, a_prev.value)
    spread: Array | float = 0.0
    if delta.error is not None:
        spread += delta.error.T @ size_a
        size_delta += delta.error
    if a_prev.error is not None:
        spread += size_delta.T @ a_prev.error
    bound = ar.of_product(absolute, product, m if added is None else m + 1, spread)
    return _scaled_and_penalised(ar, Bounded(product, bound), scale, m, added)


def scaled(ar: Arithmetic, right: Bounded, scale: float) -> Bounded:
    """A right value times a stranger's scale, which may round it twice more."""

    def times(value: Array, bound: Array) -> tuple[Array, Array]:
        return scale * value, abs(scale) * (bound + 2 * ar.u * jnp.abs(value))

    other = None if right.otherwise is None else times(*right.otherwise)
    return Bounded(*times(right.truth, right.bound), other)


def _scaled_and_penalised(
    ar: Arithmetic, sums: Bounded, scale: float, m: int, added: Array | None
) -> Bounded:
    """A gradient, and the penalty's two roundings and its place in the sum of the examples."""
    extra = jnp.where(jnp.abs(scale) == 1, 0, 2 * ar.u)
    truth = scale * sums.truth
    bound = jnp.abs(scale) * (sums.bound + extra * jnp.abs(sums.truth))
    if added is not None:
        truth += added
        bound += (ar.gamma(m + 1) + 4 * ar.u) * jnp.abs(added)
        bound += ar.u * (jnp.abs(truth) + bound) + ar.tiny
    return Bounded(truth, bound)


@jax.jit
def differs(own: Uncertain, right: Bounded) -> Array:
    """The examples, as a column, with a value outside of its bound."""
    bound = right.bound if own.error is None else right.bound + own.error
    return (jnp.abs(own.value - right.truth) > bound).any(axis=-1, keepdims=True)


def derivative_bound(ar: Arithmetic, sigma: Activation, z: Uncertain) -> tuple[Array, Array]:
    """σ′(z) by autodiff, and how far a right σ′ in this arithmetic may be from it."""
    prime = partial(_slope_of, sigma)
    off = ar.u * activation_rounding(sigma, z.value, sigma(z.value))[1]
    off += (1 + jnp.abs(z.value)) * ar.tiny
    for kink in sigma.kinks:  # on whose other side rounding may put z
        near = jnp.abs(z.value - kink) <= 16 * ar.u * max(1, abs(kink))
        low, high = prime(kink + jnp.array([-(2.0**-20), 2.0**-20]))
        off += jnp.where(near, jnp.abs(high - low), 0)
    return prime(z.value), off + _spread(prime, z)


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
            top, n, t = z.max(axis=-1, keepdims=True), z.shape[-1], _targets(cost, y)
            passed_on = (a * (top - z)).sum(axis=-1, keepdims=True) + n
            each = 8 + 2 * (jnp.abs(z) + jnp.abs(top)) + passed_on
            of_delta = 4.0
            if parsed(cost.name).named:  # t is a sum over the classes, smoothed and weighed
                each += (n + 8) * (top - z + jnp.log(n))
                of_delta += n + 8
            return (t * each).sum(axis=-1), of_delta * (a * _total(t) + t)
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


def _total(y: Array) -> Array:
    return jnp.abs(y).sum(axis=-1, keepdims=True)


def _spread(f: Callable[[Array], Array], z: Uncertain, elementwise: bool = True) -> Array | float:
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
