"""compare: one record held against another, with a verdict for every equation of every layer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from manual_bp.backprop import Backprop, backprop
from manual_bp.network import Network, Params, check_call
from manual_bp.verification import report
from manual_bp.verification.equations import (
    Arithmetic,
    Equation,
    Evidence,
    arithmetic_of,
    equations,
    no_evidence,
)
from manual_bp.witnesses.autodiff import autodiff
from manual_bp.witnesses.numerical import numerical, numerical_with_error

Record = Backprop
Witness = Callable[[Network, Params, Any, Any], Backprop]

AGREES, DISAGREES, UNDECIDED, UNTESTED, NONFINITE = VERDICTS = (
    "agrees",
    "disagrees",
    "undecided",
    "untested",
    "nonfinite",
)


class Worst(NamedTuple):
    """The element farthest from its truth, in bounds."""

    index: tuple[int, ...]
    got: float
    expected: float


@dataclass(frozen=True)
class Row:
    """One equation at one layer, judged.

    Attributes:
        equation: "cost", "forward", "BP1", "BP2", "BP3" or "BP4".
        quantity: the field of the record: "cost", "z", "a", "delta", "dW" or "db".
        layer: l = 1…L; 0 for a⁰ = x; L for the cost.
        shape: of the subject's array.
        max_abs, max_rel, max_ulp: the largest difference from the witness, end to end: as it is,
            over the larger of the two values, and in units of the last place of the subject's
            dtype. None where one of them does not give the quantity.
        end_ratio: the largest difference from the witness as a fraction of what rounding can do
            from x on, in the arithmetic of both. None against `autodiff`, which shares ours.
        bound_ratio: the largest difference from this equation's truth, as a fraction of its
            rounding bound: a right computation stays at or below 1.
        worst: where that is: index, the subject's value, the truth from the subject's own inputs.
        verdict: "agrees", "disagrees", "undecided", "untested" or "nonfinite".
        values, wrong, undecided: how many values were judged, how many of them lie outside their
            bound, and for how many the bound is no smaller than the value.
        note: what else there is to say, such as an input that the subject did not give.
    """

    equation: str
    quantity: str
    layer: int
    shape: tuple[int, ...]
    max_abs: float | None
    max_rel: float | None
    max_ulp: float | None
    end_ratio: float | None
    bound_ratio: float
    worst: Worst | None
    verdict: str
    values: int
    wrong: int
    undecided: int
    note: str = ""


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
        verdicts = {row.verdict for row in self.rows}
        return AGREES in verdicts and not verdicts & {DISAGREES, NONFINITE}

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
        return report.to_dict(self)

    def __str__(self) -> str:
        return report.text(self)

    def _repr_html_(self) -> str:
        return report.html(self)


def compare(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    subject: Witness | Record = backprop,
    witness: Witness | Record = autodiff,
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
    mine = _obtain("subject", subject, batch, precision)
    theirs = _obtain("witness", witness, batch, precision)
    misfits = {(row.quantity, row.layer): row for row in mine.misfits}
    if theirs.misfits:
        row = theirs.misfits[0]
        raise ValueError(f"witness: {row.quantity}, layer {row.layer}: {row.note}")
    with jax.enable_x64(True):
        judged = _judge(
            net,
            mine.arithmetic,
            None if witness is autodiff else theirs.arithmetic,
            params,
            jnp.atleast_2d(x),
            jnp.atleast_2d(y),
            mine.evidence,
            theirs.evidence,
        )
    judged = jax.device_get(judged)
    rows = [misfits.get((j.quantity, j.layer)) or _row(j, x.ndim == 1) for j in judged]
    if not any(row.verdict in (DISAGREES, NONFINITE) for row in rows):
        rows = [_end_to_end(row) for row in rows]
    return Agreement(tuple(rows), str(net), mine.name, theirs.name, mine.arithmetic.name)


# ── What is compared ─────────────────────────────────────────────────────────────────────────────


class _Obtained(NamedTuple):
    """A record in its place, the arithmetic that made it, and a row for each array that misfits."""

    name: str
    evidence: Evidence
    arithmetic: Arithmetic
    misfits: list[Row]


def _obtain(argument: str, source: Any, batch: tuple[Any, ...], precision: str | None) -> _Obtained:
    net, params, x, _ = batch
    name, record, error = "a record", source, None
    if callable(source):
        name, precision = getattr(source, "__name__", "a function"), precision or "highest"
        with jax.default_matmul_precision(precision):
            if source is numerical:
                record, error = numerical_with_error(*batch)
            else:
                record = source(*batch)
    if not isinstance(record, Backprop):
        what = "it to return a Backprop" if callable(source) else "a function or a Backprop"
        raise TypeError(f"{argument}: expected {what}, got {type(record).__name__}")
    values, misfits = _in_place(net, x.shape[:-1], record)
    evidence = Evidence(
        jax.tree.map(np.ma.getdata, values, is_leaf=np.ma.isMaskedArray),
        jax.tree.map(_told, values, is_leaf=np.ma.isMaskedArray),
        no_evidence(net) if error is None else _in_place(net, x.shape[:-1], error)[0],
    )
    # What its numbers are good for: the coarser of the parameters' format and its own.
    arrays = jax.tree.leaves(values, is_leaf=np.ma.isMaskedArray)
    dtype = max((params[0][0].dtype, *(array.dtype for array in arrays)), key=_coarseness)
    made_by_jax = [array for array in arrays if isinstance(array, jax.Array)]
    platform = next(iter(made_by_jax[0].devices())).platform if made_by_jax else "numpy"
    arithmetic = arithmetic_of(dtype.name, precision=precision, platform=platform)
    return _Obtained(name, evidence, arithmetic, misfits)


def _told(array: Any) -> Any:
    return ~np.ma.getmaskarray(array) if np.ma.is_masked(array) else None


def _coarseness(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def _in_place(net: Network, batch: tuple[int, ...], record: Record) -> tuple[Record, list[Row]]:
    """The record with each array in its place, as a batch, or None; a row for each misfit."""
    misfits: list[Row] = []

    def refuse(quantity: str, layer: int, shape: tuple[int, ...], note: str) -> None:
        equation = {"cost": "cost", "z": "forward", "a": "forward", "db": "BP3", "dW": "BP4"}.get(
            quantity, "BP1" if layer == net.depth else "BP2"
        )
        size = int(np.prod(shape))
        misfits.append(
            Row(
                *(equation, quantity, layer, shape, *(None,) * 4, np.inf, None, DISAGREES),
                *(size, size, 0, note),
            )
        )

    def place(quantity: str, layer: int, array: Any, expected: tuple[int, ...]) -> Any:
        if array is None:
            return None
        array = array if hasattr(array, "dtype") else np.asarray(array)
        if array.shape != expected:
            note = f"expected shape {expected}, got {array.shape}"
        elif not jnp.issubdtype(array.dtype, jnp.floating):
            note = f"expected real floating-point numbers, got dtype {array.dtype}"
        else:
            return array if quantity in ("cost", "dW", "db") else array.reshape(-1, expected[-1])
        refuse(quantity, layer, array.shape, note)
        return None

    def places(quantity: str, shapes: dict[int, tuple[int, ...]]) -> tuple[Any, ...]:
        arrays = getattr(record, quantity)
        arrays = (None,) * len(shapes) if arrays is None else tuple(arrays)
        if len(arrays) != len(shapes):
            note = f"expected {len(shapes)} arrays, one a layer, got {len(arrays)}"
            refuse(quantity, max(shapes), (), note)
            arrays = (None,) * len(shapes)
        return tuple(
            place(quantity, l, array, shape)
            for (l, shape), array in zip(shapes.items(), arrays, strict=True)
        )

    sizes = dict(enumerate(net.sizes))
    batches = {l: (*batch, n) for l, n in sizes.items()}
    of_layers = {l: batches[l] for l in net.layers}
    return Backprop(
        cost=place("cost", net.depth, record.cost, ()),
        z=places("z", of_layers),
        a=places("a", batches),
        delta=places("delta", of_layers),
        dW=places("dW", {l: (sizes[l], sizes[l - 1]) for l in net.layers}),
        db=places("db", {l: (sizes[l],) for l in net.layers}),
    ), misfits


# ── The judging, as one compiled program ─────────────────────────────────────────────────────────


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Judged:
    """An equation's numbers; the names are part of the program, not arrays."""

    equation: str = field(metadata={"static": True})
    quantity: str = field(metadata={"static": True})
    layer: int = field(metadata={"static": True})
    missing: tuple[str, ...] = field(metadata={"static": True})
    shape: tuple[int, ...] = field(metadata={"static": True})
    step: dict[str, Array] | None  # against the truth; None where the subject gives nothing
    whole: dict[str, Array] | None  # against the witness, end to end


