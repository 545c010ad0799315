"""`manual-bp explore`: a page of the six steps, from a real run."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.compare import batches, check_finite
from manual_bp.cli.options import DeviceOptions, NetworkOptions, Positive, RunOptions
from manual_bp.files.data import Data, is_table
from manual_bp.plot.regions import classes_of
from manual_bp.training.epoch import evaluate

HIDDEN = 12
LEAST_PICTURE = 7  # pixels along a side


@dataclass(frozen=True, kw_only=True)
class ExploredNetwork(NetworkOptions):
    """The network, small enough to see its numbers."""

    sizes: str | None = None
    """widths from the input to the output, such as 2-8-3 (default: the data's, 12 between them)"""


@dataclass(frozen=True, kw_only=True)
class ExploredRun(RunOptions):
    """The data, and how it is gone through."""

    batch: Positive = 8
    """examples in a batch"""
    learning_rate: float = 0.5
    """η"""


def explore(
    *,
    out: Path,
    network: ExploredNetwork | None = None,
    run: ExploredRun | None = None,
    device: DeviceOptions | None = None,
    steps: Positive = 300,
    show: Positive = 10,
    quiet: bool = False,
) -> int:
    """Train by hand on real data, and write a page to look at: every matrix of the six steps.

    Args:
        out: the page to write, one HTML file that needs no network
        steps: update steps
        show: how many of them the page shows, close together at first
        quiet: print nothing
    """
    network, run = network or ExploredNetwork(), run or ExploredRun()
    device = device or DeviceOptions()
    terminal.check_target("--out", out)
    with device.in_force(run.dtype):
        data = run.read()
        net, data = network.network_for(data, HIDDEN, run.task)
        x, y = jnp.asarray(data.x), jnp.asarray(data.y)
        are_classes = classes_of(net, np.asarray(data.y, np.float64)) is not None
        size = min(run.batch, len(x))
        say = terminal.say_unless(quiet)
        say(f"{net} on {len(x):,} examples of {data.name}, {steps:,} steps of {size}")
        params: Any = net.init(jax.random.key(run.seed), run.dtype, not network.no_bias)
        shown = {*np.geomspace(1, steps, min(show, steps)).round().astype(int).tolist()}
        recorded = []
        taken = itertools.islice(batches(len(x), size, run.seed), steps)
        with terminal.progress("steps shown", len(shown), quiet) as advance:
            for step, batch in enumerate(taken, start=1):
                C, gradients = mbp.value_and_grad(net)(params, x[batch], y[batch])
                check_finite(step, run.learning_rate, "cost is", C)
                after = mbp.update(params, gradients, run.learning_rate)
                for array in jax.tree.leaves(after):
                    check_finite(step, run.learning_rate, "updated parameters are", array)
                if step in shown:
                    whole, right = map(float, evaluate(net, params, x, y))
                    recorded.append(
                        mbp.explorer.Step(
                            params, x[batch], y[batch], number=step, cost=whole,
                            accuracy=right / len(x) if are_classes else None,
                            learning_rate=run.learning_rate, after=after,
                        )
                    )  # fmt: skip
                    advance(f"step {step:3}  cost {whole:.4g}")
                params = after
        mbp.explorer.write(
            out, net, recorded, title=f"{net}, {data.name}", names=data.encoding.classes,
            picture=_picture(run.data, data),
        )  # fmt: skip
    say(f"wrote {out} ({out.stat().st_size:,} bytes); open it in a browser")
    return 0


def _picture(source: str, data: Data) -> tuple[int, int] | None:
    """Height and width where examples are pictures: square ones, of no table."""
    side = math.isqrt(data.x.shape[1])
    whole = side * side == data.x.shape[1] and side >= LEAST_PICTURE
    return (side, side) if whole and not is_table(source) else None
