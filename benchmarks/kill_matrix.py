"""The proof that the checker works: planted mistakes found, right networks never rejected.

Every mistake of the catalogue is planted where a random network has room for it. What
`manual_bp.compare` finds stands beside what two gradient checkers find at their defaults, and
`manual_bp.check` has to name it. A mistake that changes no number by more than sixteen roundings of
the largest is no mistake on that batch, and is not counted: "same". Numbers that no mistake of the
catalogue gives must be found and must not get a name. Right code must be accepted in every form and
convention, with biases and without, read off an update as well.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby, pairwise, product
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np

import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.cli.main import new_app, run_app
from manual_bp.cli.options import Positive
from manual_bp.diagnosis.edits import CATALOGUE, Edit
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.record import Place
from proof import WORST, About, concluded, counted
from table import Cells, Figure, Files, Rows, select

Dtype = Literal["float32", "float64", "bfloat16"]
DTYPES: tuple[Dtype, ...] = ("float32", "float64", "bfloat16")
FORMAT = "manual_bp.kill_matrix 2"
PAIRS = "two mistakes at once"
IN_ONE, ALONE = "two in one equation", "two equations, from the gradients alone"
NAMED_PAIRS = (IN_ONE, ALONE)
OUTSIDE = "numbers of no mistake, not named"
CHANGES = ("one value", "noise", "another matrix", "another network")
HIDDEN = [name for name in ACTIVATIONS if name not in ("softmax", "exp")]  # exp overflows in depth
OUTPUTS = [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
OUTPUTS += [(name, "quadratic") for name in (*HIDDEN, "softmax")]
CONVENTIONS = [
    convention
    for layout in mbp.Convention().layouts()
    for convention in layout.scalings((1.0, 2.0, 0.37))
]
RATES = (1.0, 0.5, 0.1, 0.01, 0.001)
FORMS = ("a record", "names", "pairs", "lists", "a function", "an update", "gradients alone")
CHECKERS = {"check_grads": jax.test_util.check_grads, "chex": chex.assert_numerical_grads}
FINE = ("found", "missed", "named", "unnamed")  # a gradient checker may miss, check be silent
COLUMNS = (*DTYPES, *CHECKERS, "check", "same", WORST)
Case = tuple[mbp.Network, Any, Any, Any]
Planted = dict[Place, Any]  # an edit, or several of one equation
Random = np.random.Generator


def numbers(
    net: mbp.Network, m: int, dtype: str, random: Random, scale: float, biases: float = 1
) -> Any:
    """Parameters with biases that are not zero, in this part of the layers; inputs and targets."""
    cast, params = partial(jnp.asarray, dtype=dtype), []
    for k, n in pairwise(net.sizes):
        W, b = random.normal(size=(n, k)) * (2 / (n + k)) ** 0.5, random.normal(size=n) * 0.3
        has_biases = biases == 1 or random.uniform() < biases
        params.append(mbp.Layer(cast(W), cast(b) if has_biases else None))
    x = random.normal(size=(m, net.sizes[0])) * scale
    y: Any = random.normal(size=(m, net.sizes[-1]))
    if net.cost.name == "cross_entropy":
        y = np.eye(net.sizes[-1])[random.integers(net.sizes[-1], size=m)]
    elif net.cost.name == "binary_cross_entropy":
        y = random.integers(2, size=y.shape)
    return tuple(params), cast(x), cast(y)


def small_case(seed: int, index: int, dtype: str) -> Case:
    """A random network that has room for mistakes: often square, at times as wide as the batch."""
    random = np.random.default_rng((seed, index))
    depth, width = 1 + index % 5, int(random.integers(3, 9))
    widths = ([width, width, int(random.integers(2, 12))] for _ in range(depth + 1))
    *sizes, last = [int(random.choice(three)) for three in widths]
    output, cost = OUTPUTS[index % len(OUTPUTS)]
    sigmas = (*(str(random.choice(HIDDEN)) for _ in range(depth - 1)), output)
    net = mbp.Network((*sizes, max(last, 2)), sigmas, cost, float(random.choice([0.0, 0.05, 0.2])))
    m = int(random.choice([1, width, width, 5, 16]))
    params, x, y = numbers(net, m, dtype, random, 1.0)
    if net.cost.of == "z":
        # One class is unlikely, and the first example is of it: there a clipped logarithm shows.
        params = (*params[:-1], params[-1]._replace(b=params[-1].b.at[-1].add(-20)))
        y = y.at[0].set(jnp.eye(net.sizes[-1], dtype=dtype)[-1])
    return net, params, x, y


def plant_everywhere(seed: int, index: int, dtype: str) -> Iterator[Figure]:
    """Every mistake, once in each kind of place, in one network."""
    case = small_case(seed, index, dtype)
    random = np.random.default_rng((seed, index, 1))
    right = backprop_with(*case, {})
    for mistake in CATALOGUE.values():
        for _, there in groupby(places_for(case[0], mistake), lambda place: place.kind):
            random.shuffle(places := list(there))
            for place in places:
                try:
                    wrong = backprop_with(*case, planted := {place: mistake})
                except ValueError:  # the network has no room for it there
                    continue
                if not same_numbers(right, wrong, place, dtype):
                    yield from caught(case, wrong, planted, index)
                    break
                yield Figure("mistake", mistake.name, peer="same", what="same")
    for by, checker in CHECKERS.items() if dtype == "float32" else ():
        outcome = "accepted" if passes(checker, case, right, {}) else "rejected"
        yield Figure("right", "right code", peer=by, what=outcome)


def caught(case: Case, wrong: mbp.Backprop, planted: Planted, index: int) -> Iterator[Figure]:
    """Who finds one mistake, and what `check` calls it; a note where it is not as it must be."""
    dtype, ((place, mistake),) = case[2].dtype.name, planted.items()
    outcomes = {dtype: judge(mbp.compare(*case, subject=wrong), planted)}
    if dtype != "bfloat16":
        outcomes["check"] = named(mbp.check(*case, wrong).findings, planted)
    for by, checker in CHECKERS.items() if dtype == "float32" else ():
        outcomes[by] = "missed" if passes(checker, case, wrong, planted) else "found"
    where = f"{mistake.name} at {place.kind}, layer {place.layer}"
    for by, what in outcomes.items():
        fine = what in FINE or (by == "bfloat16" and what != "agrees")
        note = "" if fine else f"{where}: {what} in {dtype}, network {index}"
        yield Figure("mistake", mistake.name, peer=by, what=what, note=note)


def same_numbers(right: mbp.Backprop, wrong: mbp.Backprop, place: Place, dtype: str) -> bool:
    """Whether a mistake changes nothing by more than sixteen roundings of the largest number."""
    a, b = (np.asarray(record.at(place), np.float64) for record in (right, wrong))
    return bool(np.abs(a - b).max() <= 8 * float(jnp.finfo(dtype).eps) * np.abs(a).max())


def judge(agreement: mbp.Agreement, places: Iterable[Place]) -> str:
    """'found' where the planted rows disagree and no other does; else what happened."""
    rows = {row.place: row.verdict for row in agreement.rows}
    wrong = {place for place, verdict in rows.items() if verdict == "disagrees"}
    if wrong - set(places):
        return "misplaced"
    missed = set(places) - wrong
    return rows[min(missed)] if missed else "found"


def named(found: Iterable[mbp.Finding], mistakes: Planted) -> str:
    """'named' where each finding names its mistakes, be it with others that give the same."""
    findings = {(f.equation, f.layer): f for f in found}
    planted = {
        (place.equation, place.layer): edits if isinstance(edits, tuple) else (edits,)
        for place, edits in mistakes.items()
    }
    # Of a network of one square layer, a transposed gradient may be how W is laid out; minus the
    # gradient may be what is to be added, and every factor in BP1 one of C.
    convention = findings.pop(("convention", 0), None)
    if convention:
        edits = {edit.name for key in planted.keys() - findings.keys() for edit in planted[key]}
        factors = {name for name, edit in CATALOGUE.items() if edit.part == "factor"}
        if not edits <= factors | {"gradient_transposed"} or not edits:
            return "misnamed"
        planted = {key: its for key, its in planted.items() if key in findings}
    for key in planted.keys() - findings.keys():  # what would give the same elsewhere names it too
        for other in findings.keys() - planted.keys():
            if other not in findings or any(
                other[0] in edit.kinds.split() for edit in planted[key]
            ):
                continue
            if is_named(planted[key], findings[other]):
                findings[key] = findings.pop(other)
                break
    told = {
        key: is_named(planted[key], finding) if key in planted else None
        for key, finding in findings.items()
        if finding.mistake
    }
    if None in told.values():
        return "misnamed"
    if findings.keys() != planted.keys():
        return "misplaced"
    return "named" if all(told.values()) and told.keys() == findings.keys() else "unnamed"


def is_named(planted: Sequence[Edit], finding: mbp.Finding) -> bool | None:
    """Whether a finding tells these edits, one way or another; a planted factor by any name.

    False where a factor with a name is told by its number alone, None where other edits are told.
    """
    ways = [set(way.split(" and ")) for way in str(finding.mistake).split(" or ")]
    factors = {name for name, edit in CATALOGUE.items() if edit.part in ("factor", "whole")}
    names = {edit.name for edit in planted}
    if names in ways:
        return True
    alike = [way for way in ways if names - factors == way - factors and way & factors]
    if "factor" in names and alike:
        return True
    return False if names & factors and any("factor" in way for way in alike) else None


def passes(checker: Any, case: Case, record: mbp.Backprop, mistakes: Planted) -> bool:
    """Whether a gradient checker accepts a function whose derivative is the record's gradients."""
    net, params, x, y = case
    slopes = [array for pair in zip(record.dW, record.db, strict=True) for array in pair]

    @jax.custom_jvp
    def C(*arrays: Any) -> Any:
        layers = map(mbp.Layer, *(map(jnp.asarray, arrays[i::2]) for i in (0, 1)))
        return backprop_with(net, tuple(layers), x, y, mistakes).cost

    @C.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        return C(*primals), sum(map(jnp.vdot, slopes, tangents))

    np.random.seed(0)  # noqa: NPY002 (the checkers draw their directions from it)
    with suppress(AssertionError):
        checker(C, tuple(jax.tree.leaves(params)), order=1)
        return True
    return False


