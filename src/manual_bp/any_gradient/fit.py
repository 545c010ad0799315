"""Whether some values explain the gradients that somebody has: nearer to them than the right ones.

What would explain them is computed in `terms.py` and `parts.py`. Here it is held to what is there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from manual_bp.any_gradient.operations import NAMES
from manual_bp.record import GRADIENT, Place
from manual_bp.verdicts.gradients import Standard
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import Numbers

NEARER = 8  # how many times nearer than the right value an explanation has to be
SAMPLED = 2048  # values of each array that every edit is first held to
ENOUGH = 8  # values that one fitted number has to explain, where it is no known number

Gradients = dict[Place, Numbers]


@dataclass(frozen=True)
class Explanation:
    """Edits that give the same numbers at some places.

    Attributes:
        names: of the edits.
        words: what is wrong, one for each.
        lines: where.
        places: those that it explains.
        strays: whether it would change right places too, so that it is made for these alone.
        off: how far the numbers are from what it gives, in rounding bounds.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    lines: tuple[str, ...]
    places: tuple[Place, ...]
    strays: bool = False
    off: float = 0.0

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The fewest edits first, then those that touch nothing else, then the plainest names."""
        order = list(NAMES)
        return len(self.names), self.strays, min(map(order.index, self.names))


@dataclass
class Known:
    """What a scale may be, by what it is made of."""

    shapes: Iterable[tuple[int, ...]]
    words: dict[float, str] = field(default_factory=dict)
    counts: dict[float, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {0.0: "0", 1.0: "1", 2.0: "2", -1.0: "−1", 0.5: "½", 3.0: "3", -2.0: "−2"}
        counts = {n for shape in self.shapes for n in (*shape, math.prod(shape), *_rows_in(shape))}
        for n in sorted(counts):
            if n > 1:
                root = f"{n**0.5:.0f} = √{n}" if round(n**0.5) ** 2 == n else f"√{n}"
                for value, words in (
                    (n, f"{n}"), (1 / n, f"1/{n}"), (n**0.5, root), (n**-0.5, f"1/√{n}"),
                    (n / (n - 1), f"{n}/{n - 1}"), ((n - 1) / n, f"{n - 1}/{n}"),
                ):  # fmt: skip
                    self.counts.setdefault(float(value), words)
        self.words = self.counts | plain

    def near(self, scale: float) -> float | None:
        """The known number that a fitted one must be, or None."""
        best = min(self.words, key=lambda known: abs(known - scale))
        return best if abs(best - scale) <= 1e-3 * max(abs(best), 0.05) else None

    def nearest(self, scale: float) -> float:
        """The known number that a fitted one must be, or itself."""
        known = self.near(scale)
        return scale if known is None else known

    def told(self, scale: float) -> str:
        """A scale for a sentence."""
        return self.words.get(scale) or f"{scale:.4g}"


def _rows_in(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many rows an array has, which a mean over them divides by."""
    return (math.prod(shape[:-1]),) if len(shape) > 2 else ()


