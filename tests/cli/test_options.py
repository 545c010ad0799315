"""The options that several commands share: a cost and its output activation go together."""

import numpy as np
import pytest

from manual_bp.cli.options import NetworkOptions, RunOptions, named_as_flags
from manual_bp.files.data import Data


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


def data(y):
    y = np.array(y, np.float32)
    return Data(np.ones((len(y), 3)), y, None, None, "toy")


HEADS = {
    "classes": ([[0, 1], [1, 0]], {}, "softmax", "cross_entropy", [[0, 1], [1, 0]]),
    "one of two": (
        [[0, 1], [1, 0]],
        {"sizes": "3-1"},
        "sigmoid",
        "binary_cross_entropy",
        [[1], [0]],
    ),
    "hinge": (
        [[0, 1], [1, 0]],
        {"sizes": "3-1", "cost": "hinge"},
        "identity",
        "hinge",
        [[1], [-1]],
    ),
    "0 and 1": ([[1], [0]], {}, "sigmoid", "binary_cross_entropy", [[1], [0]]),
    "numbers": ([[7.5], [-1]], {}, "identity", "quadratic", [[7.5], [-1]]),
    "several numbers": ([[0, 2], [1, 1]], {}, "identity", "quadratic", [[0, 2], [1, 1]]),
    "numbers, huber": ([[7.5], [-1]], {"cost": "huber"}, "identity", "huber", [[7.5], [-1]]),
    "counts": ([[7], [2]], {"cost": "poisson"}, "exp", "poisson", [[7], [2]]),
}


@pytest.mark.parametrize(("y", "given", "output", "cost", "targets"), HEADS.values(), ids=HEADS)
def test_the_head_goes_with_the_targets(y, given, output, cost, targets):
    net, changed = NetworkOptions(**given).network_for(data(y), 4)
    assert (net.activations[-1].name, net.cost.name) == (output, cost)
    assert changed.y.tolist() == targets


def test_the_task_says_that_0_and_1_are_numbers():
    net, _ = NetworkOptions().network_for(data([[1], [0]]), 4, "regression")
    assert net.cost.name == "quadratic"


def test_ignored_names_may_hold_commas(tmp_path):
    (tmp_path / "a.csv").write_text('"a, b",c,d,y\n1,2,3,k\n4,5,6,l\n')
    run = RunOptions(data=str(tmp_path / "a.csv"), ignore='"a, b", d')
    assert run.read().encoding.columns == ("c",)


def test_errors_name_flags():
    with (
        pytest.raises(ValueError, match=r"^--target: no \(--ignore\) of it: target$"),
        named_as_flags(),
    ):
        raise ValueError("target: no (ignore) of it: target")
    with pytest.raises(TypeError, match=r"^DATA: no$"), named_as_flags(source="DATA"):
        raise TypeError("source: no")
