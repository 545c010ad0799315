"""Tables, a CSV file or a DataFrame of pandas: columns of numbers by name, and a target column."""

import itertools
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from manual_bp.checks import nearest
from manual_bp.files import csv
from manual_bp.files.encoding import class_text

Task = Literal["classification", "regression"]
MISSING = frozenset({"", "na", "n/a", "nan", "<na>", "null", "nat", "?"})
MOST_CLASSES = 20
"""The most different whole numbers that are taken for classes unless it is said what they are."""
_TOLD = 3  # columns whose cells are told of in one error


class Table(NamedTuple):
    """A table before its cells are read.

    Attributes:
        where: how an error names it.
        names: of its columns.
        first: the position of the first of them that counts: 1 after a column of row numbers.
        rows: the number of each row, and its cells.
    """

    where: str
    names: list[str]
    first: int
    rows: Iterator[tuple[int, Sequence[Any]]]

    def position(self, argument: str, name: str) -> int:
        """Where the column of this name stands; a ValueError that has the nearest name."""
        if name not in self.names:
            raise ValueError(
                f"{argument}: expected a column of {self.where}, got {name!r}; "
                f"{nearest(name, self.names[self.first :])}"
            )
        return self.names.index(name)


class Columns(NamedTuple):
    """What was read of a table.

    Attributes:
        names: of the inputs.
        x: their numbers, (m, n_0) float64.
        target: the name of the target column, or "".
        cells: those of the target column; None where a row has none.
        numbers: of the rows.
    """

    names: tuple[str, ...]
    x: np.ndarray
    target: str
    cells: list[Any]
    numbers: list[int]


def is_frame(source: Any) -> bool:
    """Whether this is a DataFrame of pandas."""
    return hasattr(source, "columns") and hasattr(source, "itertuples")


def opened(source: Any) -> Table:
    """A table of a CSV file or of a DataFrame, whose names are checked."""
    if is_frame(source):
        where, names = "the DataFrame", [str(name) for name in source.columns]
        rows: Iterator[Any] = iter(enumerate(source.itertuples(index=False, name=None)))
        first = 0
    else:
        where, rows = os.fspath(source), csv.rows(source)
        _, names = next(rows, (0, []))
        first = int(len(names) > 1 and not names[0])  # pandas and R write row numbers so
        if not names:
            raise ValueError(f"{where}: expected a line of column names and rows, got nothing")
    counted = names[first:]
    if "" in counted:
        raise ValueError(
            f"{where}: expected a name for each column, got none for column "
            f"{names.index('', first) + 1}; name it in the first line"
        )
    if not is_frame(source) and _are_numbers(counted):
        raise ValueError(
            f"{where}: expected column names in the first line, got numbers ({names[first]}, …); "
            f"write a line of names above them"
        )
    if twice := sorted({name for name in counted if counted.count(name) > 1}):
        raise ValueError(f"{where}: expected each name once, got {twice[0]!r} twice; rename one")
    return Table(where, names, first, rows)


def _are_numbers(names: list[str]) -> bool:
    """Whether a first line is an example: numbers but for one, and none that count on as names."""
    numbers = [number for number in map(_number, names) if number is not None]
    counting = all(b == a + 1 for a, b in itertools.pairwise(numbers))
    as_names = counting and (len(numbers) > 1 or numbers in ([0], [1]))
    return len(numbers) >= max(1, len(names) - 1) and not as_names


def read(
    table: Table,
    columns: Sequence[str] | None = None,
    target: str | None = None,
    ignore: Iterable[str] = (),
) -> Columns:
    """The numbers of a table, and the cells of its target column.

    Args:
        table: see `opened`.
        columns: the inputs, in this order; all but the target and those ignored by default.
        target: the name of the target column; "" for none, the last one by default.
        ignore: columns that are left out.

    Raises:
        ValueError: a column is not there, or a cell is no number; with the column and the row.
    """
    ignored = {table.position("ignore", name) for name in ignore}
    left = [i for i in range(table.first, len(table.names)) if i not in ignored]
    if target is None:
        target = table.names[left[-1]] if left else ""
    at = table.position("target", target) if target else None
    if at in ignored:
        raise ValueError(f"target: expected a column that is not ignored, got {target!r}")
    if columns is None:
        inputs = [i for i in left if i != at]
    elif missing := [name for name in columns if name not in table.names]:
        known = [table.names[i] for i in left if i != at and table.names[i] not in columns]
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        raise ValueError(
            f"{table.where}: expected the columns that the network was trained on, got none named "
            f"{', '.join(map(repr, missing[:_TOLD]))}{more}"
            + (f"; {nearest(missing[0], known)}" if known else "")
        )
    else:
        inputs = [table.names.index(name) for name in columns]
    if not inputs:
        raise ValueError(
            f"{table.where}: expected a column of inputs beside the target, got "
            f"{', '.join(map(repr, table.names))}; cells stand between commas, semicolons or tabs"
        )
    return _read(table, inputs, target, at)


