"""`manual-bp train`: train a network, keep it in a file, and go on from there."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cyclopts import Parameter

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.options import (
    DeviceOptions,
    HostOptions,
    NetworkOptions,
    Positive,
    RunOptions,
    mesh_of,
    named_as_flags,
)
from manual_bp.cli.training_report import check_picture, closing, draw, examples, hint, line
from manual_bp.files.data import Data, is_table
from manual_bp.files.encoding import Encoding
from manual_bp.files.split import split, standardized
from manual_bp.parallel.hosts import is_first
from manual_bp.training.checkpoint import load_encoding, load_settings

HIDDEN = 128
# Cached, for what is compiled belongs to one optimiser.
OPTIMIZERS: dict[str, tuple[float, Callable[[float], Any] | None]] = {
    "sgd": (0.2, None),  # the course's own update
    "momentum": (0.03, cache(lambda eta: optax.sgd(eta, momentum=0.9))),
    "adam": (0.002, cache(optax.adam)),
}
SETTINGS = (
    *("sizes", "activation", "output", "cost", "l2", "l2-biases", "no-bias"),
    *("data", "target", "ignore", "task", "test", "memory-map"),
    *("batch", "learning-rate", "dtype", "precision", "seed", "optimizer", "patience"),
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
    test: float = 0.2
    """the share of the examples to hold out, drawn by --seed, unless the data has a part of its
    own; 0: none"""
    standardize: Annotated[bool | None, Parameter(negative="--no-standardize")] = None
    """scale each input, and a target that is a number, to mean 0 and standard deviation 1 over the
    training part; kept in the file (default: for CSV)"""
    memory_map: Annotated[bool, Parameter(negative="")] = False
    """of a folder, leave the inputs in their file and read a few batches at a time; --test is read
    whole"""

    def parts(self, encoding: Encoding | None) -> tuple[Data, bool]:
        """The data unscaled, in float64 where it is to be scaled; and whether its parts were drawn.

        Else it has a test part of its own, or none.
        """
        scales = self.scales(encoding)
        if self.memory_map and scales:
            raise ValueError(
                "--memory-map: inputs are standardized in memory; leave out one of the two"
            )
        data = self.read("float64" if scales else None, encoding, self.memory_map)
        if data.x_test is not None or self.test == 0:
            return data, False
        with named_as_flags():
            return split(data, self.test, self.seed), True

    def scales(self, encoding: Encoding | None) -> bool:
        """Whether inputs are standardized; as they were in the file of --load, if there is one."""
        if encoding is None:
            return is_table(self.data) if self.standardize is None else self.standardize
        scaled = bool(encoding.mean)
        if self.standardize not in (None, scaled):
            flag = "--no-standardize" if scaled else "--standardize"
            raise ValueError(
                f"{flag}: the inputs of the file of --load were {'' if scaled else 'not '}"
                f"standardized; leave {flag} out"
            )
        return scaled


def train(
    *,
    network: TrainedNetwork | None = None,
    run: TrainingRun | None = None,
    device: DeviceOptions | None = None,
    epochs: Positive = 40,
    patience: Positive | None = None,
    optimizer: Literal["sgd", "momentum", "adam"] = "adam",
    verify_every: Positive | None = None,
    save: Path | None = None,
    load: Path | None = None,
    picture: Path | None = None,
    quiet: bool = False,
    mesh: str | None = None,
    fully_sharded: bool = False,
    hosts: HostOptions | None = None,
) -> int:
    """Train a network, by default on handwritten digits; Ctrl-C ends it after the epoch.

    Of a CSV file: `--data FILE.csv --save MODEL.safetensors`, and then `manual-bp predict`.

    A file of --save goes on where it ended: `--load FILE --epochs 80`, with the settings of the
    file unless they are given anew.

    Args:
        epochs: passes over the data in all, those of --load among them
        patience: stop when the held-out cost has not fallen for this many epochs, and keep the
            parameters of the epoch where it was lowest
        optimizer: what takes the steps; sgd: the course's own update
        verify_every: hold every N-th step of an epoch, from its first, against autodiff
        save: keep parameters, history and settings in this file, epoch by epoch
        load: go on from this file of --save
        picture: draw to this file: cost and accuracy of each epoch, and what was trained, with the
            δ of the first batch
        quiet: print the closing line alone
        mesh: train on several devices, such as data=4,model=2: the examples split over 4 of them,
            and the weights over 2 (default: one device; of several hosts, all of theirs as data)
        fully_sharded: split the weights over the devices of data as well
    """
    network, run = network or TrainedNetwork(), run or TrainingRun()
    device = device or DeviceOptions()
    terminal.check_target("--save", save)
    terminal.check_target("--picture", picture)
    if picture:
        check_picture(picture)
    hosts = hosts or HostOptions()
    connected = hosts.connect()
    quiet = quiet or not is_first()
    with device.in_force(run.dtype) as on:
        devices = jax.devices(on.platform)
        mesh = f"data={len(devices)}" if connected and mesh is None else mesh
        on_mesh = None if mesh is None else mesh_of(mesh, devices)
        encoding = load_encoding(load) if load is not None else None
        data, drawn = run.parts(encoding)
        if patience is not None and data.x_test is None:
            raise ValueError("--patience: it needs held-out examples; pass --test 0.2")
        net, data = network.network_for(data, HIDDEN, run.task)
        if run.scales(encoding):
            data = standardized(data, run.dtype, targets=_are_scalable(net, data))
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
        settings = _settings(network, run, device, net, optimizer, eta, patience)
        file = Checkpoint(save, net, earlier, settings, data.encoding)
        x: Any = data.x if run.memory_map else jnp.asarray(data.x)
        y = jnp.asarray(data.y)
        held_out = None
        if data.x_test is not None:
            held_out = jnp.asarray(data.x_test), jnp.asarray(data.y_test)
        if not quiet:
            print(f"{net}, {examples(data, run.seed if drawn else None)}", flush=True)
        started, own = time.monotonic(), _own_part(len(x))
        try:
            params, history, ended = _fit(
                file, params, epochs, len(x), quiet, patience,
                x=x if run.memory_map and not connected else x[own], y=y[own],
                batch_size=run.batch, key=key, validation=held_out,
                learning_rate=None if as_optax else eta,
                optimizer=as_optax and as_optax(eta),
                verify_every=verify_every,
                mesh=on_mesh, fully_sharded=fully_sharded,
            )  # fmt: skip
        except AssertionError as error:
            print(f"manual-bp train: error: {error}", file=sys.stderr)
            return 1
        file.keep(params, history)
        params = mbp.parallel.whole(params)
        seconds, kept = time.monotonic() - started, f"; saved to {save}" if save else ""
        whole = file.whole(history)
        if picture and ended.history.epoch and is_first():
            first = x[: run.batch], y[: run.batch]
            draw(picture, f"{net}, {data.name}", file.whole(ended.history), net, params, *first)
            kept += f"; drawn in {picture}"
    if not is_first():
        return 130 if ended.interrupted else bool(ended.history.stopped)
    if ended.early:
        why = f"for the held-out cost did not fall for {patience}"
        kept = f"; stopped after {ended.history.epoch}, {why}{kept}"
    code = 0
    if ended.interrupted or ended.history.stopped:
        why = f"interrupted after {ended.history.epoch} of {epochs} epochs"
        why = why if ended.interrupted else ended.history.stopped
        if patience is not None:
            why += f"; kept those of epoch {whole.epoch}"
        print(f"manual-bp train: {why}{kept}", file=sys.stderr)
        code = 130 if ended.interrupted else 1
    else:
        print(f"{closing(whole)}; {seconds:.1f} s{kept}")
    advice = hint(file.whole(ended.history), eta, bool(data.encoding.mean))
    if advice and not quiet and not ended.interrupted:
        print(f"hint: {advice}", file=sys.stderr)
    return code


def _own_part(m: int) -> slice:
    """The examples that this process goes through: all of them, where it is the only one."""
    i, n = jax.process_index(), jax.process_count()
    return slice(i * m // n, (i + 1) * m // n)


def _are_scalable(net: mbp.Network, data: Data) -> bool:
    """Whether targets are a number each, and the network can give a number of any sign."""
    any_number = net.activations[-1].name == "identity" and net.cost.family != "hinge"
    return any_number and data.y.shape[1] == 1 and not data.encoding.classes


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
    patience: int | None,
) -> dict[str, str]:
    """The flags that give the same run again."""
    settled = vars(network) | vars(run) | vars(device)
    settled |= {
        "sizes": "-".join(map(str, net.sizes)),
        "output": net.activations[-1].name,
        "cost": net.cost.name,
        "learning_rate": eta,
        "optimizer": optimizer,
        "patience": patience,
    }
    values = {name: settled[name.replace("-", "_")] for name in SETTINGS}
    return {name: str(value) for name, value in values.items() if value is not None}


@dataclass
class Checkpoint:
    """The file of --save, and what was trained before."""

    path: Path | None
    net: mbp.Network
    earlier: mbp.History | None
    settings: dict[str, str]
    encoding: Encoding
    last_saved: float = 0.0

    def whole(self, history: mbp.History) -> mbp.History:
        """The history with what was trained before."""
        return self.earlier.followed_by(history) if self.earlier else history

    def keep(self, params: Any, history: mbp.History) -> None:
        """Write the file, whole or not at all; of several processes, the first one does."""
        if self.path is None:
            return
        params, state = mbp.parallel.whole((params, history.optimizer_state))
        history = history._replace(optimizer_state=state)
        if is_first():
            mbp.save(
                self.path,
                self.net,
                params,
                self.whole(history),
                settings=self.settings,
                encoding=self.encoding,
            )
        self.last_saved = time.monotonic()


class Ended(NamedTuple):
    """How training ended.

    Attributes:
        history: of this run, to its last epoch.
        interrupted: whether it was Ctrl-C.
        early: whether it was --patience.
    """

    history: mbp.History
    interrupted: bool
    early: bool


def _fit(
    file: Checkpoint,
    params: Any,
    epochs: int,
    m: int,
    quiet: bool,
    patience: int | None,
    **how: Any,
) -> tuple[Any, mbp.History, Ended]:
    """The parameters to keep and their history, and how it ended.

    They are what `fit` gives, or had after the last whole epoch before Ctrl-C; with patience, what
    it had after the epoch whose held-out cost was lowest.
    """
    start = file.earlier.epoch if file.earlier else 0
    state = file.earlier.optimizer_state if file.earlier else None
    none = np.empty(0)
    last = best = params, mbp.History(none, None, None, None, none, start, state)
    lowest, waited = _last_cost(file.earlier), 0

    def on_epoch(params: Any, history: mbp.History) -> bool:
        nonlocal last, best, lowest, waited
        last = params, history
        advance(line(history, epochs, m))
        cost = _last_cost(history)
        if patience is None or cost < lowest:
            best, lowest, waited = last, cost, 0
        else:
            waited += 1
        due = time.monotonic() - file.last_saved > SECONDS_BETWEEN_SAVES
        if len(history.cost) == 1 or due:
            file.keep(*best)
        return not interrupts.pressed and (patience is None or waited < patience)

    notice = "\nstopping after this epoch; press Ctrl-C again to stop now"
    with (
        terminal.Interrupts(notice) as interrupts,
        terminal.progress("epochs", epochs, quiet, start) as advance,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # history.stopped says it
        interrupted = False
        try:
            with named_as_flags():
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
            interrupted = True
    interrupted |= interrupts.pressed
    early = patience is not None and waited >= patience and not interrupted
    if early:
        last = last[0], last[1]._replace(stopped="")
    return *(last if patience is None else best), Ended(last[1], interrupted, early)


def _last_cost(history: mbp.History | None) -> float:
    """The held-out cost after the latest epoch; infinite where there is none."""
    if history is None or history.validation_cost is None or not len(history.validation_cost):
        return np.inf
    return float(history.validation_cost[-1])
