"""A stranger's function is judged against what was there before it ran."""

import numpy as np
import pytest

import manual_bp as mbp
from planting import found

NET = mbp.Network((3, 4, 2), ("sigmoid", "sigmoid"), "quadratic")
NAMES = ["W¹", "b¹", "W²", "b²", "x", "y"]


def case():
    rng = np.random.default_rng(1)
    params = [[rng.normal(size=(4, 3)), rng.normal(size=4)], [rng.normal(size=(2, 4)), np.ones(2)]]
    return params, rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))


def arrays(params, x, y):
    return [*params[0], *params[1], x, y]


def words(diagnosis):
    return str(diagnosis).replace("\n  ", " ")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def step(when):
    """Backpropagation that updates W² in place: before δ¹ is made, or after all."""

    def mine(net, params, x, y):
        (W1, b1), (W2, b2) = params
        a1 = sigmoid(x @ W1.T + b1)
        a2 = sigmoid(a1 @ W2.T + b2)
        delta2 = (a2 - y) / len(x) * a2 * (1 - a2)
        dW2 = delta2.T @ a1
        if when == "early":
            W2 -= 0.5 * dW2
        delta1 = delta2 @ W2 * a1 * (1 - a1)
        dW1 = delta1.T @ x
        if when == "late":
            W2 -= 0.5 * dW2
            W1 -= 0.5 * dW1
        return {
            "a1": a1, "a2": a2, "delta1": delta1, "delta2": delta2, "dW1": dW1, "dW2": dW2,
            "db1": delta1.sum(axis=0), "db2": delta2.sum(axis=0),
        }  # fmt: skip

    return mine


def test_an_update_at_the_end_is_right_and_noted():
    given = case()
    diagnosis = mbp.check(NET, *given, step("late"))
    assert diagnosis.ok
    assert "Note: your function changed W¹ and W² while it ran." in words(diagnosis)
    for old, new in zip(arrays(*case()), arrays(*given), strict=True):
        np.testing.assert_array_equal(old, new)
    assert mbp.compare(NET, *given, subject=step("late")).notes


def test_an_update_too_early_is_that_mistake():
    diagnosis = mbp.check(NET, *case(), step("early"))
    assert found(diagnosis) == [("BP2", 1, "weights_updated_first")]
    assert "with η = 0.5" in words(diagnosis)
    assert "your function changed W² while" in words(diagnosis)


def test_an_x_that_is_centred_in_place():
    def mine(net, params, x, y):
        x -= x.mean(axis=0)
        return mbp.backprop(net, params, x, y)

    given = case()
    diagnosis = mbp.check(NET, *given, mine)
    assert found(diagnosis) == [("forward", 0, "input_changed")]
    np.testing.assert_array_equal(given[1], case()[1])


@pytest.mark.parametrize("i", range(6), ids=NAMES)
def test_whatever_is_changed_is_named(i):
    def mine(net, *call):
        gradients = mbp.backprop(net, *call)
        arrays(*call)[i][...] = 7
        return gradients

    agreement = mbp.compare(NET, *case(), subject=mine)
    assert agreement.ok
    assert agreement.notes == (
        f"your function changed {NAMES[i]} while it ran. It had copies, and is judged against what "
        f"was there before",
    )


def test_the_callers_own_arrays_are_put_back():
    """Θ holds W and b together, and the function sets the biases of all to 0."""
    theta = np.random.default_rng(0).normal(size=(4, 4))
    params, x, y = case()
    params[0] = [theta[:, 1:], theta[:, 0]]

    def mine(net, *call):
        gradients = mbp.backprop(net, *call)
        theta[:, 0] = 0
        return gradients

    diagnosis = mbp.check(NET, params, x, y, mine)
    assert diagnosis.ok
    assert "your function changed b¹ of yours while it ran" in words(diagnosis)
    assert theta[:, 0].all()


def test_lists_are_copied_too():
    params, x, y = case()
    lists, rows = [[W.tolist(), b.tolist()] for W, b in params], x.tolist()

    def mine(net, params, x, y):
        gradients = mbp.backprop(net, params, x, y)
        params[0][1][0] += 1
        x[0][0] = 0.0
        rows[1][1] = 0.0
        return gradients

    diagnosis = mbp.check(NET, lists, rows, y, mine)
    assert diagnosis.ok
    assert "changed b¹ and x while" in words(diagnosis)
    assert "changed x of yours" in words(diagnosis)
    assert (lists[0][1], rows) == (params[0][1].tolist(), x.tolist())
