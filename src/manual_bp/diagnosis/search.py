"""The search for the fewest edits that give a subject's numbers.

An explanation is accepted where it gives the numbers to the rounding of its own terms, differs from
what is right by more than that, and has fewer fitted numbers than values that it explains. Where δ
is not shown, the search goes from the output inwards: the gradients of each layer test its δ, and
the histories with the fewest edits go on. All of it reads what the judge found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.calls import Call
from manual_bp.diagnosis.edits import (
    CATALOGUE,
    Edit,
    Inputs,
    Option,
    Sized,
    equation,
    right_parts,
)
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop, Place, by_layer, places
from manual_bp.rounding.arithmetic import FLOAT64_ROUNDOFF, Arithmetic
from manual_bp.subjects.convention import Convention, Scales
from manual_bp.subjects.subject import Subject
from manual_bp.verdicts.judge import Judged

Numbers = np.ndarray[Any, Any]
MOST_EDITS = 3
MULTIPLIERS = ("factor", "penalty", "whole")
FORWARDS = ("forward", "cost")
CLEAR = 4  # times the tolerance: what an explanation has to explain at the least
NEAR = 16  # times nearer to its explanation than to what is right
KEPT = 24  # histories that go on to the next layer


class Used(NamedTuple):
    """An edit that was made.

    Attributes:
        edit: which.
        number: the factor, η, or constant that goes with it.
        said: which of its options.
    """

    edit: Edit
    number: float | None = None
    said: str = ""


class Way(NamedTuple):
    """Edits at a place that give the numbers there.

    Attributes:
        place: where.
        used: the edits.
        off: how far their numbers are from the subject's, in units of what rounding can do.
    """

    place: Place
    used: tuple[Used, ...]
    off: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the edits."""
        return tuple(one.edit.name for one in self.used)

    @property
    def shape(self) -> tuple[str, ...]:
        """The edits that multiply nothing, and how many do."""
        return tuple(
            "a factor" if one.edit.part in ("factor", "whole") else one.edit.name
            for one in self.used
        )

    @property
    def is_certain(self) -> bool:
        """Whether its factors have names that are usual for them."""
        return all(one.edit.certain and one.edit.name != "factor" for one in self.used)


class Step(NamedTuple):
    """What was done at one place: one way or another; no way where nothing explains it."""

    place: Place
    ways: tuple[Way, ...] = ()

    @classmethod
    def of(cls, ways: Sequence[Way]) -> Step:
        """These ways, each once."""
        once = {way.names + tuple(one.said for one in way.used): way for way in reversed(ways)}
        named = {way.shape for way in once.values() if way.is_certain}
        kept = [
            way
            for way in reversed(once.values())
            if "factor" not in way.names or way.is_certain or way.shape not in named
        ]
        return cls(ways[0].place, tuple(sorted(kept, key=lambda way: "factor" in way.names)))


class Guess(NamedTuple):
    """Edits of one equation that give a target.

    Attributes:
        used: the edits.
        value: the numbers that they give.
        off: how far those are from the subject's.
        chosen: the edits with the options that they are made with.
        fitted: how many numbers were fitted.
    """

    used: tuple[Used, ...]
    value: Sized
    off: float = 0.0
    chosen: Sequence[tuple[Edit, Option]] = ()
    fitted: int = 0

    @property
    def factors(self) -> dict[str, float]:
        """Its factors, by part."""
        numbers = ((one.edit.part, one.number) for one in self.used)
        return {part: k for part, k in numbers if part in MULTIPLIERS and k is not None}

    @property
    def own(self) -> float | None:
        """η, or what is added, where there is such a number."""
        return next((one.number for one in self.used if one.edit.fits), None)


