"""Which term is wrong: the fewest edits of a backward pass that give the gradients somebody has.

The reference's own backward program, as JAX differentiates it, is run again with one operation
wrong at a time. A term that is missing, twice or of another sign is a scale of one operation's
result, on which the gradients depend linearly: two runs tell which scale would fit best.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from manual_bp.diagnosis.operations import NAMES, Edit, Edited, Keeping, Way, described, edits_of
from manual_bp.record import GRADIENT, Place
from manual_bp.rounding.certificate import Exactly, run
from manual_bp.rounding.operations import equations
from manual_bp.subjects.gradients import Reference
from manual_bp.text import listed
from manual_bp.verdicts.gradients import Standard
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import Numbers

NEARER = 8  # how many times nearer than the right value an explanation has to be
SAMPLED = 2048  # values of each array that every edit is first held to
MOST_WORK = 1.5e10  # values computed in all: of a large case the first edits alone are tried
MOST_ROWS = 64
MOST_TOLD = 3  # names that may stand beside each other with "or"
LEFT_OUT = (
    "factor_left_out",
    "term_left_out",
    "sign_swapped",
    "mask_missing",
)  # in other words the same

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
class _Known:
    """What a scale may be, by what it is made of."""

    shapes: Iterable[tuple[int, ...]]
    words: dict[float, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = {0.0: "0", 1.0: "1", 2.0: "2", -1.0: "−1", 0.5: "½", 3.0: "3", -2.0: "−2"}
        counts = {n for shape in self.shapes for n in (*shape, math.prod(shape), *_rows_in(shape))}
        for n in sorted(counts):
            if n > 1:
                root = f"{n**0.5:.0f}" if round(n**0.5) ** 2 == n else f"√{n}"
                for value, words in (
                    (n, f"{n}"), (1 / n, f"1/{n}"), (n**0.5, root), (n**-0.5, f"1/{root}"),
                    (n / (n - 1), f"{n}/{n - 1}"), ((n - 1) / n, f"{n - 1}/{n}"),
                ):  # fmt: skip
                    self.words.setdefault(float(value), words)

    def near(self, scale: float) -> float | None:
        """The known number that a fitted one must be, or None."""
        best = min(self.words, key=lambda known: abs(known - scale))
        return best if abs(best - scale) <= 1e-3 * max(abs(best), 0.05) else None


def _rows_in(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many rows an array has, which a mean over them divides by."""
    return (math.prod(shape[:-1]),) if len(shape) > 2 else ()


