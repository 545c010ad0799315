"""compare: one record held against another, with a verdict for every equation of every layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from manual_bp.backprop import backprop
from manual_bp.calls import Call, read_call
from manual_bp.checks import Problems, nearest, shown, whole_number
from manual_bp.network import Network, Params
from manual_bp.record import Place
from manual_bp.subjects.convention import Scales
from manual_bp.subjects.forms import Source
from manual_bp.subjects.run import given_by
from manual_bp.subjects.subject import Shown, Subject, read_subject
from manual_bp.surroundings import judging
from manual_bp.text import listed, printable
from manual_bp.verdicts import report
from manual_bp.verdicts.copies import copies_that_differ
from manual_bp.verdicts.judge import Judged, judge, reach_of
from manual_bp.verdicts.rows import (
    AGREES,
    DISAGREES,
    NONFINITE,
    UNDECIDED,
    Row,
    end_to_end,
    held_to_witness,
    misfit_row,
    row_of,
)
from manual_bp.witnesses.autodiff import autodiff

PRECISIONS = ("default", "high", "highest", "bfloat16", "tensorfloat32", "float32")
"""Those of `jax.default_matmul_precision` that everybody knows."""
MOST_DECIMALS = 300
"""Beyond them half a digit is no number of float64."""
A_FEW = 100
"""So many bounds off at most, a σ that rounds more than is assumed is as likely as a mistake."""


@dataclass(frozen=True)
class Agreement:
    """The verdicts of `compare`.

    Attributes:
        rows: one for each quantity of each layer, in the order of the six steps.
        network: what was compared, in words, as are the next three.
        subject: whose numbers were judged.
        witness: whose numbers they were held against end to end.
        arithmetic: the format that the numbers were computed in.
        notes: what else was seen, such as an argument that the subject changed.
        drifts: the arrays whose copies on several devices differ, in words.

    `str()` gives a table, as does a notebook; nothing but the rounding bound decides.
    """

    rows: tuple[Row, ...]
    network: str
    subject: str
    witness: str
    arithmetic: str
    notes: tuple[str, ...] = ()
    drifts: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether something could be tested, and nothing disagrees, is NaN or Inf, or drifted."""
        tested = any(row.verdict == AGREES for row in self.rows)
        return tested and not self.disagreements and not self.drifts

    @property
    def disagreements(self) -> tuple[Row, ...]:
        """The rows that disagree or are not finite."""
        return tuple(row for row in self.rows if row.verdict in (DISAGREES, NONFINITE))

    @property
    def values(self) -> int:
        """How many values were judged."""
        return sum(row.values for row in self.rows)

    @property
    def wrong(self) -> int:
        """How many of them lie outside their bound."""
        return sum(row.wrong for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row whose largest difference is the largest fraction of its bound."""
        return max(self.rows, key=lambda row: row.bound_ratio)

    def raise_if_disagrees(self) -> None:
        """Raise an AssertionError whose message is the report, unless `ok`."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the schema is `docs/agreement.schema.json`."""
        return {
            "format": report.FORMAT,
            "version": report.VERSION,
            "network": self.network,
            "subject": self.subject,
            "witness": self.witness,
            "arithmetic": self.arithmetic,
            "ok": self.ok,
            "notes": list(self.notes),
            "rows": [report.row_to_dict(row) for row in self.rows],
        }

    @property
    def title(self) -> str:
        """What was compared, in one line."""
        return f"{self.network}: {self.subject} against {self.witness}"

    def text(self, *, colour: bool = False) -> str:
        """The report as a table of at most 100 columns, in colour where asked."""
        lines = (self.title, self.arithmetic, self.rows, self.notes)
        return printable(report.text(*lines, colour=colour))

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return report.html(self.title, self.rows, self.notes)


@judging()
def compare(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    subject: Source = backprop,
    witness: Source = autodiff,
    precision: str | None = None,
    decimals: int | None = None,
) -> Agreement:
    """Judge every equation of a backward pass on its own inputs, by its rounding bound.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer; b None for no biases.
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,); the numbers of the classes will do for cross_entropy.
        subject: what is judged: a function (net, params, x, y), or what it would give: a
            `Backprop`, a dict by name such as {"dW1": …}, the gradients as [(dW1, db1), …], or an
            `Update`. A function is run on copies of the arguments.
        witness: what it is held against end to end, likewise.
        precision: of the subject's matrix products, as in `jax.default_matmul_precision`.
            Functions run at "highest" without it; of a record made on an accelerator the coarsest
            is assumed.
        decimals: how many digits after the point the subject's numbers were rounded to, where they
            were typed from paper.

    Returns:
        An `Agreement` with a `Row` for each quantity of each layer.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> agreement = mbp.compare(net, params, jnp.ones((5, 3)), jnp.eye(2)[jnp.arange(5) % 2])
        >>> agreement.ok
        True
    """
    check_settings(precision, decimals)
    call = read_call(net, params, x, y)
    sides = []
    for argument, source in (("subject", subject), ("witness", witness)):
        given = given_by(argument, source, (net, params, x, y), precision)
        if argument == "subject":
            drifts = tuple(drift.words for drift in copies_that_differ(net, params, given.record))
        known = precision or ("highest" if callable(source) else None)
        rounded = decimals if argument == "subject" else None
        sides.append(read_subject(argument, given, call, precision=known, decimals=rounded))
    mine, theirs = sides
    for place, misfit in theirs.misfits.items():
        raise ValueError(f"witness: {place.quantity}, layer {place.layer}: {misfit.note}")
    found = agreement_of(call, mine, theirs, judge(call, mine), whole=witness is not autodiff)
    return replace(found, notes=found.notes + drifts, drifts=drifts)


def check_settings(precision: Any, decimals: Any) -> None:
    """Raise an error where these are no precision of JAX's, or no number of digits."""
    problems = Problems()
    try:
        with jax.default_matmul_precision(precision):
            pass
    except Exception:  # whatever it may raise
        problems.value(
            f"precision: unknown {shown(precision)}; {nearest(shown(precision), PRECISIONS)}"
        )
    if decimals is not None:
        whole_number("decimals", decimals, 0, problems, most=MOST_DECIMALS)
    problems.raise_all()


def agreement_of(
    call: Call,
    mine: Subject,
    theirs: Subject,
    judged: Sequence[Judged],
    *,
    whole: bool = False,
) -> Agreement:
    """The verdicts on a subject that was judged.

    `whole` also bounds what rounding can do from x on, in the arithmetic of both, which the end to
    end differences then must not exceed; `autodiff` shares our arithmetic and needs none.
    """
    reach: list[Any] = [None] * len(judged)
    if whole:
        ours, its = reach_of(call, mine), reach_of(call, theirs)
        reach = [one.bound + other.bound for one, other in zip(ours, its, strict=True)]
    rows = []
    for one, limit in zip(judged, reach, strict=True):
        if one.place in mine.misfits:
            rows.append(misfit_row(one.place, mine.misfits[one.place]))
            continue
        expected = theirs.in_float64(one.place)
        if expected is not None and mine.scales != theirs.scales:
            expected = _in_scale(call, one.place, expected, mine.scales)
        apart = end_to_end(one.got, expected, limit, mine.arithmetic)
        rows.append(row_of(one, apart, one_example=call.x.ndim == 1))
    rows += [
        misfit_row(place, misfit)
        for place, misfit in mine.misfits.items()
        if place not in {one.place for one in judged}
    ]
    notes, hidden = mine.notes, [row.place.symbol for row in rows if row.verdict == UNDECIDED]
    if mine.is_update and hidden:
        notes += (f"the rounding of the update hides {listed(hidden)}: a larger η shows more",)
    notes += tuple(_assumed_rounding(call.net, rows))
    names = str(call.net), mine.name, theirs.name, mine.arithmetic.name
    found = Agreement(tuple(rows), *names, notes)
    return found if found.disagreements else replace(found, rows=tuple(map(held_to_witness, rows)))


def _assumed_rounding(net: Network, rows: Sequence[Row]) -> Iterator[str]:
    """A word on each σ of a user's own that states no rounding, where a row is a few bounds off."""
    off: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict == DISAGREES and row.quantity in ("a", "delta") and row.layer:
            sigma = net.sigma[row.layer]
            if sigma.rounding is None and 1 < row.bound_ratio <= A_FEW:
                off.setdefault(sigma.name, []).append(row.place.symbol)
    for name, places in off.items():
        yield (
            f"your σ {name!r} states no rounding, so that of a few operations on numbers near 1 is "
            f"assumed, and {listed(places)} {'are' if len(places) > 1 else 'is'} a few bounds off: "
            f"if σ or σ′ cancels or has large terms, say how much with Activation(rounding=…)"
        )


def _in_scale(call: Call, place: Place, shown: Shown, scales: Scales) -> Shown:
    """A value of ours in a subject's scale."""
    value = scales.scaled(call.net, call.params, place, shown.value)
    error = None if shown.error is None else abs(scales.of(place)[0]) * shown.error
    return shown._replace(value=value, error=error)
