"""The search for what explains a wrong array: a mistake in sight, one out of sight, a convention.

All of it reads what the judge found. Nothing of the subject's record is judged again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.calls import Call
from manual_bp.diagnosis.mistakes import CATALOGUE, Inputs, Mistake, learning_rate
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop, Place, by_layer
from manual_bp.rounding.arithmetic import FLOAT64_ROUNDOFF, Arithmetic
from manual_bp.subjects.convention import Convention, Scales
from manual_bp.subjects.subject import Subject
from manual_bp.verdicts.judge import Judged

Numbers = np.ndarray[Any, Any]


class Fit(NamedTuple):
    """A mistake that gives the subject's numbers.

    Attributes:
        mistake: of the catalogue.
        places: where it was made.
        off: how far its numbers are from the subject's, in units of what rounding can do.
        eta: η of an update that came too early, where that is the mistake.
    """

    mistake: Mistake
    places: tuple[Place, ...]
    off: float = 0.0
    eta: float | None = None


class Observation(NamedTuple):
    """What the subject was given, in float64, and what the judge found.

    Attributes:
        net, params, x, y: what it was given; x and y as a batch.
        arithmetic: how its numbers were rounded.
        convention, scales: how they are laid out and scaled.
        judged: by place.
        changed: the arguments that it changed while it ran.
    """

    net: Network
    params: Params
    x: Numbers
    y: Numbers
    arithmetic: Arithmetic
    convention: Convention
    scales: Scales
    judged: Mapping[Place, Judged]
    changed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, call: Call, subject: Subject, convention: Convention, judged: Sequence[Judged]
    ) -> Observation:
        """The same in float64, each array as a batch."""
        inputs = call.params, np.atleast_2d(call.x), np.atleast_2d(call.y)
        params, x, y = jax.tree.map(lambda v: np.asarray(v, np.float64), inputs)
        return cls(
            call.net,
            tuple(Layer(W, b) for W, b in params),
            x,
            y,
            subject.arithmetic,
            convention,
            subject.scales,
            {one.place: one for one in judged},
            subject.changed,
        )

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

    def given(self, place: Place) -> Numbers:
        """Which values of an array the subject tells."""
        got = self.judged[place].got
        told = got is not None and (True if got.valid is None else got.valid)
        return np.broadcast_to(np.asarray(told), self.judged[place].truth.shape)

    def inputs(self, place: Place) -> Inputs:
        """What the equation at a place reads: the subject's arrays, or what follows from them."""
        (W, b), shown = by_layer(self.params), self.shown()
        arrays: dict[str, dict[int, Any]] = {quantity: {} for quantity in Backprop._fields}
        for key, one in self.judged.items():
            arrays[key.quantity][key.layer] = shown.get(key, one.truth)
        z, a, delta, dW = (arrays[quantity] for quantity in ("z", "a", "delta", "dW"))
        right = self.judged[place].truth
        return Inputs(
            self.net, place, self.scales, W, b, z, a, delta, dW, self.y, right, shown[place]
        )


# ── A mistake in sight ───────────────────────────────────────────────────────────────────────────


def explanations(seen: Observation, place: Place) -> list[Fit]:
    """The mistakes that give the subject's numbers at a place, to the rounding of their own terms.

    Many are the right value with something done to it: its bound, times as much, is theirs too.
    """
    with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
        return list(_explanations(seen, seen.inputs(place)))


def _explanations(seen: Observation, inputs: Inputs) -> Iterator[Fit]:
    bound, ar = seen.judged[inputs.place].bound, seen.arithmetic
    longest = max(seen.m, *seen.net.sizes)
    unit = ar.gamma(longest) + ar.product * (2 + ar.product) + 40 * (ar.u + FLOAT64_ROUNDOFF)
    for mistake in CATALOGUE.values():
        if inputs.kind not in mistake.kinds:
            continue
        wrong = mistake.result(inputs)
        if wrong is None:
            continue
        size = mistake.result(inputs.size())
        terms = np.abs(wrong) + np.abs(inputs.right)
        if size is not None:
            terms = terms + np.abs(size)
        slack = bound * max(1, _size_over(wrong, inputs.right))
        off = np.abs(inputs.got - wrong) / (unit * terms + slack + longest * ar.tiny)
        if np.isfinite(wrong).all() and off.max() <= 1:
            too_early = mistake.name == "weights_updated_first"
            eta = float(learning_rate(inputs)) if too_early else None
            yield Fit(mistake, (inputs.place,), float(off.max()), eta)


