"""Other layouts and scales of the same numbers: declared, they are right; else one sentence."""

from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import assert_close, random_case
from manual_bp.diagnosis.convention import every_convention
from planting import SQUARE, UNEQUAL, found, gradients_alone, leaves, ordinary, plant, right

EVERY = every_convention()


def theirs(convention, record=None, case=None):
    case = case or ordinary()
    return convention.from_ours(*case[:3], right(ordinary) if record is None else record)


def told(convention):
    """The arguments that a finding tells to pass: of a sum, δ is the same in both."""
    if convention.reduction == "sum":
        convention = replace(convention, delta="batch")
    return f"pass convention={convention}."


def test_there_are_sixteen_and_ours_is_first():
    assert len(set(EVERY)) == 16
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


@pytest.mark.parametrize("convention", EVERY, ids=str)
def test_there_and_back(convention, x64):
    """To a rounding or two: a product with m and a division by it, and the penalty off and on."""
    case = (UNEQUAL, *random_case(UNEQUAL, 7, 1, "float64"))
    record = mbp.backprop(*case)
    back = convention.to_ours(*case[:3], convention.from_ours(*case[:3], record))
    for name, array in leaves(record).items():
        assert_close(leaves(back)[name], array, 8 * 2.0**-53 * max(1, float(abs(array).max())))


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


# ── Declared ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("convention", EVERY, ids=str)
def test_right_code_in_a_declared_convention(convention):
    diagnosis = mbp.check(*ordinary(), theirs(convention), convention=convention)
    assert diagnosis.ok, str(diagnosis)
    assert {row.verdict for row in diagnosis.agreement.rows} == {"agrees"}


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
    assert "the mean, not the sum, over 7 examples" in str(diagnosis).replace("\n  ", " ")


def test_a_gradient_with_one_more_axis_is_no_layout():
    record = right(ordinary)
    diagnosis = mbp.check(*ordinary(), record._replace(dW=(record.dW[0][None], record.dW[1])))
    (finding,) = diagnosis.findings
    assert (finding.equation, finding.layer) == ("BP4", 1)
    assert "expected shape (5, 3), got (1, 5, 3)" in finding.explanation


# ── Not declared ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("convention", EVERY[1:], ids=str)
def test_right_code_in_an_undeclared_convention_is_one_sentence(convention):
    diagnosis = mbp.check(*ordinary(), theirs(convention))
    assert found(diagnosis) == [("convention", 0, "convention")]
    assert told(convention) in diagnosis.findings[0].fix
    assert "all your arrays are" in diagnosis.findings[0].explanation
    assert not diagnosis.ok  # as it was declared, it is not right


def test_the_sentence():
    (finding,) = mbp.check(*ordinary(), theirs(mbp.Convention(reduction="sum"))).findings
    assert str(finding) == (
        "convention [convention]: all your arrays are the sum, not the mean, over 7 examples. "
        "That is no mistake: pass convention=Convention(reduction='sum')."
    )


@pytest.mark.parametrize("convention", [EVERY[1], EVERY[4], EVERY[9]], ids=str)
def test_a_convention_and_a_mistake_are_both_told(convention):
    case = ordinary()
    record = theirs(convention, plant(case, ("no_hidden_derivative", "BP2", 1)))
    mistake = ("BP2", 1, "no_hidden_derivative")
    assert found(mbp.check(*case, record, convention=convention)) == [mistake]
    diagnosis = mbp.check(*case, record)
    assert found(diagnosis) == [("convention", 0, "convention"), mistake]
    assert told(convention) in diagnosis.findings[0].fix
    assert "most of your arrays fit as" in diagnosis.findings[0].explanation


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


def test_a_convention_has_to_leave_less_than_half_of_what_is_wrong():
    where = [("sum_for_mean", "BP1", 2), ("bias_missing", "BP3", 1)]
    record = plant(ordinary(), *where)._replace(cost=None)
    assert found(mbp.check(*ordinary(), record)) == [
        ("BP1", 2, "sum_for_mean"),
        ("BP3", 1, "bias_missing"),
    ]


def test_rows_and_columns_that_cannot_be_told_apart():
    case = SQUARE, *random_case(SQUARE, 4, 0, "float32")
    record = mbp.backprop(*case)
    diagnosis = mbp.check(*case, record._replace(a=tuple(a.T for a in record.a)))
    assert any("rows and columns cannot be told apart" in words for words in diagnosis.warnings)
    turned = mbp.Convention("columns").from_ours(*case[:3], record)
    (finding,) = mbp.check(*case, turned).findings  # all of it turned, the numbers tell
    assert told(mbp.Convention("columns")) in finding.fix


# ── What a subject may hold ──────────────────────────────────────────────────────────────────────


def test_a_record_keeps_its_dtype_and_place():
    net, params, x, y = ordinary()
    record = jax.tree.map(lambda v: jnp.asarray(v, jnp.bfloat16), mbp.backprop(net, params, x, y))
    for convention in (mbp.Convention(), mbp.Convention(reduction="sum")):
        ours = convention.to_ours(net, params, x, record)
        assert all(isinstance(v, jax.Array) for v in jax.tree.leaves(ours))
        assert {v.dtype for v in jax.tree.leaves(ours)} == {jnp.dtype("bfloat16")}
    lists = jax.tree.map(lambda v: np.asarray(v, np.float64).tolist(), record)
    ours = mbp.Convention().to_ours(net, params, x, lists)
    assert {v.dtype for v in jax.tree.leaves(ours)} == {np.dtype("float64"), np.dtype("float32")}
    assert ours.a[0].dtype == x.dtype  # it is ours, and nothing that was computed


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
    }
