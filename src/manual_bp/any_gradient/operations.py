"""What people get wrong in one operation of a backward pass: the edits of JAX's operations."""

import linecache
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from manual_bp.rounding.certificate import COMPARISONS
from manual_bp.rounding.operations import (
    FUNCTIONS,
    aval_of,
    bind,
    equations,
    inner_programs,
    is_float,
)

LONGEST = 70  # of a line, so many letters are shown
MOVES = ("convert_element_type", "broadcast_in_dim", "reshape", "transpose", "copy", "squeeze")


Result = Callable[[Sequence[Any], Any, Array], Any]


class Way(NamedTuple):
    """One way to get one operation wrong.

    Attributes:
        name: in the catalogue.
        words: what is wrong, with {} for the operation.
        result: (inputs, output, scale) -> what comes out then.
        scaled: whether the edit is a scale of the result, which has to be found.
    """

    name: str
    words: str
    result: Result
    scaled: bool = False


NAMES: Mapping[str, tuple[str, str]] = {
    "term_missing": (
        "what goes back through {} is missing",
        "Add the error that comes back along this path.",
    ),
    "term_twice": ("what goes back through {} is counted twice", "Add it once."),
    "term_negated": ("what goes back through {} has the wrong sign", "Change its sign."),
    "term_scaled": ("what goes back through {} is {scale} times what it should be", "Scale it."),
    "gradient_scaled": ("everything is {scale} times what it should be", "Look for a lost factor."),
    "gradient_negated": ("everything has the wrong sign", "Change the sign."),
    "factor_left_out": ("a factor of {} is left out", "Multiply by it."),
    "term_left_out": ("a term of {} is left out", "Add it."),
    "factor_twice": ("a factor of {} is there once too often", "Leave one out."),
    "rows_scaled": ("each {} is multiplied by a number of its own", "Look for a factor by row."),
    "slope_left_out": ("the slope of the function in {} is left out", "Multiply by it."),
    "function_left_out": ("{} is left out", "Apply it."),
    "sign_swapped": ("in {} there is + for −, or − for +", "Change the sign."),
    "operands_swapped": ("the operands of {} are swapped", "Swap them."),
    "operand_transposed": ("an operand of {} is transposed", "Transpose it back."),
    "kernel_not_flipped": ("the kernel of {} is flipped, or is not", "Flip the kernel."),
    "constant_changed": ("the constant {old} in {} is {new}", "Take the same constant."),
    "count_off_by_one": ("the count {old} in {} is {new}", "Take the same count."),
    "epsilon_outside_root": ("in {} ε is added to the root, not inside it", "Move ε inside."),
    "mask_missing": ("the mask of {} is left out", "Mask what comes back as well."),
    "mask_inverted": ("the mask of {} is the other way round", "Swap its two sides."),
    "mask_off_by_one": ("the mask of {} is off by one", "Compare as the reference does."),
    "index_off_by_one": ("the index of {} is one too high or too low", "Count from 0."),
    "overwritten": ("in {} what falls on one place overwrites what is there", "Add it up."),
    "factor_exchanged": ("{other} stands for a factor of {}", "Take the factor itself."),
    "gradients_exchanged": ("each of them is given for the other", "Give them in their order."),
    "gradient_missing": ("no error comes back to it", "Compute it, or stop asking for it."),
    "rows_missing": ("{} {are} left out", "Go over all of them."),
    "cotangent_ignored": ("the cotangent is taken for ones", "Multiply by the cotangent."),
}
"""Each name with what is wrong and the fix; {} stands for the operation and its line."""


class Edit(NamedTuple):
    """A way to get one operation wrong, in one program.

    Attributes:
        way: which.
        operation: its line in the reference, or its name, for a sentence.
    """

    way: Way
    operation: str

    def words(self, name: str = "", scale: str = "") -> str:
        """What is wrong; under another name where a scale has one of its own."""
        words = NAMES[name][0] if name else self.way.words or NAMES[self.way.name][0]
        return words.replace("{}", self.operation).replace("{scale}", scale)


def edits_of(program: ClosedJaxpr, cotangents: int = 0) -> list[tuple[JaxprEqn, Edit]]:
    """Every edit of every operation.

    What depends on the first inputs, which are cotangents, may also be scaled, by any number.
    """
    found = []
    made_by = {
        out: eqn for eqn in equations(program) for out in eqn.outvars if not inner_programs(eqn)
    }
    backward = set(program.jaxpr.invars[:cotangents])
    for eqn, within, is_backward in _with_caller(program, backward):
        if inner_programs(eqn) or len(eqn.outvars) != 1:
            continue
        operation, ways = described(eqn, within), _ways(eqn, made_by)
        if is_backward and is_float(aval_of(eqn.outvars[0])) and eqn.primitive.name not in MOVES:
            ways = [Way("term_scaled", "", lambda ins, out, scale: scale * out, scaled=True), *ways]
        found += [(eqn, Edit(way, operation)) for way in ways]
    return sorted(found, key=lambda pair: not pair[1].way.scaled)


