"""Arguments on which a mistake shows that arguments of unit size, centred and distinct, hide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from manual_bp.record import GRADIENT
from manual_bp.rounding.operations import equations, is_float
from manual_bp.subjects.gradients import Obtained, Reference, obtained_from
from manual_bp.verdicts.rows import Numbers

SMALL = (1e-14, 1e-2)  # a constant within them, added to something, is an ε
CHOOSES = {"reduce_max", "reduce_min", "max", "min", "sort", "argmax", "argmin", "cummax", "top_k"}


@dataclass(frozen=True)
class Sensitive:
    """A reference at other arguments.

    Attributes:
        reference: there.
        words: what is special about them.
        shows: what shows on them.
        tied: the same as a function in which two equal values are one, where they are equal.
    """

    reference: Reference
    words: str
    shows: str
    tied: Reference | None = None

    def obtained(self, subject: Any) -> Obtained:
        """What a subject gives there. Of two equal values' shares of an error, their sum."""
        found = obtained_from(self.reference, subject)
        if self.tied is None:
            return found
        arrays = {place: _with_columns_added(array) if place.equation == GRADIENT else array
                  for place, array in found.arrays.items()}  # fmt: skip
        return found._replace(arrays=arrays)


def sensitive_inputs(reference: Reference) -> Iterator[Sensitive]:
    """Those that a reference calls for: where it adds an ε, takes a mean away, or chooses."""
    with jax.enable_x64(True):
        operations = equations(reference.forward_program)
    used = {eqn.primitive.name for eqn in operations}
    epsilon, centres = _epsilon(operations), {"reduce_sum", "sub"} <= used
    parts = [f"as small as √{epsilon:g}"] if epsilon else []
    parts += ["off centre by their own size"] if centres else []
    shows = " or ".join(["a wrong ε"] * bool(epsilon) + ["a lost mean"] * centres)
    if parts:
        words = f"some rows and columns {' and others '.join(parts)}"
        change = lambda one: _with_small_parts(_shifted(one, centres), epsilon)  # noqa: E731
        yield Sensitive(_changed(reference, change), words, shows)
    if used & CHOOSES:
        there = _changed(reference, _with_ties)
        words = "each row's largest value there twice"
        yield Sensitive(there, words, "what is done with ties", _with_one_column(there))


def _with_one_column(reference: Reference) -> Reference:
    """The function whose second column is the first, so that what comes back to it adds up there.

    How an error is shared among equal values is anybody's choice; the sum is not.
    """

    @wraps(reference.function)
    def function(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        for i in reference.wanted:
            if _has_columns(leaves[i]):
                leaves[i] = leaves[i].at[..., 1].set(leaves[i][..., 0])
        return reference.function(*jax.tree.unflatten(structure, leaves))

    return replace(reference, function=function)


def _with_columns_added(gradient: Numbers) -> Numbers:
    if not _has_columns(gradient):
        return gradient
    added = gradient.copy()
    added[..., 0] += added[..., 1]
    added[..., 1] = 0
    return added


def _changed(reference: Reference, change: Callable[[Numbers], Numbers]) -> Reference:
    """At arguments that are changed, in their own formats."""

    def of(leaf: Any) -> Any:
        changed = change(np.array(leaf, np.float64)).astype(leaf.dtype)
        return jnp.asarray(changed) if isinstance(leaf, jax.Array) else changed

    return reference.at(
        [of(leaf) if i in reference.wanted else leaf for i, leaf in enumerate(reference.leaves)]
    )


def _epsilon(operations: list[Any]) -> float | None:
    """The largest small constant that is added to something."""
    found = [
        float(atom.val)
        for eqn in operations
        if eqn.primitive.name in ("add", "max")
        for atom in eqn.invars
        if isinstance(atom, Literal) and is_float(atom.aval) and np.ndim(atom.val) == 0
    ]
    return max((value for value in found if SMALL[0] <= value <= SMALL[1]), default=None)


def _has_columns(array: Any) -> bool:
    return bool(array.ndim > 1 and array.shape[-1] > 1)


def _size(array: Numbers) -> float:
    """The usual size of a value."""
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0


def _with_small_parts(array: Numbers, epsilon: float | None) -> Numbers:
    """The same with every third row and every third column scaled down to √ε."""
    if epsilon is not None and array.ndim > 1 and (size := _size(array)):
        array[1::3] *= np.sqrt(epsilon) / size
        array[..., 1::3] *= np.sqrt(epsilon) / size
    return array


def _shifted(array: Numbers, centres: bool) -> Numbers:
    """The same with other rows and columns moved up by their own size."""
    if centres and array.ndim > 1:
        size = _size(array)
        array[2::3] += size
        array[..., 2::3] += size
    return array


def _with_ties(array: Numbers) -> Numbers:
    """The same with the first two of each row as large as its largest."""
    if _has_columns(array):
        array[..., :2] = array.max(axis=-1, keepdims=True)
    return array