class Fit:
    """One subject's gradients, the right ones, and how far rounding goes; at sampled values."""

    def __init__(self, standard: Standard, judged: Sequence[Judged], wrong: Sequence[Place]):
        self.standard = standard
        self.reference = standard.reference
        self.judged = {
            one.place: one
            for one in judged
            if one.place.equation == GRADIENT and one.got is not None
        }
        self.wrong = [place for place in wrong if place in self.judged]
        self.right = [place for place in self.judged if place not in self.wrong]
        self.known = Known([np.shape(leaf) for leaf in self.reference.inputs])
        draw = np.random.default_rng(0)
        self.sample = {
            place: np.arange(one.truth.size)
            if one.truth.size <= SAMPLED
            else np.sort(draw.choice(one.truth.size, SAMPLED, replace=False))
            for place, one in self.judged.items()
        }

    # ── What is there ────────────────────────────────────────────────────────────────────────

    def at(self, gradients: Gradients, place: Place) -> Numbers:
        """The sampled values of one gradient."""
        return np.asarray(gradients[place]).reshape(-1)[self.sample[place]]

    def sampled(self, results: Sequence[Any]) -> Gradients:
        """Those of all that a program of the reference gives."""
        flat = dict(zip(self.reference.places, map(np.asarray, results), strict=True))
        return {place: self.at(flat, place) for place in self.judged}

    def shown(self, place: Place) -> Numbers:
        """The whole of what the subject gives."""
        got = self.judged[place].got
        assert got is not None  # those not given are left out at the start
        shown: Numbers = got.value
        return shown

    @cached_property
    def got(self) -> Gradients:
        """What the subject gives."""
        return {place: self.at({place: self.shown(place)}, place) for place in self.judged}

    @cached_property
    def truth(self) -> Gradients:
        """What is right."""
        return {place: self.at(self.standard.truth, place) for place in self.judged}

    @cached_property
    def bound(self) -> Gradients:
        """How far a right value may be off."""
        full = {place: np.broadcast_to(self._slack(place), np.shape(self.judged[place].truth))
                for place in self.judged}  # fmt: skip
        return {place: self.at(full, place) for place in self.judged}

    def _slack(self, place: Place) -> Numbers:
        return self.standard.bound(place, "float64") + self.standard.arithmetic.u * np.abs(
            self.standard.truth[place]
        )

    def stands_out(self, change: Numbers, place: Place) -> bool:
        """Whether a change of the right values shows above rounding."""
        return bool((np.abs(change) > self.bound[place]).any())

    # ── What would explain it ────────────────────────────────────────────────────────────────

    def misfit(self, place: Place, values: Numbers, scale: Numbers | float = 1.0) -> float:
        """How far the subject is from some values, in bounds of numbers of their size.

        Whatever multiplies a right value by more than 1, its `scale`, multiplies its error too.
        """
        return self._apart(place, values, self._slack_of(place, values, scale))

    def explains(self, place: Place, values: Numbers, scale: Numbers | float = 1.0) -> float | None:
        """How far off such values are, if they explain what is there, and the right ones do not."""
        if not np.isfinite(values).all():
            return None
        slack = self._slack_of(place, values, scale)
        off, of_truth = (self._apart(place, one, slack) for one in (values, self.truth[place]))
        return off if off <= 1 and of_truth >= max(2.0, NEARER * off) else None

    @np.errstate(all="ignore")
    def _slack_of(self, place: Place, values: Numbers, scale: Numbers | float) -> Numbers:
        size = np.sqrt(np.mean(np.square(values)) / np.mean(np.square(self.truth[place])))
        grown = np.maximum(np.abs(scale), max(1.0, float(size)) if np.isfinite(size) else 1.0)
        slack: Numbers = grown * self.bound[place]
        return slack + 16 * self.standard.arithmetic.u * np.abs(values)

    @np.errstate(all="ignore")
    def _apart(self, place: Place, values: Numbers, slack: Numbers) -> float:
        off = np.abs(self.got[place] - values) / slack
        return float(np.nan_to_num(off, nan=np.inf).max())

    def explained(
        self, names: Sequence[str], words: Sequence[str], lines: Sequence[str], values: Gradients
    ) -> Explanation | None:
        """What such gradients explain; None where it is nothing."""
        offs = {place: self.explains(place, values[place]) for place in self.wrong}
        places = tuple(place for place, off in offs.items() if off is not None)
        if not places:
            return None
        strays = any(self.misfit(place, values[place]) > 1 for place in self.right)
        strays |= len(places) < len(self.wrong) and any(
            self.misfit(place, values[place]) > 1
            and self.stands_out(values[place] - self.truth[place], place)
            for place in self.wrong
            if place not in places
        )
        worst = max(offs[place] or 0.0 for place in places)
        return Explanation(tuple(names), tuple(words), tuple(lines), places, strays, worst)

    def best_scale(
        self, places: Sequence[Place], slopes: Gradients, start: Gradients | None = None
    ) -> float | None:
        """The s for which start + s·slopes is nearest to the subject: a known number, if near."""
        above = below = 0.0
        with np.errstate(all="ignore"):
            for place in places:
                weight = 1 / np.square(self.bound[place])
                off = self.got[place] - (start[place] if start else 0.0)
                above += float((slopes[place] * off * weight).sum())
                below += float((slopes[place] * slopes[place] * weight).sum())
        if not (np.isfinite(above) and np.isfinite(below) and below > 0):
            return None
        return self.known.nearest(above / below)
