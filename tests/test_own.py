"""A user's own σ and C, held to what they claim when a network is made with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp import Activation, Cost, Network


def network(sigma="tanh", cost="quadratic"):
    return Network((3, 2), (sigma,), cost)


def squares(a, y):
    return ((a - y) ** 2).sum(axis=-1)


RIGHT = {
    "cube": Activation("cube", lambda z: z**3, lambda z: 3 * z**2),
    "of a": Activation("mine", jnp.tanh, lambda a: 1 - a * a, "a"),
    "kinks": Activation(
        "kinks",
        lambda z: jnp.maximum(z, 0) + jnp.abs(z - 1),
        lambda z: jnp.where(z > 0, 1.0, 0.0) + jnp.sign(z - 1),
    ),
    "of half a line": Activation("log", jnp.log, lambda z: 1 / z),
    "that overflows": Activation(
        "steep", lambda z: jnp.exp(z * z), lambda z: 2 * z * jnp.exp(z * z)
    ),
    "steps": Activation("steps", jnp.round, jnp.zeros_like),
    "small": Activation("small", lambda z: 1e-9 * z**2, lambda z: 2e-9 * z),
}
WRONG = {
    "a factor": (
        Activation("cube", lambda z: z**3, lambda z: 2 * z**2),
        r"the σ′ of your 'cube' is not the derivative of its σ: at z = -0.8626 it gives 1.488\d*, "
        r"and the derivative is 2.232\d*; correct",
    ),
    "of a": (Activation("mine", jnp.tanh, lambda a: 1 - a, "a"), "the σ′ of your 'mine' is not"),
    "one in a million": (
        Activation("mine", jnp.tanh, lambda a: 1 - a * a + 1e-6, "a"),
        "the σ′ of your 'mine' is not",
    ),
    "far out alone": (
        Activation("soft", lambda z: z**2, lambda z: jnp.clip(2 * z, -40, 40)),
        "at z = -23|at z = 23",
    ),
    "a for z": (Activation("mine", jnp.tanh, lambda a: 1 - a * a), "say of='a'"),
    "z for a": (Activation("cube", lambda z: z**3, lambda z: 3 * z**2, "a"), "say of='z'"),
    "another dtype": (
        Activation("half", lambda z: z.astype(jnp.float16), jnp.ones_like),
        r"must be element-wise, with shape and dtype kept: .* gives float16",
    ),
    "another shape": (Activation("sum", jnp.sum, jnp.ones_like), r"gives float32 \(\)"),
    "of all elements": (
        Activation("mine", jax.nn.softmax, lambda a: a * (1 - a), "a"),
        "the σ of your 'mine' is not element-wise",
    ),
    "of NumPy": (
        Activation("mine", lambda z: np.tanh(np.asarray(z)), lambda z: 1 - np.tanh(z) ** 2),
        "the σ of your 'mine' raised TracerArrayConversionError",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_sigma_is_taken(name):
    assert network(RIGHT[name]).activations == (RIGHT[name],)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sigma_is_told_as_the_users(name):
    sigma, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"^activations\[0\]: .*({message})"):
        network(sigma)


def test_a_wrong_sigma_is_told_once_however_many_layers_have_it():
    sigma, _ = WRONG["a factor"]
    with pytest.raises(ValueError, match=r"^activations\[1\]: ") as refusal:
        Network((3, 4, 5, 2), ("tanh", sigma, sigma), "quadratic")
    assert str(refusal.value).count("is not the derivative") == 1


def test_a_sigma_is_looked_at_once_and_within_jit():
    calls = []

    def sigma(z):
        calls.append(z)
        return z**3

    own = Activation("noted", sigma, lambda z: 3 * z**2)

    @jax.jit
    def made_inside(x):
        return x * Network((3, 2), (own,), "quadratic").depth

    assert made_inside(2.0) == 2
    assert calls
    calls.clear()
    network(own)
    assert calls == []


TAKEN = {
    "gradient": ("tanh", Cost("mine", squares, lambda a, y: 2 * (a - y))),
    "softmax and one-hot": (
        "softmax",
        Cost("ce", lambda a, y: -(y * jnp.log(a)).sum(axis=-1), delta=lambda a, y: a - y),
    ),
    "of z": (
        "sigmoid",
        Cost(
            "bce",
            lambda z, y: (jnp.logaddexp(z, 0) - y * z).sum(axis=-1),
            lambda a, y: (a - y) / (a * (1 - a)),
            of="z",
        ),
    ),
    "targets -1 and 1 alone": (
        "tanh",
        Cost(
            "margin",
            lambda a, y: ((1 - y * a) ** 2).sum(axis=-1),
            lambda a, y: 2 * (a - y),  # since y² = 1
            targets=(-1, 1),
        ),
    ),
    "with kinks": (
        "relu",
        Cost("l1", lambda a, y: jnp.abs(a - y).sum(-1), lambda a, y: jnp.sign(a - y)),
    ),
}
REFUSED = {
    "a factor": (
        "tanh",
        Cost("mine", squares, lambda a, y: a - y),
        r"the gradient of your 'mine' is not the derivative of its value: at a = .*, y = .* it",
    ),
    "1/m": (
        "tanh",
        Cost("mine", squares, lambda a, y: 2 * (a - y) / len(a)),
        "leave the mean's 1/m to the library",
    ),
    "delta of another σ": (
        "tanh",
        Cost("mine", squares, delta=lambda a, y: 2 * (a - y) * a * (1 - a)),
        r"the delta of your 'mine' is not the derivative of its value of σ\(z\), with σ = tanh",
    ),
    "no sum": (
        "tanh",
        Cost("mine", lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y)),
        r"one number for each example, of shape \(7,\) .* got \(7, 2\); sum over the outputs",
    ),
    "a sum too many": (
        "tanh",
        Cost("mine", squares, lambda a, y: 2 * (a - y).sum(axis=-1)),
        r"the gradient of your 'mine' must have the shape of the outputs, \(7, 2\), got \(7,\)",
    ),
    "that raises": ("tanh", Cost("mine", lambda a, y: 1 / 0, squares), "raised ZeroDivisionError"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_right_cost_is_taken(name):
    sigma, cost = TAKEN[name]
    assert network(sigma, cost).cost is cost


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_cost_is_told_as_the_users(name):
    sigma, cost, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^cost: .*{message}"):
        network(sigma, cost)
