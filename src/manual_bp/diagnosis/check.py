"""check: which equation of a stranger's backward pass is wrong, in which layer, and how."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from manual_bp.calls import check_call, examples
from manual_bp.diagnosis.blind_spots import ambiguities, blind_spots
from manual_bp.diagnosis.convention import Convention, every_convention
from manual_bp.diagnosis.finding import Finding, either, finding_of, hidden_findings, undeclared
from manual_bp.diagnosis.search import (
    Observation,
    disagreements_in,
    explanations,
    hidden_explanations,
)
from manual_bp.network import Network, Params
from manual_bp.record import Backprop
from manual_bp.text import of_bound, printable
from manual_bp.verdicts.compare import Agreement, agreement_of
from manual_bp.verdicts.judge import Judged, judge
from manual_bp.verdicts.rows import AGREES, NONFINITE, Row
from manual_bp.verdicts.subject import Function, Subject, read_subject, record_of
from manual_bp.witnesses.autodiff import autodiff


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

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        verdicts = [row.verdict for row in self.agreement.rows]
        if self.ok:
            return (
                f"Right: {verdicts.count(AGREES)} of {len(verdicts)} quantities agree. The worst "
                f"value differs by {of_bound(self.agreement.worst.bound_ratio)}."
            )
        if self.findings:
            return f"Wrong: {len(self.findings)} finding{'s' * (len(self.findings) > 1)}."
        return "Nothing could be tested: no value given lies clear of its rounding bound."

    def __str__(self) -> str:
        paragraphs = [self.headline, *map(str, self.findings)]
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
    subject: Function | Backprop,
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
    batch = (net, params, x, y)
    record, _ = record_of("subject", subject, batch, precision)
    if callable(subject):
        precision = precision or "highest"
    witness = read_subject("witness", autodiff, batch, precision)
    declared = _Reading(batch, record, precision, convention, witness)
    agreement = declared.agreement
    warnings = (*blind_spots(net, params, x), *ambiguities(net, x, agreement))
    if not agreement.disagreements:
        return Diagnosis((), agreement, warnings)
    findings: list[Finding] = []
    best = _nearest_reading(declared)
    if best is not declared:
        right = not best.agreement.disagreements
        findings.append(undeclared(best.convention, convention, explains_all=right, m=examples(x)))
    if best.agreement.disagreements:
        findings += _findings(best)
    return Diagnosis(tuple(findings), best.agreement, warnings)


@dataclass(frozen=True)
class _Reading:
    """A subject's record, read in one convention and judged once."""

    batch: tuple[Any, ...]  # (net, params, x, y)
    record: Backprop
    precision: str | None
    convention: Convention
    witness: Subject

    @cached_property
    def subject(self) -> Subject:
        net, params, x, _ = self.batch
        ours = self.convention.to_ours(net, params, x, self.record)
        return read_subject("subject", ours, self.batch, self.precision)

    @cached_property
    def judged(self) -> list[Judged]:
        net, params, x, y = self.batch
        return judge(net, self.subject.arithmetic, params, x, y, self.subject.shown)

    @cached_property
    def agreement(self) -> Agreement:
        return agreement_of(self.batch, self.subject, self.witness, self.judged)


def _nearest_reading(declared: _Reading) -> _Reading:
    """The declared convention, unless another leaves less than half as much wrong.

    Shapes settle the layout where they can. The scales of a layout are compared from one judgement.
    """
    ours, m, layouts = declared.convention, examples(declared.batch[2]), dict[Any, _Reading]()
    for other in _that_change(declared):
        layout = replace(ours, examples=other.examples, weights=other.weights)
        layouts[layout] = declared if layout == ours else replace(declared, convention=layout)
    least = min(len(reading.subject.misfits) for reading in layouts.values())
    counts = {}
    for other in _that_change(declared):
        layout = replace(ours, examples=other.examples, weights=other.weights)
        reading = layouts[layout]
        if (misfits := len(reading.subject.misfits)) == least:
            counts[other] = misfits + disagreements_in(reading.judged, layout, other, m)
    wrong = len(declared.agreement.disagreements)
    for other in sorted(counts, key=lambda other: (counts[other], _differences(other, ours))):
        if 2 * counts[other] >= wrong:
            break
        found = replace(declared, convention=other)
        if 2 * len(found.agreement.disagreements) < wrong:
            return found
    return declared


def _that_change(declared: _Reading) -> list[Convention]:
    """The conventions whose layout differs from the declared one in arrays that are given."""
    given = [*declared.subject.shown, *declared.subject.misfits]
    batchwise = any(place.is_per_example for place in given)
    weights = any(place.quantity == "dW" for place in given)
    return [
        other
        for other in every_convention()
        if (batchwise or other.examples == declared.convention.examples)
        and (weights or other.weights == declared.convention.weights)
    ]


def _differences(one: Convention, other: Convention) -> int:
    return sum(vars(one)[name] != value for name, value in vars(other).items())


def _findings(reading: _Reading) -> list[Finding]:
    """One for each wrong row; the mistake behind them all, where the errors are not given."""
    subject, (net, params, x, y) = reading.subject, reading.batch
    seen = Observation.in_float64(net, params, x, y, subject.arithmetic, reading.judged)
    shown = []
    for row in _causes(reading.agreement, seen):
        explicable = seen.judged[row.place].got is not None and row.verdict != NONFINITE
        shown.append(finding_of(seen, row, explanations(seen, row.place) if explicable else []))
    whole = all(one.got is not None for place, one in seen.judged.items() if place.is_per_example)
    if whole or subject.misfits:
        return shown
    hidden = hidden_findings(hidden_explanations(seen))
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
