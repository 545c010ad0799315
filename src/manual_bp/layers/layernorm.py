"""Layer normalisation: every row to mean 0 and variance 1, then scaled and shifted.

    μ = mean(x)    r = 1/√(mean((x − μ)²) + ε)    x̂ = (x − μ) r    y = γ ⊙ x̂ + β

With dy for ∂C/∂y, ∂C/∂x̂ is γ ⊙ dy. All n numbers of a row move its μ and its r, so two means come
off:

    dx = r (dx̂ − mean(dx̂) − x̂ mean(dx̂ ⊙ x̂))    dγ = Σ dy ⊙ x̂    dβ = Σ dy, over the rows

The way back keeps x, and two numbers a row: μ and r. It computes x̂ again.

Source: J. L. Ba, J. R. Kiros, G. E. Hinton, *Layer Normalization* (2016), arXiv:1607.06450.
"""

from typing import Any

from jax import Array, lax
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, number, wide


def forward(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
    """y, and what `backward` reads."""
    x_, gamma_, beta_ = wide(x, gamma, beta)
    mu = x_.mean(axis=-1, keepdims=True)
    r = lax.rsqrt(((x_ - mu) ** 2).mean(axis=-1, keepdims=True) + eps)
    y = gamma_ * (x_ - mu) * r + beta_
    return y.astype(x.dtype), (x, gamma, beta, mu, r)


def backward(eps: float, kept: Any, dy: Array) -> Any:
    """dx, dγ and dβ."""
    x, gamma, beta, mu, r = kept
    x_, gamma_, dy = wide(x, gamma, dy)
    rows = tuple(range(x.ndim - 1))
    x_hat = (x_ - mu) * r
    dx_hat = gamma_ * dy
    mean_dx_hat = dx_hat.mean(axis=-1, keepdims=True)
    mean_along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = r * (dx_hat - mean_dx_hat - x_hat * mean_along)
    dgamma = (dy * x_hat).sum(axis=rows)
    dbeta = dy.sum(axis=rows)
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


_layernorm = by_hand(forward, backward, options=1)


@layer
def layernorm(
    x: Float[Array, "*rows n"],
    gamma: Float[Array, " n"],
    beta: Float[Array, " n"],
    eps: float = 1e-5,
) -> Float[Array, "*rows n"]:
    """Every row of x to mean 0 and variance 1, then γ ⊙ x̂ + β.

    Args:
        x: (*rows, n), any number of axes before the last.
        gamma: (n,).
        beta: (n,).
        eps: ε, added to the variance inside of the root.

    Returns:
        y of x's shape and format. Bfloat16 and float16 are computed in float32, forward and back.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import layernorm
        >>> x = jnp.array([[1.0, 2.0, 3.0], [4.0, 0.0, 5.0]])
        >>> layernorm(x, jnp.ones(3), jnp.zeros(3)).round(2)[0]
        Array([-1.22,  0.  ,  1.22], dtype=float32)
        >>> jax.grad(lambda x: layernorm(x, jnp.ones(3), jnp.zeros(3))[0, 0])(x).shape
        (2, 3)
    """
    return _layernorm(x, gamma, beta, number("eps", eps, 0))
