"""The options that several commands share: a cost and its output activation go together."""

import pytest

from manual_bp.cli.options import NetworkOptions


@pytest.mark.parametrize(
    ("given", "output", "cost"),
    [
        ({}, "softmax", "cross_entropy"),
        ({"cost": "cross_entropy(smoothing=0.1)"}, "softmax", "cross_entropy(smoothing=0.1)"),
        ({"cost": "binary_cross_entropy"}, "sigmoid", "binary_cross_entropy"),
        ({"cost": "huber(2)"}, "sigmoid", "huber(2)"),
        ({"cost": "hinge"}, "identity", "hinge"),
        ({"cost": "poisson"}, "exp", "poisson"),
        ({"output": "exp"}, "exp", "poisson"),
        ({"output": "leaky_relu(0.2)"}, "leaky_relu(0.2)", "quadratic"),
    ],
)
def test_output_and_cost_go_together(given, output, cost):
    net = NetworkOptions(activation="elu(0.5)", **given).network((3, 4, 2))
    assert [sigma.name for sigma in net.activations] == ["elu(0.5)", output]
    assert net.cost.name == cost


def test_a_cost_that_there_is_none_of_is_told_by_the_network():
    with pytest.raises(ValueError, match="cost: unknown name 'quadratik'; did you mean"):
        NetworkOptions(cost="quadratik").network((3, 4, 2))
