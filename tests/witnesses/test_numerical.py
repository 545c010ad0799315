import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.witnesses.numerical import numerical, numerical_with_error
from planting import with_sigmas

SINE = mbp.Activation("sine", lambda z: z + jnp.sin(z), lambda z: 1 + jnp.cos(z))
QUARTIC = mbp.Cost(
    "quartic",
    value=lambda a, y: ((a - y) ** 4).sum(axis=-1) / 4,
    gradient=lambda a, y: (a - y) ** 3,
)

WITH_PARAMETERS = ("leaky_relu(0.2)", "elu(0.5)", "elu(3)", "swish(1.5)", "swish(4)")
PAIRS = (
    [(name, "quadratic") for name in (*ACTIVATIONS, *WITH_PARAMETERS)]
    + [(name, "cross_entropy") for name in ACTIVATIONS if name not in ("softmax", "exp")]
    + [(name, "binary_cross_entropy") for name in ACTIVATIONS if name not in ("softmax", "exp")]
    + [
        ("tanh", "mean_squared_error"),
        ("silu", "absolute_error"),
        ("gelu", "huber"),
        ("relu", "huber(2)"),
        ("identity", "hinge"),
        ("softplus", "poisson"),
        ("tanh", "cross_entropy(smoothing=0.1)"),
        ("elu", "cross_entropy(smoothing=0.1, weights=(30, 0.5))"),
    ]
)
# Each activation with the quadratic cost, and every third with each of the others.
SAMPLE = [pair for i, pair in enumerate(PAIRS) if pair[1] == "quadratic" or i % 3 == 0]


def network(name, cost, sizes=(3, 4, 5, 2), l2=0.1):
    output = {"binary_cross_entropy": "sigmoid", "poisson": "exp"}.get(cost, name)
    if cost.startswith("cross_entropy"):
        output = "softmax"
    hidden = "tanh" if name in ("softmax", "exp") else name
    return mbp.Network(sizes, (*[hidden] * (len(sizes) - 2), output), cost, l2=l2)


def random_call(net, seed, m=3, scale=1.0):
    rng = np.random.default_rng(seed)
    params = tuple(
        mbp.Layer(scale * rng.normal(size=(n, n_prev)), rng.normal(size=n))
        for n_prev, n in zip(net.sizes[:-1], net.sizes[1:], strict=True)
    )
    shape = () if m is None else (m,)
    x, y = rng.normal(size=(*shape, net.sizes[0])), rng.uniform(size=(*shape, net.sizes[-1]))
    if net.cost.name == "hinge":
        y = np.where(y > 0.5, 1.0, -1.0)
    return params, x, y


def within_float64(net, scale):
    """Whether no z is so large that exp may overflow."""
    return scale <= 1 or all(sigma.name != "exp" for sigma in net.activations)


def leaves(step):
    return [leaf for field in step for leaf in (field if isinstance(field, tuple) else (field,))]


def beyond_the_stated_error(net, call):
    """|numerical − autodiff| over the stated error, at the worst element that was tested.

    autodiff's own rounding is of the same order and has no part in the statement: the bounds are
    first-order ones of a few tens of roundings where some few occur, which leaves room for it.
    """
    with jax.enable_x64(True):
        step, error = numerical_with_error(net, *call)
        truth = mbp.autodiff(net, *call)
    worst = 0.0
    for ours, bound, theirs in zip(*map(leaves, (step, error, truth)), strict=True):
        assert ours.shape == bound.shape == theirs.shape
        assert ours.dtype == np.float64
        assert np.isfinite(np.asarray(ours)).all()
        off = np.ma.abs(ours - np.asarray(theirs))
        assert (np.ma.filled(off, 0)[np.ma.filled(bound == 0, False)] == 0).all()
        ratio = np.ma.where(bound == 0, 0, off / np.ma.where(bound == 0, 1, bound))
        worst = max(worst, float(np.ma.filled(ratio, 0).max()))
    return worst


