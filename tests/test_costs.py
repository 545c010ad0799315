"""C, ∇ₐC and δᴸ against numbers worked out by hand, and where aᴸ saturates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_close, unit_roundoff
from manual_bp import Cost, Layer, Network, backprop, cost
from manual_bp.costs import COSTS

U = unit_roundoff("float64")
log = np.log


def network_of_one(activation, cost, n, l2=0.0):
    """W = identity and b = 0, so that z = x."""
    net = Network((n, n), (activation,), cost, l2)
    return net, (Layer(jnp.eye(n), jnp.zeros(n)),)


def test_quadratic_by_hand(x64):
    # ½((1 - 0)² + (2 - 4)²) = 2.5 and ½(3² + 0²) = 4.5; mean 3.5. All exact.
    a, y = jnp.array([[1.0, 2.0], [3.0, 5.0]]), jnp.array([[0.0, 4.0], [0.0, 5.0]])
    quadratic = COSTS["quadratic"]
    assert_close(quadratic.value(a, y), jnp.array([2.5, 4.5]))
    assert_close(quadratic.mean(a, a, y, 2), jnp.array(3.5))
    assert_close(quadratic.mean(a[0], a[0], y[0], 1), jnp.array(2.5))
    assert_close(quadratic.gradient(a, y), jnp.array([[1.0, -2.0], [3.0, 0.0]]))


def test_cross_entropy_by_hand(x64):
    # z = (log 1, log 3): a = (1/4, 3/4).
    #   y = (0, 1): C = -log 3/4;  y = (2, 1): C = -2 log 1/4 - log 3/4
    # δ = a Σy - y: (1/4, -1/4) and (3/4 - 2, 9/4 - 1)
    z = jnp.array([[0.0, log(3)], [0.0, log(3)]])
    y = jnp.array([[0.0, 1.0], [2.0, 1.0]])
    ce = COSTS["cross_entropy"]
    C = jnp.array([-log(0.75), -2 * log(0.25) - log(0.75)])
    assert_close(ce.value(z, y), C, 30 * U)  # some ten operations on numbers below 3
    assert_close(ce.mean(z, z, y, 2), C.mean(), 30 * U)
    a = jnp.array([[0.25, 0.75], [0.25, 0.75]])
    assert_close(ce.delta(a, y), jnp.array([[0.25, -0.25], [-1.25, 1.25]]))


def test_binary_cross_entropy_by_hand(x64):
    # z = (0, log 3): a = (1/2, 3/4). y = (1, 1/4):
    # C = -log 1/2 - 1/4 log 3/4 - 3/4 log 1/4, δ = a - y = (-1/2, 1/2)
    z, y = jnp.array([0.0, log(3)]), jnp.array([1.0, 0.25])
    bce = COSTS["binary_cross_entropy"]
    C = -log(0.5) - 0.25 * log(0.75) - 0.75 * log(0.25)
    assert_close(bce.value(z, y), jnp.array(C), 30 * U)
    assert_close(bce.delta(jnp.array([0.5, 0.75]), y), jnp.array([-0.5, 0.5]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saturated_sigmoid_is_finite_and_exact(x64, dtype):
    net, params = network_of_one("sigmoid", "binary_cross_entropy", 2)
    params = jax.tree.map(lambda w: w.astype(dtype), params)
    x = jnp.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    # Right: C = 0. Wrong in both: log(1 + e^1e4) = 1e4 each, 2e4. The mean is 1e4, δ = (a - y)/2.
    y = jnp.array([[1.0, 0.0], [0.0, 1.0]], dtype)
    step = backprop(net, params, x, y)
    assert_close(step.cost, jnp.array(1e4, dtype))
    assert_close(step.delta[0], jnp.array([[0.0, 0.0], [0.5, -0.5]], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saturated_softmax_is_finite_and_exact(x64, dtype):
    net, params = network_of_one("softmax", "cross_entropy", 2)
    params = jax.tree.map(lambda w: w.astype(dtype), params)
    x = jnp.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    # Right: C = 0. Wrong: log a₂ = -2e4, C = 2e4. The mean is 1e4, δ = (a - y)/2.
    y = jnp.array([[1.0, 0.0], [0.0, 1.0]], dtype)
    step = backprop(net, params, x, y)
    assert_close(step.cost, jnp.array(1e4, dtype))
    assert_close(step.delta[0], jnp.array([[0.0, 0.0], [0.5, -0.5]], dtype))


def test_rows_that_do_not_sum_to_one(x64):
    # a = (1/4, 3/4), y = (2, 1): δ = a · 3 - y = (-5/4, 5/4), the derivative of C in z.
    net, params = network_of_one("softmax", "cross_entropy", 2)
    x, y = jnp.array([0.0, log(3)]), jnp.array([2.0, 1.0])
    step = backprop(net, params, x, y)
    assert_close(step.delta[0], jnp.array([-1.25, 1.25]), 20 * U)
    slope = jax.grad(lambda z: net.cost.mean(z, z, y, 1))(x)
    assert_close(step.delta[0], slope, 40 * U)


def test_l2_penalises_weights_and_no_bias(x64):
    # W = (1, 2), b = 3, x = (1, 1): a = z = 6, y = 4: C = ½ · 2² + 0.5/2 · (1 + 4) = 3.25.
    # δ = 2, dW = 2 · (1, 1) + 0.5 · (1, 2) = (2.5, 3), db = 2. All exact.
    net = Network((2, 1), ("identity",), "quadratic", l2=0.5)
    params = (Layer(jnp.array([[1.0, 2.0]]), jnp.array([3.0])),)
    x, y = jnp.array([[1.0, 1.0]]), jnp.array([[4.0]])
    step = backprop(net, params, x, y)
    assert_close(step.cost, jnp.array(3.25))
    assert_close(cost(net, params, x, y), jnp.array(3.25))
    assert_close(step.dW[0], jnp.array([[2.5, 3.0]]))
    assert_close(step.db[0], jnp.array([2.0]))


def test_users_own_cost(x64):
    # ¼ Σ(a - y)⁴ at a = (3, 0), y = (1, 1): 16/4 + 1/4 = 4.25; δ = (a - y)³ = (8, -1).
    quartic = Cost(
        "quartic", lambda a, y: ((a - y) ** 4).sum(axis=-1) / 4, lambda a, y: (a - y) ** 3
    )
    net, params = network_of_one("identity", quartic, 2)
    step = backprop(net, params, jnp.array([3.0, 0.0]), jnp.array([1.0, 1.0]))
    assert_close(step.cost, jnp.array(4.25))
    assert_close(step.delta[0], jnp.array([8.0, -1.0]))


def test_users_own_cost_with_a_delta(x64):
    # Poisson with a = eᶻ: C = Σ a - yz as a function of z, and δ = a - y: σ′ cancels.
    poisson = Cost(
        "poisson",
        lambda z, y: (jnp.exp(z) - y * z).sum(axis=-1),
        delta=lambda a, y: a - y,
        of="z",
        output="identity",
    )
    net, params = network_of_one("identity", poisson, 2)
    step = backprop(net, params, jnp.array([0.0, 0.0]), jnp.array([3.0, 1.0]))
    assert_close(step.cost, jnp.array(2.0))  # e⁰ + e⁰ - 0
    assert_close(step.delta[0], jnp.array([-3.0, -1.0]))  # identity's a = 0


def test_names_are_their_keys():
    assert all(str(c) == name for name, c in COSTS.items())
