"""suggest_case: a small case on which every mistake of the catalogue shows."""

import jax
import pytest

import manual_bp as mbp
from manual_bp.diagnosis.case import suggest_case
from manual_bp.diagnosis.edits import CATALOGUE
from planting import UNEQUAL, plant

WRONG = ("no_hidden_derivative", "BP2", 1)

SUGGESTED = {
    "smooth": UNEQUAL,
    "relu": mbp.Network((3, 5, 2), ("relu", "softmax"), "cross_entropy", 0.1),
    "one layer": mbp.Network((3, 2), ("softmax",), "cross_entropy"),
    "quadratic": mbp.Network((3, 5, 2), ("tanh", "tanh"), "quadratic"),
}
# For these a network must have layers of one width, or a batch as wide as a layer.
OF_ONE_WIDTH = {
    "matrix_product_for_hadamard",
    "weights_not_transposed",
    "weights_of_wrong_layer",
    "derivative_of_wrong_layer",
    "delta_of_wrong_layer",
    "delta_of_next_layer",
    "gradient_transposed",
    "activation_of_same_layer",
    "bias_wrong_axis",
    "forward_transposed",
    "stale_delta",
}
# Of a case in float64, and of an update.
ELSEWHERE = {"float32_step", "momentum_mixed_in"}
QUADRATIC = {"half_missing", "half_twice", "no_output_derivative"}
PENALTY = {"penalty_missing", "penalty_halved", "penalty_doubled", "penalty_on_biases"}
PENALTY |= {"bias_penalised", "penalty_negated", "penalty_scaled"}
HIDDEN = {m.name for m in CATALOGUE.values() if m.kinds == "BP2"} | {
    *("sigma_for_derivative", "derivative_at_a", "derivative_of_z_as_if_a"),
    *("sum_for_activation", "forward_sum_not_activation"),
    *("activation_omitted", "other_activation"),
    *("one_minus_a", "derivative_of_other_activation", "derivative_twice", "derivative_clipped"),
    *("gradient_from_error", "sum_for_product"),
}
# What goes back from softmax with cross-entropy has no σ′ to lose.
CANCELS = {"softmax_diagonal", "error_sent_back"}


@pytest.mark.parametrize(
    ("name", "cannot"),
    [
        pytest.param("smooth", QUADRATIC | CANCELS, marks=pytest.mark.sweep),
        # σ(σ(z)) = σ(z): nothing tells relu's σ′ at a from that at z; and σ′ is its own square.
        pytest.param(
            "relu",
            QUADRATIC
            | CANCELS
            | {"derivative_at_a", "derivative_of_z_as_if_a", "derivative_twice"},
            marks=pytest.mark.sweep,
        ),
        ("one layer", QUADRATIC | CANCELS | PENALTY | HIDDEN),
        pytest.param(
            "quadratic",
            PENALTY
            | {"softmax_diagonal", "extra_output_derivative", "log_clipped"}
            | {"softmax_over_examples"},
            marks=pytest.mark.sweep,
        ),
    ],
)
def test_suggest_case(name, cannot):
    net = SUGGESTED[name]
    case = suggest_case(net, jax.random.key(0), attempts=2)
    assert set(case.shows) | set(case.cannot) == set(CATALOGUE)
    assert not set(case.shows) & set(case.cannot)
    missing = set(case.cannot) - OF_ONE_WIDTH - ELSEWHERE - cannot
    if name == "one layer":  # softmax in the output: `aˡ = zˡ` shows, and so does another σ
        missing -= {"activation_omitted", "other_activation"}
    assert not missing
    assert case.x.shape[0] == case.y.shape[0]
    assert case.x.shape[0] not in net.sizes
    assert all(bool(b.all()) for _, b in case.params)
    diagnosis = mbp.check(net, case.params, case.x, case.y, mbp.backprop)
    assert diagnosis.ok, str(diagnosis)
    assert "biases" not in " ".join(diagnosis.warnings)


@pytest.mark.sweep
def test_suggest_case_proves_what_it_says():
    case = suggest_case(UNEQUAL, jax.random.key(1), attempts=1)
    batch = (UNEQUAL, case.params, case.x, case.y)
    for where in (WRONG, ("log_clipped", "cost", 2), ("penalty_on_biases", "cost", 2)):
        assert where[0] in case.shows
        assert [f.layer for f in mbp.check(*batch, plant(batch, where)).findings] == [where[2]]


def test_suggest_case_is_a_function_of_its_key():
    one, same, other = (
        suggest_case(SUGGESTED["one layer"], jax.random.key(k), attempts=1) for k in (0, 0, 1)
    )
    assert bool((one.x == same.x).all())
    assert not bool((one.x == other.x).all())


def test_what_is_no_key():
    with pytest.raises(TypeError, match=r"key: expected a key such as jax\.random\.key"):
        suggest_case(UNEQUAL, 3)
