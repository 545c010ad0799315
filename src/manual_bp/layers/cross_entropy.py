"""Softmax and cross-entropy in one, of whole-number labels.

    p = softmax(z)    C = −log p_k = log Σⱼ exp(zⱼ) − z_k, for the label k

σ′ of softmax cancels against the logarithm, row by row:

    dz = dC (p − e_k)    where e_k is 1 at the label and 0 elsewhere

The way back keeps z, and one number a row: log Σ exp(z). It computes p again.

Source: I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning* (2016), section 6.2.2.3.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from manual_bp.layers.layer import by_hand, known, layer, wide


def forward(logits: Array, labels: Array) -> Any:
    """C of each row, and what `backward` reads."""
    (z,) = wide(logits)
    largest = z.max(axis=-1, keepdims=True)  # taken off, so that no exp overflows
    log_sum = jnp.log(jnp.exp(z - largest).sum(axis=-1, keepdims=True)) + largest
    at_label = jnp.take_along_axis(z, labels[..., None], axis=-1, mode="fill")
    C = jnp.where(labels >= 0, (log_sum - at_label)[..., 0], jnp.nan)  # −1 is no last class
    return C, (logits, labels, log_sum)


def backward(kept: Any, dC: Array) -> Any:
    """dz; labels have no gradient."""
    logits, labels, log_sum = kept
    (z,) = wide(logits)
    p = jnp.exp(z - log_sum)
    is_label = labels[..., None] == jnp.arange(z.shape[-1])
    dz = dC[..., None] * (p - is_label)
    return dz.astype(logits.dtype), None


_softmax_cross_entropy = by_hand(forward, backward)


@layer
def softmax_cross_entropy(
    logits: Float[Array, "*rows n"], labels: Int[Array, "*rows"]
) -> Float[Array, "*rows"]:
    """−log softmax(z) at the label, of each row; the mean over the rows is the usual cost.

    Args:
        logits: z, (*rows, n), any number of axes before the last.
        labels: (*rows), whole numbers from 0 to n − 1. Another one is refused where it is known;
            under `jit` its C is NaN.

    Returns:
        (*rows), in float32, or in float64 where the logits have it. Bfloat16 and float16 are
        computed in float32, forward and back; dz has the format of the logits.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import softmax_cross_entropy
        >>> z, labels = jnp.array([[0.0, 0.0], [1.0, 3.0]]), jnp.array([0, 1])
        >>> softmax_cross_entropy(z, labels).round(3)
        Array([0.693, 0.127], dtype=float32)
        >>> jax.grad(lambda z: softmax_cross_entropy(z, labels).mean())(z).round(3)[0]
        Array([-0.25,  0.25], dtype=float32)
    """
    known("labels", labels, logits.shape[-1], "the numbers of the classes")
    return _softmax_cross_entropy(logits, labels)
