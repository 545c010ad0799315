import ast
import inspect
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.families import parsed
from manual_bp.witnesses.summation import PYTHON_FLOATS, SIGMA, Numbers, node_by_node, summation
from planting import with_sigmas

# ── Proofs, on symbols ───────────────────────────────────────────────────────────────────────────

SYMBOLS = Numbers(
    number=lambda value: sympy.nsimplify(value, rational=True),
    sum=lambda terms: sympy.Add(*terms),
    greatest=lambda z: 0,
    pi=sympy.pi,
    sqrt=sympy.sqrt,
    exp=sympy.exp,
    expm1=lambda z: sympy.exp(z) - 1,
    log=sympy.log,
    tanh=sympy.tanh,
    sigmoid=lambda z: 1 / (1 + sympy.exp(-z)),
    softplus=lambda z: sympy.log(1 + sympy.exp(z)),
    normal_cdf=lambda z: (1 + sympy.erf(z / sympy.sqrt(2))) / 2,
)
SMOOTH = [
    *("identity", "sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh"),
    *("exp", "swish(1.5)"),
]
KINKED = [
    *("relu", "leaky_relu", "elu"),
    *("selu", "softsign", "leaky_relu(0.2)", "elu(0.5)"),
]
LINEAR = {"hard_sigmoid": (-3, 3), "hard_tanh": (-1, 1)}  # in pieces, and where these end


def formulas(name):
    """σ and σ′ of a name with or without a parameter."""
    name, numbers, _ = parsed(name)
    return [lambda z, on, of=of: of(z, on, *numbers) for of in SIGMA[name]]


def is_zero(expression):
    """Whether the expression is zero for all values of its symbols: True only if proved.

    Every function of symbols is replaced by a symbol of its own, from the inside out: hyperbolic
    ones by exponentials first, and exponentials of multiples of one argument by powers of one
    symbol. If the rational function that remains is zero for all values of those symbols, then
    it is for the values that they stand for.
    """
    expression = sympy.sympify(expression)
    if expression.has(sympy.Function):  # powers alone would become exponentials of logarithms
        expression = expression.rewrite(sympy.exp)
    while functions := [f for f in expression.atoms(sympy.Function) if not has_functions(f)]:
        names, powers = {}, []  # powers: of one base, each exp and its exponent
        for f in functions:
            if not isinstance(f, sympy.exp):
                names[f] = next(
                    (name for g, name in names.items() if g.func == f.func and equal(f, g)),
                    sympy.Dummy(),
                )
                continue
            for power in powers:
                exponent = sympy.cancel(f.args[0] / next(iter(power)).args[0])
                if exponent.is_Rational:
                    power[f] = exponent
                    break
            else:
                powers.append({f: sympy.Integer(1)})
        for power in powers:
            base, unit = sympy.Dummy(), sympy.gcd_list(list(power.values()))
            names |= {f: base ** (exponent / unit) for f, exponent in power.items()}
        expression = expression.xreplace(names)
    return sympy.numer(sympy.together(expression)).expand() == 0


def equal(f, g):
    return sympy.cancel(f.args[0] - g.args[0]) == 0


def has_functions(f):
    return any(argument.has(sympy.Function) for argument in f.args)


def symbols(net, m, W="real", b_and_x="real"):
    def array(name, assumption, *shape):
        names = sympy.symbols(f"{name}:{int(np.prod(shape))}", **{assumption: True})
        return sympy.MutableDenseNDimArray(names, shape).tolist()

    params = [
        (array(f"W{l}_", W, n, n_prev), array(f"b{l}_", b_and_x, n))
        for l, n, n_prev in zip(net.layers, net.sizes[1:], net.sizes[:-1], strict=True)
    ]
    return params, array("x", b_and_x, m, net.sizes[0]), array("y", "real", m, net.sizes[-1])


