"""The proof that right code is never rejected: right computations by other ways, and what is said.

Each computes the same steps with the usual other formulas of σ, σ′ and C, with sums in another
order, from small to large numbers, in each format and in mixtures of them as autocast makes them;
PyTorch's own are among them where it is installed. It hands over all of its arrays, or some.
`manual_bp.compare` must reject none. A computation that overflows is none, and not counted.

Beside them stand near misses: numbers one to four bounds off, which `manual_bp.check` may find but
must not name; and damaged files, each of which must be read, or refused by one error.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from damage import attack
from kill_matrix import HIDDEN, OUTPUTS, Case, Random, numbers, small_case
from manual_bp.arrays import as_array
from manual_bp.calls import read_call
from manual_bp.cli.main import new_app, run_app
from manual_bp.subjects.run import Given
from manual_bp.subjects.subject import read_subject
from manual_bp.verdicts.judge import judge
from proof import WORST, About, concluded, counted
from table import Cells, Figure, Files, Rows, select
from ways import BITS, ORDERS, Formats, record_by

FORMAT = "manual_bp.robustness 1"
FORMULAS, MIXED, EDGES, TORCH = "formulas and sums", "mixed formats", "edges", "PyTorch"
NEAR, FILES = "near misses, not named", "damaged files, read or refused"
DTYPES = ("float32", "float64", "bfloat16", "float16")
HALVES = DTYPES[2:]
SHOWN = ("all", "no z", "no a", "no δ", "gradients alone")
SIZES = ((3, 5, 4, 2), (6, 3), (2, 40, 1))
Group = Iterator[Figure]


def network(index: int, random: Random) -> mbp.Network:
    """One of a few shapes, so that programs are shared; each σ comes in turn."""
    sizes, (output, cost) = SIZES[index % len(SIZES)], OUTPUTS[index % len(OUTPUTS)]
    first, second = (HIDDEN[(index + step) % len(HIDDEN)] for step in (0, 7))
    sigmas = (*(first, second)[: len(sizes) - 2], output)
    if output == "softmax":
        sizes = (*sizes[:-1], max(sizes[-1], 2))
    return mbp.Network(sizes, sigmas, cost, float(random.choice([0.0, 0.1])))


def drawn(net: mbp.Network, dtype: str, random: Random, reach: float = 3.0) -> Case:
    """Parameters, x and y of a random magnitude, as NumPy's arrays."""
    scale, weights = 10 ** random.uniform(-reach, reach), 10 ** random.uniform(-1, 0.5)
    params, x, y = jax.tree.map(np.asarray, numbers(net, 7, "float64", random, scale))
    params = tuple(mbp.Layer(weights * W, b) for W, b in params)
    return net, *jax.tree.map(lambda array: array.astype(BITS[dtype]), (params, x, y))


def judged(
    section: str, peer: str, case: Case, record: mbp.Backprop, shown: str, how: str
) -> Group:
    """What `compare` says of a right record; nothing where it is not finite."""
    arrays = [as_array(array).astype(np.float64) for array in jax.tree.leaves(record)]
    if not all(np.isfinite(array).all() for array in arrays):
        return
    agreement = mbp.compare(*case, subject=seen(record, shown))
    wrong, row = agreement.disagreements, Figure("right", section, peer=peer)
    note = f"{case[0]} in {peer}, {shown}, {how} rejected: {wrong}" if wrong else ""
    yield row._replace(what="rejected" if wrong else "accepted", note=note)
    worst = max((one.bound_ratio for one in agreement.rows if one.verdict == "agrees"), default=0.0)
    yield row._replace(peer=WORST, what=WORST, median=worst)


def seen(record: mbp.Backprop, shown: str) -> mbp.Backprop:
    """The part of a record that is handed over."""
    if shown == "gradients alone":
        return mbp.Backprop(dW=record.dW, db=record.db)
    hidden = {"no z": "z", "no a": "a", "no δ": "delta"}.get(shown)
    return record._replace(**{hidden: None}) if hidden else record


def by_other_formulas(seed: int, index: int, draws: int) -> Group:
    """One network in one format: every order of sums, and formulas in turn."""
    random = np.random.default_rng((seed, index, 1))
    net, dtype = network(index, random), DTYPES[index % len(DTYPES)]
    reach = 3.0 if dtype in DTYPES[:2] else 1.5
    for i in range(draws):
        case, order = drawn(net, dtype, random, reach), ORDERS[i % len(ORDERS)]
        yield from computed(FORMULAS, dtype, case, Formats.of(dtype), order, random)


