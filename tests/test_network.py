"""What a network is, its random start, and what a caller who hands in the wrong thing is told."""

import copy
import pickle

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from helpers import DTYPES, ELEMENTWISE, HEADS, assert_close
from manual_bp import (
    Activation,
    Cost,
    Layer,
    Network,
    autodiff,
    backprop,
    cost,
    forward,
    update,
    value_and_grad,
)

NET = Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
PARAMS = (
    Layer(np.full((4, 3), 0.5, np.float32), np.full(4, 0.1, np.float32)),
    Layer(np.full((2, 4), -0.5, np.float32), np.full(2, 0.2, np.float32)),
)
X = np.ones((5, 3), np.float32)
Y = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 1]]


def test_frozen():
    with pytest.raises(AttributeError):
        NET.l2 = 1.0


def test_equal_networks_have_equal_hashes():
    same = Network([3, np.int64(4), 2], ["tanh", "softmax"], "cross_entropy", 0)
    assert same == NET
    assert hash(same) == hash(NET)
    assert len({same, NET}) == 1
    assert Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy", 0.1) != NET
    assert Network((3, 4, 2), ("relu", "softmax"), "cross_entropy") != NET


@pytest.mark.parametrize(
    "net",
    [NET, Network((2, 1), ("relu",), "quadratic", 1 / 3)],
    ids=["two layers", "one layer and a penalty"],
)
def test_repr_makes_an_equal_network(net):
    assert eval(repr(net), {"Network": Network}) == net


def cube(z):
    return z**3


def cube_prime(z):
    return 3 * z**2


def distance(a, y):
    return ((a - y) ** 2).sum(axis=-1)


def distance_prime(a, y):
    return 2 * (a - y)


@pytest.mark.parametrize(
    "net",
    [
        *(Network((3, 4, 2), (name, name), "quadratic", 0.1) for name in ELEMENTWISE),
        *(Network((3, 4, 2), ("tanh", output or "tanh"), cost) for output, cost in HEADS),
        Network((3, 4, 2), (Activation("cube", cube, cube_prime), "tanh"), "quadratic"),
        Network((3, 2), ("tanh",), Cost("own", distance, gradient=distance_prime)),
    ],
    ids=str,
)
def test_a_copy_is_equal(net):
    for same in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)):
        assert same == net
        assert hash(same) == hash(net)


def test_str_is_short():
    assert str(NET) == "3-4-2 tanh/softmax/cross_entropy"
    deep = Network((4, 3, 3, 3, 1), ("relu",) * 3 + ("sigmoid",), "binary_cross_entropy", 0.5)
    assert str(deep) == "4-3-3-3-1 relu/sigmoid/binary_cross_entropy + 0.5/2·‖W‖²"


def test_layers_count_from_one():
    assert NET.depth == 2
    assert list(NET.layers) == [1, 2]
    assert [NET.sigma[l].name for l in NET.layers] == ["tanh", "softmax"]


