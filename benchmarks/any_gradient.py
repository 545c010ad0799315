"""The proof that any hand-written gradient is judged rightly: mistakes planted in layers.

Each mistake is an edit of one page of `manual_bp.layers`, such as people make. `check_vjp` must
find each of them, and must not name what it is not. Beside it stands what others go by: JAX's
`check_grads`, chex's `assert_numerical_grads`, the rule of FlashAttention's tests (at most 3 times
as far off as the plain form in the same format), and the tolerances of `torch.testing`. None of
these says which term is wrong.

Right ways are the same gradients by other algorithms, orders of sums and formulas, in three
formats, of which none may be rejected. A value that is undecided is not.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from gradients.cases import LAYERS, SIZES, Case, Gradients, case
from gradients.mistakes import MISTAKES, Mistake
from gradients.ways import WAYS, Way
from manual_bp.any_gradient.check_vjp import diagnosed
from manual_bp.cli.main import new_app, run_app
from manual_bp.record import GRADIENT
from manual_bp.subjects.gradients import Reference, obtained_from, read_reference
from manual_bp.surroundings import judging
from manual_bp.verdicts.gradients import Standard, arithmetic_for, judge_gradients
from proof import WORST, About, concluded, counted
from table import Cells, Figure, Files, Rows, select

FORMAT = "manual_bp.any_gradient 1"
OURS = "check_vjp"
FOUND, NAMED, PLACED, MISNAMED = "found", "named", "told without a name", "misnamed"
SHOWS = {"attention": 0, "conv2d": 2}  # the shape that has blocks, and a stride
DTYPES = ("float32", "float64", "bfloat16")
Pullback = Callable[[Any, Any], Gradients]

LEFT_OUT = {"term_missing", "term_left_out", "factor_left_out", "function_left_out"}
LEFT_OUT |= {"slope_left_out"}
LEFT_OUT |= {"gradient_missing", "mask_missing"}
SCALED = {"term_scaled", "gradient_scaled", "count_off_by_one", "factor_left_out", "factor_twice"}
TWICE = {"term_twice", "factor_twice"} | SCALED
COTANGENT = {"cotangent_ignored"}
EXCHANGED = {"factor_exchanged", "gradients_exchanged"}
TOLD: tuple[tuple[str, set[str]], ...] = (
    ("cotangent ignored", COTANGENT),
    (r"g\[0\]|added up", COTANGENT | {"gradient_scaled"}),
    ("row.*lost|rows of|position|first image|block|last step|queries|keys|only the last",
     {"rows_missing", "gradient_missing", "term_missing"}),
    ("epsilon outside", {"epsilon_outside_root"}),
    ("epsilon", {"constant_changed", "term_left_out"}),
    ("flipped", {"kernel_not_flipped"}),
    ("transposed", {"operand_transposed"}),
    ("overwritten", {"overwritten"}),
    ("shifted|beside|off by one|same step", {"index_off_by_one", "mask_off_by_one"}),
    ("exchanged|of dS", EXCHANGED),
    ("for x-hat|of o alone", EXCHANGED | LEFT_OUT),
    ("of dx-hat|has gamma$", EXCHANGED | TWICE),
    ("of the output$", EXCHANGED),
    ("2 lost", SCALED),
    ("padding row gets", {"function_left_out", "mask_missing"}),
    ("mask the other way round", {"mask_inverted"}),
    ("term added|sign|other way round", {"term_negated", "sign_swapped", "gradient_negated"}),
    ("scale missing|1/.*missing", LEFT_OUT | SCALED),
    ("missing|not |lost|ignored|forgotten|constant|alone|evaluation|truncated|for ", LEFT_OUT),
    ("twice|once more|as well|too|has gamma|of dx-hat", TWICE),
    ("mean|count|divided|scale|1 - p|over the", SCALED | {"rows_scaled"}),
)  # fmt: skip
"""By words of a mistake, the names that tell it; what sums for means are is in none of them."""


def pullback(one: Mistake | Way, drawn: Case) -> Pullback:
    """(args, cotangent) -> gradients, as a mistake or a way computes them."""

    def gradients(args: Any, cotangent: Any) -> Gradients:
        arrays = dict(zip(drawn.args, args, strict=True))
        return one.gradients(drawn._replace(args=arrays, cotangent=cotangent))

    return gradients


def told(mistake: Mistake) -> set[str]:
    """The names that tell a mistake."""
    if mistake.name.startswith("sum for mean"):
        return SCALED
    return next((names for words, names in TOLD if re.search(words, mistake.name)), set())


@cache
def shown_in(layer: str, dtype: str) -> tuple[Case, Standard]:
    """The case in which a layer's mistakes are planted, and what is right there."""
    drawn = case(layer, SHOWS.get(layer, 1), 0, dtype)
    reference = referred(drawn)
    arithmetic = arithmetic_for(reference, None)
    with judging():
        return drawn, Standard.of(reference, arithmetic, jax.random.key(0))


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────