@dataclass(frozen=True)
class History:
    """What was done from the output inwards, and the arrays that it gave.

    Attributes:
        arrays: by quantity and layer.
        steps: the places with edits.
        lost: whether the errors below are unknown.
    """

    arrays: Mapping[str, Mapping[int, Any]]
    steps: tuple[Step, ...] = ()
    lost: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        """How many places are not explained, and the edits; one in every layer counts once."""
        edits = {
            (step.place.kind, name) for step in self.steps for way in step.ways[:1]
            for name in way.names
        }  # fmt: skip
        return sum(not step.ways for step in self.steps), len(edits)

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return tuple((step.place, *(way.names for way in step.ways)) for step in self.steps)

    @property
    def off(self) -> float:
        """How far its last step is from the subject's numbers."""
        return max((way.off for step in self.steps[-1:] for way in step.ways[:1]), default=0.0)

    def with_(self, name: str, l: int, array: Any) -> History:
        """The history with another array of a layer."""
        return replace(self, arrays={**self.arrays, name: {**self.arrays[name], l: array}})

    def then(self, *steps: Step) -> History:
        """The history with these steps after it."""
        return replace(self, steps=self.steps + steps)


class Observation(NamedTuple):
    """What the subject was given, in float64, and what the judge found.

    Attributes:
        net, params, x, y: what it was given; x and y as a batch.
        arithmetic: how its numbers were rounded.
        convention, scales: how they are laid out and scaled.
        judged: by place.
        wrong: the places that disagree.
        misfits: the arrays of another shape than they should have.
        changed: the arguments that it changed while it ran.
        after: whether it is seen from its parameters after an update.
    """

    net: Network
    params: Params
    x: Numbers
    y: Numbers
    arithmetic: Arithmetic
    convention: Convention
    scales: Scales
    judged: Mapping[Place, Judged]
    wrong: frozenset[Place]
    misfits: Mapping[Place, Numbers]
    changed: tuple[str, ...] = ()
    after: bool = False

    @classmethod
    def of(
        cls,
        call: Call,
        subject: Subject,
        convention: Convention,
        judged: Sequence[Judged],
        wrong: Sequence[Place],
    ) -> Observation:
        """The same in float64, each array as a batch."""
        inputs = call.params, np.atleast_2d(call.x), np.atleast_2d(call.y)
        params, x, y = jax.tree.map(lambda v: np.asarray(v, np.float64), inputs)
        params = tuple(Layer(W, b) for W, b in params)
        by_place = {one.place: one for one in judged}
        seen = subject.arithmetic, convention, subject.scales, by_place, frozenset(wrong)
        misfits = {
            place: np.asarray(one.array, np.float64)
            for place, one in subject.misfits.items()
            if one.array is not None
        }
        return cls(call.net, params, x, y, *seen, misfits, subject.changed, subject.is_update)

    @property
    def m(self) -> int:
        """How many examples."""
        return len(self.y)

    def shown(self) -> dict[Place, Numbers]:
        """The subject's arrays, with the truth in place of values that it does not tell."""
        return {
            place: one.got.value
            if one.got.valid is None
            else np.where(one.got.valid, one.got.value, one.truth)
            for place, one in self.judged.items()
            if one.got is not None
        }

    def arrays(self) -> dict[str, dict[int, Any]]:
        """By quantity and layer, the subject's arrays, or what follows from them."""
        shown = self.shown()
        arrays: dict[str, dict[int, Any]] = {quantity: {} for quantity in Backprop._fields}
        for place, one in self.judged.items():
            arrays[place.quantity][place.layer] = shown.get(place, one.truth)
        return arrays

    def inputs(self, place: Place, arrays: Mapping[str, Any], got: Any = None) -> Inputs:
        """What the equation at a place reads."""
        W, b = by_layer(self.params)
        given = {name: arrays[name] for name in ("z", "a", "delta", "dW")}
        if place.kind == "x":
            given["a"] = {0: self.x}
        return Inputs(
            net=self.net, place=place, scales=self.scales, W=W, b=b, **given, y=self.y, got=got,
            after=self.after,
        )  # fmt: skip

    @property
    def longest(self) -> int:
        """The longest sum of a step."""
        return max(self.m, *self.net.sizes)

    @property
    def unit(self) -> float:
        """What rounding does to a sum of terms of size 1, as long as the longest."""
        ar = self.arithmetic
        rounded = ar.gamma(self.longest) + ar.product * (2 + ar.product)
        return float(rounded + 40 * (ar.u + FLOAT64_ROUNDOFF))


# ── One target ───────────────────────────────────────────────────────────────────────────────────


