"""A peer goes on from where it stopped; those in JAX share how a step is compiled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array, lax

from works import Work

Gradients = Callable[[Any, Array, Array], tuple[Array, Any]]  # (params, x, y) -> (C, gradients)
Step = Callable[[Any, Any, Any], tuple[Any, ...]]  # (state, x, y) -> (state, …)


@dataclass
class Peer:
    """One competitor: a step, the state that it goes on from, and the batches for it, in turn."""

    name: str
    step: Step
    state: Any  # of most, nothing but the parameters
    batches: Sequence[tuple[Any, Any]]
    pairs: Callable[[Any], Iterable[tuple[Any, Any]]] = iter  # (W, b) of each layer in the state
    wait: Callable[[Any], Any] = jax.block_until_ready

    def run(self, n: int) -> None:
        """Go through all batches n times, and wait for the results."""
        for _ in range(n):
            for x, y in self.batches:
                self.state, *_ = self.step(self.state, x, y)
        self.wait(self.state)

    def params(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W, b) of each layer after all steps, W as (out, in); all of them finite."""
        found = [(np.asarray(W), np.asarray(b)) for W, b in self.pairs(self.state)]
        if not all(np.isfinite(b.astype(float)).all() for W, b in found):
            raise ValueError(f"{self.name}: parameters did not stay finite; take another --seed")
        return found


def descent(value_and_grad: Gradients, eta: float) -> Step:
    """Gradient descent by one tree map, not compiled yet."""

    def step(params: Any, x: Array, y: Array) -> tuple[Any, Array]:
        C, gradients = value_and_grad(params, x, y)
        return jax.tree.map(lambda w, dw: w - eta * dw, params, gradients), C

    return step


def called(name: str, step: Step, state: Any, work: Work, **fields: Any) -> Peer:
    """A peer in JAX: a jitted step, its state donated, called from Python on each batch."""
    batches = list(zip(*work.batches, strict=True))
    return Peer(name, jax.jit(step, donate_argnums=0), state, batches, **fields)


def scanned(name: str, step: Step, state: Any, work: Work, **fields: Any) -> Peer:
    """A peer in JAX: all batches in one program, as a scan, the state donated."""

    def epoch(state: Any, *batches: Array) -> tuple[Any]:
        return lax.scan(lambda state, xy: step(state, *xy), state, batches)[:1]

    return Peer(name, jax.jit(epoch, donate_argnums=0), state, [work.batches], **fields)
