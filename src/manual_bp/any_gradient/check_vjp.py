"""check_vjp: whether any hand-written gradient is right, and which of its terms is not."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.any_gradient.fit import Explanation
from manual_bp.any_gradient.operations import NAMES
from manual_bp.any_gradient.sensitive import sensitive_inputs
from manual_bp.any_gradient.terms import TermSearch
from manual_bp.checks import Problems, one_of, random_key
from manual_bp.diagnosis.check import Diagnosis
from manual_bp.diagnosis.finding import Finding
from manual_bp.record import GRADIENT, Place
from manual_bp.rounding.arithmetic import Arithmetic
from manual_bp.rounding.certificate import SAFETY
from manual_bp.rounding.operations import equations
from manual_bp.subjects.gradients import (
    Obtained,
    Reference,
    obtained_from,
    read_reference,
    subject_name,
)
from manual_bp.surroundings import judging
from manual_bp.text import listed, of_bound
from manual_bp.verdicts.compare import PRECISIONS, Agreement
from manual_bp.verdicts.gradients import Standard, all_right, arithmetic_for, judge_gradients
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.rows import DISAGREES, NONFINITE, Row

FAR = 1000  # bounds; what is no farther off may be an ε, which small inputs show better


@judging()
def check_vjp(
    reference: Callable[..., Any],
    subject: Any,
    *args: Any,
    cotangent: Any = None,
    argnums: int | Sequence[int] | None = None,
    arithmetic: str | Arithmetic | None = None,
    key: Any = None,
) -> Diagnosis:
    """Judge any hand-written gradient by what rounding can do, and find the term that is wrong.

    Args:
        reference: the same function, written plainly in JAX. It is differentiated in float64.
        subject: what is checked. A function like the reference, with a backward pass of its own
            (`jax.custom_vjp`, a kernel); or a pullback (args, cotangent) -> gradients; or the
            gradients themselves: a tuple, a dict by the names of the arguments, or a
            `Vjp(gradients, value)`. None stands for zeros.
        *args: the arguments, real and whole numbers in any structure, each in its own format.
        cotangent: what is sent back through the function, of its value's shape. Drawn at random
            without it; of gradients that were computed elsewhere it has to be given.
        argnums: the arguments whose gradients are checked; all that have real numbers, without it.
        arithmetic: how the subject's products read their factors, as in
            `jax.default_matmul_precision`, or an `Arithmetic`.
        key: of `jax.random`, for the cotangent and the simulated roundings.

    Returns:
        A `Diagnosis` with a row for the value and for each gradient.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> def softplus(x):
        ...     return jnp.log1p(jnp.exp(x))
        >>> def backward(args, cotangent):
        ...     return (cotangent / (1 + jnp.exp(-args[0])),)
        >>> x = jax.random.normal(jax.random.key(0), (8, 16))
        >>> mbp.check_vjp(softplus, backward, x).ok
        True
        >>> mbp.check_vjp(softplus, lambda args, g: (2 * g / (1 + jnp.exp(-args[0])),), x).ok
        False
    """
    key = jax.random.key(0) if key is None else key
    problems = Problems()
    random_key("key", key, problems)
    if isinstance(arithmetic, str):
        one_of("arithmetic", arithmetic, PRECISIONS, problems)
    elif arithmetic is not None and not isinstance(arithmetic, Arithmetic):
        problems.type(f"arithmetic: expected one of {', '.join(PRECISIONS)}, got {arithmetic!r}")
    problems.raise_all()
    of_cotangent, of_roundings = jax.random.split(key)
    read = read_reference(
        reference, args, cotangent, argnums, of_cotangent, drawn=callable(subject)
    )
    if not isinstance(arithmetic, Arithmetic):
        arithmetic = arithmetic_for(read, arithmetic)
    return diagnosed(Standard.of(read, arithmetic, of_roundings), subject)


def diagnosed(standard: Standard, subject: Any) -> Diagnosis:
    """What is right and wrong about one subject; the standard serves for others as well."""
    read = standard.reference
    obtained = obtained_from(read, subject)
    judged = judge_gradients(standard, obtained)
    findings = list(_findings(standard, obtained, judged))
    notes = list(obtained.notes)
    if callable(subject):
        found, more = _when_run_again(standard, subject, obtained)
        findings += [] if findings else found
        notes += more
        if all(row.bound_ratio < FAR for _, row in judged):
            found, more = _at_sensitive_inputs(standard, subject)
            findings = found or findings
            notes += more
    names = read.name, subject_name(subject), "jax.vjp in float64", standard.arithmetic.name
    agreement = Agreement(tuple(row for _, row in judged), *names, tuple(notes))
    shown = tuple(one for one, _ in judged if one.place.equation == GRADIENT)
    return Diagnosis(tuple(findings), agreement, judged=shown)


# ── What is wrong ────────────────────────────────────────────────────────────────────────────────


def _findings(
    standard: Standard, obtained: Obtained, judged: Sequence[tuple[Judged, Row]], where: str = ""
) -> Iterator[Finding]:
    """A finding for each group of places that one thing explains, and each that nothing does."""
    rows = {row.place: row for _, row in judged}
    wrong = [place for place, row in rows.items() if row.verdict in (DISAGREES, NONFINITE)]
    if not wrong:
        return
    searched = [
        place
        for place in wrong
        if place.equation == GRADIENT and rows[place].verdict == DISAGREES
        and place not in obtained.misfits
    ]  # fmt: skip
    groups = TermSearch(standard, [one for one, _ in judged], searched).explanations()
    explained = {place for ways in groups for place in ways[0].places}
    left = [place for place in wrong if place not in explained]
    if (
        left
        and not groups
        and (coarser := _coarser(standard, obtained, [one for one, _ in judged], searched))
    ):
        yield coarser
        return
    for ways in groups:
        yield _explained(ways, rows, where)
    for place in left:
        one = next(one for one, row in judged if row.place == place)
        yield _unexplained(one, rows[place], where)


def _explained(ways: Sequence[Explanation], rows: dict[Place, Row], where: str) -> Finding:
    best = ways[0]
    names = listed(place.quantity for place in best.places)
    worst = max(rows[place].bound_ratio for place in best.places)
    told = "; or if ".join(dict.fromkeys(" and ".join(way.words) for way in ways))
    alone = f" in {names} alone" if best.strays else ""
    verb = "are" if len(best.places) > 1 else "is"
    explanation = (
        f"{where}your {names} {verb} what comes out if {told}{alone}. The right value differs "
        f"from yours by {of_bound(worst)}."
    )
    fixes = dict.fromkeys(NAMES[name][1] for way in ways for name in way.names)
    others = dict.fromkeys(way.names for way in ways if way.names != best.names)
    return Finding(GRADIENT, 0, best.names, tuple(others), explanation, " Or: ".join(fixes))


def _unexplained(judged: Judged, row: Row, where: str) -> Finding:
    name = row.place.quantity
    if judged.got is None:
        return _unnamed(row, f"{where}your {name} {row.note}.", "Give it that shape.")
    if row.verdict == NONFINITE and row.worst is not None:
        at = f" at {row.worst.index}" if row.worst.index else ""
        return _unnamed(
            row,
            f"{where}your {name} is {row.worst.got}{at}, where {row.worst.expected:.6g} is right.",
            "Look for 0/0, log 0 or an overflow there.",
        )
    fix = "This is no single edit of the reference's backward pass: compare that gradient's terms."
    if row.equation != GRADIENT:
        fix = "Compare the forward pass with the reference."
    return _unnamed(
        row,
        f"{where}your {name} is {_pattern(judged)}. The right value differs from it by "
        f"{of_bound(row.bound_ratio)}.",
        fix,
    )


def _unnamed(row: Row, explanation: str, fix: str) -> Finding:
    return Finding(row.equation, 0, (), (), explanation, fix)


def _pattern(judged: Judged) -> str:
    """Where the wrong values are: in one value, one row, one column, or how many of them."""
    assert judged.got is not None
    wrong = np.abs(judged.got.value - judged.truth) > judged.bound
    if wrong.sum() == 1:
        return f"wrong in one value alone, at {tuple(map(int, np.argwhere(wrong)[0]))}"
    for axis, name in ((0, "row"), (wrong.ndim - 1, "column")):
        if wrong.ndim > 1:
            others = tuple(i for i in range(wrong.ndim) if i != axis)
            (where,) = np.nonzero(wrong.any(axis=others))
            if len(where) == 1 < wrong.shape[axis]:
                return f"wrong in {name} {where[0]} alone"
            if 0 < len(where) <= wrong.shape[axis] // 2:
                first, last = int(where[0]), int(where[-1])
                return f"wrong in {len(where)} of {wrong.shape[axis]} {name}s, {first} to {last}"
    return f"wrong in {int(wrong.sum()):,} of {wrong.size:,} values"


def _coarser(
    standard: Standard, obtained: Obtained, judged: Sequence[Judged], wrong: Sequence[Place]
) -> Finding | None:
    """A finding where a coarser arithmetic explains what is off, as large as it usually is."""
    gradients = [one for one in judged if one.place.equation == GRADIENT and one.got is not None]
    if len(wrong) < (2 if len(gradients) > 1 else 1) or 2 * len(wrong) < len(gradients):
        return None  # a coarser arithmetic is seen in more places than a mistake
    used = {eqn.primitive.name for eqn in equations(standard.reference.program)}
    for name, words, arithmetic in _coarser_arithmetics(standard.arithmetic):
        if name.startswith("products") and not used & {"dot_general", "conv_general_dilated"}:
            continue
        coarseness = max(arithmetic.u, arithmetic.product) / standard.arithmetic.u
        shares = [_share(standard, one) for one in judged if one.place in wrong]
        if coarseness > 1 and not all(1e-3 < share / coarseness < SAFETY for share in shares):
            continue
        other = Standard.of(standard.reference, arithmetic, standard.key)
        again = judge_gradients(other, obtained)
        if not all_right(again):
            continue
        share = min(_share(other, one) for one, row in again if row.place in wrong)
        if share < (1 / 8 if len(wrong) > 1 else 1 / 2):
            continue
        names = listed(place.quantity for place in wrong)
        return Finding(
            wrong[0].equation,
            0,
            (name,),
            (),
            f"your {names} {'are' if len(wrong) > 1 else 'is'} off by what rounding does if "
            f"{words}, and no further.",
            "Keep them in a finer format, or, if that is meant, say so with arithmetic=.",
        )
    return None


def _share(standard: Standard, judged: Judged) -> float:
    """How large the errors are beside those that are usual: about 1 where they are such."""
    usual = standard.usual[judged.place]
    if judged.got is None or not usual.any():
        return 0.0
    off = judged.got.value - judged.truth
    return float(np.sqrt(np.mean(np.square(off)) / np.mean(np.square(usual))))


def _coarser_arithmetics(ar: Arithmetic) -> Iterator[tuple[str, str, Arithmetic]]:
    single, tf32, brain = 2.0**-24, 2.0**-11, 2.0**-8
    if ar.u > single:
        if ar.accumulator < ar.u:
            yield "short_sums", "sums are kept in the short format", ar._replace(accumulator=ar.u)
        return
    if ar.u == single:
        if ar.product < tf32:
            words = "the factors of products are read as TF32"
            yield "products_in_tensorfloat32", words, ar._replace(product=tf32)
            words = "the factors of products are read as bfloat16"
            yield "products_in_bfloat16", words, ar._replace(product=brain)
        yield (
            "computed_in_bfloat16",
            "it is computed in bfloat16 on the way",
            ar._replace(u=brain),
        )
        return
    tiny = float(jnp.finfo(jnp.float32).tiny)
    yield (
        "computed_in_float32",
        "it is computed in float32 on the way",
        ar._replace(u=single, accumulator=single, tiny=tiny),
    )


# ── What one run does not show ───────────────────────────────────────────────────────────────────


def _when_run_again(
    standard: Standard, subject: Any, obtained: Obtained
) -> tuple[list[Finding], list[str]]:
    """Whether a second run gives the same, and twice the cotangent twice the gradients."""
    reference, findings, notes = standard.reference, list[Finding](), list[str]()
    again = obtained_from(reference, subject)
    differing = [
        place.quantity
        for place, array in obtained.arrays.items()
        if not np.array_equal(array, again.arrays.get(place, np.nan), equal_nan=True)
    ]
    if differing:
        notes.append(f"two runs gave different bits for {listed(differing)}")
    twice = obtained_from(reference.with_twice_the_cotangent(), subject)
    for place, array in obtained.arrays.items():
        if place.equation != GRADIENT or place not in twice.arrays:
            continue
        off = np.abs(twice.arrays[place] - 2 * array)
        slack = 4 * standard.bound(place, obtained.formats[place])
        finite = np.isfinite(twice.arrays[place]) & np.isfinite(array)
        if (off > slack)[finite].any():
            findings.append(
                Finding(
                    GRADIENT,
                    0,
                    ("not_linear",),
                    (),
                    f"twice the cotangent does not give twice your {place.quantity}.",
                    "Gradients are linear in the cotangent: multiply by it once, everywhere.",
                )
            )
    return findings, notes


def _at_sensitive_inputs(standard: Standard, subject: Any) -> tuple[list[Finding], list[str]]:
    """The verdict where an ε, a mean or ties show, if the reference has such."""
    findings, notes = list[Finding](), list[str]()
    for case in sensitive_inputs(standard.reference):
        other = standard.at(case.reference) if case.tied is None else _tied(standard, case.tied)
        if not all(np.isfinite(truth).all() for truth in other.truth.values()):
            continue
        obtained = case.obtained(subject)
        judged = judge_gradients(other, obtained)
        where = f"on your inputs with {case.words}"
        findings += [] if findings else _findings(other, obtained, judged, f"{where}, ")
        notes.append(f"also run {where}, where {case.shows} shows")
    return findings, notes


def _tied(standard: Standard, tied: Reference) -> Standard:
    """The standard of a reference whose equal values are one; compiled once for all arguments."""
    if "tied" not in standard.compiled:
        standard.compiled["tied"] = Standard.of(tied, standard.arithmetic, standard.key)
    of_the_program: Standard = standard.compiled["tied"]
    return of_the_program.at(tied)
