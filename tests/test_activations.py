"""σ and σ′ against jax.nn's functions and their derivatives, and the rounding each states."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers import DTYPES, ELEMENTWISE, UNBOUNDED, assert_close, smallest, unit_roundoff
from manual_bp import Activation, Layer, Network, backprop
from manual_bp.activations import ACTIVATIONS, activation
from manual_bp.lean import recall

JAX_NN = {
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "gelu_tanh": lambda z: jax.nn.gelu(z, approximate=True),
    "softmax": jax.nn.softmax,
    "selu": jax.nn.selu,
    "softsign": jax.nn.soft_sign,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "leaky_relu(0.2)": lambda z: jax.nn.leaky_relu(z, 0.2),
    "elu(0.5)": lambda z: jax.nn.elu(z, 0.5),
    "swish(1.5)": lambda z: z * jax.nn.sigmoid(1.5 * z),
    "exp": jnp.exp,
}
EVERY = (*ELEMENTWISE, *UNBOUNDED)
SLOPE = float(np.sqrt(2 / np.pi))
# Other usual ways of writing σ, and σ′ from z: a hand-written pass may use any of them.
OTHER_SIGMA = {
    "sigmoid": (lambda z: 0.5 * (1 + jnp.tanh(z / 2)), lambda z: 1 / (1 + jnp.exp(-z))),
    "relu": (lambda z: jnp.maximum(z, 0), lambda z: z * (z > 0)),
    "leaky_relu": (lambda z: jnp.maximum(z, 0.01 * z),),
    "elu": (lambda z: jnp.where(z > 0, z, jnp.exp(z) - 1),),
    "softplus": (lambda z: jnp.log(1 + jnp.exp(z)), lambda z: jnp.logaddexp(z, 0)),
    "silu": (lambda z: z / (1 + jnp.exp(-z)),),
    "gelu": (lambda z: 0.5 * z * (1 + jax.lax.erf(z / np.sqrt(2).astype(z.dtype))),),
    "gelu_tanh": (lambda z: 0.5 * z * (1 + jnp.tanh(SLOPE * (z + 0.044715 * z * z * z))),),
    "selu": (
        lambda z: 1.0507009873554805 * jnp.where(z > 0, z, 1.6732632423543772 * (jnp.exp(z) - 1)),
        lambda z: jnp.where(z > 0, 1.0507009873554805 * z, 1.7580993408473766 * jnp.expm1(z)),
    ),
    "softsign": (lambda z: z * (1 / (1 + jnp.abs(z))),),
    "hard_sigmoid": (
        lambda z: jnp.clip(z + 3, 0, 6) / 6,
        lambda z: jnp.clip(z / 6 + 0.5, 0, 1),
        lambda z: jnp.maximum(0, jnp.minimum(1, z * (1 / 6) + 0.5)),
    ),
    "hard_tanh": (lambda z: jnp.clip(z, -1, 1), lambda z: jnp.maximum(-1, jnp.minimum(1, z))),
    "leaky_relu(0.2)": (lambda z: jnp.maximum(z, 0.2 * z), lambda z: jnp.where(z > 0, z, z / 5)),
    "elu(0.5)": (lambda z: jnp.where(z > 0, z, 0.5 * (jnp.exp(z) - 1)),),
    "swish(1.5)": (lambda z: z / (1 + jnp.exp(-1.5 * z)),),
    "exp": (lambda z: jnp.exp2(z * 1.4426950408889634),),
}
OTHER_SIGMA_PRIME = {
    "sigmoid": lambda z, a: a - a * a,
    "tanh": lambda z, a: 1 - a * a,
    "relu": lambda z, a: jnp.where(z > 0, 1, 0).astype(z.dtype),
    "leaky_relu": lambda z, a: jnp.where(z >= 0, 1, 0.01).astype(z.dtype),
    "elu": lambda z, a: jnp.where(z > 0, 1, jnp.exp(z)),
    "softplus": lambda z, a: jnp.exp(z - a),
    "silu": lambda z, a: jax.lax.logistic(z) + a * (1 - jax.lax.logistic(z)),
    "selu": lambda z, a: jnp.where(z > 0, 1.0507009873554805, 1.7580993408473766 * jnp.exp(z)),
    "softsign": lambda z, a: 1 / (1 + jnp.abs(z)) ** 2,
    "hard_sigmoid": lambda z, a: jnp.where(jnp.abs(z) < 3, 1 / 6, 0),
    "hard_tanh": lambda z, a: jnp.where(jnp.abs(z) < 1, 1, 0),
    "leaky_relu(0.2)": lambda z, a: jnp.where(z >= 0, 1, 0.2),
    "elu(0.5)": lambda z, a: jnp.where(z > 0, 1, 0.5 * jnp.exp(z)),
    "swish(1.5)": lambda z, a: (
        jax.lax.logistic(1.5 * z) + 1.5 * a * (1 - jax.lax.logistic(1.5 * z))
    ),
    "exp": lambda z, a: jnp.exp2(z * 1.4426950408889634),
}
everywhere = pytest.mark.parametrize("name", EVERY)


def derivative(sigma):
    return jax.vmap(jax.grad(sigma))


def grid(dtype):
    """Dense around 0, out to where everything saturates, and last the far ends and both zeros."""
    far = np.geomspace(1e-4, 9e3, 200)
    z = np.concatenate([np.linspace(-12, 12, 2401), far, -far, [-1e4, 1e4, 0.0, -0.0]])
    # At a kink the tests have a word of their own.
    z = np.where(np.isin(z, [-3, -1, 1, 3]), z + 0.005, z)
    return z.astype(jnp.dtype(dtype))


FAR_ENDS, ZEROS = slice(-4, -2), slice(-2, None)


@jax.jit
def _ours(z):
    result = {}
    for name in EVERY:
        sigma = activation(name)
        a = sigma(z)
        result[name] = a, sigma.prime(z, a)
    return result


@jax.jit
def _others(z):
    a = {name: [sigma(z) for sigma in sigmas] for name, sigmas in OTHER_SIGMA.items()}
    prime = OTHER_SIGMA_PRIME.items()
    return a, {
        name: sigma_prime(z, activation(name)(z)).astype(z.dtype) for name, sigma_prime in prime
    }


@jax.jit
def _exact(z):
    """σ and σ′ from jax.nn and jax.grad, and the rounding of both."""
    result = {}
    for name in EVERY:
        a, s = JAX_NN[name](z), derivative(JAX_NN[name])(z)
        units = tuple(jnp.broadcast_to(e, z.shape) for e in activation(name).rounding(z, a))
        result[name] = (a, s), units
    return result


@functools.cache
def on_grid(which, dtype):
    """The arrays of all activations at once, since compiling is what takes the time."""
    z = grid(dtype)
    with jax.enable_x64(True):
        return which(jnp.asarray(z if which is not _exact else z.astype(np.float64)))


def rounded(units, z, dtype):
    """`units` unit roundoffs, and what a factor of z may lose by underflow."""
    u = unit_roundoff(dtype)
    u += u if dtype == "float64" else 0  # the reference's own rounding
    z = np.abs(np.asarray(z, np.float64))
    return np.broadcast_to(np.asarray(units) * u + smallest(dtype) * (1 + z), z.shape)


def stated(name, z, units, dtype):
    """The bounds of a and σ′, with the jump of σ′ where rounding may put z beyond a kink."""
    e_a, e_s = (rounded(e, z, dtype) for e in units)
    z = np.asarray(z, np.float64)
    for kink in filter(None, activation(name).kinks):  # at 0 ours is that of jax.nn
        near = np.abs(z - kink) <= 16 * unit_roundoff(dtype) * max(1, abs(kink))
        e_s = e_s + near * (1 if name == "hard_tanh" else 1 / 6)
    return e_a, e_s


def within_range(name, z, dtype):
    """Where σ does not overflow, and the tests go."""
    z = np.asarray(z, np.float64)
    return z < np.log(float(jnp.finfo(dtype).max)) - 1 if name == "exp" else np.full(z.shape, True)


@everywhere
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigma_and_derivative_are_within_the_stated_rounding(name, dtype):
    z, (a, s) = grid(dtype), on_grid(_ours, dtype)[name]
    desired, units = on_grid(_exact, dtype)[name]
    told = (
        of[within_range(name, z, dtype)] for of in (a, s, *desired, *stated(name, z, units, dtype))
    )
    a, s, a_exact, s_exact, *bounds = map(np.asarray, told)
    assert_close((a, s), (a_exact, s_exact), tuple(bounds), dtype=dtype)


@pytest.mark.parametrize("name", OTHER_SIGMA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_ways_of_writing_sigma_are_within_the_stated_rounding(name, dtype):
    z, (others, primes) = grid(dtype), on_grid(_others, dtype)
    (a_exact, s_exact), units = on_grid(_exact, dtype)[name]
    a_exact, s_exact = np.asarray(a_exact), np.asarray(s_exact)
    bound, e_s = stated(name, z, units, dtype)
    there = within_range(name, z, dtype)
    for a in map(np.asarray, others[name]):
        finite = np.isfinite(a.astype(float)) & there
        assert finite[(np.abs(z.astype(float)) < 10) & there].all()
        assert_close(a[finite], a_exact[finite], bound[finite], dtype=dtype)
    if name in primes:
        assert_close(np.asarray(primes[name])[there], s_exact[there], e_s[there], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 10, 1e4])
def test_softmax_is_within_the_stated_rounding(x64, dtype, scale):
    rows = np.random.default_rng(0).uniform(-scale, scale, (50, 7))
    z = jnp.asarray(rows.astype(jnp.dtype(dtype)))
    wide = jnp.asarray(np.asarray(z, np.float64))
    softmax = ACTIVATIONS["softmax"]
    a_exact = jax.nn.softmax(wide)
    bound = rounded(softmax.rounding(wide, a_exact)[0], wide, dtype)
    assert_close(softmax.sigma(z), a_exact, bound, dtype=dtype)
    if scale == 1:
        e = jnp.exp(z)
        assert_close(e / e.sum(axis=-1, keepdims=True), a_exact, bound, dtype=dtype)


@everywhere
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_zeros_give_what_jax_nn_gives(name, dtype):
    a, s = (np.asarray(v)[ZEROS] for v in on_grid(_ours, dtype)[name])
    (a_exact, s_exact), _ = on_grid(_exact, dtype)[name]
    # σ is 0, ½ or log 2 and σ′ 0, ½ or 1: all exact but log 2, and softplus' ½ that is had from it.
    u = 2 * unit_roundoff(dtype) if name in ("softplus", "selu", "hard_sigmoid") else 0
    assert_close((a, s), (a_exact[ZEROS], s_exact[ZEROS]), u, dtype=dtype)


def test_derivatives_at_the_kink_are_these():
    at_zero = {name: on_grid(_ours, "float32")[name][1][-2:].tolist() for name in ELEMENTWISE}
    assert at_zero["relu"] == [0, 0]
    assert at_zero["leaky_relu"] == [1, 1]
    assert at_zero["elu"] == [1, 1]
    assert at_zero["elu(0.5)"] == [0.5, 0.5]
    assert at_zero["leaky_relu(0.2)"] == [1, 1]
    assert at_zero["selu"] == [pytest.approx(1.7580993, rel=1e-7)] * 2
    for name, kinks in (("hard_sigmoid", [-3.0, 3.0]), ("hard_tanh", [-1.0, 1.0])):
        sigma, z = activation(name), jnp.array(kinks)
        assert sigma.prime(z, sigma(z)).tolist() == [0, 0]  # as PyTorch has them
        assert derivative(sigma.sigma)(z).tolist() == [0, 0]
        assert sigma.kinks == tuple(kinks)


# σ and σ′ far to the left and right, where they are exact in any format that holds z.
FAR = {
    "sigmoid": lambda z: ((0, 0), (1, 0)),
    "tanh": lambda z: ((-1, 0), (1, 0)),
    "relu": lambda z: ((0, 0), (z, 1)),
    "elu": lambda z: ((-1, 0), (z, 1)),
    "softplus": lambda z: ((0, 0), (z, 1)),
    "silu": lambda z: ((0, 0), (z, 1)),
    "gelu": lambda z: ((0, 0), (z, 1)),
    "gelu_tanh": lambda z: ((0, 0), (z, 1)),
    "hard_sigmoid": lambda z: ((0, 0), (1, 0)),
    "hard_tanh": lambda z: ((-1, 0), (1, 0)),
    "elu(0.5)": lambda z: ((-0.5, 0), (z, 1)),
    "swish(1.5)": lambda z: ((0, 0), (z, 1)),
}
# Those that never are exact: their far ends are the stated rounding's, and finite.
NEVER = ("selu", "softsign", "exp")


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name not in NEVER])
@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_values_are_finite_and_exact(name, dtype):
    left, right = grid(dtype)[FAR_ENDS].astype(float)
    a, s = (np.asarray(v)[FAR_ENDS] for v in on_grid(_ours, dtype)[name])
    u = 0
    if name.startswith("leaky_relu"):  # the slope is itself rounded, and then the product
        slope = 0.2 if name == "leaky_relu(0.2)" else 0.01
        (low, high), u = ((slope * left, slope), (right, 1)), unit_roundoff(dtype)
    elif name == "identity":
        low, high = (left, 1), (right, 1)
    else:
        low, high = FAR[name](right)
    desired = np.array([low[0], high[0]]), np.array([low[1], high[1]])
    bound = 3 * u * np.array([abs(low[0]), 0]), u * np.array([low[1], 0])
    assert_close((a, s), desired, bound, dtype=dtype)


@pytest.mark.parametrize("name", [*EVERY, "softmax"])
def test_nan_passes_through(name):
    z = jnp.array([[1.0, jnp.nan, -2.0]])
    a = activation(name).sigma(z)
    assert jnp.isnan(a[0, 1])
    if name == "softmax":
        assert jnp.isnan(a).all()
    else:
        assert_close(a[:, ::2], activation(name).sigma(z[:, ::2]), 2**-23)  # an ulp of lanes' exp


@pytest.mark.parametrize("name", [*EVERY, "softmax"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 3)], ids=["example", "batch"])
def test_dtype_and_shape_stay(x64, name, dtype, shape):
    sigma = activation(name)
    z = jax.ShapeDtypeStruct(shape, dtype)
    a = jax.eval_shape(sigma.sigma, z)
    pulled = jax.eval_shape(sigma.pull_back, a, z, a)
    assert (a.shape, a.dtype) == (shape, jnp.dtype(dtype))
    assert (pulled.shape, pulled.dtype) == (shape, jnp.dtype(dtype))
    if name != "softmax":
        for result in jax.eval_shape(functools.partial(recall, sigma), z, a, a):
            assert (result.shape, result.dtype) == (shape, jnp.dtype(dtype))


normal = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no failure
)
@given(arrays(np.float32, 16, elements=normal))
def test_any_float_is_within_the_stated_rounding(z):
    with jax.enable_x64(True):
        truth = _exact(jnp.asarray(z, jnp.float64))
        ours = _ours(jnp.asarray(z))
        for name, (value, units) in truth.items():
            there = within_range(name, z, "float32")
            arrays = (*ours[name], *value, *stated(name, z, units, "float32"))
            a, s, a_exact, s_exact, *bound = (np.asarray(array)[there] for array in arrays)
            assert_close((a, s), (a_exact, s_exact), tuple(bound), dtype="float32")


def test_softmax_pull_back_is_its_jacobian_transposed(x64):
    z = jnp.array([[0.3, -1.2, 2.0], [0.0, 0.5, -0.5]])
    g = jnp.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
    softmax = ACTIVATIONS["softmax"]
    a, transpose = jax.vjp(jax.nn.softmax, z)
    # aⱼ(gⱼ - Σ gₖaₖ): some ten roundings of numbers no greater than 3.
    assert_close(softmax.pull_back(g, z, a), transpose(g)[0], 60 * unit_roundoff("float64"))
    assert_close(softmax.pull_back(g[0], z[0], a[0]), transpose(g)[0][0], 60 * 2**-53)


def test_softmax_has_no_elementwise_derivative():
    with pytest.raises(TypeError, match="Jacobian"):
        ACTIVATIONS["softmax"].prime(jnp.ones(3), jnp.ones(3))


def test_users_own_activation_from_z_and_from_a(x64):
    # a = z³, σ′ = 3z²; and a = eᶻ, σ′ = a. One layer, W = 2, b = 0, x = 1, y = 0, so z = 2:
    #   cube: a = 8, C = 8²/2 = 32, δ = 8 · 12 = 96, dW = 96
    #   exp:  a = e², C = e⁴/2, δ = e² · e² = e⁴, dW = e⁴
    cube = Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
    exp = Activation("exp", jnp.exp, lambda a: a, of="a")
    params = ((jnp.array([[2.0]]), jnp.array([0.0])),)
    x, y = jnp.array([1.0]), jnp.array([0.0])
    for sigma, C, delta in ((cube, 32.0, 96.0), (exp, np.exp(4) / 2, np.exp(4))):
        step = backprop(Network((1, 1), (sigma,), "quadratic"), (Layer(*params[0]),), x, y)
        bound = 8 * unit_roundoff("float64") * 96  # a few operations on numbers below 100
        assert_close(step.cost, jnp.array(C), bound)
        assert_close(step.delta[0], jnp.array([delta]), bound)
        assert_close(step.dW[0], jnp.array([[delta]]), bound)


def test_names_are_their_keys():
    assert all(str(sigma) == name for name, sigma in ACTIVATIONS.items())
    assert set(ACTIVATIONS) == {name for name in (*EVERY, "softmax") if "(" not in name}
    assert all(sigma.built_in for sigma in ACTIVATIONS.values())
    assert all(activation(name).name == name for name in EVERY)


# ── Names with a parameter ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("leaky_relu(0.2)", "leaky_relu(0.2)"),
        (" leaky_relu ( .20 ) ", "leaky_relu(0.2)"),
        ("leaky_relu(2e-1)", "leaky_relu(0.2)"),
        ("leaky_relu(0.01)", "leaky_relu"),
        ("elu(1)", "elu"),
        ("elu(2.0)", "elu(2)"),
        ("swish(1.0)", "silu"),
        ("swish", "silu"),
        ("swish(1e-3)", "swish(0.001)"),
    ],
)
def test_one_text_is_one_object(text, name):
    sigma = activation(text)
    assert sigma.name == name
    assert sigma is activation(name)
    assert sigma.built_in
    assert pickle.loads(pickle.dumps(sigma)) is copy.deepcopy(sigma) is copy.copy(sigma) is sigma
    net = Network((2, 1), (text,), "quadratic")
    assert net == Network((2, 1), (name,), "quadratic")
    assert hash(net) == hash(Network((2, 1), (sigma,), "quadratic"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leaky_relu(-1)", "expected a slope for z < 0 above 0 and below 1, got -1; write 'leaky"),
        ("leaky_relu(1)", "expected a slope for z < 0 above 0 and below 1, got 1"),
        ("elu(0)", r"expected a number α above 0, got 0; write 'elu\(0.5\)'"),
        ("elu(1e999)", "expected a number α above 0, got inf"),
        ("elu(x)", "expected a name, or a name with numbers as its parameters"),
        ("elu()", "expected a name, or a name with numbers"),
        ("elu(1", "expected a name, or a name with numbers"),
        ("elu(__import__('os'))", "expected a name, or a name with numbers"),
        ("elu(" + "1" * 10**6 + ")", "expected a name, or a name with numbers"),
        ("swish(1, 2)", "expected other parameters; write 'swish"),
        ("swish((1, 2))", "expected a number β above 0"),
        ("swish(b=2)", "expected other parameters; write 'swish"),
        ("tanh(2)", "activation tanh takes no parameters; write 'tanh'"),
        ("leakyrelu(0.2)", "unknown name 'leakyrelu.0.2.'; did you mean 'leaky_relu'"),
        ("", "expected a name"),
    ],
)
def test_a_text_that_does_not_fit_is_one_error(text, message):
    with pytest.raises(ValueError, match=rf"^activations\[0\]: .*{message}") as refusal:
        Network((2, 1), (text,), "quadratic")
    assert len(str(refusal.value)) < 400


def test_a_namesake_is_not_built_in():
    for name in ("tanh", "leaky_relu(0.2)", "<script>&"):
        own = Activation(name, jnp.tanh, lambda a: 1 - a * a, "a")
        assert not own.built_in
        assert own != activation("tanh")
