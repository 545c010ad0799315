"""What people hand over as a record, read as arrays of real numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from manual_bp.checks import Problems, kind
from manual_bp.network import Network
from manual_bp.record import Backprop, Place, named_places


def arrays_of(net: Network, record: Backprop) -> Backprop:
    """The record with every quantity as floating-point arrays, or None.

    Raises:
        ValueError, TypeError: naming each field and layer that is none.
    """
    problems = Problems()
    every = named_places(net)
    found: dict[Place, Any] = {}
    for quantity in Backprop._fields:
        wanted = [place for place in every.values() if place.quantity == quantity]
        values = getattr(record, quantity)
        if values is None or not _is_complete(values, wanted, problems):
            continue
        for place in wanted:
            where = quantity if quantity == "cost" else f"{quantity}, layer {place.layer}"
            found[place] = _array(f"subject: {where}", record.at(place), problems)
    problems.raise_all()
    return Backprop.from_places(found, net)


def _is_complete(values: Any, wanted: list[Place], problems: Problems) -> bool:
    """Whether a quantity has one entry, be it None, for each of its places."""
    if wanted[0].quantity == "cost":
        return True
    expected = (
        f"subject: {wanted[0].quantity}: expected {len(wanted)} arrays, {wanted[0].name} … "
        f"{wanted[-1].name}, None for those not given"
    )
    if not hasattr(values, "__len__") or isinstance(values, (str, bytes, dict)):
        problems.type(f"{expected}; got {kind(values)}")
    elif len(values) != len(wanted):
        problems.value(f"{expected}; got {len(values)}")
    else:
        return True
    return False


def _array(argument: str, value: Any, problems: Problems) -> Any:
    if value is None:
        return None
    if not hasattr(value, "dtype"):
        try:
            value = np.asarray(value)
        except ValueError:
            problems.value(f"{argument}: expected rows of one length, got lists of several")
            return None
    if jnp.issubdtype(value.dtype, jnp.floating):
        return value
    if jnp.issubdtype(value.dtype, jnp.integer):
        return np.asarray(value, np.float64)
    problems.type(f"{argument}: expected real numbers, got {value.dtype} values")
    return None
