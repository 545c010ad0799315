"""check: which equation of a stranger's backward pass is wrong, in which layer, and how."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from manual_bp.calls import Call, examples, read_call
from manual_bp.diagnosis.blind_spots import ambiguities, blind_spots
from manual_bp.diagnosis.finding import Finding, either, finding_of, hidden_findings, undeclared
from manual_bp.diagnosis.search import (
    Observation,
    Wrong,
    explanations,
    hidden_explanations,
    likely_scales,
    wrong_in,
)
from manual_bp.network import Network, Params
from manual_bp.record import Place
from manual_bp.subjects.convention import Convention
from manual_bp.subjects.forms import Source
from manual_bp.subjects.run import Given, given_by
from manual_bp.subjects.subject import Subject, read_subject
from manual_bp.text import of_bound, printable
from manual_bp.verdicts.compare import Agreement, agreement_of, check_decimals
from manual_bp.verdicts.judge import Judged, judge
from manual_bp.verdicts.rows import AGREES, NONFINITE, NOT_GIVEN, Row
from manual_bp.witnesses.autodiff import autodiff


@dataclass(frozen=True)
class Diagnosis:
    """What `check` found.

    Attributes:
        findings: one for each wrong equation and layer; none for what merely follows from them.
        agreement: the verdict on every equation, in the subject's own layout and scale.
        convention: the one that the subject's arrays were read in: as declared, or as found.
        warnings: what this batch could not have shown.
    """

    findings: tuple[Finding, ...]
    agreement: Agreement
    convention: Convention = Convention()  # noqa: RUF009 (frozen)
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
            "convention": vars(self.convention),
            "warnings": list(self.warnings),
            "agreement": self.agreement.to_dict(),
        }

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        given = [row.verdict for row in self.agreement.rows if row.note != NOT_GIVEN]
        if self.ok:
            return (
                f"Right: {given.count(AGREES)} of {len(given)} quantities agree. The worst "
                f"value differs by {of_bound(self.agreement.worst.bound_ratio)}."
            )
        if self.findings and not self.agreement.disagreements:
            return "Right, in another convention than the declared one."
        if self.findings:
            return f"Wrong: {len(self.findings)} finding{'s' * (len(self.findings) > 1)}."
        return "Nothing could be tested: no value given lies clear of its rounding bound."

    def in_flags(self) -> "Diagnosis":
        """The same for who declares conventions on a command line."""
        code = f"convention={self.convention}"
        findings = (
            replace(finding, fix=finding.fix.replace(code, self.convention.flags or "no flag"))
            for finding in self.findings
        )
        return replace(self, findings=tuple(findings))

    def __str__(self) -> str:
        paragraphs = [self.headline, *map(str, self.findings)]
        paragraphs += [f"Note: {note}." for note in self.agreement.notes]
        paragraphs += [f"Warning: {warning}" for warning in self.warnings]
        wrapped = (textwrap.fill(words, 100, subsequent_indent="  ") for words in paragraphs)
        return printable("\n".join(wrapped))

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(str(finding))}</li>" for finding in self.findings)
        notes = "".join(f"<p>Warning: {escape(words)}</p>" for words in self.warnings)
        table = self.agreement._repr_html_()
        return f"<p><b>{escape(self.headline)}</b></p><ul>{lines}</ul>{notes}{table}"


def check(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    subject: Source,
    *,
    convention: Convention = Convention(),  # noqa: B008 (frozen)
    precision: str | None = None,
    decimals: int | None = None,
) -> Diagnosis:
    """Find which equation of a backward pass is wrong, in which layer, and which mistake it is.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer, W as (out, in); b None for no biases.
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,); the numbers of the classes will do for cross_entropy.
        subject: what is checked: a function (net, params, x, y), or what it would give. That is a
            `Backprop`, a dict by name such as {"dW1": …, "delta2": …}, the gradients as
            [(dW1, db1), …], or an `Update`; complete or not, in NumPy, JAX, PyTorch or nested
            lists. A function is run on copies of the arguments.
        convention: how the subject's arrays are laid out and scaled.
        precision: of the subject's matrix products, as in `jax.default_matmul_precision`. Without
            it a function runs at "highest", and a record made on an accelerator is judged by that
            one's coarsest.
        decimals: how many digits after the point the subject's numbers were rounded to, where they
            were typed from paper.

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
    check_decimals(decimals)
    call = read_call(net, params, x, y)
    given = given_by("subject", subject, (net, params, x, y), precision)
    if callable(subject):
        precision = precision or "highest"
    witness = read_subject("witness", Given("autodiff", autodiff(*call)), call, precision=precision)
    declared = _Reading(call, given, precision, decimals, convention, witness)
    best = _nearest_reading(declared) if declared.agreement.disagreements else declared
    agreement, findings = best.in_their_layout, list[Finding]()
    if best is not declared:
        right = not agreement.disagreements
        findings.append(
            undeclared(
                best.convention,
                convention,
                explains_all=right,
                m=examples(call.x),
                is_update=best.subject.is_update,
            )
        )
    if agreement.disagreements:
        findings += _findings(best)
    warnings = (*blind_spots(call), *ambiguities(net, call.x, agreement))
    return Diagnosis(tuple(findings), agreement, best.convention, warnings)


