"""By hand: manual_bp, as its users call it."""

import jax.numpy as jnp

import manual_bp as mbp
from manual_bp.training.epoch import Rule, descend
from peers.peer import Gradients, Peer
from works import Work


def gradients(work: Work) -> Gradients:
    return mbp.value_and_grad(work.net)


def peer(work: Work) -> Peer:
    """An epoch of `manual_bp.fit`: its scan, C of each step and nothing of accuracy."""
    rule, eta = Rule(work.net), jnp.asarray(work.learning_rate, work.dtype)
    epoch = lambda params, x, y: descend(rule, params, None, (x, y), eta)  # noqa: E731
    return Peer("by hand", epoch, work.params, [work.batches])
