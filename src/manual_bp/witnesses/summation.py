"""The same record from the sums of index notation: node by node, on plain Python numbers.

Shares nothing with the steps that it witnesses: no matrix, no broadcasting, no JAX, and its own
σ, σ′ and C.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from manual_bp.activations import ACTIVATIONS, Activation
from manual_bp.calls import read_call
from manual_bp.costs import Cost
from manual_bp.families import parsed
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, by_layer

Number = Any  # float, Fraction, a SymPy expression: whatever adds, multiplies and divides
Vector = Sequence[Number]


class Numbers(NamedTuple):
    """What the equations need of a kind of number, beyond + − × ÷ and, at a kink, comparison."""

    number: Callable[[float], Number]  # a constant, as such a number
    sum: Callable[[list[Number]], Number]
    greatest: Callable[[Vector], Number]  # of the z that a softmax subtracts; 0 does for symbols
    pi: Number
    sqrt: Callable[[Number], Number]
    exp: Callable[[Number], Number]
    expm1: Callable[[Number], Number]
    log: Callable[[Number], Number]
    tanh: Callable[[Number], Number]
    sigmoid: Callable[[Number], Number]  # 1/(1 + e⁻ᶻ)
    softplus: Callable[[Number], Number]  # log(1 + eᶻ)
    normal_cdf: Callable[[Number], Number]  # Φ(z)


def _sigmoid(z: float) -> float:
    e = math.exp(-abs(z))  # never overflows
    return (1 if z >= 0 else e) / (1 + e)


PYTHON_FLOATS = Numbers(
    number=float,
    sum=math.fsum,
    greatest=max,
    pi=math.pi,
    sqrt=math.sqrt,
    exp=math.exp,
    expm1=math.expm1,
    log=math.log,
    tanh=math.tanh,
    sigmoid=_sigmoid,
    softplus=lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))),
    normal_cdf=lambda z: math.erfc(-z / math.sqrt(2)) / 2,
)

# ── σ and σ′, of one number z ────────────────────────────────────────────────────────────────────

OfOneNumber = Callable[..., Number]  # of z, the kind of number, and the parameters in the name


def _gelu_prime(z: Number, on: Numbers) -> Number:
    return on.normal_cdf(z) + z * on.exp(-z * z / 2) / on.sqrt(2 * on.pi)


def _twice_u(z: Number, on: Numbers) -> Number:
    return 2 * on.sqrt(2 / on.pi) * (z + on.number(44715) / 10**6 * z * z * z)


def _gelu_tanh(z: Number, on: Numbers) -> Number:
    return z * on.sigmoid(_twice_u(z, on))  # ½(1 + tanh u) = sigmoid(2u)


def _gelu_tanh_prime(z: Number, on: Numbers) -> Number:
    s, rest = on.sigmoid(_twice_u(z, on)), on.sigmoid(-_twice_u(z, on))
    twice_u_prime = 2 * on.sqrt(2 / on.pi) * (1 + on.number(134145) / 10**6 * z * z)
    return s + z * twice_u_prime * s * rest


def _decimal(digits: int, places: int, on: Numbers) -> Number:
    """digits / 10^places, rounded as little as the kind of number allows."""
    return on.number(digits) / on.number(10**places)


def _elu_below(z: Number, on: Numbers, alpha: float) -> Number:
    return on.expm1(z) if alpha == 1 else on.number(alpha) * on.expm1(z)


def _selu_lambda(on: Numbers) -> Number:
    return _decimal(105070098735548049, 17, on)


def _selu_alpha(on: Numbers) -> Number:
    return _decimal(167326324235437728, 17, on)


def _softsign_prime(z: Number, on: Numbers) -> Number:
    one_and_size = 1 + (z if z >= 0 else -z)
    return 1 / (one_and_size * one_and_size)


SIGMA: dict[str, tuple[OfOneNumber, OfOneNumber]] = {
    "identity": (lambda z, on: z, lambda z, on: 1),
    "sigmoid": (lambda z, on: on.sigmoid(z), lambda z, on: on.sigmoid(z) * on.sigmoid(-z)),
    "tanh": (
        lambda z, on: on.tanh(z),
        lambda z, on: 4 * on.sigmoid(2 * z) * on.sigmoid(-2 * z),  # 1/cosh²z
    ),
    "relu": (lambda z, on: z if z > 0 else 0 * z, lambda z, on: 1 if z > 0 else 0),
    "leaky_relu": (
        lambda z, on, slope=0: z if z >= 0 else on.number(slope) * z if slope else z / 100,
        lambda z, on, slope=0: 1 if z >= 0 else on.number(slope) if slope else on.number(1) / 100,
    ),
    "elu": (
        lambda z, on, alpha=1: z if z > 0 else _elu_below(z, on, alpha),
        lambda z, on, alpha=1: 1 if z > 0 else on.number(alpha) * on.exp(z),
    ),
    "softplus": (lambda z, on: on.softplus(z), lambda z, on: on.sigmoid(z)),
    "silu": (
        lambda z, on: z * on.sigmoid(z),
        lambda z, on: on.sigmoid(z) * (1 + z * on.sigmoid(-z)),
    ),
    "gelu": (lambda z, on: z * on.normal_cdf(z), _gelu_prime),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_prime),
    "selu": (
        lambda z, on: _selu_lambda(on) * (z if z > 0 else _selu_alpha(on) * on.expm1(z)),
        lambda z, on: _selu_lambda(on) * (1 if z > 0 else _selu_alpha(on) * on.exp(z)),
    ),
    "softsign": (lambda z, on: z / (1 + z) if z >= 0 else z / (1 - z), _softsign_prime),
    "hard_sigmoid": (
        lambda z, on: 0 * z if z <= -3 else 1 + 0 * z if z >= 3 else (z + 3) / 6,
        lambda z, on: on.number(1) / 6 if -3 < z < 3 else 0,
    ),
    "hard_tanh": (
        lambda z, on: -1 + 0 * z if z <= -1 else 1 + 0 * z if z >= 1 else z,
        lambda z, on: 1 if -1 < z < 1 else 0,
    ),
    "exp": (lambda z, on: on.exp(z), lambda z, on: on.exp(z)),
    "swish": (
        lambda z, on, beta: z * on.sigmoid(on.number(beta) * z),
        lambda z, on, beta: (
            on.sigmoid(on.number(beta) * z)
            + on.number(beta)
            * z
            * on.sigmoid(on.number(beta) * z)
            * on.sigmoid(-on.number(beta) * z)
        ),
    ),
}


def _softmax(z: Vector, on: Numbers) -> list[Number]:
    shift = on.greatest(z)
    exp = [on.exp(z_j - shift) for z_j in z]
    return [exp_j / on.sum(exp) for exp_j in exp]


def _sigma(activation: Activation) -> tuple[OfOneNumber, OfOneNumber]:
    """σ and σ′ of this module for a built-in activation; a user's own, as the user wrote them."""
    if activation.built_in:
        name, numbers, _ = parsed(activation.name)
        of_z, prime_of_z = SIGMA[name]
        return lambda z, on: of_z(z, on, *numbers), lambda z, on: prime_of_z(z, on, *numbers)

    def prime(z: Number, on: Numbers) -> float:
        of = z if activation.of == "z" else _of_user(activation.sigma, z)
        return _of_user(activation.sigma_prime, of)

    return lambda z, on: _of_user(activation.sigma, z), prime


