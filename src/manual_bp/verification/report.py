"""What an agreement looks like: a table of text, one in colour, one in a notebook, and JSON."""

from __future__ import annotations

import html as markup
import math
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manual_bp.verification.agreement import Agreement, Row

FORMAT, VERSION = "manual_bp.agreement", 1

WRONG = ("disagrees", "nonfinite")
COLOURS = {
    "agrees": "32",
    "disagrees": "1;31",
    "undecided": "33",
    "untested": "36",
    "nonfinite": "1;35",
}

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SYMBOLS = {"z": "z", "a": "a", "delta": "δ", "dW": "∂C/∂W", "db": "∂C/∂b"}
_HEADINGS = (
    "",
    "shape",
    "max |Δ|",
    "max rel",
    "ulp",
    "bound",
    "worst",
    "got",
    "expected",
    "verdict",
)
_LEFT = (0, 1, 9)  # columns aligned to the left


def symbol(quantity: str, layer: int) -> str:
    """A quantity as the equations write it, such as δ² or ∂C/∂W¹."""
    if quantity == "cost":
        return "C"
    return _SYMBOLS[quantity] + str(layer).translate(_SUPERSCRIPTS)


def text(agreement: Agreement, *, colour: bool = False) -> str:
    """A table of at most 100 columns, a sentence for each disagreement, and the totals."""
    cells = [_HEADINGS, *(_cells(row) for row in agreement.rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEADINGS))]
    lines = [
        textwrap.fill(f"{agreement.network}: {agreement.subject} against {agreement.witness}", 100),
        f"arithmetic: {agreement.arithmetic}",
        "",
    ]
    for i, line in enumerate(cells):
        padded = [
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        if colour and i:
            code = COLOURS[agreement.rows[i - 1].verdict]
            padded[-1] = f"\033[{code}m{padded[-1].rstrip()}\033[0m"
        lines.append(" ".join(padded).rstrip())
    wrong = [sentence(row) for row in agreement.rows if row.verdict in WRONG]
    for part in (wrong, _remarks(agreement), [totals(agreement)]):
        if part:
            lines += ["", *(textwrap.fill(line, 100) for line in part)]
    return "\n".join(lines)


def _remarks(agreement: Agreement) -> list[str]:
    """The notes of the rows, those that say the same together."""
    said: dict[str, list[str]] = {}
    for row in agreement.rows:
        if row.note and row.verdict not in WRONG:
            said.setdefault(row.note, []).append(symbol(row.quantity, row.layer))
    return [f"{', '.join(names)}: {note}." for note, names in said.items()]


def sentence(row: Row) -> str:
    """A disagreement: equation, layer, index, got, expected, how many bounds off."""
    what = symbol(row.quantity, row.layer)
    where = f"{row.equation} at layer {row.layer}" if row.equation != "cost" else "the cost"
    if row.worst is None:
        return f"{where}: {what} {row.verdict}: {row.note}."
    index = f"[{', '.join(map(str, row.worst.index))}]" if row.worst.index else ""
    values = f"{what}{index} is {_exact(row.worst.got)}, expected {_exact(row.worst.expected)}"
    if row.verdict == "nonfinite":
        return f"{where}: {values}: NaN or Inf."
    if not row.wrong:
        return f"{where}: {what} {row.note}."
    return (
        f"{where}: {values} from its own inputs: {bounds(row.bound_ratio)} off "
        f"({row.wrong:,} of {row.values:,} values are wrong)."
    )


def totals(agreement: Agreement) -> str:
    """How many values were compared, how many agreed, and the worst as a fraction of its bound."""
    verdicts = Counter(row.verdict for row in agreement.rows)
    counts = ", ".join(f"{verdict} {n}" for verdict, n in verdicts.items())
    hidden = sum(row.undecided for row in agreement.rows)
    undecided = f", {hidden:,} of them too small beside rounding to decide" if hidden else ""
    return (
        f"{agreement.values:,} values compared, {agreement.values - agreement.wrong:,} within "
        f"their bound{undecided}; the worst is {bounds(agreement.worst.bound_ratio)} off. "
        f"Rows: {counts}."
    )


def html(agreement: Agreement) -> str:
    """The table for a notebook."""

    def line(tag: str, cells: tuple[str, ...]) -> str:
        inside = "".join(f"<{tag}>{markup.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    head = line("th", _HEADINGS)
    body = "".join(line("td", _cells(row)) for row in agreement.rows)
    below = [sentence(row) for row in agreement.rows if row.verdict in WRONG]
    below.append(totals(agreement))
    title = f"{agreement.network}: {agreement.subject} against {agreement.witness}"
    paragraphs = "".join(f"<p>{markup.escape(words)}</p>" for words in below)
    return (
        f"<table><caption>{markup.escape(title)}</caption><thead>{head}</thead>"
        f"<tbody>{body}</tbody></table>{paragraphs}"
    )


def to_dict(agreement: Agreement) -> dict[str, Any]:
    """For JSON; a number that JSON has not is the string "NaN", "Infinity" or "-Infinity"."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": agreement.network,
        "subject": agreement.subject,
        "witness": agreement.witness,
        "arithmetic": agreement.arithmetic,
        "ok": agreement.ok,
        "rows": [
            {
                "equation": row.equation,
                "quantity": row.quantity,
                "layer": row.layer,
                "shape": list(row.shape),
                "max_abs": number(row.max_abs),
                "max_rel": number(row.max_rel),
                "max_ulp": number(row.max_ulp),
                "end_ratio": number(row.end_ratio),
                "bound_ratio": number(row.bound_ratio),
                "worst": None
                if row.worst is None
                else {
                    "index": list(row.worst.index),
                    "got": number(row.worst.got),
                    "expected": number(row.worst.expected),
                },
                "verdict": row.verdict,
                "values": row.values,
                "wrong": row.wrong,
                "undecided": row.undecided,
                "note": row.note,
            }
            for row in agreement.rows
        ],
    }


def _cells(row: Row) -> tuple[str, ...]:
    name = symbol(row.quantity, row.layer)
    worst = ("", "", "")
    if row.worst is not None:
        index = f"({', '.join(map(str, row.worst.index))})" if row.worst.index else ""
        worst = (index, _digits(row.worst.got, 3), _digits(row.worst.expected, 3))
    return (
        name if row.equation == "cost" else f"{row.equation} {name}",
        str(row.shape).replace(",)", ")") if row.shape else "",
        *(_short(value) for value in (row.max_abs, row.max_rel, row.max_ulp, row.bound_ratio)),
        *worst,
        row.verdict,
    )


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if 10 <= value < 1e5 else _digits(value, 2)


def _digits(value: float, n: int) -> str:
    """n significant digits, or one where the exponent takes their place."""
    text = f"{value:.{n}g}"
    return text if len(text.partition("e")[2]) < 4 else f"{value:.0e}"


def _exact(value: float) -> str:
    """Enough digits to tell any two float32 numbers apart."""
    return f"{value:.9g}"


def bounds(ratio: float) -> str:
    """A difference as a multiple of its bound, in words."""
    if not math.isfinite(ratio):
        return "infinitely many bounds"
    return f"{ratio:,.0f} bounds" if 10 <= ratio < 1e6 else f"{ratio:.2g} bounds"


def number(value: float | None) -> float | str | None:
    """The value, or its name where JSON has no such number."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
