"""Which term is wrong: the fewest edits of a backward pass that give the gradients somebody has.

The reference's own backward program, as JAX differentiates it, is run again with one operation
wrong at a time. A term that is missing, twice or of another sign is a scale of one operation's
result, on which the gradients depend linearly: two runs tell which scale would fit best.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from typing import Any

import jax
import numpy as np

from manual_bp.any_gradient.edited import EditedPrograms
from manual_bp.any_gradient.fit import ENOUGH, Explanation, Fit, Gradients
from manual_bp.any_gradient.operations import Edit
from manual_bp.any_gradient.parts import Parts
from manual_bp.record import Place
from manual_bp.rounding.operations import equations
from manual_bp.verdicts.gradients import Standard
from manual_bp.verdicts.judge import Judged

MOST_WORK = 1.5e10  # values computed in all: of a large case the first edits alone are tried
MOST_TOLD = 3  # names that may stand beside each other with "or"
IN_OTHER_WORDS = ("factor_left_out", "term_left_out", "sign_swapped", "mask_missing")
SCALES = {0.0: "term_missing", 2.0: "term_twice", -1.0: "term_negated"}


class TermSearch:
    """The search for what explains the wrong gradients of one subject."""

    def __init__(self, standard: Standard, judged: Sequence[Judged], wrong: Sequence[Place]):
        self.fit = Fit(standard, judged, wrong)
        if "edited" not in standard.compiled:  # once for all subjects of one reference
            standard.compiled["edited"] = EditedPrograms(standard.reference)
        self.edited: EditedPrograms = standard.compiled["edited"]
        self.parts = Parts(self.fit, self.edited)

    def explanations(self) -> list[list[Explanation]]:
        """For each group of places that are explained together, the ways that do, the best first.

        Places that nothing explains are in none of them.
        """
        fit, parts = self.fit, self.parts
        if not fit.wrong:
            return []
        if alone := parts.absent() or parts.exchanged():
            fit.wrong = [place for place in fit.wrong if place not in alone.places]
            return [[alone], *self.explanations()]
        singles = [*parts.of_the_whole(), *self._singles]
        if together := [one for one in singles if set(one.places) == set(fit.wrong)]:
            return [_best(together)]
        groups: dict[Place, list[Explanation]] = {}
        for place in fit.wrong:
            here = [one for one in singles if place in one.places]
            here = here or [
                *parts.by_row(place),
                *self._pairs(place),
                *parts.rows_of_the_cotangent(place),
            ]
            if here or (here := list(self._exchanged(place))):
                groups[place] = _best(here)
        merged: dict[tuple[str, ...], list[Explanation]] = {}
        for place, ways in groups.items():
            first = merged.setdefault(ways[0].words, ways)
            if place not in first[0].places:
                first[0] = replace(first[0], places=(*first[0].places, place))
        return list(merged.values())

    # ── Edits of one operation ───────────────────────────────────────────────────────────────

    def _gradients(self, backward: bool, chosen: int, scale: float = 1.0) -> Gradients:
        """The gradients of a program with one edit, at the sampled values."""
        edited = self.edited.run_backward if backward else self.edited.run_forward
        with jax.enable_x64(True):
            return self.fit.sampled(edited(chosen, scale, self.fit.reference.inputs))

    @property
    def _affordable(self) -> int:
        work = sum(one.truth.size for one in self.fit.judged.values()) * max(
            1, len(self.fit.reference.program.jaxpr.eqns)
        )
        return max(16, int(MOST_WORK / work))

    @cached_property
    def _without(self) -> dict[int, Gradients]:
        """By the number of a scaled edit of the backward pass: the gradients where it is 0."""
        return {
            number: self._gradients(True, number, 0.0)
            for number, (_, edit) in enumerate(self.edited.backward.edits)
            if edit.way.scaled and number < self._affordable
        }

    @cached_property
    def _singles(self) -> list[Explanation]:
        found = [one for number in self._without for one in self._scaled(number)]
        programs = [(True, self.edited.backward), (False, self.edited.forward)]
        for backward, program in programs[: 1 if self._reverse_fails else 2]:
            for number, (_, edit) in enumerate(program.edits[: self._affordable]):
                if not edit.way.scaled:
                    values = self._gradients(backward, number)
                    found += self._explained((edit.way.name,), (edit,), values)
        return found

    def _explained(
        self, names: Sequence[str], edits: Sequence[Edit], values: Gradients
    ) -> list[Explanation]:
        words, lines = zip(*((edit.words(), edit.operation) for edit in edits), strict=True)
        found = self.fit.explained(names, words, lines, values)
        return [] if found is None else [found]

    @property
    def _reverse_fails(self) -> bool:
        names = {eqn.primitive.name for eqn in equations(self.edited.forward.program)}
        return "while" in names

    def _slopes(self, number: int) -> Gradients:
        return {place: self.fit.truth[place] - one for place, one in self._without[number].items()}

    def _scaled(self, number: int) -> list[Explanation]:
        """What a scale of one operation's result explains, with the scale that fits best."""
        fit, slopes, start = self.fit, self._slopes(number), self._without[number]
        moved = [place for place in fit.wrong if fit.stands_out(slopes[place], place)]
        best: list[Explanation] = []
        for places in dict.fromkeys([tuple(moved), *((place,) for place in moved)]):
            if not places or (best and set(places) <= set(best[0].places)):
                continue
            scale = fit.best_scale(places, slopes, start)
            if scale is None or scale == 1:
                continue
            values = {place: start[place] + scale * slope for place, slope in slopes.items()}
            found = self._of_scale(number, scale, values)
            if found and scale not in fit.known.words:
                count = sum(slopes[place].size for place in found[0].places)
                if count < ENOUGH:  # one fitted number for a handful of values explains nothing
                    continue
            if found and (not best or len(found[0].places) > len(best[0].places)):
                best = found
        return best

    def _of_scale(self, number: int, scale: float, values: Gradients) -> list[Explanation]:
        """A term times a scale, by its name; 2 may also be a count of this case, or its root."""
        edit, known = self.edited.backward.edits[number][1], self.fit.known
        name = SCALES.get(scale, "term_scaled")
        told = [(name, edit.words(name, known.told(scale)))]
        if name == "term_twice" and scale in known.counts:
            told.append(("term_scaled", edit.words("term_scaled", known.counts[scale])))
        ways = [self.fit.explained((name,), (words,), (edit.operation,), values)
                for name, words in told]  # fmt: skip
        return [way for way in ways if way is not None]

    # ── Another array for a factor ───────────────────────────────────────────────────────────

    def _exchanged(self, place: Place) -> Iterator[Explanation]:
        """A factor of the backward pass, for which another array of its shape was taken."""
        fit, seen = self.fit, list[Any]()
        others = self.edited.on_the_way(fit.reference, backward=True)
        for _, what, value in others:
            if any(one.shape == value.shape and np.array_equal(one, value) for one in seen):
                continue
            seen.append(value)
            program, run = self.edited.exchanging(value.shape)
            for number, (_, edit) in enumerate(program.edits[: self._affordable // len(others)]):
                with jax.enable_x64(True):
                    values = fit.sampled(run(number, value, fit.reference.inputs))
                if fit.explains(place, values[place]) is not None:
                    other = "another array of this line" if what == edit.operation else what
                    words = edit.words().replace("{other}", other)
                    name = edit.way.name
                    yield Explanation((name,), (words,), (edit.operation,), (place,))

    # ── Two edits ────────────────────────────────────────────────────────────────────────────

    def _pairs(self, place: Place) -> Iterator[Explanation]:
        """Two operations' results scaled by known numbers, where no single edit explains it."""
        fit = self.fit
        weight = 1 / fit.bound[place]
        off = (fit.got[place] - fit.truth[place]) * weight
        slopes = {
            number: self._slopes(number)[place] * weight
            for number in self._without
            if fit.stands_out(self._slopes(number)[place], place)
        }
        for both in combinations(slopes, 2):
            matrix = np.stack([slopes[number] for number in both], axis=1)
            square = matrix.T @ matrix
            if not np.isfinite(square).all() or np.linalg.cond(square) > 1e8:
                continue
            fitted = 1 + np.linalg.solve(square, matrix.T @ off)
            scales = [fit.known.near(float(scale)) for scale in fitted]
            if None in scales or 1.0 in scales:
                continue
            by = np.array(scales, float) - 1
            if fit.explains(place, fit.truth[place] + (matrix @ by) / weight) is None:
                continue
            edits = [self.edited.backward.edits[number][1] for number in both]
            names = tuple(SCALES.get(float(scale or 0), "term_scaled") for scale in scales)
            words = tuple(
                edit.words(name, fit.known.told(float(scale or 0)))
                for name, edit, scale in zip(names, edits, scales, strict=True)
            )
            yield Explanation(names, words, tuple(edit.operation for edit in edits), (place,))


def _best(ways: Sequence[Explanation]) -> list[Explanation]:
    """The fewest edits, told once: of one kind two lines at most, and a scale before what it is."""
    ordered = sorted(ways, key=lambda way: way.rank)
    fewest = [way for way in ordered if way.rank[:2] == ordered[0].rank[:2]]
    names = {way.names[0] for way in fewest}
    if names & set(SCALES.values()):
        fewest = [way for way in fewest if way.names[0] not in IN_OTHER_WORDS]
    elif names - {"term_scaled"}:  # what says where the number comes from
        fewest = [way for way in fewest if way.names[0] != "term_scaled"]
    told: dict[tuple[str, ...], list[Explanation]] = {}
    for way in {way.words: way for way in reversed(fewest)}.values():
        told.setdefault(way.names, []).insert(0, way)
    kinds = sorted(told.values(), key=lambda same: same[0].rank)
    return [way for same in kinds[:MOST_TOLD] for way in same[:2]]
