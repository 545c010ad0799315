"""Each equation against numbers by hand, all of them against autodiff, and JAX's laws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import (
    DTYPES,
    ELEMENTWISE,
    HEADS,
    assert_close,
    network,
    random_case,
    rounding_bound,
    unit_roundoff,
    widened,
)
from manual_bp import (
    Activation,
    Backprop,
    Layer,
    Network,
    autodiff,
    backprop,
    bias_gradient,
    forward,
    hidden_delta,
    output_delta,
    update,
    value_and_grad,
    weight_gradient,
    weighted_input,
)
from planting import plant

f = jnp.array
LINEAR = Network((2, 2), ("identity",), "quadratic")
CLASSIFIER = network("tanh", HEADS[2], 2)

# ── Each equation, by hand ───────────────────────────────────────────────────────────────────────
# Small integers and halves: every product and sum is exact, so nothing is allowed.

W = f([[1.0, -2.0], [3.0, 0.5]])
b = f([0.5, -1.0])


@pytest.mark.parametrize("batch", [False, True], ids=["example", "batch"])
def test_forward_by_hand(batch):
    # x = (2, 1):  W x + b = (2 - 2 + ½, 6 + ½ - 1) = (½, 5½)
    # x = (0, -2): W x + b = (4 + ½, -1 - 1) = (4½, -2), and ReLU makes the -2 a 0
    net = Network((2, 2), ("relu",), "quadratic")
    x, z = f([[2.0, 1.0], [0.0, -2.0]]), f([[0.5, 5.5], [4.5, -2.0]])
    a = f([[0.5, 5.5], [4.5, 0.0]])
    if not batch:
        x, z, a = x[0], z[0], a[0]
    assert_close(forward(net, (Layer(W, b),), x), ((z,), (x, a)))


@pytest.mark.parametrize("batch", [False, True], ids=["example", "batch"])
def test_bp1_quadratic_by_hand(batch):
    # tanh′ = 1 - a². a = (½, 0), y = (1, 2): (a - y) ⊙ σ′ = (-½ · ¾, -2 · 1) = (-⅜, -2)
    # a = (-½, ½), y = (½, ½): (-1 · ¾, 0) = (-¾, 0). In a batch of two, each over 2.
    net = Network((2, 2), ("tanh",), "quadratic")
    a, y = f([[0.5, 0.0], [-0.5, 0.5]]), f([[1.0, 2.0], [0.5, 0.5]])
    delta = f([[-0.375, -2.0], [-0.75, 0.0]])
    z = jnp.full_like(a, jnp.nan)  # tanh′ is had from a: z is not read
    if batch:
        assert_close(output_delta(net, z, a, y, 2), delta / 2)
    else:
        assert_close(output_delta(net, z[0], a[0], y[0], 1), delta[0])


@pytest.mark.parametrize(
    "pair", [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
)
@pytest.mark.parametrize("batch", [False, True], ids=["example", "batch"])
def test_bp1_where_sigma_prime_cancels_by_hand(pair, batch):
    # a - y: (¼ - 0, ¾ - 1) and (½ - 1, ½ - 0); in a batch of two, each over 2.
    net = Network((2, 2), pair[:1], pair[1])
    a, y = f([[0.25, 0.75], [0.5, 0.5]]), f([[0.0, 1.0], [1.0, 0.0]])
    delta = f([[0.25, -0.25], [-0.5, 0.5]])
    z = jnp.full_like(a, jnp.nan)
    if batch:
        assert_close(output_delta(net, z, a, y, 2), delta / 2)
    else:
        assert_close(output_delta(net, z[0], a[0], y[0], 1), delta[0])


def test_bp1_softmax_with_quadratic_by_hand():
    # The Jacobian's product, aⱼ(gⱼ - Σ gₖaₖ) with g = a - y:
    # a = (¼, ¾), y = (0, 1): g = (¼, -¼), Σ = 1/16 - 3/16 = -⅛; δ = (¼ · ⅜, ¾ · -⅛) = (3/32, -3/32)
    net = Network((2, 2), ("softmax",), "quadratic")
    a, y = f([0.25, 0.75]), f([0.0, 1.0])
    assert_close(output_delta(net, a, a, y, 1), f([0.09375, -0.09375]))
    two = jnp.stack([a, a]), jnp.stack([y, y])
    assert_close(output_delta(net, two[0], *two, 2), f([[0.046875, -0.046875]] * 2))


@pytest.mark.parametrize("batch", [False, True], ids=["example", "batch"])
def test_bp2_by_hand(batch):
    # W is 2x3; Wᵀδ of δ = (1, -1) is (1 - 0, 2 + 1, 3 - 2) = (1, 3, 1), ⊙ (1, ½, 0) = (1, 1½, 0)
    # of δ = (2, 1): (2 + 0, 4 - 1, 6 + 2) = (2, 3, 8), ⊙ (½, 1, ¼) = (1, 3, 2)
    W_next = f([[1.0, 2.0, 3.0], [0.0, -1.0, 2.0]])
    delta, sigma_prime = f([[1.0, -1.0], [2.0, 1.0]]), f([[1.0, 0.5, 0.0], [0.5, 1.0, 0.25]])
    expected = f([[1.0, 1.5, 0.0], [1.0, 3.0, 2.0]])
    if not batch:
        delta, sigma_prime, expected = delta[0], sigma_prime[0], expected[0]
    assert_close(hidden_delta(W_next, delta, sigma_prime), expected)


def test_step_1_by_hand():
    # (2, 1): (2 - 2 + ½, 6 + ½ - 1) = (½, 5½), and (0, -2): (4 + ½, -1 - 1) = (4½, -2)
    x, z = f([[2.0, 1.0], [0.0, -2.0]]), f([[0.5, 5.5], [4.5, -2.0]])
    assert_close(weighted_input(W, b, x), z)
    assert_close(weighted_input(W, b, x[0]), z[0])


def test_bp3_by_hand():
    # One example: δ itself. Two: (1 + 2, -1 + 1) = (3, 0).
    assert_close(bias_gradient(f([1.0, -1.0])), f([1.0, -1.0]))
    assert_close(bias_gradient(f([[1.0, -1.0], [2.0, 1.0]])), f([3.0, 0.0]))


def test_bp4_by_hand():
    # The outer product of δ = (1, -1) and a = (2, 0, 3), and its sum with a second one.
    one = f([[2.0, 0.0, 3.0], [-2.0, 0.0, -3.0]])
    other = f([[2.0, 2.0, 0.0], [1.0, 1.0, 0.0]])
    delta, a = f([[1.0, -1.0], [2.0, 1.0]]), f([[2.0, 0.0, 3.0], [1.0, 1.0, 0.0]])
    assert_close(weight_gradient(delta[0], a[0]), one)
    assert_close(weight_gradient(delta, a), one + other)


def test_update_by_hand():
    # W - ½ dW and b - ½ db
    dW, db = f([[2.0, 4.0], [-2.0, 1.0]]), f([1.0, 0.0])
    (after,) = update((Layer(W, b),), (Layer(dW, db),), 0.5)
    assert_close(after, Layer(f([[0.0, -4.0], [4.0, 0.0]]), f([0.0, -1.0])))


def test_two_layers_by_hand():
    # identity after ReLU, one example, quadratic cost.
    #   z¹ = (1·2 - 1·1, -1·2 + 0·1) + (1, -1) = (2, -3), a¹ = (2, 0)
    #   z² = 3·2 + 5·0 - 2 = 4 = a²,  y = 1: C = 4½
    #   δ² = 3;  δ¹ = (3·3, 5·3) ⊙ (1, 0) = (9, 0)
    #   dW² = 3 · (2, 0), db² = 3;  dW¹ = (9, 0)ᵀ(2, 1) = ((18, 9), (0, 0)), db¹ = (9, 0)
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
    assert_close(backprop(net, params, x, y), expected)
    # As a batch of one row the same, with the batch axis.
    rows = lambda arrays: tuple(v[None] for v in arrays)  # noqa: E731
    batch = expected._replace(z=rows(expected.z), a=rows(expected.a), delta=rows(expected.delta))
    assert_close(backprop(net, params, x[None], y[None]), batch)
    # Twice the same example: the mean leaves C and the gradients, and halves each δ.
    twice = lambda arrays: tuple(jnp.stack([v, v]) for v in arrays)  # noqa: E731
    batch = expected._replace(
        z=twice(expected.z), a=twice(expected.a), delta=twice([d / 2 for d in expected.delta])
    )
    assert_close(backprop(net, params, jnp.stack([x, x]), jnp.stack([y, y])), batch)


# ── All of it, against autodiff in float64 ───────────────────────────────────────────────────────

BATCHES = (None, 1, 7)
DEPTHS = (1, 2, 3, 4)
SAMPLE = [
    (name, HEADS[i % 4], dtype, DEPTHS[(i + i // 4) % 4], BATCHES[i % 3])
    for i, name in enumerate(ELEMENTWISE)
    for dtype in (DTYPES[i % 2], DTYPES[2 + i % 2])
]
ALL = list(itertools.product(ELEMENTWISE, HEADS, DTYPES, DEPTHS, BATCHES))


def name_of(case):
    hidden, (output, cost), dtype, depth, m = case
    return f"{hidden}-{output or hidden}-{cost}-{dtype}-L{depth}-m{m}"


@functools.cache
def jitted(function, net):
    """One jitted function for each network, so that cases that share it compile autodiff once."""
    return jax.jit(functools.partial(function, net))


def check_against_autodiff(case, l2=0.0):
    hidden, head, dtype, depth, m = case
    net = network(hidden, head, depth, l2)
    params, x, y = random_case(net, m, depth, dtype)
    step = jitted(backprop, net)(params, x, y)
    exact = jitted(autodiff, net)(*widened((params, x, y)))
    assert_close(step, exact, rounding_bound(net, params, x, y, exact, dtype), dtype=dtype)


@pytest.mark.parametrize("case", SAMPLE, ids=name_of)
def test_agrees_with_autodiff(x64, case):
    check_against_autodiff(case)


@pytest.mark.sweep
@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_agrees_with_autodiff_everywhere(x64, case):
    check_against_autodiff(case)


def test_agrees_with_autodiff_under_a_penalty(x64):
    check_against_autodiff(("sigmoid", HEADS[2], "float32", 2, 7), l2=0.3)


def test_the_sample_has_each_of_everything():
    for position, values in enumerate((ELEMENTWISE, HEADS, DTYPES, DEPTHS, BATCHES)):
        assert {case[position] for case in SAMPLE} == set(values)
    assert set(SAMPLE) <= set(ALL)


def test_the_cases_hide_nothing():
    for dtype in DTYPES[:3]:
        (W, b), *_ = params = random_case(network("relu", HEADS[0], 4), 7, 0, dtype)[0]
        x = random_case(network("relu", HEADS[0], 4), 7, 0, dtype)[1]
        W, b, x = (np.asarray(v, float) for v in (W, b, x))
        assert W[0] @ x[0] + b[0] == 0  # exactly at the kink
        for v in jax.tree.leaves(params):
            assert (np.asarray(v, float) != 0).all()
            assert len(set(np.sign(np.asarray(v, float)).ravel())) == 2


# The same, with a mistake planted: the comparison has to fail.


PLANTED = {
    "forward": ("bias_omitted", "z", 1),
    "BP1": ("ascent_sign", "BP1", 2),
    "BP2": ("no_hidden_derivative", "BP2", 1),
    "BP3": ("bias_averaged", "BP3", 1),
    "BP4": ("accumulated", "BP4", 1),
}


@pytest.fixture(scope="module")
def classified():
    with jax.enable_x64(True):
        case = random_case(CLASSIFIER, 7, 0, "float32")
        exact = autodiff(CLASSIFIER, *widened(case))
        return case, exact, rounding_bound(CLASSIFIER, *case, exact, "float32")


@pytest.mark.parametrize("mistake", [None, *PLANTED])
def test_a_planted_mistake_is_seen(classified, mistake):
    case, exact, bound = classified
    step = plant((CLASSIFIER, *case), *([PLANTED[mistake]] if mistake else []))
    if mistake is None:
        assert_close(step, exact, bound, dtype="float32")
    else:
        with pytest.raises(AssertionError, match="apart"):
            assert_close(step, exact, bound, dtype="float32")


def test_a_planted_mistake_in_the_update_is_seen(classified):
    (params, x, y), exact, bound = classified
    _, gradients = value_and_grad(CLASSIFIER)(params, x, y)
    after = update(params, gradients, 0.5)
    with jax.enable_x64(True):
        layers = [Layer(*dwb) for dwb in zip(exact.dW, exact.db, strict=True)]
        expected = [
            Layer(*(jnp.asarray(np.asarray(w, float) - 0.5 * np.asarray(dw)) for w, dw in pair))
            for pair in map(lambda own, slope: zip(own, slope, strict=True), params, layers)
        ]
        # Half the gradient's error, and two roundings of numbers below 2.
        bounds = [
            Layer(*(0.5 * e + 4 * unit_roundoff("float32") for e in dwb))
            for dwb in zip(bound.dW, bound.db, strict=True)
        ]
        assert_close(list(after), expected, bounds, dtype="float32")
        with pytest.raises(AssertionError, match="apart"):
            assert_close(list(update(params, gradients, -0.5)), expected, bounds, dtype="float32")


# ── What must stay exact ─────────────────────────────────────────────────────────────────────────


def test_a_dead_relu_has_no_gradient():
    net = network("relu", HEADS[2], 3)
    (first, second, third), x, y = random_case(net, 7, 0, "float32")
    dead = Layer(second.W, jnp.full_like(second.b, -100.0))
    step = backprop(net, (first, dead, third), x, y)
    assert not any(v.any() for v in (*step.delta[:2], *step.dW, *step.db[:2]))  # exactly
    assert step.delta[2].any()
    assert step.db[2].any()


def test_saturated_sigmoids():
    # z¹ = ±1e4: a¹ is 0 or 1 and σ′ 0, exactly. z² = 1e4 · 1 with y = 0: C = 1e4, δ² = 1.
    net = Network((1, 2, 1), ("sigmoid", "sigmoid"), "binary_cross_entropy")
    params = (Layer(f([[1e4], [-1e4]]), f([0.0, 0.0])), Layer(f([[1e4, 1e4]]), f([0.0])))
    step = backprop(net, params, f([1.0]), f([0.0]))
    assert_close(step.cost, f(1e4))
    assert_close(step.delta, (f([0.0, 0.0]), f([1.0])))
    assert_close(step.dW, (f([[0.0], [0.0]]), f([[1.0, 0.0]])))


@pytest.mark.parametrize("name", ["tanh", "silu"])
def test_nan_shows(name):
    net = network(name, HEADS[0], 2)
    params, x, y = random_case(net, 7, 0, "float32")
    _, gradients = jax.jit(value_and_grad(net))(params, x, y.at[3, 0].set(jnp.nan))
    assert jnp.isnan(gradients[0].W).all()
    assert jnp.isnan(gradients[1].W[0]).all()


# ── JAX's laws ───────────────────────────────────────────────────────────────────────────────────


def test_same_without_jit(classified):
    case, exact, bound = classified
    with jax.disable_jit():
        step = backprop(CLASSIFIER, *case)
    assert_close(step, exact, bound, dtype="float32")


def test_composes_with_jit(classified):
    case, _, bound = classified
    inside = jax.jit(lambda *call: backprop(CLASSIFIER, *call))(*case)
    assert_close(inside, backprop(CLASSIFIER, *case), jax.tree.map(lambda e: 2 * e, bound))


def test_no_retrace_for_the_same_shapes():
    traced = []

    def counted(z):
        traced.append(z.shape)
        return jnp.tanh(z)

    slope = lambda a: 1 - a * a  # noqa: E731
    for seed in range(3):
        # An equal network each time, not the same object; the first one looks at its σ.
        net = Network((3, 2), (Activation("counted", counted, slope, "a"),), "quadratic")
        case = random_case(net, 7, seed, "float32")
        if seed == 0:
            traced.clear()
        backprop(net, *case)
    assert traced == [(7, 2)]
    backprop(net, *random_case(net, 4, 0, "float32"))
    assert traced == [(7, 2), (4, 2)]


def test_vmap_gives_what_the_batch_adds_up(classified):
    (params, x, y), exact, bound = classified
    each = jax.vmap(lambda x, y: backprop(CLASSIFIER, params, x, y))(x, y)
    m = x.shape[0]
    assert_close(each.z, exact.z, bound.z, dtype="float32")
    # An example's own cost has no 1/m. Its mean over the examples is one sum of m more.
    u = unit_roundoff("float32") * (m + 2)
    scaled = tuple(d / m for d in each.delta)
    more = lambda e, v: e + u * np.abs(v)  # noqa: E731
    assert_close(scaled, exact.delta, jax.tree.map(more, bound.delta, exact.delta), dtype="float32")
    for of_each, of_batch, e in ((each.dW, exact.dW, bound.dW), (each.db, exact.db, bound.db)):
        absolute = tuple(np.abs(v).mean(axis=0) for v in of_each)
        mean = tuple(v.mean(axis=0) for v in of_each)
        assert_close(mean, of_batch, jax.tree.map(more, e, absolute), dtype="float32")


def test_composes_with_scan(x64):
    net = Network((3, 2), ("sigmoid",), "quadratic")
    params, x, y = random_case(net, 12, 0, "float64")
    batches = x.reshape(4, 3, 3), y.reshape(4, 3, 2)

    def step(params, batch):
        C, gradients = value_and_grad(net)(params, *batch)
        return update(params, gradients, 0.5), C

    after, costs = jax.lax.scan(step, params, batches)
    by_hand, each = params, []
    for batch in zip(*batches, strict=True):
        by_hand, C = step(by_hand, batch)
        each.append(C)
    # Four steps of some twenty roundings of numbers below 4.
    bound = 4 * 20 * 4 * unit_roundoff("float64")
    assert_close(after, by_hand, bound)
    assert_close(costs, jnp.stack(each), bound)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_second_derivatives_agree_with_autodiff(x64, name):
    net = network(name, HEADS[2], 2)
    params, x, y = random_case(net, 4, 0, "float64")
    along, _, _ = random_case(net, 4, 1, "float64")

    def slope(gradient):
        def of(params):
            step = gradient(net, params, x, y)
            weights = sum((dW * v.W).sum() for dW, v in zip(step.dW, along, strict=True))
            return weights + sum((db * v.b).sum() for db, v in zip(step.db, along, strict=True))

        return jax.jit(jax.grad(of))(params)

    # Some hundred roundings on the way, of sums of up to 4 · 6 products of numbers below 2 each.
    assert_close(slope(backprop), slope(autodiff), 100 * 24 * 4 * unit_roundoff("float64"))


@pytest.mark.parametrize("kind", [tuple, list])
def test_gradients_have_the_structure_of_params(kind):
    net = Network((3, 2), ("sigmoid",), "quadratic")
    params, x, y = random_case(net, 7, 0, "float32")
    params = kind(params)
    _, gradients = value_and_grad(net)(params, x, y)
    assert jax.tree.structure(gradients) == jax.tree.structure(params)
    optimiser = optax.sgd(0.5)
    updates, _ = optimiser.update(gradients, optimiser.init(params), params)
    # The same step but for the order of one product and one difference.
    expected = update(params, gradients, 0.5)
    assert jax.tree.structure(expected) == jax.tree.structure(params)
    assert_close(optax.apply_updates(params, updates), expected, 8 * unit_roundoff("float32"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_update_keeps_the_dtype(x64, dtype):
    params, _, _ = random_case(LINEAR, 1, 0, dtype)
    for eta in (0.5, jnp.float32(0.5), np.float64(0.5)):
        after = update(params, params, eta)
        assert_close(after, jax.tree.map(lambda w: w / 2, params))  # halves are exact


def test_strict_promotion_of_dtypes():
    net = network("gelu_tanh", HEADS[3], 2, l2=0.1)
    case = random_case(net, 7, 0, "bfloat16")
    with jax.numpy_dtype_promotion("strict"):
        step = jax.eval_shape(lambda *call: backprop(net, *call), *case)
    assert {v.dtype for v in jax.tree.leaves(step)} == {jnp.dtype("bfloat16")}
