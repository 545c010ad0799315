"""Figures that others published: Mazur's worked example and Ng's exercise."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_close, rounding_bound
from manual_bp import Layer, Network, backprop, cost, hidden_delta, output_delta, weight_gradient
from manual_bp import forward as forward_pass

PUBLISHED = json.loads((pathlib.Path(__file__).parent / "published.json").read_text())
NINE = 0.5e-9  # half of the last of nine printed decimals


@pytest.fixture
def mazur(x64):
    case = PUBLISHED["mazur"]
    layers = zip(case["W"], case["b"], strict=True)
    params = tuple(Layer(jnp.array(W), jnp.array(b)) for W, b in layers)
    return case, Network(**case["network"]), params, jnp.array(case["x"]), jnp.array(case["y"])


def weights_after(net, params, x, y, eta, *, wrong_order=False):
    """One step with the biases fixed; in the wrong order W² is updated before δ¹ is had from it."""
    (W1, b1), (W2, b2) = params
    z, a = forward_pass(net, params, x)
    delta2 = output_delta(net, z[-1], a[-1], y, len(x))
    W2_after = W2 - eta * weight_gradient(delta2, a[1])
    sigma_prime = a[1] * (1 - a[1])
    delta1 = hidden_delta(W2_after if wrong_order else W2, delta2, sigma_prime)
    return Layer(W1 - eta * weight_gradient(delta1, a[0]), b1), Layer(W2_after, b2)


def test_mazur(mazur):
    case, net, params, x, y = mazur
    step = backprop(net, params, x, y)
    assert_close(step.cost, jnp.array(case["cost"]), NINE)
    assert_close(step.z, tuple(map(jnp.array, case["z"])), NINE)
    assert_close(step.a, (x, *map(jnp.array, case["a"])), NINE)
    assert_close(step.delta, tuple(map(jnp.array, case["delta"])), NINE)
    assert_close(step.dW[1], jnp.array(case["dW2"]), NINE)


def test_mazur_after_one_step(mazur):
    case, net, params, x, y = mazur
    after = weights_after(net, params, x, y, case["learning_rate"])
    # Two of these are printed with eight decimals.
    assert_close([layer.W for layer in after], [jnp.array(W) for W in case["W_after"]], 0.5e-8)
    right = jnp.array(case["cost_after_one_step_biases_fixed"])
    assert_close(cost(net, after, x, y), right, NINE)


def test_mazurs_published_cost_comes_from_the_wrong_order(mazur):
    case, net, params, x, y = mazur
    published = jnp.array(case["published_but_wrong"]["cost_after_one_step"])
    eta = case["learning_rate"]
    wrong = weights_after(net, params, x, y, eta, wrong_order=True)
    assert_close(cost(net, wrong, x, y), published, NINE)
    with pytest.raises(AssertionError, match="apart"):
        assert_close(cost(net, weights_after(net, params, x, y, eta), x, y), published, NINE)


@pytest.mark.parametrize("wrong_order", [False, True], ids=["right order", "wrong order"])
def test_mazur_after_10000_steps(mazur, wrong_order):
    case, net, params, x, y = mazur

    @jax.jit
    def train(params):
        def step(_, params):
            return weights_after(net, params, x, y, case["learning_rate"], wrong_order=wrong_order)

        return jax.lax.fori_loop(0, 10_000, step, params)

    outputs = forward_pass(net, train(params), x)[1][-1][0]
    right = jnp.array(case["outputs_after_10000_steps_biases_fixed"])
    wrong = jnp.array(case["published_but_wrong"]["outputs_after_10000_steps"])
    assert_close(outputs, wrong if wrong_order else right, NINE)
    assert np.abs(right - wrong).min() > 100 * NINE  # so the two orders are told apart


def test_ng(x64):
    case = PUBLISHED["ng_ex4"]
    layers = zip(case["W"], case["b"], strict=True)
    params = tuple(Layer(jnp.array(W), jnp.array(b)) for W, b in layers)
    net = Network(**case["network"])
    x = jnp.cos(jnp.array(case["x_cos_of"], jnp.float64))
    y = jax.nn.one_hot(jnp.array(case["labels"]) - 1, 4, dtype=jnp.float64)
    step = backprop(net, params, x, y)
    expected = case["lambda_0"]
    assert_close(step.cost, jnp.array(expected["cost"]), NINE)
    # Half of the last of fifteen printed decimals, and what rounding may do to either.
    bound = rounding_bound(net, params, x, y, step, "float64")
    fifteen = lambda e: 0.5e-15 + 2 * e  # noqa: E731
    for ours, theirs, e in (
        (step.dW, expected["dW"], bound.dW),
        (step.db, expected["db"], bound.db),
    ):
        assert_close(ours, tuple(map(jnp.array, theirs)), tuple(map(fifteen, e)))
        assert max(np.max(fifteen(v)) for v in e) < 1e-13
