"""The same record from the forward pass alone: every derivative by moving what it is taken by.

In float64 NumPy, with its own σ and C and no σ′, ∇ₐC or chain rule of ours: of the steps that it
witnesses it shares the definition of the network, nothing else.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from manual_bp.activations import ACTIVATIONS, Activation
from manual_bp.calls import read_call
from manual_bp.checks import Problems, whole_number
from manual_bp.costs import Cost
from manual_bp.families import parsed
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, by_layer

UNIT_ROUNDOFF = 2.0**-53
COMPLEX_STEP = 1e-30  # squared, it is nothing beside 1
STEP = 2.0**-17  # near ∛(3u), where the truncation of a central difference meets its rounding
AFFORDABLE = 1e8  # multiply-adds of the forward pass that one array's elements may take
CHUNK = 2**18  # numbers of one layer in memory at once

# ── σ and C, of real numbers and of complex ones ─────────────────────────────────────────────────

# Each piece of a σ is analytic, so a complex step is exact on it; the real part says which piece.


def _sigmoid(z: np.ndarray) -> np.ndarray:
    e = np.exp(np.where(z.real > 0, -z, z))  # never overflows
    return np.where(z.real > 0, 1, e) / (1 + e)


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.where(z.real > 0, z, 0) + np.log1p(np.exp(np.where(z.real > 0, -z, z)))


def _elu(z: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(z.real > 0, z, alpha * np.expm1(np.where(z.real > 0, 0, z)))


def _hard(z: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, straight between them."""
    inside = (z - low) / (high - low)
    return np.where(z.real <= low, 0, np.where(z.real >= high, 1, inside))


def _size(z: np.ndarray) -> np.ndarray:
    """|z|, on each side of 0 an analytic function."""
    return np.where(z.real >= 0, z, -z)


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr  # a quarter of a second of imports, for gelu alone

    cdf: np.ndarray = ndtr(z)
    return cdf


def _gelu_tanh(z: np.ndarray) -> np.ndarray:
    return z * _sigmoid((8 / np.pi) ** 0.5 * (z + 0.044715 * z * z * z))  # ½(1 + tanh u), u half


def _log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.real.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


SIGMA: dict[str, Callable[..., np.ndarray]] = {  # of z, and the parameter in the name
    "identity": lambda z: z,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "leaky_relu": lambda z, slope=0.01: np.where(z.real > 0, z, slope * z),
    "elu": _elu,
    "softplus": _softplus,
    "silu": lambda z: z * _sigmoid(z),
    "gelu": lambda z: z * _normal_cdf(z),
    "gelu_tanh": _gelu_tanh,
    "softmax": lambda z: np.exp(_log_softmax(z)),
    "selu": lambda z: 1.0507009873554805 * _elu(z, 1.6732632423543772),
    "softsign": lambda z: z / (1 + _size(z)),
    "hard_sigmoid": lambda z: _hard(z, -3, 3),
    "hard_tanh": lambda z: 2 * _hard(z, -1, 1) - 1,
    "exp": np.exp,
    "swish": lambda z, beta: z * _sigmoid(beta * z),
}


def _kinks(activation: Activation) -> tuple[float, ...]:
    """Where the slope of a built-in σ jumps."""
    if not activation.built_in:
        return ()
    match parsed(activation.name):
        case ("relu" | "leaky_relu" | "selu", _, _):
            return (0.0,)
        case ("elu", (alpha,), _) if alpha != 1:  # with α = 1 the slope is 1 on both sides
            return (0.0,)
        case ("hard_sigmoid", _, _):
            return (-3.0, 3.0)
        case ("hard_tanh", _, _):
            return (-1.0, 1.0)
    return ()


def _bend(activation: Activation, a: np.ndarray) -> np.ndarray:
    """A bound on |σ″| of a built-in σ, by which its σ′ is rounded too; 1.2 for most."""
    most: Any = 1.2
    match parsed(activation.name) if activation.built_in else ("", (), {}):
        case ("exp", _, _):
            most = np.maximum(1.2, 2 * a * (1 + abs(np.log(np.maximum(a, 1e-300)))))
        case ("elu" | "swish", (parameter,), _):
            most = max(1.2, parameter)
        case ("selu" | "softsign", _, _):
            most = 2.0
    return np.broadcast_to(most, a.shape)