@partial(jax.jit, static_argnums=(0, 1, 2))
def _judge(
    net: Network,
    subject: Arithmetic,
    witness: Arithmetic | None,
    params: Params,
    x: Array,
    y: Array,
    own: Evidence,
    reference: Evidence,
) -> list[_Judged]:
    """Every equation's numbers. `witness` is None for one whose own rounding is not in question."""
    params, x, y, own, reference = jax.tree.map(
        lambda array: array if array.dtype == bool else array.astype(jnp.float64),
        (params, x, y, own, reference),
    )
    judged = []
    nothing = Evidence(*3 * (no_evidence(net),))
    # What rounding alone can do from x to each quantity, in the arithmetic of both.
    reach: list[Array | None] = [None] * (2 + 5 * net.depth)
    if witness is not None:
        reach = [
            mine.bound + theirs.bound
            for mine, theirs in zip(
                equations(net, subject, params, x, y, nothing),
                equations(net, witness, params, x, y, nothing),
                strict=True,
            )
        ]
    for equation, limit in zip(equations(net, subject, params, x, y, own), reach, strict=True):
        got, told, error = own.of(equation.quantity, equation.layer)
        expected, told_too, its_error = reference.of(equation.quantity, equation.layer)
        step = whole = None
        if got is not None:
            step = _against_truth(equation, got, told, error)
            if expected is not None:
                told = told if told_too is None else told_too if told is None else told & told_too
                for stated in (error, its_error):
                    limit = limit if stated is None or limit is None else limit + stated
                whole = _against_witness(got, expected, told, limit, subject)
        judged.append(
            _Judged(
                equation.name,
                equation.quantity,
                equation.layer,
                equation.missing,
                equation.truth.shape,
                step,
                whole,
            )
        )
    return judged