def gradients_that_are_not_proved(net, params, x, y):
    step = node_by_node(net, params, x, y, SYMBOLS)
    pairs = []
    for (W, b), dW, db in zip(params, step.dW, step.db, strict=True):
        for row, d_row in [*zip(W, dW, strict=True), (b, db)]:
            pairs += zip(row, d_row, strict=True)
    return [str(w) for w, dw in pairs if not is_zero(sympy.diff(step.cost, w) - dw)]


class sigma(sympy.Function):  # noqa: N801  # σ: all that is known of it is its derivative
    def fdiff(self, argindex=1):
        return sigma_prime(*self.args)


class sigma_prime(sympy.Function):  # noqa: N801
    pass


@pytest.mark.parametrize(("sizes", "m"), [((2, 2, 2, 1), 1), ((2, 2, 2), 2), ((1, 2, 2, 2), 2)])
@pytest.mark.parametrize("l2", [0.0, 0.25])
def test_the_gradients_are_those_of_any_differentiable_sigma(monkeypatch, sizes, m, l2):
    abstract = (lambda z, on: sigma(z), lambda z, on: sigma_prime(z))
    monkeypatch.setitem(SIGMA, "tanh", abstract)
    net = mbp.Network(sizes, ["tanh"] * (len(sizes) - 1), "quadratic", l2=l2)
    assert gradients_that_are_not_proved(net, *symbols(net, m)) == []


@pytest.mark.parametrize("name", SMOOTH)
def test_sigma_prime_is_the_derivative_of_sigma(name):
    z = sympy.Symbol("z", real=True)
    value, prime = (of(z, SYMBOLS) for of in formulas(name))
    assert is_zero(sympy.diff(value, z) - prime)


@pytest.mark.parametrize("side", ["positive", "negative"])
@pytest.mark.parametrize("name", KINKED)
def test_sigma_prime_is_the_derivative_of_sigma_on_each_side_of_a_kink(name, side):
    z = sympy.Symbol("z", **{side: True})
    value, prime = (of(z, SYMBOLS) for of in formulas(name))
    assert is_zero(sympy.diff(value, z) - prime)


def test_every_built_in_sigma_is_proved():
    named = [*SMOOTH, *KINKED, *LINEAR]
    assert {parsed(name).name for name in named} == set(SIGMA)
    assert set(ACTIVATIONS) - {"softmax"} <= set(named)


@pytest.mark.parametrize("name", LINEAR)
def test_sigma_prime_is_the_slope_of_each_straight_piece(name):
    # Of a straight line a central difference is exact, and two points of a piece prove it.
    on = PYTHON_FLOATS._replace(number=Fraction, sum=sum)
    low, high = map(Fraction, LINEAR[name])
    sigma, prime = formulas(name)
    h = Fraction(1, 1000)
    for z in (low - 7, low - 2 * h, low + 2 * h, Fraction(1, 3), high - 2 * h, high + 2 * h):
        assert (sigma(z + h, on) - sigma(z - h, on)) / (2 * h) == prime(z, on)
    for kink in (low, high):
        assert sigma(kink - h, on) - 2 * sigma(kink, on) + sigma(kink + h, on) != 0
        assert prime(kink, on) == 0


@pytest.mark.parametrize(
    ("hidden", "output"),
    [(name, "identity") for name in SMOOTH] + [("sigmoid", "sigmoid"), ("identity", "softmax")],
)
def test_the_gradients_of_a_whole_network_of_each_sigma(hidden, output):
    net = mbp.Network((1, 1, 2), (hidden, output), "quadratic", l2=0.25)
    assert gradients_that_are_not_proved(net, *symbols(net, 1)) == []


