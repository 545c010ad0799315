"""The verdict on each place: how far its values lie from the truth, in rounding bounds.

Counting and comparing is NumPy's: there is nothing to compile for a network that is new.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from manual_bp.record import Place
from manual_bp.rounding.arithmetic import Arithmetic
from manual_bp.subjects.subject import Misfit, Shown
from manual_bp.text import times
from manual_bp.verdicts.judge import Judged

Numbers = np.ndarray[Any, Any]

AGREES, DISAGREES, UNDECIDED, UNTESTED, NONFINITE = VERDICTS = (
    "agrees",
    "disagrees",
    "undecided",
    "untested",
    "nonfinite",
)
NOT_GIVEN = "not given"
CLEAR = 16  # how many times its bound a quantity must be, for agreement to say something


@dataclass(frozen=True)
class Worst:
    """The element farthest from its truth, in bounds."""

    index: tuple[int, ...]
    got: float
    expected: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One equation at one layer, judged.

    Attributes:
        equation: "cost", "forward", "BP1", "BP2", "BP3" or "BP4"; of any other function "value" or
            "VJP".
        quantity: the field of the record: "cost", "z", "a", "delta", "dW" or "db"; of any other
            function its name, or ∂/∂ the argument.
        layer: l = 1…L; 0 for a⁰ = x, and without layers; L for the cost.
        shape: of the subject's array.
        verdict: "agrees", "disagrees", "undecided", "untested" or "nonfinite".
        bound_ratio: the largest difference from this equation's truth, as a fraction of its
            rounding bound: a right computation stays at or below 1.
        worst: where that is: index, the subject's value, the truth from the subject's own inputs.
        max_abs: the largest difference from the witness, end to end; None, like the next two,
            where one of them does not give the quantity.
        max_rel: the largest one over the larger of the two values.
        max_ulp: the largest one in units of the last place of the subject's dtype.
        end_ratio: the largest difference from the witness as a fraction of what rounding can do
            from x on, in the arithmetic of both. None against `autodiff`, which shares ours.
        values: how many values were judged.
        wrong: how many of them lie outside their bound.
        undecided: for how many of them the bound is no smaller than the value.
        note: what else there is to say, such as an input that the subject did not give.
    """

    equation: str
    quantity: str
    layer: int
    shape: tuple[int, ...]
    verdict: str
    bound_ratio: float = 0.0
    worst: Worst | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    max_ulp: float | None = None
    end_ratio: float | None = None
    values: int = 0
    wrong: int = 0
    undecided: int = 0
    note: str = ""

    @property
    def place(self) -> Place:
        """Where it stands in the record."""
        return Place(self.equation, self.quantity, self.layer)


class EndToEnd(NamedTuple):
    """How far a place's values lie from the witness's, whatever was computed before them."""

    finite: bool = True
    max_abs: float | None = None
    max_rel: float | None = None
    max_ulp: float | None = None
    end_ratio: float | None = None


@np.errstate(invalid="ignore", over="ignore")  # of numbers as wrong as can be
def row_of(
    judged: Judged, end_to_end: EndToEnd, *, one_example: bool = False, clear: float = CLEAR
) -> Row:
    """The verdict on what the subject gives at a place."""
    place, got = judged.place, judged.got
    shape = judged.truth.shape[1:] if one_example and place.is_per_example else judged.truth.shape
    measured = end_to_end._asdict()
    finite = measured.pop("finite")
    if got is None:
        return Row(**place._asdict(), shape=shape, verdict=UNTESTED, note=NOT_GIVEN)

    off, truth, bound, notes = nearest_right_value(judged)
    ratio = _over(off, bound)
    worst = int(np.argmax(ratio))  # the first NaN, where there is one
    valid = off.size if got.valid is None else int(np.count_nonzero(got.valid))
    if not (np.isfinite(off.sum()) and finite):
        verdict = NONFINITE
        ratio = np.where(np.isnan(ratio), np.inf, ratio)  # NaN is as wrong as can be
    elif ratio.flat[worst] > 1:
        verdict = DISAGREES
    elif not truth.any() or not valid:
        verdict = UNTESTED
    elif _shows(judged, bound, clear):
        verdict = AGREES
    else:
        verdict = UNDECIDED
    if judged.missing:
        notes.append(f"{' and '.join(judged.missing)} not given: the truth taken")
    if hidden := off.size - valid:
        notes.append(f"{hidden} value{'s' * (hidden > 1)} not given")
    return Row(
        **place._asdict(),
        shape=shape,
        verdict=verdict,
        bound_ratio=float(ratio.flat[worst]),
        worst=Worst(
            tuple(map(int, np.unravel_index(worst, shape))),
            float(got.value.flat[worst]),
            float(truth.flat[worst]),
        ),
        values=valid,
        wrong=int(np.count_nonzero(ratio > 1)),
        undecided=int(np.count_nonzero((bound >= np.abs(truth)) & (truth != 0))),
        note="; ".join(notes),
        **measured,
    )