def _against_truth(
    equation: Equation, got: Array, told: Array | None, error: Array | None
) -> dict[str, Array]:
    truth, bound = equation.truth, equation.bound
    if error is not None:
        bound = bound + error
    off = jnp.abs(got - truth)
    if equation.otherwise is not None:
        other = jnp.abs(got - equation.otherwise)
        truth = jnp.where(other < off, equation.otherwise, truth)
        off = jnp.minimum(off, other)
    if told is not None:
        off = jnp.where(told, off, 0)
    ratio = jnp.where(off == 0, 0, off / bound)
    finite = jnp.isfinite(got) & jnp.isfinite(truth)
    worst = jnp.argmax(jnp.where(finite, ratio, jnp.inf))
    hidden = (bound >= jnp.abs(truth)) & (truth != 0) & (ratio <= 1)
    return {
        "finite": finite.all(),
        "zero": (truth == 0).all(),
        "shows": _shows(equation, bound),
        "ratio": ratio.ravel()[worst],
        "worst": worst,
        "got": got.ravel()[worst],
        "expected": truth.ravel()[worst],
        "wrong": (ratio > 1).sum(),
        "undecided": hidden.sum(),
        "told": jnp.asarray(got.size) if told is None else told.sum(),
    }


def _shows(equation: Equation, bound: Array) -> Array:
    """Whether a mistake would show: the bound is less than half of the value.

    Half, since that is what the least of the usual wrong factors (½, 2, −1, m) changes. It holds
    of every unit and every example (each row and column of the array), since a mistake may touch
    one alone, and somewhere of each term that the equation adds, such as a bias or the penalty.
    """
    size = jnp.abs(equation.truth)
    shows = jnp.asarray(True)
    for axis in (0, 1) if size.ndim == 2 else (None,):
        total = size.sum(axis=axis)
        shows &= ((2 * bound.sum(axis=axis) < total) | (total == 0)).all()
    for term in equation.terms:
        shows &= (2 * bound < jnp.abs(term)).any() | (term == 0).all()
    return shows


