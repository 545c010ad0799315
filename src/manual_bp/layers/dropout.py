"""Dropout: each number is dropped with probability p; what is kept is divided by 1 − p.

    y = x ⊙ mask / (1 − p)    so that the mean of y over all masks is x
    dx = dy ⊙ mask / (1 − p)    with the very mask of the way forward

The way back keeps the mask, a byte for each number, and not x.

Source: N. Srivastava et al., *Dropout* (2014), JMLR 15, section 10: "inverted" dropout.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from manual_bp.checks import Problems, random_key
from manual_bp.layers.layer import by_hand, layer, number, wide


def forward(x: Array, mask: Array, rate: float) -> Any:
    """y, and what `backward` reads."""
    y = jnp.where(mask, x / (1 - rate), 0)
    return y.astype(x.dtype), mask


def backward(rate: float, mask: Array, dy: Array) -> Any:
    """dx; the mask has no gradient."""
    (dy_,) = wide(dy)
    dx = jnp.where(mask, dy_ / (1 - rate), 0)
    return dx.astype(dy.dtype), None


_dropout = by_hand(forward, backward, options=1)


@layer
def dropout(x: Float[Array, "*shape"], key: Any, rate: float = 0.5) -> Float[Array, "*shape"]:
    """Each number of x to 0 with probability `rate`, and what is kept divided by 1 − rate.

    Args:
        x: of any shape.
        key: of `jax.random`; the same key draws the same mask. A new one for each step.
        rate: p, from 0 to below 1.

    Returns:
        y of x's shape and format.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import dropout
        >>> y = dropout(jnp.ones(1000), jax.random.key(0), 0.5)
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """
    problems = Problems()
    random_key("key", key, problems, traced=True)
    problems.raise_all()
    rate = number("rate", rate, 0, 1)
    kept = jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)  # the same in every format
    return _dropout(x, kept, rate)