def plant_pairs(seed: int, index: int) -> Iterator[Figure]:
    """Two mistakes at once; ten times in each way, where there is room for both.

    In two equations, with all shown and with the gradients alone; and in one equation.
    """
    for way in (PAIRS, *NAMED_PAIRS):
        case = small_case(seed, index, "float32" if way == PAIRS else "float64")
        random = np.random.default_rng((seed, index, 3))
        options = [(place, m) for m in CATALOGUE.values() for place in places_for(case[0], m)]
        if way == ALONE:
            options = [one for one in options if one[0].equation.startswith("BP")]
        for _ in range(10):
            (place, first), (there, second) = (
                options[i] for i in random.choice(len(options), 2, replace=False)
            )
            pair: Planted = {place: first, there: second}
            if way == IN_ONE:
                both = [m for at, m in options if at == place and m.part != first.part]
                pair = {place: (first, both[random.integers(len(both))])} if both else {}
            if pair and (way == IN_ONE or place.equation != there.equation):
                yield from paired(case, pair, way)


def paired(case: Case, pair: Planted, way: str) -> Iterator[Figure]:
    """What is said of two mistakes, if each of them changes what is shown."""
    one_place = len(pair) == 1

    def record(planted: Planted) -> mbp.Backprop:
        made = backprop_with(*case, planted)
        return mbp.Backprop(dW=made.dW, db=made.db) if way == ALONE else made

    ((place, edits), *others) = pair.items()
    singles = [{place: edit} for edit in edits] if one_place else [{place: edits}, dict(others)]
    try:
        both, *alone = (record(planted) for planted in (pair, *singles))
    except ValueError:
        return
    dtype = case[2].dtype.name
    if any(alike(both, one, dtype) for one in (record({}), *alone)):
        return
    if way == PAIRS:
        outcome = judge(mbp.compare(*case, subject=both), pair)
        yield Figure("right", way, peer=dtype, what=outcome)
        return
    outcome = named(mbp.check(*case, both).findings, pair)
    note = ""
    if outcome == "misnamed":
        which = [f"{edit.name} at {place.kind}, layer {place.layer}" for one in singles
                 for place, edit in one.items()]  # fmt: skip
        note = f"misnamed: {case[0]}, {len(case[2])} examples: {' and '.join(which)}"
    yield Figure("pair", way, peer="check", what=outcome, note=note)


