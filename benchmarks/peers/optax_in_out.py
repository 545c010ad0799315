"""optax, as with Flax: kernels are (in, out), the optimiser's state travels with the parameters."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax import Array

from peers.autodiff import SIGMA
from peers.peer import Pairs, Peer
from works import Setup


def peer(setup: Setup, run: Callable[..., Any], name: str = "optax (in, out)") -> Peer:
    """`optax.sgd`, run as a scan or from Python."""
    work, optimizer = setup.work, optax.sgd(setup.learning_rate)

    def cost(params: Any, x: Array, y: Array) -> Array:
        a = x
        for layer in params[:-1]:
            a = SIGMA[work.sigma](a @ layer["kernel"] + layer["bias"])
        z = a @ params[-1]["kernel"] + params[-1]["bias"]
        if work.cost == "cross_entropy":
            return optax.softmax_cross_entropy(z, y).mean()
        return optax.l2_loss(SIGMA[work.output](z), y).sum(axis=-1).mean()

    def step(state: Any, x: Array, y: Array) -> tuple[Any, Array]:
        params, memory = state
        C, gradients = jax.value_and_grad(cost)(params, x, y)
        updates, memory = optimizer.update(gradients, memory, params)
        return (optax.apply_updates(params, updates), memory), C

    kernels = [{"kernel": W.T, "bias": b} for W, b in setup.params]
    return Peer(name, run(step, setup), (kernels, optimizer.init(kernels)), _pairs)


def _pairs(state: Any) -> Pairs:
    return [(np.asarray(layer["kernel"]).T, np.asarray(layer["bias"])) for layer in state[0]]
