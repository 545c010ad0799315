"""`manual-bp compare`: training steps by hand on real data, each held against other ways."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions, NetworkOptions, Positive, RunOptions
from manual_bp.files.json import number, write_json
from manual_bp.text import of_bound, table

WITNESSES = {"autodiff": mbp.autodiff, "summation": mbp.summation, "numerical": mbp.numerical}
HIDDEN = 32


@dataclass(frozen=True, kw_only=True)
class ComparedRun(RunOptions):
    """The data, and how it is gone through."""

    learning_rate: float = 0.5
    """η"""


@dataclass(frozen=True)
class Case:
    """One step's numbers, and how its products are computed."""

    net: mbp.Network
    params: Any
    x: Any
    y: Any
    precision: str

    def compare(self, subject: Any, witness: str) -> mbp.Agreement:
        """Hold a subject against the witness of this name."""
        of = WITNESSES.get(witness, mbp.backprop)
        call = (self.net, self.params, self.x, self.y)
        return mbp.compare(*call, subject=subject, witness=of, precision=self.precision)


class Step(NamedTuple):
    """What is told of one step."""

    step: int
    cost: float
    ok: bool
    values: int
    wrong: int
    worst: float
    where: str

    def __str__(self) -> str:
        verdict = "agrees" if self.ok else "DISAGREES"
        return (
            f"step {self.step:3}  cost {self.cost:<9.5g} {self.values:,} values  {verdict}  "
            f"worst {of_bound(self.worst)} ({self.where})"
        )


def compare(
    *,
    network: NetworkOptions | None = None,
    run: ComparedRun | None = None,
    device: DeviceOptions | None = None,
    steps: Positive = 20,
    witness: Literal["autodiff", "summation", "numerical", "all"] = "autodiff",
    json: Path | None = None,
    quiet: bool = False,
) -> int:
    """Train by hand on real data, and hold every step against automatic differentiation.

    Args:
        steps: update steps
        witness: what each step is held against; all: each of them, and at the end each pair
        json: write the results to this file
        quiet: print the closing sentences alone
    """
    network, run = network or NetworkOptions(), run or ComparedRun()
    device = device or DeviceOptions()
    terminal.check_target("--json", json)
    with device.in_force(run.dtype) as where:
        data = run.read()
        net, data = network.network_for(data, HIDDEN, run.task)
        size = min(run.batch, len(data.x))
        witnesses = list(WITNESSES) if witness == "all" else [witness]
        say = terminal.say_unless(quiet)
        say(f"{net} on {len(data.x):,} examples of {data.name}, {run.dtype} on {where.platform}")
        count = f"{steps} step{'s' * (steps > 1)}"
        say(f"{count} of {size} examples, each held against {', '.join(witnesses)}")

        params: Any = net.init(jax.random.key(run.seed), run.dtype, not network.no_bias)
        told: list[Step] = []
        taken = itertools.islice(batches(len(data.x), size, run.seed), steps)
        with terminal.progress("steps", steps, quiet) as advance:
            for step, batch in enumerate(taken, start=1):
                x, y = jnp.asarray(data.x[batch]), jnp.asarray(data.y[batch])
                case = Case(net, params, x, y, device.precision)
                C, gradients = mbp.value_and_grad(net)(params, x, y)
                if step > 1:
                    check_finite(step, run.learning_rate, "cost is", C)
                agreements = [case.compare(mbp.backprop, name) for name in witnesses]
                told.append(_told(step, float(C), agreements))
                advance(str(told[-1]))
                if not told[-1].ok:
                    break
                params = mbp.update(params, gradients, run.learning_rate)
                for array in jax.tree.leaves(params):
                    check_finite(step, run.learning_rate, "updated parameters are", array)

        last = next((a for a in agreements if not a.ok), agreements[0])
        say(f"\nStep {len(told)}\n{last.text(colour=terminal.colour())}")
        pairs = _pairs(case) if witness == "all" else {}
        if pairs:
            say(f"\n{_pairs_text(pairs)}")
    ok = all(step.ok for step in told) and all(pair.ok for pair in pairs.values())
    say()
    print(_closing(told))
    if json is not None:
        write_json(
            json,
            {
                "format": "manual_bp.compare",
                "version": 1,
                "ok": ok,
                "network": str(net),
                "settings": {
                    **asdict(network), **asdict(run), **asdict(device),
                    "steps": steps, "witness": witness,
                },
                "steps": [
                    {k: number(v) if isinstance(v, float) else v for k, v in step._asdict().items()}
                    for step in told
                ],
                "last": last.to_dict(),
                "pairs": {" / ".join(names): pair.to_dict() for names, pair in pairs.items()},
            },
        )  # fmt: skip
    return 0 if ok else 1


def batches(m: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of one batch after the other; each example comes once before any comes again."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(m)
        for start in range(0, m - size + 1, size):
            yield order[start : start + size]


def check_finite(step: int, eta: float, what: str, array: Any) -> None:
    """Raise an error that names --learning-rate where a cost or a parameter is NaN or Inf."""
    if not bool(jnp.isfinite(array).all()):
        found = f"{float(array)}" if jnp.ndim(array) == 0 else "NaN or Inf"
        raise ValueError(
            f"step {step}: the {what} {found}; make --learning-rate smaller, got {eta:g}"
        )


def _told(step: int, cost: float, agreements: list[mbp.Agreement]) -> Step:
    worst = max((agreement.worst for agreement in agreements), key=lambda row: row.bound_ratio)
    return Step(
        step,
        cost,
        all(agreement.ok for agreement in agreements),
        sum(agreement.values for agreement in agreements),
        sum(agreement.wrong for agreement in agreements),
        worst.bound_ratio,
        worst.place.symbol,
    )


def _closing(steps: list[Step]) -> str:
    values, wrong = sum(step.values for step in steps), sum(step.wrong for step in steps)
    worst = max(steps, key=lambda step: step.worst)
    return (
        f"{values:,} values compared in {len(steps)} step{'s' * (len(steps) > 1)}, "
        f"{values - wrong:,} agreed.\nThe worst one differed by {of_bound(worst.worst)} "
        f"({worst.where} at step {worst.step})."
    )


def _pairs(case: Case) -> dict[tuple[str, str], mbp.Agreement]:
    """Each pair held against each other; autodiff never the witness, since it shares our bound."""
    pairs = {("autodiff", "backprop"): case.compare(mbp.autodiff, "backprop")}
    for name in ("summation", "numerical"):
        pairs["backprop", name] = case.compare(mbp.backprop, name)
        pairs["autodiff", name] = case.compare(mbp.autodiff, name)
    pairs["summation", "numerical"] = case.compare(mbp.summation, "numerical")
    return pairs


def _pairs_text(pairs: dict[tuple[str, str], mbp.Agreement]) -> str:
    names = ["backprop", *WITNESSES]
    cells = {}
    for pair, agreement in pairs.items():
        ratios = [row.end_ratio for row in agreement.rows if row.end_ratio is not None]
        verdict = "agree" if agreement.ok else "DISAGREE"
        cells[frozenset(pair)] = f"{verdict} {max(ratios, default=0):.2g}"
    rows = [["", *names[:-1]]]
    for i, name in enumerate(names[1:], start=1):
        others = [cells[frozenset((name, other))] for other in names[:i]]
        rows.append([name, *others, *[""] * (len(names) - 1 - i)])
    head = "Each pair, end to end; the largest difference over what rounding can do from x on:"
    return "\n".join([head, *table(rows)])
