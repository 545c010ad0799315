"""What the tests of pictures share: cases to draw, and how a picture is read."""

import numpy as np

import manual_bp as mbp
from manual_bp.training.history import History

HISTORY = History(
    np.array([2.0, 0.5, 0.1]),
    np.array([0.3, 0.6, 0.9]),
    np.array([2.5, 0.7, 0.4]),
    np.array([0.2, 0.5, 0.8]),
    np.ones(3),
    7,
)


def case(*sizes, m=6, seed=0):
    """(net, params, x, y) of a network with tanh and softmax, or sigmoid for one output."""
    head = ("softmax", "cross_entropy") if sizes[-1] > 1 else ("sigmoid", "binary_cross_entropy")
    net = mbp.Network(sizes, ("tanh",) * (len(sizes) - 2) + head[:1], head[1])
    rng = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    params = [(rng.normal(size=shape), np.zeros(shape[0])) for shape in shapes]
    labels = np.arange(m) % max(2, sizes[-1])
    y = np.eye(sizes[-1])[labels] if sizes[-1] > 1 else labels[:, None]
    return net, params, rng.normal(size=(m, sizes[0])), y


def record(*widths, m=6, seed=0):
    """A record of random a and δ, without a network behind it."""
    rng = np.random.default_rng(seed)
    a, *delta = (rng.normal(size=(m, n)) for n in widths)
    return mbp.Backprop(a=(a, *(abs(d) for d in delta)), delta=tuple(delta))


def legend(ax):
    found = ax.get_legend()
    return [text.get_text() for text in [*found.get_texts(), found.get_title()]]


def collection(ax, label):
    [found] = [c for c in ax.collections if c.get_label() == label]
    return found
