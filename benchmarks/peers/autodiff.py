"""Autodiff: the cost that users write for `jax.grad`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from peers.peer import Gradients
from works import Work

# Of `jax.nn`, as users take them.
_SAME = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "softmax"]
SIGMA: dict[str, Callable[[Array], Array]] = {name: getattr(jax.nn, name) for name in _SAME}
SIGMA |= {"gelu": partial(jax.nn.gelu, approximate=False), "gelu_tanh": jax.nn.gelu}


def gradients(
    work: Work, wrap: Callable[[Any], Any] = lambda layer: layer, *, in_out: bool = False
) -> Gradients:
    """Cost and gradients; `wrap` is put around each hidden layer, W is (out, in) or `in_out`."""

    def weighted(a: Array, W: Array, b: Array) -> Array:
        return a @ (W if in_out else W.T) + b

    def layer(a: Array, W: Array, b: Array) -> Array:
        return SIGMA[work.sigma](weighted(a, W, b))

    def cost(params: Any, x: Array, y: Array) -> Array:
        a = x
        for W, b in params[:-1]:
            a = wrap(layer)(a, W, b)
        z = weighted(a, *params[-1])
        if work.cost == "cross_entropy":
            return -(y * jax.nn.log_softmax(z)).sum(axis=-1).mean()
        return ((SIGMA[work.output](z) - y) ** 2).sum(axis=-1).mean() / 2

    return jax.value_and_grad(cost)
