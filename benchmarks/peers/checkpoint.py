"""Autodiff with `jax.checkpoint`: each layer is computed a second time in place of being stored."""

from functools import partial

import jax

from peers import autodiff
from peers.peer import Gradients
from works import Work


def gradients(work: Work) -> dict[str, Gradients]:
    """Around each layer, as it is and with the products kept."""
    keep = partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable)
    return {
        "jax.checkpoint": autodiff.gradients(work, jax.checkpoint),
        "jax.checkpoint, z kept": autodiff.gradients(work, keep),
    }
