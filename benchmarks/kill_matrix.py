"""The proof that the checker works: planted mistakes found, right networks never rejected.

Every mistake of the catalogue is planted where a random network has room for it. What
`manual_bp.compare` finds stands beside what two gradient checkers find at their defaults, and
`manual_bp.check` has to name it. A mistake that changes no number by more than sixteen roundings of
the largest is no mistake on that batch, and is not counted: "same".
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, get_args

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np

import manual_bp as mbp
from command import Earlier, check_targets, run
from manual_bp.activations import ACTIVATIONS
from manual_bp.cli.options import Positive
from manual_bp.diagnosis.convention import every_convention
from manual_bp.diagnosis.mistakes import CATALOGUE, Mistake
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.record import Place
from table import Cells, Figure, read, select, show, write, write_page

Dtype = Literal["float32", "float64", "bfloat16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
FORMAT = "manual_bp.kill_matrix 2"
WORST, PAIRS = "worst of bound", "two mistakes at once"
HIDDEN = [name for name in ACTIVATIONS if name != "softmax"]
OUTPUTS = [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
OUTPUTS += [(name, "quadratic") for name in ACTIVATIONS]
CHECKERS = {
    "check_grads": lambda f, args: jax.test_util.check_grads(f, args, order=1),
    "chex": lambda f, args: chex.assert_numerical_grads(f, args, order=1),
}
COLUMNS = (*DTYPES, *CHECKERS, "check", "same", WORST)
Case = tuple[mbp.Network, Any, Any, Any]
Planted = dict[Place, Mistake]


def small_case(seed: int, index: int, dtype: str) -> Case:
    """A random network that has room for mistakes: often square, at times as wide as the batch."""
    random = np.random.default_rng((seed, index))
    depth, width = 1 + index % 5, int(random.integers(3, 9))
    widths = ([width, width, int(random.integers(2, 12))] for _ in range(depth + 1))
    sizes = [int(random.choice(three)) for three in widths]
    sizes[-1] = max(sizes[-1], 2)
    output, cost = OUTPUTS[index % len(OUTPUTS)]
    hidden = [str(random.choice(HIDDEN)) for _ in range(depth - 1)]
    net = mbp.Network(sizes, (*hidden, output), cost, float(random.choice([0.0, 0.05, 0.2])))
    m = int(random.choice([1, width, width, 5, 16]))
    params, x, y = numbers(net, m, dtype, random, 1.0)
    if net.cost.of == "z":
        # One class is unlikely, and the first example is of it: there a clipped logarithm shows.
        params = (*params[:-1], params[-1]._replace(b=params[-1].b.at[-1].add(-20)))
        y = y.at[0].set(jnp.eye(net.sizes[-1], dtype=dtype)[-1])
    return net, params, x, y


def numbers(
    net: mbp.Network, m: int, dtype: str, random: np.random.Generator, scale: float
) -> tuple[Any, Any, Any]:
    """Parameters with biases that are not zero, inputs and targets."""
    cast, params = partial(jnp.asarray, dtype=dtype), []
    for k, n in pairwise(net.sizes):
        W, b = random.normal(size=(n, k)) * (2 / (n + k)) ** 0.5, random.normal(size=n) * 0.3
        params.append(mbp.Layer(cast(W), cast(b)))
    x = random.normal(size=(m, net.sizes[0])) * scale
    y: Any = random.normal(size=(m, net.sizes[-1]))
    if net.cost.name == "cross_entropy":
        y = np.eye(net.sizes[-1])[random.integers(net.sizes[-1], size=m)]
    elif net.cost.name == "binary_cross_entropy":
        y = random.integers(2, size=y.shape)
    return tuple(params), cast(x), cast(y)


# ── Mistakes: a row for each trial, with a note where it is not as it must be ────────────────────


def plant_everywhere(seed: int, index: int, dtype: str) -> Iterator[Figure]:
    """Every mistake, once in each kind of place, in one network."""
    case = small_case(seed, index, dtype)
    random = np.random.default_rng((seed, index, 1))
    right = backprop_with(*case, {})
    for mistake in CATALOGUE.values():
        for kind in mistake.kinds:
            there = [place for place in places_for(case[0], mistake) if place.kind == kind]
            random.shuffle(there)
            for place in there:
                try:
                    wrong = backprop_with(*case, {place: mistake})
                except ValueError:  # the network has no room for it there
                    continue
                if not same_numbers(right, wrong, place, dtype):
                    yield from caught(case, wrong, place, mistake, index)
                    break
                yield Figure("mistake", mistake.name, peer="same", what="same")
    for by, checker in CHECKERS.items() if dtype == "float32" else ():
        outcome = "accepted" if passes(checker, case, right, {}) else "rejected"
        yield Figure("right", "right code", peer=by, what=outcome)


def caught(
    case: Case, wrong: mbp.Backprop, place: Place, mistake: Mistake, index: int
) -> Iterator[Figure]:
    """Who finds one mistake, and what `check` calls it."""
    dtype, row = case[2].dtype.name, Figure("mistake", mistake.name)
    note = f"{mistake.name} at {place.kind}, layer {place.layer}: {{}} in {dtype}, network {index}"
    outcome = judge(mbp.compare(*case, subject=wrong), [place])
    fine = outcome == "found" or (dtype == "bfloat16" and outcome != "agrees")
    yield row._replace(peer=dtype, what=outcome, note="" if fine else note.format(outcome))
    if dtype != "bfloat16":
        naming = named(mbp.check(*case, wrong).findings, {place: mistake})
        fine = naming != "misnamed"
        yield row._replace(peer="check", what=naming, note="" if fine else note.format(naming))
    for by, checker in CHECKERS.items() if dtype == "float32" else ():
        missed = passes(checker, case, wrong, {place: mistake})
        yield row._replace(peer=by, what="missed" if missed else "found")


def same_numbers(right: mbp.Backprop, wrong: mbp.Backprop, place: Place, dtype: str) -> bool:
    """Whether a mistake changes nothing by more than sixteen roundings of the largest number."""
    a, b = (np.asarray(record.at(place), np.float64) for record in (right, wrong))
    roundoff = float(jnp.finfo(dtype).eps) / 2
    return bool(np.abs(a - b).max() <= 16 * roundoff * np.abs(a).max())


def judge(agreement: mbp.Agreement, places: Iterable[Place]) -> str:
    """'found' where the planted rows disagree and no other does; else what happened."""
    keys, rows = set(places), {row.place: row.verdict for row in agreement.rows}
    disagreeing = {place for place, verdict in rows.items() if verdict == "disagrees"}
    if disagreeing == keys:
        return "found"
    return "misplaced" if disagreeing - keys else rows[min(keys - disagreeing)]


def named(found: Iterable[mbp.Finding], mistakes: Planted) -> str:
    """'named' where each finding names its mistake, be it with others that give the same."""
    findings = {(f.equation, f.layer): f.mistake for f in found}
    names = {(place.equation, place.layer): m.name for place, m in mistakes.items()}
    # Of a network of one square layer, a transposed gradient may be how W is laid out.
    if findings == {("convention", 0): "convention"}:
        return "named" if set(names.values()) == {"gradient_transposed"} else "misnamed"
    if findings.keys() != names.keys():
        return "misnamed"
    if None in findings.values():
        return "unnamed"
    right = all(names[key] in str(mistake).split(" or ") for key, mistake in findings.items())
    return "named" if right else "misnamed"


def plant_pairs(seed: int, index: int) -> Iterator[Figure]:
    """Two mistakes at once, in different equations; ten times, where there is room for both."""
    case = small_case(seed, index, "float32")
    random = np.random.default_rng((seed, index, 3))
    options = [(place, m) for m in CATALOGUE.values() for place in places_for(case[0], m)]
    right = backprop_with(*case, {})
    for _ in range(10):
        chosen = [options[i] for i in random.choice(len(options), 2, replace=False)]
        try:
            both = backprop_with(*case, dict(chosen))
            alone = {place: backprop_with(*case, {place: mistake}) for place, mistake in chosen}
        except ValueError:
            continue
        same = (same_numbers(right, one, place, "float32") for place, one in alone.items())
        if len(alone) == 2 and not any(same):
            outcome = judge(mbp.compare(*case, subject=both), alone)
            yield Figure("right", PAIRS, peer="float32", what=outcome)


def declare_conventions(seed: int, index: int) -> Iterator[Figure]:
    """Right code in every layout and scale, declared."""
    case = small_case(seed, index, "float32")
    record = mbp.backprop(*case)
    for convention in every_convention():
        theirs = convention.from_ours(*case[:3], record)
        findings = mbp.check(*case, theirs, convention=convention).findings
        row = Figure("right", "right code in a declared convention", peer="check", what="accepted")
        note = f"{convention}, network {index}: {findings}"
        yield row._replace(what="rejected", note=note) if findings else row


def passes(checker: Any, case: Case, record: mbp.Backprop, mistakes: Planted) -> bool:
    """Whether a gradient checker accepts a function whose derivative is the record's gradients."""
    net, params, x, y = case

    @jax.custom_jvp
    def C(*arrays: Any) -> Any:
        arrays = tuple(map(jnp.asarray, arrays))
        params = tuple(map(mbp.Layer, arrays[::2], arrays[1::2]))
        return backprop_with(net, params, x, y, mistakes).cost

    @C.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        slopes = jax.tree.leaves(tuple(zip(record.dW, record.db, strict=True)))
        change = sum(jnp.vdot(s, t) for s, t in zip(slopes, tangents, strict=True))
        return C(*primals), change

    np.random.seed(0)  # noqa: NPY002 (the checkers draw their directions from it)
    try:
        checker(C, tuple(jax.tree.leaves(params)))
    except AssertionError:
        return False
    return True


