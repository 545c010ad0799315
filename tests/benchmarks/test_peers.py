"""The benchmark compares like with like: all peers reach the same parameters, by the same costs."""

from functools import partial

import numpy as np
import pytest

import peers
from peers.autodiff import SIGMA
from works import Work

WORKS = (
    Work("sigmoid", (3, 5, 4), "sigmoid", 6, "sigmoid"),
    Work("relu", (3, 5, 7, 4), "relu", 6, "softmax", "cross_entropy"),
    Work("tanh", (3, 5, 7, 4), "tanh", 6),
    Work("gelu", (3, 5, 4), "gelu", 6),
    Work("silu", (3, 5, 4), "silu", 6),
    Work("elu", (3, 5, 4), "elu", 6),
)


@pytest.mark.parametrize(
    ("make_peers", "work"),
    [
        *((partial(peers.step_peers, checkpoints=True), work) for work in WORKS),
        *((peers.epoch_peers, work) for work in WORKS[:2]),
    ],
    ids=[*(f"step-{work.name}" for work in WORKS), *(f"epoch-{work.name}" for work in WORKS[:2])],
)
def test_peers_reach_the_same_parameters(make_peers, work, x64):
    """Three batches in float64, a learning rate at which they matter."""
    work = work._replace(steps=3, dtype="float64", learning_rate=0.3, seed=1)
    found = make_peers(work)
    assert found[0].name == "by hand"
    assert len(found) >= 4
    start = [(np.array(W), np.array(b)) for W, b in work.params]
    for peer in found:
        peer.run(1)
    by_hand = found[0].params()
    for (W, b), (W_0, b_0) in zip(by_hand, start, strict=True):
        assert np.abs(W - W_0).max() > 1e-3
        assert np.abs(b - b_0).max() > 1e-3
    # Sums of at most seven terms and three steps lose far fewer than 2^13 unit roundoffs.
    bound = 2.0**-40
    for peer in found[1:]:
        for pair, ours in zip(peer.params(), by_hand, strict=True):
            for theirs, own in zip(pair, ours, strict=True):
                np.testing.assert_allclose(theirs, own, rtol=0, atol=bound, err_msg=peer.name)


def test_a_peer_whose_parameters_run_away_is_refused():
    peer, *_ = peers.step_peers(WORKS[2]._replace(learning_rate=1e30))
    peer.run(3)
    with pytest.raises(ValueError, match="by hand: parameters did not stay finite"):
        peer.params()


@pytest.mark.parametrize("sigma", sorted(set(SIGMA) - {"softmax"}))
def test_costs_of_all_peers_are_ours(sigma, x64):
    work = Work(sigma, (3, 5, 4), sigma, 6, dtype="float64")
    x, y = (array[0] for array in work.batches)
    C = {name: float(f(work.params, x, y)[0]) for name, f in peers.gradient_functions(work).items()}
    assert list(C) == ["by hand", "autodiff", "jax.checkpoint", "jax.checkpoint, z kept"]
    for name, value in C.items():
        assert value == pytest.approx(C["by hand"], rel=2.0**-40), name