class Target(NamedTuple):
    """An array of the subject's, to be explained.

    Attributes:
        got, right, bound: its values that are told, the right ones, and what rounding can do.
        told: which values those are.
        unit, least: what rounding does to terms of size 1, and to the smallest.
        slack: how many bounds of the right computation are allowed.
    """

    got: Numbers
    right: Numbers
    bound: Numbers
    told: Any
    unit: float
    least: float
    slack: float

    @classmethod
    def at(cls, seen: Observation, place: Place, hidden: bool) -> Target:
        """The array at a place; `hidden` where it does not follow from what is shown alone."""
        one, least = seen.judged[place], seen.longest * seen.arithmetic.tiny
        if one.got is None:
            got = seen.misfits[place]
            told = np.ones(got.shape, bool)
            nowhere = np.full(got.size, np.inf)
            return cls(got.ravel(), nowhere, 0 * got.ravel(), told, seen.unit, least, 1.0)
        told = np.broadcast_to(
            True if one.got.valid is None else np.asarray(one.got.valid), one.truth.shape
        )
        got, right = (np.asarray(v, np.float64)[told] for v in (one.got.value, one.truth))
        bound = np.broadcast_to(one.bound, one.truth.shape)[told]
        return cls(got, right, bound, told, seen.unit, least, 4.0 if hidden else 1.0)

    @property
    def is_wrong(self) -> bool:
        """Whether it differs from what is right by more than rounding."""
        return bool((np.abs(self.got - self.right) > self.bound).any())

    def looked_at(self, inputs: Inputs) -> Target:
        """Its values of the neurons looked at."""
        if inputs.neurons is None:
            return self
        fields = []
        for values in (self.got, self.right, self.bound):
            array = np.zeros(self.told.shape)
            array[self.told] = values
            fields.append(array)
        told, got, right, bound = (
            inputs.looked_at(Sized(v, v)).value for v in (self.told, *fields)
        )
        return self._replace(got=got[told], right=right[told], bound=bound[told], told=told)

    @staticmethod
    def joined(targets: Sequence[Target]) -> Target:
        """Several as one."""
        return targets[0]._replace(
            got=np.concatenate([one.got for one in targets]),
            right=np.concatenate([one.right for one in targets]),
            bound=np.concatenate([one.bound for one in targets]),
            told=np.concatenate([one.told.ravel() for one in targets]),
        )

    def tolerance(self, value: Sized) -> Numbers:
        """What rounding can do to it, had it been computed so."""
        most, right = np.abs(value.value[self.told]), np.abs(self.right)
        larger = most.max(initial=0) / right.max(initial=0) if right.any() else 1.0
        slack = self.slack * self.bound * max(1.0, larger)
        size = np.maximum(value.size[self.told], most)
        return np.asarray(self.unit * size + slack + self.least)

    def off(self, value: Sized) -> float:
        """How far it is from a value, in units of what rounding can do; Inf where it is not that.

        The bound of a long chain that is not shown is larger than most of its values. There a value
        has to be nearer than a sixteenth of the way to what is right as well.
        """
        with np.errstate(all="ignore"):
            rest = np.abs(self.got - value.value[self.told])
            off = rest / self.tolerance(value)
            if not np.isfinite(off).all() or off.max(initial=0) > 1:
                return float("inf")
            if self.slack == 1:
                return float(off.max(initial=0))
            own = 8 * self.unit * _length(value.size[self.told])
            apart = _length(self.got - self.right)
            if _length(rest) > (apart / NEAR if self.is_wrong else 8 * apart + own):
                return float("inf")
            return _length(rest) / (own + self.least)

    def explained(self, value: Sized) -> int:
        """How many of its values are clearly not right, and clearly such a value."""
        with np.errstate(all="ignore"):
            size = self.unit * value.size[self.told] + self.least
            size = size + (self.bound if self.slack == 1 else 0)
            rest = np.abs(self.got - value.value[self.told])
            return int(
                (np.abs(self.got - self.right) > np.maximum(CLEAR * size, NEAR * rest)).sum()
            )


def _length(array: Numbers) -> float:
    return float(np.sqrt((array * array).sum()))


# ── Edits of one equation ────────────────────────────────────────────────────────────────────────


