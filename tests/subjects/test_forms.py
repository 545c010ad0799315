"""A subject in any form is the same subject; an update's gradients carry its rounding."""

import jax
import numpy as np
import pytest

import manual_bp as mbp
from planting import found, gradients_alone, ordinary, plant, right

NET, PARAMS, X, Y = ordinary()
RIGHT = jax.tree.map(np.asarray, right(ordinary))
WRONG = jax.tree.map(
    np.asarray, plant(ordinary(), ("bias_averaged", "BP3", 2), ("no_hidden_derivative", "BP2", 1))
)
TOLD = [("BP3", 2, "bias_averaged"), ("BP2", 1, "no_hidden_derivative")]


def by_name(record):
    return {place.name: array for place, array in record.items()}


FORMS = {
    "a record": lambda r: r,
    "names": by_name,
    "names in other cases": lambda r: {n.upper(): a for n, a in by_name(r).items()},
    "δ as dZ": lambda r: {n.replace("delta", "dZ"): a for n, a in by_name(r).items()},
    "lists by quantity": lambda r: r._asdict(),
    "a function": lambda r: lambda *call: r,
    "a function that gives names": lambda r: lambda *call: by_name(r),
    "lists of lists": lambda r: {n: a.tolist() for n, a in by_name(r).items()},
    "a from a¹ on": lambda r: r._replace(a=r.a[1:]),
}
GRADIENTS = {
    "pairs": lambda r: list(zip(r.dW, r.db, strict=True)),
    "layers": lambda r: tuple(map(mbp.Layer, r.dW, r.db)),
    "all W and all b": lambda r: (list(r.dW), list(r.db)),
    "all b and all W": lambda r: (list(r.db), list(r.dW)),
    "one after another": lambda r: [v for pair in zip(r.dW, r.db, strict=True) for v in pair],
    "the cost before them": lambda r: (r.cost, list(zip(r.dW, r.db, strict=True))),
    "the cost and names": lambda r: (r.cost, {"dW": r.dW, "db": r.db}),
    "a function that gives pairs": lambda r: lambda *call: list(zip(r.dW, r.db, strict=True)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_whole_record(form):
    assert mbp.check(*ordinary(), form(RIGHT)).ok
    assert mbp.compare(*ordinary(), subject=form(RIGHT)).ok
    assert found(mbp.check(*ordinary(), form(WRONG))) == TOLD


@pytest.mark.parametrize("form", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients(form):
    assert mbp.check(*ordinary(), form(RIGHT)).ok
    wrong = RIGHT._replace(db=(RIGHT.db[0], RIGHT.db[1] / np.float32(7)))
    assert found(mbp.check(*ordinary(), form(wrong))) == [("BP3", 2, "bias_averaged")]


def test_one_layer():
    net = mbp.Network((3, 2), ("tanh",), "quadratic")
    params = net.init(jax.random.key(0))
    record = mbp.backprop(net, params, X, Y)
    for subject in (mbp.Layer(record.dW[0], record.db[0]), (record.dW[0], record.db[0])):
        assert mbp.check(net, params, X, Y, subject).ok


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ({"dW3": 1}, "unknown name 'dW3'; leave it out, or did you mean"),
        ({"dW": [RIGHT.dW[0]], "cost": 1}, r"dW: expected 2 arrays, dW1 … dW2, .*; got 1"),
        ([RIGHT.dW[0]], r"expected the gradients of 2 layers, \[\(dW1, db1\), \(dW2, db2\)\]"),
        ((RIGHT.dW, RIGHT.dW), r"expected the gradients of 2 layers"),
    ],
)
def test_what_has_no_place(subject, says):
    with pytest.raises(ValueError, match=says):
        mbp.check(*ordinary(), subject)


# ── Updates ──────────────────────────────────────────────────────────────────────────────────────


def after(eta, record=RIGHT):
    """Parameters after a step, as a program in float32 computes it."""
    eta = np.float32(eta)
    layers = zip(PARAMS, record.dW, record.db, strict=True)
    return [
        mbp.Layer(np.asarray(W) - eta * np.float32(dW), np.asarray(b) - eta * np.float32(db))
        for (W, b), dW, db in layers
    ]


@pytest.mark.parametrize("eta", [1, 0.5, 0.1, 0.01, 0.001])
def test_a_right_update_is_right_whatever_its_rate(eta):
    diagnosis = mbp.check(*ordinary(), mbp.Update(after(eta), eta))
    assert not diagnosis.findings
    hidden = any(row.verdict == "undecided" for row in diagnosis.agreement.rows)
    assert hidden == any("a larger η shows more" in note for note in diagnosis.agreement.notes)
    assert diagnosis.ok or hidden


def test_a_wrong_update_is_told_where_it_shows():
    wrong = plant(ordinary(), ("bias_averaged", "BP3", 1))
    wrong = gradients_alone(jax.tree.map(np.asarray, wrong))
    assert ("BP3", 1) in {
        (f.equation, f.layer)
        for f in mbp.check(*ordinary(), mbp.Update(after(0.1, wrong), 0.1)).findings
    }
    lost = mbp.check(*ordinary(), mbp.Update(after(1e-9, wrong), 1e-9))
    assert not lost.findings
    assert not lost.ok
    assert "a larger η shows more." in str(lost).replace("\n  ", " ")


def test_what_an_update_does_not_show():
    weights = [mbp.Layer(W, None) for W, _ in after(0.5)]
    diagnosis = mbp.check(*ordinary(), mbp.Update(weights, 0.5))
    assert diagnosis.ok
    assert {row.note for row in diagnosis.agreement.rows if row.quantity == "db"} == {"not given"}
    assert mbp.check(*ordinary(), mbp.Update([W for W, _ in after(0.5)], 0.5)).ok


def test_ascent():
    up = mbp.Update(after(-0.5), 0.5, sign="ascent")
    assert mbp.check(*ordinary(), up).ok
    wrong = mbp.check(*ordinary(), mbp.Update(after(-0.5), 0.5))
    assert wrong.convention == mbp.Convention(sign="ascent")
    assert not wrong.ok


def test_an_update_in_another_convention():
    convention = mbp.Convention(reduction="sum")
    summed = convention.from_ours(NET, PARAMS, RIGHT, 7)
    update = mbp.Update(after(0.5, summed), 0.5)
    assert mbp.check(*ordinary(), update, convention=convention).ok
    assert mbp.check(*ordinary(), update).convention == convention
    turned = mbp.Update([mbp.Layer(W.T, b) for W, b in after(0.5)], 0.5)
    assert mbp.check(*ordinary(), turned, convention=mbp.Convention(weights="in_out")).ok
    folded = mbp.Update([np.column_stack([b, W]) for W, b in after(0.5)], 0.5)
    assert mbp.check(*ordinary(), folded, convention=mbp.Convention(bias="first")).ok


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (mbp.Update(after(1), 0), "learning_rate: expected a number > 0, got 0"),
        (mbp.Update(after(1), "fast"), "learning_rate: expected a number > 0, got 'fast'"),
        (mbp.Update(after(1), 1, "down"), "sign: unknown 'down'"),
        (mbp.Update(after(1)[:1], 1), "params: expected 2 layers, as before the step, got 1"),
        (mbp.Update(3, 1), "params: expected a Layer"),
    ],
)
def test_what_makes_no_update(update, says):
    with pytest.raises((TypeError, ValueError), match=f"subject: {says}"):
        mbp.check(*ordinary(), update)


