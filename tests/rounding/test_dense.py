"""Every equation's bound: inside is accepted, outside is not, and what is right is inside."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DTYPES, ELEMENTWISE, HEADS, random_case, widened
from manual_bp import Activation, Backprop, Cost, Network, autodiff, backprop, compare, summation
from manual_bp.calls import Call
from manual_bp.rounding.arithmetic import FLOAT64_ROUNDOFF, Uncertain, arithmetic_of
from manual_bp.rounding.dense import activation_bound, weighted_input_bound
from manual_bp.rounding.functions import derivative_bound
from manual_bp.subjects.subject import Shown, Subject
from manual_bp.verdicts.judge import judge
from planting import with_sigmas
from ways import ORDERS, ROUTES, record_by

SIZES, M = (3, 5, 4, 2), 7


def judged(net, case, arithmetic, record=None):
    """Every equation, on the record's own inputs, or on the truth of those before it."""
    with jax.enable_x64(True):
        own = {} if record is None else {place: Shown(widened(a)) for place, a in record.items()}
        return judge(Call(net, *widened(case)), Subject("mine", own, {}, arithmetic, {}))


def numpy_arithmetic(dtype):
    return arithmetic_of(dtype, precision=None, platform="numpy")


def true_record(net, case):
    """What is exactly right in float64, by place."""
    with jax.enable_x64(True):
        return {place: np.asarray(array) for place, array in autodiff(net, *widened(case)).items()}


def ratio(equation, got):
    """The largest difference from what is right, in bounds; of finite values alone."""
    got, bound = np.asarray(got, np.float64), np.asarray(equation.bound)
    with np.errstate(all="ignore"):
        off = np.abs(got - np.asarray(equation.truth))
        found = np.where(off == 0, 0, off / bound)
        if equation.otherwise is not None:
            value, slack = map(np.asarray, equation.otherwise)
            found = np.fmin(found, np.abs(got - value) / slack)
        for value, slack, _ in equation.allowances:
            found = np.fmin(found, np.abs(got - value) / slack)
    return np.where(np.isfinite(got), found, 0).max()


# ── Just inside, just outside ────────────────────────────────────────────────────────────────────

TWO = {
    "cross-entropy": Network(SIZES, ("tanh", "silu", "softmax"), "cross_entropy", l2=0.1),
    "quadratic": Network(SIZES, ("sigmoid", "leaky_relu", "softplus"), "quadratic"),
}


@pytest.mark.parametrize(
    ("net", "dtype"),
    [
        pytest.param(TWO[name], dtype, id=f"{name}-{dtype}")
        for name, dtype in (
            ("cross-entropy", "float32"),
            ("cross-entropy", "bfloat16"),
            ("quadratic", "float64"),
        )
    ],
)
def test_a_value_just_inside_its_bound_agrees_and_one_just_outside_does_not(net, dtype, x64):
    case = random_case(net, M, seed=1, dtype=dtype)
    values = true_record(net, case)
    right = Backprop.from_places(values, net)
    rng = np.random.default_rng(0)
    for equation in judged(net, case, numpy_arithmetic(dtype), right):
        name, truth, bound = equation.place, equation.truth, equation.bound
        index = tuple(rng.integers(size) for size in truth.shape)
        sign = rng.choice([-1, 1])
        # A float64 record of float32 or bfloat16 parameters is judged by their arithmetic, so the
        # perturbed value need not be rounded to it. In float64 the next number stands for it.
        inside = truth[index] + sign * 0.99 * bound[index]
        # C may follow from a as well, by log a, whose bound is of the same size.
        beyond = 4 if name.kind == "cost" and net.cost.of == "z" else 1.01
        outside = truth[index] + sign * beyond * bound[index]
        # An exact operation leaves no room: its bound is what an underflow loses.
        exact = outside == truth[index]
        if name.kind == "x":  # an x that is wider than the case's is rounded to it
            outside = 2 * truth[index]
        elif dtype == "float64" or exact:
            inside = np.nextafter(inside, truth[index])
            outside = np.nextafter(outside, sign * np.inf)
        if exact:
            inside = truth[index]
        for value, wrong in ((inside, 0), (outside, 1)):
            changed = truth.copy()
            changed[index] = value
            wrong_record = Backprop.from_places(values | {name: changed}, net)
            agreement = compare(net, *case, subject=wrong_record)
            row = next(r for r in agreement.rows if r.place == name)
            assert row.wrong == wrong, (name, row)
            assert (row.verdict == "disagrees") == bool(wrong), (name, row)
            if wrong:
                assert row.worst.index == index
                assert row.worst.got == value
            if dtype == "float32" and not exact:
                assert row.bound_ratio == pytest.approx(beyond if wrong else 0.99, rel=1e-3)


