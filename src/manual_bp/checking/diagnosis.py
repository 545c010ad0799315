"""check: which equation of a stranger's backward pass is wrong, in which layer, and how."""

from __future__ import annotations

import html as markup
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from manual_bp.backprop import Backprop
from manual_bp.checking.blindness import ambiguities, blind_spots
from manual_bp.checking.convention import Convention, every_convention
from manual_bp.checking.mistakes import (
    CATALOGUE,
    EQUATION,
    QUANTITY,
    RIGHT,
    Given,
    Mistake,
    array_of,
    backprop_with,
    layers_of,
    learning_rate,
)
from manual_bp.network import Layer, Network, Params, check_call
from manual_bp.verification.agreement import (
    AGREES,
    NONFINITE,
    Agreement,
    Obtained,
    Row,
    compare,
    double,
    obtain,
)
from manual_bp.verification.equations import Equation, equations
from manual_bp.verification.report import bounds, symbol

Numbers = np.ndarray[Any, Any]


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


@dataclass(frozen=True)
class Diagnosis:
    """What `check` found.

    Attributes:
        findings: one for each wrong equation and layer; none for what merely follows from them.
        agreement: the verdict on every equation.
        warnings: what this batch could not have shown.
    """

    findings: tuple[Finding, ...]
    agreement: Agreement
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether something could be tested and nothing is wrong."""
        return not self.findings and self.agreement.ok

    def raise_if_wrong(self) -> None:
        """Raise an AssertionError whose message is the diagnosis, unless `ok`."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": "manual_bp.diagnosis",
            "version": 1,
            "ok": self.ok,
            "findings": [vars(finding) for finding in self.findings],
            "warnings": list(self.warnings),
            "agreement": self.agreement.to_dict(),
        }

    def __str__(self) -> str:
        verdicts = [row.verdict for row in self.agreement.rows]
        if self.ok:
            head = (
                f"Right: {verdicts.count(AGREES)} of {len(verdicts)} quantities agree, to "
                f"{bounds(self.agreement.worst.bound_ratio)}."
            )
        elif self.findings:
            head = f"Wrong: {len(self.findings)} finding{'s' * (len(self.findings) > 1)}."
        else:
            head = "Nothing could be tested: no value given lies clear of its rounding bound."
        paragraphs = [head, *map(str, self.findings)]
        paragraphs += [f"Beware: {warning}" for warning in self.warnings]
        return "\n".join(textwrap.fill(words, 100, subsequent_indent="  ") for words in paragraphs)

    def _repr_html_(self) -> str:
        head, *_ = str(self).splitlines()
        lines = "".join(f"<li>{markup.escape(str(finding))}</li>" for finding in self.findings)
        notes = "".join(f"<p>Beware: {markup.escape(words)}</p>" for words in self.warnings)
        table = self.agreement._repr_html_()
        return f"<p><b>{markup.escape(head)}</b></p><ul>{lines}</ul>{notes}{table}"


