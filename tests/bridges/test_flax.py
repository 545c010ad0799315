"""Flax models, nnx and linen, read, their gradients judged by `check`, and written back."""

import jax
import jax.numpy as jnp
import pytest

import bridged
import manual_bp as mbp

pytest.importorskip("flax")
from flax import linen, nnx

from manual_bp.bridges import flax as bridge


def nnx_gradients(net, model, x, y):
    return nnx.grad(lambda model: bridged.jax_cost(net, model(x), y))(model)


def linen_gradients(net, module, variables, x, y):
    return jax.grad(lambda v: bridged.jax_cost(net, module.apply(v, x), y))(variables)


@pytest.mark.parametrize("name", bridged.SAMPLE)
@pytest.mark.usefixtures("x64")
def test_gradients_of_nnx_are_right(name):
    net = bridged.network(name)
    params, x, y = bridged.case(net)
    model = bridge.model_of(net, params)
    again, read = bridge.network_of(model, net.cost.name)
    assert again == net
    bridged.assert_same_bits(read, params)
    gradients = bridge.gradients_of(model, nnx_gradients(net, model, x, y))
    bridged.assert_judged(net, params, x, y, gradients)


@pytest.mark.parametrize("name", bridged.SAMPLE)
@pytest.mark.usefixtures("x64")
def test_gradients_of_linen_are_right(name):
    net = bridged.network(name)
    params, x, y = bridged.case(net)
    module, variables = bridge.linen_model_of(net, params)
    again, read = bridge.network_of((module, variables), net.cost.name)
    assert again == net
    bridged.assert_same_bits(read, params)
    gradients = linen_gradients(net, module, variables, x, y)
    record = bridge.gradients_of((module, variables), gradients)
    bridged.assert_judged(net, params, x, y, record)


class Compact(linen.Module):
    @linen.compact
    def __call__(self, x):
        a = jnp.tanh(linen.Dense(5)(x))
        return linen.Dense(2)(a)


def test_a_linen_module_whose_activations_are_code():
    net = mbp.Network((3, 5, 2), ("tanh", "softmax"), "cross_entropy")
    _, x, y = bridged.case(net, dtype="float32")
    module = Compact()
    variables = module.init(jax.random.key(0), x)
    for model in (variables, variables["params"], (module, variables)):
        with pytest.raises(ValueError, match="in the model's code and cannot be read"):
            bridge.network_of(model, "cross_entropy")
        read, params = bridge.network_of(model, "cross_entropy", activations=("tanh", "identity"))
        assert read == net
    gradients = linen_gradients(net, module, variables, x, y)
    record = bridge.gradients_of(variables, gradients)
    bridged.assert_judged(net, params, x, y, record)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_round_trip_is_exact(dtype):
    net = bridged.network("logits")
    params, _, _ = bridged.case(net, dtype=dtype)
    bridged.assert_same_bits(bridge.network_of(bridge.model_of(net, params), net.cost)[1], params)
    linen_model = bridge.linen_model_of(net, params)
    bridged.assert_same_bits(bridge.network_of(linen_model, net.cost)[1], params)


def test_without_biases():
    net = bridged.network("logits")
    params, x, y = bridged.case(net, dtype="float32")
    params = bridged.without_bias(params, 2)
    model = bridge.model_of(net, params)
    bridged.assert_same_bits(bridge.network_of(model, net.cost)[1], params)
    record = bridge.gradients_of(model, nnx_gradients(net, model, x, y))
    bridged.assert_judged(net, params, x, y, record)


def test_what_cannot_be_read():
    rngs = nnx.Rngs(0)
    convolution = nnx.Sequential(nnx.Conv(1, 2, (3,), rngs=rngs))
    with pytest.raises(TypeError, match=r"^model.*: expected fully connected .* got .*Conv"):
        bridge.network_of(convolution, "quadratic")
    linear = nnx.Linear(3, 3, rngs=rngs)
    with pytest.raises(ValueError, match="its weights are those of"):
        bridge.network_of(nnx.Sequential(linear, nnx.tanh, linear), "quadratic")
    with pytest.raises(TypeError, match=r"^model: expected"):
        bridge.network_of("model", "quadratic")
    model = nnx.Sequential(nnx.Linear(3, 2, rngs=rngs))
    with pytest.raises(ValueError, match=r"pass what nnx\.grad gives"):
        bridge.gradients_of(model, {})
