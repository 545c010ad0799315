"""What the benchmark compares: the same training, in the form that each peer's users write."""

import jax
import jax.numpy as jnp

from peers import autodiff, by_hand, checkpoint, numpy_by_hand, optax_in_out, python_loop, pytorch
from peers.peer import Gradients, Peer, descent, from_python, scanned
from works import Setup, Work


def gradient_functions(work: Work) -> dict[str, Gradients]:
    """(params, x, y) -> (C, gradients), W as (out, in): by hand, autodiff, and with checkpoints."""
    found = {"by hand": by_hand.gradients(work), "autodiff": autodiff.gradients(work)}
    return found | checkpoint.gradients(work)


def step_peers(setup: Setup, *, checkpoints: bool = False) -> list[Peer]:
    """One training step, called again and again on the same batch."""
    ours, autodiff, *others = (
        Peer(name, from_python(descent(f, setup.learning_rate), setup), setup.params)
        for name, f in gradient_functions(setup.work).items()
    )
    optax = optax_in_out.peer(setup, from_python)
    return [ours, autodiff, optax, *(others if checkpoints else ()), *_outside_jax(setup)]


def epoch_peers(setup: Setup) -> list[Peer]:
    """One epoch over the same batches: compiled as a scan, or a Python loop over jitted steps."""
    step = descent(autodiff.gradients(setup.work), setup.learning_rate)
    jax_peers = [by_hand.fitted(setup), Peer("autodiff", scanned(step, setup), setup.params)]
    jax_peers += [optax_in_out.peer(setup, scanned), python_loop.peer(setup)]
    return jax_peers + _outside_jax(setup)


def product(n: int, dtype: str, name: str = "product") -> Peer:
    """A square matrix product, 2n³ operations: what the machine can do at best."""
    a, b = (jax.random.normal(key, (n, n), dtype) for key in jax.random.split(jax.random.key(0)))
    program = jax.jit(jnp.matmul)
    return Peer(name, lambda _: program(a, b), None)


def _outside_jax(setup: Setup) -> list[Peer]:
    return [peer for room in (pytorch, numpy_by_hand) if (peer := room.peer(setup))]
