"""optax, as with Flax: kernels are (in, out), the optimiser's state travels with the parameters."""

from collections.abc import Callable
from typing import Any

import optax
from jax import Array

from peers.autodiff import gradients
from peers.peer import Peer
from works import Work


def peer(work: Work, how: Callable[..., Peer], name: str = "optax (in, out)") -> Peer:
    """`optax.sgd`, run as a scan or from Python."""
    optimizer, value_and_grad = optax.sgd(work.learning_rate), gradients(work, in_out=True)

    def step(state: Any, x: Array, y: Array) -> tuple[Any, Array]:
        kernels, memory = state
        C, slopes = value_and_grad(kernels, x, y)
        updates, memory = optimizer.update(slopes, memory, kernels)
        return (optax.apply_updates(kernels, updates), memory), C

    kernels = [(W.T, b) for W, b in work.params]
    state = kernels, optimizer.init(kernels)
    return how(name, step, state, work, pairs=lambda state: ((K.T, b) for K, b in state[0]))
