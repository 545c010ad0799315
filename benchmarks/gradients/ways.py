"""Other right ways to compute the same gradients: other algorithms, orders of sums, and formulas.

The way back is judged on its own inputs, so a way may differ from the library's page anywhere.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from gradients import plain
from gradients.cases import LAYERS, SIZES, Case, Gradients, case
from gradients.edited import Edit, edited

DTYPES = ("float32", "float64", "bfloat16")


def _first(terms: Array, axis: Any) -> Array:
    """What is summed over some axes, with one axis for them all, the first."""
    axes = (axis,) if isinstance(axis, int) else axis
    moved = jnp.moveaxis(terms, axes, range(len(axes)))
    return moved.reshape(-1, *moved.shape[len(axes) :])


def in_turn(terms: Array, axis: Any) -> Array:
    """Σ over some axes, one term after the other, each addition rounded."""
    terms = _first(terms, axis)
    total, _ = lax.scan(lambda total, term: (total + term, None), jnp.zeros_like(terms[0]), terms)
    return total


def in_pairs(terms: Array, axis: Any) -> Array:
    """Σ over some axes, halves added to halves."""
    terms = _first(terms, axis)
    while len(terms) > 1:
        half = len(terms) // 2
        terms = jnp.concatenate([terms[:half] + terms[half : 2 * half], terms[2 * half :]])
    return terms[0]


def compensated(terms: Array, axis: Any) -> Array:
    """Σ over some axes by Kahan's summation, which carries what each addition lost."""
    terms = _first(terms, axis)

    def step(carried: Any, term: Array) -> Any:
        total, lost = carried
        corrected = lax.optimization_barrier(term - lost)
        new = lax.optimization_barrier(total + corrected)
        return (new, lax.optimization_barrier(new - total) - corrected), None

    zero = jnp.zeros_like(terms[0])
    (total, _), _ = lax.scan(step, (zero, zero), terms)
    return total


SUMS: dict[str, Callable[..., Array]] = {
    "in_turn": in_turn,
    "in_pairs": in_pairs,
    "compensated": compensated,
}


class Way(NamedTuple):
    """One right way: edits of the page that change no mathematics, or another function.

    Attributes:
        name: what is done otherwise.
        layer: where.
        edits: of the page.
        another: a function of the layer's arguments for JAX to differentiate, in place of edits; it
            computes bfloat16 in float32.
        fits: the formats in which it is good enough.
    """

    name: str
    layer: str
    edits: tuple[Edit, ...] = ()
    another: Callable[..., Any] | None = None
    fits: tuple[str, ...] = DTYPES

    def gradients(self, case: Case) -> Gradients:
        """The gradients of a case, by order of its arguments."""
        if self.another is None:
            return case.gradients(case.of(edited(self.layer, self.edits, **SUMS)))
        function = case.of(self.another)

        def wider(*args: Array) -> Any:
            outputs = function(*(array.astype(jnp.result_type(array, "float32")) for array in args))
            return jax.tree.map(lambda y, g: y.astype(g.dtype), outputs, case.cotangent)

        return case.gradients(wider)


def _otherwise(layer: str, name: str, *edits: str) -> Way:
    return Way(name, layer, tuple(zip(edits[::2], edits[1::2], strict=True)))


def _summed(layer: str, *sums: str) -> Iterator[Way]:
    """Each order of summation, in place of these sums; `x.sum(` is made `order(x, `."""
    for order in SUMS:
        edits = (part for term in sums for part in (f"{term}.sum(", f"{order}({term}, "))
        yield _otherwise(layer, f"sums {order.replace('_', ' ')}", *edits)


def _patches(
    x: Array, W: Array, b: Array | None = None, stride: Any = 1, padding: Any = "SAME"
) -> Array:
    """Convolution by one product, of patches of the images laid out beside each other."""
    strides = (stride, stride) if isinstance(stride, int) else stride
    numbers = ("NHWC", "HWIO", "NHWC")
    taken = lax.conv_general_dilated_patches(
        x, W.shape[:2], strides, padding, dimension_numbers=numbers
    )
    y = taken @ jnp.moveaxis(W, 2, 0).reshape(-1, W.shape[-1])
    return y if b is None else y + b


