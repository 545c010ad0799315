"""What verdicts look like: a table of text, one in colour, one in a notebook, and JSON."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from manual_bp.files.json import number
from manual_bp.text import digits, html_table, of_bound, table
from manual_bp.verdicts.rows import Row

FORMAT, VERSION = "manual_bp.agreement", 1
WIDTH = 100

WRONG = ("disagrees", "nonfinite")
COLOURS = {
    "agrees": "32",
    "disagrees": "1;31",
    "undecided": "33",
    "untested": "36",
    "nonfinite": "1;35",
}
_HEADINGS = (
    *("", "shape", "max |Δ|", "max rel", "ulp"),
    *("of bound", "worst", "got", "expected", "verdict"),
)
_LEFT = (0, 1, 9)  # columns aligned to the left


def text(
    title: str,
    arithmetic: str,
    rows: Sequence[Row],
    notes: Sequence[str] = (),
    *,
    colour: bool = False,
) -> str:
    """A table of at most 100 columns, a sentence for each disagreement, and the totals."""
    lines = table([_HEADINGS, *map(_cells, rows)], _LEFT)
    if colour:
        lines[1:] = map(_coloured, lines[1:], rows)
    parts = [
        [textwrap.fill(title, WIDTH), f"arithmetic: {arithmetic}"],
        lines,
        *([textwrap.fill(line, WIDTH) for line in part] for part in _below(rows, notes)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def html(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """The same for a notebook."""
    wrong, _, counts = _below(rows, notes)
    lines = (*wrong, *(f"{note}." for note in notes), *counts)
    below = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return html_table(_HEADINGS, map(_cells, rows), title) + below


def _below(rows: Sequence[Row], notes: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """What stands below the table: the disagreements, the notes, the totals."""
    of_rows: dict[str, list[str]] = {}
    for row in rows:
        if row.note and row.verdict not in WRONG:
            of_rows.setdefault(row.note, []).append(row.place.symbol)
    remarks = [f"{', '.join(names)}: {note}." for note, names in of_rows.items()]
    remarks += [f"{note}." for note in notes]
    return [sentence(row) for row in rows if row.verdict in WRONG], remarks, [totals(rows)]


def _coloured(line: str, row: Row) -> str:
    return f"{line.removesuffix(row.verdict)}\033[{COLOURS[row.verdict]}m{row.verdict}\033[0m"


def sentence(row: Row) -> str:
    """A disagreement: equation, layer, index, got, expected, and by how much they differ."""
    what = row.place.symbol
    where = row.place.where
    if row.worst is None:
        return f"{where}: {what} {row.verdict}: {row.note}."
    index = f"[{', '.join(map(str, row.worst.index))}]" if row.worst.index else ""
    # Nine digits tell any two float32 numbers apart.
    values = f"{what}{index} is {row.worst.got:.9g}, expected {row.worst.expected:.9g}"
    if row.verdict == "nonfinite":
        return f"{where}: {values}: NaN or Inf."
    if not row.wrong:
        return f"{where}: {what} {row.note}."
    return (
        f"{where}: {values} from its own inputs. They differ by {of_bound(row.bound_ratio)} "
        f"({row.wrong:,} of {row.values:,} values are wrong)."
    )


def totals(rows: Sequence[Row]) -> str:
    """How many values were compared, how many agreed, and the worst as a fraction of its bound."""
    verdicts = Counter(row.verdict for row in rows)
    counts = ", ".join(f"{verdict} {n}" for verdict, n in verdicts.items())
    values, wrong, hidden = (
        sum(getattr(row, name) for row in rows) for name in ("values", "wrong", "undecided")
    )
    undecided = f", {hidden:,} of them too small beside rounding to decide" if hidden else ""
    worst = max(row.bound_ratio for row in rows)
    return (
        f"{values:,} values compared, {values - wrong:,} within their bound{undecided}. The worst "
        f"one differs by {of_bound(worst)}. Rows: {counts}."
    )


def row_to_dict(row: Row) -> dict[str, Any]:
    """For JSON; a number that JSON has not is the string "NaN", "Infinity" or "-Infinity"."""
    return _plain(asdict(row))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return number(value) if isinstance(value, float) else value


def _cells(row: Row) -> tuple[str, ...]:
    name, worst = row.place.symbol, ("", "", "")
    if row.worst is not None:
        index = f"({', '.join(map(str, row.worst.index))})" if row.worst.index else ""
        worst = (index, digits(row.worst.got, 3), digits(row.worst.expected, 3))
    return (
        name if row.equation == "cost" else f"{row.equation} {name}",
        str(row.shape).replace(",)", ")") if row.shape else "",
        *(_short(value) for value in (row.max_abs, row.max_rel, row.max_ulp)),
        ">1e6" if row.bound_ratio > 1e6 else _short(row.bound_ratio),
        *worst,
        row.verdict,
    )


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if 10 <= value < 1e5 else digits(value, 2)