class TermSearch:
    """The search for what explains the wrong gradients of one subject."""

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
        shapes = [np.shape(leaf) for leaf in self.reference.inputs]
        self.known = _Known(shapes)
        draw = np.random.default_rng(0)
        self.sample = {
            place: np.arange(one.truth.size)
            if one.truth.size <= SAMPLED
            else np.sort(draw.choice(one.truth.size, SAMPLED, replace=False))
            for place, one in self.judged.items()
        }

    def explanations(self) -> list[list[Explanation]]:
        """For each group of places that are explained together, the ways that do, the best first.

        Places that nothing explains are in none of them.
        """
        if not self.wrong:
            return []
        if absent := self._absent():
            self.wrong = [place for place in self.wrong if place not in absent.places]
            return [[absent], *self.explanations()]
        singles = [*self._of_the_whole(), *self._singles]
        if together := [one for one in singles if set(one.places) == set(self.wrong)]:
            return [_best(together)]
        groups: dict[Place, list[Explanation]] = {}
        for place in self.wrong:
            here = [one for one in singles if place in one.places]
            here = here or [*self._by_row(place), *self._pairs(place), *self._rows(place)]
            if here:
                groups[place] = _best(here)
        merged: dict[tuple[str, ...], list[Explanation]] = {}
        for place, ways in groups.items():
            first = merged.setdefault(ways[0].words, ways)
            if place not in first[0].places:
                first[0] = replace(first[0], places=(*first[0].places, place))
        return list(merged.values())

    # ── Measuring ────────────────────────────────────────────────────────────────────────────

    def _at(self, gradients: Gradients, place: Place) -> Numbers:
        return np.asarray(gradients[place]).reshape(-1)[self.sample[place]]

    @cached_property
    def _got(self) -> Gradients:
        return {place: self._at({place: self._shown(place)}, place) for place in self.judged}

    @cached_property
    def _truth(self) -> Gradients:
        return {place: self._at(self.standard.truth, place) for place in self.judged}

    @cached_property
    def _bound(self) -> Gradients:
        full = {place: np.broadcast_to(self._slack(place), np.shape(self.judged[place].truth))
                for place in self.judged}  # fmt: skip
        return {place: self._at(full, place) for place in self.judged}

    def _slack(self, place: Place) -> Numbers:
        return self.standard.bound(place, "float64") + self.standard.arithmetic.u * np.abs(
            self.standard.truth[place]
        )

    def _shown(self, place: Place) -> Numbers:
        got = self.judged[place].got
        assert got is not None  # those not given are left out at the start
        shown: Numbers = got.value
        return shown

    def _misfit(self, place: Place, values: Numbers, *, truth: bool = False) -> float:
        """How far the subject is from some values, in bounds of numbers of their size."""
        got, right, bound = self._got[place], self._truth[place], self._bound[place]
        with np.errstate(all="ignore"):
            size = np.sqrt(np.mean(np.square(values)) / np.mean(np.square(right)))
            grown = max(1.0, float(size)) if np.isfinite(size) else 1.0
            slack = grown * bound + 16 * self.standard.arithmetic.u * np.abs(values)
            off = np.abs(got - (right if truth else values)) / slack
        return float(np.nan_to_num(off, nan=np.inf).max())

    def _explains(self, place: Place, values: Numbers) -> float | None:
        """How far off such values are, if they explain what is there, and the right ones do not."""
        if not np.isfinite(values).all():
            return None
        off = self._misfit(place, values)
        return off if off <= 1 and self._misfit(place, values, truth=True) >= max(
            2.0, NEARER * off
        ) else None  # fmt: skip

    def _explained(
        self, names: tuple[str, ...], words: tuple[str, ...], lines: tuple[str, ...],
        values: Gradients,
    ) -> Explanation | None:  # fmt: skip
        """What such gradients explain; None where it is nothing."""
        offs = {place: self._explains(place, values[place]) for place in self.wrong}
        places = tuple(place for place, off in offs.items() if off is not None)
        if not places:
            return None
        strays = any(self._misfit(place, values[place]) > 1 for place in self.right)
        strays |= len(places) < len(self.wrong) and any(
            self._misfit(place, values[place], truth=False) > 1
            and self._moved(place, values[place])
            for place in self.wrong
            if place not in places
        )
        worst = max(offs[place] or 0.0 for place in places)
        return Explanation(names, words, lines, places, strays, worst)

    def _moved(self, place: Place, values: Numbers) -> bool:
        return bool((np.abs(values - self._truth[place]) > self._bound[place]).any())

    # ── Edits of one operation ───────────────────────────────────────────────────────────────

    @cached_property
    def _edited(self) -> "EditedPrograms":
        """Compiled once for all subjects of one reference."""
        compiled = self.standard.compiled
        if "edited" not in compiled:
            compiled["edited"] = EditedPrograms(self.reference)
        found: EditedPrograms = compiled["edited"]
        return found

    def _gradients(self, backward: bool, chosen: int, scale: float = 1.0) -> Gradients:
        """The gradients of a program with one edit, at the sampled values."""
        edited = self._edited.run_backward if backward else self._edited.run_forward
        with jax.enable_x64(True):
            out = edited(chosen, scale, self.reference.inputs)
        flat = dict(zip(self.reference.places, map(np.asarray, out), strict=True))
        return {place: self._at(flat, place) for place in self.judged}

    @property
    def _affordable(self) -> int:
        work = sum(one.truth.size for one in self.judged.values()) * max(
            1, len(self.reference.program.jaxpr.eqns)
        )
        return max(16, int(MOST_WORK / work))

    @cached_property
    def _without(self) -> dict[int, Gradients]:
        """By the number of a scaled edit of the backward pass: the gradients where it is 0."""
        return {
            number: self._gradients(True, number, 0.0)
            for number, (_, edit) in enumerate(self._edited.backward.edits)
            if edit.way.scaled and number < self._affordable
        }

    @cached_property
    def _singles(self) -> list[Explanation]:
        found = [self._scaled(number) for number in self._without]
        for backward, program in ((True, self._edited.backward), (False, self._edited.forward)):
            if not backward and self._reverse_fails:
                continue
            for number, (_, edit) in enumerate(program.edits[: self._affordable]):
                if not edit.way.scaled:
                    values = self._gradients(backward, number)
                    found.append(
                        self._explained(
                            (edit.way.name,), (edit.words(),), (edit.operation,), values
                        )
                    )
        return [one for one in found if one is not None]

    @property
    def _reverse_fails(self) -> bool:
        names = {eqn.primitive.name for eqn, _ in self._edited.forward.edits}
        return "while" in names

    def _slopes(self, number: int) -> Gradients:
        return {place: self._truth[place] - one for place, one in self._without[number].items()}

    def _scaled(self, number: int) -> Explanation | None:
        """What a scale of one operation's result explains, with the scale that fits best."""
        slopes = self._slopes(number)
        moved = [place for place in self.wrong if self._stands_out(slopes[place], place)]
        best = None
        for places in dict.fromkeys([tuple(moved), *((place,) for place in moved)]):
            if not places or (best and set(places) <= set(best.places)):
                continue
            scale = self._best_scale(places, slopes)
            if scale is None or scale == 1:
                continue
            words, known = self._scale_in_words(scale)
            values = {
                place: self._truth[place] + (scale - 1) * slope for place, slope in slopes.items()
            }
            name = _name_of_scale(scale)
            edit = self._edited.backward.edits[number][1]
            told = edit.words(name, words)
            found = self._explained((name,), (told,), (edit.operation,), values)
            if found and not known and sum(slopes[p].size for p in found.places) < 8:
                continue  # one fitted number for a handful of values explains nothing
            if found and (best is None or len(found.places) > len(best.places)):
                best = found
        return best

    def _stands_out(self, slope: Numbers, place: Place) -> bool:
        return bool((np.abs(slope) > self._bound[place]).any())

    def _best_scale(self, places: Sequence[Place], slopes: Gradients) -> float | None:
        above = below = 0.0
        with np.errstate(all="ignore"):
            for place in places:
                weight = 1 / np.square(self._bound[place])
                off = self._got[place] - self._truth[place]
                above += float((slopes[place] * off * weight).sum())
                below += float((slopes[place] * slopes[place] * weight).sum())
        if not (np.isfinite(above) and np.isfinite(below) and below > 0):
            return None
        scale = 1 + above / below
        near = self.known.near(scale)
        return scale if near is None else near

    def _scale_in_words(self, scale: float) -> tuple[str, bool]:
        known = self.known.words.get(scale)
        return known or f"{scale:.4g}", known is not None

    # ── Everything at once ───────────────────────────────────────────────────────────────────

    def _absent(self) -> Explanation | None:
        """Gradients that are nothing but zeros."""
        places = tuple(place for place in self.wrong if not self._shown(place).any())
        if not places:
            return None
        return Explanation(("gradient_missing",), (NAMES["gradient_missing"][0],), ("",), places)

    def _of_the_whole(self) -> Iterator[Explanation]:
        """A factor of every gradient; a cotangent that was not used."""
        for truth, name in ((self._of_ones, "cotangent_ignored"), (self._truth, "")):
            scale = self._ratio(self.wrong, truth)
            if not scale or (not name and abs(scale - 1) < 1e-9):
                continue
            words, known = self._scale_in_words(scale)
            if not known and sum(self._truth[place].size for place in self.wrong) < 8:
                continue
            values = {place: scale * one for place, one in truth.items()}
            label = name or ("gradient_negated" if scale == -1 else "gradient_scaled")
            told = NAMES[label][0].replace("{scale}", words)
            if name and scale != 1:
                told += f", times {words}"
            found = self._explained((label,), (told,), ("",), values)
            if found:
                yield found
                return

    @cached_property
    def _of_ones(self) -> Gradients:
        """The gradients for a cotangent of ones."""
        count = len(jax.tree.leaves(self.reference.cotangent))
        ones = [np.ones(np.shape(one)) for one in self.reference.inputs[:count]]
        return self._for_cotangent(ones)

    def _for_cotangent(self, cotangent: Sequence[Any]) -> Gradients:
        with jax.enable_x64(True):
            inputs = [*cotangent, *self.reference.inputs[len(cotangent) :]]
            out = self._edited.run_plain(inputs)
        flat = dict(zip(self.reference.places, map(np.asarray, out), strict=True))
        return {place: self._at(flat, place) for place in self.judged}

    def _ratio(self, places: Sequence[Place], truth: Gradients) -> float | None:
        above = below = 0.0
        for place in places:
            weight = 1 / np.square(self._bound[place])
            above += float((truth[place] * self._got[place] * weight).sum())
            below += float((truth[place] * truth[place] * weight).sum())
        if not (np.isfinite(above) and np.isfinite(below) and below > 0):
            return None
        near = self.known.near(above / below)
        return above / below if near is None else near

    # ── Two edits, and rows ──────────────────────────────────────────────────────────────────

    def _pairs(self, place: Place) -> Iterator[Explanation]:
        """Two operations' results scaled by known numbers, where no single edit explains it."""
        weight = 1 / self._bound[place]
        off = (self._got[place] - self._truth[place]) * weight
        slopes = {
            number: self._slopes(number)[place] * weight
            for number in self._without
            if self._stands_out(self._slopes(number)[place], place)
        }
        for one, other in combinations(slopes, 2):
            matrix = np.stack([slopes[one], slopes[other]], axis=1)
            square = matrix.T @ matrix
            if not np.isfinite(square).all() or np.linalg.cond(square) > 1e8:
                continue
            fitted = 1 + np.linalg.solve(square, matrix.T @ off)
            scales = [self.known.near(float(scale)) for scale in fitted]
            if None in scales or 1.0 in scales:
                continue
            by = np.array(scales, float) - 1
            values = self._truth[place] + (matrix @ by) / weight
            if self._explains(place, values) is None:
                continue
            edits = [self._edited.backward.edits[number][1] for number in (one, other)]
            names = tuple(_name_of_scale(float(scale)) for scale in scales if scale is not None)
            words = tuple(
                edit.words(name, self._scale_in_words(float(scale or 0))[0])
                for name, edit, scale in zip(names, edits, scales, strict=True)
            )
            yield Explanation(names, words, tuple(edit.operation for edit in edits), (place,))

    def _by_row(self, place: Place) -> Iterator[Explanation]:
        """Each row or column times a number of its own, which the reference computes on its way."""
        got, truth = self._shown(place), self.standard.truth[place]
        for kind, axes in _lines_of(truth.ndim):
            others = tuple(i for i in range(truth.ndim) if i not in axes)
            with np.errstate(all="ignore"):
                above = (got * truth).sum(others, keepdims=True)
                ratio = above / np.square(truth).sum(others, keepdims=True)
            ratio = np.where(np.isfinite(ratio), ratio, 1.0)  # a row of zeros is any times itself
            if not others or ratio.size < 2:
                continue
            values = self._at({place: truth * ratio}, place)
            if self._explains(place, values) is None:
                continue
            flat = ratio.reshape(-1)
            kept = np.abs(flat - 1) < 1e-3
            lost = [int(n) for n in np.flatnonzero(np.abs(flat) < 1e-3)]
            if lost and len(lost) + kept.sum() == flat.size:
                yield self._of_rows("of the gradient", kind, lost, place)
                return
            words = NAMES["rows_scaled"][0].replace("{}", kind)
            plain = Explanation(("rows_scaled",), (words,), ("",), (place,))
            yield from self._made_of(place, flat) or [plain]

    def _made_of(self, place: Place, ratio: Numbers) -> list[Explanation]:
        """What on the way of the reference such numbers are, or one over them."""
        found = []
        for eqn, what, value in self._on_the_way:
            if value.shape != ratio.shape:
                continue
            for power in (-1, 1):
                with np.errstate(all="ignore"):
                    off = np.abs(value**power / ratio - 1)
                if bool((off < 1e-3).all()):
                    divides = eqn is not None and eqn.outvars[0] in self._divisors
                    name = "factor_left_out" if (power == 1) == divides else "factor_twice"
                    words = NAMES[name][0].replace("{}", what)
                    found.append(Explanation((name,), (words,), (what,), (place,)))
        return found[-1:]  # the last one is what was meant by those before it

    @cached_property
    def _divisors(self) -> set[Any]:
        """What the reference divides by."""
        program = self.reference.forward_program
        divisions = (eqn for eqn in equations(program) if eqn.primitive.name == "div")
        return {eqn.invars[1] for eqn in divisions if not isinstance(eqn.invars[1], Literal)}

    @cached_property
    def _on_the_way(self) -> list[tuple[Any, str, Numbers]]:
        """The arguments, and what the reference computes of them: each as a row of numbers.

        With the operation, and what it is called. Loops are left out.
        """
        found: list[tuple[Any, str, Numbers]] = [
            (None, self.reference.names[i], np.asarray(leaf, float).reshape(-1))
            for i, leaf in enumerate(self.reference.leaves)
            if i in self.reference.wanted
        ]
        keeping = Keeping([])
        count = len(jax.tree.leaves(self.reference.cotangent))
        inputs = self.reference.inputs[count:]
        with jax.enable_x64(True):
            run(self.reference.forward_program, inputs, keeping)
            return found + [
                (eqn, described(eqn), np.asarray(value).reshape(-1))
                for eqn, value in keeping.kept
                if not isinstance(value, jax.core.Tracer)
            ]

    def _rows(self, place: Place) -> Iterator[Explanation]:
        """Rows or columns of the cotangent that are left out."""
        (cotangent, *others) = jax.tree.leaves(self.reference.cotangent)
        if others or not np.ndim(cotangent):
            return
        full = np.asarray(cotangent, np.float64)
        for kind, axes in _lines_of(full.ndim):
            shape = [n if i in axes else 1 for i, n in enumerate(full.shape)]
            n = int(np.prod(shape))
            if not 1 < n <= MOST_ROWS:
                continue
            parts, weight = [], 1 / self._bound[place]
            for row in range(n):
                mask = (np.arange(n) == row).reshape(shape)
                parts.append(self._for_cotangent([full * mask])[place])
            matrix = np.stack(parts, axis=1) * weight[:, None]
            shown = np.abs(matrix).max(axis=0) > 1  # what a row adds can be seen
            shares = np.ones(n)
            fitted = np.linalg.lstsq(matrix[:, shown], self._got[place] * weight, rcond=None)[0]
            shares[shown] = np.round(fitted)
            lost = [int(row) for row in np.flatnonzero(shares == 0)]
            kept = set(shares) <= {0.0, 1.0} and 0 < len(lost) < n
            if kept and self._explains(place, np.stack(parts, axis=1) @ shares) is not None:
                yield self._of_rows("of the cotangent", kind, lost, place)

    def _of_rows(self, whose: str, kind: str, lost: Iterable[int], place: Place) -> Explanation:
        """Rows or columns that are left out, of the cotangent or of the gradient itself."""
        numbers = [int(n) for n in lost]
        what = f"{kind} {numbers[0]}" if len(numbers) == 1 else f"{kind}s {_in_short(numbers)}"
        words = NAMES["rows_missing"][0].replace("{}", f"{what} {whose}")
        told = words.replace("{are}", "is" if len(numbers) == 1 else "are")
        return Explanation(("rows_missing",), (told,), ("",), (place,))