def _with_caller(
    program: ClosedJaxpr, backward: set[Any], within: str = ""
) -> Iterator[tuple[JaxprEqn, str, bool]]:
    """Every operation, the function that it is in, and whether an error goes back through it."""
    for eqn in program.jaxpr.eqns:
        given = [atom for atom in eqn.invars if not isinstance(atom, Literal)]
        is_backward = not backward.isdisjoint(given)
        yield eqn, within, is_backward
        for inner in inner_programs(eqn):
            name = str(eqn.params.get("name", within))
            start = set(inner.jaxpr.invars) if is_backward else set()
            yield from _with_caller(inner, start, name)
        if is_backward:
            backward.update(eqn.outvars)


def exchanges_of(
    program: ClosedJaxpr, cotangents: int, shape: tuple[int, ...]
) -> list[tuple[JaxprEqn, Edit]]:
    """For each factor of this shape on the way back: another array in its place."""
    found, backward = [], set(program.jaxpr.invars[:cotangents])
    for eqn, within, is_backward in _with_caller(program, backward):
        if is_backward and eqn.primitive.name in ("mul", "dot_general"):
            for j, operand in enumerate(eqn.invars):
                if aval_of(operand).shape == shape:
                    way = Way("factor_exchanged", "", _other_operand(eqn, j))
                    found.append((eqn, Edit(way, described(eqn, within))))
    return found


def _other_operand(eqn: JaxprEqn, j: int) -> Result:
    def result(ins: Sequence[Any], out: Any, other: Array) -> Any:
        return bind(eqn, [other if i == j else one for i, one in enumerate(ins)])[0]

    return result


def described(eqn: JaxprEqn, within: str = "") -> str:
    """An operation for a sentence: the line of the reference that it comes from, or its name."""
    name = f"the operation {eqn.primitive.name!r}"
    return _line_of(eqn) or (f"{name} of {within}" if within else name)


def _line_of(eqn: JaxprEqn) -> str:
    """The line outside of JAX that an operation comes from: its text, number and file."""
    traceback = getattr(eqn.source_info, "traceback", None)
    for frame in getattr(traceback, "frames", ()):
        path = Path(frame.file_name)
        if not _is_of_jax(path):
            text = linecache.getline(frame.file_name, frame.line_num).strip()
            text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
            where = f"line {frame.line_num} of {path.name}"
            return f"`{text}` ({where})" if text else where
    return ""


@cache
def _is_of_jax(path: Path) -> bool:
    return Path(jax.__file__).parent in path.parents or path.name.startswith("<frozen")


def _ways(eqn: JaxprEqn, made_by: Mapping[Any, JaxprEqn]) -> list[Way]:
    out = aval_of(eqn.outvars[0])
    if out.dtype == bool and eqn.primitive.name in COMPARISONS:
        return list(_of_comparison(eqn))
    if not is_float(out) or eqn.primitive.name in MOVES:
        return []
    return [*_left_out(eqn), *_of_constants(eqn), *_of_operands(eqn), *_of_roots(eqn, made_by)]


def _left_out(eqn: JaxprEqn) -> Iterator[Way]:
    name, out = eqn.primitive.name, aval_of(eqn.outvars[0])
    kinds = {"mul": "factor_left_out", "div": "factor_left_out", "select_n": "mask_missing"}
    kinds |= dict.fromkeys(("add", "sub", "add_any"), "term_left_out")
    kinds |= dict.fromkeys((*FUNCTIONS, "integer_pow", "square"), "function_left_out")
    if name == "scatter":
        yield Way("function_left_out", "", _alone(0))
    if name not in kinds:
        return
    for j, operand in enumerate(eqn.invars):
        if name == "select_n" and j == 0:
            continue
        if aval_of(operand).dtype == out.dtype:
            yield Way(kinds[name], "", _alone(j))
    if kinds[name] == "function_left_out":
        yield Way("slope_left_out", "", _with_slope_of_one)


def _alone(j: int) -> Result:
    """One operand in place of the result."""
    return lambda ins, out, scale: jnp.broadcast_to(ins[j], jnp.shape(out))


def _with_slope_of_one(ins: Sequence[Any], out: Any, scale: Array) -> Any:
    """The result itself; an error goes back through it unchanged."""
    return lax.stop_gradient(out) + ins[0] - lax.stop_gradient(ins[0])


