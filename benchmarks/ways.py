"""Right computations by other ways: usual formulas of σ and σ′, orders of sums, mixed formats.

In NumPy, with every operation rounded to the format it is made in.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import scipy.special

from manual_bp import Backprop, Network
from manual_bp.record import by_layer

Numbers = np.ndarray[Any, Any]
Constant = Callable[[float], Any]
BITS: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
ORDERS = ("forward", "started", "reversed", "pairwise", "blocked", "fused")


class Formats(NamedTuple):
    """Which number is rounded to what.

    Attributes:
        work: of each operation.
        kept: of z, a and δ as they are shown.
        sums: that the sums of products are kept in.
        head: of softmax and of the cost, which autocast computes in the parameters' own.
        out: of the gradients as they are shown, after they were rounded as `kept`.
        reads_kept: whether the next equation reads what is shown, or what it was before.
    """

    work: str
    kept: str
    sums: str
    head: str
    out: str
    reads_kept: bool = True

    @staticmethod
    def of(dtype: str) -> "Formats":
        """All in one format."""
        return Formats(dtype, dtype, dtype, dtype, dtype)


def fold(terms: Numbers, order: str) -> Any:
    """Σ over the first axis, each addition rounded."""
    if order == "pairwise":
        while len(terms) > 1:
            half = len(terms) // 2
            terms = np.concatenate([terms[:half] + terms[half : 2 * half], terms[2 * half :]])
        return terms[0]
    if order == "blocked" and len(terms) > 2:
        blocks = [fold(block, "forward") for block in np.array_split(terms, 2)]
        return fold(np.stack(blocks), "forward")
    total = None
    for term in terms[::-1] if order == "reversed" else terms:
        total = term if total is None else total + term
    return total


def dot(A: Numbers, B: Numbers, order: str, plus: Numbers | None = None, sums: Any = None) -> Any:
    """A @ B, and `plus`: added to the sum, or the term that it starts with, as compilers do.

    The sum is kept in the format `sums`; "fused" does not round the products.
    """
    dtype = A.dtype
    sums = np.dtype(sums or dtype)
    A, B = (array.astype(np.promote_types(dtype, sums)) for array in (A, B))
    plus = None if plus is None else plus.astype(sums)
    if order == "fused":
        wide = np.longdouble if sums == np.float64 else np.float64
        total = np.zeros((len(A), B.shape[1]), sums)
        for a, b in zip(A.T, B, strict=True):
            product = a.astype(wide)[:, None] * b.astype(wide)
            total = (total.astype(wide) + product).astype(sums)
    else:
        terms = np.moveaxis(A[:, :, None] * B[None], 1, 0).astype(sums)
        if plus is not None and order == "started":
            terms = np.concatenate([np.broadcast_to(plus, (1, *terms.shape[1:])), terms])
            plus = None
        total = fold(terms, order)
    return (total if plus is None else total + plus).astype(dtype)


def erf(z: Numbers) -> Numbers:
    return scipy.special.erf(z.astype(np.float64)).astype(z.dtype)


def square(z: Any) -> Any:
    return z * z


def within(z: Numbers, c: Constant) -> Any:
    """z kept where exp(±z) stays in its range, and beyond which tanh is ±1."""
    most = c(20 if z.dtype == np.float64 else 9)
    return np.minimum(np.maximum(z, -most), most)


def sigmoid(z: Numbers, c: Constant) -> Any:
    return c(1) / (c(1) + np.exp(-z))


def sigmoid_by_tanh(z: Numbers, c: Constant) -> Any:
    return (c(1) + np.tanh(z * c(0.5))) * c(0.5)


def sigmoid_of_size(z: Numbers, c: Constant) -> Any:
    return np.exp(np.minimum(z, c(0))) / (c(1) + np.exp(-np.abs(z)))


def below(z: Numbers, c: Constant) -> Any:
    return np.minimum(z, c(0))


def exp_of(z: Numbers, c: Constant) -> Any:
    return np.exp(below(z, c))


def gelu_u(z: Numbers, c: Constant) -> Any:
    return c((2 / np.pi) ** 0.5) * (z + c(0.044715) * z * z * z)


LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772
OfZ = Callable[[Numbers, Constant], Any]
OfZAndA = Callable[[Numbers, Numbers, Constant], Any]

# name: the formulas of σ(z), and those of σ′(z, a)
ROUTES: dict[str, tuple[list[OfZ], list[OfZAndA]]] = {
    "identity": ([lambda z, c: z], [lambda z, a, c: np.ones_like(z)]),
    "sigmoid": (
        [
            sigmoid,
            sigmoid_by_tanh,
            sigmoid_of_size,
        ],
        [
            lambda z, a, c: a * (c(1) - a),
            lambda z, a, c: a - a * a,
            lambda z, a, c: np.exp(-np.abs(z)) / square(c(1) + np.exp(-np.abs(z))),
        ],
    ),
    "tanh": (
        [
            lambda z, c: np.tanh(z),
            lambda z, c: (
                (np.exp(within(z, c)) - np.exp(-within(z, c)))
                / (np.exp(within(z, c)) + np.exp(-within(z, c)))
            ),
            lambda z, c: c(2) * sigmoid(c(2) * z, c) - c(1),
            lambda z, c: c(1) - c(2) / (np.exp(c(2) * within(z, c)) + c(1)),
        ],
        [
            lambda z, a, c: c(1) - a * a,
            lambda z, a, c: c(4) * sigmoid_of_size(c(2) * z, c) * sigmoid_of_size(c(-2) * z, c),
            lambda z, a, c: (c(1) - a) * (c(1) + a),
            lambda z, a, c: c(1) / square(np.cosh(within(z, c))),
        ],
    ),
    "relu": (
        [lambda z, c: np.maximum(z, c(0)), lambda z, c: z * (z > 0).astype(z.dtype)],
        [lambda z, a, c: (z > 0).astype(z.dtype), lambda z, a, c: np.sign(a)],
    ),
    "leaky_relu": (
        [lambda z, c: np.maximum(z, c(0.01) * z), lambda z, c: np.where(z < 0, z / c(100), z)],
        [
            lambda z, a, c: np.where(z >= 0, c(1), c(0.01)),
            lambda z, a, c: np.where(z > 0, c(1), c(0.01)),
        ],
    ),
    "elu": (
        [
            lambda z, c: np.where(z > 0, z, np.expm1(np.minimum(z, c(0)))),
            lambda z, c: np.where(z > 0, z, np.exp(np.minimum(z, c(0))) - c(1)),
        ],
        [
            lambda z, a, c: np.where(z > 0, c(1), a + c(1)),
            lambda z, a, c: np.exp(np.minimum(z, c(0))),
        ],
    ),
    "softplus": (
        [
            lambda z, c: np.maximum(z, c(0)) + np.log1p(np.exp(-np.abs(z))),
            lambda z, c: np.logaddexp(z, c(0)),
            lambda z, c: np.where(z > 20, z, np.log1p(np.exp(np.minimum(z, c(20))))),
            lambda z, c: np.where(z > 40, z, np.log(c(1) + np.exp(np.minimum(z, c(40))))),
        ],
        [
            lambda z, a, c: sigmoid(z, c),
            lambda z, a, c: c(1) - np.exp(-a),
            lambda z, a, c: np.exp(z - a),
            lambda z, a, c: np.where(z > 20, c(1), sigmoid(z, c)),
        ],
    ),
    "silu": (
        [
            lambda z, c: z * sigmoid(z, c),
            lambda z, c: z / (c(1) + np.exp(-z)),
            lambda z, c: z * sigmoid_by_tanh(z, c),
            lambda z, c: z * sigmoid_of_size(z, c),
        ],
        [
            lambda z, a, c: sigmoid(z, c) * (c(1) + z * (c(1) - sigmoid(z, c))),
            lambda z, a, c: a + sigmoid(z, c) * (c(1) - a),
            lambda z, a, c: sigmoid_by_tanh(z, c) * (c(1) + z * (c(1) - sigmoid_by_tanh(z, c))),
        ],
    ),
    "gelu": (
        [
            lambda z, c: c(0.5) * z * (c(1) + erf(z * c(0.5**0.5))),
            lambda z, c: z * ((c(1) + erf(z / c(2**0.5))) / c(2)),
        ],
        [
            lambda z, a, c: (
                c(0.5) * (c(1) + erf(z * c(0.5**0.5)))
                + z * np.exp(-z * z / c(2)) * c((2 * np.pi) ** -0.5)
            ),
        ],
    ),
    "gelu_tanh": (
        [
            lambda z, c: c(0.5) * z * (c(1) + np.tanh(gelu_u(z, c))),
            lambda z, c: z * sigmoid(c(2) * gelu_u(z, c), c),
        ],
        [
            lambda z, a, c: (
                (
                    c(1)
                    + np.tanh(gelu_u(within(z, c), c))
                    + within(z, c)
                    * (c(1) - square(np.tanh(gelu_u(within(z, c), c))))
                    * c((2 / np.pi) ** 0.5)
                    * (c(1) + c(3 * 0.044715) * square(within(z, c)))
                )
                * c(0.5)
            ),
        ],
    ),
    "leaky_relu(0.2)": (
        [lambda z, c: np.maximum(z, c(0.2) * z), lambda z, c: np.where(z > 0, z, z / c(5))],
        [
            lambda z, a, c: np.where(z >= 0, c(1), c(0.2)),
            lambda z, a, c: np.where(a > 0, c(1), c(0.2)),
        ],
    ),
    "elu(0.5)": (
        [lambda z, c: np.where(z > 0, z, c(0.5) * (np.exp(np.minimum(z, c(0))) - c(1)))],
        [
            lambda z, a, c: np.where(z > 0, c(1), a + c(0.5)),
            lambda z, a, c: np.where(z > 0, c(1), c(0.5) * np.exp(np.minimum(z, c(0)))),
        ],
    ),
    "selu": (
        [
            lambda z, c: c(LAMBDA) * np.where(z > 0, z, c(ALPHA) * (exp_of(z, c) - c(1))),
            lambda z, c: np.where(z > 0, c(LAMBDA) * z, c(LAMBDA * ALPHA) * np.expm1(below(z, c))),
        ],
        [
            lambda z, a, c: np.where(z > 0, c(LAMBDA), a + c(LAMBDA * ALPHA)),
            lambda z, a, c: c(LAMBDA) * np.where(z > 0, c(1), c(ALPHA) * exp_of(z, c)),
        ],
    ),
    "softsign": (
        [lambda z, c: z / (c(1) + np.abs(z))],
        [
            lambda z, a, c: c(1) / square(c(1) + np.abs(z)),
            lambda z, a, c: square(c(1) - np.abs(a)),
        ],
    ),
    "hard_sigmoid": (
        [
            lambda z, c: np.minimum(np.maximum(z + c(3), c(0)), c(6)) / c(6),
            lambda z, c: np.minimum(np.maximum(z / c(6) + c(0.5), c(0)), c(1)),
        ],
        [
            lambda z, a, c: np.where((z > -3) & (z < 3), c(1) / c(6), c(0)),
            lambda z, a, c: np.where(
                (z > -3) & (z < 3), c(float(np.float32(1 / 6))), c(0)
            ),  # PyTorch
        ],
    ),
    "hard_tanh": (
        [lambda z, c: np.minimum(np.maximum(z, c(-1)), c(1))],
        [lambda z, a, c: np.where((z > -1) & (z < 1), c(1), c(0))],
    ),
    "exp": ([lambda z, c: np.exp(z)], [lambda z, a, c: a, lambda z, a, c: np.exp(z)]),
    "swish(1.5)": (
        [
            lambda z, c: z * sigmoid(c(1.5) * z, c),
            lambda z, c: z / (c(1) + np.exp(c(-1.5) * z)),
            lambda z, c: z * sigmoid_by_tanh(c(1.5) * z, c),
        ],
        [
            lambda z, a, c: (
                sigmoid(c(1.5) * z, c) * (c(1) + c(1.5) * z * (c(1) - sigmoid(c(1.5) * z, c)))
            ),
            lambda z, a, c: c(1.5) * a + sigmoid(c(1.5) * z, c) * (c(1) - c(1.5) * a),
        ],
    ),
}


def log_softmax(z: Numbers, order: str, route: int) -> Any:
    top = z.max(axis=1, keepdims=True)
    log_sum = np.log(fold(np.exp(z - top).T, order))[:, None]
    return z - top - log_sum if route % 2 else z - (top + log_sum)


def softmax(z: Numbers, order: str, route: int = 0) -> Any:
    """As a quotient, or as exp of its logarithm."""
    if route % 3:
        return np.exp(log_softmax(z, order, route % 3))
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / fold(exp.T, order)[:, None]


def costs_of(net: Network, z: Numbers, a: Numbers, y: Numbers, order: str, route: int) -> Any:
    """The cost of each example, each operation rounded."""
    c = y.dtype.type
    if net.cost.name == "quadratic":
        return fold(square(a - y).T, order) * c(0.5)
    if net.cost.name == "cross_entropy":
        return -fold((y * log_softmax(z, order, route)).T, order)
    if route % 3 == 0 and ((a > 0) & (a < 1)).all():
        return -fold((y * np.log(a) + (c(1) - y) * np.log(c(1) - a)).T, order)
    if route % 3 == 1:
        return fold((np.maximum(z, c(0)) - z * y + np.log1p(np.exp(-np.abs(z)))).T, order)
    return fold((y * np.logaddexp(-z, c(0)) + (c(1) - y) * np.logaddexp(z, c(0))).T, order)


def record_by(
    net: Network, case: Any, formats: Formats | str, order: str, route: int = 0
) -> Backprop:
    """The record in NumPy: sums in an order, σ and σ′ by the formulas that `route` counts on from.

    Args:
        net: the network; its cost quadratic or a cross-entropy.
        case: (params, x, y).
        formats: of the numbers; one for all of them as its name.
        order: one of ORDERS.
        route: where in the lists of formulas to begin.
    """
    formats = Formats.of(formats) if isinstance(formats, str) else formats
    work, kept, sums, head, out = (BITS[name] for name in formats[:5])
    params, x, y = jax.tree.map(np.asarray, case)
    (W, b), c, m, L = by_layer(params), work, len(x), net.depth
    W, b = ({l: array.astype(work) for l, array in arrays.items()} for arrays in (W, b))
    numbers = itertools.count(route)

    def one_of(formulas: Sequence[Any]) -> Any:
        return formulas[next(numbers) % len(formulas)]

    shown: dict[str, dict[int, Any]] = {name: {} for name in ("z", "a", "delta", "dW", "db")}

    def keep(name: str, l: int, array: Any, dtype: Any = kept) -> Any:
        shown[name][l] = array.astype(dtype)
        return (shown[name][l] if formats.reads_kept else array).astype(work)

    z, a = {}, {0: x.astype(work)}
    shown["a"][0] = x
    for l in net.layers:
        z[l] = keep("z", l, dot(a[l - 1], W[l].T, order, b[l], sums))
        sigma = net.sigma[l].name
        if sigma == "softmax":
            a[l] = keep("a", l, softmax(z[l].astype(head), order, next(numbers)), head)
        else:
            a[l] = keep("a", l, one_of(ROUTES[sigma][0])(z[l], c))

    outputs = shown if formats.reads_kept else {"z": z, "a": a}
    z_L, a_L = (outputs[name][L].astype(head) for name in "za")
    y = y.astype(head)
    each = costs_of(net, z_L, a_L, y, order, next(numbers))
    cost = fold(each, order) / head(m)
    if net.l2:
        squares = [fold(square(W[l].astype(head)).ravel(), order) for l in W]
        cost = cost + head(net.l2 / 2) * fold(np.stack(squares), order)
    if net.cost.name == "quadratic":
        g = (a_L - y) / head(m)
        if net.sigma[L].name == "softmax":
            delta = a_L * (g - fold((g * a_L).T, order)[:, None])
        else:
            prime = one_of(ROUTES[net.sigma[L].name][1])(z[L], a[L], c)
            delta = g.astype(work) * prime
    elif net.cost.name == "cross_entropy":
        delta = (a_L * fold(y.T, order)[:, None] - y) / head(m)
    else:
        delta = (a_L - y) * (head(1) / head(m))

    for l in range(L, 0, -1):
        if l < L:
            prime = one_of(ROUTES[net.sigma[l].name][1])(z[l], a[l], c)
            delta = dot(delta, W[l + 1], order, sums=sums) * prime
        delta = keep("delta", l, delta.astype(work))
        shown["db"][l] = fold(delta.astype(sums), order).astype(kept).astype(out)
        penalty = c(net.l2) * W[l] if net.l2 else None
        dW = dot(delta.T, a[l - 1], order, penalty, sums)
        shown["dW"][l] = dW.astype(kept).astype(out)
    return Backprop.from_layers(cost, **shown)
