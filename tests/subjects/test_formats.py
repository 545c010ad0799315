"""Mixed formats: each place goes by its own and by those that it reads, and is held to them."""

import jax
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
from manual_bp.calls import read_call
from manual_bp.record import Place
from manual_bp.subjects.formats import kept_in
from ways import BITS, Formats, record_by

NET = mbp.Network((3, 5, 4, 2), ("tanh", "silu", "softmax"), "cross_entropy")
HALVES = ("bfloat16", "float16")
SINGLE = "float32"


def in_numpy(case):
    return jax.tree.map(np.asarray, case)


def autocast(net, case, half, order="forward", route=0):
    """z, a and δ in half, the head and what is handed to the optimizer in float32."""
    return record_by(net, case, Formats(half, half, SINGLE, SINGLE, SINGLE), order, route)


def wrong_places(agreement):
    return [row.place.name for row in agreement.disagreements]


@pytest.mark.parametrize("half", HALVES)
def test_autocast_is_right_and_a_mistake_in_it_is_found(half):
    case = in_numpy(random_case(NET, 7, 0, SINGLE))
    for seed in range(6):
        record = autocast(NET, case, half, route=seed)
        agreement = mbp.compare(NET, *case, subject=record)
        assert agreement.ok, str(agreement)
        assert {row.verdict for row in agreement.rows} <= {"agrees", "undecided"}
        assert agreement.arithmetic.startswith(f"float32 and {half}, each array by its own")
    for place in (Place("BP4", "dW", 1), Place("BP2", "delta", 2), Place("BP3", "db", 3)):
        changed = record.replaced(place, (1.5 * record.at(place)).astype(record.at(place).dtype))
        assert place.name in wrong_places(mbp.compare(NET, *case, subject=changed))


def test_what_is_all_in_float32_is_held_to_float32_beside_what_is_not():
    """Only what reads a short number is as coarse: not z¹, which follows from x."""
    case = in_numpy(random_case(NET, 7, 0, SINGLE))
    record = record_by(NET, case, SINGLE, "forward")
    short = record._replace(delta=tuple(d.astype(BITS["bfloat16"]) for d in record.delta))
    assert mbp.compare(NET, *case, subject=short).ok
    off = short._replace(z=(record.z[0] * np.float32(1 + 1e-5), *record.z[1:]))
    assert "z1" in wrong_places(mbp.compare(NET, *case, subject=off))


@pytest.mark.parametrize("half", HALVES)
def test_gradients_alone_that_are_all_short_numbers_are_judged_so(half):
    net = mbp.Network(NET.sizes, NET.activations, "cross_entropy", 0.1)
    for one in (NET, net):  # a penalty is added after they were widened
        case = in_numpy(random_case(one, 7, 0, SINGLE))
        record = autocast(one, case, half)
        gradients = mbp.Backprop(dW=record.dW, db=record.db)
        agreement = mbp.compare(one, *case, subject=gradients)
        assert not agreement.disagreements, str(agreement)
        assert f"all gradients are numbers of {half}" in str(agreement)
        doubled = gradients._replace(db=tuple(2 * db for db in record.db))
        assert wrong_places(mbp.compare(one, *case, subject=doubled))
    # One array alone that is so was rounded on the way, which is a mistake.
    right = record_by(NET, case, SINGLE, "forward")
    one_short = right.dW[1].astype(BITS[half]).astype(np.float32)
    changed = mbp.Backprop(dW=(right.dW[0], one_short, right.dW[2]), db=right.db)
    assert wrong_places(mbp.compare(NET, *case, subject=changed)) == ["dW2"]


def test_y_is_read_in_the_subjects_format():
    """Where a nearly is y, all that is left of a − y is how y was rounded."""
    net = mbp.Network((3, 5, 2), ("tanh", "sigmoid"), "quadratic")
    params, x, y = in_numpy(random_case(net, 7, 0, SINGLE))
    a = np.asarray(record_by(net, (params, x, y), SINGLE, "forward").a[-1], np.float64)
    y = a + 1e-6 * np.random.default_rng(0).uniform(size=a.shape)
    record = record_by(net, (params, x, y.astype(np.float32)), SINGLE, "forward")
    assert mbp.compare(net, params, x, y, subject=record).ok
    delta = record.delta[1] * np.float32(2)
    changed = record._replace(delta=(record.delta[0], delta))
    assert "delta2" in wrong_places(mbp.compare(net, params, x, y, subject=changed))


@pytest.mark.parametrize("half", HALVES)
def test_what_was_rounded_only_as_it_was_stored(half):
    """C of targets that are the stored a, where its slope is 0; δ below the normal numbers."""
    net = mbp.Network((3, 5, 2), ("tanh", "sigmoid"), "quadratic")
    params, x, y = random_case(net, 7, 0, half)
    once = Formats(SINGLE, half, SINGLE, SINGLE, half, reads_kept=False)
    for targets in (None, 2.0**-11):
        case = in_numpy((params, x, y))
        a = record_by(net, case, once, "forward").a[-1]
        near = a if targets is None else (a.astype(float) + targets).astype(a.dtype)
        record = record_by(net, (*case[:2], near), once, "forward")
        for subject in (record, jax.tree.map(jax.numpy.asarray, record)):
            agreement = mbp.compare(net, params, x, near, subject=subject)
            assert not agreement.disagreements, str(agreement)


# ── A cost that went through a float ─────────────────────────────────────────────────────────────

WIDE = mbp.Network((3, 5, 2), ("tanh", "identity"), "quadratic")
COST = Place("cost", "cost", 2)


def wide_case():
    return jax.tree.map(lambda v: np.asarray(v, np.float64), random_case(WIDE, 7, 0, SINGLE))


def test_a_cost_in_a_double_is_kept_in_float32_where_it_or_its_sum_is_one():
    call = read_call(WIDE, *wide_case())

    def kept(number):
        return kept_in(COST, np.float64(number), call)

    single = float(np.float32(1.2345))
    assert kept(single) == kept(7 * single) == kept(single / 7) == kept(single / 14) == SINGLE
    assert kept(3e7) == kept(0) == SINGLE
    assert kept(1.2345) == kept(single * (1 + 1e-9)) == "float64"
    assert kept(np.nan) == "float64"
    assert kept_in(Place("BP3", "db", 1), np.float64([single]), call) == "float64"


@pytest.mark.parametrize("kept", [np.float32, lambda c: np.float32(c / 7) * np.float64(7)])
@pytest.mark.parametrize("size", [1.0, 3e4])  # there all of float32's numbers are whole
def test_a_cost_kept_in_float32_is_told_and_hides_no_convention(kept, size):
    params, x, y = wide_case()
    record = jax.tree.map(np.asarray, mbp.backprop(WIDE, params, x, y * size))
    for convention in (mbp.Convention(), mbp.Convention(reduction="sum")):
        theirs = convention.from_ours(WIDE, params, record, 7)
        theirs = theirs._replace(cost=float(kept(theirs.cost)))
        found = mbp.check(WIDE, params, x, y * size, theirs)
        assert not found.agreement.disagreements, str(found)
        assert "C went through a float32" in str(found)
        named = [finding.equation for finding in found.findings]
        assert named == ["convention"] * (convention != mbp.Convention())


def test_a_cost_that_is_right_in_single_precision_alone():
    case = wide_case()
    record = jax.tree.map(np.asarray, mbp.backprop(WIDE, *case))
    (finding,) = mbp.check(WIDE, *case, record._replace(cost=record.cost * (1 + 1e-8))).findings
    assert "It is that in single precision" in finding.explanation
