import html

import numpy as np
import pytest

from manual_bp.training.history import CURVES, History

HALVES = 0.5 ** np.arange(1, 4)
SHORT = History(HALVES, HALVES, None, None, np.full(3, 0.25), 7, None, "stopped <here>")


def test_a_line_an_epoch():
    assert str(SHORT).splitlines() == [
        "epoch  cost accuracy seconds",
        "    5   0.5   50.00%    0.25",
        "    6  0.25   25.00%    0.25",
        "    7 0.125   12.50%    0.25",
        "stopped <here>",
    ]


@pytest.mark.parametrize("epochs", [10, 11, 5000])
def test_of_many_epochs_the_first_and_the_last(epochs):
    costs = 1 / np.arange(1, epochs + 1)
    lines = str(History(costs, None, costs, None, costs, epochs)).splitlines()
    shown = [*range(1, 11)] if epochs == 10 else [*range(1, 6), "…", *range(epochs - 4, epochs + 1)]
    assert [line.split()[0] for line in lines] == ["epoch", *map(str, shown)]
    assert lines[-1].split()[1:] == [f"{1 / epochs:.4g}"] * 3


def test_one_line_where_it_is_one_of_several_values():
    assert repr(SHORT) == (
        "History(7 epochs; cost 0.5 → 0.125; accuracy 50.00% → 12.50%; seconds 0.75; "
        "stopped <here>)"
    )
    one = History(HALVES[:1], None, None, None, HALVES[:1], 1)
    assert repr(one) == "History(1 epoch; cost 0.5; seconds 0.5)"
    none = History(HALVES[:0], None, None, None, HALVES[:0], 0, stopped="at once")
    assert repr(none) == "History(0 epochs; at once)"
    assert str(none).splitlines() == ["epoch cost seconds", "at once"]


def test_a_table_in_a_notebook():
    table = SHORT._repr_html_()
    assert table.count("<tr>") == 4
    assert "<td>12.50%</td>" in table
    assert html.escape(SHORT.stopped) in table
    assert SHORT.stopped not in table


def test_what_only_one_of_two_measured():
    later = SHORT._replace(accuracy=None, validation_cost=HALVES, epoch=10, stopped="")
    both = SHORT.followed_by(later)
    assert both.epoch == 10
    assert both.stopped == ""
    assert both.validation_accuracy is None
    assert {len(getattr(both, name)) for name in set(CURVES) - {"validation_accuracy"}} == {6}
    np.testing.assert_array_equal(both.accuracy, [*HALVES, *[np.nan] * 3])
    np.testing.assert_array_equal(both.validation_cost, [*[np.nan] * 3, *HALVES])
    assert [line.split()[2:4] for line in str(both).splitlines()[3:5]] == [
        ["12.50%", "–"],
        ["–", "0.5"],
    ]
