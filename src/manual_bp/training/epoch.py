"""An epoch as compiled programs, plain functions that can be timed and read one by one.

`shuffled` makes the mini-batches, `descend` takes a step on each of them, `until_nonfinite` finds
the step that went wrong, `evaluate` measures.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar

from manual_bp.backprop import cost, forward, mean_cost, update
from manual_bp.checks import theirs
from manual_bp.lean import Microbatch, class_of, descent_step
from manual_bp.network import Network, Params
from manual_bp.parallel import steps
from manual_bp.parallel.layout import Layout

Batches = tuple[Array, Array]
"""Mini-batches of one size, stacked: x is (steps, batch, n_0), y is (steps, batch, n_L)."""


class Rule(NamedTuple):
    """How a step is taken.

    Attributes:
        net: the network.
        optimizer: of optax; None for the course's own update.
        microbatch: of each step, so many examples at a time.
        layout: on which devices; None for one.
    """

    net: Network
    optimizer: optax.GradientTransformation | None = None
    microbatch: Microbatch = None
    layout: Layout | None = None


@partial(jax.jit, static_argnums=3)
def shuffled(
    x: Float[Array, "m n_0"],
    y: Float[Array, "m n_L"],
    key: Array,
    batch_size: int,
    rows: Array | None = None,
) -> tuple[Batches, ...]:
    """The examples in random order as mini-batches: all full ones, then what is left, if any.

    They are all rows of x and y, or these.
    """
    m = len(y if rows is None else rows)
    order = order_of(key, m)
    order = order if rows is None else rows[order]
    full = m - m % batch_size
    groups = [(order[:full], batch_size), (order[full:], m - full)]
    return tuple(
        (x[rows].reshape(-1, size, x.shape[1]), y[rows].reshape(-1, size, y.shape[1]))
        for rows, size in groups
        if len(rows)
    )


@partial(jax.jit, static_argnums=1)
def order_of(key: Array, m: int) -> Array:
    """The numbers of m examples in random order."""
    # Half the time of jax.random.permutation, which sorts twice lest two of the 32-bit numbers tie.
    return jnp.argsort(jax.random.bits(key, (m,)))


@partial(jax.jit, static_argnums=(0, 5), donate_argnums=(1, 2))
def descend(
    rule: Rule,
    params: Params,
    state: Any,
    batches: Batches,
    learning_rate: Scalar | None = None,
    classes: bool = False,
) -> tuple[Params, Any, Array, Array, Array]:
    """A step of gradient descent on each mini-batch in turn; `params` and `state` are used up.

    Gives params, state, C of each step before its update, (steps,), how many classes were right
    (0 where the targets are no `classes`), and whether the parameters are finite.
    """

    def step(carry: tuple[Params, Any], batch: Batches) -> tuple[tuple[Params, Any], Any]:
        (params, state), (x, y) = carry, batch
        carry, (C, a) = _step(rule, params, state, x, y, learning_rate)
        return carry, (C, a if classes else None)

    (params, state), (C, a) = jax.lax.scan(step, (params, state), batches)
    right = _right(rule.net, a, batches[1]).sum() if classes else jnp.array(0)
    return params, state, C, right, all_finite(params)


@partial(jax.jit, static_argnums=0)
def until_nonfinite(
    rule: Rule, params: Params, state: Any, batches: Batches, learning_rate: Scalar | None
) -> tuple[Params, Any, Array, Array]:
    """`descend` up to the first step whose cost or update is not finite, that step, and its C."""

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        now, i, _, _ = carry
        x, y = batches[0][i], batches[1][i]
        new, (C, _) = _step(rule, now[0], now[1], x, y, learning_rate)
        finite = jnp.isfinite(C) & all_finite(new[0])
        kept = jax.tree.map(partial(jnp.where, finite), new, now)
        return kept, i + finite, C, finite

    zero = jnp.zeros((), params[0][0].dtype)
    start = ((params, state), jnp.array(0), zero, jnp.array(True))
    (params, state), i, C, _ = jax.lax.while_loop(
        lambda carry: carry[-1] & (carry[1] < len(batches[0])), step, start
    )
    return params, state, i, C


def _step(
    rule: Rule, params: Params, state: Any, x: Array, y: Array, learning_rate: Scalar | None
) -> tuple[tuple[Params, Any], tuple[Array, Array]]:
    """One step: (params, state) after it, C and aᴸ before it."""
    net, optimizer, microbatch, layout = rule
    if layout is None:
        C, a, gradients = descent_step(net, params, x, y, microbatch)
    else:
        C, a, gradients = steps.descent_step(layout, params, x, y)
    if optimizer is None:
        assert learning_rate is not None  # fit has seen to it
        return (update(params, gradients, learning_rate), state), (C, a)
    with theirs("optimizer"):
        updates, state = optax.with_extra_args_support(optimizer).update(
            gradients,
            state,
            params,
            value=C,  # line searches and the like ask for these three
            grad=gradients,
            value_fn=lambda params: cost(net, params, x, y),
        )
    return (optax.apply_updates(params, updates), state), (C, a)


@partial(jax.jit, static_argnums=0)
def evaluate(net: Network, params: Params, x: Array, y: Array) -> tuple[Array, Array]:
    """C, and how many classes are right."""
    z, a = forward(net, params, x)
    return mean_cost(net, params, z[-1], a[-1], y, len(x)), _right(net, a[-1], y).sum()


def _right(net: Network, a: Array, y: Array) -> Array:
    return class_of(net, a) == class_of(net, y)


def all_finite(params: Params) -> Array:
    """Whether no weight or bias is NaN or Inf."""
    return jnp.stack([jnp.isfinite(array).all() for array in jax.tree.leaves(params)]).all()


@jax.jit
def copy(tree: Any) -> Any:
    """The same arrays in memory of their own, which `descend` may use up."""
    return jax.tree.map(jnp.copy, tree)


@partial(jax.jit, static_argnums=0)
def one_of_two(net: Network, y: Array) -> Array:
    """Whether each target of a single output is that of one of two classes."""
    return ((y == (-1 if net.cost.family == "hinge" else 0)) | (y == 1)).all()


@jax.jit
def one_hot(y: Array) -> Array:
    """Whether each row is a 1 among zeros."""
    return (((y == 0) | (y == 1)).all(axis=-1) & (y.sum(axis=-1) == 1)).all()