def planted(mistake: Mistake, dtype: str) -> Iterator[Figure]:
    """Whether a mistake is found, and what it is called."""
    drawn, standard = shown_in(mistake.layer, dtype)
    with judging():
        diagnosis = diagnosed(standard, pullback(mistake, drawn))
    row = Figure("mistakes", mistake.layer, sigma=dtype, peer=OURS)
    found = bool(diagnosis.findings)
    where = f"{mistake.layer}, {mistake.name}, in {dtype}"
    undecided = any(row.verdict == "undecided" for row in diagnosis.agreement.rows)
    missed = "undecided" if undecided or is_below_rounding(mistake, drawn, standard) else "missed"
    note = f"{where} is not found" if not found and missed == "missed" else ""
    yield row._replace(what=FOUND if found else missed, note=note)
    if not found:
        return
    ways = [way for one in diagnosis.findings for way in (one.edits, *one.alternatives)]
    names = {edit for way in ways for edit in way}
    kind = NAMED if names & told(mistake) else MISNAMED if names else PLACED
    note = f"{where} is named {sorted(names)}" if kind == MISNAMED else ""
    yield row._replace(section="names", what=kind, note=note)


def is_below_rounding(mistake: Mistake, drawn: Case, standard: Standard) -> bool:
    """Whether what a mistake changes, computed in float64, lies within what rounding may do."""
    with jax.enable_x64(True):
        wrong = [np.asarray(one) for one in mistake.gradients(drawn.widened)]
    places = [place for place in standard.reference.places if place.equation == GRADIENT]
    return all(
        bool((np.abs(one - standard.truth[place]) <= standard.bound(place, "float64")).all())
        for place, one in zip(places, wrong, strict=True)
    )


def by_others(drawn: Case, subject: Pullback) -> dict[str, bool]:
    """Whether each of the others accepts gradients; in float32."""
    args = tuple(drawn.args.values())
    got = subject(args, drawn.cotangent)
    plain = drawn.gradients(drawn.plain)
    with jax.enable_x64(True):
        wide = drawn.widened
        right = [np.asarray(one) for one in wide.gradients(wide.plain)]
    values = [np.asarray(one, np.float64) for one in got]
    own = [
        float(np.abs(np.asarray(one, np.float64) - t).max())
        for one, t in zip(plain, right, strict=True)
    ]
    off = [float(np.abs(one - t).max()) for one, t in zip(values, right, strict=True)]
    close = [
        np.allclose(one, t, rtol=1.3e-6, atol=1e-5) for one, t in zip(values, right, strict=True)
    ]

    @jax.custom_vjp
    def function(*args: Any) -> Any:
        return drawn.plain(*map(jnp.asarray, args))  # they also call it with NumPy's

    def back(args: Any, cotangent: Any) -> Gradients:  # which may be NumPy's as well
        return subject(*jax.tree.map(jnp.asarray, (args, cotangent)))

    function.defvjp(lambda *args: (function(*args), args), back)
    once: dict[str, Any] = {"order": 1, "modes": ("rev",)}
    return {
        "check_grads": _passes(lambda: check_grads(function, args, **once)),
        "chex": _passes(lambda: chex.assert_numerical_grads(function, args, **once)),
        "FlashAttention's rule": all(o <= 3 * p for o, p in zip(off, own, strict=True)),
        "torch.testing": all(close),
    }