class Core(NamedTuple):
    """An equation with edits in it, its penalty and its factor apart.

    Attributes:
        used: the edits.
        base: what it gives.
        more: what comes to it η times, which is multiplied by the factor too.
        also: what is added to it.
        constant: what is added to it c times.
        chosen: the edits with the options that they are made with.
        is_whole: whether its penalty is in it.
    """

    used: tuple[Used, ...]
    base: Sized
    more: Sized | None = None
    also: Numbers | None = None
    constant: Numbers | None = None
    chosen: Sequence[tuple[Edit, Option]] = ()
    is_whole: bool = False

    def made(self, factors: Mapping[str, float], own: float | None, inputs: Inputs) -> Sized:
        """With its factors, by part, and with its own number, η or c."""
        whole = factors.get("whole", 1.0)
        k = factors.get("factor", 1.0) * whole
        found = k * self.base
        if inputs.penalised and not self.is_whole:
            times = factors.get("penalty", 1.0) * whole
            found = found + times * inputs.looked_at(Sized.of(inputs.penalty))
        if self.more is not None and own is not None:
            found = found + k * own * self.more
        if self.constant is not None and own is not None:
            found = found + own * Sized.of(self.constant)
        return found if self.also is None else found + Sized.of(self.also)


class Equation:
    """One equation of given inputs, with every edit that there is room for."""

    def __init__(self, inputs: Inputs, shape: tuple[int, ...] | None = None) -> None:
        self.inputs = inputs
        full = inputs.place.shape(inputs.net, inputs.m)
        self.shape = shape or inputs.looked_at(Sized(np.empty(full), np.empty(full))).value.shape
        self._cores: dict[int, list[Core]] = {}

    @cached_property
    def right(self) -> dict[str, Any]:
        """Its parts as they should be."""
        return right_parts(self.inputs)

    @cached_property
    def _options(self) -> dict[str, list[tuple[Edit, Option]]]:
        found: dict[str, list[tuple[Edit, Option]]] = {}
        for edit in CATALOGUE.values():
            for option in edit.made_in(self.inputs):
                found.setdefault(edit.part, []).append((edit, option))
        return found

    @property
    def parts(self) -> list[str]:
        """Those with edits, but for those that multiply the result."""
        return [part for part in self._options if part not in MULTIPLIERS]

    @property
    def most(self) -> int:
        """How many edits are tried at once: fewer where each takes long."""
        g = self.inputs
        above = g.net.sizes[min(g.l + 1, g.net.depth)]
        here = g.net.sizes[g.l] if g.neurons is None else len(g.neurons)
        work = g.m * here * max(above, g.net.sizes[g.l])
        return 3 if work < 3 * 10**5 else 2 if work < 2 * 10**7 else 1

    def numbers(self, part: str) -> list[tuple[Edit, float]]:
        """The usual factors of a part."""
        return [(edit, float(option.part)) for edit, option in self._options.get(part, ())]

    def cores(self, edits: int) -> list[Core]:
        """The equation with so many edits, each of another part."""
        if not edits and not self._cores:
            with np.errstate(all="ignore"):
                right = self.with_(())
            self._cores[0] = [right] if right else []
        if edits not in self._cores:
            with jax.enable_x64(True), np.errstate(all="ignore"):
                self._cores[edits] = [
                    core
                    for parts in combinations(self.parts, edits)
                    for chosen in product(*(self._options[part] for part in parts))
                    if (core := self.with_(chosen))
                ]
        return self._cores[edits]

    def with_(self, chosen: Sequence[tuple[Edit, Option]]) -> Core | None:
        """The equation with these edits; None where they do not fit together."""
        parts = {edit.part: option.part for edit, option in chosen}
        fitted = [(edit, option) for edit, option in chosen if option.more is not None]
        also = parts.pop("also", None)
        also = also if also is None else self._cut(also)
        if len(fitted) > 1:
            return None
        used = tuple(Used(edit, None, option.said) for edit, option in chosen)
        more = constant = None
        try:
            base = equation(self.inputs, self.right | parts)
            if "result" in parts:
                if self.inputs.penalised:
                    base = base + self.inputs.looked_at(Sized.of(self.inputs.penalty))
                base = parts["result"](base)
            for edit, option in fitted:
                if edit.part == "also":
                    constant = self._cut(option.more)
                elif {"after", "result"} & parts.keys():
                    return None
                else:
                    more = equation(self.inputs, self.right | parts | {edit.part: option.more})
        except (TypeError, ValueError, KeyError, IndexError):  # shapes that do not fit
            return None
        if base.value.shape != self.shape or (more and more.value.shape != self.shape):
            return None
        return Core(used, base, more, also, constant, chosen, "result" in parts)

    def _cut(self, array: Numbers) -> Numbers:
        cut: Numbers = self.inputs.looked_at(Sized.of(array)).value
        return cut

    @cached_property
    def whole(self) -> Equation:
        """The equation of all its neurons."""
        if self.inputs.neurons is None:
            return self
        return Equation(replace(self.inputs, neurons=None, before=None))

    def core_of_all(self, core: Core) -> Core:
        """The same edits of all of the neurons."""
        found = core if self.whole is self else self.whole.with_(core.chosen)
        assert found is not None  # as it was of some of them
        return found

    def of_all(self, guess: Guess) -> Sized:
        """What a guess gives in all of the neurons."""
        if self.inputs.neurons is None:
            return guess.value
        core = self.whole.with_(guess.chosen)
        assert core is not None  # as it was of some of them
        return core.made(guess.factors, guess.own, self.whole.inputs)

    # ── Against the subject's numbers ──

    def guesses(self, target: Target, edits: int) -> Iterator[Guess]:
        """So many edits of it that give a target."""
        for free in range(min(edits, 2) + 1):
            for core in self.cores(edits - free):
                yield from self.fitted(core, target, free)

    def fitted(self, core: Core, target: Target, free: int) -> Iterator[Guess]:
        """With so many of its factors free, found by least squares and then looked up."""
        has_penalty = self.inputs.penalised and not core.is_whole
        P = self._cut(self.inputs.penalty) if has_penalty else None
        one_free = [("factor",)] if P is None else [("factor",), ("penalty",), ("whole",)]
        two_free = [] if P is None else [("factor", "penalty")]
        for parts in ([()], one_free, two_free)[free]:
            columns, fixed = self._columns(core, parts, P)
            own = core.more is not None or core.constant is not None
            if len(target.got) > len(columns):
                numbers = _least_squares(target, columns, fixed)
            elif own:
                numbers = None  # too few values to fit that many numbers to
            else:
                yield from self._tried(core, target, parts)
                continue
            if numbers is None:
                continue
            eta = numbers.pop() if own else None
            if eta is not None and core.more and {"factor", "whole"} & set(parts):
                eta /= numbers[0] or 1.0
            yield from self._looked_up(core, target, dict(zip(parts, numbers, strict=True)), eta)

    def _tried(self, core: Core, target: Target, parts: Sequence[str]) -> Iterator[Guess]:
        """Too few values to fit a number to: the usual ones are tried, of two the named ones."""
        choices = [
            [
                (part, pair)
                for pair in self._named(part, core.is_whole)
                if len(parts) == 1 or (pair[0].certain and pair[0] is not _any_factor(part))
            ]
            for part in parts
        ]
        for chosen in product(*choices):
            yield from self._accepted(core, target, dict(chosen), None)

    def _columns(
        self, core: Core, parts: Sequence[str], P: Numbers | None
    ) -> tuple[list[Numbers], Numbers]:
        """What each free number multiplies, and what stands beside them."""
        terms = {"factor": core.base.value, "penalty": 0.0 if P is None else P}
        if "whole" in parts:
            terms = {"whole": terms["factor"] + terms["penalty"]}
        fixed = np.zeros(core.base.value.shape) if core.also is None else core.also
        fixed = fixed + sum(term for part, term in terms.items() if part not in parts)
        own = core.more.value if core.more else core.constant
        columns = [np.asarray(terms[part]) for part in parts]
        return columns + ([] if own is None else [own]), fixed

    def _named(self, part: str, is_whole: bool) -> list[tuple[Edit, float]]:
        """The usual numbers of a part; without a penalty apart, all factors are of the whole."""
        found = self.numbers(part)
        if part == "factor" and (is_whole or not self.inputs.penalised):
            found = found + self.numbers("whole")
        if part == "whole":
            found = found + [pair for pair in self.numbers("factor") if pair[0].name == "factor"]
        return found

    def _looked_up(
        self, core: Core, target: Target, numbers: Mapping[str, float], own: float | None
    ) -> Iterator[Guess]:
        plain = {part: (_any_factor(part), number) for part, number in numbers.items()}
        fitted = list(self._accepted(core, target, plain, own))
        if not fitted or not numbers:
            yield from fitted
            return
        near = [
            [
                (part, (edit, usual))
                for edit, usual in self._named(part, core.is_whole)
                if abs(number - usual) <= 0.1 * abs(usual) + 0.02 * (usual == 0)
            ]
            or [(part, plain[part])]
            for part, number in numbers.items()
        ]
        found = [
            guess
            for chosen in product(*near)
            for guess in self._accepted(core, target, dict(chosen), own)
        ]
        yield from found or fitted

    def _accepted(
        self,
        core: Core,
        target: Target,
        numbers: Mapping[str, tuple[Edit, float]],
        own: float | None,
    ) -> Iterator[Guess]:
        """The guess with these numbers, where it gives the target."""
        factors = {part: number for part, (_, number) in numbers.items()}
        found = core.made(factors, own, self.inputs)
        off = target.off(found)
        if off > 1:
            return
        used = tuple(u._replace(number=own) if u.edit.fits else u for u in core.used)
        used += tuple(Used(edit, number) for edit, number in numbers.values())
        fitted = (own is not None) + sum(option.fitted for _, option in core.chosen)
        for part, pair in numbers.items():
            fitted += pair not in self._named(part, core.is_whole)
        if target.explained(found) > fitted or not (used or target.is_wrong):
            yield Guess(used, found, off, core.chosen, fitted)


