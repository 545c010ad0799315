"""Which array lives where: a network's record on a mesh of the axes "data" and "model".

Examples are split over "data". Over "model" W is split by columns in the last layer, by rows in the
one before it, and so on in turn. So the neurons between the two are split, the outputs are whole on
every device, and each pair of layers takes one sum forwards and one backwards.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from manual_bp.calls import check_network
from manual_bp.checks import Problems, flag, shown
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel.hosts import rows_of_all
from manual_bp.record import Backprop

AXES = ("data", "model")


@dataclass(frozen=True)
class Layout:
    """Where each array of a network lives on a mesh.

    Args:
        net: the network.
        mesh: of `jax.make_mesh`, with the axes "data", "model", or both.
        fully_sharded: whether W is split over "data" as well, and gathered before it is used.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and each width that the
            devices do not divide.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> layout = Layout(net, jax.make_mesh((1, 1), ("data", "model")))
        >>> layout.by_rows(1), layout.W(1), layout.z(1)
        (True, P('model', None), P('data', 'model'))
    """

    net: Network
    mesh: Mesh
    fully_sharded: bool = False

    def __post_init__(self) -> None:
        check_network(self.net)
        problems = Problems()
        flag("fully_sharded", self.fully_sharded, problems)
        if not isinstance(self.mesh, Mesh):
            problems.type(
                f"mesh: expected one of jax.make_mesh((4, 2), ('data', 'model')), "
                f"got {shown(self.mesh)}"
            )
        elif not self.mesh.axis_names or set(self.mesh.axis_names) - set(AXES):
            problems.value(
                f"mesh: expected the axes 'data', 'model' or both, got {self.mesh.axis_names}"
            )
        problems.raise_all()
        n, names = math.prod(map(self.size, self.split)), " and ".join(self.split)
        for l in self.net.layers:
            width = self.net.sizes[l - 1]
            if not self.by_rows(l) and width % n:
                what = f"the width {width} of " + (f"layer {l - 1}" if l > 1 else "the input")
                near = width + n - width % n
                problems.value(
                    f"net, mesh: {what} is split over {names}, and {n} does not divide it; "
                    f"take {near}, or a smaller mesh"
                )
        problems.raise_all()

    def size(self, axis: str) -> int:
        """How many devices lie along an axis; 1 where the mesh has none of that name."""
        return int(self.mesh.shape.get(axis, 1))

    @cached_property
    def split(self) -> tuple[str, ...]:
        """The axes that W is split over."""
        axes = ("model", "data") if self.fully_sharded else ("model",)
        return tuple(axis for axis in axes if axis in self.mesh.axis_names)

    @property
    def model(self) -> str | None:
        """The axis `model`, where the mesh has it."""
        return "model" if "model" in self.mesh.axis_names else None

    @property
    def data(self) -> str | None:
        """The axis `data`, where the mesh has it."""
        return "data" if "data" in self.mesh.axis_names else None

    def by_rows(self, l: int) -> bool:
        """Whether Wˡ is split by rows, as its output neurons; else by columns, as its inputs."""
        return (self.net.depth - l) % 2 == 1

    # ── Where each array lives ───────────────────────────────────────────────────────────────────

    def W(self, l: int) -> P:
        """Of Wˡ and ∂C/∂Wˡ."""
        split = self.split if len(self.split) != 1 else self.split[0]
        return P(split or None, None) if self.by_rows(l) else P(None, split or None)

    def b(self, l: int) -> P:
        """Of bˡ and ∂C/∂bˡ: beside W's rows where these are split, else whole everywhere."""
        return P(self.model if self.by_rows(l) else None)

    def z(self, l: int) -> P:
        """Of zˡ, aˡ and δˡ, a⁰ = x among them."""
        return P(self.data, self.model if self.by_rows(l) else None)

    def targets(self) -> P:
        """Of y, which is whole along its outputs."""
        return P(self.data, None)

    def params(self, params: Params) -> tuple[Layer, ...]:
        """Of each W and b."""
        return tuple(
            Layer(self.W(l), None if b is None else self.b(l))
            for l, (_, b) in zip(self.net.layers, params, strict=True)
        )

    def record(self, params: Params, is_uneven: bool = False) -> Backprop:
        """Of all that a backward pass gives; of an uneven batch, rows are whole everywhere."""
        first, *neurons = (
            P(None if is_uneven else self.data, self.z(l)[1]) for l in range(self.net.depth + 1)
        )
        dW, db = zip(*self.params(params), strict=True)
        return Backprop(P(), tuple(neurons), (first, *neurons), tuple(neurons), dW, db)

    # ── Putting arrays there ─────────────────────────────────────────────────────────────────────

    @cached_property
    def on_auto_axes(self) -> Mesh:
        """The same devices on a mesh of Auto axes, on which the steps run."""
        axes = (AxisType.Auto,) * len(self.mesh.axis_names)
        return self.mesh if self.is_auto else Mesh(self.mesh.devices, self.mesh.axis_names, axes)

    @property
    def is_auto(self) -> bool:
        """Whether the mesh's axes are all Auto; `jax.make_mesh` makes Explicit ones."""
        return all(kind is AxisType.Auto for kind in self.mesh.axis_types)

    def put(self, tree: Any, specs: Any, mesh: Mesh | None = None) -> Any:
        """The arrays, where these specs say, on Auto axes unless a mesh is given."""

        def put(array: Any, spec: P) -> Any:
            return jax.device_put(array, NamedSharding(mesh or self.on_auto_axes, spec))

        return jax.tree.map(put, tree, specs)

    def put_params(self, params: Params) -> tuple[Layer, ...]:
        """The parameters, each in its place."""
        layers = tuple(Layer(*layer) for layer in params)
        placed: tuple[Layer, ...] = self.put(layers, self.params(params))
        return placed

    @property
    def hosts(self) -> int:
        """How many processes its devices belong to."""
        return len({device.process_index for device in self.mesh.devices.flat})

    def put_rows(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """x and y of all processes, each of which hands in its own; and which rows are examples.

        Of one process they lie whole on every device, and all rows are examples: None.
        """
        if self.hosts == 1 or self.data is None:
            return *self.put_everywhere((x, y)), None
        each, places = rows_of_all(len(x), self.size("data") // self.hosts or 1)
        rows = NamedSharding(self.on_auto_axes, P(self.data))

        def put(array: Any) -> Any:
            array = np.asarray(array)
            filled = np.pad(array, ((0, each - len(array)), (0, 0)), "edge")
            return jax.make_array_from_process_local_data(rows, filled)

        return put(x), put(y), self.put_everywhere(places)

    def put_everywhere(self, tree: Any) -> Any:
        """The arrays, whole on every device."""
        return jax.device_put(tree, NamedSharding(self.on_auto_axes, P()))
