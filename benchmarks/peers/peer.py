"""A peer goes on from where it stopped; the peers in JAX share how a step becomes one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array, lax

from works import Setup

Pairs = list[tuple[np.ndarray, np.ndarray]]
Gradients = Callable[[Any, Array, Array], tuple[Array, Any]]  # (params, x, y) -> (C, gradients)
Step = Callable[[Any, Array, Array], tuple[Any, Array]]  # (state, x, y) -> (state, C)


def pairs(params: Any) -> Pairs:
    """Parameters in NumPy."""
    return [(np.asarray(W), np.asarray(b)) for W, b in params]


@dataclass
class Peer:
    """One competitor: its step or epoch, and its state; most are nothing but their parameters."""

    name: str
    epoch: Callable[[Any], Any]  # state -> state, after all batches
    state: Any
    pairs: Callable[[Any], Pairs] = pairs  # (W, b) of each layer in its state, W as (out, in)
    wait: Callable[[Any], Any] = jax.block_until_ready

    def run(self, n: int) -> None:
        """Make n steps, or n epochs, and wait for the results."""
        for _ in range(n):
            self.state = self.epoch(self.state)
        self.wait(self.state)

    def params(self) -> Pairs:
        """(W, b) of each layer, W as (out, in), after all steps; all of them finite."""
        found = self.pairs(self.state)
        if not all(np.isfinite(b.astype(float)).all() for W, b in found):
            raise ValueError(f"{self.name}: parameters did not stay finite; take another --seed")
        return found


def descent(value_and_grad: Gradients, eta: float) -> Step:
    """Gradient descent by one tree map, not compiled yet."""

    def step(params: Any, x: Array, y: Array) -> tuple[Any, Array]:
        C, gradients = value_and_grad(params, x, y)
        return jax.tree.map(lambda w, dw: w - eta * dw, params, gradients), C

    return step


def from_python(step: Step, setup: Setup) -> Callable[[Any], Any]:
    """A jitted step, its state donated, called from a Python loop over ready batches."""
    program = jax.jit(step, donate_argnums=0)
    batches = list(zip(*setup.batches, strict=True))

    def epoch(state: Any) -> Any:
        for x, y in batches:
            state, _C = program(state, x, y)
        return state

    return epoch


def scanned(step: Step, setup: Setup) -> Callable[[Any], Any]:
    """An epoch in one program: a scan over its batches, the state donated."""
    program = jax.jit(
        lambda state, data: lax.scan(lambda state, xy: step(state, *xy), state, data)[0],
        donate_argnums=0,
    )
    batches = setup.batches
    return lambda state: program(state, batches)
