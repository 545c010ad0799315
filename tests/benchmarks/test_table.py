"""Rows are written and read back as they are, and found by what they say."""

import pytest

from table import BYTES, Figure, figure, read, tables, write

ROWS = [
    Figure("step", "2-2", "tanh", 5, peer="autodiff", median=2e-5, low=1e-5, high=3e-5, unit="s"),
    Figure("step", "2-2", "tanh", 5, what=BYTES, median=2048, unit="B"),
    Figure("growth", "width", "relu", 5, 64, median=0.25, low=0.125, high=0.5, rounds=3),
]


def test_what_is_read_is_what_was_written(tmp_path):
    write(tmp_path / "rows.json", {"format": "rows 1", "seed": 0}, ROWS)
    assert read(tmp_path / "rows.json", "rows 1") == ({"format": "rows 1", "seed": 0}, ROWS)
    assert len((tmp_path / "rows.json").read_text("utf-8").splitlines()) == 5 + len(ROWS) + 2 - 1


def test_another_file_is_refused(tmp_path):
    write(tmp_path / "rows.json", {"format": "rows 1"}, ROWS)
    with pytest.raises(ValueError, match="expected a file of format 'rows 2'"):
        read(tmp_path / "rows.json", "rows 2")


def test_figure_finds_the_one_row():
    assert figure(ROWS, section="step", peer="autodiff") == ROWS[0]
    for fields in ({"section": "step"}, {"section": "epoch"}):
        with pytest.raises(ValueError, match="values to unpack"):
            figure(ROWS, **fields)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Figure("s", median=63.6e-6, unit="s"), "63.6 µs"),
        (Figure("s", median=0.9996, unit="s"), "1 s"),
        (Figure("s", median=1200.0, unit="s"), "1200.000"),
        (Figure("s", median=528 * 2**20, unit="B"), "528 MiB"),
        (Figure("s", median=1.6e11, unit="flop/s"), "160 Gflop/s"),
        (Figure("s", median=0.9218, low=0.66, high=1.119), "0.922 [0.66 1.12]"),
        (Figure("s", median=0.515), "0.515"),
    ],
)
def test_a_figure_as_text(row, text):
    assert str(row) == text


def test_tables_by_network_and_by_what_is_measured():
    assert tables(ROWS[:2], by_network=True) == {
        "step: 2-2 tanh, batch 5": {("autodiff", "time"): "20 µs", ("by hand", BYTES): "2 KiB"}
    }
    assert tables(ROWS) == {
        "step: time": {("2-2 tanh, batch 5", "autodiff"): "20 µs"},
        f"step: {BYTES}": {("2-2 tanh, batch 5", "by hand"): "2 KiB"},
        "growth: width": {("64", "by hand, time"): "0.250 [0.12 0.50]"},
    }