def _any_factor(part: str) -> Edit:
    return CATALOGUE["penalty_scaled" if part == "penalty" else "factor"]


def _least_squares(target: Target, columns: Sequence[Numbers], fixed: Numbers) -> Any:
    if not columns:
        return []
    A = np.stack([column[target.told] for column in columns], axis=1)
    rest = target.got - fixed[target.told]
    with np.errstate(all="ignore"):
        if not np.isfinite(A).all():
            return None
        size = np.abs(A).max(axis=0)
        if not size.all():
            return None
        found, _, rank, _ = np.linalg.lstsq(A / size, rest, rcond=1e-12)
        return [float(v) for v in found / size] if rank == len(columns) else None


# ── Histories ────────────────────────────────────────────────────────────────────────────────────


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
        found = self._backwards(self._forwards(self.start))
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
                    self._layer(before, l, most)
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

    def _layer(self, history: History, l: int, most: int) -> list[History]:
        delta = self._delta(l)
        if not self._is_shown(l):
            return self._hidden_layer(history, l, most)
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
        l = place.layer
        return {
            "z": [("a", l - 1)],
            "a": [("z", l)],
            "cost": [("z", l), ("a", l)],
            "BP1": [("z", l), ("a", l)],
            "BP2": [("z", l), ("a", l), ("delta", l + 1)],
            "BP3": [("delta", l)],
            "BP4": [("delta", l), ("a", l - 1)],
        }.get(place.kind, [])

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

    def _hidden_layer(self, history: History, l: int, most: int) -> list[History]:
        """A layer whose δ is not shown, but for what its gradients tell of it."""
        delta, targets = self._delta(l), self._gradients(l)
        inputs = self.seen.inputs(delta, history.arrays)
        right = history
        if self._is_touched(delta, history):
            right = history.with_("delta", l, Equation(inputs).cores(0)[0].base.value)
        wrong = [place for place in targets if not self._is_right(place, right)]
        equation = Equation(self._sampled(inputs, targets))
        if not targets:  # what comes next has to tell
            return [right, *self._untold(history, Equation(inputs), delta)] if most else [right]
        if not wrong:
            return [right]
        for total in range(1, min(most, equation.most) + 1):
            if found := list(self._together(history, equation, targets, total)):
                return found
        if len(wrong) < len(targets):
            return [right.then(*(Step(place) for place in wrong))]
        step = Step(wrong[0] if len(targets) == 1 else delta)
        return [replace(right.then(step), lost=True)]

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
