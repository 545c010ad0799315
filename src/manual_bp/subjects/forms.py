"""The forms in which people have gradients: a record, a dict, pairs, two lists, an update."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual_bp.checks import Problems, kind, nearest, one_of, parts, real, shown
from manual_bp.network import Layer, Network
from manual_bp.record import FIRST_LAYER, Backprop, Place, named_places


class Update(NamedTuple):
    """Parameters after one step of W ← W − η ∂C/∂W, where they are all that one has.

    The gradients are read off: ∂C/∂W = (W − W′)/η, and carry as their error what the rounding of W′
    does to them. The larger η is, the more shows.

    Attributes:
        params: a `Layer(W, b)` for each layer after the step; None for what is not known.
        learning_rate: η of that step.
        sign: "descent", or "ascent" for W ← W + η ∂C/∂W.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("tanh",), "quadratic")
        >>> params, x, y = net.init(jax.random.key(0)), jnp.ones((5, 3)), jnp.ones((5, 2))
        >>> _, gradients = mbp.value_and_grad(net)(params, x, y)
        >>> after = mbp.update(params, gradients, 0.5)
        >>> mbp.check(net, params, x, y, mbp.Update(after, learning_rate=0.5)).ok
        True
    """

    params: Any
    learning_rate: Any
    sign: str = "descent"


Record = Backprop | Update
Function = Callable[..., Any]
"""(net, params, x, y) -> a record, in any of the forms."""
Source = Function | Backprop | Update | Mapping[str, Any] | Sequence[Any]
"""What is judged: such a function, or what it would give."""

_EXPECTED = (
    "a Backprop, a dict such as {'dW1': …, 'db1': …}, the gradients as [(dW1, db1), …], or an "
    "Update(params, learning_rate)"
)


def record_from(argument: str, net: Network, given: Any) -> Record:
    """Any of the forms as a record whose quantities have one entry a layer, or as an update.

    Raises:
        ValueError, TypeError: naming what has no place in the network.
    """
    problems = Problems()
    if isinstance(given, Update):
        found: Record = _update(argument, net, given, problems)
    elif isinstance(given, Backprop):
        found = _record(argument, net, given, problems)
    elif isinstance(given, Mapping):
        found = _record(argument, net, _from_names(argument, net, given, problems), problems)
    elif isinstance(given, (tuple, list)):
        found = _from_sequence(argument, net, given, problems)
    else:
        problems.type(f"{argument}: expected {_EXPECTED}; got {kind(given)}")
    problems.raise_all()
    return found


def _record(argument: str, net: Network, given: Backprop, problems: Problems) -> Backprop:
    """The record with a tuple of the right length for each quantity that has one."""
    for quantity, first in FIRST_LAYER.items():
        values = getattr(given, quantity)
        if values is None:
            continue
        names = [f"{quantity}{l}" for l in range(first, net.depth + 1)]
        expected = (
            f"{argument}: {quantity}: expected {len(names)} arrays, {names[0]} … {names[-1]}, "
            f"None for those not given"
        )
        values = None if isinstance(values, Mapping) else parts(values)
        if values is None:
            problems.type(f"{expected}; got {kind(getattr(given, quantity))}")
        elif quantity == "a" and len(values) == net.depth:
            given = given._replace(a=(None, *values))  # from a¹ on, without the input
        elif len(values) != len(names):
            problems.value(f"{expected}; got {len(values)}")
        else:
            given = given._replace(**{quantity: values})
    return given


def _from_names(
    argument: str, net: Network, given: Mapping[str, Any], problems: Problems
) -> Backprop:
    """A record of {"dW1": …, "delta2": …}, or of {"dW": [dW1, dW2], …}; a case does not matter."""
    places = named_places(net)
    known: dict[str, Place | str] = {name.lower(): place for name, place in places.items()}
    known |= {f"dz{l}": places[f"delta{l}"] for l in net.layers}  # as many courses write δ
    known |= {name.lower(): name for name in FIRST_LAYER}
    arrays: dict[Place, Any] = {}
    fields: dict[str, Any] = {}
    for name, value in given.items():
        found = known.get(str(name).lower())
        if found is None:
            problems.value(
                f"{argument}: unknown name {name!r}; leave it out, or "
                f"{nearest(str(name), [*FIRST_LAYER, *places])}"
            )
        elif isinstance(found, str):
            fields[found] = value
        else:
            arrays[found] = value
    record = Backprop.from_places(arrays, net)
    given_at_all = {place.quantity for place in arrays}
    nothing = {name: None for name in FIRST_LAYER if name not in given_at_all}
    return record._replace(**nothing | fields)


def _from_sequence(argument: str, net: Network, given: Sequence[Any], problems: Problems) -> Record:
    """The gradients as pairs by layer, or all dW and all db; with the cost before them or not."""
    cost = None
    if len(given) == 2 and _size(given[0]) == () and isinstance(given[1], (list, tuple, Mapping)):
        cost, given = given
        if isinstance(given, (Backprop, Mapping)):
            return record_from(argument, net, given)
    if len(given) == 2 * net.depth and all(len(_size(W) or ()) == 2 for W in given[::2]):
        given = list(zip(given[::2], given[1::2], strict=True))  # as model.parameters() gives them
    if net.depth == 1 and _is_pair(given):
        given = [given]
    layers = [(f"dW{l}", f"db{l}") for l in net.layers]
    if len(given) == net.depth and all(map(_is_layer, given)):
        pairs = [layer if _is_pair(layer) else (layer, None) for layer in given]
        if _fit(net, pairs):
            return Backprop(cost, dW=tuple(W for W, _ in pairs), db=tuple(b for _, b in pairs))
    if len(given) == 2 and all(
        isinstance(part, (tuple, list)) and len(part) == net.depth for part in given
    ):
        for dW, db in (given, given[::-1]):
            if _fit(net, list(zip(dW, db, strict=True))):
                return Backprop(cost, dW=tuple(dW), db=tuple(db))
    names = ", ".join(f"({dW}, {db})" for dW, db in layers)
    problems.value(
        f"{argument}: expected the gradients of {net.depth} layers, [{names}], each of its "
        f"parameter's size; got a {kind(given)} of {len(given)} that do not fit; pass a dict by "
        f"name"
    )
    return Backprop()


def _is_layer(entry: Any) -> bool:
    return entry is not None and not isinstance(entry, (str, bytes, Mapping))


def _is_pair(entry: Any) -> bool:
    if isinstance(entry, Layer):
        return True
    return isinstance(entry, (tuple, list)) and len(entry) == 2 and len(_size(entry[0]) or ()) == 2


def _fit(net: Network, pairs: list[tuple[Any, Any]]) -> bool:
    """Whether each array has as many numbers as its parameter, biases folded in or not."""
    for l, (dW, db) in zip(net.layers, pairs, strict=True):
        n, n_prev = net.sizes[l], net.sizes[l - 1]
        sizes = [None if array is None else _size(array) for array in (dW, db)]
        counts = [None if size is None else prod(size) for size in sizes]
        if dW is not None and counts[0] not in (n * n_prev, n * (n_prev + 1)):
            return False
        if db is not None and counts[1] not in (1, n):
            return False
        if sizes[0] is not None and len(sizes[0]) != 2:
            return False
    return True


def _size(value: Any) -> tuple[int, ...] | None:
    """The shape of an array, or of nested lists; None where it has none."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    try:
        return np.shape(value)
    except (ValueError, TypeError, RuntimeError):
        return None


def _update(argument: str, net: Network, given: Update, problems: Problems) -> Update:
    eta = real(given.learning_rate)
    if eta is None or not 0 < eta < np.inf:
        got = shown(given.learning_rate)
        problems.value(f"{argument}: learning_rate: expected a number > 0, got {got}")
    one_of(f"{argument}: sign", given.sign, ("descent", "ascent"), problems)
    params = given.params
    if not isinstance(params, (tuple, list)) or isinstance(params, Layer):
        problems.type(
            f"{argument}: params: expected a Layer(W, b) for each layer after the step, "
            f"got {kind(params)}"
        )
        return given
    if len(params) != net.depth:
        problems.value(
            f"{argument}: params: expected {net.depth} layers, as before the step, "
            f"got {len(params)}"
        )
        return given
    return given._replace(params=tuple(map(_layer, params)))


def _layer(entry: Any) -> Layer:
    if entry is None:
        return Layer(None, None)
    pair = isinstance(entry, (tuple, list)) and len(entry) == 2
    if pair and (_is_pair(entry) or entry[0] is None or entry[1] is None):
        return Layer(*entry)
    return Layer(entry, None)  # weights alone, or with the biases folded in