def check(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    subject: Callable[[Network, Params, Any, Any], Backprop] | Backprop,
    *,
    convention: Convention = Convention(),  # noqa: B008 (frozen)
    precision: str | None = None,
) -> Diagnosis:
    """Find which equation of a backward pass is wrong, in which layer, and which mistake it is.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer, as (out, in).
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,).
        subject: what is checked: a function (net, params, x, y) -> Backprop or such a record,
            complete or with None for what it does not give, in NumPy, JAX or nested lists.
        convention: how the subject's arrays are laid out and scaled.
        precision: of the subject's matrix products, as in `jax.default_matmul_precision`. Without
            it a function runs at "highest", and a record made on an accelerator is judged by that
            one's coarsest.

    Returns:
        A `Diagnosis`: `.ok`, `.findings`, `.agreement`, `.warnings`; `str()` tells it.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> x, y = jnp.ones((5, 3)), jnp.eye(2)[jnp.arange(5) % 2]
        >>> mine = mbp.backprop(net, params, x, y)
        >>> wrong = mine._replace(db=tuple(db / 5 for db in mine.db))
        >>> [(f.equation, f.layer, f.mistake) for f in mbp.check(net, params, x, y, wrong).findings]
        [('BP3', 2, 'bias_averaged'), ('BP3', 1, 'bias_averaged')]
    """
    check_call(net, params, x, y)
    record = subject
    if callable(subject):
        precision = precision or "highest"
        with jax.default_matmul_precision(precision):
            record = subject(net, params, x, y)
    if not isinstance(record, Backprop):
        what = "it to return a Backprop" if callable(subject) else "a function or a Backprop"
        raise TypeError(f"subject: expected {what}, got {type(record).__name__}")
    case = _Case(net, params, x, y, precision)
    agreement = case.compare(convention, record)
    warnings = (*blind_spots(net, params, x, y), *ambiguities(net, x, agreement))
    if agreement.ok or not agreement.disagreements:
        return Diagnosis((), agreement, warnings)
    declared = (convention, agreement)
    best = min(
        (declared, *case.other_conventions(convention, record)),
        # The declared one, unless another leaves less than half of it wrong.
        key=lambda found: len(found[1].disagreements) * (1 if found is declared else 2),
    )
    findings: list[Finding] = []
    if best is not declared:
        findings.append(_undeclared(*best, declared=convention, m=case.m))
    if best[1].disagreements:
        findings += case.findings(*best, record)
    return Diagnosis(tuple(findings), best[1], warnings)


def _undeclared(
    found: Convention, agreement: Agreement, *, declared: Convention, m: int
) -> Finding:
    """The one sentence for a convention that was not declared."""
    said = []
    if found.reduction != declared.reduction:
        said.append(f"the {found.reduction}, not the {declared.reduction}, over {m} examples")
    if found.delta != declared.delta:
        of = {"batch": "of the batch's cost", "example": "of each example's own cost"}
        said.append(f"{of[found.delta]} (δ alone), not {of[declared.delta]}")
    if found.examples != declared.examples:
        said.append(f"with examples as {found.examples}, not {declared.examples}")
    if found.weights != declared.weights:
        said.append(f"with ∂C/∂W as ({found.weights.replace('_', ', ')})")
    which = "all your arrays are" if not agreement.disagreements else "most of your arrays fit as"
    return Finding(
        "convention",
        0,
        "convention",
        f"{which} {', '.join(said)}.",
        f"That is no mistake: pass convention={found}.",
    )


# ── One case ─────────────────────────────────────────────────────────────────────────────────────


class _Case(NamedTuple):
    net: Network
    params: Params
    x: Any
    y: Any
    precision: str | None  # of the subject's matrix products, where it can be told

    @property
    def m(self) -> int:
        return 1 if self.x.ndim == 1 else len(self.x)

    def ours(self, convention: Convention, record: Backprop) -> Backprop:
        return convention.to_ours(self.net, self.params, self.x, record)

    def compare(self, convention: Convention, record: Backprop) -> Agreement:
        return self.judged(self.ours(convention, record))

    def judged(self, ours: Backprop) -> Agreement:
        return compare(*self[:4], subject=ours, precision=self.precision)

    def other_conventions(
        self, declared: Convention, record: Backprop
    ) -> Iterator[tuple[Convention, Agreement]]:
        """Every other convention that changes something and fits the shapes."""
        seen = [self.ours(declared, record)]
        for other in every_convention():
            ours = self.ours(other, record)
            if any(_same(ours, one) for one in seen):
                continue
            seen.append(ours)
            yield other, self.judged(ours)

    def findings(
        self, convention: Convention, agreement: Agreement, record: Backprop
    ) -> list[Finding]:
        """One for each wrong row; the mistake behind them all, where the errors are not given."""
        mine = obtain("subject", self.ours(convention, record), self[:4], self.precision)
        with jax.enable_x64(True):
            rows = (jnp.atleast_2d(self.x), jnp.atleast_2d(self.y))
            params, x, y = inputs = jax.tree.map(double, (self.params, *rows))
            evidence = jax.tree.map(double, mine.evidence)
            judged = list(equations(self.net, mine.arithmetic, params, x, y, evidence))
            by_row = {(e.quantity, e.layer): e for e in judged}
            known = _Known.of(self.net, mine, judged, inputs)
            with np.errstate(over="ignore", invalid="ignore"):  # of numbers as wrong as can be
                shown = [
                    _finding(known, mine, by_row[row.quantity, row.layer], row)
                    for row in _causes(agreement, by_row)
                ]
                record = mine.evidence.record
                whole = all(part is not None for part in (*record.z, *record.a, *record.delta))
                if whole or mine.misfits:
                    return shown
                hidden = _behind(self, mine, judged, inputs)
        if hidden and len(shown) == 1 and shown[0].mistake:  # as like, the one and the other
            return [_either(shown[0], hidden)]
        return hidden or shown


