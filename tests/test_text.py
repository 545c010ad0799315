"""How symbols and numbers are written for people."""

import io
import sys

import numpy as np
import pytest

from manual_bp.text import digits, of_bound, printable, summary, superscript, symbol, table, times


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.0, "0 of what rounding allows"),
        (0.254, "0.25 of what rounding allows"),
        (1.5, "1.5 times what rounding allows"),
        (12345.6, "12,346 times what rounding allows"),
        (1.2e101, "far more than rounding allows"),
        (np.inf, "far more than rounding allows"),
        (np.nan, "far more than rounding allows"),
    ],
)
def test_of_bound(ratio, words):
    assert of_bound(ratio) == words


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.254, "0.25"), (9.99, "10"), (1234.5, "1,234"), (1e7, "over a million")]
)
def test_times(ratio, words):
    assert times(ratio) == words


def test_symbols():
    assert superscript(10) == "¹⁰"
    assert superscript(-1) == "⁻¹"
    assert [symbol(q, 2) for q in ("z", "a", "delta", "dW", "db", "cost")] == [
        *("z²", "a²", "δ²", "∂C/∂W²", "∂C/∂b²", "C")
    ]


def test_digits_leave_room_for_a_long_exponent():
    assert digits(0.00123456, 3) == "0.00123"
    assert digits(1.23456e-9, 3) == "1.23e-09"
    assert digits(1.23456e-101, 3) == "1e-101"


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (None, "not given"),
        (np.float32(0.5), "0.5 float32"),
        (np.array([[1.0, -3.0]]), "(1, 2) float64, sizes: mean 2, largest 3"),
        ([[1.0, -3.0]], "(1, 2) float64, sizes: mean 2, largest 3"),
        (np.array([1.0, np.nan]), "(2,) float64, 1 NaN or Inf, sizes: mean 1, largest 1"),
        (np.array([np.inf]), "(1,) float64, 1 NaN or Inf"),
        (np.ma.masked_array([1.0, 9.0], [False, True]), "(2,) float64, sizes: mean 1, largest 1"),
        (np.zeros((0, 3)), "(0, 3) float64, empty"),
        ([[1.0], [1.0, 2.0]], "list, not an array"),
        (np.array(["a"]), "(1,) <U1"),
    ],
)
def test_an_array_in_one_line(array, line):
    assert summary(array) == line


def test_a_table_is_aligned():
    assert table([("", "n"), ("width", "10"), ("m", "7")]) == ["       n", "width 10", "m      7"]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-8", "δ² = (W³)ᵀ δ³ ⊙ σ′(z²) ≤ ½ — ∂C/∂W²"),
        ("cp1252", "delta² = (W³)^T delta³ * sigma'(z²) <= ½ — dC/dW²"),
        ("ascii", "delta2 = (W3)^T delta3 * sigma'(z2) <= 1/2 - dC/dW2"),
    ],
)
def test_what_the_output_cannot_show_is_spelled_out(monkeypatch, encoding, words):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    text = printable("δ² = (W³)ᵀ δ³ ⊙ σ′(z²) ≤ ½ — ∂C/∂W²")
    assert text == words
    print(text)


def test_a_letter_without_a_plain_one_is_a_question_mark(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert printable("δ of 層") == "delta of ?"
