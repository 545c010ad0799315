"""compare: one record held against another, with a verdict for every equation of every layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from manual_bp.backprop import backprop
from manual_bp.calls import check_call
from manual_bp.network import Network, Params
from manual_bp.record import Backprop
from manual_bp.text import printable
from manual_bp.verdicts import report
from manual_bp.verdicts.judge import Judged, judge
from manual_bp.verdicts.rows import (
    AGREES,
    DISAGREES,
    NONFINITE,
    Row,
    end_to_end,
    held_to_witness,
    misfit_row,
    row_of,
)
from manual_bp.verdicts.subject import Function, Subject, read_subject
from manual_bp.witnesses.autodiff import autodiff


@dataclass(frozen=True)
class Agreement:
    """The verdicts of `compare`.

    Attributes:
        rows: one for each quantity of each layer, in the order of the six steps.
        network, subject, witness, arithmetic: what was compared, in words.

    `str()` gives a table, as does a notebook; nothing but the rounding bound decides.
    """

    rows: tuple[Row, ...]
    network: str
    subject: str
    witness: str
    arithmetic: str

    @property
    def ok(self) -> bool:
        """Whether something could be tested, and nothing disagrees or is NaN or Inf."""
        return any(row.verdict == AGREES for row in self.rows) and not self.disagreements

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
            "rows": [report.row_to_dict(row) for row in self.rows],
        }

    @property
    def title(self) -> str:
        """What was compared, in one line."""
        return f"{self.network}: {self.subject} against {self.witness}"

    def text(self, *, colour: bool = False) -> str:
        """The report as a table of at most 100 columns, in colour where asked."""
        return printable(report.text(self.title, self.arithmetic, self.rows, colour=colour))

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return report.html(self.title, self.rows)


def compare(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    subject: Function | Backprop = backprop,
    witness: Function | Backprop = autodiff,
    precision: str | None = None,
) -> Agreement:
    """Judge every equation of a backward pass on its own inputs, by its rounding bound.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,).
        subject: what is judged: a function (net, params, x, y) -> Backprop, or a record, in JAX or
            NumPy arrays, with None for what it does not give.
        witness: what it is held against end to end, likewise.
        precision: of the subject's matrix products, as in `jax.default_matmul_precision`.
            Functions run at "highest" without it; of a record made on an accelerator the coarsest
            is assumed.

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
    check_call(net, params, x, y)
    batch = (net, params, x, y)
    mine = read_subject("subject", subject, batch, precision)
    theirs = read_subject("witness", witness, batch, precision)
    for place, misfit in theirs.misfits.items():
        raise ValueError(f"witness: {place.quantity}, layer {place.layer}: {misfit.note}")
    judged = judge(net, mine.arithmetic, params, x, y, mine.shown)
    return agreement_of(batch, mine, theirs, judged, whole=witness is not autodiff)


def agreement_of(
    batch: tuple[Any, ...],
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
    net, params, x, y = batch
    reach: list[Any] = [None] * len(judged)
    if whole:
        ours, its = (judge(net, of.arithmetic, params, x, y, {}) for of in (mine, theirs))
        reach = [one.bound + other.bound for one, other in zip(ours, its, strict=True)]
    rows = []
    for one, limit in zip(judged, reach, strict=True):
        if one.place in mine.misfits:
            rows.append(misfit_row(one.place, mine.misfits[one.place]))
            continue
        expected = theirs.in_float64(one.place)
        apart = end_to_end(one.got, expected, limit, mine.arithmetic)
        rows.append(row_of(one, apart, one_example=x.ndim == 1))
    found = Agreement(tuple(rows), str(net), mine.name, theirs.name, mine.arithmetic.name)
    return found if found.disagreements else replace(found, rows=tuple(map(held_to_witness, rows)))
