"""A Python loop over optax's jitted step, as most training loops are."""

from peers import optax_in_out
from peers.peer import Peer, from_python
from works import Setup


def peer(setup: Setup) -> Peer:
    return optax_in_out.peer(setup, from_python, "jitted step, Python loop")
