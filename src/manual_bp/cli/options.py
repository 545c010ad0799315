"""The options that several commands share, and what they stand for."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
from cyclopts import Parameter, Token
from jax.sharding import AxisType, Mesh

from manual_bp.costs import COSTS
from manual_bp.costs import cost as cost_named
from manual_bp.files.data import Data, load
from manual_bp.files.encoding import Encoding
from manual_bp.files.table import Task
from manual_bp.network import Network
from manual_bp.parallel.hosts import LOST_AFTER, connect

Dtype = Literal["float16", "bfloat16", "float32", "float64"]
Precision = Literal["default", "high", "highest", "bfloat16", "tensorfloat32", "float32"]
DeviceName = Literal["cpu", "gpu", "tpu"]


def _from(least: int) -> Parameter:
    """Whole numbers alone: 2.7 is not rounded to 3."""

    def convert(type_: type, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"expected a whole number from {least}, got {text!r}")
        return number

    return Parameter(converter=convert)


Positive = Annotated[int, _from(1)]
Natural = Annotated[int, _from(0)]
Seed = Natural


@Parameter(name="*", group="Network")
@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The network."""

    sizes: str | None = None
    """widths from the input to the output, such as 64-32-10 (default: the data's, 32 between
    them)"""
    activation: str = "tanh"
    """σ of the hidden layers, such as tanh, relu or 'leaky_relu(0.2)'"""
    output: str | None = None
    """σ of the output layer (default: the one that goes with --cost)"""
    cost: str | None = None
    """such as quadratic, cross_entropy, 'huber(2)' or 'cross_entropy(smoothing=0.1)' (default: the
    one that goes with --output, or cross_entropy)"""
    l2: float = 0.0
    """penalty on the weights"""
    l2_biases: bool = False
    """penalty on the biases too"""
    no_bias: bool = False
    """layers without biases"""

    def network(
        self, sizes: tuple[int, ...] = (), usual_cost: str = "cross_entropy", usual_output: str = ""
    ) -> Network:
        """The network of these options, with these sizes unless --sizes says others."""
        sizes = widths(self.sizes) or sizes
        output, cost = self.output, self.cost
        partners = {c.output: c.name for c in COSTS.values() if c.output}
        if cost is None:
            cost = partners.get(output, "quadratic") if output else usual_cost
        if output is None:
            output = _output_for(cost, usual_output or "sigmoid")
        activations = (self.activation,) * (len(sizes) - 2) + (output,)
        return Network(sizes, activations, cost, self.l2, self.l2_biases)

    def network_for(
        self, data: Data, hidden: int, task: Task | None = None
    ) -> tuple[Network, Data]:
        """The network of these options for this data, and the data with targets as it takes them.

        It has one hidden layer by default. For targets that are numbers its cost is quadratic and
        its output unbounded; for two classes one output will do.
        """
        n_0, n_L = data.x.shape[1], data.y.shape[1]
        sizes = widths(self.sizes) or (n_0, hidden, n_L)
        classes = data.are_classes and task != "regression"
        if classes and n_L == 2 and sizes[-1] == 1:
            n_L, data = 1, data.with_targets(lambda y: y[:, 1:])
        if (sizes[0], sizes[-1]) != (n_0, n_L):
            raise ValueError(
                f"--sizes: {data.name} has {n_0} inputs and {n_L} outputs, got {self.sizes}; pass "
                f"{n_0}-…-{n_L}"
            )
        if classes and n_L > 1:
            net = self.network(sizes)
        elif classes:
            net = self.network(sizes, "binary_cross_entropy")
        else:
            net = self.network(sizes, "quadratic", "identity")
        if net.cost.family == "hinge" and classes:
            data = data.with_targets(lambda y: 2 * y - 1)
        return net, data


def _output_for(cost: str, usual: str) -> str:
    """The output activation that a cost goes with; of one that goes with any, the usual one."""
    try:
        known = cost_named(cost)
    except ValueError:  # which the network tells of
        return usual
    return known.output or ("identity" if known.family == "hinge" else usual)


def widths(text: str | None) -> tuple[int, ...]:
    """The widths of --sizes; none where it is not given."""
    if text is None:
        return ()
    parts = re.split(r"[-,x]", text)
    if len(parts) < 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--sizes: expected widths such as 64-32-10, got {text!r}")
    return tuple(map(int, parts))