def untested(step):
    return sum(np.ma.count_masked(leaf) for leaf in leaves(step))


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        pytest.param(*pair, marks=() if pair in SAMPLE else pytest.mark.sweep, id="-".join(pair))
        for pair in PAIRS
    ],
)
def test_it_agrees_with_autodiff_within_its_stated_error(name, cost):
    net = network(name, cost)
    assert beyond_the_stated_error(net, random_call(net, seed=11)) < 1


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax"])
def test_it_takes_one_example_without_the_batch_axis(name):
    net = network(name, "quadratic")
    assert beyond_the_stated_error(net, random_call(net, seed=11, m=None)) < 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_stated_error_is_small(name):
    # Some hundred roundings of numbers of order 1 to 100, against gradients of order 1.
    net = network(name, "quadratic", sizes=(3, 4, 2))
    with jax.enable_x64(True):
        _, error = numerical_with_error(net, *random_call(net, seed=2, scale=0.5))
    assert max(np.ma.max(bound) for bound in leaves(error)) < 2e-12


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    pair=st.sampled_from(SAMPLE),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.01, 0.3, 1.0, 3.0, 30.0]),
)
def test_the_stated_error_is_honest(pair, seed, scale):
    net = network(*pair)
    assume(within_float64(net, scale))
    assert beyond_the_stated_error(net, random_call(net, seed, scale=scale)) < 1


@pytest.mark.sweep
@settings(max_examples=1000, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-3, 1e3),
    m=st.sampled_from([None, 1, 3]),
)
def test_the_stated_error_is_honest_sweep(pair, seed, scale, m):
    net = network(*pair)
    assume(within_float64(net, scale))
    assert beyond_the_stated_error(net, random_call(net, seed, m, scale)) < 1


# ── A user's own: central differences ────────────────────────────────────────────────────────────

OWN = [
    mbp.Network((3, 4, 2), (SINE, "identity"), "quadratic", l2=0.1),
    mbp.Network((3, 4, 2), ("tanh", SINE), "quadratic"),
    mbp.Network((3, 4, 2), ("relu", "sigmoid"), QUARTIC),
    mbp.Network((3, 4, 5, 2), (SINE, "relu", "softmax"), "cross_entropy"),
]


@pytest.mark.parametrize("net", OWN, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_a_users_own_activation_or_cost(net, seed):
    assert beyond_the_stated_error(net, random_call(net, seed)) < 1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    net=st.sampled_from(OWN),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
)
def test_the_stated_error_of_central_differences_is_honest(net, seed, scale):
    assert beyond_the_stated_error(net, random_call(net, seed, scale=scale)) < 1


def test_the_stated_error_of_central_differences_is_small():
    net = OWN[0]
    with jax.enable_x64(True):
        step, error = numerical_with_error(net, *random_call(net, 0))
    # ∛u² = 2·10⁻¹¹ of C, times the tens of roundings that C takes
    assert max(np.max(bound) for bound in error.dW + error.db + error.delta) < 1e-6 * step.cost


def test_a_users_own_sigma_prime_is_never_read():
    read = []

    def noted(function):
        def noting(*arrays):
            read.append(function)
            return function(*arrays)

        return noting

    blind = mbp.Activation("blind", SINE.sigma, noted(SINE.sigma_prime))
    cost = mbp.Cost("blind", value=QUARTIC.value, gradient=noted(QUARTIC.gradient))
    net, seeing = (
        mbp.Network((3, 4, 2), (sigma, sigma), of) for sigma, of in ((blind, cost), (SINE, QUARTIC))
    )
    assert len(read) > 0  # when the network was made
    read.clear()
    call = random_call(net, 1)
    with jax.enable_x64(True):
        for ours, same in zip(*(leaves(numerical(n, *call)) for n in (net, seeing)), strict=True):
            np.testing.assert_array_equal(ours, same)
    assert read == []