@pytest.mark.parametrize(
    ("output", "cost"),
    [
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("identity", "mean_squared_error"),
        ("exp", "poisson"),
        ("softmax", "cross_entropy(smoothing=0.1)"),
        ("softmax", "cross_entropy(weights=(1, 2))"),
        ("softmax", "cross_entropy(smoothing=0.25, weights=(3, 0.5))"),
    ],
)
@pytest.mark.parametrize("m", [1, 2])
def test_the_gradients_of_each_cost_for_any_targets(output, cost, m):
    net = mbp.Network((1, 2, 2), ("identity", output), cost, l2=0.25)
    assert gradients_that_are_not_proved(net, *symbols(net, m)) == []


@pytest.mark.parametrize(
    "name",
    [  # its fractions take a minute to be brought together
        pytest.param(name, marks=pytest.mark.sweep) if name == "softsign" else name
        for name in KINKED
    ],
)
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_the_gradients_of_a_whole_network_on_each_side_of_a_kink(name, side):
    net = mbp.Network((2, 2, 2), (name, "identity"), "quadratic")
    z_on_one_side = symbols(net, 2, W="positive", b_and_x=side)
    assert gradients_that_are_not_proved(net, *z_on_one_side) == []


def test_a_wrong_sigma_prime_is_not_proved(monkeypatch):
    monkeypatch.setitem(SIGMA, "tanh", (SIGMA["tanh"][0], lambda z, on: 1 - on.tanh(z)))
    net = mbp.Network((1, 1, 1), ("tanh", "identity"), "quadratic")
    params = symbols(net, 1)
    assert gradients_that_are_not_proved(net, *params) == ["W1_0", "b1_0"]


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────


def test_fractions_are_exact():
    on = PYTHON_FLOATS._replace(number=Fraction, sum=sum)
    net = mbp.Network((2, 2, 2, 1), ("relu", "leaky_relu", "identity"), "quadratic", l2=0.5)
    F = Fraction
    params = [
        ([[F(1, 3), F(-1, 2)], [F(2), F(1, 7)]], [F(1, 5), F(-1, 3)]),
        ([[F(-1), F(1, 2)], [F(3, 4), F(1)]], [F(1, 9), F(1, 11)]),
        ([[F(5, 6), F(-2, 3)]], [F(1)]),
    ]
    x, y = [[F(1, 2), F(1, 3)], [F(-1), F(2)]], [[F(1)], [F(-1, 4)]]
    step = node_by_node(net, params, x, y, on)

    def cost_with(l, part, j, k, w):
        moved = [[[list(r) for r in W], list(b)] for W, b in params]
        if part == 0:
            moved[l][0][j][k] = w
        else:
            moved[l][1][j] = w
        return node_by_node(net, moved, x, y, on).cost

    # C is quadratic in each parameter while no z changes side: its central difference is exact.
    h = F(1, 10**6)
    for l, (W, b) in enumerate(params):
        for j in range(len(b)):
            for k in range(len(W[0])):
                up, down = (cost_with(l, 0, j, k, W[j][k] + s * h) for s in (1, -1))
                assert step.dW[l][j][k] == (up - down) / (2 * h)
            up, down = (cost_with(l, 1, j, 0, b[j] + s * h) for s in (1, -1))
            assert step.db[l][j] == (up - down) / (2 * h)
    assert isinstance(step.cost, Fraction)


def random_call(net, rng, m=3):
    params = tuple(
        mbp.Layer(rng.normal(size=(n, n_prev)), rng.normal(size=n))
        for n_prev, n in zip(net.sizes[:-1], net.sizes[1:], strict=True)
    )
    shape = () if m is None else (m,)
    x, y = rng.normal(size=(*shape, net.sizes[0])), rng.uniform(size=(*shape, net.sizes[-1]))
    return params, x, y


def differences(step, other):
    """Of two records of one structure: |difference| at its largest, in each array."""
    assert jax.tree.structure(step) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(step), jax.tree.leaves(other), strict=True):
        assert np.shape(a) == np.shape(b)
        yield np.abs(np.asarray(a) - np.asarray(b)).max()


