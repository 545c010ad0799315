"""Arrays that lie on several devices: over how many, and whether their copies are equal."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.network import Network
from manual_bp.record import Backprop, by_layer, places
from manual_bp.text import superscript

AXES = ("data", "model")


def mesh_shape(record: Any) -> dict[str, int]:
    """The sizes of the axes "data" and "model" of the mesh that arrays lie on; none of no mesh."""
    fields = record if isinstance(record, Backprop) else ()
    for array in (one for field in fields if isinstance(field, tuple) for one in field):
        if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
            continue
        mesh = getattr(array.sharding, "mesh", None)
        found = {axis: int(mesh.shape[axis]) for axis in AXES if mesh and axis in mesh.shape}
        if found:
            return found
    return {}


class Drift(NamedTuple):
    """An array whose copies on several devices are not the same: where it stands, and in words."""

    equation: str
    layer: int
    words: str


def copies_that_differ(net: Network, params: Any, record: Any) -> Iterator[Drift]:
    """Each array of which two devices have copies that are not equal, bit for bit; NaN is NaN."""
    for equation, layer, name, array in _arrays(net, params, record):
        if not _is_on_several(array):
            continue
        seen: dict[str, tuple[Any, Any]] = {}
        for shard in array.addressable_shards:
            copy = np.ascontiguousarray(shard.data).reshape(shard.data.shape)
            first, value = seen.setdefault(str(shard.index), (shard.device, copy))
            differ = (_bits(copy) != _bits(value)).any(axis=-1).reshape(copy.shape)
            differ &= ~(np.isnan(copy) & np.isnan(value))
            if differ.any():
                with np.errstate(all="ignore"):
                    off = np.abs(copy.astype(np.float64) - value.astype(np.float64))
                off = np.where(differ, np.nan_to_num(off, nan=np.inf), -1)
                worst = np.unravel_index(off.argmax(), off.shape)
                starts = (part.start or 0 for part in shard.index)
                cell = ", ".join(str(i + start) for i, start in zip(worst, starts, strict=True))
                words = (
                    f"the copies of {name} on devices {first.id} and {shard.device.id} differ"
                    f"{f' at ({cell})' if cell else ''}: {value[worst]:.9g} and {copy[worst]:.9g}, "
                    f"{off.max():.3g} apart. What else is said is of the copy of device {first.id}."
                )
                yield Drift(equation, layer, words)
                break


def _is_on_several(array: Any) -> bool:
    """Whether these are real numbers that are known, and lie on more devices than one."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return False
    return jnp.issubdtype(array.dtype, jnp.floating) and len(array.addressable_shards) > 1


def _bits(array: Any) -> Any:
    """The bytes of each number."""
    return array.reshape(-1, 1).view(np.uint8)


def _arrays(net: Network, params: Any, record: Any) -> Iterator[tuple[str, int, str, Any]]:
    """Every array of params and of a record: its equation, its layer, and what it is called."""
    try:
        for letter, layers in zip("Wb", by_layer(params), strict=True):
            for l, array in layers.items():
                yield "forward", l, f"{letter}{superscript(l)}", array
    except (TypeError, ValueError):
        pass  # of a form that is read elsewhere
    if isinstance(record, Backprop):
        for place in places(net):
            yield place.equation, place.layer, f"your {place.symbol}", record.at(place)