def _size_over(wrong: Any, right: Any) -> float:
    """How many times the right values the largest wrong one is."""
    size = float(np.abs(right).max())
    return float(np.abs(wrong).max()) / size if size else 1.0


# ── A mistake in errors that are not shown ───────────────────────────────────────────────────────


def hidden_explanations(seen: Observation) -> list[Fit]:
    """The mistakes that, made in one layer or else in all, would give all of the arrays given."""
    with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
        right = backprop_with(seen.net, *_on_device(seen), {}, scales=seen.scales)
        right = jax.device_get(right)
        for everywhere in (False, True):
            found = [
                fit
                for mistake in CATALOGUE.values()
                for chosen in _hidden_places(seen, mistake, everywhere)
                if (fit := _explains_all(seen, mistake, chosen, right))
            ]
            if found:
                return found
    return []


def _on_device(seen: Observation) -> tuple[Any, Any, Any]:
    params, x, y = jax.device_put((seen.params, seen.x, seen.y))
    return params, x, y


def _hidden_places(
    seen: Observation, mistake: Mistake, everywhere: bool
) -> list[tuple[Place, ...]]:
    """Where the subject does not show what an equation gives, and others follow from it."""
    hidden = [
        place
        for place in places_for(seen.net, mistake)
        if place.is_per_example and place in seen.judged and seen.judged[place].got is None
    ]
    if not everywhere:
        return [(place,) for place in hidden]
    kinds = [tuple(place for place in hidden if place.kind == kind) for kind in mistake.kinds]
    return [chosen for chosen in kinds if chosen]


def _explains_all(
    seen: Observation, mistake: Mistake, chosen: tuple[Place, ...], right: Backprop
) -> Fit | None:
    """The fit of a mistake that gives all of the subject's arrays; or None."""
    shown = seen.shown()

    def planted(eta: float) -> dict[Place, Numbers]:
        wrong = dict.fromkeys(chosen, mistake)
        record = backprop_with(seen.net, *_on_device(seen), wrong, eta, seen.scales)
        return {place: np.asarray(record.at(place), np.float64) for place in shown}

    eta = None
    try:
        wrong = planted(1.0)
        if mistake.name == "weights_updated_first":
            # In the gradients of the first layer on the way back that has it, η is linear.
            top = max(place.layer for place in chosen)
            first = [place for place in shown if place.layer == top]
            told = {p: seen.given(p) for p in first}
            change = np.concatenate([(wrong[p] - right.at(p))[told[p]] for p in first])
            off = np.concatenate([(shown[p] - right.at(p))[told[p]] for p in first])
            length = float(change @ change)
            eta = float(off @ change) / length if length else 0.0
            wrong = planted(eta)
    except ValueError:  # the network has no room for it, or nothing of that layer is given
        return None
    # The bounds are those of the right computation; larger wrong numbers round as much more.
    for place, got in shown.items():
        slack = 4 * seen.judged[place].bound * max(1, _size_over(wrong[place], right.at(place)))
        if not (np.abs(got - wrong[place]) <= slack)[seen.given(place)].all():
            return None
    return Fit(mistake, chosen, eta=eta)


# ── Another convention ───────────────────────────────────────────────────────────────────────────


class Wrong(NamedTuple):
    """What is wrong in a scale.

    Attributes:
        places: which.
        values: how many.
    """

    places: set[Place]
    values: int


def wrong_in(judged: Sequence[Judged], declared: Scales, other: Scales) -> Wrong:
    """What disagrees in another scale than the one that was judged in, from its judgement.

    What follows from the errors δ that the subject shows scales as BP3 and BP4 do; what follows
    from those that it does not show, as δ itself.
    """
    # How many times the δ that each equation reads changes: not at all where it is shown.
    carried: dict[int, float] = {}
    places: set[Place] = set()
    values = 0
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
        slack = max(1.0, abs(factor))
        wrong = ~(
            np.abs(one.got.value - (factor * (one.truth - before) + after)) <= slack * one.bound
        )
        if one.otherwise is not None:
            value, bound = one.otherwise
            wrong &= ~(np.abs(one.got.value - factor * value) <= slack * bound)
        if one.got.valid is not None:
            wrong &= one.got.valid
        count = int(np.count_nonzero(wrong))
        values += count
        places |= {place} if count else set()
    return Wrong(places, values)


def likely_scales(net: Network) -> tuple[float, ...]:
    """The factors that costs are written with: ½, the mean over the outputs, and both."""
    n = net.sizes[-1]
    return tuple(dict.fromkeys((1.0, 2.0, 0.5, 1 / n, 2 / n, 1 / (2 * n))))