def _either(one: Finding, others: list[Finding]) -> Finding:
    """One finding where a mistake in sight and one out of sight give the same numbers."""
    findings = (one, *others)
    return replace(
        one,
        mistake=" or ".join(dict.fromkeys(str(finding.mistake) for finding in findings)),
        explanation=" Or: ".join(finding.explanation for finding in findings),
        fix=" Or: ".join(dict.fromkeys(finding.fix for finding in findings)),
    )


def _causes(agreement: Agreement, by_row: dict[tuple[str, int], Equation]) -> list[Row]:
    """The wrong rows, but not the NaN and Inf that follow from a NaN or Inf of another row."""
    wrong = list(agreement.disagreements)
    made_here = [
        row
        for row in wrong
        if row.verdict != NONFINITE
        or np.isfinite(np.asarray(by_row[row.quantity, row.layer].truth)).all()
    ]
    return made_here or wrong[:1]


def _same(one: Backprop, other: Backprop) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)


class _Known(NamedTuple):
    """The subject's arrays, and in place of those it does not give what follows from the rest."""

    net: Network
    W: dict[int, Numbers]
    b: dict[int, Numbers]
    y: Numbers
    arrays: dict[str, dict[int, Numbers]]

    @classmethod
    def of(cls, net: Network, mine: Obtained, judged: list[Equation], inputs: Any) -> _Known:
        params, _, y = jax.device_get(inputs)
        arrays: dict[str, dict[int, Numbers]] = {q: {} for q in Backprop._fields}
        for equation in judged:
            own = mine.evidence.of(equation.quantity, equation.layer)[0]
            value = equation.truth if own is None else own
            arrays[equation.quantity][equation.layer] = np.asarray(value, np.float64)
        W, b = ({l: layer[i] for l, layer in enumerate(params, start=1)} for i in (0, 1))
        return cls(net, W, b, y, arrays)

    @property
    def m(self) -> int:
        return len(self.y)

    def given(self, place: str, l: int, right: Numbers, got: Numbers) -> Given:
        """The inputs of one equation."""
        arrays = self.arrays
        return Given(
            self.net,
            place,
            l,
            self.W,
            self.b,
            arrays["z"],
            arrays["a"],
            arrays["delta"],
            arrays["dW"],
            self.y,
            right,
            got,
        )


class _Fit(NamedTuple):
    mistake: Mistake
    off: float  # in units of what rounding can do
    detail: str


def place_of(equation: Equation) -> str:
    """The equation's key in the catalogue."""
    if equation.name != "forward":
        return equation.name
    return "input" if equation.layer == 0 else equation.quantity


def _finding(known: _Known, mine: Obtained, equation: Equation, row: Row) -> Finding:
    place, l = place_of(equation), equation.layer
    what = symbol(equation.quantity, l)
    own, given, _ = mine.evidence.of(equation.quantity, l)
    if own is None:  # it has no place in the record: the note says why
        return Finding(row.equation, l, None, f"{what}: {row.note}.", "Give it that shape.")
    right = np.asarray(equation.truth, np.float64)
    got = np.where(True if given is None else np.asarray(given), np.asarray(own), right)
    if row.verdict == NONFINITE:
        return Finding(
            row.equation,
            l,
            None,
            f"your {what} is {row.worst.got} at {row.worst.index}." if row.worst else f"{what}.",
            "Look for 0/0, log 0 or an overflow there.",
        )
    bound = np.asarray(equation.bound, np.float64)
    fits = list(_fits(known.given(place, l, right, got), mine, bound))
    should, away = _side(RIGHT[place], what, l), f"{bounds(row.bound_ratio)} away"
    if not fits:
        return Finding(
            row.equation,
            l,
            None,
            f"your {what} should be {should}, and is "
            f"{_pattern(got, right, equation, row, known.m)}: {away}.",
            "It is no mistake of the catalogue: compare that line with the formula.",
        )
    told = "; or ".join(f"{_side(fit.mistake.told(place), what, l)}{fit.detail}" for fit in fits)
    off = min(fit.off for fit in fits)
    nearly = f"to {off:.2g} of rounding" if off else "exactly"
    return Finding(
        row.equation,
        l,
        " or ".join(fit.mistake.name for fit in fits),
        f"your {what} is {told}, {nearly}; it should be {should}, which is {away}.",
        " Or: ".join(_at(fit.mistake.fix, l) for fit in fits),
    )


