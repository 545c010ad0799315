"""A proof by many trials: outcomes are counted, and it ends with 1 where one is not right."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import jax

from table import Figure, Files, Rows, Tables, markdown, read, select

WORST = "worst of bound"
About = dict[str, Any]


def counted(
    files: Files,
    form: str,
    about: About,
    trials: Iterable[Figure],
    failures: Callable[[Rows], list[str]],
) -> tuple[About, Rows]:
    """What there is to know of a run, and its counts: of an earlier one, or of these trials."""
    if files.earlier:
        return read(files.earlier, form)
    with jax.enable_x64(True):
        made = list(trials)
    return {"format": form, **about, "failures": failures(made)}, summed(made)


def summed(trials: Rows) -> Rows:
    """How often each outcome came, and how near to their bound the values of each part came."""
    counts = Counter(row._replace(note="") for row in trials if row.what != WORST)
    worst = {row.network: row for row in sorted(select(trials, what=WORST), key=lambda r: r.median)}
    return [*(row._replace(median=times) for row, times in counts.items()), *worst.values()]


def concluded(
    files: Files, about: About, rows: Rows, text: tuple[str, str, str], found: Tables
) -> int:
    """Print and write a title, what is proven, the run in a line, and the tables; 0 or 1."""
    print(text[-1], markdown(found), sep="\n", end="")
    for failure in about["failures"]:
        print(f"NOT AS IT MUST BE: {failure}")
    files.write(about, rows, list(text), found)
    return 1 if about["failures"] else 0