def _of_user(function: Any, *arguments: Any) -> Any:
    import jax  # a user's functions are written in it; nothing else here is
    import jax.numpy as jnp

    with jax.enable_x64(True):
        return jnp.asarray(function(*(jnp.asarray(z, float) for z in arguments)), float).tolist()


# ── C and δᴸ, of one example ─────────────────────────────────────────────────────────────────────


def _class_targets(cost: Cost, y: Vector, on: Numbers) -> Vector:
    """wⱼ((1 − ε)yⱼ + ε/n Σₖ yₖ), of the parameters in a cross-entropy's name."""
    given: Any = parsed(cost.name).named
    smoothing, weights = on.number(given.get("smoothing", 0)), given.get("weights")
    if "smoothing" in given:
        share = smoothing * on.sum(list(y)) / len(y)
        y = [(1 - smoothing) * y_j + share for y_j in y]
    if weights is None:
        return y
    return [on.number(w_j) * y_j for w_j, y_j in zip(weights, y, strict=True)]


def _threshold(cost: Cost) -> float:
    """δ of huber."""
    numbers: Any = parsed(cost.name).numbers
    return numbers[0] if numbers else 1.0


def _size(d: Number) -> Number:
    return d if d >= 0 else -d


def _huber(d: Number, threshold: Number) -> Number:
    size = _size(d)
    return d * d / 2 if size <= threshold else threshold * (size - threshold / 2)


