"""What `manual_bp.check` says of backward passes that people published, right and wrong.

Each program is made again small, with its own layout and its own mistakes; its source says where it
stands. It is judged in the convention that it keeps. All of it is shown, or the gradients alone, or
the parameters after a step.
"""

import sys
from collections import Counter
from pathlib import Path

from manual_bp.cli.main import new_app, run_app
from table import Cells, Figure, Files, Rows, markdown, read

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from field.views import VIEWS, checked, outcome  # type: ignore[import-not-found]

FORMAT = "manual_bp.public_cases 1"
SOURCE, WRONG, SAID, OUTCOME = "source", "what is wrong", "what is said", "so it is"
COLUMNS = (OUTCOME, WRONG, SAID, SOURCE)
BAD = ("accused", "false", "misplaced")


def judged() -> Rows:
    """A row for each column of each view."""
    rows = []
    for name, (program, shows, truth) in VIEWS.items():
        diagnosis = checked(program, shows, **program.convention)
        wrong = [f"{_where(*at)}: {' and '.join(sorted(names))}" for *at, names in truth]
        said = [f"{_where(f.equation, f.layer)}: {f.mistake}" for f in diagnosis.findings]
        cells = {
            OUTCOME: outcome(diagnosis, truth),
            WRONG: "; ".join(wrong) or "nothing",
            SAID: "; ".join(said) or "right",
            SOURCE: program.source,
        }
        rows += [Figure("public case", name, peer=column, note=cells[column]) for column in COLUMNS]
    return rows


def _where(equation: str, layer: int) -> str:
    return equation if equation == "cost" else f"{equation} at {layer}"


app = new_app("public_cases")


@app.default
def main(*, files: Files | None = None) -> int:
    """Judge the published programs; three minutes on two cores."""
    files = files or Files()
    rows = read(files.earlier, FORMAT)[1] if files.earlier else judged()
    counts = Counter(row.note for row in rows if row.peer == OUTCOME)
    told = ", ".join(f"{name} {times}" for name, times in sorted(counts.items()))
    cells: Cells = {(row.network, row.peer): row.note.replace("|", "/") for row in rows}
    print(told, markdown({"views": cells}), sep="\n", end="")
    about = {"format": FORMAT, "views": counts.total()}
    files.write(
        about, rows, ["# Published backward passes", __doc__.strip(), told], {"views": cells}
    )
    return int(any(counts[name] for name in BAD))


if __name__ == "__main__":
    sys.exit(run_app(app))
