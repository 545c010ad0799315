"""Keras models read, their gradients judged by `check`, and written back bit for bit."""

import jax
import numpy as np
import pytest

import bridged
import manual_bp as mbp

keras = pytest.importorskip("keras")
from manual_bp.bridges import keras as bridge  # noqa: E402


def gradients_of(net, model, x, y):
    """By JAX, through `stateless_call`, as Keras' own training takes them."""
    others = [v.value for v in model.non_trainable_variables]

    def C(variables):
        return bridged.jax_cost(net, model.stateless_call(variables, others, x)[0], y)

    return jax.grad(C)([v.value for v in model.trainable_variables])


@pytest.mark.parametrize("name", bridged.SAMPLE)
def test_gradients_are_right(name):
    net = bridged.network(name)
    params, x, y = bridged.case(net, dtype="float32")
    model = bridge.model_of(net, params)
    again, read = bridge.network_of(model, net.cost.name)
    assert again == net
    bridged.assert_same_bits(read, params)
    record = bridge.gradients_of(model, gradients_of(net, model, x, y))
    bridged.assert_judged(net, params, x, y, record)


def test_a_functional_model():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(5, "relu")(inputs)
    outputs = keras.layers.Dense(2, use_bias=False)(keras.layers.Dropout(0.5)(hidden))
    model = keras.Model(inputs, outputs)
    net, params = bridge.network_of(model, "cross_entropy")
    assert net == mbp.Network((3, 5, 2), ("relu", "softmax"), "cross_entropy")
    assert params[1].b is None
    _, x, y = bridged.case(net, dtype="float32")
    record = bridge.gradients_of(model, gradients_of(net, model, x, y))
    bridged.assert_judged(net, params, x, y, record)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_round_trip_is_exact(dtype):
    net = bridged.network("logits")
    params, _, _ = bridged.case(net, dtype=dtype)
    bridged.assert_same_bits(bridge.network_of(bridge.model_of(net, params), net.cost)[1], params)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("relu", "relu"),
        ("leaky_relu", "leaky_relu(0.2)"),
        ("selu", "selu"),
        ("hard_sigmoid", "hard_sigmoid"),
        ("softsign", "softsign"),
        (None, "identity"),
    ],
)
def test_activations_that_are_recognised(activation, name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation)])
    assert bridge.network_of(model, "quadratic")[0].activations[0].name == name


def test_what_cannot_be_read():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    with pytest.raises(TypeError, match=r"expected fully connected .* got .*BatchNormalization"):
        bridge.network_of(model, "quadratic")
    with pytest.raises(TypeError, match=r"^model: expected"):
        bridge.network_of("model", "quadratic")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="one for each of the 2 trainable_variables"):
        bridge.gradients_of(model, [np.ones((3, 2))])