def _example_cost(cost: Cost, z: Vector, a: Vector, y: Vector, on: Numbers) -> Number:
    if not cost.built_in:
        return _of_user(cost.value, z if cost.of == "z" else a, y)
    zs, pairs = list(zip(z, y, strict=True)), list(zip(a, y, strict=True))
    match cost.family:
        case "cross_entropy":
            shift, t = on.greatest(z), _class_targets(cost, y, on)
            log_sum = on.log(on.sum([on.exp(z_k - shift) for z_k in z]))
            return on.sum([-t_j * (z_j - shift - log_sum) for z_j, t_j in zip(z, t, strict=True)])
        case "binary_cross_entropy":
            return on.sum(
                [y_j * on.softplus(-z_j) + (1 - y_j) * on.softplus(z_j) for z_j, y_j in zs]
            )
        case "poisson":
            return on.sum([on.exp(z_j) - y_j * z_j for z_j, y_j in zs])
        case "absolute_error":
            return on.sum([_size(a_j - y_j) for a_j, y_j in pairs])
        case "huber":
            threshold = on.number(_threshold(cost))
            return on.sum([_huber(a_j - y_j, threshold) for a_j, y_j in pairs])
        case "hinge":
            return on.sum([1 - y_j * a_j if y_j * a_j < 1 else 0 * a_j for a_j, y_j in pairs])
    squares = on.sum([(a_j - y_j) * (a_j - y_j) for a_j, y_j in pairs])
    return squares / (len(a) if cost.family == "mean_squared_error" else 2)


def _output_delta(net: Network, z: Vector, a: Vector, y: Vector, on: Numbers) -> list[Number]:
    J, cost, activation = range(len(z)), net.cost, net.sigma[net.depth]
    family = cost.family
    if not cost.built_in:
        if cost.delta is not None:
            return _of_user(cost.delta, a, y)
        dC = _of_user(cost.gradient, a, y)
    elif family == "cross_entropy":  # ∂C/∂a_k = −t_k/a_k, whose a_k the Jacobian's cancels
        t = _class_targets(cost, y, on)
        return [on.sum([-t[k] * (int(j == k) - a[j]) for k in J]) for j in J]
    elif family == "binary_cross_entropy":  # −y/a + (1 − y)/(1 − a), times a(1 − a)
        return [(1 - y[j]) * on.sigmoid(z[j]) - y[j] * on.sigmoid(-z[j]) for j in J]
    elif family == "poisson":  # 1 − y/a, times a
        return [on.exp(z[j]) - y[j] for j in J]
    elif family == "absolute_error":
        dC = [int(a[j] > y[j]) - int(a[j] < y[j]) for j in J]
    elif family == "huber":
        most = on.number(_threshold(cost))
        dC = [
            a[j] - y[j] if _size(a[j] - y[j]) <= most else most if a[j] > y[j] else -most for j in J
        ]
    elif family == "hinge":
        dC = [-y[j] if y[j] * a[j] < 1 else 0 * y[j] for j in J]
    else:
        dC = [a[j] - y[j] for j in J]
        if family == "mean_squared_error":
            dC = [2 * d / len(a) for d in dC]
    if activation is ACTIVATIONS["softmax"]:
        return [on.sum([dC[k] * a[k] * (int(j == k) - a[j]) for k in J]) for j in J]
    _, sigma_prime = _sigma(activation)
    return [dC[j] * sigma_prime(z[j], on) for j in J]


# ── The sums ─────────────────────────────────────────────────────────────────────────────────────