def _lines_of(ndim: int) -> list[tuple[str, tuple[int, ...]]]:
    """What a line of an array may be, and the axes that number them."""
    if ndim == 1:
        return [("element", (0,))]
    first, last = (0,), (ndim - 1,)
    rows = tuple(range(ndim - 1))
    lines = {rows: "row", last: "column", first: "example" if ndim > 2 else "row"}
    return [(kind, axes) for axes, kind in lines.items() if axes]


def _in_short(numbers: Sequence[int]) -> str:
    if numbers[-1] - numbers[0] == len(numbers) - 1 > 0:
        return f"{numbers[0]} to {numbers[-1]}"
    return listed(map(str, numbers[:8])) + (" and more" if len(numbers) > 8 else "")


def _name_of_scale(scale: float) -> str:
    names = {0.0: "term_missing", 2.0: "term_twice", -1.0: "term_negated"}
    return names.get(scale, "term_scaled")


def _best(ways: Sequence[Explanation]) -> list[Explanation]:
    """The fewest edits, told once: of one kind two lines at most, and a scale before what it is."""
    ordered = sorted(ways, key=lambda way: way.rank)
    fewest = [way for way in ordered if way.rank[:2] == ordered[0].rank[:2]]
    names = {way.names[0] for way in fewest}
    if names & {"term_missing", "term_twice", "term_negated"}:
        fewest = [way for way in fewest if way.names[0] not in LEFT_OUT]
    elif names - {"term_scaled"}:  # what says where the number comes from
        fewest = [way for way in fewest if way.names[0] != "term_scaled"]
    told: dict[tuple[str, ...], list[Explanation]] = {}
    for way in {way.words: way for way in reversed(fewest)}.values():
        told.setdefault(way.names, []).insert(0, way)
    kinds = sorted(told.values(), key=lambda same: same[0].rank)
    return [way for same in kinds[:MOST_TOLD] for way in same[:2]]


