"""What explains gradients without an edit of an operation: rows, outputs, factors, exchanges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import jax
import numpy as np

from manual_bp.any_gradient.edited import EditedPrograms, Kept
from manual_bp.any_gradient.fit import ENOUGH, Explanation, Fit, Gradients
from manual_bp.any_gradient.operations import NAMES
from manual_bp.record import Place
from manual_bp.text import listed
from manual_bp.verdicts.rows import Numbers

MOST_ROWS = 64


@dataclass
class Parts:
    """What may be wrong with whole gradients, or with parts of them or of the cotangent."""

    fit: Fit
    edited: EditedPrograms

    # ── Whole gradients ──────────────────────────────────────────────────────────────────────

    def absent(self) -> Explanation | None:
        """Gradients that are nothing but zeros."""
        places = tuple(place for place in self.fit.wrong if not self.fit.shown(place).any())
        return _explanation("gradient_missing", places) if places else None

    def exchanged(self) -> Explanation | None:
        """Two gradients of one shape, each given for the other."""
        truth = self.fit.standard.truth
        for pair in combinations(self.fit.wrong, 2):
            if truth[pair[0]].shape != truth[pair[1]].shape:
                continue
            swapped = dict(zip(pair, reversed(pair), strict=True))
            values = {place: self.fit.at({place: truth[other]}, place)
                      for place, other in swapped.items()}  # fmt: skip
            if all(self.fit.explains(place, values[place]) is not None for place in pair):
                return _explanation("gradients_exchanged", pair)
        return None

    def of_the_whole(self) -> Iterator[Explanation]:
        """A factor of every gradient; a cotangent that was not used; a factor for each output."""
        fit = self.fit
        for truth, name in ((self._of_ones, "cotangent_ignored"), (fit.truth, "")):
            scale = fit.best_scale(fit.wrong, truth)
            if not scale or (not name and abs(scale - 1) < 1e-9):
                continue
            if scale not in fit.known.words and self._values < ENOUGH:
                continue
            label = name or ("gradient_negated" if scale == -1 else "gradient_scaled")
            words = NAMES[label][0].replace("{scale}", fit.known.told(scale))
            if name and scale != 1:
                words += f", times {fit.known.told(scale)}"
            values = {place: scale * one for place, one in truth.items()}
            if found := fit.explained((label,), (words,), ("",), values):
                yield found
                return
        yield from self._of_outputs()

    def _of_outputs(self) -> Iterator[Explanation]:
        """What comes back from each output times a number of its own."""
        fit, count = self.fit, len(self._cotangents)
        if count < 2 or self._values < ENOUGH * count:
            return
        parts = [
            self._for_cotangent([one if i == j else 0 * one
                                 for j, one in enumerate(self._cotangents)])
            for i in range(count)
        ]  # fmt: skip
        weighted = {place: 1 / fit.bound[place] for place in fit.wrong}
        matrix = np.concatenate(
            [np.stack([part[place] for part in parts], axis=1) * weight[:, None]
             for place, weight in weighted.items()]
        )  # fmt: skip
        got = np.concatenate([fit.got[place] * weight for place, weight in weighted.items()])
        if not np.isfinite(matrix).all():
            return
        shown = np.abs(matrix).max(axis=0) > 1  # of the others nothing is known
        scales = np.ones(count)
        scales[shown] = np.linalg.lstsq(matrix[:, shown], got, rcond=None)[0]
        scales = np.array([fit.known.nearest(float(scale)) for scale in scales])
        values = {place: np.stack([part[place] for part in parts], axis=1) @ scales
                  for place in fit.judged}  # fmt: skip
        if not (scales != 1).any():
            return
        told = listed(
            f"{fit.known.told(float(scales[i]))} (output {i})" for i in np.flatnonzero(scales != 1)
        )
        words = f"what comes back from an output is multiplied by {told}"
        if found := fit.explained(("gradient_scaled",), (words,), ("",), values):
            yield found

    @property
    def _values(self) -> int:
        return sum(self.fit.truth[place].size for place in self.fit.wrong)

    # ── The cotangent ────────────────────────────────────────────────────────────────────────

    @cached_property
    def _cotangents(self) -> list[Numbers]:
        return [np.asarray(one, np.float64) for one in
                jax.tree.leaves(self.fit.reference.cotangent)]  # fmt: skip

    @cached_property
    def _of_ones(self) -> Gradients:
        return self._for_cotangent([np.ones_like(one) for one in self._cotangents])

    def _for_cotangent(self, cotangent: Sequence[Any]) -> Gradients:
        with jax.enable_x64(True):
            inputs = [*cotangent, *self.fit.reference.inputs[len(cotangent) :]]
            return self.fit.sampled(self.edited.run_plain(inputs))

    def rows_of_the_cotangent(self, place: Place) -> Iterator[Explanation]:
        """Rows or columns of the cotangent that are left out; of several, the same of each."""
        fit, full = self.fit, self._cotangents
        for which in dict.fromkeys([(0,), tuple(range(len(full)))]):
            for kind, _ in _lines_of(full[0].ndim):
                masks = [_masks(full[i], kind) for i in which]
                if min(map(len, masks)) < 2 or sum(map(len, masks)) > MOST_ROWS:
                    continue
                lines = [(i, n) for i, some in zip(which, masks, strict=True)
                         for n in range(len(some))]  # fmt: skip
                parts = [
                    self._for_cotangent([one * masks[which.index(i)][n] if i == j else 0 * one
                                         for j, one in enumerate(full)])[place]
                    for i, n in lines
                ]  # fmt: skip
                rest = fit.truth[place] - sum(parts)
                shares = self._shares(place, np.stack(parts, axis=1), rest)
                lost = [line for line, share in zip(lines, shares, strict=True) if share == 0]
                kept = set(shares) <= {0.0, 1.0} and 0 < len(lost) < len(lines)
                values = rest + np.stack(parts, axis=1) @ shares
                if kept and fit.explains(place, values) is not None:
                    yield self._lost(lost, kind, place)
                    return

    def _shares(self, place: Place, parts: Numbers, rest: Numbers) -> Numbers:
        """How often each part is there, to a whole number; of what cannot be seen, once."""
        weight = 1 / self.fit.bound[place]
        matrix = parts * weight[:, None]
        shown, shares = np.abs(matrix).max(axis=0) > 1, np.ones(parts.shape[1])
        got = (self.fit.got[place] - rest - parts[:, ~shown].sum(axis=1)) * weight
        if np.isfinite(matrix).all() and shown.any():
            shares[shown] = np.round(np.linalg.lstsq(matrix[:, shown], got, rcond=None)[0])
        return shares

    def _lost(self, lost: Sequence[tuple[int, int]], kind: str, place: Place) -> Explanation:
        if len(self._cotangents) == 1:
            return _of_rows("of the cotangent", kind, [n for _, n in lost], place)
        outputs = dict.fromkeys(i for i, _ in lost)
        told = listed(_numbered(kind, [n for j, n in lost if i == j]) + f" (output {i})"
                      for i in outputs)  # fmt: skip
        words = NAMES["rows_missing"][0].replace("{}", f"{told} of the cotangent")
        words = words.replace("{are}", "is" if len(lost) == 1 else "are")
        return Explanation(("rows_missing",), (words,), ("",), (place,))

    # ── Rows of a gradient ───────────────────────────────────────────────────────────────────

    def by_row(self, place: Place) -> Iterator[Explanation]:
        """Each row or column times a number of its own, which the reference computes on its way."""
        fit = self.fit
        got, truth = fit.shown(place), fit.standard.truth[place]
        bound = np.broadcast_to(fit.standard.bound(place, "float64"), truth.shape)
        for kind, axes in _lines_of(truth.ndim):
            others = tuple(i for i in range(truth.ndim) if i not in axes)
            with np.errstate(all="ignore"):
                above = (got * truth).sum(others, keepdims=True)
                ratio = above / np.square(truth).sum(others, keepdims=True)
            ratio = np.where(np.isfinite(ratio), ratio, 1.0)  # a row of zeros is any times itself
            if not others or ratio.size < 2 or not self._is_scaled(place, truth, ratio):
                continue
            moved = (np.abs(truth * (ratio - 1)) > bound).any(axis=others)
            flat = ratio.reshape(-1)
            kept = np.abs(flat - 1) < 1e-3
            lost = [int(n) for n in np.flatnonzero(np.abs(flat) < 1e-3)]
            if lost and len(lost) + kept.sum() == flat.size:
                yield _of_rows("of the gradient", kind, lost, place)
                return
            made = self._made_of(place, truth, ratio)
            if made or 2 * moved.sum() > moved.size:  # of a few rows it would be no rule
                words = NAMES["rows_scaled"][0].replace("{}", kind)
                yield from made or [_explanation("rows_scaled", (place,), words)]

    def _is_scaled(self, place: Place, truth: Numbers, ratio: Numbers) -> bool:
        """Whether the right values times these numbers explain what is there."""
        wide = np.broadcast_to(ratio, truth.shape)
        values, scale = (self.fit.at({place: one}, place) for one in (truth * ratio, wide))
        return self.fit.explains(place, values, scale) is not None

    def _made_of(self, place: Place, truth: Numbers, ratio: Numbers) -> list[Explanation]:
        """What on the way of the reference such numbers are, or one over them."""
        found = []
        for eqn, what, value in self._on_the_way:
            if value.size != ratio.size:
                continue
            for power in (-1, 1):
                with np.errstate(all="ignore"):
                    factor = value.reshape(ratio.shape) ** power
                    near = bool((np.abs(factor / ratio - 1) < 0.5).all())
                if near and self._is_scaled(place, truth, factor):
                    divides = eqn is not None and eqn.outvars[0] in self.edited.divisors
                    name = "factor_left_out" if (power == 1) == divides else "factor_twice"
                    found.append(_explanation(name, (place,), line=what))
        return found[-1:]  # the last one is what was meant by those before it

    @cached_property
    def _on_the_way(self) -> list[Kept]:
        return self.edited.on_the_way(self.fit.reference)


def _explanation(
    name: str, places: Sequence[Place], words: str = "", line: str = ""
) -> Explanation:
    words = words or NAMES[name][0].replace("{}", line)
    return Explanation((name,), (words,), (line,), tuple(places))


def _of_rows(whose: str, kind: str, lost: Sequence[int], place: Place) -> Explanation:
    """Rows or columns that are left out, of the cotangent or of the gradient itself."""
    words = NAMES["rows_missing"][0].replace("{}", f"{_numbered(kind, lost)} {whose}")
    return _explanation(
        "rows_missing", (place,), words.replace("{are}", "is" if len(lost) == 1 else "are")
    )


def _numbered(kind: str, numbers: Sequence[int]) -> str:
    return f"{kind} {numbers[0]}" if len(numbers) == 1 else f"{kind}s {_in_short(numbers)}"


def _lines_of(ndim: int) -> list[tuple[str, tuple[int, ...]]]:
    """What a line of an array may be, and the axes that number them."""
    if ndim == 0:
        return []
    if ndim == 1:
        return [("element", (0,))]
    first, last = (0,), (ndim - 1,)
    rows = tuple(range(ndim - 1))
    lines = {rows: "row", last: "column", first: "example" if ndim > 2 else "row"}
    return [(kind, axes) for axes, kind in lines.items() if axes]


def _masks(array: Numbers, kind: str) -> list[Numbers]:
    """For each line of an array of some kind, where it is; an array of one axis has elements."""
    lines = dict(_lines_of(array.ndim))
    axes = lines.get(kind) or lines.get("row") or lines.get("element") or ()
    shape = [n if i in axes else 1 for i, n in enumerate(array.shape)]
    count = int(np.prod(shape))
    if count > MOST_ROWS:
        return []
    return [(np.arange(count) == n).reshape(shape) for n in range(count)]


def _in_short(numbers: Sequence[int]) -> str:
    if numbers[-1] - numbers[0] == len(numbers) - 1 > 0:
        return f"{numbers[0]} to {numbers[-1]}"
    return listed(map(str, numbers[:8])) + (" and more" if len(numbers) > 8 else "")
