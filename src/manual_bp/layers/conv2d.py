"""Convolution of images, as a sum of matrix products, one for each place of the kernel.

At kernel place (i, j) the output reads every s-th pixel of x, from (i, j) on: the slice x_ij.

    y = Σᵢⱼ x_ij W_ij + b    where W_ij is (c_in, c_out)

Each place is a dense layer without activation, so each has that layer's way back:

    dW_ij = x_ijᵀ dy    dx_ij = dy W_ijᵀ    db = Σ dy

dx adds every dx_ij where x_ij was read. In the field's words that is a convolution of dy, spread
out by the stride, with the kernel turned by 180°. As everywhere in the field, the kernel is not
flipped on the way forward. The way back keeps x and W; no pixel of x is copied for each place.

Source: Y. LeCun et al., *Gradient-Based Learning Applied to Document Recognition* (1998);
V. Dumoulin, F. Visin, *A Guide to Convolution Arithmetic for Deep Learning* (2016).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from manual_bp.checks import Problems, parts, shown, whole_number
from manual_bp.layers.layer import by_hand, layer, wide

Pairs = tuple[tuple[int, int], tuple[int, int]]  # before and after, of the rows and of the columns


def places(W: Array, outputs: Sequence[int], stride: tuple[int, int]) -> Iterator[Any]:
    """Each place of the kernel, and the pixels of x that an output of this size reads at it."""
    (height, width), (down, right) = outputs, stride
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            rows = slice(i, i + (height - 1) * down + 1, down)
            columns = slice(j, j + (width - 1) * right + 1, right)
            yield (i, j), (..., rows, columns, slice(None))


def forward(x: Array, W: Array, b: Array | None, stride: tuple[int, int], padding: Pairs) -> Any:
    """y, and what `backward` reads."""
    x_, W_ = wide(x, W)
    x_ = jnp.pad(x_, ((0, 0), *padding, (0, 0)))
    outputs = tuple((n - k) // s + 1 for n, k, s in zip(x_.shape[1:], W.shape, stride))  # noqa: B905
    y = sum(x_[at] @ W_[ij] for ij, at in places(W, outputs, stride))
    y = y if b is None else y + b
    return y.astype(x.dtype), (x, W, b)


def backward(stride: tuple[int, int], padding: Pairs, kept: Any, dy: Array) -> Any:
    """dx, dW and db."""
    x, W, b = kept
    x_, W_, dy = wide(x, W, dy)
    x_ = jnp.pad(x_, ((0, 0), *padding, (0, 0)))
    dx, dW = jnp.zeros_like(x_), jnp.zeros_like(W_)
    for ij, at in places(W, dy.shape[1:3], stride):
        dx = dx.at[at].add(dy @ W_[ij].T)
        dW = dW.at[ij].set(jnp.einsum("mhwc,mhwd->cd", x_[at], dy))
    db = None if b is None else dy.sum(axis=(0, 1, 2)).astype(b.dtype)
    (top, _), (left, _) = padding
    dx = dx[:, top : top + x.shape[1], left : left + x.shape[2]]
    return dx.astype(x.dtype), dW.astype(W.dtype), db


_conv2d = by_hand(forward, backward, options=2)


@layer
def conv2d(
    x: Float[Array, "m h w c_in"],
    W: Float[Array, "k_h k_w c_in c_out"],
    b: Float[Array, " c_out"] | None = None,
    stride: int | tuple[int, int] = 1,
    padding: str | int | Pairs = "SAME",
) -> Float[Array, "m h_out w_out c_out"]:
    """Convolution of images, channels last; the kernel is not flipped, as everywhere in the field.

    Args:
        x: (m, h, w, c_in), m images.
        W: (k_h, k_w, c_in, c_out), the kernel.
        b: (c_out,), or None for none.
        stride: the step between outputs, one or (down, right).
        padding: "SAME", for ⌈h / stride⌉ rows of outputs, "VALID" for none, one number of zeros on
            every side, or ((top, bottom), (left, right)).

    Returns:
        (m, h_out, w_out, c_out), in x's format. Bfloat16 and float16 are computed in float32,
        forward and back.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import conv2d
        >>> x, W = jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 2))
        >>> conv2d(x, W, stride=2).shape, conv2d(x, W, padding="VALID")[0, 0, 0]
        ((1, 2, 2, 2), Array([27., 27.], dtype=float32))
    """
    problems = Problems()
    steps = [whole_number("stride", one, 1, problems) for one in _pair(stride)]
    if len(steps) != 2:
        problems.value(f"stride: expected one number or (down, right), got {shown(stride)}")
    problems.raise_all()
    down, right = (step or 1 for step in steps)
    pads = _padding(padding, x.shape[1:3], W.shape[:2], (down, right), problems)
    problems.raise_all()
    for axis, n, k, (before, after) in zip(("high", "wide"), x.shape[1:], W.shape, pads):  # noqa: B905
        if n + before + after < k:
            problems.value(f"W: the kernel is {k} {axis}, x with its padding {n + before + after}")
    problems.raise_all()
    return _conv2d(x, W, b, (down, right), pads)


def _pair(value: Any) -> tuple[Any, ...]:
    """Both of a pair, or the one number for both."""
    return parts(value) or (value, value)


def _padding(
    padding: Any, sizes: Any, kernel: Any, stride: tuple[int, int], problems: Problems
) -> Any:
    """((top, bottom), (left, right)); a problem where it cannot be read."""
    if isinstance(padding, str) and padding in ("SAME", "VALID"):
        return tuple(lax.padtype_to_pads(sizes, kernel, stride, padding))
    sides = [_pair(side) for side in _pair(padding)]
    if isinstance(padding, str) or [len(side) for side in sides] != [2, 2]:
        problems.value(
            f'padding: expected "SAME", "VALID", a number or ((top, bottom), (left, right)), got '
            f"{shown(padding)}"
        )
        return None
    return tuple(tuple(whole_number("padding", n, 0, problems) for n in side) for side in sides)
