"""A Python loop over optax's jitted step, as most training loops are."""

from peers import optax_in_out
from peers.peer import Peer, called
from works import Work


def peer(work: Work) -> Peer:
    return optax_in_out.peer(work, called, "jitted step, Python loop")
