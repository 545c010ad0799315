"""One flat row a figure: how rows are written, read, found, and set in tables."""

import json as js
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from manual_bp.cli.terminal import check_target
from manual_bp.files.atomic import replacing
from manual_bp.text import table

TIME, OVER, CEILING, STEPS = "time", "by hand over it", "of the ceiling", "in steps"
BYTES, WHOLE, UPPER_HALF = "temporaries", "exponent", "exponent of the upper half"
UNITS = {
    "s": ((1e-6, "µs"), (1e-3, "ms"), (1, "s")),
    "B": ((2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB")),
    "flop/s": ((1e9, "Gflop/s"), (1e12, "Tflop/s")),
}
Cells = dict[tuple[str, str], str]  # by line and column
Tables = dict[str, Cells]  # by title


class Figure(NamedTuple):
    """One figure: the median over the rounds and its spread, or the one value there is."""

    section: str
    network: str = ""
    sigma: str = ""
    batch: int | None = None
    size: int | None = None  # what varies: an epoch's steps, a product's n, a width, …
    peer: str = "by hand"
    what: str = TIME
    median: float = 0.0
    low: float | None = None  # 10th percentile
    high: float | None = None  # 90th
    unit: str = ""
    at_most: float | None = None  # a target
    at_least: float | None = None
    rounds: int | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The network and its batch."""
        batch = f", batch {self.batch:,}" if self.batch else ""
        steps = f", {self.size:,} steps" if self.section == "epoch" else ""
        return f"{self.network} {self.sigma}".strip() + batch + steps

    @property
    def reached(self) -> bool:
        """Whether the median keeps its target, and by hand is not slower beyond the spread."""
        slower = self.what == OVER and self.low is not None and self.low > 1
        over = self.at_most is not None and self.median > self.at_most
        return not (slower or over or self.median < (self.at_least or 0))

    @property
    def target(self) -> str:
        """`≤ 0.95 reached` or `≥ 0.90 NOT reached`; nothing where it has no target."""
        for sign, limit in (("≤", self.at_most), ("≥", self.at_least)):
            if limit is not None:
                return f"{sign} {limit:.2f} {'' if self.reached else 'NOT '}reached"
        return ""

    def __str__(self) -> str:
        for scale, unit in UNITS.get(self.unit, ()):
            if self.median < 999.5 * scale:
                return f"{self.median / scale:.3g} {unit}"
        return f"{self.median:.3f}" + (f" [{self.low:.2f} {self.high:.2f}]" if self.low else "")


Rows = list[Figure]


def select(rows: Iterable[Figure], **fields: Any) -> Rows:
    """The rows that have these values."""
    return [row for row in rows if all(getattr(row, name) == v for name, v in fields.items())]


def figure(rows: Iterable[Figure], **fields: Any) -> Figure:
    """The one row that has these values; ValueError where there is none, or more than one."""
    (found,) = select(rows, **fields)
    return found


def tables(rows: Iterable[Figure], *, by_network: bool = False) -> Tables:
    """Tables by their titles: one for each thing measured, or one for each network."""
    found: Tables = {}
    for row in rows:
        title, line, column = row.what, row.name, row.peer
        if row.size and row.section != "epoch":
            title, line, column = row.network, f"{row.size:,}", f"{row.peer}, {row.what}"
        elif row.what in (WHOLE, UPPER_HALF):
            title, line, column = row.network, row.what, f"{row.peer}, {TIME}"
        elif by_network or row.section == "trust":
            title, line, column = row.name, row.peer, row.what
        found.setdefault(f"{row.section}: {title}", {})[line, column] = str(row)
    return found


def targets(rows: Iterable[Figure]) -> Tables:
    """Every target in one table, whose title says how many are reached."""
    held = {f"{row.section} {row.name}: {row.what}, {row.peer}": row for row in rows if row.target}
    cells = {(name, "measured"): str(row) for name, row in held.items()}
    cells |= {(name, "target"): row.target for name, row in held.items()}
    title = f"{sum(row.reached for row in held.values())} of {len(held)} targets reached"
    return {title if held else "No target is judged": cells}


def markdown(tables: Tables) -> str:
    """Tables under their titles; lines and columns in the order in which they first come."""
    text = ""
    for title, cells in tables.items():
        lines, columns = (dict.fromkeys(key[i] for key in cells) for i in (0, 1))
        grid = [["", *columns], ["---", *("---:" for _ in columns)]]
        grid += [[line, *(cells.get((line, column), "") for column in columns)] for line in lines]
        bars = [["|", *(part for cell in line for part in (cell, "|"))] for line in grid]
        text += "\n".join([f"\n## {title}\n", *table(bars, left=(0, 1)), ""])
    return text


@Parameter(name="*", group="Files")
@dataclass(frozen=True, kw_only=True)
class Files:
    """What is written, and what is read in place of a run."""

    json: Path | None = None
    """write all figures"""
    markdown: Path | None = None
    """write their tables"""
    earlier: Annotated[Path | None, Parameter("--from")] = None
    """run nothing: take the JSON of an earlier run"""

    def __post_init__(self) -> None:
        check_target("--json", self.json)
        check_target("--markdown", self.markdown)

    def write(self, about: dict[str, Any], rows: Rows, text: list[str], found: Tables) -> None:
        """The figures, and a page of some paragraphs and the tables."""
        if self.json:
            write(self.json, about, rows)
        if self.markdown:
            with replacing(self.markdown) as file:
                file.write(("\n\n".join(text) + "\n" + markdown(found)).encode())


def read(path: Path, form: str) -> tuple[dict[str, Any], Rows]:
    """What `write` wrote."""
    about = js.loads(path.read_text("utf-8"))
    if not isinstance(about, dict) or about.get("format") != form:
        raise ValueError(f"{path}: expected a file of format {form!r}")
    return about, [Figure(**row) for row in about.pop("figures")]


def write(path: Path, about: dict[str, Any], rows: Iterable[Figure]) -> None:
    """JSON, a line a row; what a row has by default is left out."""
    usual = Figure("")._asdict()
    short = ({k: v for k, v in row._asdict().items() if v != usual[k]} for row in rows)
    lines = [js.dumps(row, ensure_ascii=False) for row in short]
    head = js.dumps(about, indent=1, ensure_ascii=False).removesuffix("\n}")
    text = head + ',\n "figures": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    with replacing(path) as file:
        file.write(text.encode())
