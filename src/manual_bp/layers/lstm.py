"""Long short-term memory through time.

    (i, f, g, o)ₜ = W xₜ + U hₜ₋₁ + b, each k rows    i, f, o ← σ of them, g ← tanh of it
    cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ    hₜ = oₜ ⊙ tanh(cₜ)

The errors of hₜ and cₜ come from the output and from step t + 1, where f lets that of c through.
Going back from T, with ← for what is added to the output's own:

    dhₜ ← dhₜ + Uᵀ δₜ₊₁    dcₜ ← dcₜ + fₜ₊₁ ⊙ dcₜ₊₁ + dhₜ ⊙ oₜ ⊙ (1 − tanh²(cₜ))
    δₜ = (dc ⊙ g ⊙ i(1 − i), dc ⊙ cₜ₋₁ ⊙ f(1 − f), dc ⊙ i ⊙ (1 − g²), dh ⊙ tanh(c) ⊙ o(1 − o))
    dxₜ = Wᵀ δₜ    dW = Σ δₜ xₜᵀ    dU = Σ δₜ hₜ₋₁ᵀ    db = Σ δₜ    dh₀ = Uᵀ δ₁    dc₀ = f₁ ⊙ dc₁

Only dc, dh and δ go step by step. The sums over t are one product each. The way back keeps x, h, c
and the gates.

Source: S. Hochreiter, J. Schmidhuber, *Long Short-Term Memory* (1997); F. Gers et al., *Learning to
Forget* (2000), which added f.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.nn import sigmoid
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, wide


def forward(x: Array, h_0: Array, c_0: Array, W: Array, U: Array, b: Array) -> Any:
    """h and c of every step, and what `backward` reads."""
    x_, h_0_, c_0_, W_, U_, b_ = wide(x, h_0, c_0, W, U, b)

    def step(before: Any, wx: Array) -> Any:
        h, c = before
        i, f, g, o = jnp.split(wx + h @ U_.T, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        return (h, c), (h, c, (i, f, g, o))

    _, (h, c, gates) = lax.scan(step, (h_0_, c_0_), x_ @ W_.T + b_)
    return (h.astype(x.dtype), c.astype(x.dtype)), (x, h_0, c_0, W, U, b, h, c, gates)


def backward(kept: Any, cotangent: Any) -> Any:
    """dx, dh₀, dc₀, dW, dU and db."""
    x, h_0, c_0, W, U, b, h, c, gates = kept
    x_, h_0_, c_0_, W_, U_, dh, dc = wide(x, h_0, c_0, W, U, *cotangent)
    h_prev, c_prev = (jnp.concatenate([v_0[None], v[:-1]]) for v_0, v in ((h_0_, h), (c_0_, c)))

    def step(from_next: Any, at: Any) -> Any:
        dh_t, dc_t, c_t, c_before, (i, f, g, o) = at
        dh_t = dh_t + from_next[0]
        tanh_c = jnp.tanh(c_t)
        dc_t = dc_t + from_next[1] + dh_t * o * (1 - tanh_c**2)
        di = dc_t * g * i * (1 - i)
        df = dc_t * c_before * f * (1 - f)
        dg = dc_t * i * (1 - g**2)
        do = dh_t * tanh_c * o * (1 - o)
        delta = jnp.concatenate([di, df, dg, do], axis=-1)
        return (delta @ U_, f * dc_t), delta

    start = jnp.zeros_like(h_0_), jnp.zeros_like(c_0_)
    (dh_0, dc_0), delta = lax.scan(step, start, (dh, dc, c, c_prev, gates), reverse=True)
    dx = delta @ W_
    dW = jnp.einsum("tmk,tmn->kn", delta, x_)
    dU = jnp.einsum("tmk,tmj->kj", delta, h_prev)
    db = delta.sum(axis=(0, 1))
    pairs = ((dx, x), (dh_0, h_0), (dc_0, c_0), (dW, W), (dU, U), (db, b))
    return tuple(gradient.astype(array.dtype) for gradient, array in pairs)


_lstm = by_hand(forward, backward)


@layer
def lstm(
    x: Float[Array, "T m n"],
    h_0: Float[Array, "m k"],
    c_0: Float[Array, "m k"],
    W: Float[Array, "4*k n"],
    U: Float[Array, "4*k k"],
    b: Float[Array, " 4*k"],
) -> tuple[Float[Array, "T m k"], Float[Array, "T m k"]]:
    """h and c of every step of a long short-term memory.

    Args:
        x: (T, m, n), T steps of m examples.
        h_0: (m, k).
        c_0: (m, k).
        W: (4k, n), the rows of i, f, g and o under each other, as in PyTorch.
        U: (4k, k), likewise.
        b: (4k,), likewise. A one in f's part is the usual start.

    Returns:
        h and c, (T, m, k) each, in x's format; h[-1] and c[-1] are the last ones. Bfloat16 and
        float16 are computed in float32, forward and back, and h and c are kept in it from step to
        step.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import lstm
        >>> x, zeros = jnp.ones((3, 2, 5)), jnp.zeros((2, 4))
        >>> W, U = (jax.random.normal(jax.random.key(n), (16, n)) for n in (5, 4))
        >>> h, c = lstm(x, zeros, zeros, W, U, jnp.zeros(16))
        >>> h.shape, c.shape
        ((3, 2, 4), (3, 2, 4))
    """
    return _lstm(x, h_0, c_0, W, U, b)