LOG2E = "1.4426950408889634"


def _all() -> Iterator[Way]:
    for layer in LAYERS:
        yield Way("the library's", layer)
        yield Way("autodiff", layer, another=getattr(plain, layer))
    yield Way("one product of patches", "conv2d", another=_patches)

    # ── layernorm, rmsnorm, batchnorm
    one_pass = "((x_ - mu) ** 2).mean(axis={0})", "(x_**2).mean(axis={0}) - mu**2"
    root = "lax.rsqrt({})", "1 / jnp.sqrt({})"
    for layer, variance in (
        ("layernorm", "((x_ - mu) ** 2).mean(axis=-1, keepdims=True) + eps"),
        ("rmsnorm", "(x_**2).mean(axis=-1, keepdims=True) + eps"),
        ("batchnorm", "v + eps"),
    ):
        yield _otherwise(layer, "root and division", *(side.format(variance) for side in root))
    yield _otherwise("batchnorm", "one-pass variance", *(s.format("examples") for s in one_pass))
    yield _otherwise(
        "layernorm",
        "one-pass variance",
        "((x_ - mu) ** 2).mean(axis=-1, keepdims=True)",
        "((x_**2).mean(axis=-1, keepdims=True) - mu**2)",
    )
    yield from _summed("layernorm", "(dy * x_hat)", "dy")
    yield from _summed("rmsnorm", "(dy * x_hat)")
    yield from _summed("batchnorm", "(dy * x_hat)", "dy")
    yield _otherwise(
        "layernorm",
        "multiplied out",
        "dx = r * (dx_hat - mean_dx_hat - x_hat * mean_along)",
        "dx = r * dx_hat - r * mean_dx_hat - (x_ - mu) * (r * r * mean_along)",
    )
    yield _otherwise(
        "layernorm",
        "gamma before the sums",
        "mean_along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)",
        "mean_along = ((dy * x_hat) @ gamma_)[..., None] / x.shape[-1]",
    )
    yield _otherwise(
        "rmsnorm",
        "multiplied out",
        "dx = r * (dx_hat - x_hat * mean_along)",
        "dx = r * dx_hat - x_ * r**3 * (dx_hat * x_).mean(axis=-1, keepdims=True)",
    )
    yield _otherwise(
        "rmsnorm",
        "means in turn",
        "(dx_hat * x_hat).mean(axis=-1, keepdims=True)",
        "in_turn(dx_hat * x_hat, -1)[..., None] / x.shape[-1]",
    )
    yield _otherwise(
        "layernorm",
        "means in turn",
        "dx_hat.mean(axis=-1, keepdims=True)",
        "in_turn(dx_hat, -1)[..., None] / x.shape[-1]",
    )
    yield _otherwise(
        "batchnorm",
        "as the paper has it",
        "dx = gamma_ * r * (dy - dbeta / m - x_hat * (dgamma / m))",
        "dx_hat = dy * gamma_\n    by_v = (dx_hat * (x_ - mu)).sum(axis=examples) * -0.5 * r**3\n    by_mu = (-dx_hat * r).sum(axis=examples) - by_v * 2 * (x_ - mu).mean(axis=examples)\n    dx = dx_hat * r + by_v * 2 * (x_ - mu) / m + by_mu / m",
    )
    yield _otherwise(
        "batchnorm",
        "one factor before the bracket",
        "gamma_ * r * (dy - dbeta / m - x_hat * (dgamma / m))",
        "gamma_ * r / m * (m * dy - dbeta - x_hat * dgamma)",
    )

    # ── softmax_cross_entropy, dropout, embedding, swiglu
    ce = "softmax_cross_entropy"
    yield _otherwise(
        ce, "exp2 for exp", "p = jnp.exp(z - log_sum)", f"p = jnp.exp2((z - log_sum) * {LOG2E})"
    )
    yield _otherwise(
        ce,
        "one-hot rows",
        "is_label = labels[..., None] == jnp.arange(z.shape[-1])",
        "is_label = jax.nn.one_hot(labels, z.shape[-1], dtype=z.dtype)",
    )
    yield _otherwise(
        ce,
        "softmax anew",
        "p = jnp.exp(z - log_sum)",
        "e = jnp.exp(z - z.max(axis=-1, keepdims=True))\n    p = e / e.sum(axis=-1, keepdims=True)",
    )
    yield _otherwise(
        ce,
        "one taken off at the label",
        "dz = dC[..., None] * (p - is_label)",
        "dz = jnp.where(is_label, dC[..., None] * (p - 1), dC[..., None] * p)",
    )
    yield _otherwise(
        ce,
        "online sum",
        "log_sum = jnp.log(jnp.exp(z - largest).sum(axis=-1, keepdims=True)) + largest",
        "log_sum = jax.lax.associative_scan(jnp.logaddexp, z, axis=-1)[..., -1:]",
    )
    yield _otherwise(
        "dropout",
        "factor beforehand",
        "jnp.where(mask, dy_ / (1 - rate), 0)",
        "dy_ * (mask * (1 / (1 - rate)))",
    )
    yield _otherwise(
        "dropout",
        "masked after",
        "jnp.where(mask, dy_ / (1 - rate), 0)",
        "dy_ * mask * (1 / (1 - rate))",
    )
    table = 'dE = dE.at[ids].add(dy, mode="drop", wrap_negative_indices=False)'
    rows, errors = "ids.ravel()", "dy.reshape(-1, dy.shape[-1])"
    yield _otherwise(
        "embedding",
        "one-hot product",
        table,
        f"dE = jax.nn.one_hot({rows}, len(shape), dtype=dy.dtype).T @ {errors}",
    )
    yield _otherwise(
        "embedding", "segments", table, f"dE = jax.ops.segment_sum({errors}, {rows}, len(shape))"
    )
    yield _otherwise(
        "embedding", "backwards", table, f"dE = dE.at[{rows}[::-1]].add({errors}[::-1])"
    )
    for order in SUMS:
        yield _otherwise(
            "embedding",
            f"sums {order.replace('_', ' ')}",
            table,
            f"dE = {order}(jax.nn.one_hot({rows}, len(shape), dtype=dy.dtype)[:, :, None] * {errors}[:, None], 0)",
        )
    slope = "da = dy * b * s * (1 + a * (1 - s))"
    yield _otherwise("swiglu", "slope as a sum", slope, "da = dy * b * (s + a * s * (1 - s))")
    yield _otherwise(
        "swiglu", "slope of the output", slope, "h = a * s\n    da = dy * b * (h + s * (1 - h))"
    )
    yield _otherwise(
        "swiglu", "sigmoid by tanh", "s = jax.nn.sigmoid(a)", "s = (1 + jnp.tanh(a / 2)) / 2"
    )
    yield _otherwise(
        "swiglu",
        "one product for dx",
        "dx = da @ W_ + db @ V_",
        "dx = jnp.concatenate([da, db], axis=-1) @ jnp.concatenate([W_, V_])",
    )
    yield _otherwise(
        "swiglu",
        "rows in turn",
        'dW = jnp.einsum("...k,...n->kn", da, x_)',
        "dW = in_turn(da[..., :, None] * x_[..., None, :], tuple(range(x.ndim - 1)))",
    )

    # ── conv2d, rnn, lstm
    yield from _summed("conv2d", "dy")
    yield _otherwise(
        "conv2d",
        "images in turn",
        'jnp.einsum("mhwc,mhwd->cd", x_[at], dy)',
        'in_turn(jnp.einsum("mhwc,mhwd->mcd", x_[at], dy), 0)',
    )
    yield _otherwise(
        "conv2d",
        "one product of flat images",
        'jnp.einsum("mhwc,mhwd->cd", x_[at], dy)',
        "x_[at].reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])",
    )
    slope = "(1 - h_t**2)"
    yield _otherwise("rnn", "slope as a product", slope, "((1 - h_t) * (1 + h_t))")
    for layer in ("rnn", "lstm"):
        yield from _summed(layer, "delta")
        yield _otherwise(
            layer,
            "dW step by step",
            'dW = jnp.einsum("tmk,tmn->kn", delta, x_)',
            'dW = in_turn(jnp.einsum("tmk,tmn->tkn", delta, x_), 0)',
        )
        yield _otherwise(
            layer,
            "dU step by step",
            'dU = jnp.einsum("tmk,tmj->kj", delta, h_prev)',
            'dU = in_turn(jnp.einsum("tmk,tmj->tkj", delta, h_prev)[::-1], 0)',
        )
    yield _otherwise(
        "lstm", "1 - tanh² as a product", "(1 - tanh_c**2)", "((1 - tanh_c) * (1 + tanh_c))"
    )
    yield _otherwise(
        "lstm",
        "h for the output gate's tanh",
        "do = dh_t * tanh_c * o * (1 - o)",
        "do = dh_t * (o * tanh_c) * (1 - o)",
    )

    # ── attention
    yield _otherwise(
        "attention",
        "exp2 for exp",
        "P = jnp.exp(scores(q_[i], k_[j], i, j) - L[i])",
        f"P = jnp.exp2((scores(q_[i], k_[j], i, j) - L[i]) * {LOG2E})",
    )
    yield _otherwise(
        "attention", "blocks backwards", "start, pairs(len(q_)))", "start, pairs(len(q_))[::-1])"
    )
    yield _otherwise(
        "attention",
        "keys before queries",
        "start, pairs(len(q_)))",
        "start, jnp.asarray(np.stack(np.triu_indices(len(q_)), axis=1)[:, ::-1]))",
    )
    yield _otherwise(
        "attention",
        "scale on the scores' error",
        "dS = P * (dP - D[i])",
        "dS = P * (dP - D[i]) * scale",
        "dq.at[i].add(scale * dS @ k_[j])",
        "dq.at[i].add(dS @ k_[j])",
        "scale * jnp.einsum",
        "jnp.einsum",
    )
    yield _otherwise(
        "attention",
        "D of P and dP",
        "D = (do_ * o_).sum(axis=-1, keepdims=True)",
        'S = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=o_.dtype) * scale\n    S = jnp.where(jnp.tril(jnp.ones(S.shape[-2:], bool)), S, -jnp.inf)\n    dP = jnp.einsum("...qd,...kd->...qk", do, v, preferred_element_type=o_.dtype)\n    D = in_blocks((jax.nn.softmax(S) * dP).sum(axis=-1, keepdims=True), block)',
    )
    yield _otherwise(
        "attention",
        "one block",
        "return _attention(q, k, v, min(size or 1, q.shape[-2]))",
        "return _attention(q, k, v, q.shape[-2])",
    )
    yield _otherwise(
        "attention",
        "blocks of one",
        "return _attention(q, k, v, min(size or 1, q.shape[-2]))",
        "return _attention(q, k, v, 1)",
    )
    for order in SUMS:
        yield _otherwise(
            "attention",
            f"sums {order.replace('_', ' ')}",
            "(do_ * o_).sum(axis=-1, keepdims=True)",
            f"{order}(do_ * o_, -1)[..., None]",
        )


WAYS = tuple(_all())


def right_cases(seeds: int = 2) -> Iterator[tuple[Way, Case]]:
    """Every way on every shape of its layer, in each format that it fits."""
    for way, seed in itertools.product(WAYS, range(seeds)):
        for size, dtype in itertools.product(range(len(SIZES[way.layer])), way.fits):
            yield way, case(way.layer, size, seed, dtype)