@dataclass(frozen=True, eq=False)
class _Reading:
    """What a subject gave, read in one convention and judged once."""

    call: Call
    given: Given
    precision: str | None
    decimals: int | None
    convention: Convention
    witness: Subject

    @cached_property
    def subject(self) -> Subject:
        return read_subject(
            "subject",
            self.given,
            self.call,
            precision=self.precision,
            convention=self.convention,
            decimals=self.decimals,
        )

    @cached_property
    def judged(self) -> list[Judged]:
        return judge(self.call, self.subject)

    @cached_property
    def agreement(self) -> Agreement:
        return agreement_of(self.call, self.subject, self.witness, self.judged)

    @property
    def in_their_layout(self) -> Agreement:
        """The agreement with shapes and indices as the subject has them."""
        rows = tuple(map(self._laid_out, self.agreement.rows))
        return replace(self.agreement, rows=rows)

    def _laid_out(self, row: Row) -> Row:
        misfit = row.place in self.subject.misfits
        if misfit or not self.convention.is_transposed(row.place) or len(row.shape) < 2:
            return row
        worst = row.worst and replace(row.worst, index=row.worst.index[::-1])
        return replace(row, shape=row.shape[::-1], worst=worst)


def _nearest_reading(declared: _Reading) -> _Reading:
    """The declared convention, unless more arrays fit into another layout, or less is wrong there.

    Shapes come first. Then the scales of each layout that is left are compared from one judgement;
    one that makes a right place wrong is none.
    """
    ours, m = declared.convention, examples(declared.call.x)
    layouts = [
        declared if layout == ours else replace(declared, convention=layout)
        for layout in ours.layouts()
        if _can_matter(layout, declared)
    ]
    least = min(len(reading.subject.misfits) for reading in layouts)
    factors = tuple(dict.fromkeys((ours.scale, *likely_scales(declared.call.net))))
    found: list[tuple[_Reading, Convention, Wrong]] = []
    for reading in layouts:
        if len(reading.subject.misfits) > least:
            continue
        scales = reading.subject.scales
        wrong = wrong_in(reading.judged, scales, scales)
        for other in reading.convention.scalings(factors):
            here = wrong_in(reading.judged, scales, other.scales(m))
            if here.places <= wrong.places:
                found.append((reading, other, here))
    as_declared = [len(wrong.places) for _, other, wrong in found if other == ours]
    found = _with_the_output_right(found, declared)

    def rank(one: tuple[_Reading, Convention, Wrong]) -> tuple[int, int, int, bool]:
        _, other, wrong = one
        # Of two examples the sum is twice the mean: a sum is told before a scale.
        return len(wrong.places), wrong.values, ours.differences(other), other.scale != ours.scale

    reading, nearest, fewest = min(found, key=rank)
    if as_declared and as_declared[0] <= len(fewest.places):
        return declared
    return reading if nearest == reading.convention else replace(reading, convention=nearest)


def _with_the_output_right(
    found: list[tuple[_Reading, Convention, Wrong]], declared: _Reading
) -> list[tuple[_Reading, Convention, Wrong]]:
    """Those in which BP1 is right, where it is in any; where δᴸ is not shown, the gradients of L.

    There the scale comes in, before any other mistake.
    """
    L = declared.call.net.depth
    first = (Place("BP1", "delta", L), Place("BP3", "db", L), Place("BP4", "dW", L))
    for place in first:
        right = [one for one in found if place not in one[2].places]
        if place in declared.subject.shown and right:
            return right
    return found


def _can_matter(layout: Convention, declared: _Reading) -> bool:
    """Whether a layout differs from the declared one in arrays that are given."""
    given = [*declared.subject.shown, *declared.subject.misfits]
    batchwise = any(place.is_per_example for place in given)
    weights = any(place.quantity == "dW" for place in given)
    ours = declared.convention
    return (batchwise or layout.examples == ours.examples) and (
        weights or (layout.weights, layout.bias) == (ours.weights, ours.bias)
    )


def _findings(reading: _Reading) -> list[Finding]:
    """One for each wrong row; the mistake behind them all, where the errors are not given."""
    subject = reading.subject
    seen = Observation.of(reading.call, subject, reading.convention, reading.judged)
    shown = []
    for row in _causes(reading.agreement, seen):
        explicable = (
            row.place in seen.judged
            and seen.judged[row.place].got is not None
            and row.verdict != NONFINITE
        )
        shown.append(finding_of(seen, row, explanations(seen, row.place) if explicable else []))
    whole = all(one.got is not None for place, one in seen.judged.items() if place.is_per_example)
    if whole or subject.misfits:
        return shown
    hidden = hidden_findings(seen, hidden_explanations(seen))
    if hidden and len(shown) == 1 and shown[0].mistake:  # as like, the one and the other
        return [either([shown[0], *hidden])]
    return hidden or shown


def _causes(agreement: Agreement, seen: Observation) -> Sequence[Row]:
    """The wrong rows, but not the NaN and Inf that follow from a NaN or Inf of another row."""
    wrong = agreement.disagreements
    made_here = [
        row
        for row in wrong
        if row.verdict != NONFINITE or np.isfinite(seen.judged[row.place].truth).all()
    ]
    return made_here or wrong[:1]
