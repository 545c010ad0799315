"""A recurrent layer through time.

    hₜ = tanh(W xₜ + U hₜ₋₁ + b)    t = 1…T, from h₀

hₜ is read by the output and by step t + 1, so its error has two parts. Going back from T:

    δₜ = (dhₜ + Uᵀ δₜ₊₁) ⊙ (1 − hₜ²)    with dh for ∂C/∂h of the output alone, and δ_T₊₁ = 0
    dxₜ = Wᵀ δₜ    dh₀ = Uᵀ δ₁    dW = Σ δₜ xₜᵀ    dU = Σ δₜ hₜ₋₁ᵀ    db = Σ δₜ

Only δ goes step by step. The sums over t are one product each. The way back keeps x and h.

Source: P. Werbos, *Backpropagation Through Time* (1990); J. Elman, *Finding Structure in Time*
(1990).
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, wide


def forward(x: Array, h_0: Array, W: Array, U: Array, b: Array) -> Any:
    """h of every step, and what `backward` reads."""
    x_, h_0_, W_, U_, b_ = wide(x, h_0, W, U, b)

    def step(h: Array, wx: Array) -> tuple[Array, Array]:
        h = jnp.tanh(wx + h @ U_.T)
        return h, h

    _, h = lax.scan(step, h_0_, x_ @ W_.T + b_)
    return h.astype(x.dtype), (x, h_0, W, U, b, h)


def backward(kept: Any, dh: Array) -> Any:
    """dx, dh₀, dW, dU and db."""
    x, h_0, W, U, b, h = kept
    x_, h_0_, W_, U_, dh = wide(x, h_0, W, U, dh)
    h_prev = jnp.concatenate([h_0_[None], h[:-1]])

    def step(from_next: Array, at: Any) -> tuple[Array, Array]:
        dh_t, h_t = at
        delta = (dh_t + from_next) * (1 - h_t**2)
        return delta @ U_, delta

    dh_0, delta = lax.scan(step, jnp.zeros_like(h_0_), (dh, h), reverse=True)
    dx = delta @ W_
    dW = jnp.einsum("tmk,tmn->kn", delta, x_)
    dU = jnp.einsum("tmk,tmj->kj", delta, h_prev)
    db = delta.sum(axis=(0, 1))
    pairs = ((dx, x), (dh_0, h_0), (dW, W), (dU, U), (db, b))
    return tuple(gradient.astype(array.dtype) for gradient, array in pairs)


_rnn = by_hand(forward, backward)


@layer
def rnn(
    x: Float[Array, "T m n"],
    h_0: Float[Array, "m k"],
    W: Float[Array, "k n"],
    U: Float[Array, "k k"],
    b: Float[Array, " k"],
) -> Float[Array, "T m k"]:
    """hₜ = tanh(W xₜ + U hₜ₋₁ + b) for every step t.

    Args:
        x: (T, m, n), T steps of m examples.
        h_0: (m, k).
        W: (k, n).
        U: (k, k).
        b: (k,).

    Returns:
        h, (T, m, k), in x's format; h[-1] is the last one. Bfloat16 and float16 are computed in
        float32, forward and back, and h is kept in it from step to step.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import rnn
        >>> x, one = jnp.ones((3, 1, 1)), jnp.eye(1)
        >>> rnn(x, jnp.zeros((1, 1)), one, one, jnp.zeros(1))[:, 0, 0].round(2)
        Array([0.76, 0.94, 0.96], dtype=float32)
    """
    return _rnn(x, h_0, W, U, b)