def _at(formula: str, l: int) -> str:
    """A formula of the catalogue, with the layer's number in it."""
    number = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    for sign, shift in (("ˡ⁺¹", 1), ("ˡ⁺²", 2), ("ˡ⁻¹", -1), ("ˡ", 0), ("ᴸ", 0)):
        formula = formula.replace(sign, str(l + shift).translate(number))
    return formula


def _side(formula: str, what: str, l: int) -> str:
    """What such a formula says that a quantity is, its name and the equals sign left out."""
    return _at(formula, l).removeprefix(f"{what} = ")


def _fits(given: Given, mine: Obtained, bound: Numbers) -> Iterator[_Fit]:
    """The mistakes that give the subject's numbers, to the rounding of their own terms.

    Many are the right value with something done to it: its bound, times as much, is theirs too.
    """
    longest = max(given.m, *given.net.sizes)
    ar = mine.arithmetic
    unit = ar.gamma(longest) + ar.product * (2 + ar.product) + 40 * (ar.u + 2.0**-53)
    for mistake in CATALOGUE.values():
        if given.place not in mistake.places:
            continue
        wrong = mistake.result(given)
        if wrong is None:
            continue
        wrong = np.asarray(wrong, np.float64)
        size = mistake.result(given.size())
        terms = np.abs(wrong) + np.abs(given.right)
        if size is not None:
            terms = terms + np.abs(np.asarray(size, np.float64))
        slack = bound * max(1, _ratio(wrong, given.right))
        off = np.abs(given.got - wrong) / (unit * terms + slack + longest * ar.tiny)
        if np.isfinite(wrong).all() and off.max() <= 1:
            detail = ""
            if mistake.name == "weights_updated_first":
                detail = f" with η = {learning_rate(given):.6g}"
            yield _Fit(mistake, float(off.max()), detail)


def _pattern(got: Numbers, right: Numbers, equation: Equation, row: Row, m: int) -> str:
    """What can be said of numbers that fit no mistake: a factor, one row, one column, one value."""
    bound = np.asarray(equation.bound, np.float64)
    scale = float((got * right).sum() / (right * right).sum()) if right.any() else 0.0
    if (np.abs(got - scale * right) <= (1 + abs(scale)) * bound).all():
        names = {m: " = m", 1 / m: " = 1/m"} if m > 1 else {}
        name = next((name for f, name in names.items() if abs(scale / f - 1) < 1e-5), "")
        return f"{scale:.6f}{name} times that"
    wrong = np.abs(got - right) > bound
    if wrong.sum() == 1:
        return f"wrong in one value alone, at {row.worst.index if row.worst else ''}"
    if wrong.ndim == 2:
        kinds = ("row", "column")
        if equation.quantity in ("z", "a", "delta"):
            kinds = ("example", "neuron")
        for axis, kind in enumerate(kinds):
            (where,) = np.nonzero(wrong.any(axis=1 - axis))
            if len(where) == 1 < wrong.shape[axis]:
                return f"wrong in {kind} {where[0]} alone"
    return f"wrong in {int(wrong.sum()):,} of {wrong.size:,} values"


# ── Mistakes in errors that are not shown ────────────────────────────────────────────────────────


