"""C, ∇ₐC and δᴸ against numbers worked out by hand, and where aᴸ saturates."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_close, unit_roundoff
from manual_bp import Cost, Layer, Network, backprop, cost
from manual_bp.costs import COSTS
from manual_bp.costs import cost as cost_of

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
    # Cauchy's: C = Σ ½ log(1 + (z - y)²) as a function of z = a, and δ = (z - y)/(1 + (z - y)²).
    cauchy = Cost(
        "cauchy",
        lambda z, y: jnp.log1p((z - y) ** 2).sum(axis=-1) / 2,
        delta=lambda a, y: (a - y) / (1 + (a - y) ** 2),
        of="z",
        output="identity",
    )
    net, params = network_of_one("identity", cauchy, 2)
    step = backprop(net, params, jnp.array([0.0, 0.0]), jnp.array([3.0, 1.0]))
    assert_close(step.cost, jnp.array(log(20) / 2), 8 * U)  # ½(log 10 + log 2)
    assert_close(step.delta[0], jnp.array([-0.3, -0.5]), U)


def test_squared_errors_by_hand(x64):
    # (1 - 0)² + (2 - 4)² = 5, of two outputs 2.5; 2(a - y)/2 = (1, -2).
    a, y = jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])
    mse = cost_of("mean_squared_error")
    assert_close(mse.value(a, y), jnp.array(2.5))
    assert_close(mse.gradient(a, y), jnp.array([1.0, -2.0]))


def test_absolute_error_and_huber_by_hand(x64):
    # a - y = (0.5, -3, 0). |·|: 3.5, slopes (1, -1, 0). Huber, δ = 1: 0.125 + 2.5 = 2.625, slopes
    # (0.5, -1, 0); δ = 2: 0.125 + 2(3 - 1) = 4.125, slopes (0.5, -2, 0).
    a, y = jnp.array([1.0, 1.0, 2.0]), jnp.array([0.5, 4.0, 2.0])
    for name, C, slope in (
        ("absolute_error", 3.5, [1.0, -1.0, 0.0]),
        ("huber", 2.625, [0.5, -1.0, 0.0]),
        ("huber(2)", 4.125, [0.5, -2.0, 0.0]),
    ):
        assert_close(cost_of(name).value(a, y), jnp.array(C))
        assert_close(cost_of(name).gradient(a, y), jnp.array(slope))
        assert_close(jax.grad(cost_of(name).value)(a, y), jnp.array(slope))


def test_hinge_by_hand(x64):
    # ya = (0.5, -2, 3, 1): 0.5 + 3 + 0 + 0, slopes -y where ya < 1.
    a, y = jnp.array([0.5, 2.0, -3.0, 1.0]), jnp.array([1.0, -1.0, -1.0, 1.0])
    assert_close(cost_of("hinge").value(a, y), jnp.array(3.5))
    assert_close(cost_of("hinge").gradient(a, y), jnp.array([-1.0, 1.0, 0.0, 0.0]))
    assert_close(jax.grad(cost_of("hinge").value)(a, y), jnp.array([-1.0, 1.0, 0.0, 0.0]))


def test_poisson_by_hand(x64):
    # z = (0, log 2), y = (3, 1): e⁰ - 0 + 2 - log 2; δ = (1 - 3, 2 - 1).
    z, y = jnp.array([0.0, log(2)]), jnp.array([3.0, 1.0])
    assert_close(cost_of("poisson").value(z, y), jnp.array(3 - log(2)), 8 * U)
    assert_close(cost_of("poisson").delta(jnp.exp(z), y), jnp.array([-2.0, 1.0]), 8 * U)


def test_smoothing_and_class_weights_by_hand(x64):
    # a = (1/4, 3/4), y = (0, 1). ε = 0.2: t = (0.1, 0.9). w = (3, 0.5): t = (0.3, 0.45), Σ 0.75.
    z, y = jnp.array([0.0, log(3)]), jnp.array([0.0, 1.0])
    a = jnp.array([0.25, 0.75])
    for text, t in (
        ("cross_entropy(smoothing=0.2)", [0.1, 0.9]),
        ("cross_entropy(weights=(3, 0.5))", [0.0, 0.5]),
        ("cross_entropy(smoothing=0.2, weights=(3, 0.5))", [0.3, 0.45]),
    ):
        C = -t[0] * log(0.25) - t[1] * log(0.75)
        assert_close(cost_of(text).value(z, y), jnp.array(C), 30 * U)
        assert_close(cost_of(text).delta(a, y), a * sum(t) - jnp.array(t), 30 * U)
        assert_close(cost_of(text).value(z, 0 * y), jnp.array(0.0))  # a masked row stays one


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("huber(1)", "huber"),
        ("huber(2.0)", "huber(2)"),
        ("cross_entropy(smoothing=0)", "cross_entropy"),
        (
            "cross_entropy( weights=(1,2,.5), smoothing = 1e-1 )",
            "cross_entropy(smoothing=0.1, weights=(1, 2, 0.5))",
        ),
    ],
)
def test_one_text_is_one_object(text, name):
    of = cost_of(text)
    assert of.name == name
    assert of is cost_of(name)
    assert of.built_in
    assert pickle.loads(pickle.dumps(of)) is copy.deepcopy(of) is of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huber(0)", r"expected a threshold δ above 0, got 0; write 'huber\(2\)'"),
        ("cross_entropy(smoothing=1)", "expected a smoothing from 0 to below 1, got 1"),
        ("cross_entropy(0.1)", "expected other parameters; write 'cross_entropy"),
        ("cross_entropy(weights=(1, -1, 1))", "expected weights ≥ 0"),
        ("cross_entropy(weights=(0, 0, 0))", "one at least is above 0"),
        ("cross_entropy(weights=(1, 2))", "class weight for each of the 3 output neurons, got 2"),
        ("quadratic(2)", "cost quadratic takes no parameters; write 'quadratic'"),
        ("poisson", r"poisson goes with.*exp, got softmax; .*a Cost of your own.*1 − y/a"),
    ],
)
def test_a_text_that_does_not_fit_is_one_error(text, message):
    with pytest.raises(ValueError, match=rf"^cost: .*{message}"):
        Network((2, 3), ("softmax",), text)


def test_targets_that_no_class_or_side_has_are_refused():
    net, params = network_of_one("identity", "hinge", 2)
    with pytest.raises(ValueError, match=r"y: hinge expects the targets -1 and 1.*pass 2 \* y - 1"):
        backprop(net, params, jnp.ones(2), jnp.array([0.0, 1.0]))
    net, params = network_of_one("softmax", "cross_entropy(smoothing=0.1)", 2)
    with pytest.raises(ValueError, match=r"y: .* expects a class in one row at least, got zeros"):
        backprop(net, params, jnp.ones((3, 2)), jnp.zeros((3, 2)))
    masked = jnp.array([[0.0, 0.0], [0.0, 1.0]])  # a row of zeros among others is no mistake
    step = backprop(net, params, jnp.ones((2, 2)), masked)
    assert_close(step.delta[0][0], jnp.zeros(2))


def test_names_are_their_keys():
    assert all(str(c) == name for name, c in COSTS.items())
    assert all(c.built_in and c.family == name for name, c in COSTS.items())
