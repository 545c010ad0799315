"""How fast, and in how much memory: backpropagation by hand beside its peers, in one run.

    python scripts/benchmark.py                                   # everything, about ten minutes
    python scripts/benchmark.py --only epoch --json epoch.json --picture epoch.png
    python scripts/benchmark.py --device gpu --dtype bfloat16 --precision default

All peers take turns, A B C A B C …, and each is held against the others round by round: a ratio is
the median over the rounds, with the 10th and the 90th percentile in brackets. Sections:

    ceiling   the fastest square matrix product, which the steps are held against
    step      cost, gradients and update, called from Python on one batch
    epoch     the same over many batches
    memory    the compiler's peak of temporary bytes in cost and gradients
    trust     one `compare` of every equation with autodiff, in training steps
    growth    a step's time against width, depth and batch, with the fitted exponent

Exit codes: 0 whether the targets are reached or not, 2 for bad usage, 130 after Ctrl-C.
"""

import argparse
import importlib.util
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import manual_bp as mbp
from arguments import DTYPES, Parser, add_device, positive, run, use_device, write_json
from peers import (
    Peer,
    Setup,
    Work,
    epoch_peers,
    gradient_functions,
    product,
    step_peers,
    temporaries,
)
from timing import Spread, exponent, ratio, spread, turns

FORMAT = 1
TABLES = ("step", "epoch", "memory")
SECTIONS = ("ceiling", *TABLES, "trust", "growth")

