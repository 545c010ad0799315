"""The catalogue: every mistake planted where it has room, found there and named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import assert_close, random_case
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.equations import in_words
from manual_bp.diagnosis.explanation import Used
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.record import places
from planting import SQUARE, UNEQUAL, at, diagonal, leaves, ordinary, plant, room, same, square

ALONE = [("gradient_clipped_by_norm", "BP1")]  # of gradients whose δ is not shown
ONLY_OF_EACH_EXAMPLE = [
    ("sum_for_mean", "BP3"),
    ("sum_for_mean", "BP4"),
]  # where 1/m comes in there
ELSEWHERE = ("momentum_mixed_in", "float32_step")  # of an update; in float64
KINDS = [
    (name, kind)
    for name, mistake in CATALOGUE.items()
    for kind in mistake.kinds.split()
    if (name, kind) not in ONLY_OF_EACH_EXAMPLE + ALONE and name not in ELSEWHERE
]

# ── Every mistake ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=[f"{n} in {k}" for n, k in KINDS])
def test_a_planted_mistake_is_found_and_named(name, kind):
    planted = room(CATALOGUE[name], kind)
    assert planted is not None, "no case of planting.py has room for it"
    case, place, wrong = planted
    diagnosis = mbp.check(*case, wrong)
    (finding,) = diagnosis.findings
    if finding.equation == "convention":  # that of who adds the gradients, or a mistake
        assert (name, finding.mistake) == ("ascent_sign", "convention or ascent_sign")
    else:
        assert (finding.equation, finding.layer) == (place.equation, place.layer)
    assert name in finding.mistake.split(" or ")
    assert finding.fix
    assert not diagnosis.ok


@pytest.mark.parametrize("kind", ["BP3", "BP4"])
def test_a_mean_that_is_missing_where_the_gradients_are_made(kind):
    net, params, x, y = ordinary()
    convention = mbp.Convention(delta="example")
    where = {at(net, kind, 1): CATALOGUE["sum_for_mean"]}
    wrong = backprop_with(net, params, x, y, where, scales=convention.scales(len(x)))
    (finding,) = mbp.check(net, params, x, y, wrong, convention=convention).findings
    assert (finding.equation, finding.layer, finding.mistake) == (kind, 1, "sum_for_mean")
    assert "Divide by m once, where the gradients are made." in finding.fix


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6])  # PyTorch's
def test_all_gradients_clipped_by_their_norm_are_one_finding(l2, epsilon):
    net = mbp.Network((3, 5, 2), ("tanh", "identity"), "quadratic", l2)
    case = (net, *random_case(net, 7, 1, "float32"))
    dW, db = (jax.device_get(getattr(mbp.backprop(*case), name)) for name in ("dW", "db"))
    norm = float(np.sqrt(sum((array**2).sum() for array in (*dW, *db))))
    clipped = [[0.5 / (norm + epsilon) * array for array in arrays] for arrays in (dW, db)]
    diagnosis = mbp.check(*case, dict(zip(("dW", "db"), clipped, strict=True)))
    (finding,) = diagnosis.findings
    assert (finding.equation, finding.layer) == ("BP1", 2)
    assert finding.mistake == "gradient_clipped_by_norm"
    assert f"{0.5 / norm:.3g}"[:4] in finding.explanation


def test_momentum_in_an_update():
    net, params, x, y = diagonal()
    record = mbp.backprop(net, params, x, y)
    step = [
        mbp.Layer(W - 0.05 * dW, b - 0.05 * db)
        for (W, b), dW, db in zip(params, record.dW, record.db, strict=True)
    ]
    diagnosis = mbp.check(net, params, x, y, mbp.Update(step, 0.5))
    (finding,) = diagnosis.findings
    assert (finding.equation, finding.layer) == ("BP1", 2)
    assert "momentum_mixed_in" in finding.mistake.split(" or ")


@pytest.mark.parametrize("kind", ["z", "a", "BP1", "BP2", "BP3", "BP4"])
def test_a_step_in_single_precision(kind):
    with jax.enable_x64(True):
        case = (UNEQUAL, *random_case(UNEQUAL, 7, 1, "float64"))
        place = at(UNEQUAL, kind, 1 + (kind == "BP1"))
        wrong = backprop_with(*case, {place: CATALOGUE["float32_step"]})
    (finding,) = mbp.check(*case, wrong).findings
    assert (finding.equation, finding.layer) == (place.equation, place.layer)
    assert "float32_step" in finding.mistake.split(" or ")


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("x", [0]),
        ("z", [1, 2]),
        ("cost", [2]),
        ("BP1", [2]),
        ("BP2", [1]),
        ("BP3", [1, 2]),
        ("BP4", [1, 2]),
    ],
)
def test_the_layers_that_have_an_equation(kind, layers):
    assert sorted(p.layer for p in places(UNEQUAL) if p.kind == kind) == layers


def test_a_mistake_goes_kind_by_kind_through_the_layers():
    found = [(p.kind, p.layer) for p in places_for(UNEQUAL, CATALOGUE["unit_dropped"])]
    assert found == [("a", 1), ("a", 2), ("BP1", 2), ("BP2", 1), ("BP3", 1), ("BP3", 2)]


def test_the_catalogue_is_in_order():
    assert len(CATALOGUE) >= 25
    for name, mistake in CATALOGUE.items():
        assert name == mistake.name == name.lower()
        assert name.isidentifier()
        assert set(mistake.kinds.split()) <= {place.kind for place in places(UNEQUAL)}
        for convention in (mbp.Convention(), mbp.Convention("columns", "in_out", "sum", "example")):
            for kind in mistake.kinds.split():
                used = [Used(mistake, 3.0, "tanh")]
                words = in_words(kind, UNEQUAL, convention, used, 7)
                assert words
                assert "{" not in words
            assert mistake.fix_in(convention).endswith(".")


# ── Worked by hand ───────────────────────────────────────────────────────────────────────────────

# x Wᵀ + b, all σ the identity:       z¹ = 2 2   z² = 0  7   a² − y = −1 2   δ² = −½ 1
#                                          5 4        1 15             1 1         ½ ½
BY_HAND = mbp.Network((2, 2, 2), ("identity", "identity"), "quadratic")
PENALISED = mbp.Network((2, 2, 2), ("identity", "identity"), "quadratic", 0.5)
PARAMS = (
    mbp.Layer(jnp.array([[1.0, 2], [3, -1]]), jnp.array([1.0, -1])),
    mbp.Layer(jnp.array([[1.0, -1], [2, 1]]), jnp.array([0.0, 1])),
)
X, Y = jnp.array([[1.0, 0], [2, 1]]), jnp.array([[1.0, 5], [0, 14]])

# σ the logistic function, whose σ(0) is ½ and σ′(0) is ¼: z¹ = 0, a¹ = ½, δ² = 1, (W²)ᵀδ² = 4.
LOGISTIC = mbp.Network((1, 1, 1), ("sigmoid", "identity"), "quadratic")
AT_0 = (
    (mbp.Layer(jnp.ones((1, 1)), jnp.zeros(1)), mbp.Layer(4 * jnp.ones((1, 1)), jnp.zeros(1))),
    jnp.zeros((1, 1)),
    jnp.ones((1, 1)),
)


def test_the_right_numbers():
    assert_close(
        plant((BY_HAND, PARAMS, X, Y)),
        jax.tree.map(
            lambda v: jnp.asarray(v, jnp.float32),
            mbp.Backprop(
                cost=1.75,
                z=(np.array([[2, 2], [5, 4]]), np.array([[0, 7], [1, 15]])),
                a=(X, np.array([[2, 2], [5, 4]]), np.array([[0, 7], [1, 15]])),
                delta=(np.array([[1.5, 1.5], [1.5, 0]]), np.array([[-0.5, 1], [0.5, 0.5]])),
                dW=(np.array([[4.5, 1.5], [1.5, 0]]), np.array([[1.5, 1], [4.5, 4]])),
                db=(np.array([3, 1.5]), np.array([0, 1.5])),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("name", "place", "l", "expected"),
    [
        ("ascent_sign", "BP1", 2, [[0.5, -1], [-0.5, -0.5]]),
        ("sum_for_mean", "BP1", 2, [[-1, 2], [1, 1]]),
        ("sum_for_mean", "cost", 2, 3.5),
        ("mean_twice", "BP1", 2, [[-0.25, 0.5], [0.25, 0.25]]),
        ("half_missing", "cost", 2, 3.5),
        ("half_twice", "BP1", 2, [[-0.25, 0.5], [0.25, 0.25]]),
        ("labels_off_by_one", "BP1", 2, [[-2.5, 3], [-6.5, 7.5]]),
        ("targets_of_other_examples", "BP1", 2, [[0, -3.5], [0, 5]]),
        ("targets_of_other_examples", "cost", 2, 37.25),
        ("weights_updated_first", "BP2", 1, [[-0.375, -0.25], [0, -1.25]]),
        ("weights_not_transposed", "BP2", 1, [[-1.5, 0], [0, 1.5]]),
        ("weights_of_wrong_layer", "BP2", 1, [[2.5, -2], [2, 0.5]]),
        ("mean_again", "BP2", 1, [[0.75, 0.75], [0.75, 0]]),
        ("example_dropped", "BP2", 1, [[0, 0], [1.5, 0]]),
        ("unit_dropped", "BP2", 1, [[0, 1.5], [0, 0]]),
        ("bias_averaged", "BP3", 1, [1.5, 0.75]),
        ("bias_wrong_axis", "BP3", 2, [0.5, 1]),
        ("bias_missing", "BP3", 1, [0, 0]),
        ("accumulated", "BP3", 2, [0, 3]),
        ("delta_of_next_layer", "BP3", 1, [0, 1.5]),
        ("example_left_out", "BP3", 1, [1.5, 1.5]),
        ("gradient_transposed", "BP4", 2, [[1.5, 4.5], [1, 4]]),
        ("activation_of_same_layer", "BP4", 1, [[10.5, 9], [3, 3]]),
        ("delta_of_next_layer", "BP4", 1, [[0.5, 0.5], [2, 0.5]]),
        ("unit_dropped_from_gradient", "BP4", 2, [[1.5, 1], [0, 0]]),
        ("bias_omitted", "z", 1, [[1, 3], [4, 5]]),
        ("bias_twice", "z", 1, [[3, 1], [6, 3]]),
        ("forward_transposed", "z", 1, [[2, 1], [6, 2]]),
        ("input_rescaled", "x", 0, [[0.5, 0], [1, 0.5]]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_by_hand(name, place, l, expected):
    assert_planted(BY_HAND, (PARAMS, X, Y), name, place, l, expected)


@pytest.mark.parametrize(
    ("name", "place", "l", "expected"),
    [  # l2/2 Σ‖W‖² = ¼ · 22; ½W² is added to ∂C/∂W²
        ("penalty_missing", "cost", 2, 1.75),
        ("penalty_doubled", "cost", 2, 12.75),
        ("penalty_on_biases", "cost", 2, 8),
        ("penalty_missing", "BP4", 2, [[1.5, 1], [4.5, 4]]),
        ("penalty_halved", "BP4", 2, [[1.75, 0.75], [5, 4.25]]),
        ("penalty_doubled", "BP4", 2, [[2.5, 0], [6.5, 5]]),
        ("bias_penalised", "BP3", 1, [3.5, 1]),
        ("gradient_transposed", "BP4", 2, [[2, 4], [2, 4.5]]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_penalty_by_hand(name, place, l, expected):
    assert_planted(PENALISED, (PARAMS, X, Y), name, place, l, expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_hidden_derivative", 4),
        ("sigma_for_derivative", 2),
        ("derivative_at_a", 0.940014849),  # 4 σ(½)(1 − σ(½))
        ("derivative_of_z_as_if_a", 0),
        ("derivative_of_wrong_layer", 4),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_derivative_by_hand(name, expected):
    assert_planted(LOGISTIC, AT_0, name, "BP2", 1, [[expected]], 1e-6)


def assert_planted(net, batch, name, kind, l, expected, bound=0.0):
    record = plant((net, *batch), (name, kind, l))
    array = np.asarray(record.at(at(net, kind, l)))
    assert_close(array, np.array(expected, np.float32), bound)


# ── Planting ─────────────────────────────────────────────────────────────────────────────────────


def test_nothing_planted_is_backprop():
    case = ordinary()
    assert mbp.compare(*case, subject=plant(case)).ok


@pytest.mark.parametrize(
    ("where", "changed"),
    [
        (("sum_for_mean", "cost", 2), {"cost"}),
        (("bias_averaged", "BP3", 1), {"db1"}),
        (("penalty_missing", "BP4", 2), {"dW2"}),
        (("no_hidden_derivative", "BP2", 1), {"delta1", "dW1", "db1"}),
        (("ascent_sign", "BP1", 2), {"delta2", "dW2", "db2", "delta1", "dW1", "db1"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_planting_changes_one_equation_and_what_follows(where, changed):
    case = ordinary()
    right, wrong = leaves(plant(case)), leaves(plant(case, where))
    assert {name for name in right if not np.array_equal(right[name], wrong[name])} == changed


@pytest.mark.parametrize(
    ("name", "place", "l", "why"),
    [
        ("weights_not_transposed", "BP2", 1, "W² is not square"),
        ("gradient_transposed", "BP4", 1, "W¹ is not square"),
        ("forward_transposed", "z", 1, "W¹ is not square"),
        ("bias_wrong_axis", "BP3", 1, "7 examples, 5 neurons"),
        ("half_missing", "BP1", 2, "no quadratic cost"),
        ("no_output_derivative", "BP1", 2, "σ′ cancels"),
        ("delta_of_wrong_layer", "BP2", 1, "there is no δ³"),
        ("delta_of_next_layer", "BP4", 2, "there is no δ³"),
        ("forward_sum_not_activation", "z", 1, "there is no z⁰"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_no_room(name, place, l, why):
    with pytest.raises(ValueError, match=f"no room for {name} at {place}, layer {l}"):
        plant(ordinary(), (name, place, l))


@pytest.mark.parametrize("name", ["sum_for_mean", "mean_twice", "targets_of_other_examples"])
def test_one_example_has_no_room_for_a_mistake_about_m(name):
    with pytest.raises(ValueError, match="no room"):
        plant(ordinary(m=1), (name, "BP1", 2))


def test_eta_is_the_callers():
    case = ordinary()
    small, large = (
        plant(case, ("weights_updated_first", "BP2", 1), eta=eta).delta[0] for eta in (0.1, 0.2)
    )
    right = plant(case).delta[0]
    # Linear in η, to a few roundings.
    assert_close(large - right, 2 * (small - right), 16 * 2.0**-24 * float(abs(large).max()))


def test_mistakes_add_up():
    case = square()
    both = plant(case, ("ascent_sign", "BP1", 3), ("bias_missing", "BP3", 2))
    assert not both.db[1].any()
    assert_close(both.delta[2], -plant(case).delta[2])
    assert not same(both, backprop_with(*case, {}))
    assert SQUARE.depth == 3
    assert UNEQUAL.depth == 2
