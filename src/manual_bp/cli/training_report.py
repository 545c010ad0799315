"""What `manual-bp train` tells: the data, each epoch, the result, a hint, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import manual_bp as mbp
from manual_bp import plot
from manual_bp.files.atomic import replacing
from manual_bp.files.data import Data
from manual_bp.plot.canvas import need_matplotlib
from manual_bp.plot.regions import classes_of
from manual_bp.text import listed


def examples(data: Data, seed: int | None) -> str:
    """What is trained on, in words; `seed` is that of the parts if they were drawn.

    Of a table they say which columns there are, and what the target is taken for.
    """
    k = 0 if data.x_test is None else len(data.x_test)
    drawn = "" if seed is None else f" (drawn by --seed {seed}, classes not balanced)"
    lines = [f"{len(data.x)} examples of {data.name}, {k} held out{drawn}"]
    encoding = data.encoding
    scaled, target_scaled = (
        ", standardized" if yes else "" for yes in (encoding.mean, encoding.target_deviation != 1)
    )
    if encoding.columns:
        lines.append(f"inputs: {listed(_shortened(encoding.columns))}{scaled}")
    else:
        lines[0] += scaled
    if encoding.classes:
        classes = listed(_shortened(encoding.classes))
        lines.append(
            f"target: {encoding.target or 'y'}, {len(encoding.classes)} classes: {classes}"
        )
    elif encoding.columns:
        lines.append(f"target: {encoding.target}, a number{target_scaled}")
    return "\n".join(lines)


def _shortened(names: Sequence[str]) -> list[str]:
    """A few of many names."""
    return [*names] if len(names) <= 8 else [*names[:6], "…", names[-1]]


def hint(history: mbp.History, eta: float, scaled: bool) -> str:
    """What may be wrong with the learning rate where the cost does not fall; else nothing."""
    scaling = "" if scaled else ", or scale the inputs with --standardize"
    smaller = f"may be too large; try {eta / 10:.2g}{scaling}"
    if history.stopped:
        return f"--learning-rate {eta:g} {smaller}"
    if len(history.cost) < 2 or (history.accuracy is not None and history.accuracy[-1] > 0.99):
        return ""
    first, last = history.cost[0], history.cost[-1]
    if last > first:
        return f"the cost grew from {first:.4g} to {last:.4g}: --learning-rate {eta:g} {smaller}"
    if first - last < 0.01 * abs(first):
        return (
            f"the cost fell by less than 1 % in {len(history.cost)} epochs: --learning-rate "
            f"{eta:g} may be too small; try {eta * 10:.2g}"
        )
    return ""


def line(history: mbp.History, epochs: int, m: int) -> str:
    """The latest epoch in words."""
    held_out = _latest(history.validation_cost, history.validation_accuracy)
    return (
        f"epoch {history.epoch:>{len(str(epochs))}} of {epochs}: "
        f"{_latest(history.cost, history.accuracy)}; "
        f"{f'held out: {held_out}; ' if held_out else ''}"
        f"{m / history.seconds[-1]:,.0f} examples/s"
    )


def closing(history: mbp.History) -> str:
    """The result: what the held-out examples gave, or those trained on if none was held out."""
    after = f"after {history.epoch} epochs"
    if held_out := _latest(history.validation_cost, history.validation_accuracy):
        return f"held out {after}: {held_out}"
    return f"{after}: {_latest(history.cost, history.accuracy)}"


def _latest(cost: np.ndarray | None, accuracy: np.ndarray | None) -> str:
    """Cost and accuracy after the latest epoch; nothing where none was measured."""
    if cost is None or not len(cost):
        return ""
    right = "" if accuracy is None else f", accuracy {accuracy[-1]:.2%}"
    return f"cost {cost[-1]:.4g}{right}"


def check_picture(path: Path) -> None:
    """Raise before the work where matplotlib is missing, or knows no pictures of this kind."""
    need_matplotlib("--picture")
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in kinds:
        raise ValueError(
            f"--picture: expected a name that ends in .{', .'.join(sorted(kinds))}, got {path}"
        )


def draw(
    path: Path, title: str, history: mbp.History, net: mbp.Network, params: Any, x: Any, y: Any
) -> None:
    """The run, and the network that came of it, with a step on these examples."""
    from matplotlib.figure import Figure

    with_regions = net.sizes[0] == 2 and classes_of(net, np.asarray(y, np.float64)) is not None
    layout: Any = [["run", "errors"], ["network", "regions" if with_regions else "network"]]
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    ax = figure.subplot_mosaic(layout)
    step = mbp.backprop(net, params, x, y)
    history.plot(ax["run"])
    plot.deltas(step, ax["errors"])
    plot.network(net, params, step, ax["network"])
    if with_regions:
        plot.boundary(net, params, x, y, ax["regions"])
    figure.suptitle(title, parse_math=False)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:] or "png", dpi=100)
