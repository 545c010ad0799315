"""Other layouts and scales of the same numbers: declared, they are right; else one sentence."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import assert_close, random_case
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.planting import backprop_with
from planting import SQUARE, UNEQUAL, at, found, gradients_alone, ordinary, plant, right

EVERY = [scaled for layout in mbp.Convention().layouts() for scaled in layout.scalings((1.0, 2.0))]
# Each part alone, and some of each together.
SAMPLE = [convention for convention in EVERY if len(convention.changed()) < 2] + EVERY[3::17]
# One of two that say the same: of a sum, δ is the same in both.
APART = [c for c in SAMPLE[1:] if (c.reduction, c.delta) != ("sum", "example")]


def theirs(convention, record=None, case=None):
    net, params, x, _ = case or ordinary()
    record = right(ordinary) if record is None else record
    return convention.from_ours(net, params, record, len(x))


def told(convention):
    """The arguments that a finding tells to pass."""
    return f"pass convention={convention}."


def test_every_one_once_and_ours_first():
    assert len(set(EVERY)) == len(EVERY) == 2 * 2 * 3 * 2 * 2 * 2 * 2
    assert EVERY[0] == mbp.Convention()
    assert str(EVERY[0]) == "Convention()"
    assert (
        str(mbp.Convention("columns", delta="example"))
        == "Convention(examples='columns', delta='example')"
    )


def test_an_unknown_value():
    with pytest.raises(ValueError, match="examples: unknown 'colums'; did you mean 'columns'"):
        mbp.Convention(examples="colums")
    with pytest.raises(ValueError, match=r"2 things do not fit(.|\n)*weights(.|\n)*delta"):
        mbp.Convention(weights="in-out", delta=None)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "2", None, True], ids=repr)
def test_a_scale_is_a_positive_number(scale):
    with pytest.raises(ValueError, match=r"scale: expected a number > 0, got .*sign='ascent'"):
        mbp.Convention(scale=scale)


def test_flags():
    assert mbp.Convention("columns", scale=2.0, bias="first").flags == (
        "--examples columns --scale 2.0 --bias first"
    )


def test_what_each_convention_does():
    params = ordinary()[1]
    ours = right(ordinary)
    turned = theirs(mbp.Convention("columns", "in_out"))
    assert [z.shape for z in turned.z] == [(5, 7), (2, 7)]
    assert [dW.shape for dW in turned.dW] == [(3, 5), (5, 2)]
    summed = theirs(mbp.Convention(reduction="sum"))
    assert_close(summed.delta[0], 7 * np.asarray(ours.delta[0], np.float64))
    assert_close(summed.db[0], 7 * np.asarray(ours.db[0], np.float64))
    each = theirs(mbp.Convention(delta="example"))
    assert_close(each.delta[0], 7 * np.asarray(ours.delta[0], np.float64))
    assert_close(each.db[0], np.asarray(ours.db[0], np.float64))
    # The penalty is no mean: it stays as it is.
    unpenalised = ours.dW[0] - 0.1 * params[0].W
    assert_close(
        summed.dW[0].astype(np.float32), 7 * unpenalised + 0.1 * params[0].W, 64 * 2.0**-24
    )
    assert UNEQUAL.l2 == 0.1
    # A scale is of the whole cost; an ascent's gradients are minus ours.
    twice = theirs(mbp.Convention(scale=2.0, sign="ascent"))
    assert_close(twice.dW[0], -2 * np.asarray(ours.dW[0], np.float64))
    assert_close(twice.cost, 2 * np.asarray(ours.cost, np.float64))
    assert_close(twice.z[0], np.asarray(ours.z[0], np.float64))
    last = theirs(mbp.Convention(bias="last", weights="in_out"))
    assert [dW.shape for dW in last.dW] == [(4, 5), (6, 2)]
    assert last.db == (None, None)
    assert_close(last.dW[0][-1], np.asarray(ours.db[0], np.float64))


def words(diagnosis):
    return str(diagnosis).replace("\n  ", " ")


# ── Declared ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("convention", SAMPLE, ids=str)
def test_right_code_in_a_declared_convention(convention):
    diagnosis = mbp.check(*ordinary(), theirs(convention), convention=convention)
    assert diagnosis.ok, str(diagnosis)
    assert {row.verdict for row in diagnosis.agreement.rows} == {"agrees"}
    assert diagnosis.convention == convention


def test_a_column_of_ones_goes_with_folded_biases():
    for side, bias in ((0, "first"), (-1, "last")):
        record = theirs(mbp.Convention(bias=bias))
        ones = [np.insert(a, 0 if side == 0 else a.shape[1], 1, axis=1) for a in record.a]
        both = record._replace(a=(*ones[:2], record.a[2]))
        assert mbp.check(*ordinary(), both, convention=mbp.Convention(bias=bias)).ok
        ones[0][0, side] = 2  # no column of ones
        wrong = mbp.check(
            *ordinary(),
            both._replace(a=(ones[0], *both.a[1:])),
            convention=mbp.Convention(bias=bias),
        )
        assert found(wrong) == [("forward", 0, None)]


def test_everything_is_told_in_the_declared_convention():
    """Formulas, expected values and η: of a sum there is no 1/m, and shapes are the subject's."""
    net, params, x, y = ordinary()
    convention = mbp.Convention("columns", "in_out", "sum")
    scales = convention.scales(len(x))
    for name, kind, l in (("penalty_missing", "BP4", 1), ("weights_updated_first", "BP2", 1)):
        where = {at(net, kind, l): CATALOGUE[name]}
        wrong = backprop_with(net, params, x, y, where, 0.25, scales)
        wrong = mbp.Convention("columns", "in_out").from_ours(net, params, wrong, len(x))
        diagnosis = mbp.check(net, params, x, y, wrong, convention=convention)
        (finding,) = diagnosis.findings
        assert (finding.equation, finding.layer, finding.mistake) == (kind, l, name)
        assert "1/m" not in str(finding)
        assert kind != "BP2" or "with η = 0.25" in finding.explanation
        (row,) = diagnosis.agreement.disagreements
        array = wrong.at(row.place)
        assert row.shape == array.shape
        assert row.worst.got == pytest.approx(float(array[row.worst.index]))
    extra = {at(net, "BP1", 2): CATALOGUE["extra_output_derivative"]}
    for convention, formula in (
        (mbp.Convention(reduction="sum"), "(a − y) ⊙ σ′(z²)"),
        (mbp.Convention(delta="example", sign="ascent"), "(y − a) ⊙ σ′(z²)"),
        (mbp.Convention(), "(a − y)/m ⊙ σ′(z²)"),
    ):
        wrong = backprop_with(net, params, x, y, extra, scales=convention.scales(len(x)))
        (finding,) = mbp.check(net, params, x, y, wrong, convention=convention).findings
        assert formula in finding.explanation


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (1, -1)], ids=["(n,)", "(n, 1)", "(1, n)"])
@pytest.mark.parametrize("examples", ["rows", "columns"])
def test_biases_of_every_shape(examples, shape):
    convention = mbp.Convention(examples=examples)
    record = theirs(convention)
    record = record._replace(db=tuple(db.reshape(shape) for db in record.db))
    assert mbp.check(*ordinary(), record, convention=convention).ok
    wrong = record._replace(db=(record.db[0] / 7, record.db[1]))
    assert found(mbp.check(*ordinary(), wrong, convention=convention)) == [
        ("BP3", 1, "bias_averaged")
    ]


