"""Backpropagation with mistakes in it, for tests of what finds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from manual_bp.diagnosis.edits import Edit, Option
from manual_bp.diagnosis.equations import Inputs, Shards
from manual_bp.diagnosis.fitting import MULTIPLIERS, Equation
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, Place, by_layer, places
from manual_bp.subjects.convention import Scales


def places_for(net: Network, edit: Edit) -> list[Place]:
    """Where an edit can be made in a network: kind by kind, in the order of the layers."""
    order = sorted(places(net), key=lambda place: place.layer)
    return [place for kind in edit.kinds.split() for place in order if place.kind == kind]


def backprop_with(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    planted: Mapping[Place, Edit | Sequence[Edit]],
    eta: float = 0.5,
    scales: Scales = Scales(),  # noqa: B008 (a tuple)
    shards: Shards = Shards(),  # noqa: B008 (a tuple)
) -> Backprop:
    """Backpropagation with edits in it: what follows a wrong step is computed from it.

    Every step is computed in float64, and rounded to the format of x.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.
        x: (m, n_0).
        y: (m, n_L).
        planted: the edits to make at each place, of different parts; of each its first option.
        eta: η, of an update that comes too early, or the constant that is added.
        scales: how many times ours its numbers are to be.
        shards: over how many devices the step is split, of which some edits take a part.

    Raises:
        ValueError: where the network has no room for an edit.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> from manual_bp.diagnosis.edits import CATALOGUE
        >>> net = mbp.Network((3, 2), ("tanh",), "quadratic")
        >>> params, x, y = net.init(jax.random.key(0)), jnp.ones((5, 3)), jnp.ones((5, 2))
        >>> (place,) = places_for(net, CATALOGUE["bias_missing"])
        >>> wrong = backprop_with(net, params, x, y, {place: CATALOGUE["bias_missing"]})
        >>> bool(wrong.db[0].any()), bool(wrong.dW[0].any())
        (False, True)
    """
    dtype = np.asarray(x).dtype
    params, x, y = jax.tree.map(lambda v: np.asarray(v, np.float64), (tuple(params), x, y))
    W, b = by_layer(params)
    made: dict[Place, Any] = {}
    arrays: dict[str, dict[int, Any]] = {"z": {}, "a": {0: x}, "delta": {}, "dW": {}, "db": {}}
    for place in sorted(places(net, params), key=_weights_first):
        inputs = Inputs.reading(place, arrays, net=net, scales=scales, W=W, b=b, y=y, shards=shards)
        edits = planted.get(place, ())
        edits = (edits,) if isinstance(edits, Edit) else tuple(edits)
        array = with_edits(Equation(inputs), edits, eta)
        if array is None:
            names = " and ".join(edit.name for edit in edits)
            where = f"{place.kind}, layer {place.layer}"
            raise ValueError(f"planted: {net} has no room for {names} at {where}")
        with np.errstate(over="ignore"):  # of numbers that are too large for their format
            made[place] = array.astype(dtype)
        if place.quantity != "cost":
            arrays[place.quantity][place.layer] = made[place].astype(np.float64)
    return Backprop.from_places(jax.device_put(made), net)


def _weights_first(place: Place) -> tuple[int, ...]:
    """Forwards, then backwards, ∂C/∂W before ∂C/∂b, which may wrongly be made from it."""
    if not place.equation.startswith("BP"):
        return (0,)
    return 1, -place.layer, ("delta", "dW", "db").index(place.quantity)


def with_edits(equation: Equation, edits: Sequence[Edit], number: float) -> Any:
    """An equation with the first option of each of these edits; None where there is no room."""
    chosen: list[tuple[Edit, Option]] = []
    for edit in edits:
        options = edit.made_in(equation.inputs)
        if not options:
            return None
        chosen.append((edit, options[0]))
    factors = {edit.part: float(o.part) for edit, o in chosen if edit.part in MULTIPLIERS}
    core = equation.with_([pair for pair in chosen if pair[0].part not in MULTIPLIERS])
    if core is None or len({edit.part for edit in edits}) < len(edits):
        return None
    return core.made(factors, number, equation.inputs).value