# Three layers of at most 5 numbers of order 1 to 10: some dozens of roundings of numbers that are
# at most some hundreds (the cost of a gelu network) keep within 2⁻⁵³ · 10⁴.
ROUNDING = 2.0**-53 * 1e4

CALLS = [(name, "quadratic") for name in ACTIVATIONS if name != "exp"]
CALLS += [(name, "quadratic") for name in ("leaky_relu(0.2)", "elu(0.5)", "swish(1.5)")]
CALLS += [
    ("tanh", "mean_squared_error"),
    ("tanh", "absolute_error"),
    ("identity", "huber"),
    ("identity", "huber(2)"),
    ("identity", "hinge"),
    ("exp", "poisson"),
    ("exp", "quadratic"),
    ("softmax", "cross_entropy(smoothing=0.1)"),
    ("softmax", "cross_entropy(smoothing=0.1, weights=(3, 0.5))"),
    ("softmax", "cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
]


@pytest.mark.parametrize(
    ("name", "cost", "m"),
    [(*call, 3) for call in CALLS] + [("relu", "quadratic", None), (*CALLS[-2], None)],
)
def test_it_agrees_with_autodiff(name, cost, m):
    hidden = "tanh" if name in ("softmax", "exp") else name
    net = mbp.Network((3, 4, 5, 2), (hidden, hidden, name), cost, l2=0.1)
    call = random_call(net, np.random.default_rng(7), m)
    if cost == "hinge":
        call = (*call[:2], np.where(call[2] > 0.5, 1.0, -1.0))
    with jax.enable_x64(True):
        truth = mbp.autodiff(net, *call)
        step = summation(net, *call)
    assert max(differences(step, truth)) < ROUNDING
    assert all(array.dtype == np.float64 for array in jax.tree.leaves(step))


@pytest.mark.parametrize(
    ("name", "at_zero"), [("relu", 0), ("leaky_relu", 1), ("elu", 1), ("softplus", 0.5)]
)
def test_the_derivative_at_a_kink_is_that_of_jax_nn(name, at_zero):
    assert SIGMA[name][1](0.0, PYTHON_FLOATS) == at_zero == jax.grad(getattr(jax.nn, name))(0.0)


@pytest.mark.parametrize("z", [-1e4, -800.0, -40.0, 40.0, 800.0, 1e4])
@pytest.mark.parametrize("name", [*SMOOTH, *KINKED, *LINEAR])
def test_every_sigma_is_finite_far_out(name, z):
    if name == "exp" and z > 700:
        pytest.skip("eᶻ overflows")
    value, prime = (of(z, PYTHON_FLOATS) for of in formulas(name))
    assert np.isfinite([value, prime]).all()
    # So steep where it is straight, but for a rounding.
    steepest = value if name == "exp" else 1.0507009873554805 if name == "selu" else 1
    assert abs(prime) <= steepest * (1 + 2.0**-52)


@pytest.mark.parametrize(("name", "cost"), CALLS[-2:])
def test_the_cost_and_delta_are_exact_where_the_output_saturates(name, cost):
    net = mbp.Network((1, 2), (name,), cost)
    params = (mbp.Layer(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32)),)
    step = summation(net, params, np.array([1e4], np.float32), np.array([0, 1], np.float32))
    assert step.cost == 2e4
    np.testing.assert_array_equal(step.delta[0], [1, -1])


def test_the_published_numbers_of_mazur():
    net = mbp.Network((2, 2, 2), ("sigmoid", "sigmoid"), "quadratic")
    params = [
        ([[0.15, 0.2], [0.25, 0.3]], [0.35, 0.35]),
        ([[0.4, 0.45], [0.5, 0.55]], [0.6, 0.6]),
    ]
    step = node_by_node(net, params, [[0.05, 0.1]], [[0.01, 0.99]])
    half_a_digit = 0.5e-9
    for ours, published in [
        (step.cost, 0.298371109),
        (step.delta[1], [[0.138498562, -0.038098237]]),
        (step.delta[0], [[0.008771355, 0.009954255]]),
        (step.dW[1], [[0.082167041, 0.082667628], [-0.02260254, -0.022740242]]),
    ]:
        np.testing.assert_allclose(ours, published, rtol=0, atol=1.01 * half_a_digit)