def _passes(check: Callable[[], Any]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


def mistakes(quick: bool) -> Iterator[Figure]:
    """Every mistake in float32, and in bfloat16 by `check_vjp` alone."""
    for mistake in MISTAKES[:: 12 if quick else 1]:
        yield from planted(mistake, "float32")
        if mistake.layer in ("layernorm", "softmax_cross_entropy", "attention", "swiglu"):
            yield from planted(mistake, "bfloat16")
        drawn, _ = shown_in(mistake.layer, "float32")
        with jax.enable_x64(False):
            for peer, accepts in by_others(drawn, pullback(mistake, drawn)).items():
                row = Figure("mistakes", mistake.layer, sigma="float32", peer=peer)
                yield row._replace(what="missed" if accepts else FOUND)


# ── Right ways ───────────────────────────────────────────────────────────────────────────────────


def right(layer: str, seeds: int) -> Iterator[Figure]:
    """Every way on every shape of a layer, in each format that it fits."""
    ways = [way for way in WAYS if way.layer == layer]
    for size, dtype in ((size, dtype) for size in range(len(SIZES[layer])) for dtype in DTYPES):
        jax.clear_caches()  # the programs of the shape before would fill the memory
        standard: Standard | None = None
        for seed in range(seeds):
            with jax.enable_x64(dtype == "float64"):
                drawn = case(layer, size, seed, dtype)
            reference = referred(drawn)
            if standard is None or layer in ("softmax_cross_entropy", "dropout", "embedding"):
                # Of these the program itself holds labels, a key, or numbers of rows.
                arithmetic = arithmetic_for(reference, None)
                standard = Standard.of(reference, arithmetic, jax.random.key(seed))
            else:
                standard = standard.at(reference)
            for way in ways:
                if dtype in way.fits:
                    subject = pullback(way, drawn)
                    yield from accepted(layer, dtype, way, subject, standard, whole=seed == 0)
    drawn = case(layer, 0, 0, "float32")
    with jax.enable_x64(False):
        for way in ways:
            for peer, accepts in by_others(drawn, pullback(way, drawn)).items():
                row = Figure("right", layer, sigma="float32", peer=peer)
                yield row._replace(what="accepted" if accepts else "rejected")


def referred(drawn: Case) -> Reference:
    """The plain form of a layer at a case's arguments, with its cotangent."""
    args, key = tuple(drawn.args.values()), jax.random.key(0)
    return read_reference(drawn.plain, args, drawn.cotangent, None, key, drawn=True)


def accepted(
    layer: str, dtype: str, way: Way, subject: Pullback, standard: Standard, *, whole: bool
) -> Iterator[Figure]:
    """What is said of one right way; by the `whole` of check_vjp, on sensitive inputs as well."""
    wrong: list[Any]
    if whole:
        with jax.enable_x64(dtype == "float64"):
            diagnosis = diagnosed(standard, subject)
        rows, wrong = list(diagnosis.agreement.rows), list(diagnosis.findings)
    else:
        judged = judge_gradients(standard, obtained_from(standard.reference, subject))
        rows = [row for _, row in judged]
        wrong = [row for row in rows if row.verdict in ("disagrees", "nonfinite")]
    one = Figure("right", layer, sigma=dtype, peer=OURS)
    note = f"{layer}, {way.name}, in {dtype} is rejected: {wrong}" if wrong else ""
    yield one._replace(what="rejected" if wrong else "accepted", note=note)
    worst = max((row.bound_ratio for row in rows if row.verdict == "agrees"), default=0.0)
    yield one._replace(peer=WORST, what=WORST, median=worst)


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────


def everything(seeds: int, quick: bool) -> Iterator[Figure]:
    """All trials."""
    with judging():
        yield from mistakes(quick)
        for layer in LAYERS[:2] if quick else LAYERS:
            yield from right(layer, 1 if quick else seeds)


def failures(trials: Rows) -> list[str]:
    """What is not as it must be."""
    return [row.note for row in trials if row.note]


def shares(rows: Rows, section: str, wanted: str, column: Callable[[Figure], str]) -> Cells:
    """How many of how many, by layer and in all."""
    cells: Cells = {}
    rows = [row for row in select(rows, section=section) if row.what != WORST]
    for layer in ("all", *LAYERS):
        of_layer = [row for row in rows if layer in ("all", row.network)]
        for name in dict.fromkeys(map(column, of_layer)):
            its = [row for row in of_layer if column(row) == name]
            times = sum(int(row.median) for row in its if row.what == wanted)
            cells[layer, name] = f"{times:,}/{sum(int(row.median) for row in its):,}"
    return cells


def names(rows: Rows) -> Cells:
    """What the mistakes that were found are called."""
    cells: Cells = {}
    for layer in ("all", *LAYERS):
        for kind in (NAMED, PLACED, MISNAMED):
            its = [row for row in select(rows, section="names", what=kind)
                   if layer in ("all", row.network)]  # fmt: skip
            cells[layer, kind] = f"{sum(int(row.median) for row in its):,}"
    return cells


def with_format(row: Figure) -> str:
    """A column of a judge, in one format."""
    return f"{row.peer}, {row.sigma}"


app = new_app("any_gradient")


@app.default
def main(*, seeds: int = 2, quick: bool = False, files: Files | None = None) -> int:
    """Judge mistakes in layers and right ways to compute them; forty minutes on two cores.

    Args:
        seeds: random arguments of each shape
        quick: a sample: every twelfth mistake, the right ways of two layers
    """
    files = files or Files()
    about: About = {"seeds": seeds, "quick": quick}
    about, rows = counted(files, FORMAT, about, everything(seeds, quick), failures)
    of = select(rows, section="right", peer=OURS)
    times, rejected = (sum(int(row.median) for row in its) for its in
                       (of, select(of, what="rejected")))  # fmt: skip
    said = f"of {times:,} right gradients {rejected:,} rejected"
    tables = {
        "mistakes found/planted": shares(rows, "mistakes", FOUND, with_format),
        "what check_vjp calls them": names(rows),
        "right gradients accepted/counted": shares(rows, "right", "accepted", with_format),
    }
    text = "# Any hand-written gradient", __doc__.strip(), said
    return concluded(files, about, rows, text, tables)


if __name__ == "__main__":
    sys.exit(run_app(app))