def test_the_input_has_to_be_the_input(x64):
    net = TWO["quadratic"]
    case = random_case(net, M, seed=1, dtype="float32")
    values = true_record(net, case)
    (x,) = (place for place in values if place.kind == "x")
    values[x] = np.nextafter(values[x].astype(np.float32), np.float32(9))
    rows = compare(net, *case, subject=Backprop.from_places(values, net)).rows
    assert (rows[0].quantity, rows[0].layer, rows[0].verdict) == ("a", 0, "disagrees")
    assert rows[0].wrong == case[1].size


# ── What is right stays inside ───────────────────────────────────────────────────────────────────
#
# The network in NumPy, in each format: see `benchmarks/ways.py`.

# Each activation in a hidden layer, each pair of output and cost.
PAIRS = [
    Network(SIZES, (first, second, head or first), cost, l2)
    for (first, second), (head, cost), l2 in zip(
        zip(ELEMENTWISE[::2], ELEMENTWISE[1::2], strict=False),
        itertools.cycle(HEADS),
        itertools.cycle((0.0, 0.1, 0.0, 0.01)),
        strict=False,
    )
]

# Each of them, and each dtype, twice or more; what they cost is compiling.
COMPILED = [(net, DTYPES[(i + j) % 4]) for i, net in enumerate(PAIRS) for j in (0, 2)]


def scaled_case(net, m, seed, dtype, scale):
    with jax.enable_x64(True):
        params, x, y = random_case(net, m, seed, dtype)
        return params, (x * scale).astype(x.dtype), y


def worst_ratio(net, case, dtype, order, route):
    with np.errstate(all="ignore"):
        record = record_by(net, case, dtype, order, route)
    return {
        one.place: ratio(one, record.at(one.place))
        for one in judged(net, case, numpy_arithmetic(dtype), record)
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    compiled=st.sampled_from(COMPILED),
    order=st.sampled_from(ORDERS),
    route=st.integers(0, 11),
    exponent=st.floats(-3, 3),
    seed=st.integers(0, 2**16),
)
def test_right_by_another_route_is_within_every_bound(compiled, order, route, exponent, seed):
    net, dtype = compiled
    case = scaled_case(net, M, seed, dtype, 10.0**exponent)
    ratios = worst_ratio(net, case, dtype, order, route)
    assert max(ratios.values()) <= 1, ratios


def test_a_sum_that_starts_with_a_large_term_is_within_its_bound():
    """Of b, or of the penalty, every later addition rounds as much again."""
    net = Network((300, 5), ("identity",), "quadratic", 10.0)
    params, x, y = scaled_case(net, 64, 0, "float32", 1e-4)
    case = tuple(layer._replace(b=layer.b + 1) for layer in params), x, y * 0
    ratios = worst_ratio(net, case, "float32", "started", 0)
    assert max(ratios.values()) <= 1, ratios


@pytest.mark.sweep
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", ELEMENTWISE)
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_right_by_another_route_is_within_every_bound_of_every_network(hidden, head, dtype):
    for seed, (depth, order) in enumerate(
        zip((1, 2, 3, 4), ("started", "reversed", "pairwise", "blocked"), strict=True)
    ):
        rng = np.random.default_rng(seed)
        sizes = rng.choice([1, 2, 3, 17, 40, 300], depth + 1)
        output, cost = head
        net = Network(
            tuple(map(int, sizes)),
            (hidden,) * (depth - 1) + (output or hidden,),
            cost,
            0.01 * (seed % 2),
        )
        case = scaled_case(
            net, int(rng.choice([1, 3, 64])), seed, dtype, 10.0 ** rng.uniform(-3, 3)
        )
        ratios = worst_ratio(net, case, dtype, order, seed)
        assert max(ratios.values()) <= 1, (net, seed, ratios)


@functools.partial(jax.jit, static_argnums=(0, 1))
def both_bounds(ar, sigma, z):
    a, e_a, _ = activation_bound(ar, sigma, z)
    return (a, e_a), derivative_bound(ar, sigma, z)