@pytest.mark.parametrize(
    ("shape", "examples"),
    [((-1,), "rows"), ((1, -1), "rows"), ((-1, 1), "columns"), ((-1,), "columns")],
    ids=["(n,)", "(1, n)", "(n, 1)", "(n,) and columns"],
)
def test_one_example_of_every_shape(shape, examples):
    net = UNEQUAL
    params, x, y = random_case(net, None, 1, "float32")
    record = mbp.backprop(net, params, x, y)
    turned = record._replace(
        **{q: tuple(np.reshape(a, shape) for a in getattr(record, q)) for q in ("z", "a", "delta")}
    )
    convention = mbp.Convention(examples=examples)
    for batch in ((x, y), (x[None], y[None])):
        diagnosis = mbp.check(net, params, *batch, turned, convention=convention)
        assert diagnosis.ok, str(diagnosis)


def test_a_convention_is_not_another():
    """Declaring what is not so is told as well."""
    diagnosis = mbp.check(*ordinary(), right(ordinary), convention=mbp.Convention(reduction="sum"))
    assert found(diagnosis) == [("convention", 0, "convention")]
    assert "C is the mean over the 7 examples, not their sum" in words(diagnosis)
    assert diagnosis.headline == "Right, in another convention than the declared one."


def test_a_gradient_with_one_more_axis_is_no_layout():
    record = right(ordinary)
    diagnosis = mbp.check(*ordinary(), record._replace(dW=(record.dW[0][None], record.dW[1])))
    (finding,) = diagnosis.findings
    assert (finding.equation, finding.layer) == ("BP4", 1)
    assert "expected shape (5, 3), got (1, 5, 3)" in finding.explanation


# ── Not declared ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("convention", APART, ids=str)
def test_right_code_in_an_undeclared_convention_is_one_sentence(convention):
    diagnosis = mbp.check(*ordinary(), theirs(convention))
    ((equation, layer, mistake),) = found(diagnosis)
    assert (equation, layer) == ("convention", 0)
    ascent = convention == mbp.Convention(sign="ascent")  # a mistake of who subtracts it
    assert mistake == "convention" + " or ascent_sign" * ascent
    assert told(convention) in diagnosis.findings[0].fix
    assert diagnosis.headline == "Right, in another convention than the declared one."
    assert diagnosis.convention == convention
    assert not diagnosis.ok  # as it was declared, it is not right
    flags = diagnosis.in_flags().findings[0].fix
    assert f"pass {convention.flags}." in flags


