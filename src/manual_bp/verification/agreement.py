"""compare: one record held against another, with a verdict for every equation of every layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from manual_bp.backprop import Backprop, backprop
from manual_bp.network import Network, Params, check_call, on_host
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

Numbers = np.ndarray[Any, Any]
Record = Backprop
Witness = Callable[[Network, Params, Any, Any], Backprop]

AGREES, DISAGREES, UNDECIDED, UNTESTED, NONFINITE = VERDICTS = (
    "agrees",
    "disagrees",
    "undecided",
    "untested",
    "nonfinite",
)
CLEAR = 16  # how many times its bound a quantity must be, for agreement to say something


@dataclass(frozen=True)
class Worst:
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
    mine = obtain("subject", subject, batch, precision)
    theirs = obtain("witness", witness, batch, precision)
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
    rows = [
        misfits.get((equation.quantity, equation.layer))
        or _row(equation, step, whole, one_example=x.ndim == 1)
        for equation, step, whole in judged
    ]
    found = Agreement(tuple(rows), str(net), mine.name, theirs.name, mine.arithmetic.name)
    return found if found.disagreements else replace(found, rows=tuple(map(_end_to_end, rows)))


# ── What is compared ─────────────────────────────────────────────────────────────────────────────


class Obtained(NamedTuple):
    """A record in its place, the arithmetic that made it, and a row for each array that misfits."""

    name: str
    evidence: Evidence
    arithmetic: Arithmetic
    misfits: list[Row]


def obtain(argument: str, source: Any, batch: tuple[Any, ...], precision: str | None) -> Obtained:
    """What a function gives for (net, params, x, y), or a record as it is, ready to be judged."""
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
    values, misfits = in_place(net, x.shape[:-1], record)
    evidence = Evidence(
        jax.tree.map(np.ma.getdata, values, is_leaf=np.ma.isMaskedArray),
        jax.tree.map(_told, values, is_leaf=np.ma.isMaskedArray),
        no_evidence(net) if error is None else in_place(net, x.shape[:-1], error)[0],
    )
    # What its numbers are good for: the parameters' format, or its own finest if that is coarser.
    arrays = jax.tree.leaves(values, is_leaf=np.ma.isMaskedArray)
    given = params[0][0].dtype
    dtype = min((array.dtype for array in arrays), key=_coarseness, default=given)
    dtype = max(given, dtype, key=_coarseness)
    made_by_jax = [array for array in arrays if isinstance(array, jax.Array)]
    platform = next(iter(made_by_jax[0].devices())).platform if made_by_jax else "numpy"
    arithmetic = arithmetic_of(dtype.name, precision=precision, platform=platform)
    if dtype != given:  # it has read x and the parameters in its own format
        u = arithmetic.u
        arithmetic = arithmetic._replace(reading=u, product=max(u, arithmetic.product))
    return Obtained(name, evidence, arithmetic, misfits)


def _told(array: Any) -> Any:
    return ~np.ma.getmaskarray(array) if np.ma.is_masked(array) else None


def _coarseness(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def in_place(net: Network, batch: tuple[int, ...], record: Record) -> tuple[Record, list[Row]]:
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
        if not hasattr(array, "dtype"):
            try:
                array = np.asarray(array)
            except ValueError:  # nested lists of unequal lengths
                array = np.asarray(None)
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
        arrays = (None,) * len(shapes) if arrays is None else arrays
        if np.iterable(arrays):
            arrays = tuple(arrays)
        if not isinstance(arrays, tuple) or len(arrays) != len(shapes):
            count = len(arrays) if isinstance(arrays, tuple) else type(arrays).__name__
            refuse(
                quantity,
                max(shapes),
                (),
                f"expected {len(shapes)} arrays, one a layer, got {count}",
            )
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


# ── The judging ──────────────────────────────────────────────────────────────────────────────────


def _judge(
    net: Network,
    subject: Arithmetic,
    witness: Arithmetic | None,
    params: Params,
    x: Array,
    y: Array,
    own: Evidence,
    reference: Evidence,
) -> list[tuple[Equation, dict[str, Any] | None, dict[str, Any] | None]]:
    """Every equation, with its numbers against its truth and, end to end, against the witness.

    `witness` is None for one whose own rounding is not in question.
    """
    params, x, y, own, reference = jax.tree.map(double, (params, x, y, own, reference))
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
    judged, numbers = [], []
    for equation, limit in zip(equations(net, subject, params, x, y, own), reach, strict=True):
        got, told, error = own.of(equation.quantity, equation.layer)
        expected, told_too, its_error = reference.of(equation.quantity, equation.layer)
        step = whole = None
        if got is not None:
            truth, bound, otherwise, terms = equation[3:7]
            step = (truth, bound, otherwise, terms, got, told, error)
            if expected is not None:
                whole = (got, expected, (told, told_too), limit, (error, its_error))
        judged.append(equation)
        numbers.append((step, whole))
    return [
        (
            equation,
            None if step is None else _against_truth(*step),
            None if whole is None else _against_witness(subject, *whole),
        )
        for equation, (step, whole) in zip(judged, jax.device_get(numbers), strict=True)
    ]


def double(array: Any) -> Any:
    """In float64, unless it is a mask; on the host there is nothing to compile for that."""
    if array.dtype in (bool, jnp.float64):
        return array
    return np.asarray(array, np.float64) if on_host(array) else array.astype(jnp.float64)


# Counting and comparing is NumPy's: there is nothing to compile for a network that is new.


def _against_truth(
    truth: Numbers,
    bound: Numbers,
    otherwise: tuple[Numbers, Numbers] | None,
    terms: tuple[Numbers, ...],
    got: Numbers,
    told: Numbers | None,
    error: Numbers | None,
) -> dict[str, Any]:
    if error is not None:
        bound = bound + error
    if np.isnan(bound.sum()):
        # γₙ is infinite for a long sum in a short format; times 0 it makes no claim either.
        bound = np.where(np.isnan(bound), np.inf, bound)
    shows = _shows(truth, bound, terms)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        off = np.abs(got - truth)
    if otherwise is not None and (off > bound).any():
        value, slack = otherwise
        nearer = _over(np.abs(got - value), slack) < _over(off, bound)
        truth, bound = np.where(nearer, value, truth), np.where(nearer, slack, bound)
        off = np.abs(got - truth)
    if told is not None:
        off = np.where(told, off, 0)
    ratio = _over(off, bound)
    worst = int(np.argmax(ratio))  # the first NaN, where there is one
    finite = bool(np.isfinite(off.sum()))
    if not finite:
        ratio = np.where(np.isnan(ratio), np.inf, ratio)  # NaN is as wrong as can be
    return {
        "finite": finite,
        "zero": not truth.any(),
        "shows": shows,
        "ratio": float(ratio.flat[worst]),
        "worst": worst,
        "got": float(got.flat[worst]),
        "expected": float(truth.flat[worst]),
        "wrong": int(np.count_nonzero(ratio > 1)),
        "undecided": int(np.count_nonzero((bound >= np.abs(truth)) & (truth != 0))),
        "told": got.size if told is None else int(np.count_nonzero(told)),
    }


def _over(off: Numbers, bound: Numbers) -> Numbers:
    """A difference as a fraction of its bound: 0 for none, infinite where none is allowed."""
    with np.errstate(invalid="ignore", divide="ignore"):  # infinity over infinity, x over 0
        ratio = off / bound
    return ratio if bound.all() else np.where(off == 0, 0.0, ratio)


def _shows(truth: Numbers, bound: Numbers, terms: tuple[Numbers, ...]) -> bool:
    """Whether a mistake would show: the bounds add up to less than a sixteenth of the values.

    And each term that the equation adds, such as a bias or the penalty, stands out somewhere.
    """
    if not CLEAR * bound.sum() < np.abs(truth).sum():
        return False
    return all(bool((2 * bound < np.abs(term)).any()) or not term.any() for term in terms)


def _against_witness(
    arithmetic: Arithmetic,
    got: Numbers,
    expected: Numbers,
    told: tuple[Numbers | None, Numbers | None],
    limit: Numbers | None,
    errors: tuple[Numbers | None, Numbers | None],
) -> dict[str, Any]:
    for part in told:
        if part is not None:
            got, expected = np.where(part, got, 0), np.where(part, expected, 0)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        off = np.abs(got - expected)
    found = {"finite": bool(np.isfinite(expected.sum())), "abs": float(off.max())}
    found |= {"rel": 0.0, "ulp": 0.0}
    if found["abs"] != 0:
        size = np.maximum(np.abs(got), np.abs(expected))
        # The power of two at or below a float64 is its bits without the fraction's.
        power = (np.maximum(size, arithmetic.tiny).view(np.int64) & 0x7FF0000000000000).view(float)
        found["rel"] = float(_over(off, size).max())
        found["ulp"] = float(_over(off, power).max()) / (2 * arithmetic.u)
    if limit is not None:
        limit = limit + sum(error for error in errors if error is not None)
        found["limit"] = float(_over(off, np.where(np.isnan(limit), np.inf, limit)).max())
    return found


# ── The verdicts ─────────────────────────────────────────────────────────────────────────────────


def _row(
    equation: Equation,
    step: dict[str, Any] | None,
    whole: dict[str, Any] | None,
    *,
    one_example: bool,
) -> Row:
    shape = equation.truth.shape
    if one_example and equation.quantity in ("z", "a", "delta"):
        shape = shape[1:]
    row = partial(Row, equation.name, equation.quantity, equation.layer, shape)
    if step is None:
        return row(None, None, None, None, 0.0, None, UNTESTED, 0, 0, 0, "not given")
    whole = whole or {}
    if not (step["finite"] and whole.get("finite", True)):
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
    if equation.missing:
        notes.append(f"{' and '.join(equation.missing)} not given: the truth taken")
    if untold := int(np.prod(shape)) - step["told"]:
        notes.append(f"{untold} values not told")
    index = tuple(map(int, np.unravel_index(step["worst"], shape)))
    return row(
        whole.get("abs"),
        whole.get("rel"),
        whole.get("ulp"),
        whole.get("limit"),
        step["ratio"],
        Worst(index, step["got"], step["expected"]),
        verdict,
        step["told"],
        step["wrong"],
        step["undecided"],
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
