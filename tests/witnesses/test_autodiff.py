"""The witness itself: its δ is ∂C/∂z, its gradients those of `cost`, its numbers those by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import HEADS, assert_close, network, random_case, unit_roundoff
from manual_bp import Backprop, Layer, Network, autodiff, cost

U = unit_roundoff("float64")


def test_two_layers_by_hand():
    # identity after ReLU, one example: z¹ = (2, -3), a¹ = (2, 0), z² = a² = 4, y = 1, C = 4½;
    # δ² = 3, δ¹ = (9, 0), dW² = (6, 0), dW¹ = ((18, 9), (0, 0)). All exact.
    f = jnp.array
    net = Network((2, 2, 1), ("relu", "identity"), "quadratic")
    params = (
        Layer(f([[1.0, -1.0], [-1.0, 0.0]]), f([1.0, -1.0])),
        Layer(f([[3.0, 5.0]]), f([-2.0])),
    )
    x, y = f([2.0, 1.0]), f([1.0])
    expected = Backprop(
        cost=f(4.5),
        z=(f([2.0, -3.0]), f([4.0])),
        a=(x, f([2.0, 0.0]), f([4.0])),
        delta=(f([9.0, 0.0]), f([3.0])),
        dW=(f([[18.0, 9.0], [0.0, 0.0]]), f([[6.0, 0.0]])),
        db=(f([9.0, 0.0]), f([3.0])),
    )
    assert_close(autodiff(net, params, x, y), expected)


@pytest.mark.parametrize("m", [None, 7], ids=["example", "batch"])
def test_gradients_are_those_of_cost(x64, m):
    net = network("tanh", HEADS[2], 2, l2=0.3)
    params, x, y = random_case(net, m, 0, "float64")
    step = autodiff(net, params, x, y)
    C, gradients = jax.value_and_grad(lambda params: cost(net, params, x, y))(params)
    # The same operations but for their order: some fifty roundings of sums below 10.
    bound = 50 * 10 * U
    assert_close(step.cost, C, bound)
    assert_close(tuple(map(Layer, step.dW, step.db)), gradients, bound)


def test_delta_is_the_slope_of_the_cost_in_z(x64):
    # Central differences of C in z¹, through the layers after it: (C(z + h) - C(z - h))/2h is off
    # by h²/6 times a third derivative, here below 10, and by C's own rounding over h.
    net = network("tanh", HEADS[2], 2)
    params, x, y = random_case(net, 4, 0, "float64")
    step = autodiff(net, params, x, y)
    (W, b), h = params[1], 1e-5

    @jax.jit
    def C(z):
        return net.cost.mean(jnp.tanh(z) @ W.T + b, None, y, len(y))

    z = step.z[0]
    delta = np.zeros(z.shape)
    for place in np.ndindex(*z.shape):
        delta[place] = (C(z.at[place].add(h)) - C(z.at[place].add(-h))) / (2 * h)
    assert_close(step.delta[0], jnp.asarray(delta), 10 * h**2 / 6 + 100 * U / h)


def test_one_example_is_a_batch_of_one_row(x64):
    net = network("sigmoid", HEADS[0], 2)
    params, x, y = random_case(net, None, 0, "float64")
    one, row = autodiff(net, params, x, y), autodiff(net, params, x[None], y[None])
    squeezed = row._replace(
        **{q: tuple(v[0] for v in getattr(row, q)) for q in ("z", "a", "delta")}
    )
    assert_close(one, squeezed, 50 * 10 * U)  # some fifty roundings of sums below 10
    assert_close(one.db, one.delta)


def test_l2_is_of_weights_alone(x64):
    net, plain = (network("tanh", HEADS[0], 2, l2) for l2 in (0.5, 0.0))
    params, x, y = random_case(net, 4, 0, "float64")
    with_l2, without = autodiff(net, params, x, y), autodiff(plain, params, x, y)
    assert_close(with_l2.db, without.db, 50 * U)
    assert_close(with_l2.delta, without.delta, 50 * U)
    expected = tuple(dW + 0.5 * W for dW, (W, b) in zip(without.dW, params, strict=True))
    assert_close(with_l2.dW, expected, 50 * 10 * U)
