"""What people get wrong where a step is split over devices has names, and right code has none."""

import re

import jax
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.equations import Shards
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.diagnosis.sharded import SHARDED
from running import ROOT

OF_UNEVEN = ("mean_of_means", "mean_over_own_examples", "divided_by_own_m")
NET = mbp.Network((4, 6, 4, 3), ("tanh", "sigmoid", "softmax"), "cross_entropy")
EVEN, UNEVEN, SPLIT = 12, 11, Shards(4, 2)


def case(m, net=NET):
    random = np.random.default_rng(m)
    params = tuple(
        mbp.Layer(random.normal(size=(n, k)), random.normal(size=n) / 2)
        for k, n in zip(net.sizes, net.sizes[1:], strict=False)
    )
    return net, params, random.normal(size=(m, 4)), np.eye(3)[np.arange(m) % 3]


def names(diagnosis):
    return [set((finding.mistake or "").split(" or ")) for finding in diagnosis.findings]


def trials():
    """Each mistake at each place that has room for it, on a batch that shows it."""
    for name, edit in SHARDED.items():
        m = UNEVEN if name in OF_UNEVEN else EVEN
        for place in places_for(NET, edit):
            try:
                wrong = backprop_with(*case(m), {place: edit}, shards=SPLIT)
            except ValueError:
                continue
            yield pytest.param(name, place, m, wrong, id=f"{name}-{place.name}")


TRIALS = list(trials())
GRADIENTS = [trial for trial in TRIALS if trial.values[1].kind in ("BP1", "BP3", "BP4")]


def test_each_mistake_is_among_them():
    assert {trial.values[0] for trial in TRIALS} == set(SHARDED)


@pytest.mark.parametrize(("name", "place", "m", "wrong"), TRIALS)
def test_each_is_found_and_named(name, place, m, wrong):
    diagnosis = mbp.check(*case(m), wrong, shards=SPLIT._asdict())
    assert not diagnosis.ok
    assert any(name in found for found in names(diagnosis)), diagnosis


@pytest.mark.parametrize(("name", "place", "m", "wrong"), GRADIENTS)
def test_each_is_named_from_gradients_alone(name, place, m, wrong):
    shown = mbp.Backprop(dW=wrong.dW, db=wrong.db)
    diagnosis = mbp.check(*case(m), shown, shards=SPLIT._asdict())
    assert not diagnosis.ok
    is_scale = place.kind == "BP1" and SHARDED[name].part == "factor"
    said = {name, "convention"} if is_scale else {name}  # somebody may scale all gradients so
    assert any(said & found for found in names(diagnosis)), diagnosis


def test_the_page_names_them_all():
    page = (ROOT / "docs" / "parallel.md").read_text()
    assert set(re.findall(r"`(\w+)`", page)) >= set(SHARDED) | {"copies_differ"}


def test_nobody_else_is_told_of_devices():
    where = {places_for(NET, SHARDED["one_device_alone"])[0]: SHARDED["one_device_alone"]}
    wrong = backprop_with(*case(EVEN), where, shards=Shards(2, 1))
    told = set().union(*names(mbp.check(*case(EVEN), wrong)))
    assert not told & set(SHARDED)
    assert not set(SHARDED) & set(CATALOGUE)


@pytest.mark.parametrize("m", [EVEN, UNEVEN])
def test_right_code_is_right_however_it_is_split(m):
    net, params, x, y = case(m)
    with jax.enable_x64(True):
        right = mbp.backprop(net, params, x, y)
    assert mbp.check(net, params, x, y, right, shards={"data": 4, "model": 2}).ok


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({"dta": 4}, "shards: expected how many devices"),
        (4, "shards: expected how many devices"),
        ({"data": 0}, "shards: data: expected a whole number ≥ 1"),
    ],
)
def test_what_is_no_split_is_refused(shards, message):
    net, params, x, y = case(EVEN)
    with pytest.raises((ValueError, TypeError), match=message):
        mbp.check(net, params, x, y, mbp.backprop, shards=shards)


def test_a_part_for_each_device_is_no_gradient():
    net, params, x, y = case(EVEN)
    right = mbp.backprop(net, params, x, y)
    parts = right._replace(dW=([right.dW[0] / 4] * 4, *right.dW[1:]))
    told = str(mbp.check(net, params, x, y, parts))
    assert "of one part for each device, hand over their sum" in " ".join(told.split())