def mesh_of(text: str, devices: Sequence[jax.Device]) -> Mesh:
    """The mesh of --mesh: some of these devices, along the axes that it names."""
    shape = dict(part.partition("=")[::2] for part in text.split(","))
    if not set(shape) <= {"data", "model"} or not all(
        size.isdecimal() and int(size) for size in shape.values()
    ):
        raise ValueError(
            f"--mesh: expected how many devices along data, model or both, such as "
            f"data=4,model=2, got {text!r}"
        )
    sizes = tuple(map(int, shape.values()))
    if (wanted := math.prod(sizes)) > len(devices):
        there = f"{len(devices)} {'is' if len(devices) == 1 else 'are'} there"
        raise ValueError(
            f"--mesh: {text} takes {wanted} devices, and {there}; take a smaller mesh, or let a "
            f"CPU count as several: XLA_FLAGS=--xla_force_host_platform_device_count={wanted}"
        )
    chosen, auto = devices[: math.prod(sizes)], (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(sizes, tuple(shape), auto, devices=chosen)


@Parameter(name="*", group="Hosts")
@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """Several processes, each of which runs this command with the same flags but --process-id."""

    coordinator: str | None = None
    """host:port of the first process; auto: as JAX detects it, by Slurm and the like"""
    num_processes: Positive | None = None
    """how many there are"""
    process_id: Natural | None = None
    """which one this is, from 0"""
    lost_after: Positive = LOST_AFTER
    """seconds without a sign of life after which a process is lost, and ends the others"""

    def connect(self) -> bool:
        """Join the others, if there are any; before anything else of JAX is used."""
        if self.coordinator is None:
            if self.num_processes is not None or self.process_id is not None:
                raise ValueError("--coordinator: it goes with --num-processes and --process-id")
            return False
        coordinator = None if self.coordinator == "auto" else self.coordinator
        with named_as_flags(
            **{"coordinator, num_processes, process_id":
               "--coordinator, --num-processes, --process-id"},
            coordinator="--coordinator", process_id="--process-id",
        ):  # fmt: skip
            try:
                connect(
                    coordinator, self.num_processes, self.process_id, lost_after=self.lost_after
                )
            except RuntimeError as error:
                raise ValueError(f"--coordinator: {str(error).splitlines()[0]}") from error
        return True


@Parameter(name="*", group="Device")
@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where to run, and how."""

    precision: Precision = "highest"
    """of matrix products"""
    device: DeviceName | None = None
    """where to run (default: JAX's first choice)"""

    @contextmanager
    def in_force(self, dtype: str) -> Iterator[jax.Device]:
        """Run what is inside on this device, at this precision, with 64-bit types if needed."""
        try:
            device = jax.local_devices(backend=self.device)[0]
        except RuntimeError as error:
            present = ", ".join(sorted({device.platform for device in jax.devices()}))
            raise ValueError(
                f"--device: expected a device that is there ({present}), got {self.device}; for "
                f"an accelerator install jax[cuda13] or jax[tpu]"
            ) from error
        with (
            jax.enable_x64(dtype == "float64"),
            jax.default_matmul_precision(self.precision),
            jax.default_device(device),
        ):
            yield device


@Parameter(name="*", group="Run")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The data, and how it is gone through."""

    data: str = "digits"
    """digits, a FILE.csv whose first line names the columns, a FILE.npz of x and y, or a folder
    of x.npy and y.npy or like MNIST's"""
    target: str | None = None
    """the column of a CSV file to predict (default: the last one)"""
    ignore: str | None = None
    """columns of a CSV file to leave out, such as id,name"""
    task: Task | None = None
    """what the target is (default: text and few different whole numbers are classes)"""
    batch: Positive = 128
    """examples in a batch"""
    dtype: Dtype = "float32"
    """of all arrays"""
    seed: Seed = 0
    """of weights and of the shuffling"""

    def read(
        self,
        dtype: str | None = None,
        encoding: Encoding | None = None,
        memory_map: bool = False,
    ) -> Data:
        """The data that --data names, in --dtype unless it is said otherwise."""
        (ignored,) = csv.reader([self.ignore], skipinitialspace=True) if self.ignore else ([],)
        with named_as_flags():
            return load(
                self.data,
                dtype or self.dtype,
                target=self.target,
                ignore=ignored,
                task=self.task,
                encoding=encoding,
                memory_map=memory_map,
            )


# What an error of the library names, and what it is on the command line.
_FLAGS = {
    "source": "--data",
    "target": "--target",
    "ignore": "--ignore",
    "task": "--task",
    "fraction": "--test",
    "memory_map": "--memory-map",
    "net, mesh": "--sizes, --mesh",
    "fully_sharded": "--fully-sharded",
}


@contextmanager
def named_as_flags(**flags: str) -> Iterator[None]:
    """Errors of what is inside name flags, not arguments; `flags` are those that differ."""
    try:
        yield
    except (TypeError, ValueError) as error:
        known, message = _FLAGS | flags, str(error)
        for name, flag in known.items():
            message = re.sub(rf"(?m)^(  - )?{re.escape(name)}:", rf"\1{flag}:", message)
            message = message.replace(f"({name})", f"({flag})")
        raise (TypeError if isinstance(error, TypeError) else ValueError)(message) from error
