"""check: which equation of a stranger's backward pass is wrong, in which layer, and how."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from os import PathLike
from typing import Any

import jax
import numpy as np

from manual_bp.calls import examples, read_call
from manual_bp.checks import Problems, shown, whole_number
from manual_bp.diagnosis.blind_spots import ambiguities, blind_spots
from manual_bp.diagnosis.equations import Shards
from manual_bp.diagnosis.explanation import History
from manual_bp.diagnosis.finding import Finding, findings_of, undeclared, unexplained
from manual_bp.diagnosis.observation import Observation
from manual_bp.diagnosis.search import Search
from manual_bp.network import Network, Params
from manual_bp.subjects.convention import Convention, check_convention
from manual_bp.subjects.forms import Source
from manual_bp.subjects.run import Given, given_by
from manual_bp.subjects.subject import Subject, read_subject
from manual_bp.surroundings import judging
from manual_bp.text import of_bound, printable
from manual_bp.verdicts.compare import Agreement, check_settings
from manual_bp.verdicts.copies import copies_that_differ, mesh_shape
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.reading import Reading, nearest_reading
from manual_bp.verdicts.rows import AGREES, NONFINITE, NOT_GIVEN, Row
from manual_bp.witnesses.autodiff import autodiff

COPIES_DIFFER = "copies_differ"
_ONE_COPY = "Compute it alike on all of them, or sum it over them; start from one copy."


@dataclass(frozen=True)
class Diagnosis:
    """What `check` found.

    Attributes:
        findings: one for each wrong equation and layer; none for what merely follows from them.
        agreement: the verdict on every equation, in the subject's own layout and scale.
        convention: the one that the subject's arrays were read in: as declared, or as found.
        warnings: what this batch could not have shown.
        reading: the numbers that were judged, which `page` shows; None of a function that is no
            network.
        judged: the numbers of such a function.
    """

    findings: tuple[Finding, ...]
    agreement: Agreement
    convention: Convention = Convention()  # noqa: RUF009 (frozen)
    warnings: tuple[str, ...] = ()
    reading: Reading | None = field(default=None, repr=False, compare=False)
    judged: tuple[Judged, ...] = field(default=(), repr=False, compare=False)

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
            "findings": [finding.to_dict() for finding in self.findings],
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
        drifted = any(COPIES_DIFFER in finding.edits for finding in self.findings)
        if self.findings and not self.agreement.disagreements and not drifted:
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

    def page(self, path: str | PathLike[str]) -> None:
        """Write a page to look at: every matrix and sum, with the wrong cells marked.

        Of a function that is no network it shows each gradient beside the right one.

        Raises:
            OSError: the file cannot be written.
        """
        from manual_bp.explorer.page import write_diagnosis  # which stands below this room

        write_diagnosis(path, self)

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


@judging()
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
    shards: Mapping[str, int] | None = None,
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
        shards: of a step that is split over devices, over how many: {"data": 4, "model": 2}. What
            people get wrong there is looked for too. Arrays that lie on such a mesh say so
            themselves, and their copies on several devices are held to each other.

    Returns:
        A `Diagnosis` with `.ok`, `.findings`, `.agreement`, `.warnings`; `str()` tells it.

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
    check_settings(precision, decimals)
    check_convention(convention)
    split = _shards(shards)
    call = read_call(net, params, x, y)
    given = given_by("subject", subject, (net, params, x, y), precision)
    split = split or Shards(**mesh_shape(given.record))
    drifts = [
        Finding(drift.equation, drift.layer, (COPIES_DIFFER,), (), drift.words, _ONE_COPY)
        for drift in copies_that_differ(net, params, given.record)
    ]
    if callable(subject):
        precision = precision or "highest"
    right = jax.device_get(autodiff(*call))
    witness = read_subject("witness", Given("autodiff", right), call, precision=precision)
    declared = Reading(call, given, precision, decimals, convention, witness)
    searched = _with_fewer_edits(
        nearest_reading(declared) if declared.agreement.disagreements else declared,
        declared,
        split,
    )
    best = searched.reading
    agreement, findings = best.in_their_layout, drifts
    if best is not declared:
        findings.append(
            undeclared(
                best.convention,
                convention,
                explains_all=not agreement.disagreements,
                m=examples(call.x),
                is_update=best.subject.is_update,
            )
        )
    if agreement.disagreements:
        findings += searched.findings
    warnings = (*blind_spots(call, right), *ambiguities(net, call.x, agreement))
    return Diagnosis(tuple(findings), agreement, best.convention, warnings, best)


@dataclass(frozen=True, eq=False)
class _Searched:
    """What explains a reading: each step of it once."""

    reading: Reading
    shards: Shards

    @cached_property
    def causes(self) -> Sequence[Row]:
        """The wrong rows, but not the NaN and Inf that follow from those of another row."""
        wrong = self.reading.agreement.disagreements
        truth = {one.place: one.truth for one in self.reading.judged}
        made_here = [
            row for row in wrong if row.verdict != NONFINITE or np.isfinite(truth[row.place]).all()
        ]
        return made_here or wrong[:1]

    @cached_property
    def seen(self) -> Observation:
        """What the search reads; rows that say themselves what is wrong are not for it."""
        reading, subject = self.reading, self.reading.subject
        wrong = [row.place for row in self.causes if not _says_itself(row, subject)]
        seen = reading.call, subject, reading.convention, reading.judged, wrong
        return Observation.of(*seen, self.shards)

    @cached_property
    def histories(self) -> list[History]:
        """The fewest edits."""
        return Search(self.seen).histories()

    @property
    def findings(self) -> list[Finding]:
        """One for each place that is wrong."""
        seen, rows = self.seen, self.causes
        found = [unexplained(seen, row) for row in rows if row.place not in seen.wrong]
        return found + (findings_of(seen, self.histories, rows) if seen.wrong else [])


def _says_itself(row: Row, subject: Subject) -> bool:
    """Whether a row needs no search: NaN, or an array that should not be there."""
    misfit = subject.misfits.get(row.place)
    return row.verdict == NONFINITE or bool(misfit and misfit.array is None)


def _shards(given: Any) -> Shards | None:
    """What `shards` says; None where nothing is said."""
    if given is None:
        return None
    problems = Problems()
    if not isinstance(given, Mapping) or not given or set(given) - set(Shards._fields):
        problems.type(
            f'shards: expected how many devices, such as {{"data": 4, "model": 2}}, '
            f"got {shown(given)}"
        )
    else:
        for axis, size in given.items():
            whole_number(f"shards: {axis}", size, 1, problems)
    problems.raise_all()
    return Shards(**given)


def _with_fewer_edits(found: Reading, declared: Reading, shards: Shards) -> _Searched:
    """The reading found, unless fewer edits explain all in the declared scale than in its own."""
    ours, searched = declared.convention, _Searched(found, shards)
    scales = {name: getattr(ours, name) for name in ("reduction", "delta", "sign", "scale")}
    plain = replace(found.convention, **scales)
    if plain == found.convention or not found.agreement.disagreements:
        return searched
    other = _Searched(declared if plain == ours else replace(declared, convention=plain), shards)
    unexplained_places, edits = searched.histories[0].rank
    return other if other.histories[0].rank < (unexplained_places, edits + 1) else searched