def bounds(ar, sigma, z):
    """(σ, its bound) and (σ′, its bound), as NumPy arrays of one compiled program."""
    return jax.device_get(both_bounds(ar, sigma, z))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_formula_of_sigma_is_within_its_bound_on_the_whole_line(name, dtype, x64):
    """Also where a factor underflows: in float32, silu(−88) is z times a logistic function of 0.

    And where terms cancel: tanh as a difference of exponentials near 0, silu′ as a + s(1 − a).
    """
    sigma = Network((1, 1), (name,), "quadratic").activations[0]
    tails = np.geomspace(1e-9, 1e4, 500)
    z = np.concatenate([np.linspace(-10, 10, 4001), np.linspace(-120, 120, 4001), tails, -tails])
    z = jnp.asarray(z, dtype)
    exact, ar = Uncertain(z.astype(jnp.float64)), numpy_arithmetic(dtype)
    ar = ar._replace(u=ar.u + FLOAT64_ROUNDOFF)  # as for all equations, the truth's own rounding
    right = bounds(ar, sigma, exact)
    for got in (jax.jit(lambda z: (sigma(z), sigma.prime(z, sigma(z))))(z), *by_formulas(name, z)):
        fine = np.isfinite(np.asarray(got[0], np.float64))  # a formula may overflow
        for number, (truth, bound) in zip(got, right, strict=True):
            off = np.where(fine, np.abs(np.asarray(number, np.float64) - truth), 0)
            worst = np.argmax(off - bound)
            assert off[worst] <= bound[worst], (float(z[worst]), off[worst], bound[worst])


def by_formulas(name, z):
    """(σ, σ′) in NumPy by each of the usual formulas of both."""
    z = np.asarray(z)
    c = z.dtype.type
    with np.errstate(all="ignore"):
        for of_z, of_z_and_a in itertools.product(*ROUTES[name]):
            a = of_z(z, c)
            yield a, np.asarray(of_z_and_a(z, a, c))


# ── What is wrong does not ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("net", TWO.values(), ids=TWO)
def test_one_term_left_out_shows(net):
    """The bounds are tight enough for the least of mistakes: a product's last term dropped."""
    with jax.enable_x64(True):
        case = random_case(net, M, seed=3, dtype="float32")
    params, _, _ = jax.tree.map(lambda array: np.asarray(array, np.float64), case)
    truth = true_record(net, case)
    record = Backprop.from_places(truth, net)
    right = {(place.quantity, place.layer): array for place, array in truth.items()}
    found = {
        (one.place.quantity, one.place.layer): one
        for one in judged(net, case, numpy_arithmetic("float32"), record)
    }
    z, a, delta = ({l: v for (q, l), v in right.items() if q == k} for k in ("z", "a", "delta"))
    for l, (W, b) in enumerate(params, start=1):
        for k in range(W.shape[1]):
            assert ratio(found["z", l], z[l] - a[l - 1][:, k : k + 1] * W[:, k]) > 1
        assert ratio(found["z", l], z[l] - b) > 1
        for i in range(M):
            less = right["dW", l] - np.outer(delta[l][i], a[l - 1][i])
            assert ratio(found["dW", l], less) > 1
            assert ratio(found["db", l], right["db", l] - delta[l][i]) > 1
        if l < net.depth:
            W_next, prime = params[l].W, delta[l] / (delta[l + 1] @ params[l].W)
            for k in range(W_next.shape[0]):
                less = delta[l] - delta[l + 1][:, k : k + 1] * W_next[k] * prime
                assert ratio(found["delta", l], less) > 1
    if net.l2:
        for l, (W, _) in enumerate(params, start=1):
            assert ratio(found["dW", l], right["dW", l] - net.l2 * W) > 1
            cost = right["cost", net.depth] - net.l2 / 2 * (W**2).sum()
            assert ratio(found["cost", net.depth], cost) > 1


