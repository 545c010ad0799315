"""Which convention a subject's arrays are in: the declared one, or one in which less is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from manual_bp.calls import Call, examples
from manual_bp.network import Network
from manual_bp.record import Place
from manual_bp.subjects.convention import Convention, Scales
from manual_bp.subjects.run import Given
from manual_bp.subjects.subject import Subject, read_subject
from manual_bp.verdicts.compare import Agreement, agreement_of
from manual_bp.verdicts.judge import Judged, judge
from manual_bp.verdicts.rows import Row

CLEARLY = 8  # bounds: so far off must a right number be in a scale that is told from another


class Wrong(NamedTuple):
    """What is wrong in a scale: at which places, and where in their arrays."""

    where: dict[Place, Any]

    @property
    def places(self) -> set[Place]:
        """Which places."""
        return set(self.where)

    @property
    def values(self) -> int:
        """How many values."""
        return sum(int(np.count_nonzero(wrong)) for wrong in self.where.values())


@dataclass(frozen=True, eq=False)
class Reading:
    """What a subject gave, read in one convention and judged once."""

    call: Call
    given: Given
    precision: str | None
    decimals: int | None
    convention: Convention
    witness: Subject

    @cached_property
    def subject(self) -> Subject:
        """The subject's arrays in our layout."""
        return read_subject(
            "subject",
            self.given,
            self.call,
            precision=self.precision,
            convention=self.convention,
            decimals=self.decimals,
        )

    @cached_property
    def judged(self) -> list[Judged]:
        """By place, once."""
        return judge(self.call, self.subject)

    @cached_property
    def agreement(self) -> Agreement:
        """The verdicts, in our layout."""
        return agreement_of(self.call, self.subject, self.witness, self.judged)

    @property
    def in_their_layout(self) -> Agreement:
        """The agreement with shapes and indices as the subject has them."""
        rows = tuple(map(self._laid_out, self.agreement.rows))
        return replace(self.agreement, rows=rows)

    def _laid_out(self, row: Row) -> Row:
        misfit = row.place in self.subject.misfits
        if misfit or not self.convention.is_transposed(row.place) or len(row.shape) < 2:
            return row
        worst = row.worst and replace(row.worst, index=row.worst.index[::-1])
        return replace(row, shape=row.shape[::-1], worst=worst)


def nearest_reading(declared: Reading) -> Reading:
    """The declared convention, unless more arrays fit into another layout, or less is wrong there.

    Shapes come first. Then the scales of each layout that is left are compared from one judgement;
    one that makes a right place wrong is none.
    """
    ours, m = declared.convention, examples(declared.call.x)
    layouts = [
        declared if layout == ours else replace(declared, convention=layout)
        for layout in ours.layouts()
        if _can_matter(layout, declared)
    ]
    least = min(len(reading.subject.misfits) for reading in layouts)
    factors = tuple(dict.fromkeys((ours.scale, *likely_scales(declared.call.net))))
    found: list[tuple[Reading, Convention, Wrong]] = []
    tells_cost = Place("cost", "cost", declared.call.net.depth) in declared.subject.shown
    for reading in layouts:
        if len(reading.subject.misfits) > least:
            continue
        scales = reading.subject.scales
        wrong = wrong_in(reading.judged, scales, scales)
        for other in reading.convention.scalings(factors):
            here = wrong_in(reading.judged, scales, other.scales(m))
            if other.scale != ours.scale and here.places and not tells_cost:
                continue  # a factor beside other mistakes, which nothing else has, is one of them
            if here.places < wrong.places and not _told_apart(
                reading.judged, wrong, scales, other.scales(m)
            ):
                continue  # these numbers say nothing about it
            if here.places <= wrong.places:
                found.append((reading, other, here))
    as_declared = [len(wrong.places) for _, other, wrong in found if other == ours]
    found = _with_the_output_right(found, declared)

    def rank(one: tuple[Reading, Convention, Wrong]) -> tuple[int, int, int, bool]:
        _, other, wrong = one
        # Of two examples the sum is twice the mean: a sum is told before a scale.
        return len(wrong.places), wrong.values, ours.differences(other), other.scale != ours.scale

    reading, nearest, fewest = min(found, key=rank)
    if as_declared and as_declared[0] <= len(fewest.places):
        return declared
    return reading if nearest == reading.convention else replace(reading, convention=nearest)