@dataclass(frozen=True, eq=False)
class _Program:
    """A program with its edits by number."""

    program: Any
    edits: Sequence[tuple[Any, Edit]]

    @cached_property
    def ways(self) -> dict[int, list[tuple[int, Way]]]:
        """By the identity of an operation: its edits, with their numbers."""
        found: dict[int, list[tuple[int, Way]]] = {}
        for number, (eqn, edit) in enumerate(self.edits):
            found.setdefault(id(eqn), []).append((number, edit.way))
        return found


class EditedPrograms:
    """A reference's programs with each of their edits, compiled when they are first run."""

    def __init__(self, reference: Reference) -> None:
        self.wanted = reference.wanted
        self.cotangents = len(jax.tree.leaves(reference.cotangent))
        self.backward = _Program(reference.program, edits_of(reference.program, self.cotangents))
        self.forward = _Program(reference.forward_program, edits_of(reference.forward_program))

    @cached_property
    def run_plain(self) -> Any:
        """The value and the gradients."""
        program = self.backward.program
        return jax.jit(lambda inputs: run(program, inputs, Exactly()))

    @cached_property
    def run_backward(self) -> Any:
        """The same with an edit of the backward program."""
        program, ways = self.backward.program, self.backward.ways

        @jax.jit
        def edited(chosen: Any, scale: Any, inputs: Any) -> Any:
            return run(program, inputs, Edited(ways, chosen, scale))

        return edited

    @cached_property
    def run_forward(self) -> Any:
        """The same with an edit of the function, which is differentiated then."""
        program, ways = self.forward.program, self.forward.ways

        @jax.jit
        def edited(chosen: Any, scale: Any, inputs: Any) -> Any:
            leaves = list(inputs[self.cotangents :])

            def function(*floats: Any) -> Any:
                for i, leaf in zip(self.wanted, floats, strict=True):
                    leaves[i] = leaf
                return run(program, leaves, Edited(ways, chosen, scale))

            values, pull = jax.vjp(function, *(leaves[i] for i in self.wanted))
            return [*values, *pull(list(inputs[: self.cotangents]))]

        return edited
