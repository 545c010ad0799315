"""What the benchmark compares: the same training, in the form that each peer's users write."""

import jax
import jax.numpy as jnp

from peers import autodiff, by_hand, checkpoint, numpy_by_hand, optax_in_out, python_loop, pytorch
from peers.peer import Gradients, called, descent, scanned
from peers.peer import Peer as Peer
from works import Work


def gradient_functions(work: Work) -> dict[str, Gradients]:
    """(params, x, y) -> (C, gradients), W as (out, in): by hand, autodiff, and with checkpoints."""
    found = {"by hand": by_hand.gradients(work), "autodiff": autodiff.gradients(work)}
    return found | checkpoint.gradients(work)


def step_peers(work: Work, *, checkpoints: bool = False) -> list[Peer]:
    """One training step, called again and again on the same batch."""
    ours, theirs, *others = (
        called(name, descent(f, work.learning_rate), work.params, work)
        for name, f in gradient_functions(work).items()
    )
    optax = optax_in_out.peer(work, called)
    outside = pytorch.peers(work) + numpy_by_hand.peers(work)
    return [ours, theirs, optax, *(others if checkpoints else ()), *outside]


def epoch_peers(work: Work) -> list[Peer]:
    """One epoch over the same batches: compiled as a scan, or a Python loop over jitted steps."""
    step = descent(autodiff.gradients(work), work.learning_rate)
    theirs = scanned("autodiff", step, work.params, work)
    in_jax = [by_hand.peer(work), theirs, optax_in_out.peer(work, scanned), python_loop.peer(work)]
    return in_jax + pytorch.peers(work) + numpy_by_hand.peers(work)


def product(n: int, dtype: str, name: str = "product") -> Peer:
    """A square matrix product, 2n³ operations: what the machine can do at best."""
    a, b = (jax.random.normal(key, (n, n), dtype) for key in jax.random.split(jax.random.key(0)))
    program = jax.jit(jnp.matmul)
    return Peer(name, lambda _, a, b: (program(a, b),), None, [(a, b)])
