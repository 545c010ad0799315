"""What is wrong, in words: which equation, in which layer, and which edits of it explain it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual_bp.diagnosis.equations import in_words, right_formula
from manual_bp.diagnosis.explanation import History, Step, Way
from manual_bp.diagnosis.observation import Observation
from manual_bp.record import ANY_FUNCTION, Place
from manual_bp.subjects.convention import Convention
from manual_bp.subjects.formats import roundoff
from manual_bp.text import of_bound, superscript, times
from manual_bp.verdicts.rows import NONFINITE, Row


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        equation: "cost", "forward", "BP1" … "BP4", or "convention"; of any function "value" or
            "VJP".
        layer: l = 1…L; 0 for a⁰ = x, for a convention, and without layers.
        edits: the fewest that give the same numbers, by their names in the catalogue; none where
            nothing explains them.
        alternatives: others that are as few and give the same numbers.
        explanation: what is computed, what should be, and how near each of them the subject is.
        fix: what to do, in one sentence.
    """

    equation: str
    layer: int
    edits: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]
    explanation: str
    fix: str

    @property
    def mistake(self) -> str | None:
        """The edits in one string, such as "half_missing or factor"; None where there are none."""
        ways = (self.edits, *self.alternatives) if self.edits else ()
        return " or ".join(dict.fromkeys(" and ".join(way) for way in ways)) or None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "mistake": self.mistake}

    def __str__(self) -> str:
        where = f"{self.equation} at layer {self.layer}"
        if self.equation in ("cost", "convention", *ANY_FUNCTION):
            where = self.equation
        name = f" [{self.mistake}]" if self.mistake else ""
        return f"{where}{name}: {self.explanation} {self.fix}".rstrip()


def findings_of(
    seen: Observation, histories: Sequence[History], rows: Sequence[Row]
) -> list[Finding]:
    """One for each place of the best history; what the others say otherwise stands beside it."""
    best, *others = histories
    by_place = {row.place: row for row in rows}
    found = []
    for step in best.steps:
        if not step.ways or (step.place.kind == "x" and "x" in seen.changed):
            if step.place in by_place:
                found.append(unexplained(seen, by_place[step.place]))
            else:
                found.append(_somewhere_before(seen, step.place))
            continue
        ways = list(step.ways)
        for other in others:
            here = [one for one in other.steps if one.place == step.place]
            ways += here[0].ways if here else _instead(best, other)
        found.append(_explained(seen, Step.of(ways), by_place.get(step.place)))
    order = {place: i for i, place in enumerate(seen.judged)}
    places = {(place.equation, place.layer): order[place] for place in order}
    return sorted(found, key=lambda finding: places[finding.equation, finding.layer])


def _instead(best: History, other: History) -> tuple[Way, ...]:
    """The first thing that another history has and this one has not."""
    known = {step.place for step in best.steps}
    return next((step.ways for step in other.steps if step.place not in known), ())


def _explained(seen: Observation, step: Step, row: Row | None) -> Finding:
    place = step.place
    told = dict.fromkeys(_told(seen, way, place) for way in step.ways)
    should = _right_value(seen, place)
    off = min(way.off for way in step.ways)
    if row is None:  # not shown
        explanation = f"all that is given follows if {'; or if '.join(told)}. It should be "
        explanation += f"{should}."
    else:
        exactly = "" if off else "exactly "
        near = f" Your numbers differ from that by {times(off)} of what rounding allows."
        explanation = (
            f"your {place.symbol} is {exactly}{'; or '.join(told)}.{near if off else ''} It should "
            f"be {should}, from which it differs by {of_bound(row.bound_ratio)}."
        )
    ways = list(dict.fromkeys(way.names for way in step.ways))
    fixes = (
        _at(" ".join(used.edit.fix_in(seen.convention) for used in way.used), way.place.layer)
        for way in step.ways
    )
    equation, layer = place.equation, place.layer
    return Finding(equation, layer, ways[0], tuple(ways[1:]), explanation, _joined(fixes))


def _told(seen: Observation, way: Way, place: Place) -> str:
    """What such edits make of an array, with its name where it is another or is not shown."""
    words = _at(in_words(way.place.kind, seen.net, seen.convention, way.used, seen.m),
                way.place.layer)  # fmt: skip
    words += ", the l2 terms of the gradients too" * way.of_all
    shown = place in seen.judged and seen.judged[place].got is not None
    if way.place == place and (shown or place in seen.misfits):
        return words.partition(" = ")[2]
    return words.replace(" = ", " is ", 1)


