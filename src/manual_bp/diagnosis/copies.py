"""Arrays that lie on several devices: over how many, and whether their copies are equal."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from manual_bp.diagnosis.finding import Finding
from manual_bp.network import Network
from manual_bp.record import Backprop, by_layer, places
from manual_bp.text import superscript

AXES = ("data", "model")


def mesh_shape(record: Any) -> dict[str, int]:
    """The sizes of the axes "data" and "model" of the mesh that arrays lie on; none of no mesh."""
    for array in jax.tree.leaves(record):
        mesh = getattr(getattr(array, "sharding", None), "mesh", None)
        found = {axis: int(mesh.shape[axis]) for axis in AXES if mesh and axis in mesh.shape}
        if found:
            return found
    return {}


def copies_that_differ(net: Network, params: Any, record: Any) -> list[Finding]:
    """A finding for each array whose copies on several devices are not the same, bit for bit."""
    found = []
    for equation, layer, name, array in _arrays(net, params, record):
        seen: dict[str, tuple[Any, bytes, Any]] = {}
        for shard in getattr(array, "addressable_shards", ()):
            copy = np.asarray(shard.data)
            first, bits, value = seen.setdefault(
                str(shard.index), (shard.device, copy.tobytes(), copy)
            )
            if copy.tobytes() != bits:
                with np.errstate(all="ignore"):
                    off = np.abs(copy.astype(np.float64) - value.astype(np.float64)).max()
                words = (
                    f"the copies of {name} on devices {first.id} and {shard.device.id} differ, by "
                    f"{off:.3g} at most. Below, the copy of device {first.id} is judged."
                )
                fix = "Compute it alike on all of them, or sum it over them; start from one copy."
                found.append(Finding(equation, layer, ("copies_differ",), (), words, fix))
                break
    return found


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