def _behind(case: _Case, mine: Obtained, judged: list[Equation], inputs: Any) -> list[Finding]:
    """The one mistake that, made in one layer or in all, would give all of the arrays given."""
    params, x, y = jax.tree.map(jnp.asarray, inputs)
    params = tuple(Layer(W, b) for W, b in params)
    own = {
        (e.quantity, e.layer): np.asarray(array, np.float64)
        for e in judged
        if (array := mine.evidence.of(e.quantity, e.layer)[0]) is not None
    }
    slack = {(e.quantity, e.layer): np.asarray(e.bound, np.float64) for e in judged}
    right = backprop_with(case.net, params, x, y, {})
    for everywhere in (False, True):
        found: list[tuple[Mistake, str, list[int], str]] = []
        for mistake in CATALOGUE.values():
            for place in mistake.places:
                layers = [l for l in layers_of(case.net, place) if _hidden(mine, place, l)]
                for chosen in [layers] if everywhere else [[l] for l in layers]:
                    detail = _explains(
                        *(case.net, params, x, y, mistake, place, chosen, right, own, slack)
                    )
                    if detail is not None:
                        found.append((mistake, place, chosen, detail))
        if found:
            return [_unseen(found, i) for i in range(len(found[0][2]))]
    return []


def _unseen(found: list[tuple[Mistake, str, list[int], str]], i: int) -> Finding:
    """What is said of the ith layer of each of several mistakes, any of which explains it all."""
    told = dict.fromkeys(
        f"{(what := symbol(QUANTITY[place], l))} is {_side(mistake.told(place), what, l)}{detail}, "
        f"where it should be {_side(RIGHT[place], what, l)}"
        for mistake, place, layers, detail in found
        for l in layers[i : i + 1]
    )
    _, place, layers, _ = found[0]
    return Finding(
        EQUATION[place],
        layers[i],
        " or ".join(dict.fromkeys(mistake.name for mistake, *_ in found)),
        f"all that is given follows if {'; or if '.join(told)}.",
        " Or: ".join(
            dict.fromkeys(
                _at(mistake.fix, l) for mistake, _, layers, _ in found for l in layers[i : i + 1]
            )
        ),
    )


def _hidden(mine: Obtained, place: str, l: int) -> bool:
    """Whether the subject does not show what this equation gives, and others follow from it."""
    quantity = QUANTITY[place]
    return quantity in ("z", "a", "delta") and mine.evidence.of(quantity, l)[0] is None


def _explains(
    net: Network,
    params: Params,
    x: Array,
    y: Array,
    mistake: Mistake,
    place: str,
    layers: list[int],
    right: Backprop,
    own: dict[tuple[str, int], Numbers],
    slack: dict[tuple[str, int], Numbers],
) -> str | None:
    """What more there is to say of a mistake that gives all of the subject's arrays; or None."""
    if not layers:
        return None

    def planted(eta: float) -> dict[tuple[str, int], Numbers]:
        record = backprop_with(net, params, x, y, {(place, l): mistake for l in layers}, eta)
        return {key: np.asarray(array_of(record, *key), np.float64) for key in own}

    detail = ""
    try:
        wrong = planted(1.0)
        if mistake.name == "weights_updated_first":
            # In the gradients of the first layer on the way back that has it, η is linear.
            first = [key for key in own if key[1] == max(layers)]
            change = np.concatenate([(wrong[k] - array_of(right, *k)).ravel() for k in first])
            off = np.concatenate([(own[k] - array_of(right, *k)).ravel() for k in first])
            length = float(change @ change)
            eta = float(off @ change) / length if length else 0.0
            wrong, detail = planted(eta), f" with η = {eta:.6g}"
    except ValueError:  # the network has no room for it, or nothing of that layer is given
        return None
    # The bounds are those of the right computation; larger wrong numbers round as much more.
    follows = all(
        bool(
            (
                np.abs(own[key] - wrong[key])
                <= 4 * slack[key] * max(1, _ratio(wrong[key], array_of(right, *key)))
            ).all()
        )
        for key in own
    )
    return detail if follows else None


def _ratio(wrong: Any, right: Any) -> float:
    size = float(np.abs(right).max())
    return float(np.abs(wrong).max()) / size if size else 1.0