# ── The arithmetic in force ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dtype", "precision", "platform", "product", "accumulator", "says"),
    [
        ("float32", None, "cpu", 0, 2**-24, "whole float32 factors"),
        ("float32", "default", "cpu", 0, 2**-24, "whole float32 factors"),
        ("float32", None, "numpy", 0, 2**-24, "whole float32 factors"),
        ("float32", None, "gpu", 2**-10, 2**-24, "assumed as coarse as TF32"),
        ("float32", "default", "gpu", 2**-10, 2**-24, "at default precision"),
        ("float32", "tensorfloat32", "gpu", 2**-10, 2**-24, "at tensorfloat32 precision"),
        ("float32", "high", "gpu", 2**-10, 2**-24, "at high precision"),
        ("float32", "bfloat16", "gpu", 2**-8, 2**-24, "at bfloat16 precision"),
        ("float32", "BF16_BF16_F32", "gpu", 2**-8, 2**-24, "at BF16_BF16_F32 precision"),
        ("float32", "TF32_TF32_F32", "gpu", 2**-10, 2**-24, "at TF32_TF32_F32 precision"),
        ("float32", "highest", "gpu", 0, 2**-24, "at highest precision"),
        ("float32", None, "tpu", 2**-8, 2**-24, "assumed as coarse as bfloat16"),
        ("float32", "default", "tpu", 2**-8, 2**-24, "at default precision"),
        ("float32", "high", "tpu", 2**-14, 2**-24, "at high precision"),
        ("float32", "highest", "tpu", 2**-22, 2**-24, "at highest precision"),
        ("float64", None, "gpu", 0, 2**-53, "float64"),
        ("bfloat16", "highest", "cpu", 0, 2**-24, "sums in float32"),
        ("float16", None, "gpu", 0, 2**-24, "sums in float32"),
        ("bfloat16", None, "numpy", 0, 2**-8, "sums in bfloat16, the worst case"),
        ("float16", None, "numpy", 0, 2**-11, "sums in float16, the worst case"),
    ],
)
def test_arithmetic(dtype, precision, platform, product, accumulator, says):
    found = arithmetic_of(dtype, precision=precision, platform=platform)
    assert found.u == float(jnp.finfo(dtype).eps) / 2
    assert (found.product, found.accumulator) == (product, accumulator)
    assert found.excess == (found.u if dtype in ("float16", "bfloat16") else 0)
    assert found.name.startswith(dtype)
    assert says in found.name
    assert ("assumed" in found.name) == (
        precision is None and platform in ("gpu", "tpu") and product > 0
    )


def test_gamma():
    ar = arithmetic_of("bfloat16", precision=None, platform="numpy")
    assert ar.gamma(1) == 2**-8 / (1 - 2**-8)
    assert ar.gamma(255) == pytest.approx(255)
    assert ar.gamma(256) == np.inf


def test_factors_read_with_ten_bits_are_right_on_a_gpu_at_default_precision_alone():
    rng = np.random.default_rng(0)
    a, W = (rng.uniform(0.5, 1, shape).astype(np.float32) for shape in ((M, 64), (8, 64)))

    def tf32(array):  # 10 of the mantissa's 23 bits are left
        return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    got = tf32(a) @ tf32(W).T
    ratios = {}
    with jax.enable_x64(True):
        for precision in ("default", "highest"):
            ar = arithmetic_of("float32", precision=precision, platform="gpu")
            z, bound, _ = weighted_input_bound(
                ar, *widened((W, np.zeros(8))), Uncertain(widened(a))
            )
            ratios[precision] = np.max(np.abs(got - np.asarray(z)) / np.asarray(bound))
    assert ratios["default"] <= 1
    assert ratios["highest"] > 10


# ── Inputs that are themselves uncertain, and a user's own σ and C ───────────────────────────────


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_uncertain_z_moves_a_and_sigma_prime_no_farther_than_the_bound_says(name):
    """Also where σ′ has its extreme between the ends: sigmoid's at 8 ± 16 is not at −8 or 24."""
    sigma = Network((1, 1), (name,), "quadratic").activations[0]
    exact = arithmetic_of("float64", precision=None, platform="numpy")
    middles, errors = (
        v.ravel() for v in np.meshgrid(np.linspace(-9, 9, 37), [0.1, 1.0, 6.0, 16.0])
    )
    with jax.enable_x64(True):
        z = Uncertain(jnp.asarray(middles[:, None]), jnp.asarray(errors[:, None]))
        within = bounds(exact, sigma, z)
        t = np.linspace(-1, 1, 101)[:, None, None]
        moved = bounds(exact, sigma, Uncertain(z.value + t * z.error))
    for (value, error), (at_t, own) in zip(within, moved, strict=True):
        # 1.05: between two of the points that are looked at, σ′ may go a little farther.
        outside = np.abs(at_t - value) > 1.05 * error + own
        assert not outside.any(), (name, t[outside.any(axis=(1, 2))])