# ── Kinks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_an_element_on_a_kink_is_masked_and_no_other(name):
    net = mbp.Network((2, 3, 1), (name, "identity"), "quadratic")
    W1 = np.array([[1.0, 2.0], [1.0, -1.0], [-3.0, 0.5]])
    params = (mbp.Layer(W1, np.zeros(3)), mbp.Layer(np.array([[1.0, 1.5, -2.0]]), np.ones(1)))
    x, y = np.array([[1.0, 1.0], [1.0, 2.0]]), np.zeros((2, 1))  # z¹ of neuron 1 is 0, then −1
    call = params, x, y
    with jax.enable_x64(True):
        step = numerical(net, *call)
    mask = np.ma.getmaskarray
    np.testing.assert_array_equal(mask(step.delta[0]), [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(mask(step.dW[0]), [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(mask(step.db[0]), [0, 1, 0])
    assert untested(step) == 1 + 2 + 1
    assert beyond_the_stated_error(net, call) < 1


@pytest.mark.parametrize(
    ("sigma", "cost", "z", "y"),
    [
        ("selu", "quadratic", 0.0, 1.0),
        ("elu(0.5)", "quadratic", 0.0, 1.0),
        ("hard_tanh", "quadratic", -1.0, 1.0),
        ("hard_sigmoid", "quadratic", 3.0, 0.0),
        ("identity", "absolute_error", 2.0, 2.0),
        ("identity", "hinge", -1.0, -1.0),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["complex", "central"])
def test_every_kink_is_masked_and_what_lies_beside_it_is_not(sigma, cost, z, y, own):
    line = mbp.Activation("line", lambda z: z, jnp.ones_like) if own else "identity"
    net = mbp.Network((1, 1, 1), (line, sigma), cost)
    params = (mbp.Layer(np.ones((1, 1)), np.zeros(1)), mbp.Layer(np.ones((1, 1)), np.zeros(1)))
    for off, masked in ((0.0, True), (0.1, False), (-0.1, False)):
        call = params, np.array([z + off]), np.array([y])
        with jax.enable_x64(True):
            assert np.ma.getmaskarray(numerical(net, *call).delta[0]).all() == masked
        assert beyond_the_stated_error(net, call) < 1


def test_a_kink_that_the_move_does_not_reach_is_no_obstacle():
    net = mbp.Network((2, 1), ("relu",), "quadratic")
    params = (mbp.Layer(np.array([[0.0, 1.0]]), np.zeros(1)),)
    with jax.enable_x64(True):  # x = (1, 0): z = 0, which W[0, 1] does not move
        step = numerical(net, params, np.array([1.0, 0.0]), np.array([1.0]))
    assert np.ma.getmaskarray(step.dW[0]).tolist() == [[True, False]]
    assert step.dW[0][0, 1] == 0


def test_elu_has_no_kink():
    net = mbp.Network((1, 1), ("elu",), "quadratic")
    params = (mbp.Layer(np.ones((1, 1)), np.zeros(1)),)
    with jax.enable_x64(True):
        step = numerical(net, params, np.zeros(1), np.ones(1))
    assert untested(step) == 0
    assert step.delta[0][0] == -1


@pytest.mark.parametrize("distance", [0.0, 1e-17, 1e-7, 1e-6, 1e-5, 3e-5])
@pytest.mark.parametrize("side", [-1, 1])
def test_central_differences_mask_a_kink_within_reach(distance, side):
    # The σ before the relu is a user's own, so that its z is moved by real steps of up to 2⁻¹⁶.
    line = mbp.Activation("line", lambda z: z, jnp.ones_like)
    net = mbp.Network((1, 1, 1), (line, "relu"), "quadratic")
    params = (mbp.Layer(np.ones((1, 1)), np.zeros(1)), mbp.Layer(np.ones((1, 1)), np.zeros(1)))
    with jax.enable_x64(True):
        step = numerical(net, params, np.array([side * distance]), np.ones(1))
    if distance < 2.0**-16:
        assert np.ma.getmaskarray(step.delta[0]).all()
    else:
        # −1 or 0: no digit is lost beyond ∛u², since nothing but the kink bends here
        assert abs(step.delta[0][0] - (-(1 - distance) if side > 0 else 0)) < 1e-9


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
@pytest.mark.parametrize("output", ["identity", SINE], ids=str)
def test_no_unmasked_value_is_wrong_on_integers(name, output):
    # Small integers put many z exactly on a kink.
    net = mbp.Network((3, 4, 4, 2), (name, name, output), "quadratic")
    met = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        call = jax.tree.map(
            lambda w, rng=rng: rng.integers(-2, 3, w.shape).astype(float), random_call(net, 0)
        )
        assert beyond_the_stated_error(net, call) < 1
        with jax.enable_x64(True):
            met += untested(numerical(net, *call))
    assert met > 50


# ── Samples ──────────────────────────────────────────────────────────────────────────────────────


def test_a_sample_says_how_many_and_the_seed_decides_which():
    net = network("tanh", "quadratic", sizes=(6, 5, 4))
    call = random_call(net, 0, m=7)
    with jax.enable_x64(True):
        whole, some, same, other = (
            numerical(net, *call, samples=samples, seed=seed)
            for samples, seed in ((None, 0), (8, 0), (8, 0), (8, 1))
        )
    for array in some.dW + some.delta:
        assert array.count() == 8 < array.size
    assert [np.ma.count(array) for array in some.db] == [5, 4]
    for ours, again, all_ in zip(*map(leaves, (some, same, whole)), strict=True):
        np.testing.assert_array_equal(np.ma.getmaskarray(ours), np.ma.getmaskarray(again))
        assert (np.ma.filled(ours == all_, True)).all()
    assert (np.ma.getmaskarray(some.dW[0]) != np.ma.getmaskarray(other.dW[0])).any()
    assert untested(whole) == 0


def test_what_is_not_affordable_is_sampled_unasked(monkeypatch):
    monkeypatch.setattr(inspect.getmodule(numerical), "AFFORDABLE", 1e6)
    net = network("tanh", "cross_entropy", sizes=(20, 30, 10))
    call = random_call(net, 0, m=8)
    with jax.enable_x64(True):
        step = numerical(net, *call)
    assert 100 < step.dW[0].count() < step.dW[0].size
    assert np.ma.count(step.dW[1]) == step.dW[1].size
    assert beyond_the_stated_error(net, call) < 1


# ── The rest ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("softmax", "exp")])
@pytest.mark.parametrize("z", [-1e4, -800.0, -40.0, 40.0, 800.0, 1e4])
def test_it_is_finite_and_right_far_out(name, z):
    net = mbp.Network((1, 1), (name,), "quadratic")
    params = (mbp.Layer(np.ones((1, 1)), np.zeros(1)),)
    assert beyond_the_stated_error(net, (params, np.array([z]), np.array([z / 2]))) < 1


def test_the_published_numbers_of_mazur():
    net = mbp.Network((2, 2, 2), ("sigmoid", "sigmoid"), "quadratic")
    params = (
        mbp.Layer(np.array([[0.15, 0.2], [0.25, 0.3]]), np.array([0.35, 0.35])),
        mbp.Layer(np.array([[0.4, 0.45], [0.5, 0.55]]), np.array([0.6, 0.6])),
    )
    with jax.enable_x64(True):
        step = numerical(net, params, np.array([[0.05, 0.1]]), np.array([[0.01, 0.99]]))
    half_a_digit = 0.5e-9
    for ours, published in [
        (step.cost, 0.298371109),
        (step.delta[1], [[0.138498562, -0.038098237]]),
        (step.delta[0], [[0.008771355, 0.009954255]]),
        (step.dW[1], [[0.082167041, 0.082667628], [-0.02260254, -0.022740242]]),
    ]:
        np.testing.assert_allclose(ours, published, rtol=0, atol=1.01 * half_a_digit)


@pytest.mark.parametrize(
    ("mistaken", "field", "layer"),
    [
        (mbp.Activation("tanh", jnp.tanh, lambda a: 1 - a, "a"), "delta", 0),
        (mbp.Activation("tanh", jnp.tanh, lambda a: 1.001 * (1 - a * a), "a"), "delta", 0),
        (mbp.Activation("tanh", jnp.tanh, lambda a: 1 - a * a + 1e-6, "a"), "dW", 0),
    ],
    ids=["1-a", "one-in-a-thousand", "one-in-a-million"],
)
def test_a_planted_mistake_is_seen(mistaken, field, layer):
    net = mbp.Network((3, 4, 2), ("tanh", "identity"), "quadratic")
    net = with_sigmas(net, mistaken, net.activations[1])
    call = random_call(net, 5)
    with jax.enable_x64(True):  # the witness reads σ of the very network with the wrong σ′
        subject = mbp.backprop(net, *call)
        witness, error = numerical_with_error(net, *call)
    subject = jax.tree.map(np.asarray, subject)
    off, bound = (
        np.abs(getattr(subject, field)[layer] - getattr(witness, field)[layer]),
        getattr(error, field)[layer],
    )
    assert (off > 10 * bound).any()
    assert (np.abs(subject.delta[1] - witness.delta[1]) < error.delta[1]).all()


@pytest.mark.parametrize(
    ("samples", "kind"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_a_number_of_samples_that_is_none_is_named(samples, kind):
    net = mbp.Network((2, 1), ("identity",), "quadratic")
    params = net.init(jax.random.key(0))
    with pytest.raises(kind, match=f"samples: expected a whole number ≥ 1, got {samples}"):
        numerical(net, params, jnp.ones((5, 2)), jnp.ones((5, 1)), samples=samples)


def test_what_does_not_fit_is_named():
    net = mbp.Network((2, 1), ("identity",), "quadratic")
    params = net.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\)"):
        numerical(net, params, jnp.ones((5, 3)), jnp.ones((5, 1)))
