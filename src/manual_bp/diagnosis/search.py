"""The search for the fewest edits that give a subject's numbers.

Where δ is not shown, the search goes from the output inwards: the gradients of each layer test its
δ, and the histories with the fewest edits go on. All of it reads what the judge found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np

from manual_bp.diagnosis.equations import Inputs, equation, right_parts
from manual_bp.diagnosis.explanation import History, Step, Used, Way
from manual_bp.diagnosis.fitting import Core, Equation, Guess
from manual_bp.diagnosis.observation import Observation, Target
from manual_bp.record import Place, places
from manual_bp.rounding.sized import Sized
from manual_bp.subjects.formats import READ

Numbers = np.ndarray[Any, Any]
MOST_EDITS = 3
FORWARDS = ("forward", "cost")
KEPT = 24  # histories that go on to the next layer


def _nearest(found: list[Way]) -> list[Way]:
    """Without those that are much farther from the subject's numbers than the nearest."""
    least = min(way.off for way in found)
    return [way for way in found if way.off <= max(30 * least, 0.3)]


class Search:
    """The fewest edits, anywhere in the network, that give what the subject shows."""

    def __init__(self, seen: Observation) -> None:
        self.seen = seen
        self.shown = {**seen.shown(), **seen.misfits}
        self.start = History(arrays=seen.arrays())

    def histories(self) -> list[History]:
        """Those with the fewest edits. What none explains has a step without edits."""
        found = self._all_times_a_factor() or self._backwards(self._forwards(self.start))
        fewest = min(history.rank for history in found)
        is_large = self.seen.m * sum(a * b for a, b in pairwise(self.seen.net.sizes)) > 10**7
        if fewest > ((0, 3) if is_large else (0, 0)) and self._hidden_forwards():
            most = (0, MOST_EDITS) if fewest[0] else fewest
            others = [
                history
                for start in self._other_forwards()
                for history in self._backwards(start, min(1, max(0, most[1] - 1)), whole=True)
                if history.rank <= most
            ]
            found = found + others
            fewest = min(history.rank for history in found)
        best = [history for history in found if history.rank == fewest]
        return sorted(best, key=lambda history: (len(history.steps), self._unseen(history)))

    def _all_times_a_factor(self) -> list[History]:
        """All of the gradients, with their l2 terms, times one number, where no δ is shown."""
        shown = [place for place in self.shown if place.equation.startswith("BP")]
        if not (
            self.seen.net.l2
            and self.seen.wrong <= {*shown}
            and not self.seen.misfits
            and all(place.quantity != "delta" for place in shown)
        ):
            return []
        target = Target.joined([Target.at(self.seen, place, hidden=True) for place in shown])
        right = np.concatenate([self.seen.judged[place].truth.ravel() for place in shown])
        inputs = self.seen.inputs(self._delta(self.seen.net.depth), self.start.arrays)
        guesses = Equation(inputs, right.shape).fitted(Core((), Sized.of(right)), target, 1)
        ways = [Way(inputs.place, guess.used, guess.off, True) for guess in guesses]
        return [self.start.then(Step.of(ways))] if ways else []

    def _unseen(self, history: History) -> int:
        """How many of its places are not shown."""
        return sum(step.place not in self.shown for step in history.steps)

    # ── Forwards ──

    def _forwards(self, history: History) -> History:
        """What is wrong with x, z, a and the cost, where they are shown."""
        for place in places(self.seen.net):
            if place in self.shown and place in self.seen.wrong and place.equation in FORWARDS:
                if self._follows_from_right(place, history):
                    continue
                steps = self._at(place, history)
                hidden_z = Place("forward", "z", place.layer)
                if place.kind == "a" and not steps and hidden_z not in self.shown:
                    steps = self._through_sigma(hidden_z, place, history)
                history = history.then(Step.of(steps) if steps else Step(place))
        return history

    def _at(self, place: Place, history: History, edits: Sequence[int] = (1, 2, 3)) -> list[Way]:
        """The fewest edits of one equation whose inputs are known."""
        whole = Target.at(self.seen, place, self._is_touched(place, history))
        inputs = self.seen.inputs(place, history.arrays, self.shown[place])
        if place in self.seen.misfits and inputs.penalised:
            return []
        inputs = self._sampled(inputs, [place])
        equation = Equation(inputs, None if inputs.neurons is not None else inputs.got.shape)
        target = whole.looked_at(inputs)
        right = equation.cores(0)
        if right and target.off(right[0].made({}, None, inputs)) <= 1:
            return []  # it is right as it stands, or nearly
        for n in edits:
            if n > equation.most:
                break
            found = [
                Way(place, guess.used, guess.off)
                for guess in equation.guesses(target, n)
                if whole.off(equation.of_all(guess)) <= 1
            ]
            if found:
                return _nearest(found)
        return []

    def _sampled(self, inputs: Inputs, targets: Sequence[Place]) -> Inputs:
        """Of a large array a few neurons: half of them those most wrong."""
        sizes, l = self.seen.net.sizes, inputs.l
        work = self.seen.m * sizes[l] * max(sizes[max(l - 1, 0)], sizes[min(l + 1, len(sizes) - 1)])
        if work < 10**6 or inputs.kind in ("x", "cost", "BP3"):
            return inputs
        off = np.zeros(sizes[l]), np.zeros(sizes[max(l - 1, 0)])
        for place in targets:
            if place in self.seen.misfits:
                return inputs
            array = np.abs(self.shown[place] - self.seen.judged[place].truth)
            array = array[None] if array.ndim == 1 else array
            if place.kind == "BP4":
                off = off[0] + array.sum(1), off[1] + array.sum(0)
            else:
                off = off[0] + array.sum(0), off[1]
        if len(off[0]) == len(off[1]):  # a transpose is to be of the same neurons
            off = off[0] + off[1], off[0] + off[1]
        chosen = [
            np.unique(
                np.concatenate([np.argsort(-of)[:8], np.linspace(0, len(of) - 1, 8, dtype=int)])
            )
            for of in off
        ]
        return replace(inputs, neurons=chosen[0], before=chosen[1])

    def _through_sigma(self, z: Place, a: Place, history: History) -> list[Way]:
        """Edits of zˡ, which is not shown, that give aˡ."""
        equation = Equation(self.seen.inputs(z, history.arrays))
        target = Target.at(self.seen, a, hidden=True)
        found = []
        for core in equation.cores(1):
            arrays = history.with_("z", a.layer, core.base.value).arrays
            value = Equation(self.seen.inputs(a, arrays)).cores(0)[0].base
            off = target.off(value)
            if off <= 1 and target.explained(value):
                found.append(Way(z, core.used, off))
        return found

    def _hidden_forwards(self) -> list[Place]:
        """z and a that are not shown."""
        return [
            place
            for place in places(self.seen.net)
            if place.kind in ("z", "a") and place not in self.shown
        ]

    def _other_forwards(self) -> Iterator[History]:
        """The forward pass with one edit where it is not shown, in one layer or in all of them."""
        hidden = self._hidden_forwards()
        made: dict[tuple[str, str], list[Place]] = {}
        for place in hidden:
            for core in Equation(self.seen.inputs(place, self.start.arrays)).cores(1):
                made.setdefault((core.used[0].edit.name, core.used[0].said), []).append(place)
        for (name, said), chosen in made.items():
            alone = dict.fromkeys(chosen)
            for where in [*((place,) for place in alone), tuple(alone)][: len(alone) + 1]:
                if len(where) == 1 or len(alone) > 1:
                    yield from self._forward_with(name, said, where)

    def _forward_with(self, name: str, said: str, where: Sequence[Place]) -> Iterator[History]:
        history = self.start
        for place in places(self.seen.net):
            if place.equation not in FORWARDS:
                continue
            if place.kind == "x":
                if place in self.shown and place in self.seen.wrong:
                    return
                continue
            equation = Equation(self.seen.inputs(place, history.arrays, self.shown.get(place)))
            made = [c for c in equation.cores(1) if (c.used[0].edit.name, c.used[0].said) ==
                    (name, said)] if place in where else equation.cores(0)  # fmt: skip
            if not made:
                return
            value = made[0].made({}, None, equation.inputs)
            if place in where:
                history = history.then(Step.of([Way(place, made[0].used)]))
            if place in self.shown:
                if Target.at(self.seen, place, hidden=True).off(value) > 1:
                    return
            elif place.kind != "cost":
                history = history.with_(place.quantity, place.layer, value.value)
        yield history

    # ── Backwards ──

    def _backwards(
        self, start: History, most: int = MOST_EDITS, *, whole: bool = False
    ) -> list[History]:
        """The histories that explain the errors and the gradients, layer by layer.

        Of the whole ones, those that leave nothing unexplained.
        """
        histories = [start]
        for l in reversed(self.seen.net.layers):
            after = [
                history
                for before in histories
                for history in (
                    [before] if before.lost and not self._is_shown(l) else
                    self._layer(before, l, most, whole)
                )
            ]  # fmt: skip
            after = [history for history in after if not (whole and history.rank[0])]
            histories = sorted(after, key=lambda history: history.rank)[:KEPT]
        return histories

    def _is_shown(self, l: int) -> bool:
        return self._delta(l) in self.shown

    def _delta(self, l: int) -> Place:
        return Place("BP1" if l == self.seen.net.depth else "BP2", "delta", l)

    def _gradients(self, l: int) -> list[Place]:
        found = Place("BP4", "dW", l), Place("BP3", "db", l)
        return [place for place in found if place in self.shown]

    def _layer(self, history: History, l: int, most: int, whole: bool) -> list[History]:
        delta = self._delta(l)
        if not self._is_shown(l):
            return self._hidden_layer(history, l, most, whole)
        if not history.lost:
            history = self._judged_here(delta, history, most)
        history = replace(history, lost=False)
        for place in self._gradients(l):
            history = self._judged_here(place, history, most)
        return [history]

    def _judged_here(self, place: Place, history: History, most: int) -> History:
        """With a step for a place where it is wrong."""
        if self._is_right(place, history) or self._follows_from_right(place, history):
            return history
        ways = self._at(place, history, range(1, most + 1))
        return history.then(Step.of(ways) if ways else Step(place))

    def _follows_from_right(self, place: Place, history: History) -> bool:
        """Whether an array follows from what is right, in the place of what nothing explains."""
        doubtful = [step.place for step in history.steps if not step.ways]
        read = [p for p in doubtful if (p.quantity, p.layer) in self._reads(place)]
        if not read or place in self.seen.misfits:
            return False
        for p in read:
            history = history.with_(p.quantity, p.layer, self.seen.judged[p].truth)
        value, target = self._right_value(place, history), Target.at(self.seen, place, hidden=True)
        return value is not None and target.off(value) < np.inf and target.explained(value) > 0

    def _reads(self, place: Place) -> list[tuple[str, int]]:
        """What the equation at a place reads."""
        return [(name, place.layer + step) for name, step in READ.get(place.kind, ())]

    def _is_touched(self, place: Place, history: History) -> bool:
        """Whether an equation reads an array that is not shown, and not as it should be."""
        now, before = history.arrays, self.start.arrays
        reads = self._reads(place)
        return any(now[name][k] is not before[name][k] for name, k in reads)

    def _is_right(self, place: Place, history: History) -> bool:
        """Whether the equation holds, on the arrays of a history."""
        if not self._is_touched(place, history):
            return place not in self.seen.wrong
        value = self._right_value(place, history)
        target = Target.at(self.seen, place, hidden=True)
        if value is None or target.off(value) > 1:
            return False
        return not target.is_wrong or target.explained(value) > 0

    def _right_value(self, place: Place, history: History) -> Sized | None:
        """What an equation gives as it should be, on the arrays of a history."""
        inputs = self.seen.inputs(place, history.arrays)
        return next((c.made({}, None, inputs) for c in Equation(inputs).cores(0)), None)

    def _hidden_layer(self, history: History, l: int, most: int, whole: bool) -> list[History]:
        """A layer whose δ is not shown, but for what its gradients tell of it."""
        delta, targets = self._delta(l), self._gradients(l)
        inputs = self.seen.inputs(delta, history.arrays)
        right = history
        if self._is_touched(delta, history):
            right = history.with_("delta", l, Equation(inputs).cores(0)[0].base.value)
        wrong = [place for place in targets if not self._is_right(place, right)]
        if whole and not self.seen.wrong.issuperset(wrong):
            return []  # what is right would not be, had it been computed so
        if not targets and most:  # what comes next has to tell
            return [right, *self._untold(history, Equation(inputs), delta)]
        if not wrong:
            return [right]
        equation = Equation(self._sampled(inputs, targets))
        for total in range(1, min(most, equation.most) + 1):
            if total == 2 and len(wrong) < len(targets):
                kept = [place for place in targets if place not in wrong]
                equation = self._that_keep(history, equation, kept)
            if found := list(self._together(history, equation, targets, total)):
                return found
        if len(wrong) < len(targets):
            return [right.then(*(Step(place) for place in wrong))]
        dW = Place("BP4", "dW", l)
        if len(wrong) == 2 and (ways := self._at(dW, right, (1,))):  # so δ is right
            return [right.then(Step.of(ways), *(Step(p) for p in wrong if p != dW))]
        step = Step(wrong[0] if len(targets) == 1 else delta)
        return [replace(right.then(step), lost=True)]

    def _that_keep(self, history: History, equation: Equation, right: Sequence[Place]) -> Equation:
        """The equation of δ with the edits that leave these of its gradients right."""
        gradients = self._gradients_of(history, equation.inputs, right)
        kept = [
            core.chosen[0]
            for core in equation.cores(1)
            if gradients.target.off(gradients.of(core).made({}, None, equation.inputs)) <= 1
        ]
        return Equation(equation.inputs, made=kept)

    def _untold(self, history: History, equation: Equation, delta: Place) -> Iterator[History]:
        for core in equation.cores(1):
            if core.more is None and core.constant is None:
                after = history.with_("delta", delta.layer, core.base.value)
                yield after.then(Step.of([Way(delta, core.used)]))
        base = equation.cores(0)[0].base.value
        for edit, number in equation.numbers("factor"):
            after = history.with_("delta", delta.layer, number * base)
            yield after.then(Step.of([Way(delta, (Used(edit, number),))]))

    def _together(
        self, history: History, equation: Equation, targets: Sequence[Place], total: int
    ) -> Iterator[History]:
        """So many edits of δ and of its gradients, that give these gradients.

        Some of the gradients are taken for right, so that they tell of δ; the others are edited.
        """
        found: dict[Any, History] = {}
        known: dict[Any, Gradients] = {}

        def through(of: Inputs, anchors: tuple[Place, ...]) -> Gradients:
            key = of.neurons is None, anchors
            if key not in known:
                known[key] = self._gradients_of(history, of, anchors)
            return known[key]

        for edits in range(total, -1, -1):
            for core in equation.cores(edits):
                fits = core.more is not None or core.constant is not None
                for free in range(min(1, total - edits) + 1):
                    left = total - edits - free
                    for n in range(len(targets), -1, -1):
                        if not len(targets) - n <= left or (left and n == len(targets)):
                            continue
                        if not n and (free or fits or core.used):
                            continue
                        for anchors in combinations(targets, n):
                            for after in self._anchored(
                                history, equation, core, targets, anchors, free, left, through
                            ):
                                found.setdefault(after.key, after)
        least = min((after.off for after in found.values()), default=0.0)
        return (after for after in found.values() if after.off <= max(30 * least, 0.3))

    def _anchored(
        self,
        history: History,
        equation: Equation,
        core: Core,
        targets: Sequence[Place],
        anchors: tuple[Place, ...],
        free: int,
        left: int,
        through: Callable[[Inputs, tuple[Place, ...]], Gradients],
    ) -> Iterator[History]:
        delta, whole = equation.inputs.place, equation.whole
        if anchors:
            gradients = through(equation.inputs, anchors)
            guesses = list(equation.fitted(gradients.of(core), gradients.target, free))
            if whole is not equation and guesses:
                gradients = through(whole.inputs, anchors)
                of_all = gradients.of(equation.core_of_all(core))
                guesses = [
                    guess
                    for guess in guesses
                    if gradients.target.off(of_all.made(guess.factors, guess.own, whole.inputs))
                    < np.inf
                ]
        else:
            guesses = [Guess(core.used, core.base, 0.0, core.chosen)]
        rest = [place for place in targets if place not in anchors]
        for guess in guesses:
            value = equation.core_of_all(core).made(guess.factors, guess.own, whole.inputs).value
            if value.size <= guess.fitted:
                continue  # one value, and one number fitted to it
            after = history.with_("delta", delta.layer, value)
            if guess.used:
                after = after.then(Step.of([Way(delta, guess.used, guess.off)]))
            if not rest:
                yield after
            elif len(rest) == 1:
                if ways := self._at(rest[0], after, (left,)):
                    yield after.then(Step.of(ways))
            else:
                for here in range(1, left):
                    first = self._at(rest[0], after, (here,))
                    second = first and self._at(rest[1], after, (left - here,))
                    if second:
                        yield after.then(Step.of(first), Step.of(second))

    def _gradients_of(self, history: History, of: Inputs, places: Sequence[Place]) -> Gradients:
        """How the gradients of a layer show its δ."""
        inputs = [
            replace(self.seen.inputs(place, history.arrays), neurons=of.neurons, before=of.before)
            for place in places
        ]
        targets = [Target.at(self.seen, g.place, hidden=True).looked_at(g) for g in inputs]
        penalties = []
        for g in inputs:
            shape = g.place.shape(self.seen.net, self.seen.m)
            penalty = np.broadcast_to(g.penalty if g.penalised else 0.0, shape)
            penalties.append(g.looked_at(Sized.of(penalty)).value.ravel())
        return Gradients(
            inputs, [right_parts(g) for g in inputs], Target.joined(targets),
            np.concatenate(penalties),
        )  # fmt: skip


class Gradients(NamedTuple):
    """The gradients of a layer, as what shows its δ: they are its sums, and its products with aˡ⁻¹.

    Attributes:
        inputs, parts: of the equation of each.
        target: their values, one after the other.
        penalties: as many.
    """

    inputs: list[Inputs]
    parts: list[dict[str, Any]]
    target: Target
    penalties: Numbers

    def of(self, core: Core) -> Core:
        """What they are of an equation of δ."""
        more = None if core.more is None else self._made(core.more)
        constant = None if core.constant is None else self._made(Sized.of(core.constant)).value
        return Core(core.used, self._made(core.base), more, self.penalties, constant, core.chosen)

    def _made(self, delta: Sized) -> Sized:
        made = [
            equation(g, parts | {"delta": delta})
            for g, parts in zip(self.inputs, self.parts, strict=True)
        ]
        return Sized(
            np.concatenate([array.value.ravel() for array in made]),
            np.concatenate([array.size.ravel() for array in made]),
        )
