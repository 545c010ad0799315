"""What a batch cannot show of a backward pass: which mistakes would change no number of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from manual_bp.calls import Call, examples
from manual_bp.diagnosis.case import draw
from manual_bp.diagnosis.compiled import derivative
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.equations import Inputs
from manual_bp.diagnosis.fitting import Equation
from manual_bp.diagnosis.planting import backprop_with, with_edits
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop, by_layer
from manual_bp.subjects.convention import Scales
from manual_bp.verdicts.compare import Agreement

SOME = np.arange(1)  # neurons of each layer that are looked at first
# Of many σ one always shows. A log kept away from log 0 shows where a class is all but impossible:
# hardly any batch has that, and a warning of each is none.
NOT_PLANTED = ("other_activation", "derivative_of_other_activation", "log_clipped")


def blind_spots(call: Call, record: Backprop) -> list[str]:
    """What a batch cannot show, and why; `record` is that of right code on it."""
    net, params, x, _ = call
    m, (_, b), σ = examples(x), by_layer(params), net.sigma
    found = []
    for l, z in zip(net.layers[:-1], record.z, strict=False):
        prime = derivative(σ[l], np.atleast_2d(z).astype(np.float64))
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
    zero = [str(l) for l in net.layers if b[l] is not None and not np.asarray(b[l]).any()]
    if zero:
        found.append(f"the biases of layer {', '.join(zero)} are zero.")
    if m == 1:
        found.append("there is one example.")
    if m > 1 and m in net.sizes:
        found.append(
            f"the batch has as many examples as a layer has neurons, {m}: a sum over the wrong "
            f"axis has the right shape; take another number."
        )
    silent = _of_the_network(net, tuple(b[l] is not None for l in net.layers))
    silent -= _shown_by(call, record, silent)
    if silent:
        names = ", ".join(name for name in CATALOGUE if name in silent)
        found.append(f"on this batch these mistakes change no number: {names}.")
    return found


@lru_cache(maxsize=64)
def _of_the_network(net: Network, has_biases: tuple[bool, ...]) -> frozenset[str]:
    """The mistakes that batches of this network can show: those that one drawn at random does."""
    params, x, y = draw(net, np.random.default_rng(0), np.float64)
    params = tuple(Layer(W, b if has else None)
                   for (W, b), has in zip(params, has_biases, strict=True))  # fmt: skip
    record = backprop_with(net, params, x, y, {})
    names = frozenset(CATALOGUE) - set(NOT_PLANTED)
    return _shown_by(Call(net, params, x, y), record, names)


def _shown_by(call: Call, record: Backprop, names: frozenset[str]) -> frozenset[str]:
    """Those of the mistakes that change a number of a batch by more than rounding."""
    found = set[str]()
    equations = list(_equations(call, record))
    for inputs in [replace(each, neurons=SOME, before=SOME) for each in equations] + equations:
        if here := [n for n in names - found if inputs.kind in CATALOGUE[n].kinds.split()]:
            found |= _changing(inputs, here)
    return frozenset(found)


def _equations(call: Call, record: Backprop) -> Iterator[Inputs]:
    """The inputs of every equation of a record, in float64."""
    net, params, _, y = call
    arrays: dict[str, dict[int, Any]] = {name: {} for name in Backprop._fields}
    for place, array in record.items():
        if array is not None:
            array = np.asarray(array, np.float64)
            rows = np.atleast_2d(array) if place.is_per_example else array
            arrays[place.quantity][place.layer] = rows
    W, b = by_layer(jax.tree.map(lambda v: np.asarray(v, np.float64), tuple(params)))
    y = np.atleast_2d(np.asarray(y, np.float64))
    for place, array in record.items():
        if array is not None:
            yield Inputs.reading(place, arrays, net=net, scales=Scales(), W=W, b=b, y=y)


def _changing(inputs: Inputs, names: Iterable[str]) -> set[str]:
    """The mistakes that change a number of one equation by more than rounding does."""
    found, equation = set[str](), Equation(inputs)
    right = with_edits(equation, (), 0.5)
    for name in names:
        wrong = with_edits(equation, (CATALOGUE[name],), 0.5)
        if right is not None and wrong is not None:
            off = np.abs(right - wrong).max(initial=0)
            found |= {name} if off > 1e-6 * np.abs(right).max(initial=0) else set()
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