def judge_right_ones(seed: int, index: int, draws: int) -> Iterator[Figure]:
    """One shape of network, many draws of its numbers."""
    jax.clear_caches()  # the programs of the shape before would fill the memory
    random = np.random.default_rng((seed, index, 2))
    depth = int(random.integers(1, 13))
    sizes = [int(2 ** random.uniform(0, 10)) for _ in range(depth + 1)]
    output, cost = OUTPUTS[int(random.integers(len(OUTPUTS)))]
    hidden = [str(random.choice(HIDDEN)) for _ in range(depth - 1)]
    net = mbp.Network(sizes, (*hidden, output), cost, float(random.choice([0.0, 1e-3, 0.1])))
    m, dtype = int(2 ** random.uniform(0, 8)), DTYPES[index % 3]
    for _ in range(draws):
        scale = 10 ** random.uniform(-3, 3)
        agreement = mbp.compare(net, *numbers(net, m, dtype, random, scale))
        wrong, row = agreement.disagreements, Figure("right", "right networks")
        note = f"{net} rejected: {m} examples, {dtype}, scale {scale:.2g}: {wrong}" if wrong else ""
        yield row._replace(peer=dtype, what="rejected" if wrong else "accepted", note=note)
        yield row._replace(peer=WORST, what=WORST, median=agreement.worst.bound_ratio)


