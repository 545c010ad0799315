"""How symbols and numbers are written for people."""

import codecs
import sys
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SYMBOLS = {"z": "z", "a": "a", "delta": "δ", "dW": "∂C/∂W", "db": "∂C/∂b"}
# What a terminal without these letters is given in their place.
_PLAIN = str.maketrans(
    {
        **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True)),
        **{"δ": "delta", "Δ": "diff", "∂": "d", "σ": "sigma", "η": "eta", "Σ": "sum", "∇": "grad"},
        **{"⊙": "*", "·": "*", "×": "x", "−": "-", "…": "...", "–": "-", "—": "-", "′": "'"},
        **{"≤": "<=", "≥": ">=", "→": "->", "ˡ": "^l", "ᴸ": "^L", "ᵀ": "^T", "½": "1/2", "ᵃ": "^a"},
        **{"ₐ": "_a", "ₖ": "_k", "ⱼ": "_j", "λ": "lambda", "‖": "||", "²": "2", "∝": "~"},
    }
)


def superscript(number: int) -> str:
    """A layer's number as the equations write it: 2 gives ²."""
    return str(number).translate(_SUPERSCRIPTS)


def symbol(quantity: str, layer: int) -> str:
    """A quantity as the equations write it, such as δ² or ∂C/∂W¹."""
    return "C" if quantity == "cost" else _SYMBOLS[quantity] + superscript(layer)


def listed(words: Iterable[str]) -> str:
    """Several things in a sentence: W¹, W² and x."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def digits(value: float, n: int) -> str:
    """n significant digits, or one where the exponent takes their place."""
    text = f"{value:.{n}g}"
    return text if len(text.partition("e")[2]) < 4 else f"{value:.0e}"


def times(ratio: float) -> str:
    """A ratio for a sentence: few digits, and no exponent that nobody can picture."""
    if not ratio < 1e6:
        return "over a million"
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def of_bound(ratio: float) -> str:
    """A difference from the truth, measured by what rounding allows, in words."""
    if not ratio < 1e6:
        return "far more than rounding allows"
    return f"{times(ratio)} {'times' if ratio > 1 else 'of'} what rounding allows"


def summary(array: Any) -> str:
    """An array in one line: its shape, its dtype, and how large its values are."""
    if array is None:
        return "not given"
    if not hasattr(array, "dtype"):
        try:
            array = np.asarray(array)
        except ValueError:
            return f"{type(array).__name__}, not an array"
    shape = str(tuple(array.shape)) if array.shape else "a number"
    try:
        values = np.abs(np.ma.asarray(array, np.float64))
    except (TypeError, ValueError):  # traced by JAX, or no numbers
        return f"{shape} {array.dtype}"
    if not array.shape:
        return f"{float(np.asarray(array, np.float64)):.6g} {array.dtype}"
    if not values.size:
        return f"{shape} {array.dtype}, empty"
    bad = int(np.count_nonzero(~np.isfinite(values)))
    line = f"{shape} {array.dtype}" + (f", {bad:,} NaN or Inf" if bad else "")
    values = values[np.isfinite(values)] if bad else values
    if values.size:
        line += f", sizes: mean {digits(float(values.mean()), 3)}"
        line += f", largest {digits(float(values.max()), 3)}"
    return line


def table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Rows of cells as lines of text, columns aligned to the right but those in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table for a notebook."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line("td", row) for row in rows)
    return f"<table>{title}<thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end].translate(_PLAIN)
    return letters.encode("ascii", "replace").decode(), error.end


PLAIN = "manual_bp.plain"
"""How to encode text for an output that lacks some of its letters: a name for `errors=`."""
codecs.register_error(PLAIN, _in_plain_letters)


def printable(text: str) -> str:
    """The text itself, or in plain letters where this process's output knows no others."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, PLAIN).decode(encoding)
    except LookupError:  # an encoding that Python does not know: leave it to the stream
        return text
