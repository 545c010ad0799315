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

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.activations import Activation, softmax
from manual_bp.costs import Cost
from manual_bp.network import Network, Params
from manual_bp.rounding.arithmetic import Arithmetic, Uncertain
from manual_bp.rounding.functions import (
    activation_rounding,
    carried,
    cost_rounding,
    cost_spread,
    derivative_bound,
    jump,
    spread_of,
    targets_of,
    total,
)


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
    spread += ar.flushed(a_prev.value, W.T)
    terms = W.shape[1] + (b is not None)
    bound = ar.of_product(absolute, product, terms, spread)
    if b is not None:
        bound += ar.of_sum(terms, jnp.abs(b)) + ar.reading * jnp.abs(b)
    return Bounded(z, bound + ar.u * (jnp.abs(z) + bound))


@partial(jax.jit, static_argnums=(0, 1))
def activation_bound(ar: Arithmetic, sigma: Activation, z: Uncertain) -> Bounded:
    """aˡ = σ(zˡ): σ's own rounding (see `Activation.rounding`), and what z's error does to it.

    What underflows in σ may be a factor of z, as the logistic function is in silu(z); and z may be
    read as 0 where it is below the normal numbers, from where σ rises by at most 8 times that.
    """
    a = sigma(z.value)
    bound = ar.u * activation_rounding(sigma, z.value, a)[0] + (1 + jnp.abs(z.value)) * ar.tiny
    bound += 8 * ar.flush
    if sigma.departures is not None:
        bound += sigma.departures(z.value)[0]
    return Bounded(a, bound + spread_of(sigma.sigma, z, elementwise=sigma is not softmax))


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
    n = y.shape[-1]
    inputs, e_y = z if net.cost.of == "z" else a, ar.reading * jnp.abs(y)
    value = net.cost.value(inputs.value, y)
    off = ar.u * cost_rounding(net.cost, z.value, a.value, y)[0] + n * ar.tiny
    off += ar.of_sum(n, jnp.abs(value)) + cost_spread(net.cost, inputs, Uncertain(y, e_y))
    return _mean_and_penalty(ar, net, params, (value, off), scale, penalty_scale)


@partial(jax.jit, static_argnums=(0, 1))
def cost_from_a_bound(
    ar: Arithmetic,
    net: Network,
    params: Params,
    a: Uncertain,
    y: Array,
    scale: float = 1,
    penalty_scale: float = 1,
) -> Bounded:
    """The same where it takes zᴸ, as formulas have it that take aᴸ: by log a and log(1 − a).

    These make a relative error of their arguments an absolute one, and a near 1 has lost 1 − a.
    """
    t = targets_of(net.cost, y)
    e_a = jnp.zeros_like(y) if a.error is None else a.error
    parts = [(t, a.value, jnp.minimum(e_a, 16 * ar.u * a.value))]  # however small, a has its digits
    if net.cost.family == "binary_cross_entropy":
        parts.append((1 - y, 1 - a.value, e_a))
    value, off = jnp.zeros(len(y)), jnp.zeros(len(y))
    for share, argument, error in parts:
        log = jnp.log(argument)
        rounded = 8 * ar.u * (1 + jnp.abs(log)) - jnp.log1p(-jnp.minimum(error / argument, 1))
        value -= carried(share, log).sum(axis=-1)
        off += carried(share, rounded + ar.reading * jnp.abs(log)).sum(axis=-1)
    if net.cost.family == "poisson":
        value += a.value.sum(axis=-1)
        off += e_a.sum(axis=-1) + ar.of_sum(y.size, jnp.abs(a.value).sum(axis=-1) + jnp.abs(value))
    off += ar.of_sum(y.shape[-1], jnp.abs(value))
    return _mean_and_penalty(ar, net, params, (value, off), scale, penalty_scale)