# ── init ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
def test_init_shapes_dtypes_and_zero_biases(x64, dtype):
    params = NET.init(jax.random.key(0), dtype)
    assert [type(layer) for layer in params] == [Layer, Layer]
    assert [layer.W.shape for layer in params] == [(4, 3), (2, 4)]
    assert {array.dtype for array in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert_close([layer.b for layer in params], [jnp.zeros(4), jnp.zeros(2)], dtype=dtype)


def test_init_depends_on_the_key_alone():
    one, same, other = (NET.init(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_close(one, same)
    assert not np.array_equal(one[0].W, other[0].W)
    net = Network((4, 4, 4), ("tanh", "tanh"), "quadratic")
    first, second = net.init(jax.random.key(0))
    assert not np.array_equal(first.W, second.W)


HE = {"relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"}
HE |= {"leaky_relu(0.2)", "elu(0.5)", "swish(1.5)"}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_init_variance(name):
    n_prev, n = 300, 100
    W = Network((n_prev, n), (name,), "quadratic").init(jax.random.key(0))[0].W
    variance = 2 / n_prev if name in HE else 2 / (n_prev + n)
    if name == "selu":  # LeCun's, of variance 1/n_prev, is normal too
        variance = 1 / n_prev
    # A sample's variance has the standard deviation v·√((κ - 1)/N), with kurtosis κ <= 3 for both
    # distributions; its mean has √(v/N). Six of each: one chance in 10⁹.
    W = np.asarray(W, np.float64)
    assert abs(W.var() - variance) < 6 * variance * (2 / W.size) ** 0.5
    assert abs(W.mean()) < 6 * (variance / W.size) ** 0.5
    if name not in HE and name != "selu":
        assert np.abs(W).max() <= (6 / (n_prev + n)) ** 0.5 * (1 + 2**-22)  # Glorot's is uniform


def test_init_refuses_a_dtype_that_is_no_float():
    with pytest.raises(TypeError, match=r"dtype: expected one of float16.*float64.*got.*int"):
        NET.init(jax.random.key(0), "int32")


@pytest.mark.parametrize("key", [0, None, "key", jnp.zeros(2)], ids=repr)
def test_init_refuses_what_is_no_key(key):
    with pytest.raises(TypeError, match=r"key: expected a key such as jax\.random\.key\(0\), got"):
        NET.init(key)


def test_init_refuses_float64_while_it_is_off():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"float64.*jax_enable_x64', True"):
        NET.init(jax.random.key(0), "float64")


# ── What does not make a network ─────────────────────────────────────────────────────────────────

MISFITS = {
    "size zero": (((3, 0), ("tanh",), "quadratic"), ValueError, r"sizes\[1\]: .*positive.*got 0"),
    "size negative": (((-3, 1), ("tanh",), "quadratic"), ValueError, r"sizes\[0\]: .*got -3"),
    "size bool": (((3, True), ("tanh",), "quadratic"), ValueError, r"sizes\[1\]: .*got True"),
    "size float": (((3, 2.0), ("tanh",), "quadratic"), ValueError, r"sizes\[1\]: .*got 2\.0"),
    "sizes text": (("32", ("tanh",), "quadratic"), TypeError, "sizes: expected a sequence.*'32'"),
    "sizes number": ((3, ("tanh",), "quadratic"), TypeError, "sizes: expected a sequence.*got 3"),
    "one size": (((3,), (), "quadratic"), ValueError, r"sizes: expected at least two.*\(3,\)"),
    "one name": (((3, 2), "tanh", "quadratic"), TypeError, "activations: .*each layer.*'tanh'"),
    "too few activations": (
        ((3, 2, 1), ("tanh",), "quadratic"),
        ValueError,
        "activations: expected one for each of the 2 layers.*got 1",
    ),
    "unknown activation": (
        ((3, 2), ("thanh",), "quadratic"),
        ValueError,
        r"activations\[0\]: unknown name 'thanh'; did you mean 'tanh'\? Known: identity, ",
    ),
    "far-off activation": (
        ((3, 2), ("zzz",), "quadratic"),
        ValueError,
        r"activations\[0\]: unknown name 'zzz'; Known: identity, ",
    ),
    "activation of a wrong type": (
        ((3, 2), (jnp.tanh,), "quadratic"),
        TypeError,
        r"activations\[0\]: expected a name or a manual_bp\.Activation",
    ),
    "unknown cost": (
        ((3, 2), ("tanh",), "quadratik"),
        ValueError,
        r"cost: unknown name 'quadratik'; did you mean 'quadratic'\? Known: quadratic, ",
    ),
    "cost of a wrong type": (
        ((3, 2), ("tanh",), None),
        TypeError,
        r"cost: expected a name or a manual_bp\.Cost, got NoneType",
    ),
    "softmax hidden": (
        ((3, 4, 2), ("softmax", "softmax"), "cross_entropy"),
        ValueError,
        r"activations\[0\]: softmax.*output",
    ),
    "cross_entropy without softmax": (
        ((3, 2), ("sigmoid",), "cross_entropy"),
        ValueError,
        r"cost: cross_entropy goes with.*softmax, got sigmoid; take \(softmax, cross_entropy\)",
    ),
    "binary_cross_entropy without sigmoid": (
        ((3, 2), ("softmax",), "binary_cross_entropy"),
        ValueError,
        "cost: binary_cross_entropy goes with.*sigmoid, got softmax",
    ),
    "cost without a derivative": (
        ((3, 2), ("tanh",), Cost("mine", lambda a, y: a.sum(-1))),
        ValueError,
        "cost: mine has neither a gradient",
    ),
    "l2 negative": (((3, 2), ("tanh",), "quadratic", -1.0), ValueError, r"l2: .*≥ 0, got -1\.0"),
    "l2 infinite": (((3, 2), ("tanh",), "quadratic", float("inf")), ValueError, "l2: .*got inf"),
    "l2 NaN": (((3, 2), ("tanh",), "quadratic", float("nan")), ValueError, "l2: .*got nan"),
    "l2 text": (((3, 2), ("tanh",), "quadratic", "0"), TypeError, "l2: expected a number.*'0'"),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), MISFITS.values(), ids=MISFITS)
def test_what_makes_no_network(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Network(*arguments)


def test_every_problem_of_a_network_at_once():
    with pytest.raises(ValueError, match="4 things do not fit") as error:
        Network((3, -1), ("thanh",), 5, l2="much")
    for argument in (r"sizes[1]", r"activations[0]", "cost", "l2"):
        assert f"\n  - {argument}: " in str(error.value)


# ── What does not fit a network ──────────────────────────────────────────────────────────────────


def with_layer(l, layer):
    return tuple(layer if i == l else own for i, own in enumerate(PARAMS, start=1))


W1, b1 = PARAMS[0]
W2, b2 = PARAMS[1]
CALLS = {
    "no tuple": (({"W": W1}, X, Y), TypeError, r"params: expected a tuple of 2 Layer.*got dict"),
    "a layer for the tuple": ((PARAMS[0], X, Y), TypeError, "params: .*got Layer"),
    "a layer short": ((PARAMS[:1], X, Y), ValueError, "params: .*each of the 2 layers.*got 1"),
    "no layer": ((with_layer(2, W2), X, Y), TypeError, r"params, layer 2: .*Layer\(W, b\)"),
    "W of a wrong shape": (
        (with_layer(1, Layer(np.ones((4, 9), np.float32), b1)), X, Y),
        ValueError,
        r"params, layer 1, W: expected shape \(4, 3\), got \(4, 9\)$",
    ),
    "W transposed": (
        (with_layer(1, Layer(W1.T, b1)), X, Y),
        ValueError,
        r"params, layer 1, W: expected shape \(4, 3\), got \(3, 4\); W is \(out, in\).*transpose",
    ),
    "b of a wrong shape": (
        (with_layer(2, Layer(W2, b2[:1])), X, Y),
        ValueError,
        r"params, layer 2, b: expected shape \(2,\), got \(1,\)",
    ),
    "W of rows of several lengths": (
        (with_layer(2, Layer([[1.0], [1.0, 2.0]], b2)), X, Y),
        ValueError,
        r"params, layer 2, W: expected rows of one length, got lists of several",
    ),
    "W a dict": (
        (with_layer(2, Layer({}, b2)), X, Y),
        TypeError,
        r"params, layer 2, W: expected real numbers, got dict",
    ),
    "x of a wrong width": (
        (PARAMS, X[:, :2], Y),
        ValueError,
        r"x: expected shape \(m, 3\), or \(3,\) for one example, got \(5, 2\)",
    ),
    "x as columns": ((PARAMS, X.T, Y), ValueError, r"x: .*got \(3, 5\); examples are rows"),
    "x with three axes": ((PARAMS, X[None], Y), ValueError, r"x: expected.*got \(1, 5, 3\)"),
    "x text": ((PARAMS, X.astype(str).tolist(), Y), TypeError, "x: .*real.*dtype <U"),
    "x complex": ((PARAMS, X.astype(complex), Y), TypeError, "x: .*real.*dtype complex128"),
    "x objects": ((PARAMS, X.astype(object), Y), TypeError, "x: .*real.*dtype object"),
    "x float8": ((PARAMS, X.astype(ml_dtypes.float8_e4m3fn), Y), TypeError, "x: .*dtype float8"),
    "y of a wrong width": ((PARAMS, X, X), ValueError, r"y: expected shape \(m, 2\).*got \(5, 3\)"),
    "y one number an example": (
        (PARAMS, X, Y[:, 0] / 2),
        ValueError,
        r"y: expected 2 targets for each example, shape \(5, 2\), got \(5,\)",
    ),
    "y labels from 1": (
        (PARAMS, X, Y[:, 0] + 1),
        ValueError,
        r"y: expected the numbers of 2 classes, 0 to 1, got 1 to 2; they count from 1: pass y - 1",
    ),
    "more x than y": (
        (PARAMS, X, Y[:4]),
        ValueError,
        r"x, y: expected as many examples in both, got shapes \(5, 3\) and \(4, 2\)",
    ),
    "one x for five y": ((PARAMS, X[0], Y), ValueError, r"x, y: .*shapes \(3,\) and \(5, 2\)"),
    "no examples": ((PARAMS, X[:0], Y[:0]), ValueError, r"x: expected at least one example"),
    "mixed dtypes": (
        (with_layer(2, Layer(W2.astype(np.float16), b2)), X, Y),
        TypeError,
        r"params, layer 2, W: expected float32 like params, layer 1, W, got float16",
    ),
    "NaN in x": ((PARAMS, X * np.float32("nan"), Y), ValueError, "x: expected finite.*NaN or Inf"),
    "Inf in W": (
        (with_layer(2, Layer(W2 * np.float32("inf"), b2)), X, Y),
        ValueError,
        "params, layer 2, W: expected finite",
    ),
    "NaN in y": ((PARAMS, X, Y + np.float32("nan")), ValueError, "y: expected finite"),
    "y negative": ((PARAMS, X, Y - 1), ValueError, "y: cross_entropy expects targets from 0"),
}


@pytest.mark.parametrize(("call", "kind", "message"), CALLS.values(), ids=CALLS)
def test_what_does_not_fit(call, kind, message):
    with jax.enable_x64(False), pytest.raises(kind, match=message):
        backprop(NET, *call)


@pytest.mark.parametrize(
    "function",
    [backprop, autodiff, cost, lambda net, *call: value_and_grad(net)(*call)],
    ids=["backprop", "autodiff", "cost", "value_and_grad"],
)
def test_every_function_checks(function):
    with pytest.raises(ValueError, match="2 things do not fit") as error:
        function(NET, with_layer(1, Layer(W1.T, b1)), X, Y[:4])
    assert "params, layer 1, W: expected shape (4, 3), got (3, 4)" in str(error.value)
    assert "x, y: expected as many examples" in str(error.value)


def test_forward_checks():
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 3\)"):
        forward(NET, PARAMS, X[:, :2])


def test_what_is_no_network():
    with pytest.raises(TypeError, match=r"net: expected a manual_bp\.Network, got '3-4-2'"):
        backprop("3-4-2", PARAMS, X, Y)


@pytest.mark.parametrize("target", [-0.25, 1.25])
def test_binary_targets_out_of_range(target):
    net = Network((3, 2), ("sigmoid",), "binary_cross_entropy")
    y = np.array([[0.5, target]], np.float32)
    with pytest.raises(ValueError, match=rf"y: binary_cross_entropy.*from 0 to 1, got .*{target}"):
        backprop(net, net.init(jax.random.key(0)), X[:1], y)


def test_every_mismatch_of_a_call_at_once():
    broken = (Layer(W1.T, b1[:1]), Layer({}, [1, 2, 3]))
    with pytest.raises(ValueError, match="things do not fit") as error:
        backprop(NET, broken, X[:, :1], X)
    lines = str(error.value).split("\n  - ")
    for argument in ("layer 1, W", "layer 1, b", "layer 2, W", "layer 2, b", "x", "y"):
        assert any(line.removeprefix("params, ").startswith(f"{argument}: ") for line in lines)


def test_numbers_are_not_looked_at_under_jit():
    # There they are not known. NaN goes through, and shows in the result.
    step = jax.jit(lambda x: backprop(NET, PARAMS, x, Y))(X * np.float32("nan"))
    assert jnp.isnan(step.cost)
    assert jnp.isnan(step.dW[0]).all()
    with pytest.raises(ValueError, match="x: expected shape"):  # shapes are known
        jax.jit(lambda x: backprop(NET, PARAMS, x, Y))(X[:, :2])


# ── update ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "gradients",
    [PARAMS[:1], (PARAMS[1], PARAMS[0]), list(PARAMS), jax.tree.map(np.float16, PARAMS)],
    ids=["a layer short", "wrong shapes", "a list for a tuple", "another dtype"],
)
def test_update_refuses_what_does_not_fit(gradients):
    with pytest.raises(ValueError, match=r"gradients: expected the structure.*value_and_grad"):
        update(PARAMS, gradients, 0.1)


@pytest.mark.parametrize("eta", [np.ones(2), 1j, None, True], ids=repr)
def test_update_refuses_what_is_no_number(eta):
    with pytest.raises(TypeError, match="learning_rate: expected one real number"):
        update(PARAMS, PARAMS, eta)


@pytest.mark.parametrize("eta", [1, 1.0, np.float64(1), jnp.float32(1)], ids=repr)
def test_update_takes_any_real_number(eta):
    assert_close(update(PARAMS, PARAMS, eta), jax.tree.map(np.zeros_like, PARAMS))


def test_users_own_activation_and_cost_make_a_network():
    cube = Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
    quartic = Cost("quartic", lambda a, y: ((a - y) ** 4).sum(-1), lambda a, y: 4 * (a - y) ** 3)
    net = Network((2, 1), (cube,), quartic)
    assert str(net) == "2-1 cube/quartic"
    assert net == Network((2, 1), (cube,), quartic)
