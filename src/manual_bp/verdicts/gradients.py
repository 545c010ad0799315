"""The judge of any function's gradients: what was got, the truth, and how far rounding goes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.record import Place
from manual_bp.rounding.arithmetic import Arithmetic, arithmetic_of
from manual_bp.rounding.certificate import SAFETY, RoundingErrors
from manual_bp.rounding.operations import is_float, refuse_unknown
from manual_bp.subjects.formats import roundoff
from manual_bp.subjects.gradients import Obtained, Reference
from manual_bp.subjects.subject import Shown
from manual_bp.text import times
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import (
    AGREES,
    UNDECIDED,
    EndToEnd,
    Numbers,
    Row,
    end_to_end,
    misfit_row,
    row_of,
)

SHOWS = 4  # how many times its bound a gradient must be, for agreement to say something
CERTIFIED = 3  # of each array, the values farthest off are certified
WITHOUT_CERTIFICATE = 4  # where there is none, so many times the usual bound is wrong


class Standard:
    """The truth of a reference's value and gradients, and how far an arithmetic may be from it."""

    def __init__(
        self, reference: Reference, errors: RoundingErrors, key: Any, compiled: dict[str, Any]
    ) -> None:
        self.reference, self.errors, self.key = reference, errors, key
        self.compiled = compiled  # what others compile of the same program
        with jax.enable_x64(True):
            right, usual = errors.usual(reference.inputs, key)
        places = reference.places
        self.truth: dict[Place, Numbers] = dict(zip(places, map(np.asarray, right), strict=True))
        self.usual: dict[Place, Numbers] = dict(zip(places, usual, strict=True))

    @staticmethod
    def of(reference: Reference, arithmetic: Arithmetic, key: Any) -> "Standard":
        """That of a reference, traced anew."""
        with jax.enable_x64(True):
            refuse_unknown(reference.program)
            return Standard(reference, RoundingErrors(reference.program, arithmetic), key, {})

    def at(self, reference: Reference) -> "Standard":
        """The same at other arguments of the same shapes, with nothing to compile."""
        return Standard(reference, self.errors, self.key, self.compiled)

    @property
    def arithmetic(self) -> Arithmetic:
        """That of the subject."""
        return self.errors.arithmetic

    def bound(self, place: Place, dtype: str) -> Numbers:
        """What rounding usually stays below, an array of this format stored at the end."""
        stored = roundoff(dtype) * np.abs(self.truth[place])
        found: Numbers = SAFETY * self.usual[place] + stored + self.arithmetic.tiny
        return found

    def worst(self, place: Place, index: tuple[int, ...]) -> float | None:
        """The worst that rounding can do to one value, to first order; None where it is unknown."""
        with jax.enable_x64(True):
            which = self.reference.places.index(place)
            found = self.errors.worst(self.reference.inputs, which, index)
        return None if found is None else found + self.arithmetic.u * abs(self.truth[place][index])


def arithmetic_for(reference: Reference, precision: str | None) -> Arithmetic:
    """That of a subject for these arguments: their coarsest format, on this platform."""
    names = {
        jnp.dtype(leaf.dtype).name
        for leaf in (*reference.leaves, *jax.tree.leaves(reference.cotangent))
        if is_float(leaf)
    }
    return arithmetic_of(
        max(names, key=roundoff),
        precision=precision or getattr(jax.config, "jax_default_matmul_precision", None),
        platform=jax.default_backend(),
    )


def judge_gradients(standard: Standard, obtained: Obtained) -> list[tuple[Judged, Row]]:
    """A verdict for the value and for each gradient."""
    found = []
    for place in standard.reference.places:
        if place in obtained.misfits:
            judged = Judged(place, None, standard.truth[place], np.inf, None, (), ())
            found.append((judged, misfit_row(place, obtained.misfits[place])))
            continue
        array = obtained.arrays.get(place)
        dtype = obtained.formats.get(place, "float32")
        truth = standard.truth[place]
        got = None if array is None else Shown(*_within(array, truth, dtype))
        if got is not None and got.valid is not None:
            truth = np.where(got.valid, truth, 0)
        bound = standard.bound(place, dtype)
        judged = Judged(place, got, truth, bound, None, (), ())
        found.append(_verdict(standard, judged))
    return found


def _within(array: Numbers, truth: Numbers, dtype: str) -> tuple[Numbers, Numbers | None]:
    """The array, and where it can be judged: not where the truth is beyond its format's range."""
    largest = float(jnp.finfo(dtype).max)
    beyond = ~(np.abs(truth) < largest)
    if not beyond.any():
        return array, None
    return np.where(beyond, 0, array), ~beyond


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def _verdict(standard: Standard, judged: Judged) -> tuple[Judged, Row]:
    """The row; what lies beyond the usual error is wrong where the certificate says so too."""
    place, got, truth, bound = judged.place, judged.got, judged.truth, judged.bound
    if got is None:
        return judged, row_of(judged, EndToEnd())
    measured = end_to_end(got, Shown(truth), None, standard.arithmetic)
    off = np.abs(got.value - truth)
    if got.valid is not None:
        off = np.where(got.valid, off, 0)
    doubtful = np.isfinite(off) & (off > bound)
    hidden = False
    if doubtful.any() and np.isfinite(off).all():
        bound = bound.copy()
        ratio = np.where(doubtful, off / bound, 0)
        ranked = np.argsort(ratio, axis=None)[::-1][:CERTIFIED]
        convicted = False
        for flat in ranked[ratio.flat[ranked] > 1]:
            index = tuple(map(int, np.unravel_index(flat, off.shape)))
            worst = standard.worst(place, index)
            if worst is None:
                worst = WITHOUT_CERTIFICATE * float(bound[index])
            bound[index] = max(bound[index], worst)
            if convicted := bool(off[index] > bound[index]):
                break
        hidden = not convicted
        if hidden:
            bound = np.maximum(bound, off)
    judged = judged._replace(bound=bound)
    row = row_of(judged, measured, clear=SHOWS)
    if hidden:
        note = (
            f"up to {times(float(ratio.max()))} times as far off as rounding usually goes, yet no "
            f"farther than it can"
        )
        row = replace(row, verdict=UNDECIDED, note="; ".join(filter(None, (row.note, note))))
    return judged, row


def all_right(rows: Sequence[tuple[Judged, Row]]) -> bool:
    """Whether nothing is off, and something agrees."""
    verdicts = [row.verdict for _, row in rows]
    return AGREES in verdicts and not {"disagrees", "nonfinite"} & set(verdicts)
