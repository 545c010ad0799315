"""The layers in the form that users write for `jax.grad`; signatures are those of the library."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def layernorm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    mu = x.mean(axis=-1, keepdims=True)
    v = jnp.var(x, axis=-1, keepdims=True)
    return (x - mu) / jnp.sqrt(v + eps) * gamma + beta


def rmsnorm(x: Array, gamma: Array, eps: float = 1e-6) -> Array:
    return x / jnp.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * gamma


def batchnorm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Any:
    examples = tuple(range(x.ndim - 1))
    mu, v = x.mean(axis=examples), jnp.var(x, axis=examples)
    return (x - mu) / jnp.sqrt(v + eps) * gamma + beta, mu, v


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


def dropout(x: Array, key: Array, rate: float = 0.5) -> Array:
    mask = jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)
    return x * mask / (1 - rate)


def embedding(table: Array, ids: Array, padding_id: int | None = None) -> Array:
    if padding_id is not None:
        table = table.at[padding_id].set(lax.stop_gradient(table[padding_id]))
    return table[ids]


def conv2d(
    x: Array, W: Array, b: Array | None = None, stride: Any = 1, padding: Any = "SAME"
) -> Array:
    if isinstance(padding, int):
        padding = [(padding, padding)] * 2
    strides = (stride, stride) if isinstance(stride, int) else stride
    y = lax.conv_general_dilated(x, W, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y if b is None else y + b


def rnn(x: Array, h_0: Array, W: Array, U: Array, b: Array) -> Array:
    def step(h: Array, x_t: Array) -> tuple[Array, Array]:
        h = jnp.tanh(x_t @ W.T + h @ U.T + b)
        return h, h

    return lax.scan(step, h_0, x)[1]


def lstm(x: Array, h_0: Array, c_0: Array, W: Array, U: Array, b: Array) -> Any:
    def step(before: Any, x_t: Array) -> Any:
        h, c = before
        i, f, g, o = jnp.split(x_t @ W.T + h @ U.T + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), (h, c)

    return lax.scan(step, (h_0, c_0), x)[1]


def attention(q: Array, k: Array, v: Array, block: int | None = None) -> Array:
    S = jnp.einsum("...qd,...kd->...qk", q, k) / q.shape[-1] ** 0.5
    seen = jnp.tril(jnp.ones(S.shape[-2:], bool))
    return jax.nn.softmax(jnp.where(seen, S, -jnp.inf)) @ v


def swiglu(x: Array, W: Array, V: Array) -> Array:
    return jax.nn.silu(x @ W.T) * (x @ V.T)