def _told_apart(judged: Sequence[Judged], wrong: Wrong, declared: Scales, other: Scales) -> bool:
    """Whether numbers that are wrong in one scale would be far from right in it, were they right.

    Where bounds are as large as the values, another scale has room for anything.
    """
    right = [one if one.got is None else one.with_the_truth() for one in judged]
    apart = wrong_in(right, declared, other, room=CLEARLY)
    return any(bool((wrong.where[p] & apart.where[p]).any()) for p in wrong.places & apart.places)


def _with_the_output_right(
    found: list[tuple[Reading, Convention, Wrong]], declared: Reading
) -> list[tuple[Reading, Convention, Wrong]]:
    """Those in which BP1 is right, where it is in any; where δᴸ is not shown, the gradients of L.

    There the scale comes in, before any other mistake.
    """
    L = declared.call.net.depth
    first = (Place("BP1", "delta", L), Place("BP3", "db", L), Place("BP4", "dW", L))
    for place in first:
        right = [one for one in found if place not in one[2].places]
        if place in declared.subject.shown and right:
            return right
    return found


def _can_matter(layout: Convention, declared: Reading) -> bool:
    """Whether a layout differs from the declared one in arrays that are given."""
    given = [*declared.subject.shown, *declared.subject.misfits]
    batchwise = any(place.is_per_example for place in given)
    weights = any(place.quantity == "dW" for place in given)
    ours = declared.convention
    return (batchwise or layout.examples == ours.examples) and (
        weights or (layout.weights, layout.bias) == (ours.weights, ours.bias)
    )


def wrong_in(judged: Sequence[Judged], declared: Scales, other: Scales, room: float = 1.0) -> Wrong:
    """What disagrees in another scale than the one that was judged in, from its judgement.

    With `room`, what is off by more than so many bounds. What follows from the errors δ that the
    subject shows scales as BP3 and BP4 do; what follows
    from those that it does not show, as δ itself.
    """
    # How many times the δ that each equation reads changes: not at all where it is shown.
    carried: dict[int, float] = {}
    where: dict[Place, Any] = {}
    for one in judged:
        place, l = one.place, one.place.layer
        (was, was_penalty), (now, now_penalty) = declared.of(place), other.of(place)
        factor = 1.0
        if place.kind in ("BP1", "cost"):
            factor = now / was
        elif place.kind == "BP2":
            factor = carried[l + 1]
        elif place.kind in ("BP3", "BP4"):
            factor = carried[l] * other.collected / declared.collected
        if place.quantity == "delta":
            carried[l] = factor if one.got is None else 1.0
        if one.got is None:
            continue
        # The penalty is the last of the terms where an equation has one.
        before = one.terms[-1] if place.quantity in ("cost", "dW", "db") and one.terms else 0.0
        after = before * (now_penalty / was_penalty) if was_penalty else 0.0
        slack = room * max(1.0, abs(factor))
        wrong = ~(
            np.abs(one.got.value - (factor * (one.truth - before) + after)) <= slack * one.bound
        )
        if one.otherwise is not None:
            value, bound = one.otherwise
            wrong &= ~(np.abs(one.got.value - factor * value) <= slack * bound)
        for value, bound, _ in one.allowances:
            right = factor * (value - before) + after
            wrong &= ~(np.abs(one.got.value - right) <= slack * bound)
        if one.got.valid is not None:
            wrong &= one.got.valid
        if wrong.any():
            where[place] = wrong
    return Wrong(where)


def likely_scales(net: Network) -> tuple[float, ...]:
    """The factors that costs are written with: ½, the mean over the outputs, and both."""
    n = net.sizes[-1]
    return tuple(dict.fromkeys((1.0, 2.0, 0.5, 1 / n, 2 / n, 1 / (2 * n))))
