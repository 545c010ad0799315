"""A reference's own programs, run in float64 with one of their operations wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn, Literal

from manual_bp.any_gradient.operations import Edit, Way, described, edits_of, exchanges_of
from manual_bp.rounding.certificate import Exactly, Seed, run
from manual_bp.rounding.operations import bind, equations, is_float
from manual_bp.subjects.gradients import Reference
from manual_bp.verdicts.rows import Numbers


class Edited(NamedTuple):
    """A program run with one edit.

    Attributes:
        ways: those of each operation, by its identity, with their numbers.
        chosen: the number of the edit that is made.
        other: by how much, where it is a scale; or what is taken for an operand.
    """

    ways: Mapping[int, Sequence[tuple[int, Way]]]
    chosen: Array
    other: Array

    def constant(self, value: Any, seed: Seed) -> Any:
        """A number of the program."""
        return value

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""
        out = bind(eqn, inputs)
        for number, way in self.ways.get(id(eqn), ()):
            wrong = way.result(inputs, out[0], self.other)
            out = [jnp.where(self.chosen == number, wrong, out[0])]
        return out

    def plain(self, value: Any) -> Array:
        """The value as an array."""
        return jnp.asarray(value)


class Keeping(Exactly):
    """A program run with every result kept."""

    def __init__(self, kept: list[tuple[JaxprEqn, Any]]) -> None:
        self.kept = kept

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""
        out = bind(eqn, inputs)
        self.kept += [(eqn, value) for value in out if is_float(value)]
        return out


class Kept(NamedTuple):
    """An array that a program is given, or computes on its way.

    Attributes:
        eqn: what computes it; None for an argument.
        what: its name, or the line that computes it.
        value: in float64.
    """

    eqn: JaxprEqn | None
    what: str
    value: Numbers


@dataclass(frozen=True, eq=False)
class _Program:
    """A program with its edits by number."""

    program: Any
    edits: Sequence[tuple[JaxprEqn, Edit]]

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
        self.reference, self.wanted = reference, reference.wanted
        self.cotangents = len(jax.tree.leaves(reference.cotangent))
        self.backward = _Program(reference.program, edits_of(reference.program, self.cotangents))
        self.forward = _Program(reference.forward_program, edits_of(reference.forward_program))
        self._exchanged: dict[tuple[int, ...], tuple[_Program, Any]] = {}

    @cached_property
    def run_plain(self) -> Any:
        """The value and the gradients."""
        program = self.backward.program
        return jax.jit(lambda inputs: run(program, inputs, Exactly()))

    @cached_property
    def run_backward(self) -> Any:
        """The same with an edit of the backward program."""
        return self._compiled(self.backward)

    @cached_property
    def run_forward(self) -> Any:
        """The same with an edit of the function, which is differentiated then."""
        program, ways = self.forward.program, self.forward.ways

        @jax.jit
        def edited(chosen: Any, other: Any, inputs: Any) -> Any:
            leaves = list(inputs[self.cotangents :])

            def function(*floats: Any) -> Any:
                for i, leaf in zip(self.wanted, floats, strict=True):
                    leaves[i] = leaf
                return run(program, leaves, Edited(ways, chosen, other))

            values, pull = jax.vjp(function, *(leaves[i] for i in self.wanted))
            return [*values, *pull(list(inputs[: self.cotangents]))]

        return edited

    def exchanging(self, shape: tuple[int, ...]) -> tuple[_Program, Any]:
        """The backward program's factors of a shape, and it run with another array for one."""
        if shape not in self._exchanged:
            program = self.backward.program
            edits = _Program(program, exchanges_of(program, self.cotangents, shape))
            self._exchanged[shape] = edits, self._compiled(edits)
        return self._exchanged[shape]

    def _compiled(self, edits: _Program) -> Any:
        @jax.jit
        def edited(chosen: Any, other: Any, inputs: Any) -> Any:
            return run(edits.program, inputs, Edited(edits.ways, chosen, other))

        return edited

    def on_the_way(self, reference: Reference, *, backward: bool = False) -> list[Kept]:
        """The arguments, and what the reference computes of them; loops are left out."""
        cotangents = jax.tree.leaves(reference.cotangent)
        given = [(reference.names[i], leaf) for i, leaf in enumerate(reference.leaves)
                 if i in reference.wanted]  # fmt: skip
        if backward:
            given = [*(("the cotangent", one) for one in cotangents), *given]
        program = self.backward.program if backward else self.forward.program
        inputs = reference.inputs if backward else reference.inputs[len(cotangents) :]
        keeping = Keeping([])
        with jax.enable_x64(True):
            run(program, inputs, keeping)
            computed = [
                Kept(eqn, described(eqn), np.asarray(value, float))
                for eqn, value in keeping.kept
                if not isinstance(value, jax.core.Tracer)
            ]
        return [*(Kept(None, what, np.asarray(one, float)) for what, one in given), *computed]

    @cached_property
    def divisors(self) -> set[Any]:
        """What the reference divides by."""
        divisions = (eqn for eqn in equations(self.forward.program) if eqn.primitive.name == "div")
        return {eqn.invars[1] for eqn in divisions if not isinstance(eqn.invars[1], Literal)}
