"""An explanation: which edits, at which places, one way or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from manual_bp.diagnosis.edits import Edit
from manual_bp.record import Place


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
        of_all: whether the same happens to the l2 terms of all gradients.
    """

    place: Place
    used: tuple[Used, ...]
    off: float = 0.0
    of_all: bool = False

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
