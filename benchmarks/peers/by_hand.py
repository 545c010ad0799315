"""By hand: manual_bp, as its users call it."""

import jax.numpy as jnp

import manual_bp as mbp
from manual_bp.training.epoch import descend
from peers.peer import Gradients, Peer
from works import Setup, Work


def gradients(work: Work) -> Gradients:
    return mbp.value_and_grad(work.net)


def fitted(setup: Setup) -> Peer:
    """An epoch of `manual_bp.fit`: its scan, C of each step and nothing of accuracy."""
    eta = jnp.asarray(setup.learning_rate, setup.dtype)
    net, batches = setup.work.net, setup.batches
    epoch = lambda params: descend(net, None, params, None, batches, eta)[0]  # noqa: E731
    return Peer("by hand", epoch, setup.params)
