"""A small case on which a backward pass can show every mistake."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from manual_bp.arrays import in_64_bits
from manual_bp.calls import check_network
from manual_bp.checks import Problems, float_dtype, random_key, whole_number
from manual_bp.diagnosis.edits import CATALOGUE, Edit
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop, Place
from manual_bp.surroundings import judging
from manual_bp.verdicts.compare import compare


class Case(NamedTuple):
    """A small case for a backward pass to be checked on.

    Attributes:
        params: of the network that it was made for, by NumPy, in float32 unless asked otherwise.
        x: likewise, (m, n_0).
        y: likewise, (m, n_L).
        shows: the mistakes that were planted in it one at a time, and found.
        cannot: those that change no number of this network, or for which it has no room.
    """

    params: tuple[Layer, ...]
    x: Any
    y: Any
    shows: tuple[str, ...]
    cannot: tuple[str, ...]


@judging()
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
    check_network(net)
    problems = Problems()
    random_key("key", key, problems)
    whole_number("attempts", attempts, 1, problems)
    dtype = float_dtype("dtype", dtype, problems)
    problems.raise_all()
    bits = np.asarray(jax.random.key_data(key)).tolist()
    best: Case | None = None
    for attempt in range(attempts):
        random = np.random.default_rng([*bits, attempt])
        with in_64_bits(dtype):
            case, missed = _proved(net, *draw(net, random, dtype))
        if best is None or len(case.shows) > len(best.shows):
            best = case
        if not missed:
            break
    assert best is not None  # there is one attempt at least
    return best


def draw(net: Network, random: np.random.Generator, dtype: Any) -> tuple[Any, Any, Any]:
    """Params, x and y; by NumPy, which has nothing to compile."""
    m = next(m for m in range(5, 5 + len(net.sizes) + 1) if m not in net.sizes)
    params = [
        Layer(random.normal(0, n_prev**-0.5, (n, n_prev)), random.normal(0, 0.3, n))
        for n_prev, n in pairwise(net.sizes)
    ]
    x, y = (random.normal(size=(m, n)) for n in (net.sizes[0], net.sizes[-1]))
    if net.cost.output is not None:
        # The last class is all but impossible, and yet is the first example's.
        y = np.eye(net.sizes[-1])[np.arange(-1, m - 1) % net.sizes[-1]]
        params[-1].b[-1] -= 20
    if net.cost.family == "hinge":
        y = np.where(y > 0, 1.0, -1.0)
    params, x, y = jax.tree.map(lambda array: array.astype(dtype), (tuple(params), x, y))
    return params, x, y


def _proved(net: Network, params: tuple[Layer, ...], x: Any, y: Any) -> tuple[Case, bool]:
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
    x: Any,
    y: Any,
    mistake: Edit,
    place: Place,
    right: Backprop,
) -> str:
    """Of one mistake planted: "no room", "same numbers", "found" or "missed"."""
    try:
        wrong = backprop_with(net, params, x, y, {place: mistake})
    except ValueError:
        return "no room"
    if np.array_equal(wrong.at(place), right.at(place)):
        return "same numbers"
    agreement = compare(net, params, x, y, subject=wrong)
    return "found" if [row.place for row in agreement.disagreements] == [place] else "missed"