def alike(one: mbp.Backprop, other: mbp.Backprop, dtype: str) -> bool:
    """Whether two records have the same numbers everywhere."""
    return all(
        same_numbers(one, other, place, dtype) for place, array in one.items() if array is not None
    )


def outside(seed: int, index: int, draws: int) -> Iterator[Figure]:
    """Numbers that no mistake gives: in one value, in all, or those of another network."""
    dtype = DTYPES[index % 2]
    case = small_case(seed, index, dtype)
    random = np.random.default_rng((seed, index, 6))
    right, other = mbp.backprop(*case), mbp.backprop(*small_case(seed + 1, index, dtype))
    strangers = numbers(case[0], len(case[2]), dtype, random, 1.0)
    other = mbp.backprop(case[0], *strangers)
    for draw in range(draws):
        alone = draw % 2 == 1
        places = [place for place, _ in right.items() if place.kind != "x"]
        places = [p for p in places if p.quantity in ("dW", "db")] if alone else places
        place, change = places[random.integers(len(places))], CHANGES[draw // 2 % len(CHANGES)]
        wrong = np.array(right.at(place), np.float64)
        size = float(np.abs(wrong).max()) or 1.0
        if change == "one value":
            wrong.flat[random.integers(wrong.size)] += size * random.uniform(0.3, 2)
        elif change == "noise":
            wrong += 1e-3 * size * random.normal(size=wrong.shape)
        elif change == "another matrix":
            wrong = size * random.normal(size=wrong.shape)
        else:
            wrong = np.asarray(other.at(place), np.float64)
        record = right.replaced(place, wrong.astype(dtype))
        record = mbp.Backprop(dW=record.dW, db=record.db) if alone else record
        names = [finding.mistake for finding in mbp.check(*case, record).findings]
        what = "named" if any(names) else "accepted"
        note = (
            f"{change} at {place.name} of {case[0]}, alone {alone}: {names}" if any(names) else ""
        )
        yield Figure("outside", OUTSIDE, peer="check", what=what, note=note)


def declare_conventions(seed: int, index: int) -> Iterator[Figure]:
    """Right code in layouts and scales, declared."""
    case = small_case(seed, index, "float32")
    random = np.random.default_rng((seed, index, 4))
    record = mbp.backprop(*case)
    row = Figure("right", "right code in a declared convention", peer="check", what="accepted")
    for i in random.choice(len(CONVENTIONS), 16, replace=False):
        convention = CONVENTIONS[i]
        theirs = convention.from_ours(*case[:2], record, len(case[2]))
        findings = mbp.check(*case, theirs, convention=convention).findings
        note = f"{convention}, network {index}: {findings}"
        yield row._replace(what="rejected", note=note) if findings else row


def judge_right_ones(seed: int, index: int, draws: int) -> Iterator[Figure]:
    """One shape of network, many draws of its numbers."""
    jax.clear_caches()  # the programs of the shape before would fill the memory
    random = np.random.default_rng((seed, index, 2))
    depth = int(random.integers(1, 13))
    sizes = [int(2 ** random.uniform(0, 10)) for _ in range(depth + 1)]
    output, cost = OUTPUTS[int(random.integers(len(OUTPUTS)))]
    sigmas = (*(str(random.choice(HIDDEN)) for _ in range(depth - 1)), output)
    net = mbp.Network(sizes, sigmas, cost, float(random.choice([0.0, 1e-3, 0.1])))
    m, dtype = int(2 ** random.uniform(0, 8)), DTYPES[index % 3]
    for _ in range(draws):
        scale = 10 ** random.uniform(-3, 3)
        agreement = mbp.compare(net, *numbers(net, m, dtype, random, scale))
        wrong, row = agreement.disagreements, Figure("right", "right networks")
        note = f"{net} rejected: {m} examples, {dtype}, scale {scale:.2g}: {wrong}" if wrong else ""
        yield row._replace(peer=dtype, what="rejected" if wrong else "accepted", note=note)
        yield row._replace(peer=WORST, what=WORST, median=agreement.worst.bound_ratio)


def hand_over(seed: int, index: int, draws: int) -> Iterator[Figure]:
    """Right code of one shape of network in every form and convention, and as an update."""
    jax.clear_caches()
    random = np.random.default_rng((seed, index, 5))
    sizes = [int(random.integers(1, 7)) for _ in range(int(random.integers(2, 5)))]
    output, cost = OUTPUTS[int(random.integers(len(OUTPUTS)))]
    sizes[-1] += output == "softmax"
    sigmas = (*(str(random.choice(HIDDEN)) for _ in sizes[2:]), output)
    penalty = float(random.choice([0.0, 0.1])), bool(random.integers(2))
    net, m = mbp.Network(sizes, sigmas, cost, *penalty), int(random.integers(1, 9))
    for _ in range(draws):
        dtype, form = str(random.choice(DTYPES)), str(random.choice(FORMS))
        biases, eta = float(random.choice([1, 0, 0.5])), float(random.choice(RATES))
        convention = CONVENTIONS[int(random.integers(len(CONVENTIONS)))]
        params, x, y = jax.tree.map(np.asarray, numbers(net, m, dtype, random, 1.0, biases))
        record = mbp.backprop(net, params, x, y)
        theirs = convention.from_ours(net, params, record, m)
        theirs = jax.tree.map(lambda array: array.astype(x.dtype), theirs)  # noqa: B023 (at once)
        subject = formed(form, params, theirs, convention, x.dtype.type(eta))
        diagnosis = mbp.check(net, params, x, y, subject, convention=convention)
        what = "rejected" if diagnosis.findings else "accepted"
        note = f"{net}, {m} examples, {dtype}, {form}, η = {eta}, {convention}: {diagnosis}"
        note = note if diagnosis.findings else ""
        yield Figure("right", f"right code as {form}", peer=dtype, what=what, note=note)


def formed(form: str, params: Any, theirs: Any, convention: mbp.Convention, eta: Any) -> Any:
    """A record in one of the forms that people have it in."""
    if form == "a function":
        return lambda *call: theirs
    if form == "names":
        return {place.name: array for place, array in theirs.items() if array is not None}
    if form == "pairs":
        return list(zip(theirs.dW, theirs.db, strict=True))
    if form == "lists":
        return theirs.cost, (list(theirs.dW), list(theirs.db))
    if form == "gradients alone":
        return mbp.Backprop(dW=theirs.dW, db=theirs.db)
    if form == "a record":
        return theirs
    after = []
    for (W, b), dW, db in zip(params, theirs.dW, theirs.db, strict=True):
        if b is not None and db is None:  # folded into W
            W = np.column_stack([b, W] if convention.bias == "first" else [W, b])
        W = W.T if convention.weights == "in_out" else W
        after.append(mbp.Layer(W - eta * dW, None if db is None else b - eta * db))
    return mbp.Update(after, float(eta))


def everything(
    seed: int, indices: range, dtypes: Iterable[str], right: int, wrong: int
) -> Iterator[Figure]:
    """All trials; right networks in twenties of one shape, and as many in every form."""
    for index, dtype in product(indices, dtypes):
        yield from plant_everywhere(seed, index, dtype)
    for index in indices:
        yield from plant_pairs(seed, index)
        yield from declare_conventions(seed, index)
        yield from outside(seed, index, wrong // len(indices))
    for start in range(0, right, 20):
        yield from judge_right_ones(seed, start // 20, min(20, right - start))
    for start in range(0, right, 100):
        yield from hand_over(seed, start // 100, min(100, right - start))


def failures(trials: Sequence[Figure]) -> list[str]:
    """What is not as it must be; of pairs of mistakes, one in twenty may be missed."""
    notes, pairs = [row.note for row in trials if row.note], select(trials, network=PAIRS)
    found = len(select(pairs, what="found"))
    few = [f"{PAIRS}: {found} of {len(pairs)} found"] if found < 0.95 * len(pairs) else []
    return notes + few


def matrix(rows: Rows) -> Cells:
    """How many were found, named or accepted, of all that were tried; ?n for n undecided."""
    together = [row._replace(network="all mistakes") for row in select(rows, section="mistake")]
    sections = ("pair", "outside", "right")
    rows = [*select(rows, section="mistake"), *together] + [
        row for section in sections for row in select(rows, section=section)
    ]
    counts: dict[tuple[str, str], Any] = defaultdict(Counter)
    for row in rows:
        counts[row.network, row.peer][row.what] += row.median
    cells = {}
    for name, by in product(dict.fromkeys(row.network for row in rows), COLUMNS):
        if times := counts.get((name, by)):
            good = times["found"] + times["named"] * (name != OUTSIDE) + times["accepted"]
            unsure = times["undecided"] + times["untested"]
            text = f"{good:,}/{times.total():,}" + (f"?{unsure}" if unsure else "")
            alone = {"same": f"{times['same']}", WORST: f"{times[WORST]:.2f}"}
            cells[name, by] = alone.get(by, text)
    return cells


app = new_app("kill_matrix")


@app.default
def main(
    *,
    networks: Positive = 10,
    right: int = 2000,
    wrong: int = 1000,
    seed: int = 0,
    dtypes: tuple[Dtype, ...] = DTYPES,
    quick: bool = False,
    files: Files | None = None,
) -> int:
    """Plant mistakes in networks, and judge right ones; half an hour on two cores.

    Args:
        networks: to plant in
        right: right networks, 20 of each shape, and as many that are handed over in every form
        wrong: records with numbers that no mistake gives
        seed: of everything
        dtypes: to plant in
        quick: a sample: one network of two layers in float32 and bfloat16, 20 right ones
    """
    files, indices = files or Files(), range(networks)
    if quick:
        indices, right, wrong, dtypes = range(1, 2), 20, 20, ("float32", "bfloat16")
    trials = everything(seed, indices, dtypes, right, wrong)
    about: About = {"seed": seed, "networks": len(indices)}
    about, rows = counted(files, FORMAT, about, trials, failures)
    told = f"seed {about['seed']}: mistakes in {about['networks']} networks"
    text = "# Kill matrix", __doc__.strip(), told
    return concluded(files, about, rows, text, {"found/planted": matrix(rows)})


if __name__ == "__main__":
    sys.exit(run_app(app))
