"""One equation with edits in it, and its factors fitted to a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.diagnosis.edits import CATALOGUE, Edit, Option
from manual_bp.diagnosis.equations import Inputs, equation, right_parts
from manual_bp.diagnosis.explanation import Used
from manual_bp.diagnosis.observation import Target
from manual_bp.diagnosis.sharded import edits_for
from manual_bp.rounding.sized import Sized

Numbers = np.ndarray[Any, Any]
MULTIPLIERS = ("factor", "penalty", "whole")


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
        clip: the edit that clips it, as an option.
    """

    used: tuple[Used, ...]
    base: Sized
    more: Sized | None = None
    also: Numbers | None = None
    constant: Numbers | None = None
    chosen: Sequence[tuple[Edit, Option]] = ()
    is_whole: bool = False
    clip: Option | None = None

    def made(self, factors: Mapping[str, float], own: float | None, inputs: Inputs) -> Sized:
        """With its factors, by part, and with its own number, η or c."""
        whole = factors.get("whole", 1.0)
        k = factors.get("factor", 1.0) * whole
        found = k * self.base
        if inputs.penalised and not self.is_whole:
            times = factors.get("penalty", 1.0) * whole
            found = found + times * inputs.penalty_looked_at
        if self.more is not None and own is not None:
            found = found + k * own * self.more
        if self.constant is not None and own is not None:
            found = found + own * Sized.of(self.constant)
        if self.also is not None:
            found = found + Sized.of(self.also)
        if self.clip is not None:
            found = _clipped(found, self.clip)
        return found


class Equation:
    """One equation of given inputs, with every edit that there is room for, or with those given."""

    def __init__(
        self,
        inputs: Inputs,
        shape: tuple[int, ...] | None = None,
        made: Sequence[tuple[Edit, Option]] | None = None,
    ) -> None:
        self.inputs, self._made = inputs, made
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
        every = (
            (edit, option)
            for edit in edits_for(self.inputs)
            for option in edit.made_in(self.inputs)
        )
        for edit, option in every if self._made is None else self._made:
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
        parts = {edit.part: option.part for edit, option in chosen if edit.part != "clip"}
        clip = next((option for edit, option in chosen if edit.part == "clip"), None)
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
                    base = base + self.inputs.penalty_looked_at
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
        if clip and self.inputs.got is None and self.inputs.kind in ("BP1", "BP2"):
            base, clip = _clipped(base, clip), None  # so that what follows from δ is of this
        if base.value.shape != self.shape or (more and more.value.shape != self.shape):
            return None
        return Core(used, base, more, also, constant, chosen, "result" in parts, clip)

    def _cut(self, array: Numbers) -> Numbers:
        cut: Numbers = self.inputs.looked_at(Sized.of(array)).value
        return cut

    @cached_property
    def whole(self) -> Equation:
        """The equation of all its neurons."""
        if self.inputs.neurons is None:
            return self
        return Equation(replace(self.inputs, neurons=None, before=None))

    def core_of_all(self, of: Core | Guess) -> Core:
        """The same edits of all of the neurons."""
        if isinstance(of, Core) and self.whole is self:
            return of
        found = self.whole.with_(of.chosen)
        assert found is not None  # as it was of some of them
        return found

    def of_all(self, guess: Guess) -> Sized:
        """What a guess gives in all of the neurons."""
        if self.inputs.neurons is None:
            return guess.value
        return self.core_of_all(guess).made(guess.factors, guess.own, self.whole.inputs)

    # ── Against the subject's numbers ──

    def guesses(self, target: Target, edits: int) -> Iterator[Guess]:
        """So many edits of it that give a target."""
        for free in range(min(edits, 2) + 1):
            for core in self.cores(edits - free):
                yield from self.fitted(core, target, free)

    def fitted(self, core: Core, target: Target, free: int) -> Iterator[Guess]:
        """With so many of its factors free, found by least squares and then looked up."""
        shapes = {core.base.value.shape} | ({core.also.shape} if core.also is not None else set())
        if shapes != {target.told.shape}:
            return  # an array of a shape that these edits do not give
        has_penalty = self.inputs.penalised and not core.is_whole
        P = self.inputs.penalty_looked_at.value if has_penalty else None
        kept = target if core.clip is None else target.below(core.clip.part)
        if not kept.got.size:
            return
        one_free = [("factor",)] if P is None else [("factor",), ("penalty",), ("whole",)]
        two_free = [] if P is None else [("factor", "penalty")]
        for parts in ([()], one_free, two_free)[free]:
            columns, fixed = self._columns(core, parts, P)
            own = core.more is not None or core.constant is not None
            if len(kept.got) > len(columns):
                numbers = _least_squares(kept, columns, fixed)
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
        usual = {
            part: [
                (edit, k)
                for edit, k in self._named(part, core.is_whole)
                if abs(number - k) <= 0.1 * abs(k) + 0.02 * (k == 0)
            ]
            for part, number in numbers.items()
        }
        for unusual in range(len(numbers)):  # as few of them as can be
            found = [
                guess
                for plainly in combinations(numbers, unusual)
                for pairs in product(*([plain[p]] if p in plainly else usual[p] for p in numbers))
                for guess in self._accepted(
                    core, target, dict(zip(numbers, pairs, strict=True)), own
                )
            ]
            if found:
                yield from found
                return
        yield from fitted

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
        more = len(used) - 1 if fitted else 0  # each edit beside a fitted number is one more chance
        if target.explained(found) > fitted + more or not (used or target.is_wrong):
            yield Guess(used, found, off, core.chosen, fitted)


def _clipped(found: Sized, at: Option) -> Sized:
    return Sized(np.clip(found.value, -at.part, at.part), found.size)


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
