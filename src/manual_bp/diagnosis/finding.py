"""What is wrong, in words: which equation, in which layer, and which mistake it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manual_bp.diagnosis.mistakes import right_formula
from manual_bp.diagnosis.search import Fit, Observation
from manual_bp.record import Place
from manual_bp.subjects.convention import Convention
from manual_bp.text import of_bound, superscript, times
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import NONFINITE, Row


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        equation: "cost", "forward", "BP1" … "BP4", or "convention".
        layer: l = 1…L; 0 for a⁰ = x and for a convention.
        mistake: its name in the catalogue, or None when it is none we know. Where several give the
            same numbers, their names joined by " or ".
        explanation: what is computed, what should be, and how near each of them the subject is.
        fix: what to do, in one sentence.
    """

    equation: str
    layer: int
    mistake: str | None
    explanation: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.equation} at layer {self.layer}"
        if self.equation in ("cost", "convention"):
            where = self.equation
        name = f" [{self.mistake}]" if self.mistake else ""
        return f"{where}{name}: {self.explanation} {self.fix}".rstrip()


def finding_of(seen: Observation, row: Row, fits: Sequence[Fit]) -> Finding:
    """What is said of a wrong place whose array is shown, with the mistakes that explain it."""
    place, judged = row.place, seen.judged.get(row.place)
    what = place.symbol
    if judged is None or judged.got is None:  # it has no place in the record: the note says why
        fix = "Leave it out." if judged is None else "Give it that shape."
        return _unnamed(row, f"{what}: {row.note}.", fix)
    if row.verdict == NONFINITE:
        where = f"your {what} is {row.worst.got} at {row.worst.index}." if row.worst else f"{what}."
        return _unnamed(row, where, "Look for 0/0, log 0 or an overflow there.")
    should, apart = _right_value(seen, place), of_bound(row.bound_ratio)
    if place.kind == "x" and "x" in seen.changed:
        return Finding(
            row.equation,
            row.layer,
            "input_changed",
            f"your function changed x while it ran, and computed with that. It should be {should}.",
            "Work on a copy of x, or hand the changed x to the check as well.",
        )
    if not fits:
        return _unnamed(
            row,
            f"your {what} should be {should}. It is {_pattern(seen, judged, row)}. The two differ "
            f"by {apart}.",
            "This is none of the mistakes in the catalogue: compare that line with the formula.",
        )
    told = "; or ".join(_wrong_value(seen, fit, place) for fit in fits)
    off = min(fit.off for fit in fits)
    nearly = (
        f" Your numbers differ from that by {times(off)} of what rounding allows." if off else ""
    )
    exactly = "" if off else "exactly "
    return Finding(
        row.equation,
        row.layer,
        " or ".join(fit.mistake.name for fit in fits),
        f"your {what} is {exactly}{told}.{nearly} It should be {should}, from which it differs by "
        f"{apart}.",
        _joined(_fix(seen, fit, place) for fit in fits),
    )


def hidden_findings(seen: Observation, fits: Sequence[Fit]) -> list[Finding]:
    """What is said of mistakes in arrays that are not shown, any of which explains all that is."""
    return [_hidden(seen, fits, i) for i in range(len(fits[0].places) if fits else 0)]


def _hidden(seen: Observation, fits: Sequence[Fit], i: int) -> Finding:
    """The ith layer of each."""
    chosen = [(fit, place) for fit in fits for place in fit.places[i : i + 1]]
    told = dict.fromkeys(
        f"{place.symbol} is {_wrong_value(seen, fit, place)}, where it should be "
        f"{_right_value(seen, place)}"
        for fit, place in chosen
    )
    first = fits[0].places[i]
    return Finding(
        first.equation,
        first.layer,
        " or ".join(dict.fromkeys(fit.mistake.name for fit in fits)),
        f"all that is given follows if {'; or if '.join(told)}.",
        _joined(_fix(seen, fit, place) for fit, place in chosen),
    )


def either(findings: Sequence[Finding]) -> Finding:
    """One finding where several give the same numbers."""
    return replace(
        findings[0],
        mistake=" or ".join(dict.fromkeys(str(finding.mistake) for finding in findings)),
        explanation=" Or: ".join(finding.explanation for finding in findings),
        fix=_joined(finding.fix for finding in findings),
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
        "convention or ascent_sign" if sign_alone else "convention",
        f"in your arrays {'; '.join(said)}.",
        f"That is no mistake: pass convention={found}.{subtracted}{rest}",
    )


def _line_of_W(convention: Convention) -> str:
    return "column" if convention.weights == "out_in" else "row"


def _unnamed(row: Row, explanation: str, fix: str) -> Finding:
    return Finding(row.equation, row.layer, None, explanation, fix)


def _joined(sentences: Iterable[str]) -> str:
    return " Or: ".join(dict.fromkeys(sentences))


def _right_value(seen: Observation, place: Place) -> str:
    return _value_of(right_formula(place.kind, seen.net, seen.convention), place)


def _wrong_value(seen: Observation, fit: Fit, place: Place) -> str:
    eta = "" if fit.eta is None else f" with η = {fit.eta:.6g}"
    formula = fit.mistake.formula_at(place.kind, seen.net, seen.convention)
    return _value_of(formula, place) + eta


def _fix(seen: Observation, fit: Fit, place: Place) -> str:
    return _at(fit.mistake.fix_in(seen.convention), place.layer)


def _value_of(formula: str, place: Place) -> str:
    """What such a formula says that a quantity is, its name and the equals sign left out."""
    return _at(formula, place.layer).removeprefix(f"{place.symbol} = ")


def _at(formula: str, l: int) -> str:
    """A formula of the catalogue, with the layer's number in it."""
    for sign, shift in (("ˡ⁺¹", 1), ("ˡ⁺²", 2), ("ˡ⁻¹", -1), ("ˡ", 0), ("ᴸ", 0)):
        formula = formula.replace(sign, superscript(l + shift))
    return formula


def _pattern(seen: Observation, judged: Judged, row: Row) -> str:
    """What can be said of numbers that fit no mistake: a factor, one row, one column, one value."""
    got, right, bound, m = seen.shown()[judged.place], judged.truth, judged.bound, seen.m
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers as wrong as can be
        scale = float((got * right).sum() / (right * right).sum()) if right.any() else 0.0
        if (np.abs(got - scale * right) <= (1 + abs(scale)) * bound).all():
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