def _against_witness(
    got: Array, expected: Array, told: Array | None, limit: Array | None, arithmetic: Arithmetic
) -> dict[str, Array]:
    off = jnp.abs(got - expected)
    if told is not None:
        off = jnp.where(told, off, 0)
    size = jnp.maximum(jnp.abs(got), jnp.abs(expected))
    _, exponent = jnp.frexp(jnp.maximum(size, arithmetic.tiny))
    last_place = jnp.ldexp(2 * arithmetic.u, exponent - 1)
    numbers = {
        "finite": jnp.isfinite(expected).all(),
        "abs": off.max(),
        "rel": jnp.where(off == 0, 0, off / size).max(),
        "ulp": (off / last_place).max(),
    }
    if limit is not None:
        numbers["limit"] = jnp.where(off == 0, 0, off / limit).max()
    return numbers


# ── The verdicts ─────────────────────────────────────────────────────────────────────────────────


def _row(judged: _Judged, one_example: bool) -> Row:
    shape = judged.shape
    if one_example and judged.quantity in ("z", "a", "delta"):
        shape = shape[1:]
    names = (judged.equation, judged.quantity, judged.layer, shape)
    step, whole = judged.step, judged.whole
    if step is None:
        return Row(*names, *(None,) * 4, 0.0, None, UNTESTED, 0, 0, 0, "not given")
    differences = [
        None if whole is None or k not in whole else float(whole[k])
        for k in ("abs", "rel", "ulp", "limit")
    ]
    if not step["finite"] or (whole is not None and not whole["finite"]):
        verdict = NONFINITE
    elif step["ratio"] > 1:
        verdict = DISAGREES
    elif step["zero"] or not step["told"]:
        verdict = UNTESTED
    elif step["shows"]:
        verdict = AGREES
    else:
        verdict = UNDECIDED
    notes = []
    if judged.missing:
        notes.append(f"{' and '.join(judged.missing)} not given: the witness's taken")
    untold = int(np.prod(shape)) - int(step["told"])
    if untold:
        notes.append(f"{untold} values not told")
    index = tuple(map(int, np.unravel_index(int(step["worst"]), shape)))
    return Row(
        *names,
        *differences,
        float(step["ratio"]),
        Worst(index, float(step["got"]), float(step["expected"])),
        verdict,
        int(step["told"]),
        int(step["wrong"]),
        int(step["undecided"]),
        "; ".join(notes),
    )


def _end_to_end(row: Row) -> Row:
    """Every equation holds: then no quantity may be farther from the witness than rounding goes."""
    if row.end_ratio is None or row.end_ratio <= 1:
        return row
    note = (
        f"follows from its inputs, yet is {row.end_ratio:,.3g} times as far from the witness as "
        f"rounding goes"
    )
    return replace(row, verdict=DISAGREES, note="; ".join(filter(None, (row.note, note))))
