"""Batch normalisation in training: every feature to mean 0 and variance 1 over the batch.

    μ = mean(x)    v = mean((x − μ)²)    r = 1/√(v + ε)    x̂ = (x − μ) r    y = γ ⊙ x̂ + β

The means go over all m examples (and positions) of a feature. They all move its μ and its v:

    dγ = Σ dy ⊙ x̂    dβ = Σ dy    dx = γ r (dy − dβ/m − x̂ dγ/m)

μ and v are given as well, for the running averages that are used after training. Where a cost reads
them, dx has dμ/m + 2 (x − μ) dv/m in addition. The way back keeps x, μ and r.

Source: S. Ioffe, C. Szegedy, *Batch Normalization* (2015), arXiv:1502.03167.
"""

import math
from typing import Any

from jax import Array, lax
from jaxtyping import Float

from manual_bp.layers.layer import by_hand, layer, number, wide


def forward(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
    """(y, μ, v), and what `backward` reads."""
    x_, gamma_, beta_ = wide(x, gamma, beta)
    examples = tuple(range(x.ndim - 1))
    mu = x_.mean(axis=examples)
    v = ((x_ - mu) ** 2).mean(axis=examples)
    r = lax.rsqrt(v + eps)
    y = gamma_ * (x_ - mu) * r + beta_
    return (y.astype(x.dtype), mu, v), (x, gamma, beta, mu, r)


def backward(eps: float, kept: Any, cotangent: Any) -> Any:
    """dx, dγ and dβ."""
    x, gamma, beta, mu, r = kept
    dy, dmu, dv = cotangent
    x_, gamma_, dy = wide(x, gamma, dy)
    examples = tuple(range(x.ndim - 1))
    m = math.prod(x.shape[:-1])
    x_hat = (x_ - mu) * r
    dgamma = (dy * x_hat).sum(axis=examples)
    dbeta = dy.sum(axis=examples)
    dx = gamma_ * r * (dy - dbeta / m - x_hat * (dgamma / m))
    dx = dx + dmu / m + 2 * (x_ - mu) * (dv / m)
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


_batchnorm = by_hand(forward, backward, options=1)


@layer
def batchnorm(
    x: Float[Array, "*examples n"],
    gamma: Float[Array, " n"],
    beta: Float[Array, " n"],
    eps: float = 1e-5,
) -> tuple[Float[Array, "*examples n"], Float[Array, " n"], Float[Array, " n"]]:
    """Every feature of x to mean 0 and variance 1 over all examples, then γ ⊙ x̂ + β.

    Args:
        x: (*examples, n), the features last: (m, n), or (m, height, width, n) for images.
        gamma: (n,).
        beta: (n,).
        eps: ε, added to the variance inside of the root.

    Returns:
        y of x's shape and format; μ and v, (n,) each, the mean and the variance (divided by the
        count m, not m − 1) in float32, or in float64 where x has it. Bfloat16 and float16 are
        computed in float32, forward and back.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import batchnorm
        >>> y, mu, v = batchnorm(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1))
        >>> y.round(2)[:, 0], mu, v
        (Array([-1.,  1.], dtype=float32), Array([2.], dtype=float32), Array([1.], dtype=float32))
    """
    return _batchnorm(x, gamma, beta, number("eps", eps, 0))