def _quadratic(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((a - y) ** 2).sum(axis=-1) / 2


def _cross_entropy(
    z: np.ndarray,
    a: np.ndarray,
    y: np.ndarray,
    smoothing: float = 0.0,
    weights: tuple[float, ...] = (),
) -> np.ndarray:
    log_a = _log_softmax(z)
    losses = -log_a * weights if weights else -log_a  # of each class
    even = losses.mean(axis=-1) * y.sum(axis=-1)
    return (1 - smoothing) * (y * losses).sum(axis=-1) + smoothing * even


def _binary_cross_entropy(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y * _softplus(-z) + (1 - y) * _softplus(z)).sum(axis=-1)


def _mean_squared_error(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((a - y) ** 2).mean(axis=-1)


def _absolute_error(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _size(a - y).sum(axis=-1)


def _huber(z: np.ndarray, a: np.ndarray, y: np.ndarray, threshold: float = 1.0) -> np.ndarray:
    size = _size(a - y)
    near = size.real <= threshold
    inside = np.where(near, size, 0) ** 2 / 2
    return np.where(near, inside, threshold * (size - threshold / 2)).sum(axis=-1)


def _hinge(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    margin = 1 - y * a
    return np.where(margin.real > 0, margin, 0).sum(axis=-1)


def _poisson(z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.exp(z) - y * z).sum(axis=-1)


COST: dict[str, Callable[..., np.ndarray]] = {  # of z, a, y, and the parameters in the name
    "quadratic": _quadratic,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "mean_squared_error": _mean_squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "hinge": _hinge,
    "poisson": _poisson,
}


def _curvature(cost: Cost) -> float:
    """What a built-in C bends by, in units of the quadratic cost."""
    match parsed(cost.name) if cost.built_in else ("", (), {}):
        case ("mean_squared_error", _, _):
            return 2.0
        case ("cross_entropy", _, {"weights": tuple(weights)}):
            return max(1.0, *weights)
    return 1.0


def _of_user(function: Callable, *arguments: np.ndarray) -> np.ndarray:
    import jax  # a user's functions are written in it; nothing else here is

    with jax.enable_x64(True):
        return np.asarray(function(*map(jax.numpy.asarray, arguments)), np.float64)


def _sigma(activation: Activation, z: np.ndarray) -> np.ndarray:
    if activation.built_in:
        name, numbers, _ = parsed(activation.name)
        return SIGMA[name](z, *numbers)
    return _of_user(activation.sigma, z)


def _cost(cost: Cost, z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    if cost.built_in:
        name, numbers, named = parsed(cost.name)
        return COST[name](z, a, y, *numbers, **named)
    return _of_user(cost.value, z if cost.of == "z" else a, y)


# ── The forward pass, and how far rounding may carry it ──────────────────────────────────────────


class _Forward:
    """The forward pass of a batch in float64, with a first-order bound on its rounding."""

    def __init__(self, net: Network, params: Params, x: Any, y: Any) -> None:
        u, numbers = UNIT_ROUNDOFF, (lambda array: np.asarray(array, np.float64))
        self.net, self.y = net, np.atleast_2d(numbers(y))
        self.m = len(self.y)
        self.W, self.b = by_layer(
            [(numbers(W), np.zeros(len(W)) if b is None else numbers(b)) for W, b in params]
        )
        self.z, self.a = {}, {0: np.atleast_2d(numbers(x))}
        self.slope = {}  # |σ′|, itself by moving z
        self.bend: dict[int, Any] = {}  # |σ″| at most
        self.size = {}  # |W||a| + |b|, which the rounding of z is measured by
        self.z_error, self.a_error = {}, {0: np.zeros_like(self.a[0])}
        for l in net.layers:
            activation, W, a = net.sigma[l], self.W[l], self.a[l - 1]
            self.z[l] = z = a @ W.T + self.b[l]
            self.a[l] = a_next = _sigma(activation, z)
            self.slope[l] = _slope(activation, z)
            self.size[l] = abs(a) @ abs(W).T + abs(self.b[l])
            self.z_error[l] = self.a_error[l - 1] @ abs(W).T + (W.shape[1] + 2) * u * self.size[l]
            moved = self.slope[l] * self.z_error[l]
            if activation is ACTIVATIONS["softmax"]:
                moved = self.z_error[l].max(axis=-1, keepdims=True) + z.shape[-1] * u
            exact = activation.built_in and activation.name in ("identity", "relu")
            rounded = 0 if exact else 8 * u * (1 + abs(a_next) + abs(z) * self.slope[l])
            self.bend[l] = _bend(activation, a_next)
            self.a_error[l] = moved + rounded

    def costs(self, l: int, z: np.ndarray, i: np.ndarray) -> tuple[np.ndarray, list["_Distance"]]:
        """C of examples i whose zˡ is `z`; and how far all with a kink from l on lies from it."""
        kinks, L = [], self.net.depth
        for k in range(l, L + 1):
            activation = self.net.sigma[k]
            for kink in _kinks(activation):
                kinks.append(_Distance(z - kink, self.z[k][i] - kink, self.z_error[k][i]))
            a = _sigma(activation, z)
            if k < L:
                z = a @ self.W[k + 1].T + self.b[k + 1]
        y = self.y[i]
        if self.net.cost.family == "absolute_error":
            kinks.append(_Distance(a - y, self.a[L][i] - y, self.a_error[L][i]))
        if self.net.cost.family == "hinge":
            error = self.a_error[L][i] * abs(y) + UNIT_ROUNDOFF
            kinks.append(_Distance(1 - y * a, 1 - y * self.a[L][i], error))
        return _cost(self.net.cost, z, a, y), kinks

    def is_piecewise_analytic(self, l: int) -> bool:
        """Whether all from layer l on is built in, so that a complex step is known to be exact."""
        sigmas = self.net.activations[l - 1 :]
        return self.net.cost.built_in and all(sigma.built_in for sigma in sigmas)


class _Distance(NamedTuple):
    """From a kink, which is at 0: where the move leads, where it began, and how exact that is."""

    moved: np.ndarray
    before: np.ndarray
    error: np.ndarray


def _slope(activation: Activation, z: np.ndarray) -> np.ndarray:
    if activation is ACTIVATIONS["softmax"]:
        return np.ones_like(z)
    if activation.built_in:
        return abs(_sigma(activation, z + 1j * COMPLEX_STEP).imag) / COMPLEX_STEP
    return abs(_sigma(activation, z + STEP) - _sigma(activation, z - STEP)) / (2 * STEP)


# ── A derivative, by moving one neuron's z in some examples ──────────────────────────────────────


class _Slopes(NamedTuple):
    value: np.ndarray  # ∂C/∂t at t = 0, where zˡ moves by t · push
    tested: np.ndarray  # False where a kink lies within reach of the move, or of rounding
    spread: np.ndarray  # what the central differences at two steps differ by
    step: np.ndarray


def _slopes(f: _Forward, l: int, i: np.ndarray, j: np.ndarray, push: np.ndarray) -> _Slopes:
    """Derivatives of C by P moves: neuron j[p] of layer l by push[p, r] in example i[p, r]."""
    P, R = push.shape
    chunk = max(1, CHUNK // (R * max(f.net.sizes[l:])))
    derive = _complex_step if f.is_piecewise_analytic(l) else _central_difference
    parts = [
        derive(f, l, i[p : p + chunk], j[p : p + chunk], push[p : p + chunk])
        for p in range(0, P, chunk)
    ]
    return _Slopes(*map(np.concatenate, zip(*parts, strict=True)))


def _moved(f: _Forward, l: int, i: np.ndarray, j: np.ndarray, by: np.ndarray) -> np.ndarray:
    z = f.z[l][i].astype(by.dtype)
    z[np.arange(len(j))[:, None], np.arange(i.shape[1]), j[:, None]] += by
    return z


def _complex_step(f: _Forward, l: int, i: np.ndarray, j: np.ndarray, push: np.ndarray) -> _Slopes:
    c, kinks = f.costs(l, _moved(f, l, i, j, 1j * COMPLEX_STEP * push), i)
    tested = np.ones(len(j), bool)
    for moved, _, error in kinks:
        at_kink = (abs(moved.real) <= error) & (moved.imag != 0)
        tested &= ~at_kink.any(axis=(1, 2))
    value = c.imag.sum(axis=1) / COMPLEX_STEP / f.m
    return _Slopes(value, tested, 0 * value, 0 * value + COMPLEX_STEP)


def _central_difference(
    f: _Forward, l: int, i: np.ndarray, j: np.ndarray, push: np.ndarray
) -> _Slopes:
    h = STEP / np.maximum(1, abs(push).max(axis=1))
    tested, c = np.ones(len(j), bool), {}
    for t in (1, -1, 2, -2):
        c[t], kinks = f.costs(l, _moved(f, l, i, j, t * h[:, None] * push), i)
        for moved, before, error in kinks:
            at_kink = (abs(before) <= error) & (moved != before)
            crossed = np.sign(moved) != np.sign(before)
            tested &= ~(at_kink | crossed).any(axis=(1, 2))
    near = (c[1] - c[-1]).sum(axis=1) / (2 * h) / f.m
    far = (c[2] - c[-2]).sum(axis=1) / (4 * h) / f.m
    return _Slopes(near, tested, abs(far - near), h)


# ── How far from the truth they may be ───────────────────────────────────────────────────────────


class _Errors:
    """Bounds to first order, from absolute sums over every path that leads to C.

    A complex step has no truncation: its error is that of the rounded z, carried on, and of some
    tens of roundings in each layer, C″ and σ″ being bounded for what is built in. A central
    difference has the truncation that halving the step shows (three quarters of the error at the
    larger step, so the whole of `spread` is three times what remains), and C's rounding over h.
    """

    def __init__(self, f: _Forward) -> None:
        u, L = UNIT_ROUNDOFF, f.net.depth
        self.f = f
        i, j = (index.ravel() for index in np.indices(f.z[L].shape))
        at_output = _slopes(f, L, i[:, None], j, np.ones((len(i), 1)))
        self.reach = {L: abs(at_output.value).reshape(f.z[L].shape)}  # of |∂C/∂z|
        bend = _curvature(f.net.cost) * np.maximum(1, f.bend[L].max(axis=-1, keepdims=True))
        curvature = 2 * bend * (1 + abs(f.a[L]) + abs(f.y)).sum(axis=-1, keepdims=True) / f.m
        self.delta = {
            L: (len(f.b[L]) + 64) * u * self.reach[L]
            + curvature * (64 * u + f.z_error[L].sum(axis=-1, keepdims=True))
        }
        for l in range(L - 1, 0, -1):
            W = abs(f.W[l + 1])
            back = self.reach[l + 1] @ W
            self.reach[l] = back * f.slope[l]
            self.delta[l] = (self.delta[l + 1] @ W + (len(W) + 64) * u * back) * f.slope[
                l
            ] + back * f.bend[l] * (f.z_error[l] + 64 * u)

    def cost(self, l: int) -> np.ndarray:
        """Of C of each example, as rounded from layer l on."""
        f, L = self.f, self.f.net.depth
        c, _ = f.costs(L, f.z[L], np.arange(f.m))
        size = abs(c) + _curvature(f.net.cost) * ((f.a[L] ** 2 + f.y**2).sum(axis=-1) + 1)
        error = (f.y.shape[1] + 32) * size
        for k in range(l, L + 1):
            error = error + f.m * (f.W[k].shape[1] + 32) * (self.reach[k] * f.size[k]).sum(axis=-1)
        return UNIT_ROUNDOFF * error

    def of(self, l: int, i: np.ndarray, j: np.ndarray, push: np.ndarray, by: _Slopes) -> np.ndarray:
        """Of each of the derivatives that `_slopes` gave for these moves."""
        f = self.f
        if not f.is_piecewise_analytic(l):
            return by.spread + self.cost(l)[i].sum(axis=1) / f.m / by.step
        delta, reach = self.delta[l][i, j[:, None]], self.reach[l][i, j[:, None]]
        rounded = (i.shape[1] + 8) * UNIT_ROUNDOFF * reach * abs(push)
        return (delta * abs(push) + rounded).sum(axis=1)


# ── The record ───────────────────────────────────────────────────────────────────────────────────


def numerical_with_error(
    net: Network, params: Params, x: Any, y: Any, *, samples: int | None = None, seed: int = 0
) -> tuple[Backprop, Backprop]:
    """`numerical`, and in a second record a bound on the error of each of its numbers.

    A bound follows the rounding of float64 to first order. A complex step's is some hundred
    roundings of the sums of absolute values; a central difference's is what the difference
    changes by when its step is doubled, and the rounding of C over the step: about 10⁻⁹ of C.
    Takes and raises what `numerical` does, and masks what it masks.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> from manual_bp.witnesses.numerical import numerical_with_error
        >>> net = mbp.Network((3, 2), ("tanh",), "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> step, error = numerical_with_error(net, params, jnp.ones((5, 3)), jnp.zeros((5, 2)))
        >>> bool((error.dW[0] < 1e-12).all())
        True
    """
    _, params, x, y = read_call(net, params, x, y).in_one_dtype()
    problems = Problems()
    if samples is not None:
        whole_number("samples", samples, 1, problems)
    problems.raise_all()
    f = _Forward(net, params, x, y)
    errors, rng = _Errors(f), np.random.default_rng(seed)
    every = np.arange(f.m)
    record: dict[str, list[Any]] = {name: [] for name in ("delta", "dW", "db")}
    bounds: dict[str, list[Any]] = {name: [] for name in ("delta", "dW", "db")}

    def derive(name: str, l: int, shape: tuple[int, ...], rows: int, moves: Callable) -> None:
        picked = _pick(f, l, shape, rows, samples, rng)
        index = np.unravel_index(picked, shape)
        i, j, push = moves(*index)
        by = _slopes(f, l, i, j, push)
        value, error = by.value, errors.of(l, i, j, push, by)
        if name == "dW":  # the exact a might be this far from ours
            reach = errors.reach[l][:, j] * f.a_error[l - 1][:, index[1]]
            error = error + reach.sum(axis=0)
        if name == "dW" or (name == "db" and net.l2_biases):
            w = (f.W if name == "dW" else f.b)[l][index]
            value = value + _penalty(net, w + 1j * COMPLEX_STEP).imag / COMPLEX_STEP
            error = error + 4 * UNIT_ROUNDOFF * abs(net.l2 * w)
        record[name].append(_partly(shape, picked[by.tested], value[by.tested]))
        bounds[name].append(_partly(shape, picked[by.tested], error[by.tested]))

    for l in net.layers:
        n, n_prev, a_prev = net.sizes[l], net.sizes[l - 1], f.a[l - 1]
        derive("delta", l, (f.m, n), 1, lambda i, j: (i[:, None], j, np.ones((len(j), 1))))
        derive(
            "dW",
            l,
            (n, n_prev),
            f.m,
            lambda j, k, a=a_prev: (np.tile(every, (len(j), 1)), j, a[:, k].T),
        )
        if params[l - 1][1] is None:
            record["db"].append(None)
            bounds["db"].append(None)
            continue
        derive(
            "db",
            l,
            (n,),
            f.m,
            lambda j: (np.tile(every, (len(j), 1)), j, np.ones((len(j), f.m))),
        )

    C, _ = f.costs(net.depth, f.z[net.depth], every)
    penalised = net.penalised([*zip(f.W.values(), f.b.values(), strict=True)])
    penalty = sum(_penalty(net, w).sum() for w in penalised)
    weights = sum(w.size for w in penalised)
    C_error = errors.cost(1).mean() + (weights + 4) * UNIT_ROUNDOFF * penalty
    return (
        _record(x, C.mean() + penalty, f.z, f.a, record),
        _record(x, C_error, f.z_error, f.a_error, bounds),
    )


def _penalty(net: Network, W: np.ndarray) -> np.ndarray:
    return net.l2 / 2 * W**2


def _pick(
    f: _Forward,
    l: int,
    shape: tuple[int, ...],
    rows: int,
    samples: int | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Which elements of an array to take the derivative by: all, or a random sample, in order."""
    sizes, elements = f.net.sizes[l:], int(np.prod(shape))
    products = sum(n * n_next for n, n_next in pairwise(sizes))
    work = rows * (products + 16 * sum(sizes))  # an exp or tanh costs some 16 multiply-adds
    most = samples or max(1, int(AFFORDABLE / work))
    if elements <= most:
        return np.arange(elements)
    return np.sort(rng.choice(elements, most, replace=False))


def _partly(shape: tuple[int, ...], picked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The array that holds these values there, with all else masked."""
    array, untested = np.zeros(shape), np.ones(shape, bool)
    array.flat[picked], untested.flat[picked] = values, False
    return np.ma.MaskedArray(array, untested) if untested.any() else array


def _record(x: Any, C: Any, z: dict, a: dict, derivatives: dict[str, list[Any]]) -> Backprop:
    rows = (lambda of: tuple(array[0] for array in of)) if x.ndim == 1 else tuple
    return Backprop(
        cost=np.asarray(C),
        z=rows(z.values()),
        a=rows(a.values()),
        delta=rows(derivatives["delta"]),
        dW=tuple(derivatives["dW"]),
        db=tuple(derivatives["db"]),
    )


def numerical(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    samples: int | None = None,
    seed: int = 0,
) -> Backprop:
    """What `backprop` computes, from the forward pass alone, in float64.

    ∂C/∂t ≈ Im C(t + ih)/h with h = 10⁻³⁰, where all from there to C is built in: no difference is
    taken, so nothing cancels and the error is rounding's alone. At a user's own `Activation` or
    `Cost`, which may not take complex numbers, (C(t + h) − C(t − h))/2h with h near 10⁻⁵; their
    σ′ and ∇ₐC are never read, and σ is taken to be smooth. t is each W and b, and for δ each z.

    Where a kink of a built-in σ or C lies within reach of the move, or of float64's rounding of
    z, there is no derivative to compare with: that element is masked, and the array that holds it
    a `numpy.ma.MaskedArray`. So are the elements left out of a sample; `dW[l].count()` of its
    `dW[l].size` were tested.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer, W (n_l, n_{l-1}) and b (n_l,).
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,).
        samples: of each array, take the derivative by at most this many elements; None for as
            many as 10⁸ multiply-adds of the forward pass allow, about a second for each array.
        seed: of the random choice of those elements.

    Returns:
        A `Backprop` of NumPy float64 arrays, of the shapes that `backprop` gives.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Source: W. Squire and G. Trapp, *Using complex variables to estimate derivatives of real
    functions*, SIAM Review 40 (1998); on the pieces of a function with kinks, J. Martins,
    P. Sturdza and J. Alonso, *The complex-step derivative approximation*, ACM TOMS 29 (2003); the
    step of a central difference, W. Press et al., *Numerical Recipes*, sec. 5.7.

    Example:
        >>> import jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((2, 2), ("relu",), "quadratic")
        >>> params = (mbp.Layer(W=jnp.array([[1.0, 2.0], [1.0, -1.0]]), b=jnp.zeros(2)),)
        >>> step = mbp.numerical(net, params, jnp.array([1.0, 1.0]), jnp.array([1.0, 1.0]))
        >>> print(step.z[0], step.delta[0])
        [3. 0.] [2.0 --]
    """
    return numerical_with_error(net, params, x, y, samples=samples, seed=seed)[0]
