"""The fewest edits that give a subject's numbers: several at once, and none where none does."""

import jax
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.planting import backprop_with
from planting import DEEP, SQUARE, at, deep, found, gradients_alone, right, square

WIDE = mbp.Network((40, 96, 96, 5), ("tanh", "tanh", "softmax"), "cross_entropy")


def planted(case, *where):
    """A record with edits at (names, kind of place, layer)."""
    edits = {
        at(case[0], kind, l): tuple(CATALOGUE[name] for name in names.split())
        for names, kind, l in where
    }
    return backprop_with(*case, edits)


def told(diagnosis):
    """The sets of edits that each finding tells, by its place."""
    return {
        (f.equation, f.layer): [frozenset(way) for way in (f.edits, *f.alternatives)]
        for f in diagnosis.findings
    }


def assert_told(diagnosis, *where):
    ways = told(diagnosis)
    assert ways.keys() == {(kind, l) for _, kind, l in where}, str(diagnosis)
    assert all(frozenset(names.split()) in ways[kind, l] for names, kind, l in where), ways


IN_ONE = [
    ("derivative_at_a half_missing", "BP1", 4),
    ("derivative_twice factor", "BP2", 2),
    ("error_sent_back one_minus_a", "BP2", 2),
    ("gradient_from_error mean_again", "BP4", 3),
    ("not_reset bias_averaged", "BP3", 2),
]
IN_TWO = [
    [("half_missing", "BP1", 4), ("no_hidden_derivative", "BP2", 2)],
    [("derivative_at_a", "BP1", 4), ("mean_again", "BP4", 1)],
    [("error_sent_back", "BP2", 2), ("bias_averaged", "BP3", 1)],
    [("weights_updated_first", "BP2", 3), ("sum_for_activation", "BP4", 2)],
]


@pytest.mark.parametrize("where", IN_ONE, ids=lambda where: where[0])
def test_two_mistakes_in_one_equation(where):
    assert_told(mbp.check(*deep(), planted(deep(), where)), where)


@pytest.mark.parametrize("where", IN_TWO, ids=lambda where: f"{where[0][0]}, {where[1][0]}")
def test_two_mistakes_from_the_gradients_alone(where):
    assert_told(mbp.check(*deep(), gradients_alone(planted(deep(), *where))), *where)


def test_the_same_in_every_layer_from_the_gradients_alone():
    where = [("error_sent_back", "BP2", l) for l in (3, 2, 1)]
    assert_told(mbp.check(*deep(), gradients_alone(planted(deep(), *where))), *where)


def test_one_factor_is_one_finding_where_it_comes_in():
    record = gradients_alone(planted(deep(), ("half_missing", "BP1", 4)))
    record = record._replace(dW=(*record.dW[:1], record.dW[1] / 7, *record.dW[2:]))
    diagnosis = mbp.check(*deep(), record)
    assert_told(diagnosis, ("half_missing", "BP1", 4), ("mean_again", "BP4", 2))


@pytest.mark.parametrize("where", IN_TWO[:2], ids=lambda where: f"{where[0][0]}, {where[1][0]}")
def test_more_shown_is_never_worse(where):
    whole = planted(deep(), *where)
    for fields in ({"cost"}, {"z", "a"}, {"delta"}, {"delta", "cost"}, {"z", "a", "delta", "cost"}):
        shown = gradients_alone(whole)._replace(**{name: getattr(whole, name) for name in fields})
        assert_told(mbp.check(*deep(), shown), *where)


def test_a_gradient_of_another_shape_may_have_a_name():
    """∂C/∂W made of the layer's own activation is (n_l, n_l)."""
    record = right(deep)
    own = record.delta[0].T @ record.a[1]
    diagnosis = mbp.check(*deep(), record._replace(dW=(own, *record.dW[1:])))
    assert_told(diagnosis, ("activation_of_same_layer", "BP4", 1))


def test_where_the_rest_follows_from_the_right_array_that_array_alone_is_told():
    record = right(deep)
    for quantity, equation in (("delta", "BP2"), ("a", "forward")):
        arrays = list(getattr(record, quantity))
        arrays[1] = arrays[1] * np.linspace(0.5, 2, arrays[1].size).reshape(arrays[1].shape)
        layer = 2 if quantity == "delta" else 1
        diagnosis = mbp.check(*deep(), record._replace(**{quantity: tuple(arrays)}))
        assert found(diagnosis) == [(equation, layer, None)]


def test_with_a_penalty_the_sign_of_the_errors_alone_is_no_convention():
    wrong = planted(square(), ("ascent_sign", "BP1", 3), ("mean_again", "BP2", 1))
    diagnosis = mbp.check(*square(), gradients_alone(wrong))
    assert_told(diagnosis, ("ascent_sign", "BP1", 3), ("mean_again", "BP2", 1))
    assert diagnosis.convention == mbp.Convention()
    assert SQUARE.l2


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        ("float32", "all"),
        ("float64", "gradients"),
        pytest.param("float64", "all", marks=pytest.mark.sweep),
        pytest.param("float32", "gradients", marks=pytest.mark.sweep),
    ],
)
def test_what_no_edit_gives_has_no_name(dtype, shown):
    rng = np.random.default_rng(7)
    with jax.enable_x64(dtype == "float64"):
        case = (DEEP, *random_case(DEEP, 7, 4, dtype))
        record = jax.device_get(mbp.backprop(*case))
    quantities = ("z", "a", "delta", "dW", "db") if shown == "all" else ("dW", "db")
    for quantity in quantities:
        for l, change in enumerate(("one value", "noise", "another matrix")):
            arrays = list(getattr(record, quantity))
            array = np.array(arrays[l + (quantity == "a")])
            size = float(np.abs(array).max())
            if change == "one value":
                array.flat[rng.integers(array.size)] += size * rng.uniform(0.3, 2)
            elif change == "noise":
                array += 1e-3 * size * rng.normal(size=array.shape).astype(dtype)
            else:
                array = (size * rng.normal(size=array.shape)).astype(dtype)
            arrays[l + (quantity == "a")] = array
            wrong = record._replace(**{quantity: tuple(arrays)})
            wrong = wrong if shown == "all" else gradients_alone(wrong)
            diagnosis = mbp.check(*case, wrong)
            assert diagnosis.findings
            assert not any(f.mistake for f in diagnosis.findings), str(diagnosis)


@pytest.mark.parametrize("bounds", [1.5, 3])
def test_what_is_a_few_bounds_off_has_no_name(bounds):
    record = jax.device_get(right(deep))
    agreement = mbp.compare(*deep(), subject=record)
    row = next(row for row in agreement.rows if row.place.name == "dW2")
    dW = np.array(record.dW[1], np.float64)
    off = row.max_abs / row.bound_ratio * bounds if row.bound_ratio else 1e-6 * bounds
    dW.flat[3] += off
    wrong = record._replace(dW=(record.dW[0], dW.astype(np.float32), *record.dW[2:]))
    for subject in (wrong, gradients_alone(wrong)):
        assert not any(f.mistake for f in mbp.check(*deep(), subject).findings)


@pytest.mark.parametrize("hidden", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_of_wide_layers_a_few_neurons_are_looked_at_first(hidden):
    case = (WIDE, *random_case(WIDE, 120, 5, "float32"))
    where = ("weights_not_transposed no_hidden_derivative", "BP2", 1)
    record = planted(case, where)
    diagnosis = mbp.check(*case, gradients_alone(record) if hidden else record)
    assert_told(diagnosis, where)