def _mean_and_penalty(
    ar: Arithmetic,
    net: Network,
    params: Params,
    each: tuple[Array, Array],
    scale: float,
    penalty_scale: float,
) -> Bounded:
    """C of the examples' costs, and its bound."""
    value, off = each
    size, m = jnp.abs(value) + off, len(value)
    truth = scale * value.mean()
    bound = scale * (off.mean() + ar.of_sum(m, size.mean()) + 5 * ar.u * size.mean())
    if net.l2:
        weights = sum(w.size for w in net.penalised(params))
        added = penalty_scale * penalty(net, params)
        truth += added
        # Each layer's sum may be stored before it is added to the others'.
        bound += ar.of_sum(weights, added) + (4 + net.depth) * ar.u * added
        bound += ar.u * jnp.abs(truth)
    return Bounded(truth, bound)


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
    e_g = ar.u * rounded + jnp.maximum(jnp.abs(through), jump(cost, a_of_z, reach, y, e_y))
    if cost.delta is not None:
        e_g += ar.reading * rounded  # of terms a and y, which are each as large
        summed = jnp.zeros_like(y) if cost.family == "poisson" else total(targets_of(cost, y))
        bound = e_g + ar.of_sum(n, jnp.abs(a_of_z) * summed)
    elif sigma is softmax:
        size = jnp.abs(g) + (a_of_z * jnp.abs(g)).sum(axis=-1, keepdims=True)
        inner = (e_a * (jnp.abs(g) + e_g) + a_of_z * e_g).sum(axis=-1, keepdims=True)
        bound = e_a * (size + e_g) + (a_of_z + e_a) * (e_g + inner)
        bound += ar.of_sum(n, a_of_z * size) + 4 * ar.u * a_of_z * size
    else:
        prime, e_prime = derivative_bound(ar, sigma, z)
        bound = (jnp.abs(prime) + e_prime) * e_g + jnp.abs(g) * e_prime
        bound += 3 * ar.u * jnp.abs(g * prime)
    bound = bound / m + 2 * ar.u * jnp.abs(truth) + (1 + 1 / m) * ar.tiny
    if own.a is None:
        return Bounded(truth, bound)
    value, slack = _from_own_a(ar, cost, sigma, z, own.a, y)
    return Bounded(truth, bound, _where(own.is_not_of_z, (value, slack), (truth, bound)))


def _where(
    chosen: Array | bool, one: tuple[Array, Array], other: tuple[Array, Array]
) -> tuple[Array, Array]:
    return jnp.where(chosen, one[0], other[0]), jnp.where(chosen, one[1], other[1])


def _from_own_a(
    ar: Arithmetic, cost: Cost, sigma: Activation, z: Uncertain, a: Array, y: Array
) -> tuple[Array, Array]:
    """BP1 from the subject's own a: some sixteen roundings of each term."""
    m, n = y.shape
    t = targets_of(cost, y)
    terms = jnp.abs(a) * total(t) + jnp.abs(a) + jnp.abs(t)
    value, size = cost.slope(a, y) / m, terms / m
    if cost.delta is None:
        value = sigma.pull_back(value, z.value, a)
        if sigma is softmax:
            size = jnp.abs(a) * (size + (jnp.abs(a) * size).sum(axis=-1, keepdims=True))
        else:
            size = size * (1 + a * a + jnp.abs(sigma.prime(z.value, a)))
    size = size + jnp.abs(value)
    return value, ar.of_sum(n, size) + (16 * ar.u + ar.reading) * size + 2 * ar.tiny


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
    spread += ar.flushed(delta_next.value, W_next)
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
    bound = spread + ar.of_sum(m, jnp.abs(delta.value).sum(axis=0) + spread)
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
    spread = ar.flushed(delta.value.T, a_prev.value)
    if delta.error is not None:
        spread += delta.error.T @ size_a
        size_delta += delta.error
    if a_prev.error is not None:
        spread += size_delta.T @ a_prev.error
    bound = ar.of_product(absolute, product, m if added is None else m + 1, spread)
    return _scaled_and_penalised(ar, Bounded(product, bound), scale, m, added)


@jax.jit
def rounded_in_order(delta: Array, a_prev: Array) -> Array:
    """What rounding each partial sum of δᵀa over the examples may do, in unit roundoffs.

    Errors of mean 0 that are each at most u|Sₖ| stay within 6u √(Σ Sₖ²) but for once in 10⁷ (N.
    Higham and T. Mary, *A new approach to probabilistic rounding error analysis*, SIAM J. Sci.
    Comput. 41, 2019). Backwards, or in blocks, a partial sum is a difference Sⱼ − Sₖ.
    """

    def add(sums: tuple[Array, Array], example: tuple[Array, Array]) -> tuple[Any, None]:
        partial_sum, squares = sums
        term = jnp.outer(*example)
        partial_sum += term
        return (partial_sum, squares + partial_sum**2 + term**2), None

    start = jnp.zeros((2, delta.shape[1], a_prev.shape[1]))
    (whole, squares), _ = jax.lax.scan(add, (start[0], start[1]), (delta, a_prev))
    return 6 * jnp.sqrt(2 * squares + 2 * len(delta) * whole**2)


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
        bound += ar.of_sum(m + 1, jnp.abs(added)) + 4 * ar.u * jnp.abs(added)
        bound += ar.u * (jnp.abs(truth) + bound) + ar.tiny
    return Bounded(truth, bound)


@jax.jit
def differs(own: Uncertain, right: Bounded) -> Array:
    """The examples, as a column, with a value outside of its bound."""
    bound = right.bound if own.error is None else right.bound + own.error
    return (jnp.abs(own.value - right.truth) > bound).any(axis=-1, keepdims=True)
