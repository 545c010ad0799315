"""What a layer is handed: in which forms it may come, and how it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp import layers

ones = jnp.ones
BAD = {
    "gamma": (
        lambda: layers.layernorm(ones((4, 7)), ones(5), ones(7)),
        "gamma: expected shape (n,) beside x of shape (4, 7), got (5,)",
    ),
    "beta": (lambda: layers.batchnorm(ones((4, 7)), ones(7), ones((7, 1))), "beta: expected shape"),
    "eps": (
        lambda: layers.rmsnorm(ones((4, 7)), ones(7), -1),
        "eps: expected a number ≥ 0, got -1",
    ),
    "text": (lambda: layers.rmsnorm("x", ones(7)), "x: expected real numbers"),
    "complex": (lambda: layers.rmsnorm(ones((4, 7), complex), ones(7)), "x: expected real numbers"),
    "labels": (
        lambda: layers.softmax_cross_entropy(ones((4, 3)), jnp.array([0, 1, 2])),
        "labels: expected shape (*rows,) beside logits of shape (4, 3), got (3,)",
    ),
    "one-hot": (
        lambda: layers.softmax_cross_entropy(ones((4, 3)), ones(4)),
        "labels: expected whole numbers, got dtype float32",
    ),
    "class": (
        lambda: layers.softmax_cross_entropy(ones((2, 3)), np.array([1, 3])),
        "labels: expected the numbers of the classes, 0 to 2, got 1 to 3",
    ),
    "rate": (
        lambda: layers.dropout(ones(3), jax.random.key(0), 1.0),
        "rate: expected a number ≥ 0 and < 1, got 1.0",
    ),
    "key": (lambda: layers.dropout(ones(3), 0.5), "key: expected a key such as jax.random.key(0)"),
    "ids": (lambda: layers.embedding(ones((5, 2)), np.array([[0, -1]])), "got -1 to 0"),
    "padding_id": (
        lambda: layers.embedding(ones((5, 2)), np.array([0]), 5),
        "padding_id: expected a whole number ≥ 0 up to 4, got 5",
    ),
    "kernel": (
        lambda: layers.conv2d(ones((1, 4, 4, 3)), ones((3, 3, 2, 5))),
        "W: expected shape (k_h, k_w, c_in, c_out) beside x of shape (1, 4, 4, 3)",
    ),
    "large kernel": (
        lambda: layers.conv2d(ones((1, 4, 4, 3)), ones((5, 3, 3, 2)), padding="VALID"),
        "W: the kernel is 5 high, x with its padding 4",
    ),
    "stride": (
        lambda: layers.conv2d(ones((1, 4, 4, 3)), ones((3, 3, 3, 2)), stride=(1, 2, 3)),
        "stride: expected one number or (down, right), got (1, 2, 3)",
    ),
    "padding": (
        lambda: layers.conv2d(ones((1, 4, 4, 3)), ones((3, 3, 3, 2)), padding="same"),
        'padding: expected "SAME", "VALID", a number or',
    ),
    "U": (
        lambda: layers.rnn(ones((5, 2, 3)), ones((2, 4)), ones((4, 3)), ones((4, 3)), ones(4)),
        "U: expected shape (k, k)",
    ),
    "gates": (
        lambda: layers.lstm(
            ones((5, 2, 3)), ones((2, 4)), ones((2, 4)), ones((12, 3)), ones((16, 4)), ones(16)
        ),
        "W: expected shape (4*k, n)",
    ),
    "k": (
        lambda: layers.attention(ones((2, 9, 4)), ones((2, 8, 4)), ones((2, 9, 4))),
        "k: expected shape (*heads, T, d) beside q of shape (2, 9, 4), got (2, 8, 4)",
    ),
    "block": (
        lambda: layers.attention(*ones((3, 9, 4)), block=0),
        "block: expected a whole number ≥ 1, got 0",
    ),
    "V": (lambda: layers.swiglu(ones((2, 3)), ones((5, 3)), ones((4, 3))), "V: expected shape"),
    "empty": (lambda: layers.rmsnorm(ones((0, 7)), ones(7)), "x: expected shape (*rows, n)"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_named(name):
    call, message = BAD[name]
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_shapes_are_checked_while_jax_traces():
    with pytest.raises(
        ValueError, match=r"gamma: expected shape \(n,\) beside x of shape \(4, 7\)"
    ):
        jax.jit(layers.rmsnorm)(ones((4, 7)), ones(5))


def test_all_that_does_not_fit_is_told_at_once():
    with pytest.raises(ValueError, match="2 things do not fit"):
        layers.layernorm(ones((4, 7)), ones(5), ones(6))


def test_lists_numpy_and_whole_numbers_are_read():
    rows = [[1.0, 2.0], [3.0, 5.0]]
    expected = layers.rmsnorm(jnp.array(rows), ones(2))
    assert (layers.rmsnorm(rows, [1, 1]) == expected).all()
    assert (layers.rmsnorm(np.array(rows, "float32"), np.ones(2, int)) == expected).all()
    assert layers.rmsnorm(np.array(rows), np.ones(2)).dtype == np.float64  # nothing is rounded
    assert layers.softmax_cross_entropy(rows, [0, 1]).shape == (2,)


@pytest.mark.parametrize("as_array", [jnp.array, np.array], ids=["JAX", "NumPy"])
def test_labels_may_be_a_constant_of_a_jitted_function(as_array):
    labels = as_array([0, 1])
    C = jax.jit(lambda z: layers.softmax_cross_entropy(z, labels))(ones((2, 3)))
    np.testing.assert_allclose(C, np.log(3), rtol=1e-6)
