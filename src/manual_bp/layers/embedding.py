"""Embedding: the rows of a table that whole numbers point to.

    y_t = E[k_t]    dE[k] = Σ dy_t over all t with k_t = k

A row that is pointed to twice gets both errors: they are added up, none overwrites the other. The
way back keeps the numbers alone.

Source: Y. Bengio et al., *A Neural Probabilistic Language Model* (2003), JMLR 3.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from manual_bp.checks import Problems, whole_number
from manual_bp.layers.layer import by_hand, known, layer, wide


def forward(table: Array, ids: Array, padding_id: int | None) -> Any:
    """y, and what `backward` reads."""
    y = table.at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    shape = jnp.zeros((len(table), 0), table.dtype)  # how many rows, in which format; no numbers
    return y, (shape, ids)


def backward(padding_id: int | None, kept: Any, dy: Array) -> Any:
    """dE; the numbers have no gradient."""
    shape, ids = kept
    (dy,) = wide(dy)
    if padding_id is not None:
        dy = jnp.where((ids == padding_id)[..., None], 0, dy)
    dE = jnp.zeros((len(shape), dy.shape[-1]), dy.dtype)
    dE = dE.at[ids].add(dy, mode="drop", wrap_negative_indices=False)
    return dE.astype(shape.dtype), None


_embedding = by_hand(forward, backward, options=1)


@layer
def embedding(
    table: Float[Array, "n d"], ids: Int[Array, "*shape"], padding_id: int | None = None
) -> Float[Array, "*shape d"]:
    """The rows of a table that `ids` point to.

    Args:
        table: E, (n, d).
        ids: (*shape), whole numbers from 0 to n − 1. Another one is refused where it is known;
            under `jit` its row is NaN, and it has no gradient.
        padding_id: a number whose row is given, but gets no gradient.

    Returns:
        (*shape, d), in the table's format. Of bfloat16 and float16, dE is added up in float32.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from manual_bp.layers import embedding
        >>> table, ids = jnp.arange(6.0).reshape(3, 2), jnp.array([2, 0, 2])
        >>> jax.grad(lambda table: embedding(table, ids).sum())(table)
        Array([[1., 1.],
               [0., 0.],
               [2., 2.]], dtype=float32)
    """
    if padding_id is not None:
        problems = Problems()
        whole_number("padding_id", padding_id, 0, problems, most=len(table) - 1)
        problems.raise_all()
        padding_id = int(padding_id)
    known("ids", ids, len(table), "the numbers of the table's rows")
    return _embedding(table, ids, padding_id)
