"""Backpropagation with mistakes in it, for tests of what finds them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from manual_bp.diagnosis.equations import (
    activation,
    bias_gradient,
    hidden_delta,
    output_delta,
    scaled_cost,
    weight_gradient,
    weighted_input,
)
from manual_bp.diagnosis.mistakes import Inputs, Mistake
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, Place, by_layer, places
from manual_bp.subjects.convention import Scales


def places_for(net: Network, mistake: Mistake) -> list[Place]:
    """Where a mistake can be made in a network: kind by kind, in the order of the layers."""
    order = sorted(places(net), key=lambda place: place.layer)
    return [place for kind in mistake.kinds for place in order if place.kind == kind]


def backprop_with(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    planted: Mapping[Place, Mistake],
    eta: float = 0.5,
    scales: Scales = Scales(),  # noqa: B008 (a tuple)
) -> Backprop:
    """Backpropagation with mistakes in it: what follows a wrong step is computed from it.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.
        x: (m, n_0).
        y: (m, n_L).
        planted: the mistake to make at each place.
        eta: η, of an update that comes too early.
        scales: how many times ours its numbers are to be.

    Raises:
        ValueError: where the network has no room for a mistake.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> from manual_bp.diagnosis.mistakes import CATALOGUE
        >>> net = mbp.Network((3, 2), ("tanh",), "quadratic")
        >>> params, x, y = net.init(jax.random.key(0)), jnp.ones((5, 3)), jnp.ones((5, 2))
        >>> (place,) = places_for(net, CATALOGUE["bias_missing"])
        >>> wrong = backprop_with(net, params, x, y, {place: CATALOGUE["bias_missing"]})
        >>> bool(wrong.db[0].any()), bool(wrong.dW[0].any())
        (False, True)
    """
    (W, b), σ, L, m = by_layer(params), net.sigma, net.depth, len(x)
    z: dict[int, Any] = {}
    a: dict[int, Any] = {}
    delta: dict[int, Any] = {}
    dW: dict[int, Any] = {}
    db: dict[int, Any] = {}
    made: dict[Place, Any] = {}

    for place in places(net, params):
        l = place.layer
        match place.kind:
            case "x":
                array = jax.device_put(x)
            case "z":
                array = weighted_input(W[l], b[l], a[l - 1])
            case "a":
                array = activation(σ[l], z[l])
            case "cost":
                array = scaled_cost(net, m, params, z[L], a[L], y, scales)
            case "BP1":
                array = output_delta(net, m, z[L], a[L], y, scales)
            case "BP2":
                array = hidden_delta(σ[l], W[l + 1], delta[l + 1], z[l], a[l])
            case "BP3":
                array = bias_gradient(net, delta[l], b[l], scales)
            case "BP4":
                array = weight_gradient(net, delta[l], a[l - 1], W[l], scales)
        if mistake := planted.get(place):
            arrays = jax.tree.map(_double, (W, b, z, a, delta, dW, y, array))
            wrong = mistake.result(replace(Inputs(net, place, scales, *arrays), eta=eta))
            if wrong is None:
                where = f"{place.kind}, layer {l}"
                raise ValueError(f"planted: {net} has no room for {mistake.name} at {where}")
            with np.errstate(over="ignore"):  # of numbers that are too large for their format
                array = jax.device_put(wrong.astype(array.dtype))
        made[place] = array
        if place.quantity != "cost":
            {"z": z, "a": a, "delta": delta, "dW": dW, "db": db}[place.quantity][l] = array
    return Backprop.from_places(made, net)


def _double(array: Any) -> Any:
    return np.asarray(array, np.float64)
