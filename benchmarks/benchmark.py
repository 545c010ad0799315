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
import time
from collections.abc import Iterator, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

import jax

import manual_bp as mbp
import table
from command import Earlier, check_targets, run
from manual_bp.cli.options import DeviceOptions, Dtype, Positive
from peers import epoch_peers, gradient_functions, product, step_peers
from peers.peer import Peer
from picture import check, draw
from table import BYTES, CEILING, OVER, STEPS, TIME, UPPER_HALF, WHOLE, Figure, select
from targets import held
from timing import exponent, ratio, spread, turns
from works import Scale, Setup, Work, full_scale, quick_scale

SECTIONS = ("ceiling", "step", "epoch", "memory", "trust", "growth")
PACKAGES = ("jax", "jaxlib", "optax", "numpy", "torch", "manual_bp")
FORMAT = "manual_bp.benchmark 2"
READING = "A ratio: median over the rounds [10th 90th percentile]; under 1, by hand is ahead."


class Bench(NamedTuple):
    """What every section needs to know, and the sections: their rows, network by network."""

    scale: Scale
    dtype: str
    seed: int
    seconds: float

    def measure(self, sections: Sequence[str]) -> Iterator[list[Figure]]:
        """The rows of these sections."""
        n = 0
        if "ceiling" in sections or "step" in sections:
            yield (products := self.products())
            n = products[-1].size or n
        if "step" in sections:
            yield from (self.step(work, n) for work in self.scale.step)
        for section in ("epoch", "memory", "trust", "growth"):
            if section in sections:
                yield from map(getattr(self, section), getattr(self.scale, section))

    def setup(self, work: Work, steps: int = 1) -> Setup:
        """What all peers of one comparison share."""
        return Setup(work, steps, self.dtype, seed=self.seed)

    def turns(self, *peers: Peer) -> dict[str, list[float]]:
        """Seconds per call of each."""
        runs, block, least = {p.name: p.run for p in peers}, self.scale.block, self.scale.least
        return turns(runs, seconds=self.seconds, block=block, least=least)

    def products(self) -> list[Figure]:
        """Square products of several sizes; the fastest is the ceiling."""
        sizes = {str(n): n for n in self.scale.products}
        times = self.turns(*(product(n, self.dtype, name) for name, n in sizes.items()))
        row = Figure("ceiling", "square products", peer="product", what="rate", unit="flop/s")
        rows = [
            row.of(ratio([2 * n**3] * len(times[k]), times[k]), size=n) for k, n in sizes.items()
        ]
        # The least size that gets as far is the one that takes turns with the steps.
        best = max(row.median for row in rows)
        return [*rows, next(r for r in rows if r.median >= 0.97 * best)._replace(what="rate taken")]

    def step(self, work: Work, n: int) -> list[Figure]:
        """All peers' steps on one network, with the square product among them."""
        peers = step_peers(self.setup(work), checkpoints=work.name == "16x256")
        memory = select(self.memory(work, "step"), what=BYTES)
        times = self.turns(*peers, product(n, self.dtype))
        share, row = work.operations / (2 * n**3), work_row("step", work, what=CEILING)
        reached = ((p.name, ratio(times["product"], times[p.name], share)) for p in peers)
        return [
            *compared("step", work, peers, times),
            *(found for found in memory if found.peer in times),
            *(row.of(share, peer=name) for name, share in reached),
        ]

    def epoch(self, work: Work) -> list[Figure]:
        """All peers' epochs over the same batches, which lie ready; shuffling is not in it."""
        steps = int(min(1000, max(2, self.scale.epoch_operations // work.operations)))
        peers = epoch_peers(self.setup(work, steps))
        return compared("epoch", work, peers, self.turns(*peers), steps)

    def memory(self, work: Work, section: str = "memory") -> list[Figure]:
        """Peak temporaries of cost and gradients, where the compiler tells; nothing is run."""
        params = jax.eval_shape(lambda: work.net.init(jax.random.key(0), self.dtype))
        x, y = (jax.ShapeDtypeStruct((work.batch, work.sizes[i]), self.dtype) for i in (0, -1))
        sizes = {}
        for name, value_and_grad in gradient_functions(work).items():
            memory = jax.jit(value_and_grad).lower(params, x, y).compile().memory_analysis()
            sizes[name] = memory.temp_size_in_bytes if memory else 0
        row, mine = work_row(section, work, what=BYTES, unit="B"), sizes["by hand"]
        rows = [row._replace(peer=name, median=size) for name, size in sizes.items() if size]
        over = row._replace(what=OVER, unit="")
        return rows + [over._replace(peer=r.peer, median=mine / r.median) for r in rows[1:] if mine]

    def trust(self, work: Work) -> list[Figure]:
        """What it costs to compare one step with autodiff, once compiled and the first time."""
        setup = self.setup(work)
        params, (x, y) = setup.params, (array[0] for array in setup.batches)
        check = lambda _: mbp.compare(work.net, params, x, y).raise_if_disagrees()  # noqa: E731
        compare = Peer("compare", check, ())
        start = time.perf_counter()
        compare.run(1)
        first = time.perf_counter() - start
        times = self.turns(step_peers(setup)[0], compare)
        row = work_row("trust", work, peer="compare", rounds=len(times["compare"]))
        return [
            row.of(spread(times["compare"]), unit="s"),
            row._replace(what="first time", median=first, unit="s"),
            row.of(ratio(times["compare"], times["by hand"]), what=STEPS),
        ]

    def growth(self, works: dict[int, Work]) -> list[Figure]:
        """Seconds a step along one axis, and the exponents of the whole and of its upper half."""
        short = self._replace(seconds=self.seconds / 8, scale=self.scale._replace(least=3))
        rows: list[Figure] = []
        for size, work in works.items():
            peers = step_peers(self.setup(work))[:2]
            rows += compared("growth", work, peers, short.turns(*peers), size)
        seconds = [row.median for row in select(rows, peer="by hand", what=TIME)]
        half = len(works) // 2 if len(works) > 3 else 0
        for what, start in ((WHOLE, 0), (UPPER_HALF, half)):
            fit = exponent(list(works)[start:], seconds[start:])
            rows.append(Figure("growth", rows[0].network, what=what, median=fit))
        return rows


def work_row(section: str, work: Work, **fields: Any) -> Figure:
    """A row that waits for its figure."""
    return Figure(section, work.name, work.sigma, work.batch)._replace(**fields)


def compared(
    section: str, work: Work, peers: list[Peer], times: dict[str, list[float]], size: int = 0
) -> list[Figure]:
    """Each peer's time, and by hand's over it."""
    rows = []
    for peer in peers:
        peer.params()  # raises where they are not finite
        its = times[peer.name]
        row = work_row(section, work, size=size or None, peer=peer.name, rounds=len(its))
        rows.append(row.of(spread(its), unit="s"))
        if peer.name != "by hand":
            rows.append(row.of(ratio(times["by hand"], its), what=OVER))
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


def main(
    *,
    only: str = ",".join(SECTIONS),
    quick: bool = False,
    seconds: Positive = 10,
    dtype: Dtype = "float32",
    device: DeviceOptions | None = None,
    seed: int = 0,
    json: Path | None = None,
    markdown: Path | None = None,
    picture: Path | None = None,
    earlier: Earlier = None,
) -> None:
    """Measure time and memory beside autodiff, optax, PyTorch and NumPy: ten minutes.

    Args:
        only: sections, joined by commas
        quick: small sizes, few rounds, no targets
        seconds: for the rounds of each comparison
        dtype: of all arrays
        device: where to run, and how precise matrix products are
        seed: of weights and data
        json: write all figures
        markdown: write their tables
        picture: draw ratios and growth, as PNG, PDF or SVG
        earlier: measure nothing: take the JSON of an earlier run
    """
    sections, device = only.split(","), device or DeviceOptions()
    if unknown := [name for name in sections if name not in SECTIONS]:
        raise ValueError(f"--only: expected some of {','.join(SECTIONS)}, got {unknown[0]!r}")
    check_targets(json=json, markdown=markdown, picture=picture)
    if picture:
        check(picture)
    with device.in_force(dtype) as on:
        on_cpu, rows = on.platform == "cpu", []
        bench = Bench(quick_scale() if quick else full_scale(on_cpu), dtype, seed, seconds)
        blocks = bench._replace(seconds=0.2 if quick else seconds).measure(sections)
        settings: dict[str, Any] = {"quick": quick, "seconds": seconds, "dtype": dtype}
        settings |= {"seed": seed, "precision": device.precision}
        about: dict[str, Any] = {"format": FORMAT, "machine": machine(on), "settings": settings}
        if earlier:
            about, told = table.read(earlier, FORMAT)
            blocks = iter([told])
        at, used = (
            ", ".join(f"{name} {value}" for name, value in about[of].items())
            for of in ("machine", "settings")
        )
        print(at, used, READING, sep="\n")
        for block in blocks:
            rows += block if quick or earlier else [held(row, on_cpu) for row in block]
            table.show(table.tables(block, by_network=True))
    table.show(table.targets(rows))
    if json:
        table.write(json, about, rows)
    if picture:
        draw(rows, f"{about['machine']['device']}, {about['machine']['cores']} cores", picture)
    if markdown:
        head = ["# Time and memory", at, used, READING]
        if picture:
            head.append(f"![Ratios and growth]({os.path.relpath(picture, markdown.parent)})")
        table.write_page(markdown, head, table.tables(rows) | table.targets(rows))


if __name__ == "__main__":
    sys.exit(run(main))
