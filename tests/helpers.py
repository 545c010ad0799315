"""What the tests share: a comparator, random cases, what rounding may do to a result, Ctrl-C."""

import functools
import signal
from contextlib import contextmanager
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp import Backprop, Layer, Network
from manual_bp.record import by_layer

DTYPES = ("float16", "bfloat16", "float32", "float64")
ELEMENTWISE = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "softplus",
    "silu",
    "gelu",
    "gelu_tanh",
    "selu",
    "softsign",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu(0.2)",
    "elu(0.5)",
    "swish(1.5)",
)
UNBOUNDED = ("exp",)  # which overflows where layers of it follow each other
# Output activation and cost; None is the hidden layers' own activation.
HEADS = (
    (None, "quadratic"),
    ("softmax", "quadratic"),
    ("softmax", "cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
)
WIDTHS = (3, 5, 4, 6, 2)  # distinct, and none of them a batch size of the tests


def unit_roundoff(dtype):
    return float(jnp.finfo(dtype).eps) / 2


def smallest(dtype):
    """What a result may lose by underflow, where subnormal numbers are flushed to zero or not."""
    info = jnp.finfo(dtype)
    return float(info.smallest_subnormal if dtype == "float16" else info.tiny)


def assert_close(actual, desired, bound=0.0, *, dtype=None):
    """The one comparator: structure, shape and dtype, then |actual - desired| <= bound.

    `bound` is a number, or arrays in the structure of `desired`. `dtype` is what `actual` has to
    have, where `desired` is a reference in a wider format. NaN and Inf agree with nothing.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    bounds = bound
    if jax.tree.structure(bound) != jax.tree.structure(desired):
        bounds = jax.tree.map(lambda _: bound, desired)
    leaves = jax.tree.leaves_with_path(actual)
    for (path, got), want, limit in zip(
        leaves, jax.tree.leaves(desired), jax.tree.leaves(bounds), strict=True
    ):
        place = jax.tree_util.keystr(path) or "value"
        assert np.shape(got) == np.shape(want), f"{place}: {np.shape(got)} != {np.shape(want)}"
        expected = jnp.dtype(dtype or want.dtype)
        assert got.dtype == expected, f"{place}: {got.dtype} != {expected}"
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        limit = np.broadcast_to(np.asarray(limit, np.float64), want.shape)
        with np.errstate(invalid="ignore"):
            excess = np.abs(got - want) - limit
        if excess.size and not (excess <= 0).all():
            worst = np.unravel_index(
                np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape
            )
            raise AssertionError(
                f"{place}{list(map(int, worst))}: {got[worst]:.17g} against {want[worst]:.17g}, "
                f"{abs(got[worst] - want[worst]):.3g} apart, {limit[worst]:.3g} allowed"
            )


def network(hidden, head, depth, l2=0.0):
    """A network of distinct widths; `head` is one of HEADS."""
    output, cost = head
    return Network(WIDTHS[: depth + 1], (hidden,) * (depth - 1) + (output or hidden,), cost, l2)


def random_case(net, m, seed, dtype):
    """Params, x and y; m is None for one example without the batch axis.

    No weight or bias is zero, their signs are mixed, and the first unit's input sum is exactly 0
    in the first example, in every format: there a kink has to be right.
    """
    rng = np.random.default_rng(seed)

    def signed(*shape):
        signs = rng.permutation(np.resize([1, -1], np.prod(shape))).reshape(shape)
        return rng.uniform(0.2, 1.0, shape) * signs

    W = [signed(n, n_prev) * 1.5 * n_prev**-0.5 for n_prev, n in pairwise(net.sizes)]
    b = [signed(n) for n in net.sizes[1:]]
    x = signed(m or 1, net.sizes[0])
    # Few bits each: products and sums are exact in any order, and the bias is not zero.
    k = np.arange(net.sizes[0])
    W[0][0], x[0] = 0.5 ** (k % 3), (-1.0) ** k * 0.5 ** (k % 2)
    b[0][0] = -(W[0][0] @ x[0])
    assert b[0][0] != 0
    low, high = {"cross_entropy": (0, 1), "binary_cross_entropy": (0, 1)}.get(
        net.cost.name, (-1.5, 1.5)
    )
    y = rng.uniform(low, high, (m or 1, net.sizes[-1]))
    if m is None:
        x, y = x[0], y[0]
    # Unlike jnp.asarray, this has nothing to compile for each new shape.
    cast = lambda array: jax.device_put(array.astype(jnp.dtype(dtype)))  # noqa: E731
    params = tuple(Layer(cast(w), cast(v)) for w, v in zip(W, b, strict=True))
    return params, cast(x), cast(y)


def widened(tree):
    """The same numbers in float64; call it with 64-bit types on."""
    return jax.tree.map(lambda array: jax.device_put(np.asarray(array, np.float64)), tree)


# ── What rounding may do, from x to every gradient ───────────────────────────────────────────────
#
# A running error analysis: each step carries its operands' errors on and adds its own. A product of
# length n in a format of unit roundoff u is off by at most n·u/(1 - n·u) times the product of the
# absolute values (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3). σ and σ′ are off
# by what the activation states, which test_activations.py holds it to, and by what their slopes
# make of the error of z: the greatest |σ′| and |σ″| anywhere, and the jump of σ′ at 0.

SLOPES = {
    "identity": (1, 0, 0),
    "sigmoid": (0.25, 0.0963, 0),
    "tanh": (1, 0.7699, 0),
    "relu": (1, 0, 1),
    "leaky_relu": (1, 0, 0.99),
    "elu": (1, 1, 0),
    "softplus": (1, 0.25, 0),
    "silu": (1.1, 0.5, 0),
    "gelu": (1.13, 0.8, 0),
    "gelu_tanh": (1.13, 0.81, 0),
    "selu": (1.7581, 1.7581, 0.71),
    "softsign": (1, 2, 0),
    "hard_sigmoid": (1 / 6, 0, 1 / 6),
    "hard_tanh": (1, 0, 1),
    "leaky_relu(0.2)": (1, 0, 0.8),
    "elu(0.5)": (1, 0.5, 0.5),
    "swish(1.5)": (1.1, 0.75, 0),
}


@functools.partial(jax.jit, static_argnums=0)
def _from_activations(activations, z, a):
    """The rounding that each layer's activation states, and its σ′."""
    sigmas = list(zip(activations, z, a, strict=True))
    slopes = [None if s.name == "softmax" else s.prime(v, w) for s, v, w in sigmas]
    return [s.rounding(v, w) for s, v, w in sigmas], slopes


def rounding_bound(net, params, x, y, exact, dtype):
    """How far a result in `dtype` may be from `exact`, a record in float64: a record of bounds."""
    u = unit_roundoff(dtype) + unit_roundoff("float64")  # the reference's own rounding as well
    tiny = smallest(dtype)
    exact, params = jax.tree.map(lambda v: np.asarray(v, np.float64), (exact, tuple(params)))
    (W, b), rows = by_layer(params), {"z": {}, "a": {}, "delta": {}}
    for place, array in exact.items():
        if place.quantity in rows:
            rows[place.quantity][place.layer] = np.atleast_2d(array)
    z, a, delta = rows.values()
    y = np.atleast_2d(np.asarray(y, np.float64))
    m, L = y.shape[0], net.depth

    def product(multiply, A, dA, B, dB, n):
        """The error of a product of length n of A and B that are off by dA and dB."""
        whole = multiply(np.abs(A) + dA, np.abs(B) + dB)
        return whole - multiply(np.abs(A), np.abs(B)) + n * u / (1 - n * u) * whole + n * tiny

    z_and_a = [z[l] for l in net.layers], [a[l] for l in net.layers]
    stated = jax.tree.map(np.asarray, _from_activations(net.activations, *z_and_a))
    units, slopes = (dict(zip(net.layers, each, strict=True)) for each in stated)

    dz, da, ds = {}, {0: np.zeros_like(a[0])}, {}
    for l, sigma in net.sigma.items():
        w = W[l]
        into = product(np.matmul, a[l - 1], da[l - 1], w.T, 0 * w.T, w.shape[1] + 1)
        dz[l] = into + 2 * u * np.abs(b[l])
        e_a, e_s = (e * u + tiny for e in units[l])
        if sigma.name == "softmax":  # Σₖ|∂aⱼ/∂zₖ| = 2aⱼ(1 - aⱼ) <= 1/2
            da[l] = e_a + dz[l].max(axis=1, keepdims=True) / 2
        else:
            slope, bend, jump = SLOPES[sigma.name]
            da[l] = e_a + slope * dz[l]
            ds[l] = e_s + bend * dz[l]
            for kink in sigma.kinks or (0,):  # beside 0 alone nothing but z's error decides
                far = np.abs(z[l] - kink)
                near = (far <= dz[l]) & (far != 0) if kink == 0 else far <= dz[l] + 48 * u
                ds[l] += jump * near

    times, e_y, e_delta = np.multiply, 0 * y, {}
    if net.cost.name == "quadratic":
        g = (a[L] - y) / m
        e_g = (da[L] + 3 * u * (np.abs(a[L]) + np.abs(y) + da[L])) / m + tiny
        if net.sigma[L].name == "softmax":  # aⱼ(gⱼ - Σₖ gₖaₖ)
            inner = np.abs(g * a[L]).sum(axis=1, keepdims=True)
            e_inner = product(times, g, e_g, a[L], da[L], y.shape[1] + 1).sum(axis=1, keepdims=True)
            e_delta[L] = product(times, np.abs(g) + inner, e_g + e_inner, a[L], da[L], 3)
        else:
            e_delta[L] = product(times, g, e_g, slopes[L], ds[L], 2)
    else:
        Sy = y.sum(axis=1, keepdims=True) if net.cost.name == "cross_entropy" else np.ones((m, 1))
        e_delta[L] = (
            product(times, a[L], da[L], Sy, 0 * Sy, y.shape[1] + 3) + 3 * u * y
        ) / m + tiny
    for l in range(L - 1, 0, -1):
        w = W[l + 1]
        back = product(np.matmul, delta[l + 1], e_delta[l + 1], w, 0 * w, w.shape[0])
        e_delta[l] = product(times, delta[l + 1] @ w, back, slopes[l], ds[l], 2)

    dW, db = {}, {}
    for l in net.layers:
        dW[l] = product(np.matmul, delta[l].T, e_delta[l].T, a[l - 1], da[l - 1], m + 1)
        dW[l] += 4 * u * net.l2 * np.abs(W[l])
        db[l] = (e_delta[l] + (m + 1) * u / (1 - m * u) * (np.abs(delta[l]) + e_delta[l])).sum(0)

    n = y.shape[1]
    if net.cost.name == "quadratic":
        d = a[L] - y
        e_d = da[L] + u * (np.abs(d) + da[L])
        e_C = product(times, d, e_d, d, e_d, n + m + 4).sum(axis=1)
    elif net.cost.name == "cross_entropy":
        # log aⱼ = zⱼ - log Σ eᶻ moves by at most twice z's error. In it, z - max z is rounded in
        # and out of exp, and the relative error of the sum is an absolute one of its log.
        depth = z[L].max(axis=1, keepdims=True) - z[L].min(axis=1, keepdims=True)
        e_log = 2 * dz[L].max(axis=1, keepdims=True) + u * (4 * depth + n + 16 + np.log(n))
        log_a = np.log(np.maximum(a[L], np.finfo(float).tiny))
        e_C = product(times, y, e_y, log_a, e_log, n + m + 2).sum(axis=1)
    else:
        soft = np.logaddexp(0, z[L]), np.logaddexp(0, -z[L])  # slopes at most 1
        e_C = sum(
            product(times, t, u * np.abs(t), s, dz[L] + 8 * u * (1 + s), n + m + 3)
            for t, s in ((1 - y, soft[0]), (y, soft[1]))
        ).sum(axis=1)
    e_cost = e_C.mean()
    if net.l2:
        count = sum(w.size for w in W.values()) + 4
        e_cost += count * u / (1 - count * u) * net.l2 / 2 * sum((w**2).sum() for w in W.values())
        e_cost += 2 * u * abs(exact.cost)

    bounds = Backprop.from_layers(np.asarray(e_cost), dz, da, e_delta, dW, db)
    return jax.tree.map(lambda bound, array: bound.reshape(array.shape), bounds, exact)


@contextmanager
def plain_ctrl_c():
    """Ctrl-C with Python's own handler, which tests that are a job in the background lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