def test_the_sentence():
    (finding,) = mbp.check(*ordinary(), theirs(mbp.Convention(reduction="sum"))).findings
    assert str(finding) == (
        "convention [convention]: in your arrays C is the sum over the 7 examples, not their mean. "
        "That is no mistake: pass convention=Convention(reduction='sum')."
    )


@pytest.mark.parametrize("convention", APART[::5], ids=str)
def test_a_convention_and_a_mistake_are_both_told(convention):
    case = ordinary()
    record = theirs(convention, plant(case, ("no_hidden_derivative", "BP2", 1)))
    mistake = ("BP2", 1, "no_hidden_derivative")
    assert found(mbp.check(*case, record, convention=convention)) == [mistake]
    diagnosis = mbp.check(*case, record)
    assert found(diagnosis) == [("convention", 0, "convention"), mistake]
    assert told(convention) in diagnosis.findings[0].fix
    assert "What else is wrong follows." in diagnosis.findings[0].fix


def test_gradients_alone_tell_their_convention():
    for convention in (mbp.Convention(reduction="sum"), mbp.Convention(weights="in_out")):
        record = gradients_alone(theirs(convention))
        (finding,) = mbp.check(*ordinary(), record).findings
        assert told(convention) in finding.fix


def test_a_mistake_is_no_convention():
    """The sum in BP1 alone leaves the cost a mean."""
    wrong = plant(ordinary(), ("sum_for_mean", "BP1", 2))
    assert found(mbp.check(*ordinary(), wrong)) == [("BP1", 2, "sum_for_mean")]
    # Without the cost there is nothing to tell the two apart, and the sum is as right.
    (finding,) = mbp.check(*ordinary(), wrong._replace(cost=None)).findings
    assert told(mbp.Convention(reduction="sum")) in finding.fix


def test_a_convention_makes_no_right_place_wrong():
    """As a sum all but the cost would be right: that is a mistake in BP1, since C is a mean."""
    where = [("sum_for_mean", "BP1", 2), ("bias_missing", "BP3", 1)]
    record = plant(ordinary(), *where)
    assert found(mbp.check(*ordinary(), record)) == [
        ("BP1", 2, "sum_for_mean"),
        ("BP3", 1, "bias_missing"),
    ]


def test_the_output_settles_the_scale():
    """Minus every penalty looks like minus the gradient, but then δ² is minus what it should be."""
    net, params, x, y = ordinary()
    record = right(ordinary)
    minus = tuple(dW - 2 * net.l2 * W for dW, (W, _) in zip(record.dW, params, strict=True))
    diagnosis = mbp.check(net, params, x, y, record._replace(dW=minus))
    assert {(f.equation, f.layer) for f in diagnosis.findings} == {("BP4", 1), ("BP4", 2)}


def test_a_transposed_layout_is_never_a_wrong_shape():
    record = theirs(mbp.Convention("columns", "in_out"))
    record = record._replace(db=tuple(db / 7 for db in record.db))
    diagnosis = mbp.check(*ordinary(), record)
    assert diagnosis.convention == mbp.Convention("columns", "in_out")
    assert "that shape" not in str(diagnosis)
    assert found(diagnosis)[1:] == [("BP3", 2, "bias_averaged"), ("BP3", 1, "bias_averaged")]


def test_rows_and_columns_that_cannot_be_told_apart():
    case = SQUARE, *random_case(SQUARE, 4, 0, "float32")
    record = mbp.backprop(*case)
    diagnosis = mbp.check(*case, record._replace(a=tuple(a.T for a in record.a)))
    assert any("rows and columns cannot be told apart" in words for words in diagnosis.warnings)
    turned = mbp.Convention("columns").from_ours(*case[:2], record, 4)
    (finding,) = mbp.check(*case, turned).findings  # all of it turned, the numbers tell
    assert told(mbp.Convention("columns")) in finding.fix


# ── What a subject may hold ──────────────────────────────────────────────────────────────────────


def test_a_float32_record_of_a_float64_network_is_held_to_float32(x64):
    net, params, x, y = case = (UNEQUAL, *random_case(UNEQUAL, 7, 1, "float64"))
    narrow = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), (params, x, y))
    record = jax.tree.map(np.asarray, mbp.backprop(net, *narrow))
    gradients = gradients_alone(record)
    assert mbp.check(*case, gradients).agreement.arithmetic.startswith("float32")
    assert mbp.check(*case, gradients).ok
    summed = mbp.Convention(reduction="sum")
    seven = mbp.Backprop(db=tuple(7 * db for db in record.db))
    diagnosis = mbp.check(*case, seven, convention=summed)
    assert diagnosis.agreement.arithmetic.startswith("float32")
    assert diagnosis.ok


def test_the_default_convention_of_a_dataclass():
    assert asdict(mbp.Convention()) == {
        "examples": "rows",
        "weights": "out_in",
        "reduction": "mean",
        "delta": "batch",
        "sign": "descent",
        "scale": 1.0,
        "bias": "separate",
    }
