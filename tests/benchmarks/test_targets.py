"""Every network has the targets that it should, and its figures are judged by their medians."""

import pytest

from table import CEILING, OVER, Figure
from works import full_scale, held


@pytest.mark.parametrize(
    ("value", "reached", "text"),
    [(0.95, True, "≤ 0.95 reached"), (0.951, False, "≤ 0.95 NOT reached")],
)
def test_a_target_is_judged_by_its_median(value, reached, text):
    row = Figure("step", what=OVER, median=value, low=0.5, high=2.0, at_most=0.95)
    assert row.reached is reached
    assert row.target == text


def test_slower_beyond_the_spread_is_a_miss():
    row = Figure("step", what=OVER, median=1.02, low=0.99, high=1.1, at_most=1.03)
    assert row.reached
    assert not row._replace(low=1.01).reached


def test_of_the_ceiling_at_least():
    row = Figure("step", what=CEILING, median=0.9, at_least=0.9)
    assert row.target == "≥ 0.90 reached"
    assert row._replace(median=0.899).target == "≥ 0.90 NOT reached"
    assert row._replace(at_least=None).target == ""


def limits(section, what, peer, on_cpu=True):
    rows = (
        Figure(section, work.name, work.sigma, peer=peer, what=what)
        for work in full_scale(on_cpu)[section]
    )
    return [held(row, on_cpu) for row in rows]


def test_every_network_has_the_targets_it_should():
    assert all(row.at_most <= 1.03 for row in limits("step", OVER, "autodiff"))
    ceiling = limits("step", CEILING, "by hand")
    assert {row.network for row in ceiling if row.at_least} == {"1024x4", "2048x4"}
    assert all(row.at_most <= 1 for row in limits("memory", OVER, "autodiff"))
    torch = [row.network for row in limits("epoch", OVER, "PyTorch, eager") if row.at_most]
    assert torch == ["784-30-10"]


def test_an_accelerator_has_its_own():
    assert {row.at_most for row in limits("step", OVER, "autodiff", on_cpu=False)} == {1.0}
    ceiling = limits("step", CEILING, "by hand", on_cpu=False)
    assert {row.network for row in ceiling if row.at_least} == {"8192x4"}
    assert all(row.at_most is None for row in limits("epoch", OVER, "PyTorch, eager", on_cpu=False))
