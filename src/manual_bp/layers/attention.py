"""Causal attention in blocks: no (T, T) array is ever there.

    S = q kᵀ/√d    P = softmax(S), each query over the keys up to its own    o = P v

Forward, a block of queries goes through the blocks of keys. It carries the largest score so far,
the sum of exp(S − largest) and the sum of their products with v. Where the largest grows, both sums
are scaled down to it. In the end log Σ exp(S) is kept, one number L for each query, and o.

Back, P = exp(S − L) is computed again, block by block. With do for ∂C/∂o:

    dv = Pᵀ do    dP = do vᵀ    dS = P ⊙ (dP − D)    dq = dS k/√d    dk = dSᵀ q/√d

D = Σⱼ Pⱼ dPⱼ of each query comes from softmax, all of whose outputs move with each score. It is
do · o as well, which needs no P: Σⱼ Pⱼ (do · vⱼ) = do · Σⱼ Pⱼ vⱼ.

Source: T. Dao et al., *FlashAttention* (2022), arXiv:2205.14135; T. Dao, *FlashAttention-2* (2023).
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from manual_bp.checks import Problems, whole_number
from manual_bp.layers.layer import by_hand, layer, wide


def scores(q_i: Array, k_j: Array, i: Array, j: Array) -> Array:
    """S of the i-th block of queries and the j-th of keys; −∞ where the key comes later."""
    block, d = q_i.shape[-2:]
    S = jnp.einsum("...qd,...kd->...qk", q_i, k_j) / math.sqrt(d)
    t = jnp.arange(block)
    return jnp.where(i * block + t[:, None] >= j * block + t, S, -jnp.inf)


def forward(q: Array, k: Array, v: Array, block: int) -> Any:
    """o, and what `backward` reads."""
    q_, k_, v_ = (in_blocks(array, block) for array in wide(q, k, v))

    def pair(carried: Any, ij: Array) -> Any:
        o, total, largest = carried
        i, j = ij
        S = scores(q_[i], k_[j], i, j)
        most = jnp.maximum(largest[i], S.max(axis=-1, keepdims=True))
        P = jnp.exp(S - most)
        shrink = jnp.exp(largest[i] - most)
        o = o.at[i].set(o[i] * shrink + P @ v_[j])
        total = total.at[i].set(total[i] * shrink + P.sum(axis=-1, keepdims=True))
        return (o, total, largest.at[i].set(most)), None

    one = jnp.zeros_like(q_[..., :1])  # a number for each query
    o = jnp.zeros((*q_.shape[:-1], v.shape[-1]), q_.dtype)
    (o, total, largest), _ = lax.scan(pair, (o, one, one - jnp.inf), pairs(len(q_)))
    o, L = in_rows(o / total, q.shape[-2]).astype(q.dtype), largest + jnp.log(total)
    return o, (q, k, v, o, L)


def backward(block: int, kept: Any, do: Array) -> Any:
    """dq, dk and dv."""
    q, k, v, o, L = kept
    q_, k_, v_, o_, do_ = (in_blocks(array, block) for array in wide(q, k, v, o, do))
    scale = 1 / math.sqrt(q.shape[-1])
    D = (do_ * o_).sum(axis=-1, keepdims=True)

    def pair(carried: Any, ij: Array) -> Any:
        dq, dk, dv = carried
        i, j = ij
        P = jnp.exp(scores(q_[i], k_[j], i, j) - L[i])
        dP = jnp.einsum("...qd,...kd->...qk", do_[i], v_[j])
        dS = P * (dP - D[i])
        dq = dq.at[i].add(scale * dS @ k_[j])
        dk = dk.at[j].add(scale * jnp.einsum("...qk,...qd->...kd", dS, q_[i]))
        dv = dv.at[j].add(jnp.einsum("...qk,...qd->...kd", P, do_[i]))
        return (dq, dk, dv), None

    start = jnp.zeros_like(q_), jnp.zeros_like(k_), jnp.zeros_like(v_)
    gradients, _ = lax.scan(pair, start, pairs(len(q_)))
    dq, dk, dv = (in_rows(gradient, q.shape[-2]) for gradient in gradients)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)


def pairs(blocks: int) -> Array:
    """Every block of queries with each block of keys up to its own, query by query."""
    return jnp.asarray(np.stack(np.tril_indices(blocks), axis=1))


def in_blocks(array: Array, block: int) -> Array:
    """(…, T, d) as (blocks, …, block, d), with zeros where T ends within a block.

    No query sees them as keys, since they come last, and their own errors are zeros.
    """
    *rows, T, d = array.shape
    array = jnp.pad(array, (*((0, 0) for _ in rows), (0, -T % block), (0, 0)))
    return jnp.moveaxis(array.reshape(*rows, -1, block, d), -3, 0)


def in_rows(array: Array, T: int) -> Array:
    """(blocks, …, block, d) as (…, T, d)."""
    array = jnp.moveaxis(array, 0, -3)
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])[..., :T, :]


_attention = by_hand(forward, backward, options=1)


@layer
def attention(
    q: Float[Array, "*heads T d"],
    k: Float[Array, "*heads T d"],
    v: Float[Array, "*heads T d_v"],
    block: int = 128,
) -> Float[Array, "*heads T d_v"]:
    """Causal attention, softmax(q kᵀ/√d) v with each query over the keys up to its own.

    Args:
        q: (*heads, T, d), any number of axes before, such as examples and heads.
        k: (*heads, T, d).
        v: (*heads, T, d_v).
        block: of so many queries and keys at a time; it changes memory and time alone. T may be
            any number.

    Returns:
        o, (*heads, T, d_v), in q's format. Memory grows with T · d, forward and back. Bfloat16 and
        float16 are computed in float32 block by block; D is taken from o as it was given.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import attention
        >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 300, 16))
        >>> attention(q, k, v).shape
        (2, 300, 16)
        >>> bool((attention(q, k, v)[:, 0] == v[:, 0]).all())  # the first query sees one key
        True
    """
    problems = Problems()
    size = whole_number("block", block, 1, problems)
    problems.raise_all()
    return _attention(q, k, v, min(size or 1, q.shape[-2]))
