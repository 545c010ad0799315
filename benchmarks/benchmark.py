"""How fast, and in how much memory: backpropagation by hand beside its peers, in one run.

All peers take turns, A B C A B C …, and each is held against the others round by round. Sections:

    ceiling   the fastest square matrix product, which the steps are held against
    step      cost, gradients and update, called from Python on one batch
    epoch     the same over many batches
    memory    the compiler's peak of temporary bytes in cost and gradients
    trust     one `compare` of every equation with autodiff, in training steps
    growth    a step's time against width, depth and batch, with the fitted exponent
"""

import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata, util
from pathlib import Path
from timeit import timeit
from typing import Any

import jax

import manual_bp as mbp
import table
from manual_bp.cli.main import new_app, run_app
from manual_bp.cli.options import DeviceOptions, Dtype, Positive
from manual_bp.cli.terminal import check_target
from peers import Peer, epoch_peers, gradient_functions, product, step_peers
from picture import ENDINGS, draw
from table import BYTES, CEILING, OVER, STEPS, TIME, Figure, Files, Rows, select
from timing import Times, exponent, ratio, spread, turns
from works import Work, Works, full_scale, held, quick_scale

SECTIONS = ("ceiling", "step", "epoch", "memory", "trust", "growth")
PACKAGES = ("jax", "jaxlib", "optax", "numpy", "torch", "manual_bp")
FORMAT = "manual_bp.benchmark 2"
READING = "A ratio: median over the rounds [10th 90th percentile]; under 1, by hand is ahead."


