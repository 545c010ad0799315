"""What is seen of a subject, and when other numbers than the right ones explain an array of its.

An explanation is accepted where it gives the numbers to the rounding of its own terms, differs from
what is right by more than that, and has fewer fitted numbers than values that it explains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.calls import Call
from manual_bp.diagnosis.equations import Inputs, Shards
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop, Place, by_layer
from manual_bp.rounding.arithmetic import FLOAT64_ROUNDOFF, Arithmetic
from manual_bp.rounding.sized import Sized
from manual_bp.subjects.convention import Convention, Scales
from manual_bp.subjects.subject import Subject
from manual_bp.verdicts.judge import Judged

Numbers = np.ndarray[Any, Any]
CLEAR = 4  # times the tolerance: what an explanation has to explain at the least
NEAR = 16  # times nearer to its explanation than to what is right


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
        norms: ‖·‖ of each gradient as it should be, by place.
        shards: over how many devices its step is split.
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
    norms: Mapping[Place, float] = MappingProxyType({})
    shards: Shards = Shards()

    @classmethod
    def of(
        cls,
        call: Call,
        subject: Subject,
        convention: Convention,
        judged: Sequence[Judged],
        wrong: Sequence[Place],
        shards: Shards = Shards(),  # noqa: B008 (a tuple)
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
        norms = {
            place: float(np.linalg.norm(one.truth))
            for place, one in by_place.items()
            if place.quantity in ("dW", "db")
        }
        how = subject.changed, subject.is_update, norms, shards
        return cls(call.net, params, x, y, *seen, misfits, *how)

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
        if place.kind == "x":
            arrays = {**arrays, "a": {0: self.x}}
        return Inputs.reading(
            place, arrays, net=self.net, scales=self.scales, W=W, b=b, y=self.y, got=got,
            after=self.after, norms=self._norms(place), shards=self.shards,
        )  # fmt: skip

    def _norms(self, place: Place) -> tuple[float, ...]:
        """Of all gradients together, and of the one at a place."""
        of_all = math.hypot(*self.norms.values())
        return (of_all, self.norms[place]) if place in self.norms else (of_all,)

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

    def below(self, level: float) -> Target:
        """Its values that are clearly smaller than a level."""
        small = np.abs(self.got) < level * (1 - 1e-4)
        told = self.told.copy()
        told[told] = small
        kept = self.got[small], self.right[small], self.bound[small], told
        return self._replace(**dict(zip(("got", "right", "bound", "told"), kept, strict=True)))

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
        if value.value.shape != self.told.shape:
            return float("inf")
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
        if value.value.shape != self.told.shape:
            return 0
        with np.errstate(all="ignore"):
            size = self.unit * value.size[self.told] + self.least
            size = size + (self.bound if self.slack == 1 else 0)
            rest = np.abs(self.got - value.value[self.told])
            return int(
                (np.abs(self.got - self.right) > np.maximum(CLEAR * size, NEAR * rest)).sum()
            )


def _length(array: Numbers) -> float:
    return float(np.sqrt((array * array).sum()))