def test_no_bound_of_a_long_sum_in_a_short_format_is_a_false_alarm(x64):
    """γ₃₀₀ of bfloat16 is infinite, and infinity times 0 no NaN: nothing is claimed there."""
    net = Network((300, 2, 2), ("silu", "identity"), "quadratic")
    params, x, y = random_case(net, 3, seed=0, dtype="bfloat16")
    case = params, x.at[1].set(0), y
    record = jax.tree.map(np.asarray, backprop(net, *case))
    for told in (record, Backprop(dW=record.dW, db=record.db)):
        agreement = compare(net, *case, subject=told, witness=summation)
        found = {row.verdict for row in agreement.rows}
        assert not {"disagrees", "nonfinite"} & found, str(agreement)
        assert "undecided" in found


CUBE = Activation("cube", lambda z: z**3 / 9, lambda z: z * z / 3)
HUBER = Cost(
    "pseudo_huber",
    value=lambda a, y: (jnp.sqrt(1 + (a - y) ** 2) - 1).sum(axis=-1),
    gradient=lambda a, y: (a - y) / jnp.sqrt(1 + (a - y) ** 2),
)


def test_a_users_own_activation_and_cost_are_judged_by_the_bound_assumed():
    net = Network(SIZES, (CUBE, "tanh", "identity"), HUBER)
    case = random_case(net, M, seed=5, dtype="float32")
    agreement = compare(net, *case)
    assert agreement.ok, str(agreement)
    wrong = net.activations[0].__class__("cube", CUBE.sigma, lambda z: z * z)
    agreement = compare(with_sigmas(net, wrong, *net.activations[1:]), *case)
    bad = [(row.equation, row.layer) for row in agreement.rows if row.verdict == "disagrees"]
    assert bad == [("BP2", 1)]


# σ as it is first written down, and σ′ as of z or a: with operations on numbers of order 1 that
# cancel near a zero of σ.
NAIVE = [
    Activation("expm1", lambda z: jnp.exp(z) - 1, lambda a: a + 1, "a"),
    Activation("1 - exp", lambda z: 1 - jnp.exp(-z), lambda z: jnp.exp(-z)),
    Activation(
        "softplus at 0",
        lambda z: jnp.log(1 + jnp.exp(z)) - np.log(2).item(),
        lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
    ),
    Activation("softsign", lambda z: z / (1 + jnp.abs(z)), lambda z: 1 / (1 + jnp.abs(z)) ** 2),
    Activation(
        "tanh",
        lambda z: (jnp.exp(z) - jnp.exp(-z)) / (jnp.exp(z) + jnp.exp(-z)),
        lambda a: 1 - a * a,
        "a",
    ),
    Activation("tanh by e²ᶻ", lambda z: 1 - 2 / (jnp.exp(2 * z) + 1), lambda a: 1 - a**2, "a"),
    Activation("logistic", lambda z: 0.5 * (1 + jnp.tanh(z / 2)), lambda a: a - a * a, "a"),
    Activation(
        "centred", lambda z: 1 / (1 + jnp.exp(-z)) - 0.5, lambda a: (0.5 + a) * (0.5 - a), "a"
    ),
    Activation("root", lambda z: jnp.sqrt(1 + z * z) - 1, lambda z: z / jnp.sqrt(1 + z * z)),
    Activation(
        "log", lambda z: jnp.sign(z) * jnp.log(1 + jnp.abs(z)), lambda z: 1 / (1 + jnp.abs(z))
    ),
    Activation("cosine", lambda z: 1 - jnp.cos(z), jnp.sin),
    Activation("bell", lambda z: jnp.exp(-z * z), lambda z: -2 * z * jnp.exp(-z * z)),
    CUBE,
]