def node_by_node(
    net: Network,
    params: Sequence[tuple[Sequence[Vector], Vector | None]],
    x: Sequence[Vector],
    y: Sequence[Vector],
    on: Numbers = PYTHON_FLOATS,
) -> Backprop:
    """`summation` on nested lists of any kind of number, for a batch; gives nested lists."""
    L, m, n = net.depth, len(x), {l: range(size) for l, size in enumerate(net.sizes)}
    W, b = by_layer(params)
    M, l2 = range(m), on.number(net.l2)

    z, a = {}, {0: x}
    for l in net.layers:
        # zʲ = Σₖ Wⱼₖ aₖ + bⱼ
        z[l] = [
            [
                on.sum(
                    [W[l][j][k] * a[l - 1][i][k] for k in n[l - 1]]
                    + ([] if b[l] is None else [b[l][j]])
                )
                for j in n[l]
            ]
            for i in M
        ]
        if net.sigma[l] is ACTIVATIONS["softmax"]:
            a[l] = [_softmax(z[l][i], on) for i in M]
        else:
            sigma, _ = _sigma(net.sigma[l])
            a[l] = [[sigma(z[l][i][j], on) for j in n[l]] for i in M]

    # δⱼ = ∂C/∂aⱼ σ′(zⱼ), then δₖ = Σⱼ Wⱼₖ δⱼ σ′(zₖ) of the layer before
    delta = {L: [[d / m for d in _output_delta(net, z[L][i], a[L][i], y[i], on)] for i in M]}
    for l in range(L - 1, 0, -1):
        _, sigma_prime = _sigma(net.sigma[l])
        delta[l] = [
            [
                on.sum([W[l + 1][j][k] * delta[l + 1][i][j] for j in n[l + 1]])
                * sigma_prime(z[l][i][k], on)
                for k in n[l]
            ]
            for i in M
        ]

    # ∂C/∂Wⱼₖ = Σ δⱼ aₖ and ∂C/∂bⱼ = Σ δⱼ, over the examples
    penalty = {l: [[l2 * w for w in row] for row in W[l]] for l in net.layers if net.l2}
    dW = {
        l: [
            [
                on.sum(
                    [delta[l][i][j] * a[l - 1][i][k] for i in M]
                    + ([penalty[l][j][k]] if net.l2 else [])
                )
                for k in n[l - 1]
            ]
            for j in n[l]
        ]
        for l in net.layers
    }
    db = {
        l: None
        if b[l] is None
        else [
            on.sum(
                [delta[l][i][j] for i in M] + ([l2 * b[l][j]] if net.l2 and net.l2_biases else [])
            )
            for j in n[l]
        ]
        for l in net.layers
    }

    C = on.sum([_example_cost(net.cost, z[L][i], a[L][i], y[i], on) for i in M]) / m
    if net.l2:
        squares = [w * w for l in net.layers for row in W[l] for w in row]
        if net.l2_biases:
            squares += [b_j * b_j for l in net.layers for b_j in b[l] or []]
        C += l2 / 2 * on.sum(squares)
    return Backprop.from_layers(C, z, a, delta, dW, db)


def summation(net: Network, params: Params, x: Any, y: Any) -> Backprop:
    """What `backprop` computes, from the sums of index notation, node by node.

    zⱼ = Σₖ Wⱼₖ aₖ + bⱼ, aⱼ = σ(zⱼ); δⱼ = ∂C/∂aⱼ σ′(zⱼ) at the output and
    δₖ = Σⱼ Wⱼₖ δⱼ σ′(zₖ) before it; ∂C/∂Wⱼₖ = Σ δⱼ aₖ and ∂C/∂bⱼ = Σ δⱼ over the examples.

    Plain Python floats: each product is rounded once and each sum once more, whatever its length
    and order. A user's own `Activation` or `Cost` is taken as written, σ′ and ∇ₐC included;
    `manual_bp.numerical` is the witness that doubts them.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer, W (n_l, n_{l-1}) and b (n_l,).
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,).

    Returns:
        A `Backprop` of NumPy float64 arrays, of the shapes that `backprop` gives.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Source: the correctly rounded sum (`math.fsum`) is that of J. R. Shewchuk, *Adaptive precision
    floating-point arithmetic*, Discrete & Computational Geometry 18 (1997).

    Example:
        >>> import jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((2, 1), ("identity",), "quadratic")
        >>> params = (mbp.Layer(W=jnp.array([[2.0, -1.0]]), b=jnp.array([0.5])),)
        >>> step = mbp.summation(net, params, jnp.array([1.0, 3.0]), jnp.array([1.0]))
        >>> step.z[0].tolist(), step.delta[0].tolist(), step.dW[0].tolist()
        ([-0.5], [-1.5], [[-1.5, -4.5]])
    """
    _, params, x, y = read_call(net, params, x, y).in_one_dtype()
    one = x.ndim == 1
    step = node_by_node(
        net,
        [(_numbers(W), None if b is None else _numbers(b)) for W, b in params],
        [_numbers(x)] if one else _numbers(x),
        [_numbers(y)] if one else _numbers(y),
    )
    return Backprop(
        cost=_array(step.cost),
        z=tuple(_array(rows[0] if one else rows) for rows in step.z),
        a=tuple(_array(rows[0] if one else rows) for rows in step.a),
        delta=tuple(_array(rows[0] if one else rows) for rows in step.delta),
        dW=tuple(map(_array, step.dW)),
        db=tuple(None if db is None else _array(db) for db in step.db),
    )


def _numbers(array: Any) -> list:
    return np.asarray(array, np.float64).tolist()


def _array(numbers: Any) -> Any:
    return np.asarray(numbers, np.float64)
