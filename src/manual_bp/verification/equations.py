"""Each equation with its truth and its rounding bound, on the subject's own inputs.

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
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.activations import Activation, softmax
from manual_bp.backprop import Backprop
from manual_bp.costs import Cost, binary_cross_entropy, cross_entropy, quadratic
from manual_bp.network import Network, Params

FLOAT64_ROUNDOFF = 2.0**-53


# Each equation is a compiled program of its own: layers of one shape share it, and there is little
# to compile for a network that is new.


class Arithmetic(NamedTuple):
    """How the subject's numbers were rounded, in unit roundoffs.

    Attributes:
        u: of the format that results are stored in.
        reading: of x and the parameters, where the subject keeps them in a coarser format.
        product: of the factors as a matrix unit reads them; 0 where it reads them whole.
        accumulator: of the format that sums are kept in.
        excess: how far a stored intermediate may lie from the one that was used: compilers keep
            bfloat16 and float16 intermediates in float32, so there it is u, and else 0.
        tiny: the smallest normal number: what an underflow may lose.
        name: for people, with what had to be assumed.
    """

    u: float
    reading: float
    product: float
    accumulator: float
    excess: float
    tiny: float
    name: str

    def gamma(self, n: int, u: float | None = None) -> float:
        """γₙ of the accumulator, or of another u; infinite where nu reaches 1."""
        nu = n * (self.accumulator if u is None else u)
        return nu / (1 - nu) if nu < 1 else float("inf")

    def absolute_product(self, A: Array, B: Array) -> Array:
        """Σ|aᵢ||bᵢ|, itself in float32 where what it bounds is no finer, and larger by its γₙ."""
        A, B = jnp.abs(A), jnp.abs(B)
        if self.u < 2.0**-24:
            return A @ B
        product = jnp.matmul(
            A.astype(jnp.float32), B.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
        )
        return product.astype(jnp.float64) * (1 + 2 * self.gamma(A.shape[1] + 2, 2.0**-24))

    def of_product(
        self, absolute: Array, value: Array, n: int, spread: Array | float = 0.0
    ) -> Array:
        """The bound of a matrix product of length n, given Σ|aᵢ||bᵢ| and the product.

        Each factor is read with a relative error `product`, so a term is off by at most
        2p + p²; the sum adds γₙ of it all; storing it rounds once more. `spread` is what the
        factors' own uncertainty does to the product, and so to what is rounded here.
        """
        read = self.product * (2 + self.product)
        factor = read + self.gamma(n) * (1 + read)
        stored = self.u * (1 + factor) * (jnp.abs(value) + spread)
        return spread + factor * (absolute + spread) + stored + n * self.tiny


def arithmetic_of(dtype: str, *, precision: str | None, platform: str) -> Arithmetic:
    """The arithmetic of XLA for a dtype, at a matmul precision, on a platform.

    Args:
        dtype: the format of the stored results.
        precision: the name in force (see `jax.default_matmul_precision`), or None when it cannot
            be told: then the platform's coarsest is assumed, and the name says so.
        platform: "cpu", "gpu" or "tpu"; "numpy" for arrays that no XLA program made.

    Source: NVIDIA A100 whitepaper (TF32 keeps 10 of 23 bits; a factor may be truncated to them);
    Jouppi et al., *Ten Lessons from Three Generations* (2021), for the TPU's bfloat16 passes.
    """
    info = jnp.finfo(dtype)
    u = float(info.eps) / 2
    half = dtype in ("float16", "bfloat16")
    # float16 has gradual underflow on every platform, so an underflow loses half a subnormal.
    tiny = float(info.smallest_subnormal if dtype == "float16" else info.tiny)
    accumulator = 2.0**-24 if half and platform != "numpy" else u
    product, name = 0.0, dtype
    if dtype == "float32" and platform in ("gpu", "tpu"):
        passes = {
            "gpu": {
                "highest": 0.0,
                "float32": 0.0,
                "bfloat16": 2.0**-8,
                "BF16_BF16_F32": 2.0**-8,
            },
            "tpu": {"highest": 2.0**-22, "float32": 2.0**-22, "high": 2.0**-14},
        }[platform]
        coarsest = {"gpu": 2.0**-10, "tpu": 2.0**-8}[platform]
        product = passes.get(precision or "", coarsest)
        if precision is None:
            name += (
                ", products assumed as coarse as " + {"gpu": "TF32", "tpu": "bfloat16"}[platform]
            )
        else:
            name += f", products at {precision} precision"
    elif dtype == "float32":
        name += ", products of whole float32 factors"
    elif half:
        name += ", sums in " + ("float32" if accumulator < u else f"{dtype}, the worst case")
    return Arithmetic(u, 0.0, product, accumulator, u if half else 0.0, tiny, name)


class Known(NamedTuple):
    """An array to compute with, and how far it may be off (None: not at all)."""

    value: Array
    error: Array | None


class Evidence(NamedTuple):
    """A record as it is judged: every array in float64 and in its place, or None.

    Attributes:
        record: the values.
        told: True where a value is told; None where all are. The rest is untested.
        error: the maker's own statement of how far a value may be off; None where it makes none.
    """

    record: Backprop
    told: Backprop
    error: Backprop

    def of(self, quantity: str, layer: int) -> tuple[Array | None, Array | None, Array | None]:
        """The value, told and error of one quantity of one layer."""
        found = (getattr(part, quantity) for part in self)
        if quantity == "cost":
            return tuple(found)
        return tuple(part[layer if quantity == "a" else layer - 1] for part in found)


def no_evidence(net: Network) -> Backprop:
    """A record that gives nothing."""
    none: Any = (None,) * net.depth
    nothing: Any = None
    return Backprop(nothing, none, (nothing, *none), none, none, none)


class Equation(NamedTuple):
    """One equation, judged: what must come out of the subject's own inputs, and how nearly.

    Attributes:
        name: "cost", "forward", "BP1", "BP2", "BP3" or "BP4".
        quantity: "cost", "z", "a", "delta", "dW" or "db".
        layer: l = 1…L; 0 for a⁰ = x; L for the cost.
        truth: autodiff of this one step, in float64.
        bound: the most that a right computation may differ, element by element.
        otherwise: what would be as right, and its bound: σ′ may be had from the subject's own a,
            where that is not σ of its own z (which is another equation's mistake). Or None.
        terms: parts of the equation (a bias, the l2 penalty) that must show above the bound before
            agreement says anything about them.
        missing: the inputs that the subject did not give, by name.
    """

    name: str
    quantity: str
    layer: int
    truth: Array
    bound: Array
    otherwise: tuple[Array, Array] | None
    terms: tuple[Array, ...]
    missing: tuple[str, ...]


def equations(
    net: Network, arithmetic: Arithmetic, params: Params, x: Array, y: Array, own: Evidence
) -> Iterator[Equation]:
    """Every equation of a network on a batch, in the order of the six steps.

    Args:
        net: the network.
        arithmetic: how the subject's numbers were rounded.
        params: in float64, as is all that follows.
        x: (m, n_0).
        y: (m, n_L).
        own: what the subject gives. Downstream of a quantity that it does not give stands the
            truth, with its bound as its uncertainty.
    """
    # The truth's own float64 rounding is one more contribution to each bound.
    ar = arithmetic._replace(
        u=arithmetic.u + FLOAT64_ROUNDOFF, accumulator=arithmetic.accumulator + FLOAT64_ROUNDOFF
    )
    z: dict[int, Known] = {}
    a: dict[int, Known] = {}
    delta: dict[int, Known] = {}
    not_of_z: dict[int, Any] = {}  # the examples whose own a is not σ of their own z

    def known(equation: Equation) -> Known:
        value, told, error = own.of(equation.quantity, equation.layer)
        if value is None:
            return Known(equation.truth, equation.bound)
        if ar.excess and equation.layer + (equation.quantity != "a"):  # x is as it was given
            error = ar.excess * jnp.abs(value) + (0 if error is None else error)
        if told is None:
            return Known(value, error)
        return Known(
            jnp.where(told, value, equation.truth),
            jnp.where(told, 0 if error is None else error, equation.bound),
        )

    def missing(**inputs: int) -> tuple[str, ...]:
        return tuple(f"{name}{l}" for name, l in inputs.items() if own.of(name, l)[0] is None)

    equation = Equation("forward", "a", 0, x, ar.reading * jnp.abs(x), None, (), ())
    yield equation
    a[0] = known(equation)

    W, b = ({l: layer[i] for l, layer in enumerate(params, start=1)} for i in (0, 1))
    for l in net.layers:
        truth, bound = input_sum(ar, W[l], b[l], a[l - 1])
        inputs = missing(a=l - 1)
        equation = Equation("forward", "z", l, truth, bound, None, (b[l],), inputs)
        yield equation
        z[l] = known(equation)

        truth, bound = activation(ar, net.sigma(l), z[l])
        equation = Equation("forward", "a", l, truth, bound, None, (), missing(z=l))
        yield equation
        a[l] = known(equation)
        not_of_z[l] = own.of("a", l)[0] is not None and _differs(a[l], truth, bound)

    L = net.depth
    truth, bound = cost(ar, net, params, z[L], a[L], y)
    terms = (penalty(net.l2, params),) if net.l2 else ()
    yield Equation("cost", "cost", L, truth, bound, None, terms, missing(**{net.cost.of: L}))

    for l in range(L, 0, -1):
        if l == L:
            truth, bound, otherwise = output_error(
                ar, net.cost, net.sigma(L), z[L], own.of("a", L)[0], not_of_z[L], y
            )
            inputs = missing(z=L)
            equation = Equation("BP1", "delta", L, truth, bound, otherwise, (), inputs)
        else:
            truth, bound, otherwise = inner_error(
                *(ar, net.sigma(l), W[l + 1], delta[l + 1], z[l]),
                *(own.of("a", l)[0], not_of_z[l]),
            )
            inputs = (*missing(delta=l + 1), *missing(z=l))
            equation = Equation("BP2", "delta", l, truth, bound, otherwise, (), inputs)
        yield equation
        delta[l] = known(equation)

        truth, bound = bias_gradient(ar, delta[l])
        inputs = missing(delta=l)
        yield Equation("BP3", "db", l, truth, bound, None, (), inputs)

        truth, bound = weight_gradient(ar, net.l2, W[l], delta[l], a[l - 1])
        inputs = missing(delta=l, a=l - 1)
        terms = (net.l2 * W[l],) if net.l2 else ()
        yield Equation("BP4", "dW", l, truth, bound, None, terms, inputs)


@partial(jax.jit, static_argnums=(0,))
def input_sum(ar: Arithmetic, W: Array, b: Array, a_prev: Known) -> tuple[Array, Array]:
    """zˡ = Wˡ aˡ⁻¹ + bˡ: the product's bound, the rounding of adding b, and |W| times a's error.

    Or b is one more term of the product's sum: compilers start a sum of products with it.
    """
    product = a_prev.value @ W.T
    z = product + b
    spread = 0.0 if a_prev.error is None else a_prev.error @ jnp.abs(W.T)
    absolute = ar.absolute_product(a_prev.value, W.T)
    terms = W.shape[1] + 1
    bound = ar.of_product(absolute, product, terms, spread)
    bound += (ar.gamma(terms) + ar.reading) * jnp.abs(b)
    return z, bound + ar.u * (jnp.abs(z) + bound)


@partial(jax.jit, static_argnums=(0, 1))
def activation(ar: Arithmetic, sigma: Activation, z: Known) -> tuple[Array, Array]:
    """aˡ = σ(zˡ): σ's own rounding (see `Activation.rounding`), and what z's error does to it.

    What underflows in σ may be a factor of z, as the logistic function is in silu(z).
    """
    a = sigma.sigma(z.value)
    bound = ar.u * rounding(sigma, z.value, a)[0] + (1 + jnp.abs(z.value)) * ar.tiny
    return a, bound + _spread(sigma.sigma, z, elementwise=sigma is not softmax)


@partial(jax.jit, static_argnums=(0, 1))
def cost(
    ar: Arithmetic, net: Network, params: Params, z: Known, a: Known, y: Array
) -> tuple[Array, Array]:
    """C = mean of each example's cost, and the penalty: its rounding, γ of all sums, its input's.

    A built-in cost's terms are all ≥ 0, so Σ|terms| is the cost itself; of a user's own that is
    assumed.
    """
    m, n = y.shape
    inputs = z if net.cost.of == "z" else a
    value, slope = _value_and_slope(net.cost, inputs.value, y)
    off = ar.u * rounding_of_cost(net.cost, z.value, a.value, y)[0] + n * ar.tiny
    off += ar.gamma(n) * jnp.abs(value)
    if inputs.error is not None:
        off += (jnp.abs(slope) * inputs.error).sum(axis=-1)
    size = jnp.abs(value) + off
    truth = value.mean()
    bound = off.mean() + (ar.gamma(m) + 3 * ar.u) * size.mean()
    if net.l2:
        weights = sum(W.size for W, b in params)
        added = penalty(net.l2, params)
        truth += added
        # Each layer's sum may be stored before it is added to the others'.
        bound += (ar.gamma(weights) + (4 + net.depth) * ar.u) * added + ar.u * jnp.abs(truth)
    return truth, bound


def penalty(l2: float, params: Params) -> Array:
    """l2/2 · Σ‖W‖²."""
    return jnp.asarray(l2 / 2 * sum(jnp.sum(W**2) for W, b in params))


@partial(jax.jit, static_argnums=(0, 1, 2))
def output_error(
    ar: Arithmetic,
    cost: Cost,
    sigma: Activation,
    z: Known,
    own_a: Array | None,
    not_of_z: Array,
    y: Array,
) -> tuple[Array, Array, tuple[Array, Array] | None]:
    """BP1: the rounding of a and of ∇ₐC, carried through σ′ or, for softmax, its Jacobian.

    Where σ′ cancels, δᴸ is a difference of a (times Σy) and y: a's error and four roundings of
    each term. The other way to compute the same, ∇ₐC ⊙ σ′, has terms of the same size.
    """
    m, n = y.shape

    def C(z: Array) -> Array:
        return cost.mean(z, sigma.sigma(z), y)

    truth = jax.grad(C)(z.value)
    a_of_z, e_a = activation(ar, sigma, z)
    g, through = jax.jvp(lambda a: cost.slope(a, y), (a_of_z,), (e_a,))
    e_g = ar.u * rounding_of_cost(cost, z.value, a_of_z, y)[1] + jnp.abs(through)
    if cost.delta is not None:
        bound = e_g + ar.gamma(n) * jnp.abs(a_of_z) * _total(y)
    elif sigma is softmax:
        size = jnp.abs(g) + (a_of_z * jnp.abs(g)).sum(axis=-1, keepdims=True)
        inner = (e_a * jnp.abs(g) + a_of_z * e_g).sum(axis=-1, keepdims=True)
        bound = e_a * size + a_of_z * (e_g + inner)
        bound += (ar.gamma(n) + 4 * ar.u) * a_of_z * size
    else:
        prime, e_prime = derivative(ar, sigma, z)
        bound = (jnp.abs(prime) + e_prime) * e_g + jnp.abs(g) * e_prime
        bound += 3 * ar.u * jnp.abs(g * prime)
    bound = bound / m + 2 * ar.u * jnp.abs(truth) + (1 + 1 / m) * ar.tiny
    if own_a is None:
        return truth, bound, None
    value, slack = _from_own_a(ar, cost, sigma, z, own_a, y)
    return truth, bound, (jnp.where(not_of_z, value, truth), jnp.where(not_of_z, slack, bound))


def _from_own_a(
    ar: Arithmetic, cost: Cost, sigma: Activation, z: Known, a: Array, y: Array
) -> tuple[Array, Array]:
    """BP1 from the subject's own a: some sixteen roundings of each term."""
    m, n = y.shape
    terms = jnp.abs(a) * _total(y) + jnp.abs(a) + jnp.abs(y)
    value, size = cost.slope(a, y) / m, terms / m
    if cost.delta is None:
        value = sigma.pull_back(value, z.value, a)
        if sigma is softmax:
            size = jnp.abs(a) * (size + (jnp.abs(a) * size).sum(axis=-1, keepdims=True))
        else:
            size = size * (1 + a * a + jnp.abs(sigma.derivative(z.value, a)))
    return value, (ar.gamma(n) + 16 * ar.u) * (size + jnp.abs(value)) + 2 * ar.tiny


@partial(jax.jit, static_argnums=(0, 1))
def inner_error(
    ar: Arithmetic,
    sigma: Activation,
    W_next: Array,
    delta_next: Known,
    z: Known,
    own_a: Array | None,
    not_of_z: Array,
) -> tuple[Array, Array, tuple[Array, Array] | None]:
    """BP2: with P = (Wˡ⁺¹)ᵀδˡ⁺¹, P's bound times |σ′|, |P| times σ′'s, and one rounding more."""
    _, pull = jax.vjp(lambda a: a @ W_next.T, jnp.zeros_like(z.value))
    (P,) = pull(delta_next.value)
    S = ar.absolute_product(delta_next.value, W_next)
    spread = 0.0 if delta_next.error is None else delta_next.error @ jnp.abs(W_next)
    e_P = ar.of_product(S, P, W_next.shape[0], spread)
    _, pull = jax.vjp(sigma.sigma, z.value)
    (truth,) = pull(P)
    prime, e_prime = derivative(ar, sigma, z)
    bound = (jnp.abs(prime) + e_prime) * e_P + jnp.abs(P) * e_prime
    bound += 2 * ar.u * (jnp.abs(truth) + bound) + ar.tiny
    otherwise = None
    if sigma.of == "a" and own_a is not None:
        prime = sigma.sigma_prime(own_a)
        e_prime = 16 * ar.u * (1 + own_a * own_a)
        slack = (jnp.abs(prime) + e_prime) * e_P + jnp.abs(P) * e_prime
        slack += 2 * ar.u * jnp.abs(P * prime) + ar.tiny
        otherwise = jnp.where(not_of_z, P * prime, truth), jnp.where(not_of_z, slack, bound)
    return truth, bound, otherwise


@partial(jax.jit, static_argnums=(0,))
def bias_gradient(ar: Arithmetic, delta: Known) -> tuple[Array, Array]:
    """BP3: a sum of m numbers, γₘ Σ|δ|, stored once."""
    m, n = delta.value.shape
    _, pull = jax.vjp(lambda b: jnp.broadcast_to(b, (m, n)), jnp.zeros(n))
    (truth,) = pull(delta.value)
    spread = 0.0 if delta.error is None else delta.error.sum(axis=0)
    bound = spread + ar.gamma(m) * (jnp.abs(delta.value).sum(axis=0) + spread)
    return truth, bound + ar.u * (jnp.abs(truth) + bound) + m * ar.tiny


@partial(jax.jit, static_argnums=(0, 1))
def weight_gradient(
    ar: Arithmetic, l2: float, W: Array, delta: Known, a_prev: Known
) -> tuple[Array, Array]:
    """BP4: a product of length m, and the penalty's two roundings and its place in the sum."""
    m = delta.value.shape[0]
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
    terms = m + 1 if l2 else m
    bound = ar.of_product(absolute, product, terms, spread)
    truth = product
    if l2:
        truth += jax.grad(lambda W: l2 / 2 * jnp.sum(W**2))(W)
        bound += (ar.gamma(terms) + 4 * ar.u) * l2 * jnp.abs(W)
        bound += ar.u * (jnp.abs(truth) + bound) + ar.tiny
    return truth, bound


@jax.jit
def _differs(known: Known, truth: Array, bound: Array) -> Array:
    """The examples, as a column, with a value outside of its bound."""
    if known.error is not None:
        bound = bound + known.error
    return (jnp.abs(known.value - truth) > bound).any(axis=-1, keepdims=True)


def derivative(ar: Arithmetic, sigma: Activation, z: Known) -> tuple[Array, Array]:
    """σ′(z) by autodiff, and how far a right σ′ in this arithmetic may be from it."""

    def prime(z: Array) -> Array:
        _, pull = jax.vjp(sigma.sigma, z)
        return pull(jnp.ones_like(z))[0]

    off = ar.u * rounding(sigma, z.value, sigma.sigma(z.value))[1]
    off += (1 + jnp.abs(z.value)) * ar.tiny
    return prime(z.value), off + _spread(prime, z)


def rounding(sigma: Activation, z: Array, a: Array) -> tuple[Array, Array]:
    """The rounding errors of σ and σ′ in unit roundoffs: those stated, or those assumed."""
    if sigma.rounding is not None:
        return sigma.rounding(z, a)

    def prime(z: Array) -> Array:
        _, pull = jax.vjp(sigma.sigma, z)
        return pull(jnp.ones_like(z))[0]

    slope, bend = jax.jvp(prime, (z,), (z,))
    e_a = 8 * jnp.maximum(jnp.abs(a), jnp.abs(z * slope))
    return e_a, 8 * jnp.maximum(jnp.maximum(1, jnp.abs(slope)), jnp.abs(bend))


def rounding_of_cost(cost: Cost, z: Array, a: Array, y: Array) -> tuple[Array, Array]:
    """The rounding errors of an example's cost, and of its ∇ₐC or δᴸ, in unit roundoffs.

    Sums over the outputs not counted. Of a user's own cost it is assumed that its terms do not
    cancel, and that value and gradient are within 8 units of what their inputs' last place does.
    """
    if cost is quadratic:
        return 4 * cost.value(a, y), 2 * jnp.abs(a - y)
    if cost is cross_entropy:
        # log aⱼ = zⱼ − max z − log Σ: each difference rounded, and exp passes its error on.
        top = z.max(axis=-1, keepdims=True)
        passed_on = (a * (top - z)).sum(axis=-1, keepdims=True) + z.shape[-1]
        each = 8 + 2 * (jnp.abs(z) + jnp.abs(top)) + passed_on
        return (jnp.abs(y) * each).sum(axis=-1), 4 * (a * _total(y) + jnp.abs(y))
    if cost is binary_cross_entropy:
        each = 8 * (1 + jnp.abs(z))
        return each.sum(axis=-1), 4 * (a + jnp.abs(y))
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


def _spread(f: Callable[[Array], Array], z: Known, elementwise: bool = True) -> Array | float:
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
    # softmax: |aⱼ([j=k] − aₖ)| eₖ, summed over k, and doubled for what a first derivative leaves.
    reach = middle * (z.error + (middle * z.error).sum(axis=-1, keepdims=True))
    return 2 * reach