def everything(
    seed: int, indices: Iterable[int], dtypes: Iterable[str], right: int
) -> Iterator[Figure]:
    """All trials; right networks in twenties of one shape."""
    for index, dtype in product(indices, dtypes):
        yield from plant_everywhere(seed, index, dtype)
    for index in indices:
        yield from plant_pairs(seed, index)
        yield from declare_conventions(seed, index)
    for start in range(0, right, 20):
        yield from judge_right_ones(seed, start // 20, min(20, right - start))


def summed(trials: Sequence[Figure]) -> list[Figure]:
    """How often each outcome came, and the worst of right networks' values."""
    counts = Counter(row._replace(note="") for row in trials if row.what != WORST)
    worst = sorted(select(trials, what=WORST), key=lambda row: row.median)[-1:]
    return [*(row._replace(median=times) for row, times in counts.items()), *worst]


def failures(trials: Sequence[Figure]) -> list[str]:
    """What is not as it must be; of pairs of mistakes, one in twenty may be missed."""
    notes, pairs = [row.note for row in trials if row.note], select(trials, network=PAIRS)
    found = len(select(pairs, what="found"))
    few = [f"{PAIRS}: {found} of {len(pairs)} found"] if found < 0.95 * len(pairs) else []
    return notes + few


def matrix(rows: Sequence[Figure]) -> Cells:
    """How many were found, named or accepted, of all that were tried; ?n for n undecided."""
    mistakes = select(rows, section="mistake")
    together = [row._replace(network="all mistakes") for row in mistakes]
    rows = [*mistakes, *together, *select(rows, section="right")]
    counts: dict[tuple[str, str], Any] = defaultdict(Counter)
    for row in rows:
        counts[row.network, row.peer][row.what] += row.median
    cells = {}
    for name, by in product(dict.fromkeys(row.network for row in rows), COLUMNS):
        if times := counts.get((name, by)):
            good = times["found"] + times["named"] + times["accepted"]
            unsure = times["undecided"] + times["untested"]
            text = f"{good:,}/{times.total():,}" + (f"?{unsure}" if unsure else "")
            alone = {"same": f"{times['same']}", WORST: f"{times[WORST]:.2f}"}
            cells[name, by] = alone.get(by, text)
    return cells


def main(
    *,
    networks: Positive = 10,
    right: int = 2000,
    seed: int = 0,
    dtypes: tuple[Dtype, ...] = DTYPES,
    quick: bool = False,
    json: Path | None = None,
    markdown: Path | None = None,
    earlier: Earlier = None,
) -> int:
    """Plant mistakes in networks, and judge right ones; half an hour on two cores.

    Args:
        networks: to plant in.
        right: right networks, 20 of each shape.
        seed: of everything.
        dtypes: to plant in.
        quick: a sample: one network of two layers in float32 and bfloat16, 20 right ones.
        json: write all counts.
        markdown: write their tables.
        earlier: plant nothing: take the JSON of an earlier run.
    """
    check_targets(json=json, markdown=markdown)
    if earlier:
        about, rows = read(earlier, FORMAT)
    else:
        indices, types = range(networks), dtypes
        if quick:
            indices, right, types = range(1, 2), 20, ("float32", "bfloat16")
        with jax.enable_x64(True):
            trials = list(everything(seed, indices, types, right))
        about = {"format": FORMAT, "seed": seed, "networks": len(indices)}
        about["failures"], rows = failures(trials), summed(trials)
    found, told = matrix(rows), f"seed {about['seed']}: mistakes in {about['networks']} networks"
    show({told: found})
    for failure in about["failures"]:
        print(f"NOT AS IT MUST BE: {failure}")
    if json:
        write(json, about, rows)
    if markdown:
        write_page(markdown, ["# Kill matrix", __doc__.strip(), told], {"found/planted": found})
    return 1 if about["failures"] else 0


if __name__ == "__main__":
    sys.exit(run(main))
