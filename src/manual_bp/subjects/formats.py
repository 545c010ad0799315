"""Which formats a subject's numbers are kept in, and so how each place of it was rounded."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.calls import Call, examples
from manual_bp.record import Place, places
from manual_bp.rounding.arithmetic import Arithmetic, arithmetic_of

READ: Mapping[str, tuple[tuple[str, int], ...]] = {
    "z": (("a", -1),),
    "a": (("z", 0),),
    "cost": (("z", 0), ("a", 0)),
    "BP1": (("z", 0), ("a", 0)),
    "BP2": (("delta", 1), ("z", 0), ("a", 0)),
    "BP3": (("delta", 0),),
    "BP4": (("delta", 0), ("a", -1)),
}
"""What each equation reads of a record: quantities, and their layers counted from its own."""


def roundoff(dtype: Any) -> float:
    """The unit roundoff of a format."""
    return float(jnp.finfo(dtype).eps) / 2


def kept_in(place: Place, array: Any, call: Call) -> str:
    """The format of an array; float32 for a cost in a double that went through a float.

    Maybe as a sum, over the examples or the outputs, whose mean was taken later, or the other way
    round. A double is so near to a float by chance once in 2²⁶ times.
    """
    if place.quantity == "cost" and array.dtype.name == "float64":
        m, n = examples(call.x), call.net.sizes[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            parts = float(array) * np.array([1, m, n, m * n, 1 / m, 1 / n, 1 / (m * n)])
            off = np.abs(parts - parts.astype(np.float32))
        if (off <= 2.0**-51 * np.abs(parts)).any():
            return "float32"
    return str(array.dtype.name)


def arithmetic_in(arrays: Iterable[Any], call: Call, precision: str | None) -> Arithmetic:
    """What a subject's numbers are good for, where they are of one format."""
    arrays = list(arrays)
    dtype, platform = _finest(arrays, call), _platform_of(arrays)
    return _reading(arithmetic_of(dtype, precision=precision, platform=platform), call)


def arithmetic_by_place(
    kept: Mapping[Place, str], arrays: Iterable[Any], call: Call, precision: str | None
) -> dict[Place, Arithmetic]:
    """How each place was rounded, where formats are mixed: to its own, or one that it reads.

    A program in mixed precision casts what an equation reads to the coarsest format there, and may
    widen the result: a gradient in float32 of errors in bfloat16 is as coarse as these. What is not
    shown is taken to be as coarse as the coarsest z, a or δ that is. Such programs keep sums in
    float32. Nothing where all is of one format.
    """
    arrays = list(arrays)
    base = _finest(arrays, call)
    if all(roundoff(dtype) <= roundoff(base) for dtype in kept.values()):
        return {}
    platform = _platform_of(arrays).replace("numpy", "cpu")
    inner = [kept[place] for place in kept if place.is_per_example and place.layer]
    hidden = max([base, *inner], key=roundoff)
    at = {(place.quantity, place.layer): dtype for place, dtype in kept.items() if place.layer}
    found = {}
    for place in places(call.net):
        own = kept.get(place, hidden if place.is_per_example else base)
        read = [
            at.get((quantity, place.layer + step), hidden)
            for quantity, step in READ.get(place.kind, ())
            if place.layer + step
        ]
        dtype = max([base, own, *read], key=roundoff)
        arithmetic = arithmetic_of(dtype, precision=precision, platform=platform)
        # An array may have been rounded only as it was stored, after it was used.
        excess = roundoff(own) if roundoff(own) > roundoff(base) else 0.0
        found[place] = _reading(arithmetic, call)._replace(excess=excess)
    return found


def _finest(arrays: Iterable[Any], call: Call) -> str:
    """The inputs' format, or the subject's own finest if that is coarser."""
    given = max(_formats_of(call), key=roundoff)
    finest = min((array.dtype.name for array in arrays), key=roundoff, default=given)
    return max(given, finest, key=roundoff)


def _formats_of(call: Call) -> set[str]:
    """Those of the parameters, x and y."""
    inputs = {w.dtype.name for layer in call.params for w in layer if w is not None}
    return inputs | {call.x.dtype.name, call.y.dtype.name}


def _platform_of(arrays: Iterable[Any]) -> str:
    made_by_jax = [array for array in arrays if isinstance(array, jax.Array)]
    return str(next(iter(made_by_jax[0].devices())).platform) if made_by_jax else "numpy"


def _reading(arithmetic: Arithmetic, call: Call) -> Arithmetic:
    """The arithmetic of who has read some of the inputs in a coarser format than they came in."""
    u = arithmetic.u
    if all(roundoff(dtype) >= u for dtype in _formats_of(call)):
        return arithmetic
    return arithmetic._replace(reading=u, product=max(u, arithmetic.product))