def _of_operands(eqn: JaxprEqn) -> Iterator[Way]:
    name = eqn.primitive.name
    if name in ("sub", "add", "add_any"):
        other = jnp.add if name == "sub" else jnp.subtract
        yield Way("sign_swapped", "", lambda ins, out, scale: other(*ins))
    if name in ("sub", "div"):
        yield Way("operands_swapped", "", lambda ins, out, scale: _swapped(name, ins))
    if name == "select_n" and len(eqn.invars) == 3:
        yield Way("mask_inverted", "", lambda ins, out, scale: bind(eqn, [ins[0], *ins[:0:-1]])[0])
    if name == "dot_general":
        for j, operand in enumerate(eqn.invars):
            shape = aval_of(operand).shape
            if len(shape) == 2 and shape[0] == shape[1]:
                yield Way("operand_transposed", "", _turned(eqn, j, jnp.transpose))
    if name == "conv_general_dilated":
        space = eqn.params["dimension_numbers"].rhs_spec[2:]
        yield Way("kernel_not_flipped", "", _turned(eqn, 1, lambda k: jnp.flip(k, space)))
    if name in ("gather", "scatter-add", "scatter_add"):
        rows = aval_of(eqn.invars[0]).shape[0]
        for step in (1, -1):  # past the end it is left out, or goes on at the start
            yield Way("index_off_by_one", "", _turned(eqn, 1, partial(jnp.add, step)))
            around = lambda i, step=step: (i + step) % rows  # noqa: E731
            yield Way("index_off_by_one", "", _turned(eqn, 1, around))
    if name in ("scatter-add", "scatter_add"):
        yield Way("overwritten", "", lambda ins, out, scale: _overwritten(eqn, ins))


def _swapped(name: str, ins: Sequence[Any]) -> Any:
    return ins[1] - ins[0] if name == "sub" else ins[1] / ins[0]


def _turned(eqn: JaxprEqn, j: int, turn: Callable[[Any], Any]) -> Result:
    def result(ins: Sequence[Any], out: Any, scale: Array) -> Any:
        return bind(eqn, [turn(one) if i == j else one for i, one in enumerate(ins)])[0]

    return result


def _overwritten(eqn: JaxprEqn, ins: Sequence[Any]) -> Any:
    params = {name: value for name, value in eqn.params.items() if name != "update_jaxpr"}
    return lax.scatter(
        ins[0],
        ins[1],
        ins[2],
        params["dimension_numbers"],
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
        mode=params["mode"],
    )


def _of_constants(eqn: JaxprEqn) -> Iterator[Way]:
    """Another ε, another count."""
    for j, operand in enumerate(eqn.invars):
        if (
            not isinstance(operand, Literal)
            or np.ndim(operand.val)
            or not is_float(aval_of(operand))
        ):
            continue
        c = float(operand.val)
        if not math.isfinite(c) or eqn.primitive.name not in ("add", "sub", "mul", "div", "max"):
            continue
        others: dict[float, str] = {}
        if c > 2 and c == round(c) and eqn.primitive.name in ("mul", "div"):
            others = dict.fromkeys((c - 1, c + 1), "count_off_by_one")
        elif eqn.primitive.name in ("add", "max") and 0 < c < 0.1:
            values = (c * c, math.sqrt(c), 10 * c, c / 10, 100 * c, c / 100, 1e3 * c, c / 1e3)
            others = dict.fromkeys(values, "constant_changed")
        for value, name in others.items():
            words = NAMES[name][0].replace("{old}", f"{c:g}").replace("{new}", f"{value:.3g}")
            yield Way(name, words, _with_constant(eqn, j, value))


def _with_constant(eqn: JaxprEqn, j: int, value: float) -> Result:
    def result(ins: Sequence[Any], out: Any, scale: Array) -> Any:
        changed = [jnp.full_like(one, value) if i == j else one for i, one in enumerate(ins)]
        return bind(eqn, changed)[0]

    return result


def _of_roots(eqn: JaxprEqn, made_by: Mapping[Any, JaxprEqn]) -> Iterator[Way]:
    """1/(√v + ε) for 1/√(v + ε)."""
    name = eqn.primitive.name
    if name not in ("rsqrt", "sqrt") or isinstance(eqn.invars[0], Literal):
        return
    before = made_by.get(eqn.invars[0])
    if before is None or before.primitive.name != "add":
        return
    for operand in before.invars:
        if isinstance(operand, Literal) and np.ndim(operand.val) == 0 and operand.val > 0:
            yield Way("epsilon_outside_root", "", _outside(name, float(operand.val)))


def _outside(name: str, e: float) -> Result:
    def result(ins: Sequence[Any], out: Any, scale: Array) -> Any:
        root = jnp.sqrt(ins[0] - e) + e
        return 1 / root if name == "rsqrt" else root

    return result


def _of_comparison(eqn: JaxprEqn) -> Iterator[Way]:
    other = {"ge": lax.gt, "gt": lax.ge, "le": lax.lt, "lt": lax.le}.get(eqn.primitive.name)
    if other is not None:
        yield Way("mask_off_by_one", "", lambda ins, out, scale: other(*ins))
    yield Way("mask_inverted", "", lambda ins, out, scale: ~out)
