"""The lean steps: held to the page, bit for bit where the order is the same, and their memory."""

import jax
import jax.numpy as jnp
import pytest

from helpers import (
    DTYPES,
    ELEMENTWISE,
    HEADS,
    assert_close,
    network,
    random_case,
    rounding_bound,
    widened,
)
from manual_bp import (
    Backprop,
    Layer,
    Network,
    autodiff,
    backprop,
    compare,
    forward,
    predict,
    value_and_grad,
)
from manual_bp.lean import part_size


def layers(record):
    return tuple(Layer(*pair) for pair in zip(record.dW, record.db, strict=True))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_bit_for_bit_the_page(name):
    """The same operations in the same order, so that not one number changes.

    Where z is tied, the compiler may fuse σ otherwise the second time: there it is held to the page
    operation by operation, and to its bound below.
    """
    i = ELEMENTWISE.index(name)
    output, cost = HEADS[i % 4]
    # Of one width: each operation is compiled for one shape. Exchanged axes change the numbers.
    net = Network((5,) * 4, (name, name, output or name), cost, l2=0.1)
    case = random_case(net, 7, i, DTYPES[i % 3])
    with jax.disable_jit(net.sigma[1].of == "z"):
        step = backprop(net, *case)
        assert_close(value_and_grad(net)(*case), (step.cost, layers(step)))


@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_value_and_grad_is_backprop_and_the_gradient_of_cost(name):
    # These two compute a again from a tied z, and `value_and_grad` does not return the first a.
    net = network(name, HEADS[2], 2)
    params, x, y = case = random_case(net, 7, 0, "float32")
    C, gradients = value_and_grad(net)(*case)
    with jax.enable_x64(True):
        exact = autodiff(net, *widened(case))
        bound = rounding_bound(net, *case, exact, "float32")
    assert_close(
        (C, gradients), (exact.cost, layers(exact)), (bound.cost, layers(bound)), dtype=x.dtype
    )
    through = jax.grad(lambda params: value_and_grad(net)(params, x, y)[0])(params)
    assert_close(through, layers(exact), layers(bound), dtype=x.dtype)
    step = backprop(net, *case)
    assert_close(
        (C, gradients),
        (step.cost, layers(step)),
        jax.tree.map(lambda e: 2 * e, (bound.cost, layers(bound))),
    )


# ── Microbatches ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 3, 4, 7, 20])  # of 7: short last parts, and none
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_in_parts_is_within_the_bounds_of_the_whole(size, dtype):
    """The order of summation is another, which no bound depends on; the penalty counts once."""
    net = Network((5, 4, 3), ("silu", "softmax"), "cross_entropy", l2=0.1, l2_biases=True)
    params, x, y = case = random_case(net, 7, 0, dtype)
    C, gradients = value_and_grad(net, microbatch=size)(*case)
    assert C.dtype == gradients[0].W.dtype == x.dtype
    record = Backprop(
        C, dW=tuple(layer.W for layer in gradients), db=tuple(layer.b for layer in gradients)
    )
    found = compare(net, params, x, y, subject=record)
    assert not found.disagreements, found
    assert not found.notes


def test_auto_takes_as_many_as_fit_in_the_cache_and_twice_the_widest_layer_at_least():
    assert part_size(Network((256,) * 17, ("relu",) * 16, "quadratic"), "auto") == 512
    assert part_size(Network((2048,) * 5, ("relu",) * 4, "quadratic"), "auto") == 4096
    assert part_size(Network((4, 3), ("relu",), "quadratic"), "auto") > 100_000
    assert part_size(Network((4, 3), ("relu",), "quadratic"), None) is None


def test_memory_does_not_grow_with_the_batch():
    net = Network((64,) * 9, ("relu",) * 8, "quadratic")
    array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    params = tuple(Layer(array(64, 64), array(64)) for _ in range(8))

    def temporaries(m, microbatch):
        program = jax.jit(value_and_grad(net, microbatch))
        compiled = program.lower(params, array(m, 64), array(m, 64)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = (temporaries(m, 256) for m in (2**10, 2**16))
    assert 0 < large < 1.5 * small
    assert temporaries(2**16, None) > 30 * large


def test_a_microbatch_that_is_none_is_refused():
    net = Network((4, 3), ("relu",), "quadratic")
    with pytest.raises(ValueError, match=r"microbatch: unknown 'atuo'; did you mean 'auto'"):
        value_and_grad(net, "atuo")
    with pytest.raises(ValueError, match="microbatch: expected a whole number ≥ 1, got 0"):
        value_and_grad(net, 0)
    with pytest.raises(TypeError, match="microbatch: expected a whole number ≥ 1, got True"):
        value_and_grad(net, True)


# ── predict ──────────────────────────────────────────────────────────────────────────────────────


def test_predict_is_the_output_of_forward():
    net = network("tanh", HEADS[2], 2)
    params, x, _ = random_case(net, 7, 0, "float32")
    assert_close(predict(net, params, x), forward(net, params, x)[1][-1])
    assert_close(predict(net, params, x[0]), forward(net, params, x[0])[1][-1])


def test_predict_gives_classes():
    # z = x: the largest of each row; of one output, whether it is above ½.
    net = Network((2, 2), ("softmax",), "cross_entropy")
    params, x = (Layer(jnp.eye(2), jnp.zeros(2)),), jnp.array([[1.0, 2.0], [3.0, -1.0]])
    assert predict(net, params, x, classes=True).tolist() == [1, 0]
    assert int(predict(net, params, x[1], classes=True)) == 0
    one = Network((2, 1), ("sigmoid",), "binary_cross_entropy")
    params = (Layer(jnp.array([[1.0, 0.0]]), jnp.array([-2.0])),)
    assert predict(one, params, x, classes=True).tolist() == [0, 1]


def test_predict_checks():
    net = network("tanh", HEADS[2], 2)
    params, x, _ = random_case(net, 7, 0, "float32")
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 3\)"):
        predict(net, params, x[:, :2])


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────

JAX_NN = {"relu": jax.nn.relu, "gelu": lambda z: jax.nn.gelu(z, approximate=False)}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the figure is that of XLA on the CPU")
@pytest.mark.parametrize("name", JAX_NN)
def test_value_and_grad_keeps_one_array_a_layer(name):
    depth, n, m = 17, 64, 1024
    net = Network((n,) * (depth + 1), (name,) * (depth - 1) + ("softmax",), "cross_entropy")

    def usual(params, x, y):
        for W, b in params[:-1]:
            x = JAX_NN[name](x @ W.T + b)
        W, b = params[-1]
        return -(y * jax.nn.log_softmax(x @ W.T + b)).sum(axis=-1).mean()

    array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    params = tuple(Layer(array(n, n), array(n)) for _ in range(depth))
    by_hand, by_autodiff = (
        jax.jit(function)
        .lower(params, array(m, n), array(m, n))
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for function in (value_and_grad(net), jax.value_and_grad(usual))
    )
    # Half, where autodiff keeps both z and a; and what both need besides.
    assert 0 < by_hand <= 0.6 * by_autodiff


def test_the_class_of_one_output_is_the_nearer_target():
    params = (Layer(jnp.ones((1, 1)), jnp.zeros(1)),)
    x = jnp.array([[-0.2], [0.0], [0.3], [0.5], [0.7]])
    for cost, classes in (("quadratic", [0, 0, 0, 1, 1]), ("hinge", [0, 1, 1, 1, 1])):
        net = Network((1, 1), ("identity",), cost)
        assert predict(net, params, x, classes=True).tolist() == classes