def misfit_row(place: Place, misfit: Misfit) -> Row:
    """The verdict on an array that has no place in the record."""
    size = int(np.prod(misfit.shape))
    return Row(
        **place._asdict(),
        shape=misfit.shape,
        verdict=DISAGREES,
        bound_ratio=np.inf,
        values=size,
        wrong=size,
        note=misfit.note,
    )


def nearest_right_value(judged: Judged) -> tuple[Numbers, Numbers, Numbers, list[str]]:
    """The difference from the nearest of the values that would be right; that, its bound, notes."""
    assert judged.got is not None  # row_of has seen to it
    truth, bound, got, notes = judged.truth, judged.bound, judged.got, list[str]()
    off = np.abs(got.value - truth)
    if judged.otherwise is not None and (off > bound).any():
        value, slack = judged.otherwise
        nearer = _over(np.abs(got.value - value), slack) < _over(off, bound)
        truth, bound = np.where(nearer, value, truth), np.where(nearer, slack, bound)
        off = np.abs(got.value - truth)
    if (off > bound).any():
        for allowance in judged.allowances:
            if allowance.explains(got):
                truth, bound, note = allowance
                off, notes = np.abs(got.value - truth), [note]
                break
    return (off if got.valid is None else np.where(got.valid, off, 0)), truth, bound, notes


def _over(off: Numbers, bound: Numbers) -> Numbers:
    """A difference as a fraction of its bound: 0 for none, infinite where none is allowed."""
    with np.errstate(invalid="ignore", divide="ignore"):  # infinity over infinity, x over 0
        ratio = off / bound
    return ratio if bound.all() else np.where(off == 0, 0.0, ratio)


def _shows(judged: Judged, bound: Numbers, clear: float) -> bool:
    """Whether a mistake would show: the values add up to so many times their bounds.

    And each term that the equation adds, such as a bias or the penalty, stands out somewhere.
    """
    if not clear * bound.sum() < np.abs(judged.truth).sum():
        return False
    return all(bool((2 * bound < np.abs(term)).any()) or not term.any() for term in judged.terms)


@np.errstate(invalid="ignore", over="ignore")
def end_to_end(
    got: Shown | None, expected: Shown | None, reach: Numbers | None, arithmetic: Arithmetic
) -> EndToEnd:
    """How far a subject's values lie from a witness's at one place, all in float64.

    `reach` is what rounding can do from x on; `arithmetic` is the subject's.
    """
    if got is None or expected is None:
        return EndToEnd()
    mine, theirs = got.value, expected.value
    for valid in (got.valid, expected.valid):
        if valid is not None:
            mine, theirs = np.where(valid, mine, 0), np.where(valid, theirs, 0)
    off = np.abs(mine - theirs)
    relative, ulps, ratio, largest = 0.0, 0.0, None, float(off.max())
    if largest != 0:
        size = np.maximum(np.abs(mine), np.abs(theirs))
        # The power of two at or below a float64 is its bits without the fraction's.
        power = (np.maximum(size, arithmetic.tiny).view(np.int64) & 0x7FF0000000000000).view(float)
        relative = float(_over(off, size).max())
        ulps = float(_over(off, power).max()) / (2 * arithmetic.u)
    if reach is not None:
        reach = reach + sum(error for error in (got.error, expected.error) if error is not None)
        ratio = float(_over(off, np.where(np.isnan(reach), np.inf, reach)).max())
    return EndToEnd(bool(np.isfinite(theirs.sum())), largest, relative, ulps, ratio)


def held_to_witness(row: Row) -> Row:
    """Wrong after all, where it is farther from the witness than rounding goes from x on."""
    if row.end_ratio is None or row.end_ratio <= 1:
        return row
    note = (
        f"follows from its inputs, yet is {times(row.end_ratio)} times as far from the witness as "
        f"rounding goes"
    )
    return replace(row, verdict=DISAGREES, note="; ".join(filter(None, (row.note, note))))
