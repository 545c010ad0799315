"""Equinox models read, their gradients judged by `check`, and written back bit for bit."""

import functools

import jax
import pytest

import bridged
import manual_bp as mbp

eqx = pytest.importorskip("equinox")
from manual_bp.bridges import equinox as bridge  # noqa: E402


def gradients_of(net, model, x, y):
    return eqx.filter_grad(lambda model: bridged.jax_cost(net, jax.vmap(model)(x), y))(model)


@pytest.mark.parametrize("name", bridged.SAMPLE)
@pytest.mark.usefixtures("x64")
def test_gradients_of_filter_grad_are_right(name):
    net = bridged.network(name)
    params, x, y = bridged.case(net)
    model = bridge.model_of(net, params)
    again, read = bridge.network_of(model, net.cost.name)
    assert again == net
    bridged.assert_same_bits(read, params)
    record = bridge.gradients_of(model, gradients_of(net, model, x, y))
    bridged.assert_judged(net, params, x, y, record)


@pytest.mark.parametrize("use_bias", [True, False])
def test_an_mlp(use_bias):
    model = eqx.nn.MLP(
        3, 2, 5, depth=2, activation=jax.nn.silu, use_bias=use_bias, key=jax.random.key(1)
    )
    net, params = bridge.network_of(model, "cross_entropy")
    assert net == mbp.Network((3, 5, 5, 2), ("silu", "silu", "softmax"), "cross_entropy")
    assert (params[0].b is None) == (not use_bias)
    _, x, y = bridged.case(net, dtype="float32")
    record = bridge.gradients_of(model, gradients_of(net, model, x, y))
    bridged.assert_judged(net, params, x, y, record)
    assert isinstance(bridge.model_of(net, params), eqx.nn.MLP)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_round_trip_is_exact(dtype):
    net = bridged.network("kinks")
    params, _, _ = bridged.case(net, dtype=dtype)
    bridged.assert_same_bits(bridge.network_of(bridge.model_of(net, params), net.cost)[1], params)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.relu, "relu"),
        (functools.partial(jax.nn.leaky_relu, negative_slope=0.2), "leaky_relu(0.2)"),
        (functools.partial(jax.nn.gelu, approximate=False), "gelu"),
        (jax.nn.gelu, "gelu_tanh"),
        (jax.nn.selu, "selu"),
        (lambda z: z, "identity"),
    ],
)
def test_activations_that_are_recognised(function, name):
    model = eqx.nn.MLP(3, 2, 4, depth=1, activation=function, key=jax.random.key(0))
    assert bridge.network_of(model, "quadratic")[0].activations[0].name == name


def test_what_cannot_be_read():
    key = jax.random.key(0)
    with pytest.raises(TypeError, match=r"^model\[0\]: expected fully .* got equinox.nn.Conv1d"):
        bridge.network_of(eqx.nn.Sequential([eqx.nn.Conv1d(1, 1, 1, key=key)]), "quadratic")
    cubic = eqx.nn.MLP(3, 2, 4, depth=1, activation=lambda z: z**3, key=key)
    with pytest.raises(ValueError, match="is no activation that is recognised"):
        bridge.network_of(cubic, "quadratic")
    with pytest.raises(TypeError, match=r"^model: expected an equinox\.nn\.MLP, got str"):
        bridge.network_of("model", "quadratic")
    model = eqx.nn.MLP(3, 2, 4, depth=1, key=key)
    with pytest.raises(TypeError, match="gradients: expected a MLP like model"):
        bridge.gradients_of(model, [1, 2])