def unexplained(seen: Observation, row: Row) -> Finding:
    """What is said of a wrong place that no edits explain."""
    place, judged = row.place, seen.judged.get(row.place)
    what = place.symbol
    if judged is None or judged.got is None:  # it has no place in the record: the note says why
        fix = "Leave it out." if judged is None else "Give it that shape."
        return _unnamed(row.place, f"{what}: {row.note}.", fix)
    if row.verdict == NONFINITE:
        where = f"your {what} is {row.worst.got} at {row.worst.index}." if row.worst else f"{what}."
        return _unnamed(row.place, where, "Look for 0/0, log 0 or an overflow there.")
    should, apart = _right_value(seen, place), of_bound(row.bound_ratio)
    if place.kind == "x" and "x" in seen.changed:
        finding = _unnamed(
            place,
            f"your function changed x while it ran, and computed with that. It should be {should}.",
            "Work on a copy of x, or hand the changed x to the check as well.",
        )
        return replace(finding, edits=("input_changed",))
    return _unnamed(
        place,
        f"your {what} should be {should}. It is {_pattern(seen, row)}. The two differ by {apart}.",
        "This is none of the mistakes in the catalogue, nor a few of them together: compare that "
        "line with the formula.",
    )


def _somewhere_before(seen: Observation, place: Place) -> Finding:
    return _unnamed(
        place,
        f"the gradients of layer {place.layer} do not follow from {place.symbol} = "
        f"{_right_value(seen, place)}, which you do not show.",
        f"Show {place.symbol} as well: then it can be told from its gradients.",
    )


def undeclared(
    found: Convention,
    declared: Convention,
    *,
    explains_all: bool,
    m: int,
    is_update: bool = False,
) -> Finding:
    """The one sentence for a convention that was not declared."""
    names = ("rows", "columns")
    parts = {
        "examples": f"examples are {found.examples}, not {names[found.examples == 'rows']}",
        "weights": f"∂C/∂W is ({found.weights.replace('_', ', ')})",
        "bias": "∂C/∂b stands apart from ∂C/∂W"
        if found.bias == "separate"
        else f"∂C/∂b is the {found.bias} {_line_of_W(found)} of ∂C/∂W",
        "reduction": f"C is the {found.reduction} over the {m} examples, not their "
        f"{declared.reduction}",
        "delta": "δ is of each example's own cost, not of the batch's"
        if found.delta == "example"
        else "δ is of the batch's cost, not of each example's own",
        "sign": "δ, ∂C/∂W and ∂C/∂b are minus the gradient, to be added"
        if found.sign == "ascent"
        else "δ, ∂C/∂W and ∂C/∂b are the gradient, not minus it",
        "scale": f"C and its derivatives are {found.scale / declared.scale:.6g} times as large"
        + (", or η is another than you say" if is_update else ""),
    }
    said = [text for name, text in parts.items() if getattr(found, name) != getattr(declared, name)]
    sign_alone = found == replace(declared, sign="ascent")
    rest = "" if explains_all else " What else is wrong follows."
    subtracted = " If you subtract them, take a − y, not y − a." if sign_alone else ""
    return Finding(
        "convention",
        0,
        ("convention",),
        (("ascent_sign",),) if sign_alone else (),
        f"in your arrays {'; '.join(said)}.",
        f"That is no mistake: pass convention={found}.{subtracted}{rest}",
    )


def _line_of_W(convention: Convention) -> str:
    return "column" if convention.weights == "out_in" else "row"


def _unnamed(place: Place, explanation: str, fix: str) -> Finding:
    return Finding(place.equation, place.layer, (), (), explanation, fix)


def _joined(sentences: Iterable[str]) -> str:
    return " Or: ".join(dict.fromkeys(sentences))


def _right_value(seen: Observation, place: Place) -> str:
    """What a quantity should be, its name and the equals sign left out."""
    return _at(right_formula(place.kind, seen.net, seen.convention), place.layer).partition(" = ")[
        2
    ]


def _at(formula: str, l: int) -> str:
    """A formula with the layer's number in it."""
    for sign, shift in (("ˡ⁺¹", 1), ("ˡ⁺²", 2), ("ˡ⁻¹", -1), ("ˡ", 0), ("ᴸ", 0)):
        formula = formula.replace(sign, superscript(l + shift))
    return formula


def _pattern(seen: Observation, row: Row) -> str:
    """What can be said of numbers that fit no mistake: a factor, one row, one column, one value."""
    judged = seen.judged[row.place]
    got, right, bound, m = seen.shown()[judged.place], judged.truth, judged.bound, seen.m
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers as wrong as can be
        scale = float((got * right).sum() / (right * right).sum()) if right.any() else 0.0
        if (np.abs(got - scale * right) <= (1 + abs(scale)) * bound).all():
            single = roundoff("float32")
            if abs(scale - 1) <= 8 * single and seen.arithmetic.u < single:
                return "that in single precision: look for a float32 on the way"
            names = {m: " = m", 1 / m: " = 1/m"} if m > 1 else {}
            name = next((name for f, name in names.items() if abs(scale / f - 1) < 1e-5), "")
            return f"{scale:.6f}{name} times that"
        wrong = np.abs(got - right) > bound
    if wrong.sum() == 1:
        return f"wrong in one value alone, at {row.worst.index if row.worst else ''}"
    if wrong.ndim == 2:
        kinds = ("example", "neuron") if judged.place.is_per_example else ("row", "column")
        for axis, name in enumerate(kinds):
            (where,) = np.nonzero(wrong.any(axis=1 - axis))
            if len(where) == 1 < wrong.shape[axis]:
                return f"wrong in {name} {where[0]} alone"
    return f"wrong in {int(wrong.sum()):,} of {wrong.size:,} values"
