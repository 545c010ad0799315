"""Arguments that lie on a mesh of JAX's Explicit axes: how the results of a step lie there.

On Auto axes XLA decides where a result lies. On Explicit ones, `jax.make_mesh`'s default, every sum
over a sharded axis asks for an answer, which the equations would have to carry. So the step runs on
Auto axes, and here stands the answer: z, a and δ lie as x's examples and W's rows do, ∂C/∂W as W.
All of it is decided while JAX traces; a compiled program of one device carries none of it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from manual_bp.network import Params
from manual_bp.record import Backprop, by_layer

Result = TypeVar("Result")


def explicit_mesh(arguments: Any) -> Any:
    """The mesh of Explicit axes that an argument lies on, or None."""
    for leaf in jax.tree.leaves(arguments):
        if isinstance(leaf, jax.Array):
            mesh = getattr(jax.typeof(leaf).sharding, "mesh", None)
            if mesh is not None and AxisType.Explicit in mesh.axis_types:
                return mesh
    return None


def on_auto_axes(step: Callable[..., Result], lies: Callable[..., Any], *arguments: Any) -> Result:
    """`step(*arguments)`, on Auto axes where the arguments are on Explicit ones.

    `lies(*arguments)` gives the result's `PartitionSpec`s, in its structure.
    """
    if (mesh := explicit_mesh(arguments)) is None:
        return step(*arguments)
    places = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        lies(*arguments),
        is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )
    axes = tuple(name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
                 if kind is AxisType.Explicit)  # fmt: skip
    result: Result = jax.sharding.auto_axes(step, axes=axes, out_sharding=places)(*arguments)
    return result


def moved_to_auto_axes(tree: Any) -> Any:
    """The same arrays where they lie, but on Auto axes; of arrays on no Explicit ones the same."""

    def moved(array: Any) -> Any:
        if explicit_mesh(array) is None:
            return array
        mesh = array.sharding.mesh
        auto = Mesh(mesh.devices, mesh.axis_names, (AxisType.Auto,) * len(mesh.axis_names))
        return jax.device_put(array, NamedSharding(auto, spec_of(array)))

    return jax.tree.map(moved, tree)


def spec_of(array: Any) -> PartitionSpec:
    """Over which axes of its mesh each axis of an array is sharded; None for none."""
    spec = getattr(getattr(jax.typeof(array), "sharding", None), "spec", ())
    return PartitionSpec(*spec, *[None] * (array.ndim - len(spec)))


def like(tree: Any) -> Any:
    """The specs of these arrays."""
    return jax.tree.map(spec_of, tree)


def distinct(*axes: Any) -> PartitionSpec:
    """A spec of these entries; an axis of the mesh that is taken shards no further one."""
    taken: set[str] = set()
    entries: list[Any] = []
    for entry in axes:
        names = [n for n in (entry if isinstance(entry, tuple) else (entry,)) if n not in taken]
        names = [name for name in names if name is not None]
        taken |= set(names)
        entries.append(tuple(names) if len(names) > 1 else next(iter(names), None))
    return PartitionSpec(*entries)


def record_specs(params: Params, x: Any) -> Backprop:
    """Where the record of a backward pass lies, by hand: as x's examples, as W, and as b."""
    (W, b), examples = by_layer(params), spec_of(x)[:-1]
    neurons = tuple(distinct(*examples, spec_of(W[l])[0]) for l in W)
    return Backprop(
        PartitionSpec(),
        neurons,
        (spec_of(x), *neurons),
        neurons,
        tuple(map(spec_of, W.values())),
        tuple(None if v is None else spec_of(v) for v in b.values()),
    )
