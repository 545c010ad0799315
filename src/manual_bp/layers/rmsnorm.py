"""Normalisation by the root mean square: every row to mean square 1, then scaled.

    r = 1/√(mean(x²) + ε)    x̂ = x r    y = γ ⊙ x̂

With dy for ∂C/∂y, ∂C/∂x̂ is γ ⊙ dy. All n numbers of a row move its r, so one mean comes off:

    dx = r (dx̂ − x̂ mean(dx̂ ⊙ x̂))    dγ = Σ dy ⊙ x̂, over the rows

The way back keeps x, and one number a row: r.

Source: B. Zhang, R. Sennrich, *Root Mean Square Layer Normalization* (2019), arXiv:1910.07467.
"""

from typing import Any

from jax import Array, lax
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, number, wide


def forward(x: Array, gamma: Array, eps: float) -> Any:
    """y, and what `backward` reads."""
    x_, gamma_ = wide(x, gamma)
    r = lax.rsqrt((x_**2).mean(axis=-1, keepdims=True) + eps)
    y = gamma_ * (x_ * r)
    return y.astype(x.dtype), (x, gamma, r)


def backward(eps: float, kept: Any, dy: Array) -> Any:
    """dx and dγ."""
    x, gamma, r = kept
    x_, gamma_, dy = wide(x, gamma, dy)
    x_hat = x_ * r
    dx_hat = gamma_ * dy
    mean_along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = r * (dx_hat - x_hat * mean_along)
    dgamma = (dy * x_hat).sum(axis=tuple(range(x.ndim - 1)))
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype)


_rmsnorm = by_hand(forward, backward, options=1)


@layer
def rmsnorm(
    x: Float[Array, "*rows n"], gamma: Float[Array, " n"], eps: float = 1e-6
) -> Float[Array, "*rows n"]:
    """Every row of x to mean square 1, then γ ⊙ x̂.

    Args:
        x: (*rows, n), any number of axes before the last.
        gamma: (n,).
        eps: ε, added to the mean square inside of the root.

    Returns:
        y of x's shape and format. Bfloat16 and float16 are computed in float32, forward and back.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import rmsnorm
        >>> rmsnorm(jnp.array([[2.0, -2.0, 2.0, -2.0]]), jnp.ones(4)).round()
        Array([[ 1., -1.,  1., -1.]], dtype=float32)
    """
    return _rmsnorm(x, gamma, number("eps", eps, 0))