# ── Numbers typed from paper, and other formats ──────────────────────────────────────────────────


def typed(record, decimals):
    return jax.tree.map(lambda array: np.asarray(array, np.float64).round(decimals), record)


def test_decimals():
    assert found(mbp.check(*ordinary(), typed(RIGHT, 3)))
    assert not mbp.check(*ordinary(), typed(RIGHT, 3), decimals=3).findings
    assert not mbp.compare(*ordinary(), subject=typed(RIGHT, 3), decimals=3).disagreements
    assert found(mbp.check(*ordinary(), typed(RIGHT, 3), decimals=5))
    assert found(mbp.check(*ordinary(), typed(WRONG, 4), decimals=4)) == TOLD
    with pytest.raises(ValueError, match="decimals: expected a whole number ≥ 0, got -1"):
        mbp.check(*ordinary(), typed(RIGHT, 3), decimals=-1)


def wide():
    return jax.tree.map(lambda array: np.asarray(array, np.float64), (PARAMS, X, Y))


def test_an_array_in_a_coarser_format_than_the_others():
    record = jax.tree.map(np.asarray, mbp.backprop(NET, *wide()))
    narrow = record._replace(cost=np.float32(record.cost), dW=tuple(map(np.float32, record.dW)))
    assert mbp.check(NET, *wide(), narrow).ok
    through_a_float = record._replace(cost=float(np.float32(record.cost)))
    assert mbp.check(NET, *wide(), through_a_float).ok
    off = record._replace(cost=record.cost * (1 + 1e-9))
    assert found(mbp.check(NET, *wide(), off)) == [("cost", 2, None)]