def mixtures(half: str) -> dict[str, tuple[str, Formats]]:
    """Ways to mix a short format with float32, each with the format of the parameters."""
    single = "float32"
    return {
        f"autocast to {half}": (single, Formats(half, half, single, single, single)),
        f"{half}, gradients widened": (single, Formats(single, half, single, single, single)),
        f"kept in {half}": (half, Formats(single, half, single, single, half)),
        f"{half} once kept": (half, Formats(single, half, single, single, half, False)),
        f"sums kept in {half}": (half, Formats.of(half)),
        "float32 within float64": ("float64", Formats.of(single)),
    }


def in_mixed_formats(seed: int, index: int, draws: int) -> Group:
    """One network in one mixture of formats."""
    random = np.random.default_rng((seed, index, 2))
    ways = list((mixtures(HALVES[index % 2])).items())
    name, (dtype, formats) = ways[index // 2 % len(ways)]
    net = network(index, random)
    for i in range(draws):
        case, order = drawn(net, dtype, random, 1.5), ORDERS[i % len(ORDERS)]
        yield from computed(MIXED, name, case, formats, order, random, name.startswith("sums"))


def computed(
    section: str,
    peer: str,
    case: Case,
    formats: Formats,
    order: str,
    random: Random,
    as_jax: bool = False,
) -> Group:
    """One computation in NumPy; as JAX's arrays, if asked, whose sums are taken for float32."""
    route, shown = int(random.integers(60)), str(random.choice(SHOWN))
    with np.errstate(all="ignore"):
        record = record_by(case[0], case[1:], formats, order, route)
    record = jax.tree.map(jnp.asarray, record) if as_jax else record
    yield from judged(section, peer, case, record, shown, f"{order}, route {route}")


def at_the_edges(seed: int, index: int, draws: int) -> Group:
    """Subnormal numbers, large scores, z = 0, and targets that are the outputs, or in float64.

    And a cost that went through a float.
    """
    random = np.random.default_rng((seed, index, 3))
    net, dtype = network(index, random), DTYPES[index % len(DTYPES)]
    least = float(jnp.finfo(dtype).tiny)
    for i in range(draws):
        _, params, x, y = drawn(net, dtype, random, 1.0)
        edge = ("subnormal x", "large scores", "y is a", "y in float64", "z at 0")[i % 5]
        if edge == "subnormal x":
            x = (x.astype(float) * least / 64).astype(x.dtype)
            first = params[0]._replace(W=(params[0].W.astype(float) * 1e3).astype(x.dtype))
            params = (first, *params[1:])
        elif edge == "large scores":
            last = params[-1]._replace(W=params[-1].W * x.dtype.type(100))
            params = (*params[:-1], last)
        elif edge == "z at 0":
            params = tuple(layer._replace(b=0 * layer.b) for layer in params)
            x[: len(x) // 2] = 0
        elif net.cost.name == "quadratic":
            with np.errstate(all="ignore"):
                y = record_by(net, (params, x, y), Formats.of(dtype), "forward").a[-1]
            y = y.astype(np.float64) + (
                1e-5 * random.normal(size=y.shape) if edge != "y is a" else 0
            )
            y = y.astype(dtype) if edge == "y is a" else y
        case, order = (net, params, x, y), ORDERS[i % len(ORDERS)]
        yield from computed(EDGES, edge, case, Formats.of(dtype), order, random)
        with np.errstate(all="ignore"):
            ours = mbp.backprop(*case)
        yield from judged(EDGES, edge, case, ours, str(random.choice(SHOWN)), f"by hand in {dtype}")
        if dtype == "float64" and np.isfinite(ours.cost):
            through_a_float = ours._replace(cost=float(np.float32(ours.cost)))
            yield from judged(EDGES, "C in float32", case, through_a_float, "all", "by hand")


def in_pytorch(seed: int, index: int, draws: int) -> Group:
    """PyTorch's own functions and derivatives, in a format of its own or under autocast."""
    if find_spec("torch") is None:
        return
    from in_pytorch import KINDS, record_of  # slow to import

    random = np.random.default_rng((seed, index, 4))
    kind, net = KINDS[index % len(KINDS)], network(index, random)
    for _ in range(draws):
        case = drawn(net, kind.dtype, random, 1.0 if kind.is_short else 2.0)
        record, shown = record_of(case, kind), str(random.choice(SHOWN))
        yield from judged(TORCH, kind.name, case, record, shown, "PyTorch")


def near_misses(seed: int, index: int, draws: int) -> Group:
    """One value of an array, or each of them, 1.05 to 4 bounds off."""
    random = np.random.default_rng((seed, index, 5))
    case = small_case(seed, index, DTYPES[index % 3])
    right, call = jax.device_get(mbp.backprop(*case)), read_call(*case)
    for i in range(max(1, draws // 4)):
        shown = SHOWN[i % 2 * 4]  # all, or the gradients alone
        record = seen(right, shown)
        subject = read_subject("subject", Given("a record", record), call, precision="highest")
        given = [one for one in judge(call, subject) if one.got and one.place.kind != "x"]
        one = given[random.integers(len(given))]
        wrong = np.array(one.truth, np.float64)
        where = np.zeros(wrong.size, bool)
        where[random.integers(wrong.size) if i % 4 < 2 else slice(None)] = True
        times = random.uniform(1.05, 4) * random.choice([-1, 1], wrong.shape)
        wrong += np.where(where.reshape(wrong.shape), times * one.bound, 0)
        record = record.replaced(one.place, wrong.astype(case[2].dtype))
        names = [finding.mistake for finding in mbp.check(*case, record).findings]
        what = "named" if any(names) else "accepted"
        note = f"near miss at {one.place.name} of {case[0]}, {shown}: {names}" if any(names) else ""
        yield Figure("near", NEAR, peer=shown, what=what, note=note)


def damaged_files(seed: int, index: int, draws: int) -> Group:
    """A file of each kind that is read, damaged so often."""
    with TemporaryDirectory() as folder:
        for one in attack(Path(folder), max(1, draws // 3), seed=1000 * seed + index):
            fine = Figure("files", FILES, peer=one.name, what="accepted")
            yield from [fine] * (one.read + one.refused)
            yield from (fine._replace(what="fault", note=fault) for fault in one.faults)


Section = Callable[[int, int, int], Group]
SECTIONS: dict[str, Section] = {
    FORMULAS: by_other_formulas,
    MIXED: in_mixed_formats,
    EDGES: at_the_edges,
    TORCH: in_pytorch,
    NEAR: near_misses,
    FILES: damaged_files,
}
"""Each gives the outcomes of one shape of network: of (seed, its number, how many to draw)."""


def everything(seed: int, groups: int, draws: int) -> Iterator[Figure]:
    """All trials, as many groups in each section."""
    for index, section in product(range(groups), SECTIONS.values()):
        jax.clear_caches()  # the programs of the shape before would fill the memory
        yield from section(seed, index, draws)


def failures(trials: Iterable[Figure]) -> list[str]:
    """What is not as it must be."""
    return [row.note for row in trials if row.note]


def accepted(rows: Rows) -> Cells:
    """How many were accepted of how many, by section and way."""
    counts: dict[tuple[str, str], Any] = defaultdict(Counter)
    cells = {}
    for row in sorted(rows, key=lambda row: list(SECTIONS).index(row.network)):
        if row.what == WORST:
            cells[f"{row.network}, all", WORST] = f"{row.median:.2f}"
            continue
        for line in (f"{row.network}, all", f"{row.network}: {row.peer}"):
            counts[line, "accepted"][row.what] += row.median
    for key, times in counts.items():
        cells[key] = f"{times['accepted']:,}/{times.total():,}"
    return cells


app = new_app("robustness")


@app.default
def main(
    *,
    groups: int = 72,
    draws: int = 60,
    seed: int = 0,
    quick: bool = False,
    files: Files | None = None,
) -> int:
    """Judge right computations by other ways; an hour on two cores.

    Args:
        groups: shapes and formats of networks in each section
        draws: computations of each
        seed: of everything
        quick: a sample: two groups of five
    """
    files = files or Files()
    if quick:
        groups, draws = 2, 5
    about: About = {"seed": seed, "groups": groups, "draws": draws}
    about, rows = counted(files, FORMAT, about, everything(seed, groups, draws), failures)
    of_right = [row for row in select(rows, section="right") if row.what != WORST]
    right, rejected = (sum(int(row.median) for row in its) for its in
                       (of_right, select(of_right, what="rejected")))  # fmt: skip
    told = f"seed {about['seed']}: of {right:,} right computations {rejected:,} rejected"
    text = "# Robustness", __doc__.strip(), told
    return concluded(files, about, rows, text, {"accepted/counted": accepted(rows)})


if __name__ == "__main__":
    sys.exit(run_app(app))
