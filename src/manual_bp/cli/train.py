"""`manual-bp train`: train a network, keep it in a file, and go on from there."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

import manual_bp as mbp
from manual_bp import plot
from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions, NetworkOptions, Positive, RunOptions
from manual_bp.files.atomic import replacing
from manual_bp.files.data import split
from manual_bp.plot.canvas import need_matplotlib
from manual_bp.plot.regions import classes_of
from manual_bp.training.checkpoint import load_settings

HIDDEN = 128
# Cached, for what is compiled belongs to one optimiser.
OPTIMIZERS: dict[str, tuple[float, Callable[[float], Any] | None]] = {
    "sgd": (0.2, None),  # the course's own update
    "momentum": (0.03, cache(lambda eta: optax.sgd(eta, momentum=0.9))),
    "adam": (0.002, cache(optax.adam)),
}
SETTINGS = (
    *("sizes", "activation", "output", "cost", "l2", "l2-biases", "no-bias"),
    *("data", "batch", "learning-rate", "dtype", "precision", "seed", "optimizer"),
)
SECONDS_BETWEEN_SAVES = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork(NetworkOptions):
    """The network, by default one that is quick to train."""

    sizes: str | None = None
    """widths from the input to the output, such as 64-32-10 (default: the data's, 128 between
    them)"""
    activation: str = "relu"
    """σ of the hidden layers"""
    l2: float = 1e-4
    """penalty on the weights"""


@dataclass(frozen=True, kw_only=True)
class TrainingRun(RunOptions):
    """The data, and how it is gone through."""

    batch: Positive = 32
    """examples in a batch"""
    learning_rate: float | None = None
    """η (default: 0.2 for sgd, 0.03 for momentum, 0.002 for adam)"""


def train(
    *,
    network: TrainedNetwork | None = None,
    run: TrainingRun | None = None,
    device: DeviceOptions | None = None,
    epochs: Positive = 40,
    optimizer: Literal["sgd", "momentum", "adam"] = "adam",
    verify_every: Positive | None = None,
    save: Path | None = None,
    load: Path | None = None,
    picture: Path | None = None,
    quiet: bool = False,
) -> int:
    """Train a network, by default on handwritten digits; Ctrl-C ends it after the epoch.

    A file of --save goes on where it ended: `--load FILE --epochs 80`, with the settings of the
    file unless they are given anew.

    Args:
        epochs: passes over the data in all, those of --load among them
        optimizer: what takes the steps; sgd: the course's own update
        verify_every: hold every N-th step of an epoch, from its first, against autodiff
        save: keep parameters, history and settings in this file, epoch by epoch
        load: go on from this file of --save
        picture: draw to this file: cost and accuracy of each epoch, and what was trained, with the
            δ of the first batch
        quiet: print the closing line alone
    """
    network, run = network or TrainedNetwork(), run or TrainingRun()
    device = device or DeviceOptions()
    terminal.check_target("--save", save)
    terminal.check_target("--picture", picture)
    if picture:
        check_picture(picture)
    with device.in_force(run.dtype):
        data = split(run.read(), seed=run.seed)
        net = network.network_for(data, HIDDEN)
        eta, as_optax = OPTIMIZERS[optimizer]
        eta = eta if run.learning_rate is None else run.learning_rate
        init_key, key = jax.random.split(jax.random.key(run.seed))
        params: Any = net.init(init_key, run.dtype, not network.no_bias)
        earlier = None
        if load is not None:
            _, params, earlier = mbp.load(load, net)
            if earlier is not None and earlier.epoch >= epochs:
                raise ValueError(
                    f"--epochs: {load} has {earlier.epoch} epochs behind it; pass more than that"
                )
        file = Checkpoint(save, net, earlier, _settings(network, run, device, net, optimizer, eta))
        x, y, x_test, y_test = map(jnp.asarray, data[:4])
        if not quiet:
            print(f"{net}, {len(x)} examples of {data.name}, {len(x_test)} held out", flush=True)
        started = time.monotonic()
        try:
            params, history, interrupted = _fit(
                file, params, epochs, len(x), quiet,
                x=x, y=y, batch_size=run.batch, key=key, validation=(x_test, y_test),
                learning_rate=None if as_optax else eta,
                optimizer=as_optax and as_optax(eta),
                verify_every=verify_every,
            )  # fmt: skip
        except AssertionError as error:
            print(f"manual-bp train: error: {error}", file=sys.stderr)
            return 1
        file.keep(params, history)
        seconds, kept = time.monotonic() - started, f"; saved to {save}" if save else ""
        if picture and history.epoch:
            first = x[: run.batch], y[: run.batch]
            draw(picture, f"{net}, {data.name}", file.whole(history), net, params, *first)
            kept += f"; drawn in {picture}"
    if interrupted or history.stopped:
        why = f"interrupted after {history.epoch} of {epochs} epochs"
        print(f"manual-bp train: {why if interrupted else history.stopped}{kept}", file=sys.stderr)
        return 130 if interrupted else 1
    print(f"held out after {history.epoch} epochs: {held_out(history)}; {seconds:.1f} s{kept}")
    return 0


def with_its_settings(argv: list[str]) -> list[str]:
    """The arguments of `train`, and those that its --load file was trained with unless given."""
    given = {
        word.partition("=")[0].replace("_", "-"): i
        for i, word in enumerate(argv)
        if word.startswith("--")
    }
    if "--load" not in given or "--help" in given or "-h" in argv:
        return argv
    _, equals, path = argv[given["--load"]].partition("=")
    path = path if equals else next(iter(argv[given["--load"] + 1 :]), "")
    if not path or path.startswith("--"):
        return argv  # the parser tells what is missing
    stored = load_settings(path)
    known = [f"--{name}={stored[name]}" for name in SETTINGS if name in stored]
    return [*argv, *(word for word in known if word.partition("=")[0] not in given)]


def _settings(
    network: NetworkOptions,
    run: RunOptions,
    device: DeviceOptions,
    net: mbp.Network,
    optimizer: str,
    eta: float,
) -> dict[str, str]:
    """The flags that give the same run again."""
    settled = vars(network) | vars(run) | vars(device)
    settled |= {
        "sizes": "-".join(map(str, net.sizes)),
        "output": net.activations[-1].name,
        "cost": net.cost.name,
        "learning_rate": eta,
        "optimizer": optimizer,
    }
    return {name: str(settled[name.replace("-", "_")]) for name in SETTINGS}


@dataclass
class Checkpoint:
    """The file of --save, and what was trained before."""

    path: Path | None
    net: mbp.Network
    earlier: mbp.History | None
    settings: dict[str, str]
    last_saved: float = 0.0

    def whole(self, history: mbp.History) -> mbp.History:
        """The history with what was trained before."""
        return self.earlier.followed_by(history) if self.earlier else history

    def keep(self, params: Any, history: mbp.History) -> None:
        """Write the file, whole or not at all."""
        if self.path is not None:
            mbp.save(self.path, self.net, params, self.whole(history), settings=self.settings)
            self.last_saved = time.monotonic()


def _fit(
    file: Checkpoint, params: Any, epochs: int, m: int, quiet: bool, **how: Any
) -> tuple[Any, mbp.History, bool]:
    """What `fit` gives, or what it had after the last whole epoch, and whether it was Ctrl-C."""
    start = file.earlier.epoch if file.earlier else 0
    state = file.earlier.optimizer_state if file.earlier else None
    none = np.empty(0)
    last = params, mbp.History(none, None, None, None, none, start, state)

    def on_epoch(params: Any, history: mbp.History) -> bool:
        nonlocal last
        last = params, history
        advance(line(history, epochs, m))
        due = time.monotonic() - file.last_saved > SECONDS_BETWEEN_SAVES
        if len(history.cost) == 1 or due:
            file.keep(params, history)
        return not interrupts.pressed

    notice = "\nstopping after this epoch; press Ctrl-C again to stop now"
    with (
        terminal.Interrupts(notice) as interrupts,
        terminal.progress("epochs", epochs, quiet, start) as advance,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # history.stopped says it
        try:
            last = mbp.fit(
                file.net,
                params,
                epochs=epochs - start,
                on_epoch=on_epoch,
                start_epoch=start,
                optimizer_state=state,
                **how,
            )
        except KeyboardInterrupt:
            return *last, True
    return *last, interrupts.pressed


def line(history: mbp.History, epochs: int, m: int) -> str:
    """The latest epoch in words."""
    parts = [f"cost {history.cost[-1]:.4g}"]
    if history.accuracy is not None:
        parts.append(f"accuracy {history.accuracy[-1]:.2%}")
    return (
        f"epoch {history.epoch:>{len(str(epochs))}} of {epochs}: {', '.join(parts)}; "
        f"held out: {held_out(history)}; {m / history.seconds[-1]:,.0f} examples/s"
    )


def held_out(history: mbp.History) -> str:
    """What the held-out examples gave after the latest epoch."""
    if history.validation_cost is None or not len(history.validation_cost):
        return "not measured"
    cost = f"cost {history.validation_cost[-1]:.4g}"
    if history.validation_accuracy is None:
        return cost
    return f"{cost}, accuracy {history.validation_accuracy[-1]:.2%}"


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