def _read(table: Table, inputs: list[int], target: str, at: int | None) -> Columns:
    entries, cells, numbers, bad = array("d"), [], [], _Bad(table)
    for number, row in table.rows:
        if len(row) != len(table.names):
            raise ValueError(
                f"{table.where}: expected {len(table.names)} cells in each row, got {len(row)} in "
                f"row {number}; put text that holds the separator in quotes"
            )
        for i in inputs:
            value = _number(row[i])
            if value is None or not math.isfinite(value):
                bad.note(i, number, row[i])
                value = math.nan
            entries.append(value)
        cells.append(None if at is None or is_missing(row[at]) else row[at])
        numbers.append(number)
    if not numbers:
        raise ValueError(f"{table.where}: expected rows below the column names, got none")
    bad.raise_all()
    x = np.frombuffer(entries, np.float64).reshape(len(numbers), len(inputs))
    return Columns(tuple(table.names[i] for i in inputs), x, target, cells, numbers)


class _Bad:
    """Cells that are no numbers: of each column the first, and how many more."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.first: dict[int, tuple[int, Any]] = {}
        self.count: dict[int, int] = {}

    def note(self, column: int, row: int, cell: Any) -> None:
        self.first.setdefault(column, (row, cell))
        self.count[column] = self.count.get(column, 0) + 1

    def raise_all(self) -> None:
        if not self.first:
            return
        told = []
        for column, (row, cell) in list(self.first.items())[:_TOLD]:
            got = "nothing" if is_missing(cell) else repr(cell)
            more = f" and in {count} more" if (count := self.count[column] - 1) else ""
            told.append(f"{got} in column {self.table.names[column]!r}, row {row}{more}")
        if len(self.first) > _TOLD:
            told.append(f"and the like in {len(self.first) - _TOLD} more")
        cells = [cell for _, cell in self.first.values()]
        words = [cell for cell in cells if not is_missing(cell) and _number(cell) is None]
        fixes = ["leave the column out (ignore)"]
        if len(words) < len(cells):
            fixes.append("fill in what is missing, or take those rows out")
        if any("," in str(word) and _number(word.replace(",", ".")) is not None for word in words):
            fixes.append("write 0.5, not 0,5")
        elif words:
            fixes.append("write numbers for words, or name it if it is what to predict (target)")
        raise ValueError(
            f"{self.table.where}: expected finite numbers, got {'; '.join(told)}. "
            f"{', or '.join(fixes).capitalize()}"
        )


def is_missing(cell: Any) -> bool:
    """Whether a cell says that there is no value."""
    return cell is None or str(cell).strip().lower() in MISSING


def _number(cell: Any) -> float | None:
    """The number in a cell, 1 and 0 for true and false; None where there is none."""
    try:
        return None if isinstance(cell, str) and "_" in cell else float(cell)
    except (TypeError, ValueError, OverflowError):
        return {"true": 1.0, "false": 0.0}.get(str(cell).lower())


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────


def targets(
    where: str, name: str, cells: Sequence[Any], numbers: Sequence[int], task: Task | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets of a column: class numbers (m,) and the classes, or real numbers (m, 1) and ().

    Text is classes. So are whole numbers, if there are at most 20 different ones and each comes
    twice on average, or two at all. Other numbers are numbers. `task` says otherwise.

    Raises:
        ValueError: a target is missing or no number, or there is one class alone.
    """
    if None in cells:
        raise ValueError(
            f"{where}: expected a target in each row, got nothing in column {name!r}, row "
            f"{numbers[cells.index(None)]}; fill it in or take the row out"
        )
    values = [_number(cell) for cell in cells]
    words = [i for i, value in enumerate(values) if value is None or not math.isfinite(value)]
    real = np.array([value for value in values if value is not None])
    of_numbers = 2 * len(words) < len(cells) and not _count_as_classes(real)
    if task is None:
        task = "regression" if of_numbers else "classification"
    if task == "classification":
        return class_targets(where, name, cells)
    if words:
        raise ValueError(
            f"{where}: expected numbers in the target column {name!r}, got {cells[words[0]]!r} in "
            f"row {numbers[words[0]]}; write a number, or say that they are classes (task)"
        )
    return real[:, None], ()


def class_targets(
    where: str, name: str, cells: Sequence[Any]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each class, (m,), and their texts in order: by size if numbers, else by text.

    Raises:
        ValueError: there is one class alone, or one in each of many rows.
    """
    texts = [class_text(cell) for cell in cells]
    different = set(texts)
    if len(different) == 1:
        raise ValueError(
            f"{where}: expected two classes or more in {name!r}, got {texts[0]!r} alone; give "
            f"examples of another, or name another target"
        )
    if len(different) == len(texts) > MOST_CLASSES:
        raise ValueError(
            f"{where}: expected classes that come more than once in {name!r}, got another one in "
            f"each of {len(texts)} rows, such as {texts[0]!r}; name another target"
        )
    sizes = {text: _number(text) for text in different}
    by_size = None not in sizes.values()
    classes = tuple(sorted(different, key=lambda text: (sizes[text] if by_size else 0, text)))
    known = {text: number for number, text in enumerate(classes)}
    return np.array([known[text] for text in texts]), classes


def _count_as_classes(numbers: np.ndarray) -> bool:
    different = len(np.unique(numbers))
    whole = bool((numbers == np.round(numbers)).all())
    return whole and different <= min(MOST_CLASSES, max(2, len(numbers) / 2))
