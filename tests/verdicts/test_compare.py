"""The five verdicts, each where it belongs; and one mistake is one row."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import random_case
from manual_bp import (
    Activation,
    Backprop,
    Layer,
    Network,
    autodiff,
    backprop,
    compare,
    numerical,
    summation,
)
from manual_bp.diagnosis.edits import Edit, Option
from manual_bp.diagnosis.planting import backprop_with
from manual_bp.record import Place, places
from planting import with_sigmas

M = 7
NET = Network((3, 5, 4, 2), ("tanh", "silu", "softmax"), "cross_entropy", l2=0.1)
CASE = random_case(NET, M, seed=0, dtype="float32")


@pytest.fixture(scope="module")
def right():
    """The right record of CASE, in NumPy."""
    return jax.tree.map(np.asarray, backprop(NET, *CASE))


def rows_of(agreement):
    return {(row.quantity, row.layer): row for row in agreement.rows}


def verdicts(agreement):
    return {(row.quantity, row.layer): row.verdict for row in agreement.rows}


def disagreeing(agreement):
    return [place for place, verdict in verdicts(agreement).items() if verdict == "disagrees"]


def replaced(record, quantity, layer, array):
    """The record with one array changed."""
    return record.replaced(Place("", quantity, layer), array)


def taken(record, quantity, layer):
    return record.at(Place("", quantity, layer))


# ── agrees ───────────────────────────────────────────────────────────────────────────────────────


def test_agrees():
    agreement = compare(NET, *CASE)
    assert agreement.ok
    assert set(verdicts(agreement).values()) == {"agrees"}
    agreement.raise_if_disagrees()
    step = backprop(NET, *CASE)
    assert [(r.equation, r.quantity, r.layer, r.shape) for r in agreement.rows] == [
        ("forward", "a", 0, (M, 3)),
        ("forward", "z", 1, (M, 5)),
        ("forward", "a", 1, (M, 5)),
        ("forward", "z", 2, (M, 4)),
        ("forward", "a", 2, (M, 4)),
        ("forward", "z", 3, (M, 2)),
        ("forward", "a", 3, (M, 2)),
        ("cost", "cost", 3, ()),
        ("BP1", "delta", 3, (M, 2)),
        ("BP3", "db", 3, (2,)),
        ("BP4", "dW", 3, (2, 4)),
        ("BP2", "delta", 2, (M, 4)),
        ("BP3", "db", 2, (4,)),
        ("BP4", "dW", 2, (4, 5)),
        ("BP2", "delta", 1, (M, 5)),
        ("BP3", "db", 1, (5,)),
        ("BP4", "dW", 1, (5, 3)),
    ]
    assert agreement.values == sum(array.size for array in jax.tree.leaves(step))
    assert agreement.wrong == 0
    assert agreement.worst.bound_ratio == max(row.bound_ratio for row in agreement.rows) <= 1
    assert (agreement.subject, agreement.witness) == ("backprop", "autodiff")
    assert agreement.network == str(NET)


def test_a_numpy_record_and_a_function_that_makes_it_agree_as_well(right):
    for subject in (right, lambda *call: right):
        assert compare(NET, *CASE, subject=subject).ok
    named = compare(NET, *CASE, subject=right)
    assert named.subject == "a record"


def test_params_may_be_plain_tuples_and_lists():
    params, x, y = CASE
    subject, witness = backprop(NET, *CASE), autodiff(NET, *CASE)
    for plain in ([tuple(layer) for layer in params], tuple(list(layer) for layer in params)):
        assert compare(NET, plain, x, y, subject=subject, witness=witness).ok


def test_a_float64_record_of_float32_parameters_is_held_to_float32(right):
    record = jax.tree.map(lambda array: array.astype(np.float64), right)
    agreement = compare(NET, *CASE, subject=record)
    assert agreement.ok
    assert agreement.arithmetic.startswith("float32")


def test_end_to_end_differences_are_those_of_the_two_records(right):
    theirs = jax.tree.map(np.asarray, autodiff(NET, *CASE))
    got = replaced(right, "dW", 2, right.dW[1] * np.float32(1 + 2**-20))
    for place, row in rows_of(compare(NET, *CASE, subject=got, witness=theirs)).items():
        mine, other = (np.float64(taken(r, *place)) for r in (got, theirs))
        off, size = np.abs(mine - other), np.maximum(np.abs(mine), np.abs(other))
        assert row.max_abs == off.max()
        relative = np.divide(off, size, out=np.zeros_like(off), where=off > 0)
        assert row.max_rel == pytest.approx(relative.max(), rel=1e-12)
        # A unit in the last place of float32 is 2⁻²³ of the power of two below the number.
        ulp = np.exp2(np.floor(np.log2(np.maximum(size, 2.0**-126))) - 23)
        assert row.max_ulp == (off / ulp).max()


# ── disagrees: one mistake, one row ──────────────────────────────────────────────────────────────


def of_z(sigma):
    """The same activation, with σ′ as a function of z."""
    if sigma.of == "z" or sigma.name == "softmax":
        return sigma
    slope = jax.vmap(jax.vmap(jax.grad(sigma.sigma)))
    return Activation(sigma.name, sigma.sigma, slope, "z")


def scaled_at(net, case, place, of):
    """A backward pass with one array a quarter too large, and what follows from that.

    σ′ is had from a, or where `of` says so from z; then BP1 too goes by a new σ(zᴸ).
    """
    mistake = Edit("scaled", place.kind, "factor", "", "", lambda g: [Option(1.25)])
    if of == "z":
        net = with_sigmas(net, *map(of_z, net.activations))
    wrong = backprop_with(net, *case, {place: mistake})
    if of == "z" and (place.quantity, place.layer) == ("a", net.depth):
        right = backprop_with(net, *case, {})
        wrong = wrong._replace(delta=right.delta, dW=right.dW, db=right.db)
    return jax.tree.map(np.asarray, wrong)


QUADRATIC = Network((3, 5, 4, 2), ("sigmoid", "relu", "tanh"), "quadratic")
CASCADES = {
    "cross-entropy": (NET, CASE),
    "quadratic": (QUADRATIC, random_case(QUADRATIC, M, seed=2, dtype="float32")),
}


@pytest.mark.parametrize("of", ["a", "z"])
@pytest.mark.parametrize(("net", "case"), CASCADES.values(), ids=CASCADES)
def test_one_mistake_is_one_row_whatever_follows_from_it(net, case, of):
    agreement = compare(net, *case)
    assert agreement.ok, str(agreement)
    for place in places(net):
        wrong = compare(net, *case, subject=scaled_at(net, case, place, of))
        assert disagreeing(wrong) == [(place.quantity, place.layer)], str(wrong)
        assert not wrong.ok
        assert "nonfinite" not in verdicts(wrong).values()


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (("delta", 3), lambda delta: -delta),
        (("delta", 2), lambda delta: delta[::-1]),
        (("delta", 1), lambda delta: delta / M),
        (("dW", 2), lambda dW: dW - np.float32(0.1) * np.asarray(CASE[0][1].W)),  # no l2
        (("db", 3), lambda db: db / M),
        (("db", 1), lambda db: np.concatenate([db[:-1], [np.float32(0)]])),
        (("dW", 1), lambda dW: dW + np.float32([[0, 0, 1e-3]])),
        (("cost", 3), lambda cost: cost * 2),
    ],
    ids=["BP1 ascends", "BP2 of other rows", "BP2 1/m twice", "BP4 no penalty", "BP3 averaged",
         "BP3 a unit left out", "BP4 one column", "cost doubled"],
)  # fmt: skip
def test_a_wrong_equation_of_a_record(right, place, change):
    changed = replaced(right, *place, change(taken(right, *place)))
    agreement = compare(NET, *CASE, subject=changed)
    assert place in disagreeing(agreement)
    row = rows_of(agreement)[place]
    assert row.wrong > 0
    assert row.bound_ratio > 1
    assert row.worst.got == taken(changed, *place)[row.worst.index]
    assert row.worst.expected == pytest.approx(taken(right, *place)[row.worst.index], rel=1e-4)
    assert not agreement.ok
    with pytest.raises(AssertionError) as told:
        agreement.raise_if_disagrees()
    assert str(agreement) in str(told.value)


def test_what_reads_a_wrong_array_of_a_record_disagrees_with_it(right):
    """Only there: the delta of layer 3 is read by BP2, BP3 and BP4 next to it."""
    changed = replaced(right, "delta", 3, 2 * right.delta[2])
    assert set(disagreeing(compare(NET, *CASE, subject=changed))) == {
        ("delta", 3),
        ("delta", 2),
        ("db", 3),
        ("dW", 3),
    }


# ── undecided ────────────────────────────────────────────────────────────────────────────────────


def test_bfloat16_sums_that_cancel_are_undecided(x64):
    net = Network((2, 2), ("identity",), "quadratic")
    params = (Layer(jnp.array([[1, -1], [-1, 1]], "bfloat16"), jnp.zeros(2, "bfloat16")),)
    x, y = jnp.array([[1, 1 - 2**-8]], "bfloat16"), jnp.ones((1, 2), "bfloat16")
    record = jax.tree.map(np.asarray, backprop(net, params, x, y))
    agreement = compare(net, params, x, y, subject=record)
    row = rows_of(agreement)["z", 1]
    assert (row.verdict, row.undecided, row.values) == ("undecided", 2, 2)
    assert agreement.ok  # other rows agree; this one is told
    assert "too small beside rounding to decide" in str(agreement)


def test_saturated_units_are_undecided():
    net = Network((2, 3, 1), ("sigmoid", "identity"), "quadratic")
    params = (
        Layer(jnp.ones((3, 2)), jnp.full(3, 30.0)),
        Layer(jnp.array([[1.0, 2.0, 3.0]]), jnp.ones(1)),
    )
    agreement = compare(net, params, jnp.ones((4, 2)), jnp.ones((4, 1)))
    found = verdicts(agreement)
    # σ′ = e⁻³² is far below the rounding of 1 - a: no right or wrong δ can be told from 0. The
    # subject's δ is 0, and so is all that follows from it.
    assert [found["delta", 1], found["dW", 1]] == ["undecided", "untested"]
    assert rows_of(agreement)["delta", 1].undecided == 12
    assert agreement.ok


# ── untested ─────────────────────────────────────────────────────────────────────────────────────

DEAD = Network((2, 3, 1), ("relu", "identity"), "quadratic")
DEAD_CASE = (
    (Layer(jnp.ones((3, 2)), jnp.full(3, -9.0)), Layer(jnp.ones((1, 3)), jnp.ones(1))),
    jnp.ones((4, 2)),
    jnp.zeros((4, 1)),
)


def test_dead_units_are_untested():
    agreement = compare(DEAD, *DEAD_CASE)
    found = verdicts(agreement)
    untested = {("a", 1), ("delta", 1), ("dW", 1), ("db", 1), ("dW", 2)}
    assert {place for place, verdict in found.items() if verdict == "untested"} == untested
    assert agreement.ok
    assert "untested 5" in str(agreement)


def test_a_wrong_value_where_all_is_zero_disagrees():
    record = jax.tree.map(np.asarray, backprop(DEAD, *DEAD_CASE))
    changed = replaced(record, "dW", 1, record.dW[0] + np.float32(1e-6))
    assert disagreeing(compare(DEAD, *DEAD_CASE, subject=changed)) == [("dW", 1)]


def test_nothing_that_could_be_tested_is_not_ok():
    params, x, y = jax.tree.map(jnp.zeros_like, DEAD_CASE)
    agreement = compare(DEAD, params, x, y)
    assert set(verdicts(agreement).values()) == {"untested"}
    assert not agreement.ok
    assert agreement.wrong == 0
    with pytest.raises(AssertionError):
        agreement.raise_if_disagrees()


# ── nonfinite ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_in_the_subject(right, value):
    dW = right.dW[0].copy()
    dW[4, 1] = value
    agreement = compare(NET, *CASE, subject=replaced(right, "dW", 1, dW))
    row = rows_of(agreement)["dW", 1]
    assert (row.verdict, row.wrong, row.worst.index) == ("nonfinite", 1, (4, 1))
    assert agreement.wrong == 1
    assert not agreement.ok
    assert f"{agreement.values - 1:,} within their bound" in str(agreement)
    with pytest.raises(AssertionError, match="nonfinite"):
        agreement.raise_if_disagrees()


def test_nan_in_the_witness(right):
    dW = right.dW[0].copy()
    dW[4, 1] = np.nan
    agreement = compare(NET, *CASE, witness=replaced(right, "dW", 1, dW))
    assert [p for p, v in verdicts(agreement).items() if v == "nonfinite"] == [("dW", 1)]
    assert not agreement.ok


# ── What is not given, and what does not fit ─────────────────────────────────────────────────────


def test_gradients_alone_are_judged(right):
    record = Backprop(dW=right.dW, db=right.db)
    agreement = compare(NET, *CASE, subject=record)
    assert agreement.ok, str(agreement)
    for (quantity, _), row in rows_of(agreement).items():
        given = quantity in ("dW", "db")
        assert row.verdict == ("agrees" if given else "untested")
        assert "not given" in row.note
        assert row.values == (np.prod(row.shape) if given else 0)
    assert rows_of(agreement)["dW", 2].note == "delta2 and a1 not given: the truth taken"
    assert agreement.values == sum(array.size for array in (*right.dW, *right.db))
    changed = replaced(record, "dW", 2, right.dW[1] * np.float32(1.01))
    assert disagreeing(compare(NET, *CASE, subject=changed)) == [("dW", 2)]


def test_one_array_not_given(right):
    record = replaced(replaced(right, "z", 2, None), "delta", 3, None)
    agreement = compare(NET, *CASE, subject=record)
    assert agreement.ok
    found = rows_of(agreement)
    assert found["z", 2].verdict == found["delta", 3].verdict == "untested"
    assert {place: row.note for place, row in found.items() if row.note} == {
        ("z", 2): "not given",
        ("delta", 3): "not given",
        ("a", 2): "z2 not given: the truth taken",
        ("db", 3): "delta3 not given: the truth taken",
        ("dW", 3): "delta3 not given: the truth taken",
        ("delta", 2): "delta3 and z2 not given: the truth taken",
    }
    assert "z2 not given" in str(agreement)


def test_a_record_that_gives_nothing_is_not_ok():
    nothing = Backprop()
    agreement = compare(NET, *CASE, subject=nothing)
    assert not agreement.ok
    assert agreement.values == 0
    assert str(agreement)


def test_a_witness_need_not_give_everything(right):
    agreement = compare(NET, *CASE, witness=right._replace(z=None))
    assert agreement.ok
    assert rows_of(agreement)["z", 1].max_abs is None
    assert rows_of(agreement)["dW", 1].max_abs is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda dW: dW.T, "expected shape (5, 3), got (3, 5)"),
        (lambda dW: dW[None], "expected shape (5, 3), got (1, 5, 3)"),
        (lambda dW: np.float32(1), "expected shape (5, 3), got ()"),
    ],
    ids=["transposed", "more axes", "scalar"],
)
def test_an_array_that_does_not_fit_is_a_row(right, change, says):
    agreement = compare(NET, *CASE, subject=replaced(right, "dW", 1, change(right.dW[0])))
    row = rows_of(agreement)["dW", 1]
    assert (row.verdict, row.worst) == ("disagrees", None)
    assert says in row.note
    assert disagreeing(agreement) == [("dW", 1)]
    assert not agreement.ok
    assert says.split(",")[0] in str(agreement)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda dW: dW.astype(complex), "got dtype complex128"),
        (lambda dW: dW.astype(object), "got dtype object"),
        (lambda dW: dW > 0, "got dtype bool"),
        (lambda dW: dW.astype(str).tolist(), "got dtype <U"),
        (lambda dW: [[1.0], [1.0, 2.0]], "expected rows of one length"),
    ],
    ids=["complex", "object", "bool", "text", "ragged"],
)
def test_what_is_no_numbers_is_an_error(right, change, says):
    subject = replaced(right, "dW", 1, change(np.asarray(right.dW[0])))
    with pytest.raises((TypeError, ValueError), match=f"subject: dW, layer 1: .*{says}"):
        compare(NET, *CASE, subject=subject)


def test_whole_numbers_are_numbers(right):
    rounded = np.asarray(right.dW[0]).round().astype(int)
    found = compare(NET, *CASE, subject=replaced(right, "dW", 1, rounded))
    assert rows_of(found)["dW", 1].verdict == "disagrees"


@pytest.mark.parametrize(
    "z",
    [lambda z: z[:2], lambda z: (*z, z[0]), lambda z: (), lambda z: 3.0, lambda z: np.float32(3)],
)
def test_a_wrong_number_of_layers_is_an_error(right, z):
    with pytest.raises((TypeError, ValueError), match="subject: z: expected 3 arrays, z1 … z3, "):
        compare(NET, *CASE, subject=right._replace(z=z(right.z)))


@pytest.mark.parametrize("argument", ["subject", "witness"])
@pytest.mark.parametrize("wrong", [lambda *call: 3, lambda *call: tuple(range(6)), 3, None])
def test_something_else_than_a_record_is_a_type_error(argument, wrong):
    with pytest.raises((TypeError, ValueError), match=rf"{argument}: expected .*(Backprop|dW1)"):
        compare(NET, *CASE, **{argument: wrong})


def test_a_witness_that_does_not_fit_is_an_error(right):
    with pytest.raises(ValueError, match=r"witness: dW, layer 1: expected shape \(5, 3\)"):
        compare(NET, *CASE, witness=replaced(right, "dW", 1, right.dW[0].T))


def test_what_is_masked_is_not_told(right):
    dW = np.ma.masked_array(right.dW[0].copy(), mask=np.zeros((5, 3), bool))
    dW[2, 1] = np.ma.masked
    dW.data[2, 1] = np.nan
    for roles in (
        {"subject": replaced(right, "dW", 1, dW)},
        {"witness": replaced(right, "dW", 1, dW)},
    ):
        row = rows_of(compare(NET, *CASE, **roles))["dW", 1]
        assert row.verdict == "agrees"
        assert np.isfinite([row.max_abs, row.max_rel, row.max_ulp]).all()
        assert (row.values, row.note) == (
            (14, "1 value not given") if "subject" in roles else (15, "")
        )
    dW.mask[0, 0] = True
    dW.data[3, 2] *= 2
    assert disagreeing(compare(NET, *CASE, subject=replaced(right, "dW", 1, dW))) == [("dW", 1)]


# ── Other networks and batches ───────────────────────────────────────────────────────────────────


def test_one_example_without_the_batch_axis():
    net = Network((3, 2), ("sigmoid",), "quadratic")
    params, x, y = random_case(net, None, seed=0, dtype="float32")
    agreement = compare(net, params, x, y)
    assert agreement.ok
    found = rows_of(agreement)
    shapes = {
        ("a", 0): (3,),
        ("z", 1): (2,),
        ("delta", 1): (2,),
        ("dW", 1): (2, 3),
        ("db", 1): (2,),
    }
    assert {place: found[place].shape for place in shapes} == shapes
    right = backprop(net, params, x, y)
    wrong = compare(net, params, x, y, subject=replaced(right, "z", 1, right.z[0].at[1].add(1)))
    row = rows_of(wrong)["z", 1]
    assert (row.verdict, row.worst.index) == ("disagrees", (1,))
    batched = compare(net, params, x, y, subject=backprop(net, params, x[None], y[None]))
    assert batched.ok  # with its axis it is the same example


def test_one_layer_and_no_batch_to_speak_of():
    net = Network((3, 1), ("sigmoid",), "binary_cross_entropy", l2=1.0)
    case = random_case(net, 1, seed=0, dtype="float32")
    agreement = compare(net, *case)
    assert agreement.ok
    assert len(agreement.rows) == 7


# ── Witnesses ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def witnesses():
    return {f: f(NET, *CASE) for f in (summation, numerical)}


def test_the_witnesses_agree(witnesses):
    one = compare(NET, *CASE, witness=witnesses[summation])
    two = compare(NET, *CASE, subject=witnesses[summation], witness=witnesses[numerical])
    for agreement in (one, two, compare(NET, *CASE, witness=numerical)):
        assert agreement.ok, str(agreement)
        assert all(0 <= row.end_ratio <= 1 for row in agreement.rows)


def test_against_autodiff_no_end_to_end_ratio():
    assert {row.end_ratio for row in compare(NET, *CASE).rows} == {None}


@pytest.mark.parametrize("place", [("dW", 1), ("delta", 2), ("cost", 3), ("a", 3)])
def test_a_witness_that_is_wrong_is_found_end_to_end(witnesses, place):
    right = witnesses[summation]
    wrong = replaced(right, *place, taken(right, *place) * 1.01)
    agreement = compare(NET, *CASE, witness=wrong)
    assert disagreeing(agreement) == [place]
    row = rows_of(agreement)[place]
    assert row.end_ratio > 1
    assert row.wrong == 0  # its own equation holds
    assert "times as far from the witness as rounding goes" in row.note
    assert row.note in " ".join(str(agreement).split())


# ── What compare leaves behind ───────────────────────────────────────────────────────────────────


def test_the_same_shapes_are_not_traced_again():
    traced = []

    def sigma(z):
        traced.append(z.shape)
        return z**3

    net = Network(
        (2, 3, 1), (Activation("cube", sigma, lambda z: 3 * z**2), "identity"), "quadratic"
    )
    first, second = (random_case(net, 4, seed, "float32") for seed in (0, 1))
    assert compare(net, *first).ok
    assert traced
    traced.clear()
    assert compare(net, *second).ok
    assert traced == []


def test_the_subject_is_called_once():
    subject = chex.assert_max_traces(lambda *call: backprop(*call), n=1)
    assert compare(NET, *CASE, subject=subject).ok


@pytest.mark.parametrize("before", [False, True])
def test_64_bit_types_stay_as_they_were(before, right):
    with jax.enable_x64(before):
        compare(NET, *CASE, subject=right)
        assert jax.config.jax_enable_x64 == before
        with pytest.raises(TypeError):
            compare(NET, *CASE, subject=3)
        assert jax.config.jax_enable_x64 == before


def test_functions_run_at_the_precision_asked_for(right):
    found = []

    def subject(*call):
        found.append(jax.config.jax_default_matmul_precision)
        return right

    compare(NET, *CASE, subject=subject)
    compare(NET, *CASE, subject=subject, precision="default")
    assert found == ["highest", "default"]


def test_what_does_not_fit_the_network_is_an_error():
    params, x, y = CASE
    with pytest.raises(ValueError, match="x: expected shape"):
        compare(NET, params, x[:, :2], y)