SMALL = (
    Work("784-30-10", (784, 30, 10), "sigmoid", 10, "sigmoid"),
    Work("784-100-10", (784, 100, 10), "relu", 32, "softmax", "cross_entropy"),
    Work("784-512-512-10", (784, 512, 512, 10), "relu", 128, "softmax", "cross_entropy"),
    Work("8x64", (64,) * 9, "tanh", 32),
)
WIDE = (Work("1024x4", (1024,) * 5, "relu", 512), Work("2048x4", (2048,) * 5, "gelu", 1024))
DEEP = tuple(
    Work("16x256", (256,) * 17, sigma, 4096) for sigma in ("relu", "elu", "silu", "gelu", "sigmoid")
)
ACCELERATOR = (
    Work("4096x4", (4096,) * 5, "relu", 16384),
    Work("4096x4", (4096,) * 5, "gelu", 16384),
    Work("8192x4", (8192,) * 5, "relu", 16384),
    Work("8192x4", (8192,) * 5, "gelu", 16384),
)
STACKED = ("relu", "leaky_relu", "softplus", "elu", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    step: tuple[Work, ...]
    epoch: tuple[Work, ...]
    memory: tuple[Work, ...]
    trust: Work
    growth: dict[str, tuple[Work, ...]]
    products: tuple[int, ...]
    epoch_operations: float  # what an epoch takes, within 2 to 1000 steps
    growth_operations: float  # a step that takes more is left out
    least: int  # rounds
    block: float  # seconds of one peer's turn


def full_scale(on_cpu: bool) -> Scale:
    """What the targets are about."""
    width = tuple(Work(str(2**i), (2**i,) * 5, "relu", 256) for i in range(6, 13))
    depth = tuple(Work(str(2**i), (256,) * (2**i + 1), "relu", 256) for i in range(1, 7))
    batch = tuple(Work(str(2**i), (256,) * 5, "relu", 2**i) for i in range(14))
    return Scale(
        step=(*SMALL, *WIDE, *DEEP) if on_cpu else (*SMALL, *WIDE, *DEEP, *ACCELERATOR),
        epoch=(*SMALL, *WIDE),
        memory=tuple(Work("33x256", (256,) * 34, sigma, 8192) for sigma in STACKED),
        trust=SMALL[2],
        growth={"width": width, "depth": depth, "batch": batch},
        products=(1024, 2048, 4096) if on_cpu else (4096, 8192, 16384),
        epoch_operations=1e10 if on_cpu else 1e12,
        growth_operations=2e11 if on_cpu else math.inf,
        least=15,
        block=0.03,
    )


def quick_scale() -> Scale:
    """Enough to see that every part runs; its figures say little."""
    width = tuple(Work(str(n), (n,) * 3, "relu", 8) for n in (16, 32, 64))
    depth = tuple(Work(str(n), (16,) * (n + 1), "relu", 8) for n in (2, 4))
    batch = tuple(Work(str(n), (16,) * 3, "relu", n) for n in (1, 8))
    return Scale(
        step=(SMALL[0], Work("3x32", (32,) * 4, "gelu", 64)),
        epoch=(SMALL[0],),
        memory=tuple(Work("5x32", (32,) * 6, sigma, 256) for sigma in ("relu", "gelu")),
        trust=SMALL[0],
        growth={"width": width, "depth": depth, "batch": batch},
        products=(256,),
        epoch_operations=2e7,
        growth_operations=1e9,
        least=3,
        block=0.003,
    )


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────

# Of two CPU cores: (section, network, σ, peer) -> the most that by hand may take of the peer's.
# None stands for every network, σ or peer of the section.
AT_MOST: dict[tuple[str, str | None, str | None, str], float] = {
    ("step", "16x256", "relu", "autodiff"): 0.95,
    ("step", "16x256", "elu", "autodiff"): 0.88,
    ("step", "16x256", "silu", "autodiff"): 0.95,
    ("step", "16x256", "gelu", "autodiff"): 0.90,
    ("step", "16x256", "sigmoid", "autodiff"): 1.00,
    ("step", None, None, "autodiff"): 1.03,
    ("epoch", "784-30-10", "sigmoid", "optax (in, out)"): 0.78,
    ("epoch", "784-30-10", "sigmoid", "jitted step, Python loop"): 0.42,
    ("epoch", "784-30-10", "sigmoid", "PyTorch, eager"): 0.07,
    **{
        ("memory", "33x256", sigma, "autodiff"): limit
        for limit, sigmas in (
            (0.52, ("relu", "leaky_relu", "softplus")),
            (0.35, ("elu",)),
            (0.42, ("silu", "gelu", "gelu_tanh")),
            (1.00, ("sigmoid", "tanh")),
        )
        for sigma in sigmas
    },
}
MOST_STEPS_OF_A_COMPARISON = 25
AT_LEAST_OF_CEILING = {"1024x4": 0.90, "2048x4": 0.90}
# Of an accelerator; the memory's are the CPU's.
ACCELERATOR_STEP = 1.00
ACCELERATOR_AT_LEAST_OF_CEILING = {"8192x4": 0.80}


def most(section: str, work: Work, peer: str, on_cpu: bool) -> float | None:
    """The target for by hand over this peer, or None."""
    if not on_cpu and section != "memory":
        return ACCELERATOR_STEP if (section, peer) == ("step", "autodiff") else None
    return AT_MOST.get(
        (section, work.name, work.sigma, peer), AT_MOST.get((section, None, None, peer))
    )


def least_of_ceiling(work: Work, on_cpu: bool) -> float | None:
    """The target for by hand's fraction of the matrix-product ceiling, or None."""
    return (AT_LEAST_OF_CEILING if on_cpu else ACCELERATOR_AT_LEAST_OF_CEILING).get(work.name)


# ── Measuring ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bench:
    """What every section needs to know."""

    scale: Scale
    dtype: str
    seed: int
    seconds: float
    judged: bool  # against the targets
    on_cpu: bool

    def turns(self, runs: dict[str, Any]) -> dict[str, list[float]]:
        """Seconds per call of each."""
        scale = self.scale
        return turns(runs, seconds=self.seconds, block=scale.block, least=scale.least)

    def target(self, value: Spread | None, **limit: float | None) -> dict[str, Any]:
        """The target of a row, `at_most=` or `at_least=`: {} where there is none for it."""
        ((bound, number),) = limit.items()
        if value is None or number is None or not self.judged:
            return {}
        reached = value.median >= number if bound == "at_least" else value.median <= number
        return {"target": {bound: number, "value": value._asdict(), "reached": reached}}


def measure_ceiling(bench: Bench) -> dict[str, Any]:
    """Square products of several sizes; the ceiling is the fastest."""
    sizes = bench.scale.products
    times = bench.turns({str(n): product(n, bench.dtype) for n in sizes})
    rates = {n: 2 * n**3 / spread(times[str(n)]).median for n in sizes}
    best = max(rates.values())
    # The least size that gets as far is the one that takes turns with the steps.
    size = min(n for n in sizes if rates[n] >= 0.97 * best)
    return {
        "products": [
            {"n": n, "seconds": spread(times[str(n)])._asdict(), "operations_per_second": rates[n]}
            for n in sizes
        ],
        "n": size,
    }


def measure_step(bench: Bench, work: Work, ceiling: int) -> dict[str, Any]:
    """All peers' steps on one network, with the square product among them."""
    setup = Setup(work, dtype=bench.dtype, seed=bench.seed)
    peers = step_peers(setup, checkpoint=work.name == "16x256")
    functions = gradient_functions(work)
    memory = {
        peer.name: temporaries(functions[peer.name], work, bench.dtype)
        for peer in peers
        if peer.name in functions
    }
    runs = {peer.name: peer.run for peer in peers} | {"product": product(ceiling, bench.dtype)}
    times = bench.turns(runs)
    _all_finite(peers)
    share = work.operations / (2 * ceiling**3)
    of_ceiling = {
        name: Spread(*(share * value for value in ratio(times["product"], times[name])))
        for name in runs
    }
    entry = _entry(bench, "step", work, times, peers)
    entry["operations"] = work.operations
    for row in entry["peers"]:
        name = row["name"]
        row["temporaries"] = memory.get(name)
        row["of_ceiling"] = of_ceiling[name]._asdict()
        if name == "by hand":
            limit = least_of_ceiling(work, bench.on_cpu)
            row |= bench.target(of_ceiling[name], at_least=limit)
    return entry


def measure_epoch(bench: Bench, work: Work) -> dict[str, Any]:
    """All peers' epochs over the same batches, which lie ready; shuffling is not in it."""
    steps = int(min(1000, max(2, bench.scale.epoch_operations // work.operations)))
    setup = Setup(work, steps, bench.dtype, seed=bench.seed)
    peers = epoch_peers(setup)
    times = bench.turns({peer.name: peer.run for peer in peers})
    _all_finite(peers)
    return {"steps": steps, **_entry(bench, "epoch", work, times, peers)}


def measure_memory(bench: Bench, work: Work) -> dict[str, Any]:
    """Peak temporaries of cost and gradients; nothing is run."""
    functions = gradient_functions(work)
    found = {name: temporaries(f, work, bench.dtype) for name, f in functions.items()}
    peers = []
    for name, size in found.items():
        over = found["by hand"] / size if found["by hand"] is not None and size else None
        value = None if over is None else Spread(over, over, over)
        target = bench.target(value, at_most=most("memory", work, name, bench.on_cpu))
        peers.append({"name": name, "temporaries": size, "by_hand_over_it": over, **target})
    return {**_network(work), "peers": peers}


def measure_trust(bench: Bench, work: Work) -> dict[str, Any]:
    """What it costs to compare one step with autodiff, once compiled and the first time."""
    setup = Setup(work, dtype=bench.dtype, seed=bench.seed)
    step = next(peer for peer in step_peers(setup) if peer.name == "by hand")
    params, (x, y) = setup.params, (array[0] for array in setup.batches)

    def compare(n: int) -> None:
        for _ in range(n):
            mbp.compare(work.net, params, x, y).raise_if_disagrees()

    start = time.perf_counter()
    compare(1)
    first = time.perf_counter() - start
    times = bench.turns({"by hand": step.run, "compare": compare})
    over = ratio(times["compare"], times["by hand"])
    row = {
        "name": "compare",
        "seconds": spread(times["compare"])._asdict(),
        "first_seconds": first,
        "over_a_step": over._asdict(),
        **bench.target(over, at_most=MOST_STEPS_OF_A_COMPARISON if bench.on_cpu else None),
    }
    return {**_network(work), "rounds": len(times["compare"]), "peers": [row]}


def measure_growth(bench: Bench, along: str, works: Sequence[Work]) -> dict[str, Any]:
    """Seconds a step along one axis, and the exponents of the whole and of its upper half."""
    within = [work for work in works if work.operations <= bench.scale.growth_operations]
    points: list[dict[str, Any]] = []
    for work in within:
        setup = Setup(work, dtype=bench.dtype, seed=bench.seed)
        peers = [p for p in step_peers(setup) if p.name in ("by hand", "autodiff")]
        times = turns(
            {peer.name: peer.run for peer in peers},
            seconds=bench.seconds / 8,
            block=bench.scale.block,
            least=3,
        )
        points.append(
            {
                along: int(work.name),
                "operations": work.operations,
                "seconds": {name: spread(t)._asdict() for name, t in times.items()},
                "by_hand_over_autodiff": ratio(times["by hand"], times["autodiff"])._asdict(),
            }
        )
    sizes = [point[along] for point in points]
    seconds = [point["seconds"]["by hand"]["median"] for point in points]
    half = len(sizes) // 2 if len(sizes) > 3 else 0
    return {
        "along": along,
        "points": points,
        "left_out": [int(work.name) for work in works if work not in within],
        "exponent": exponent(sizes, seconds),
        "exponent_upper_half": exponent(sizes[half:], seconds[half:]),
    }


def _entry(
    bench: Bench, section: str, work: Work, times: dict[str, list[float]], peers: Sequence[Peer]
) -> dict[str, Any]:
    rows = []
    for name in (peer.name for peer in peers):
        over = ratio(times["by hand"], times[name])
        row = bench.target(over, at_most=most(section, work, name, bench.on_cpu))
        if row and (section, name) == ("step", "autodiff"):
            # Slower beyond the spread is a miss, whatever the limit allows.
            row["target"]["reached"] &= over.low <= 1
        seconds = spread(times[name])._asdict()
        rows.append({"name": name, "seconds": seconds, "by_hand_over_it": over._asdict(), **row})
    return {**_network(work), "rounds": len(times["by hand"]), "peers": rows}


def _network(work: Work) -> dict[str, Any]:
    names = {"network": work.name, "activation": work.sigma, "output": work.output}
    return {**names, "cost": work.cost, "sizes": work.sizes, "batch": work.batch}


def _all_finite(peers: Sequence[Peer]) -> None:
    for peer in peers:
        if not all(math.isfinite(float(b.sum())) for W, b in peer.params()):
            raise ValueError(f"{peer.name}: parameters did not stay finite; take another --seed")


def machine(device: jax.Device) -> dict[str, Any]:
    """What it ran on; no name of the host, no path."""
    packages = ("jax", "jaxlib", "optax", "numpy", "torch", "manual_bp")
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version for name in packages if (version := _version(name))},
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# ── The table ────────────────────────────────────────────────────────────────────────────────────


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.2f} MiB"


def _between(value: dict[str, float] | None) -> str:
    return "" if value is None else "{median:.3f} [{low:.3f} {high:.3f}]".format(**value)


def verdict(row: dict[str, Any]) -> str:
    """`≤ 0.95 reached` or `≥ 0.90 NOT reached`; nothing where the row has no target."""
    target = row.get("target")
    if target is None:
        return ""
    sign, key = ("≤", "at_most") if "at_most" in target else ("≥", "at_least")
    return f"{sign} {target[key]:.2f} {'' if target['reached'] else 'NOT '}reached"


def show_machine(about: dict[str, Any], bench: Bench, precision: str) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    yield f"{about['device']}; {about['cpu']}, {about['cores']} cores"
    yield versions
    yield f"{bench.dtype}, precision {precision}, seed {bench.seed}"
    yield "A ratio: median over the rounds [10th 90th percentile]; under 1, by hand is ahead."


def show_ceiling(entry: dict[str, Any]) -> Iterator[str]:
    yield "\nceiling: square matrix products"
    for row in entry["products"]:
        chosen = "  taken" if row["n"] == entry["n"] else ""
        yield (
            f"  {row['n']:>6}  {duration(row['seconds']['median']):>9}  "
            f"{row['operations_per_second'] / 1e9:>10.1f} Gflop/s{chosen}"
        )


def show_timed(section: str, entry: dict[str, Any]) -> Iterator[str]:
    steps = f", {entry['steps']} steps" if section == "epoch" else ""
    yield (
        f"\n{section}: {entry['network']} {entry['activation']}, batch {entry['batch']}{steps}, "
        f"{entry['rounds']} rounds"
    )
    memory, of_ceiling = ("temporaries", "of the ceiling") if section == "step" else ("", "")
    yield f"  {'':<26}{'time':>9}  {'by hand over it':<22}{memory:>13}  {of_ceiling:<22}target"
    for row in entry["peers"]:
        name, seconds, share = row["name"], row["seconds"]["median"], row.get("of_ceiling")
        over = _between(row["by_hand_over_it"]) if name != "by hand" else ""
        yield (
            f"  {name:<26}{duration(seconds):>9}  {over:<22}"
            f"{_size(row.get('temporaries')):>13}  {_between(share):<22}{verdict(row)}"
        ).rstrip()


def show_memory(entry: dict[str, Any]) -> Iterator[str]:
    yield f"\nmemory: {entry['network']} {entry['activation']}, batch {entry['batch']}"
    for row in entry["peers"]:
        name, over = row["name"], row["by_hand_over_it"]
        figure = "" if over is None or name == "by hand" else f"{over:.3f}"
        size = _size(row["temporaries"]) or "not known"
        yield f"  {name:<26}{size:>13}  {figure:<7}{verdict(row)}".rstrip()


def show_trust(entry: dict[str, Any]) -> Iterator[str]:
    (row,) = entry["peers"]
    yield f"\ntrust: {entry['network']} {entry['activation']}, batch {entry['batch']}"
    yield (
        f"  compare takes {_between(row['over_a_step'])} steps, "
        f"{duration(row['seconds']['median'])}; the first time {duration(row['first_seconds'])}, "
        f"with all that it compiles  {verdict(row)}"
    ).rstrip()


def show_growth(entry: dict[str, Any]) -> Iterator[str]:
    along = entry["along"]
    yield f"\ngrowth: {along}"
    for point in entry["points"]:
        yield (
            f"  {point[along]:>6}  {duration(point['seconds']['by hand']['median']):>9}  "
            f"over autodiff {_between(point['by_hand_over_autodiff'])}"
        )
    yield (
        f"  time ∝ {along}^{entry['exponent']:.2f}; "
        f"its upper half ∝ {along}^{entry['exponent_upper_half']:.2f}"
    )
    if entry["left_out"]:
        yield f"  left out, too large here: {', '.join(map(str, entry['left_out']))}"


def show_targets(result: dict[str, Any], judged: bool) -> Iterator[str]:
    if not judged:
        yield "\nNo target is judged by a --quick run."
        return
    judged_rows = [
        (section, entry, row)
        for section in (*TABLES, "trust")
        for entry in result.get(section, ())
        for row in entry["peers"]
        if "target" in row
    ]
    missed = [place for place in judged_rows if not place[2]["target"]["reached"]]
    if judged_rows:
        yield f"\n{len(judged_rows) - len(missed)} of {len(judged_rows)} targets reached."
    for section, entry, row in missed:
        what = {"by hand": "of the ceiling", "compare": "steps"}.get(
            row["name"], f"by hand over {row['name']}"
        )
        yield (
            f"  {section} {entry['network']} {entry['activation']}, {what}: "
            f"{_between(row['target']['value'])} {verdict(row)}"
        )


# ── The picture ──────────────────────────────────────────────────────────────────────────────────


def draw(result: dict[str, Any], file: str) -> None:
    """What was measured, a panel a section; growth on log axes."""
    from matplotlib.figure import Figure

    bars = [name for name in TABLES if result.get(name)]
    growth = result.get("growth") or []
    panels = len(bars) + len(growth)
    columns = min(3, max(1, panels))
    rows = max(1, math.ceil(panels / columns))
    figure = Figure(figsize=(6 * columns, 5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    about = result["machine"]
    figure.suptitle(f"by hand over its peers: {about['device']}, {about['cores']} cores")
    names = (row["name"] for bar in bars for entry in result[bar] for row in entry["peers"])
    colours = {
        name: f"C{i}" for i, name in enumerate(dict.fromkeys(("by hand", "autodiff", *names)))
    }
    for section, ax in zip(bars, axes, strict=False):
        _draw_ratios(ax, section, result[section], colours)
    for entry, ax in zip(growth, axes, strict=False):
        _draw_growth(ax, entry, colours)
    for ax in axes:
        ax.set_axis_off()
    figure.savefig(file, dpi=120)


def _draw_ratios(
    ax: Any, section: str, entries: Sequence[dict[str, Any]], colours: dict[str, str]
) -> None:
    names = dict.fromkeys(row["name"] for entry in entries for row in entry["peers"])
    del names["by hand"]
    for i, name in enumerate(names):
        places, values, errors = [], [], []
        for place, entry in enumerate(entries):
            for row in entry["peers"]:
                value = row["by_hand_over_it"]
                if row["name"] != name or value is None:
                    continue
                spread = value if isinstance(value, dict) else dict.fromkeys(Spread._fields, value)
                places.append(place + 0.8 * (i + 0.5) / len(names) - 0.4)
                values.append(spread["median"])
                errors.append((spread["median"] - spread["low"], spread["high"] - spread["median"]))
        both = list(zip(*errors, strict=True))
        ax.errorbar(values, places, xerr=both, fmt="o", ms=4, label=name, color=colours[name])
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yticks(
        range(len(entries)), [f"{entry['network']} {entry['activation']}" for entry in entries]
    )
    ax.invert_yaxis()
    ax.set_title(f"{section}: by hand over …")
    ax.legend(fontsize="small")


def _draw_growth(ax: Any, entry: dict[str, Any], colours: dict[str, str]) -> None:
    along = entry["along"]
    sizes = [point[along] for point in entry["points"]]
    for name in ("by hand", "autodiff"):
        seconds = [point["seconds"][name]["median"] for point in entry["points"]]
        ax.plot(sizes, seconds, "o-", label=name, color=colours[name])
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel(along)
    ax.set_ylabel("seconds a step")
    ax.set_title(f"growth: upper half ∝ {along}^{entry['exponent_upper_half']:.2f}")
    ax.legend(fontsize="small")


# ── The script ───────────────────────────────────────────────────────────────────────────────────


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(SECTIONS)}, got {', '.join(map(repr, unknown))}"
        )
    return names


def arguments() -> argparse.Namespace:
    parser = Parser("Measure time and memory beside autodiff, optax, PyTorch and NumPy.")
    parser.add_argument(
        "--only", type=_sections, default=",".join(SECTIONS), help="sections, joined by commas"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no targets")
    parser.add_argument(
        "--seconds", type=positive, default=10, help="for the rounds of each comparison"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of all arrays")
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0, help="of weights and data")
    parser.add_argument("--json", metavar="FILE", default=argparse.SUPPRESS, help="all figures")
    parser.add_argument("--picture", metavar="FILE", default=argparse.SUPPRESS, help="PNG, PDF, …")
    return parser.parse_args()


def check_files(args: argparse.Namespace) -> None:
    """Refuse what cannot be written before minutes are spent on measuring it."""
    for flag in ("json", "picture"):
        folder = os.path.dirname(getattr(args, flag, ""))
        if folder and not os.path.isdir(folder):
            raise ValueError(f"--{flag}: no folder {folder}; make it first")
    endings = (".png", ".pdf", ".svg")
    if "picture" in args:
        if not args.picture.endswith(endings):
            raise ValueError(
                f"--picture: expected a file name that ends in {', '.join(endings)}, "
                f"got {args.picture!r}"
            )
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError("--picture needs matplotlib: pip install 'manual_bp[report]'")


def main() -> int:
    args = arguments()
    check_files(args)
    device = use_device(args)
    on_cpu = device.platform == "cpu"
    bench = Bench(
        scale=quick_scale() if args.quick else full_scale(on_cpu),
        dtype=args.dtype,
        seed=args.seed,
        seconds=0.2 if args.quick else args.seconds,
        judged=not args.quick,
        on_cpu=on_cpu,
    )
    say = partial(print, flush=True, sep="\n")
    result: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine(device),
        "settings": {
            "quick": args.quick,
            "seconds": bench.seconds,
            "dtype": args.dtype,
            "precision": args.precision,
            "seed": args.seed,
        },
    }
    say(*show_machine(result["machine"], bench, args.precision))

    if {"ceiling", "step"} & set(args.only):
        result["ceiling"] = measure_ceiling(bench)
        say(*show_ceiling(result["ceiling"]))
    measures: dict[str, Callable[[Work], dict[str, Any]]] = {
        "step": lambda work: measure_step(bench, work, result["ceiling"]["n"]),
        "epoch": partial(measure_epoch, bench),
        "memory": partial(measure_memory, bench),
    }
    for section, measure in measures.items():
        if section not in args.only:
            continue
        result[section] = []
        for work in getattr(bench.scale, section):
            entry = measure(work)
            result[section].append(entry)
            say(*(show_memory(entry) if section == "memory" else show_timed(section, entry)))
    if "trust" in args.only:
        result["trust"] = [measure_trust(bench, bench.scale.trust)]
        say(*show_trust(result["trust"][0]))
    if "growth" in args.only:
        result["growth"] = []
        for along, works in bench.scale.growth.items():
            entry = measure_growth(bench, along, works)
            result["growth"].append(entry)
            say(*show_growth(entry))

    say(*show_targets(result, bench.judged))
    if "json" in args:
        write_json(Path(args.json), result)
    if "picture" in args:
        draw(result, args.picture)
    return 0


if __name__ == "__main__":
    run(main)