@pytest.mark.parametrize("sigma", NAIVE, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_assumed_of_a_users_own_sigma_holds_for_a_few_operations(sigma, dtype):
    rng = np.random.default_rng(0)
    tiny = 10 ** rng.uniform(-8, 0.5, 3000) * rng.choice([-1, 1], 3000)
    z = np.concatenate([rng.uniform(-3, 3, 3000), tiny]).astype(dtype)
    z = np.where(z == 0, np.finfo(dtype).tiny, z)  # at 0 a derivative of sign is none
    a = sigma.sigma(jnp.asarray(z))
    prime = sigma.prime(jnp.asarray(z), a)
    exact = arithmetic_of(dtype, precision=None, platform="cpu")
    with jax.enable_x64(True):
        wide_z = Uncertain(jnp.asarray(z.astype(np.float64)))
        right, bound, _ = activation_bound(exact, sigma, wide_z)
        right_prime, prime_bound = derivative_bound(exact, sigma, wide_z)
        for got, truth, limit in ((a, right, bound), (prime, right_prime, prime_bound)):
            assert (np.abs(np.asarray(got, np.float64) - truth) <= limit).all()


def test_a_word_on_rounding_where_ones_own_sigma_rounds_more_than_is_assumed():
    # Off by units of 300: the difference near 1 is rounded, and then times so much.
    far = Activation("far", lambda z: 300 * (jnp.exp(z / 300) - 1), lambda z: jnp.exp(z / 300))
    net = Network(SIZES, (far, "tanh", "identity"), "quadratic")
    case = random_case(net, M, seed=5, dtype="float32")
    agreement = compare(net, *case)
    assert [row.place.symbol for row in agreement.disagreements] == ["a¹"]
    (note,) = agreement.notes
    assert note.startswith("your σ 'far' states no rounding")
    assert "a¹ is a few bounds off" in note
    assert "Activation(rounding=…)" in " ".join(str(agreement).split())
    stated = replace(far, rounding=lambda z, a: (4000 + 0 * a, 8 + 0 * a))
    assert compare(Network(SIZES, (stated, "tanh", "identity"), "quadratic"), *case).ok
    wrong = compare(net, *case, subject=backprop(net, *case)._replace(delta=(None,) * 3))
    assert len(wrong.notes) == 1
    # A mistake is farther off, and has no such word.
    record = jax.tree.map(np.asarray, backprop(net, *case))
    spoilt = record._replace(a=(record.a[0], 2 * record.a[1], *record.a[2:]))
    assert compare(net, *case, subject=spoilt).notes == ()


NEW_COSTS = [
    ("identity", "mean_squared_error"),
    ("identity", "absolute_error"),
    ("tanh", "absolute_error"),
    ("tanh", "huber"),
    ("identity", "huber(0.1)"),
    ("identity", "hinge"),
    ("exp", "poisson"),
    ("exp", "quadratic"),
    ("softmax", "cross_entropy(smoothing=0.1)"),
    ("softmax", "cross_entropy(smoothing=0.1, weights=(3, 0.5))"),
    ("hard_tanh", "quadratic"),
    ("hard_sigmoid", "mean_squared_error"),
]


@pytest.mark.parametrize(("output", "cost"), NEW_COSTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_right_pass_of_the_newer_costs_is_a_false_alarm(output, cost, dtype):
    net = Network(SIZES, ("hard_tanh", "hard_sigmoid", output), cost)
    for seed in range(3):
        params, x, y = random_case(net, M, seed=seed, dtype=dtype)
        if cost == "hinge":
            y = jnp.where(y > 0, 1, -1).astype(y.dtype)
        elif net.cost.targets[0] == 0:
            y = jnp.abs(y)
        with jax.enable_x64(dtype == "float64"):
            agreement = compare(net, params, x, y)
        found = {row.verdict for row in agreement.rows}
        assert not {"disagrees", "nonfinite"} & found, str(agreement)
        if dtype in ("float32", "float64"):
            assert found == {"agrees"}, str(agreement)


def test_on_either_side_of_a_kink_other_than_0_both_slopes_are_right():
    ar = arithmetic_of("bfloat16", precision=None, platform="cpu")
    for sigma, kinks, slope in (
        ("hard_sigmoid", (-3, 3), 1 / 6),
        ("hard_tanh", (-1, 1), 1.0),
    ):
        sigma = Network((1, 1), (sigma,), "quadratic").activations[0]
        with jax.enable_x64(True):
            z = jnp.array([*kinks, 3 - 2.0**-6 if slope < 1 else 1 - 2.0**-9, 0.25, 5.0])
            prime, bound = map(np.asarray, derivative_bound(ar, sigma, Uncertain(z)))
        assert (bound[:3] >= slope).all()
        assert (bound[3:] < 0.01).all()
        assert prime[3:].tolist() == [pytest.approx(slope), 0]
