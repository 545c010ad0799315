"""A small case on which a backward pass can show every mistake."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.checks import Problems, random_key
from manual_bp.diagnosis.mistakes import CATALOGUE, Mistake
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop, Place
from manual_bp.verdicts.compare import compare


class Case(NamedTuple):
    """A small case for a backward pass to be checked on.

    Attributes:
        params, x, y: of the network that it was made for, in float32 unless asked otherwise.
        shows: the mistakes that were planted in it one at a time, and found.
        cannot: those that change no number of this network, or for which it has no room.
    """

    params: tuple[Layer, ...]
    x: Any
    y: Any
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
    problems = Problems()
    random_key("key", key, problems)
    problems.raise_all()
    best: Case | None = None
    for attempt in range(max(1, attempts)):
        case, missed = _proved(net, *_draw(net, jax.random.fold_in(key, attempt), dtype))
        if best is None or len(case.shows) > len(best.shows):
            best = case
        if not missed:
            break
    assert best is not None  # there is one attempt at least
    return best


def _draw(net: Network, key: Array, dtype: Any) -> tuple[tuple[Layer, ...], Array, Array]:
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


def _proved(net: Network, params: tuple[Layer, ...], x: Array, y: Array) -> tuple[Case, bool]:
    """The case with what it shows, and whether a mistake changes a number in it and is not found.

    Of the layers that a mistake can be made in, one where it is found is enough.
    """
    shows: list[str] = []
    cannot: list[str] = []
    missed = False
    right = backprop_with(net, params, x, y, {})
    for mistake in CATALOGUE.values():
        outcomes = {
            _outcome(net, params, x, y, mistake, place, right) for place in places_for(net, mistake)
        }
        (shows if "found" in outcomes else cannot).append(mistake.name)
        missed |= "missed" in outcomes and "found" not in outcomes
    return Case(params, x, y, tuple(shows), tuple(cannot)), missed


def _outcome(
    net: Network,
    params: tuple[Layer, ...],
    x: Array,
    y: Array,
    mistake: Mistake,
    place: Place,
    right: Backprop,
) -> str:
    """Of one mistake planted: "no room", "same numbers", "found" or "missed"."""
    try:
        wrong = backprop_with(net, params, x, y, {place: mistake})
    except ValueError:
        return "no room"
    if bool((wrong.at(place) == right.at(place)).all()):
        return "same numbers"
    agreement = compare(net, params, x, y, subject=wrong)
    return "found" if [row.place for row in agreement.disagreements] == [place] else "missed"