@dataclass
class Bench:
    """The sections, each a method of its name that measures one of its works."""

    works: Works
    seconds: float
    least: int  # rounds
    block: float  # seconds of one peer's turn
    n: int = 0  # of the square product, which the ceiling finds for the steps

    def measure(self, sections: Sequence[str]) -> Iterator[Rows]:
        for section in SECTIONS:
            if section in sections or (section == "ceiling" and "step" in sections):
                yield from map(getattr(self, section), self.works[section])

    def turns(self, *peers: Peer) -> Times:
        runs = {peer.name: peer.run for peer in peers}
        return turns(runs, seconds=self.seconds, least=self.least, block=self.block)

    def compared(self, section: str, work: Work, peers: list[Peer], *ceiling: Peer) -> Rows:
        """Each peer's time, by hand's over it, and how much of the ceiling it reaches."""
        times, rows = self.turns(*peers, *ceiling), []
        for peer in peers:
            peer.params()  # raises where they are not finite
            its = times[peer.name]
            row = work.figure(section, peer.name, rounds=len(its))
            rows.append(row._replace(unit="s", **spread(its)))
            if peer.name != "by hand":
                rows.append(row._replace(what=OVER, **ratio(times["by hand"], its)))
            for square in ceiling:
                share = ratio(times[square.name], its, work.operations / (2 * self.n**3))
                rows.append(row._replace(what=CEILING, **share))
        return rows

    def ceiling(self, works: list[Work]) -> Rows:
        """Square products of several sizes; the fastest is the ceiling."""
        times = self.turns(*(product(work.batch, work.dtype, str(work.batch)) for work in works))
        rows = []
        for work, its in zip(works, times.values(), strict=True):
            rate = ratio([2 * work.batch**3] * len(its), its)
            rows.append(work.figure("ceiling", "product", what="rate", unit="flop/s", **rate))
        # The least size that gets as far is the one that takes turns with the steps.
        best = max(row.median for row in rows)
        taken = next(row for row in rows if row.median >= 0.97 * best)
        self.n = taken.size or 0
        return [*rows, taken._replace(what="rate taken")]

    def step(self, work: Work) -> Rows:
        """All peers' steps on one network, with the square product among them."""
        peers = step_peers(work, checkpoints=work.name == "16x256")
        rows = self.compared("step", work, peers, product(self.n, work.dtype))
        return rows + temporaries("step", work, [peer.name for peer in peers])

    def epoch(self, work: Work) -> Rows:
        """All peers' epochs over the same batches, which lie ready; shuffling is not in it."""
        return self.compared("epoch", work, epoch_peers(work))

    def memory(self, work: Work) -> Rows:
        """Peak temporaries, and by hand's over each."""
        rows = temporaries("memory", work)
        mine = sum(row.median for row in select(rows, peer="by hand"))
        over = [row._replace(what=OVER, median=mine / row.median, unit="") for row in rows[1:]]
        return rows + over if mine else rows

    def trust(self, work: Work) -> Rows:
        """What it costs to compare one step with autodiff, once compiled and the first time."""

        def check(params: Any, x: Any, y: Any) -> tuple[Any]:
            mbp.compare(work.net, params, x, y).raise_if_disagrees()
            return (params,)

        compare = Peer("compare", check, work.params, list(zip(*work.batches, strict=True)))
        first = timeit(partial(compare.run, 1), number=1)
        times = self.turns(step_peers(work)[0], compare)
        row = work.figure("trust", "compare", rounds=len(times["compare"]))
        return [
            row._replace(unit="s", **spread(times["compare"])),
            row._replace(unit="s", what="first time", median=first),
            row._replace(what=STEPS, **ratio(times["compare"], times["by hand"])),
        ]

    def growth(self, works: list[Work]) -> Rows:
        """Seconds a step along one axis, and the exponents of the whole and of its upper half."""
        short = replace(self, seconds=self.seconds / 8, least=3)
        rows = [row for w in works for row in short.compared("growth", w, step_peers(w)[:2])]
        ours = [(row.size, row.median) for row in select(rows, peer="by hand", what=TIME)]
        upper = ours[len(ours) // 2 :] if len(ours) > 3 else ours
        for what, part in ((table.WHOLE, ours), (table.UPPER_HALF, upper)):
            fit = exponent(*zip(*part, strict=True))
            rows.append(Figure("growth", works[0].name, what=what, median=fit))
        return rows


def temporaries(section: str, work: Work, peers: Sequence[str] = ()) -> Rows:
    """Peak bytes in cost and gradients, where the compiler tells; nothing is run."""
    batch = jax.eval_shape(lambda: (work.params, *(array[0] for array in work.batches)))
    rows = []
    for name, value_and_grad in gradient_functions(work).items():
        told = jax.jit(value_and_grad).lower(*batch).compile().memory_analysis()
        if told and told.temp_size_in_bytes and name in (peers or [name]):
            size = told.temp_size_in_bytes
            rows.append(work.figure(section, name, what=BYTES, median=size, unit="B"))
    return rows


def machine(device: jax.Device) -> dict[str, Any]:
    """What it ran on; no name of the host, no path."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text("utf-8")) if info.exists() else []
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES if util.find_spec(name)},
    }


app = new_app("benchmark")


@app.default
def main(
    *,
    only: str = ",".join(SECTIONS),
    quick: bool = False,
    seconds: Positive = 10,
    dtype: Dtype = "float32",
    seed: int = 0,
    picture: Path | None = None,
    files: Files | None = None,
    device: DeviceOptions | None = None,
) -> None:
    """Measure time and memory beside autodiff, optax, PyTorch and NumPy: ten minutes.

    Args:
        only: sections, joined by commas
        quick: small sizes, few rounds, no targets
        seconds: for the rounds of each comparison
        dtype: of all arrays
        seed: of weights and data
        picture: draw ratios and growth, as PNG, PDF or SVG
    """
    sections, files, device = only.split(","), files or Files(), device or DeviceOptions()
    if unknown := [name for name in sections if name not in SECTIONS]:
        raise ValueError(f"--only: expected some of {','.join(SECTIONS)}, got {unknown[0]!r}")
    check_target("--picture", picture)
    if picture and picture.suffix not in ENDINGS.split(", "):
        raise ValueError(f"--picture: expected a file name that ends in {ENDINGS}, got {picture}")
    with device.in_force(dtype) as on:
        about: dict[str, Any] = {"format": FORMAT, "machine": machine(on)}
        about["settings"] = {"quick": quick, "seconds": seconds, "dtype": dtype, "seed": seed}
        about["settings"]["precision"] = device.precision
        on_cpu = on.platform == "cpu"
        works = quick_scale() if quick else full_scale(on_cpu)
        fit = partial(Work._replace, dtype=dtype, seed=seed)
        works = jax.tree.map(fit, works, is_leaf=lambda part: isinstance(part, Work))
        bench = Bench(works, 0.2, 3, 0.003) if quick else Bench(works, seconds, 15, 0.03)
        blocks: Iterable[Rows] = bench.measure(sections)
        if files.earlier:
            about, *blocks = table.read(files.earlier, FORMAT)
        parts = (about["machine"], about["settings"])
        told = [*(", ".join(f"{k} {v}" for k, v in part.items()) for part in parts), READING]
        print(*told, sep="\n")
        rows: Rows = []
        for block in blocks:
            rows += block if quick or files.earlier else [held(row, on_cpu) for row in block]
            print(table.markdown(table.tables(block, by_network=True)), end="", flush=True)
    print(table.markdown(table.targets(rows)), end="")
    if picture:
        draw(rows, f"{about['machine']['device']}, {about['machine']['cores']} cores", picture)
        beside = files.markdown.parent if files.markdown else "."
        told.append(f"![Ratios and growth]({os.path.relpath(picture, beside)})")
    page = ["# Time and memory", *told]
    files.write(about, rows, page, table.tables(rows) | table.targets(rows))


if __name__ == "__main__":
    sys.exit(run_app(app))
