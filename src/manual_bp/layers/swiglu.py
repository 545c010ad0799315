"""SwiGLU: one product is the gate of another.

    a = x Wᵀ    b = x Vᵀ    y = silu(a) ⊙ b    silu(a) = a σ(a), with σ the logistic sigmoid

With dy for ∂C/∂y, and silu′(a) = σ(a) (1 + a (1 − σ(a))):

    da = dy ⊙ b ⊙ silu′(a)    db = dy ⊙ silu(a)
    dx = da W + db V    dW = daᵀ x    dV = dbᵀ x

The way back keeps x, a and b. It computes σ(a) again.

Source: N. Shazeer, *GLU Variants Improve Transformer* (2020), arXiv:2002.05202.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, wide


def forward(x: Array, W: Array, V: Array) -> Any:
    """y, and what `backward` reads."""
    x_, W_, V_ = wide(x, W, V)
    a, b = x_ @ W_.T, x_ @ V_.T
    y = a * jax.nn.sigmoid(a) * b
    return y.astype(x.dtype), (x, W, V, a, b)


def backward(kept: Any, dy: Array) -> Any:
    """dx, dW and dV."""
    x, W, V, a, b = kept
    x_, W_, V_, dy = wide(x, W, V, dy)
    s = jax.nn.sigmoid(a)
    da = dy * b * s * (1 + a * (1 - s))
    db = dy * a * s
    dx = da @ W_ + db @ V_
    dW = jnp.einsum("...k,...n->kn", da, x_)
    dV = jnp.einsum("...k,...n->kn", db, x_)
    return dx.astype(x.dtype), dW.astype(W.dtype), dV.astype(V.dtype)


_swiglu = by_hand(forward, backward)


@layer
def swiglu(
    x: Float[Array, "*rows n"], W: Float[Array, "k n"], V: Float[Array, "k n"]
) -> Float[Array, "*rows k"]:
    """silu(x Wᵀ) ⊙ (x Vᵀ), the gated part of a transformer's feed-forward layer.

    Args:
        x: (*rows, n), any number of axes before the last.
        W: (k, n), of the gate.
        V: (k, n), of what passes it.

    Returns:
        (*rows, k), in x's format. Bfloat16 and float16 are computed in float32, forward and back.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import swiglu
        >>> swiglu(jnp.array([[0.0, 50.0]]), jnp.eye(2), jnp.eye(2))
        Array([[   0., 2500.]], dtype=float32)
    """
    return _swiglu(x, W, V)