def test_the_sums_are_rounded_once_whatever_cancels():
    net = mbp.Network((3, 1), ("identity",), "quadratic")
    params = (mbp.Layer(np.array([[2.0**60, 1.0, -(2.0**60)]], np.float32), np.zeros(1, "f4")),)
    step = summation(net, params, np.ones(3, np.float32), np.zeros(1, np.float32))
    assert step.z[0].tolist() == [1.0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_it_takes_every_dtype_exactly(dtype):
    net = mbp.Network((2, 2), ("identity",), "quadratic")
    params = net.init(jax.random.key(0), dtype)
    step = summation(net, params, jnp.ones((1, 2), dtype), jnp.zeros((1, 2), dtype))
    np.testing.assert_array_equal(step.z[0][0], np.asarray(params[0].W, np.float64).sum(axis=1))


def test_a_users_own_activation_and_cost_are_taken_as_written():
    cube = mbp.Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
    of_a = mbp.Activation("square", lambda z: jnp.exp(z), lambda a: a, of="a")
    quartic = mbp.Cost(
        "quartic",
        value=lambda a, y: ((a - y) ** 4).sum(axis=-1) / 4,
        gradient=lambda a, y: (a - y) ** 3,
    )
    net = mbp.Network((2, 3, 2), (cube, of_a), quartic)
    rng = np.random.default_rng(3)
    params, x, y = random_call(net, rng)
    params = jax.tree.map(lambda w: w / 4, params)
    with jax.enable_x64(True):
        assert max(differences(summation(net, params, x, y), mbp.autodiff(net, params, x, y))) < (
            ROUNDING
        )


def test_a_users_own_delta_is_taken_as_written():
    halves = mbp.Cost(
        "halves",
        value=lambda a, y: ((a - y) ** 2).sum(axis=-1) / 2,
        delta=lambda a, y: (a - y) * a * (1 - a),
    )
    net = mbp.Network((2, 2), ("sigmoid",), halves)
    call = random_call(net, np.random.default_rng(4))
    with jax.enable_x64(True):
        assert max(differences(summation(net, *call), mbp.autodiff(net, *call))) < ROUNDING


def test_a_planted_mistake_is_seen():
    right = mbp.Network((3, 4, 2), ("tanh", "identity"), "quadratic")
    call = random_call(right, np.random.default_rng(5))
    with jax.enable_x64(True):
        witness = summation(right, *call)
        wrong = mbp.Activation("tanh", jnp.tanh, lambda a: 1 - a, "a")
        subject = mbp.backprop(with_sigmas(right, wrong, right.activations[1]), *call)
    # The output's δ is right; that of the layer with the wrong σ′ is not, nor is what follows.
    off = list(differences(subject.delta, witness.delta))
    assert off[1] < ROUNDING
    assert off[0] > 1e-2


def test_what_does_not_fit_is_named():
    net = mbp.Network((2, 1), ("identity",), "quadratic")
    params = net.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\)"):
        summation(net, params, jnp.ones((5, 3)), jnp.ones((5, 1)))


def test_neither_jax_nor_numpy_takes_part_in_the_sums():
    tree = ast.parse(inspect.getsource(inspect.getmodule(summation)))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    of_users = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_of_user"
    )
    in_of_user = {
        alias.name
        for node in ast.walk(of_users)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "np"
    }
    assert imported - in_of_user == {"math", "numpy"}
    assert used == {"asarray", "float64"}
    assert not any(isinstance(node, ast.MatMult) for node in ast.walk(tree))
