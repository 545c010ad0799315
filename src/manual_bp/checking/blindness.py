"""What a batch cannot show of a backward pass, and a case that can show everything."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from manual_bp.backprop import Backprop, backprop
from manual_bp.checking.mistakes import (
    CATALOGUE,
    QUANTITY,
    Mistake,
    array_of,
    backprop_with,
    layers_of,
)
from manual_bp.network import Network, Params
from manual_bp.verification.agreement import Agreement, compare


def blind_spots(net: Network, params: Params, x: Any, y: Any) -> list[str]:
    """What a batch cannot show, and why."""
    record = jax.device_get(backprop(net, params, x, y))
    m = 1 if x.ndim == 1 else len(x)
    found = []
    for l in net.layers[:-1]:
        with jax.enable_x64(True):
            z = jnp.asarray(np.atleast_2d(record.z[l - 1]), jnp.float64)
            prime = np.asarray(net.sigma(l).derivative(z, net.sigma(l).sigma(z)))
        dead = int((prime == 0).all(axis=0).sum())
        if dead:
            found.append(
                f"{dead} of {net.sizes[l]} units of layer {l} are dead (σ′ = 0 on every example): "
                f"no mistake in their δ or weights can show."
            )
        saturated = int((np.abs(prime).max(axis=0) < 1e-3).sum()) - dead
        if saturated > 0:
            found.append(
                f"{saturated} of {net.sizes[l]} units of layer {l} are saturated (σ′ < 1e-3): "
                f"mistakes in their δ hardly show."
            )
    square = [str(l) for l in net.layers if net.sizes[l] == net.sizes[l - 1]]
    if square:
        found.append(
            f"layer {', '.join(square)} is square: a transposed W or ∂C/∂W has the right shape; "
            f"take unequal widths."
        )
    zero = [str(l) for l, (_, b) in enumerate(params, start=1) if not np.asarray(b).any()]
    if zero:
        hidden = "bias_omitted, bias_twice and bias_penalised"
        found.append(
            f"the biases of layer {', '.join(zero)} are zero: "
            f"{hidden if net.l2 else 'bias_omitted and bias_twice'} cannot show."
        )
    if m == 1:
        found.append(
            "there is one example: sum_for_mean, mean_twice, mean_again, bias_averaged and "
            "targets_of_other_examples cannot show."
        )
    if m > 1 and m in net.sizes:
        found.append(
            f"the batch has as many examples as a layer has neurons, {m}: a sum over the wrong "
            f"axis has the right shape; take another number."
        )
    return found


def ambiguities(net: Network, x: Any, agreement: Agreement) -> list[str]:
    """Where rows and columns have the same shape."""
    wrong = {row.quantity for row in agreement.disagreements}
    found = []
    if x.ndim == 2 and wrong & {"z", "a", "delta"} and set(net.sizes) == {len(x)}:
        found.append(
            f"every array of the batch is {len(x)} × {len(x)}: rows and columns cannot be told "
            f"apart by shape; take unequal widths."
        )
    return found


# ── A case that shows everything ─────────────────────────────────────────────────────────────────


class Case(NamedTuple):
    """A small case for a backward pass to be checked on.

    Attributes:
        params, x, y: of the network that it was made for, in float32 unless asked otherwise.
        shows: the mistakes that were planted in it one at a time, and found.
        cannot: those that change no number of this network, or for which it has no room.
    """

    params: Params
    x: Array
    y: Array
    shows: tuple[str, ...]
    cannot: tuple[str, ...]


def suggest_case(net: Network, key: Array, *, dtype: Any = jnp.float32, attempts: int = 8) -> Case:
    """A small case that can show every mistake of the catalogue that the network has room for.

    Biases are not zero, no width equals the number of examples, and one class is unlikely. Each
    mistake is planted, and must be found; of several draws the one that shows most is given.

    Args:
        net: the network.
        key: a key of `jax.random.key`.
        dtype: of all arrays.
        attempts: how many draws to try.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("softmax",), "cross_entropy")
        >>> case = mbp.suggest_case(net, jax.random.key(0), attempts=1)
        >>> "ascent_sign" in case.shows, case.x.shape[0] in net.sizes
        (True, False)
    """
    best: Case | None = None
    for attempt in range(max(1, attempts)):
        case, missed = _proved(net, *_draw(net, jax.random.fold_in(key, attempt), dtype))
        if best is None or len(case.shows) > len(best.shows):
            best = case
        if not missed:
            break
    assert best is not None  # there is one attempt at least
    return best


def _draw(net: Network, key: Array, dtype: Any) -> tuple[Params, Array, Array]:
    m = next(m for m in range(5, 5 + len(net.sizes) + 1) if m not in net.sizes)
    keys = jax.random.split(key, 3 + net.depth)
    params = [
        layer._replace(b=0.3 * jax.random.normal(k, layer.b.shape, dtype))
        for layer, k in zip(net.init(keys[0], dtype), keys[3:], strict=True)
    ]
    x = jax.random.normal(keys[1], (m, net.sizes[0]), dtype)
    y = jax.random.normal(keys[2], (m, net.sizes[-1]), dtype)
    if net.cost.output is not None:
        # The last class is all but impossible, and yet is the first example's.
        classes = (net.sizes[-1] - 1 + jnp.arange(m)) % net.sizes[-1]
        y = jax.nn.one_hot(classes, net.sizes[-1], dtype=dtype)
        params[-1] = params[-1]._replace(b=params[-1].b.at[-1].add(-20))
    return tuple(params), x, y


def _proved(net: Network, params: Params, x: Array, y: Array) -> tuple[Case, bool]:
    """The case with what it shows, and whether a mistake changes a number in it and is not found.

    Of the layers that a mistake can be made in, one where it is found is enough.
    """
    shows: list[str] = []
    cannot: list[str] = []
    missed = False
    right = backprop_with(net, params, x, y, {})
    for mistake in CATALOGUE.values():
        outcomes = {
            _outcome(net, params, x, y, mistake, place, l, right)
            for place in mistake.places
            for l in layers_of(net, place)
        }
        (shows if "found" in outcomes else cannot).append(mistake.name)
        missed |= "missed" in outcomes and "found" not in outcomes
    return Case(params, x, y, tuple(shows), tuple(cannot)), missed


def _outcome(
    net: Network,
    params: Params,
    x: Array,
    y: Array,
    mistake: Mistake,
    place: str,
    l: int,
    right: Backprop,
) -> str:
    """Of one mistake planted: "no room", "same numbers", "found" or "missed"."""
    try:
        wrong = backprop_with(net, params, x, y, {(place, l): mistake})
    except ValueError:
        return "no room"
    quantity = QUANTITY[place]
    if bool((array_of(wrong, quantity, l) == array_of(right, quantity, l)).all()):
        return "same numbers"
    agreement = compare(net, params, x, y, subject=wrong)
    found = [(row.quantity, row.layer) for row in agreement.disagreements] == [(quantity, l)]
    return "found" if found else "missed"
