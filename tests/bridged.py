"""What the bridges' tests share: the same bits, a gradient judged and one that is wrong found."""

import jax
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
from manual_bp.verdicts.rows import AGREES

# (activations, cost): between them, every activation that each library has by these names.
CASES = {
    "logits": (("tanh", "silu", "softmax"), "cross_entropy"),
    "binary": (("gelu", "sigmoid", "sigmoid"), "binary_cross_entropy"),
    "quadratic": (("gelu_tanh", "softplus", "tanh"), "quadratic"),
    "kinks": (("relu", "leaky_relu", "elu", "identity"), "quadratic"),
    "softmax": (("tanh", "softmax"), "quadratic"),
    "no hidden layer": (("softmax",), "cross_entropy"),
}
WIDTHS = (3, 5, 4, 6, 2)
# By default those that differ most; all of them in the sweep.
SAMPLE = [
    name if name in ("logits", "kinks") else pytest.param(name, marks=pytest.mark.sweep)
    for name in CASES
]


def network(name):
    activations, cost = CASES[name]
    return mbp.Network(WIDTHS[: len(activations) + 1], activations, cost)


def case(net, seed=0, dtype="float64", m=7):
    """(params, x, y) in which no input sum is exactly at a kink, where conventions differ."""
    params, x, y = random_case(net, m, seed, dtype)
    return tuple(mbp.Layer(W, b * b.dtype.type(0.875)) for W, b in params), x, y


def without_bias(params, l):
    """The parameters with no biases in layer l."""
    return tuple(mbp.Layer(W, None if i == l else b) for i, (W, b) in enumerate(params, start=1))


def assert_same_bits(got, want):
    """Structure, dtypes and every bit of every array."""
    assert len(got) == len(want)
    for layer, expected in zip(got, want, strict=True):
        assert isinstance(layer, mbp.Layer)
        for array, other in zip(layer, expected, strict=True):
            assert (array is None) == (other is None)
            if other is not None:
                array, other = np.asarray(array), np.asarray(other)
                assert (array.dtype, array.shape) == (other.dtype, other.shape)
                assert array.tobytes() == other.tobytes()


def assert_judged(net, params, x, y, gradients):
    """These gradients are right; each wrong one that is planted in them is found."""
    diagnosis = mbp.check(net, params, x, y, gradients)
    assert diagnosis.ok, diagnosis
    given = [row for row in diagnosis.agreement.rows if row.quantity in ("dW", "db")]
    assert len(given) == sum(array is not None for layer in params for array in layer)
    assert {row.verdict for row in given} == {AGREES}
    wrong = gradients._replace(dW=(*gradients.dW[:-1], gradients.dW[-1] * 1.01))
    found = mbp.check(net, params, x, y, wrong).findings
    assert [(finding.equation, finding.layer) for finding in found] == [("BP4", net.depth)]


def recognised(read):
    """The first layer's activation in what is read."""
    return read()[0].activations[0].name


def jax_cost(net, z, y):
    """The cost of a model's output, in JAX's own operations."""
    if net.cost.name == "cross_entropy":
        return -(y * jax.nn.log_softmax(z)).sum() / len(y)
    if net.cost.name == "binary_cross_entropy":
        return (jax.nn.softplus(z) - y * z).sum() / len(y)
    return ((z - y) ** 2).sum() / 2 / len(y)
