"""What is to be judged: what a stranger gave, as arrays by place in our layout."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.arrays import on_host, read_array
from manual_bp.calls import Call, examples
from manual_bp.checks import Problems
from manual_bp.network import Network
from manual_bp.record import Backprop, Place, named_places
from manual_bp.rounding.arithmetic import Arithmetic
from manual_bp.subjects.convention import Convention, Scales
from manual_bp.subjects.formats import arithmetic_by_place, arithmetic_in, kept_in, roundoff
from manual_bp.subjects.forms import Update
from manual_bp.subjects.run import Given
from manual_bp.text import listed


class Shown(NamedTuple):
    """What a subject gives at one place, a batch as rows.

    Attributes:
        value: the array.
        valid: True where a value is given; None where all are. The rest is untested.
        error: how far a value may be off for a stated reason; None where there is none.
    """

    value: Any
    valid: Any = None
    error: Any = None


class Misfit(NamedTuple):
    """An array that has no place in the record.

    Attributes:
        shape: its own.
        note: why it has none.
        array: it, turned as its convention says; None where there should be nothing at all.
    """

    shape: tuple[int, ...]
    note: str
    array: Any = None


class Subject(NamedTuple):
    """A record, ready to be judged.

    Attributes:
        name: how reports call it.
        shown: what it gives, by place, in our layout and its own scale.
        misfits: the arrays that do not fit, by the place they were given for.
        arithmetic: how its numbers were rounded.
        by_place: how those of each place were, where formats are mixed; else nothing.
        scales: how many times ours its numbers are.
        is_update: whether its gradients were read off an update.
        notes: what else there is to say of it.
        changed: the arguments that it changed while it ran.
    """

    name: str
    shown: dict[Place, Shown]
    misfits: dict[Place, Misfit]
    arithmetic: Arithmetic
    by_place: dict[Place, Arithmetic]
    scales: Scales = Scales()
    is_update: bool = False
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def in_float64(self, place: Place) -> Shown | None:
        """What it gives at a place, as NumPy arrays of float64."""
        if place not in self.shown:
            return None
        with jax.enable_x64(True):
            shown: Shown = jax.device_get(jax.tree.map(double, self.shown[place]))
        return shown


def read_subject(
    argument: str,
    given: Given,
    call: Call,
    *,
    precision: str | None,
    convention: Convention = Convention(),  # noqa: B008 (frozen)
    decimals: int | None = None,
) -> Subject:
    """What was given, ready to be judged, with what its forms say of its errors.

    Raises:
        ValueError, TypeError: naming each array that is none of real numbers.
    """
    with jax.enable_x64(True):  # lest a float64 array lose its digits
        return _read(argument, given, call, precision, convention, decimals)


def _read(
    argument: str,
    given: Given,
    call: Call,
    precision: str | None,
    convention: Convention,
    decimals: int | None,
) -> Subject:
    x = call.x
    is_update = isinstance(given.record, Update)
    problems = Problems()
    raw = _arrays(argument, call, given.record, problems)
    problems.raise_all()
    arithmetic = arithmetic_in(raw.values(), call, precision)
    found, misfits = _turned(raw, call, convention)
    odd = _turn_the_odd_ones(found, misfits, call.net, x.shape[:-1])
    errors: dict[Place, Any] = {}
    if isinstance(given.error, Backprop):
        errors, _ = _turned(_arrays(argument, call, given.error, problems), call, convention)
    kept = {place: kept_in(place, array, call) for place, array in found.items()}
    by_place = arithmetic_by_place(kept, raw.values(), call, precision)
    if len(mixed := {dtype for place, dtype in kept.items() if place.quantity != "cost"}) > 1:
        formats = listed(sorted(mixed, key=roundoff))
        arithmetic = arithmetic._replace(name=f"{formats}, each array by its own and what it reads")
    shown: dict[Place, Shown] = {}
    half = 0.0 if decimals is None else 0.5 * 10.0**-decimals * (1 + 2**-40)
    for place, array in found.items():
        error: Any = np.ma.getdata(errors[place]) if place in errors else None
        if half:
            error = np.full(array.shape, half) + (0 if error is None else error)
        if is_update:
            array, error = _read_off(given.record, call, place, array, error, arithmetic.u)
        elif place.name == "a0":
            # An x that is wider than ours was the same before ours was rounded.
            array = array.astype(max((array.dtype, x.dtype), key=roundoff))
        masked = np.ma.isMaskedArray(array)
        shown[place] = Shown(
            np.ma.getdata(array) if masked else array,
            ~np.ma.getmaskarray(array) if np.ma.is_masked(array) else None,
            error,
        )
    notes = given.notes
    if odd:
        notes += (f"{listed(odd)}: given the other way round than the rest, and read so",)
    if any(kept[place] != array.dtype.name for place, array in found.items()):
        notes += ("C went through a float32, and is judged as one",)
    scales = convention.scales(examples(x))
    return Subject(
        given.name, shown, misfits, arithmetic, by_place, scales, is_update, notes, given.changed
    )


def _arrays(argument: str, call: Call, record: Any, problems: Problems) -> dict[Place, Any]:
    """Every array that is given, by the place that it is given for, as it came."""
    if is_update := isinstance(record, Update):
        W, b = zip(*record.params, strict=True)
        record = Backprop(dW=W, db=b)
    found = {}
    for place in named_places(call.net).values():
        if (value := record.at(place)) is None:
            continue
        where = "cost" if place.quantity == "cost" else f"{place.quantity}, layer {place.layer}"
        if is_update:
            where = f"params, layer {place.layer}, {place.quantity[1]}"
        one = read_array(f"{argument}: {where}", value, problems, masked=True)
        if one is not None and one.array.dtype == bool:
            problems.type(f"{argument}: {where}: expected real numbers, got dtype bool")
        elif one is not None:
            found[place] = one.array if one.array.dtype.kind not in "iu" else one.of(np.float64)
    return found


def _turned(
    raw: dict[Place, Any], call: Call, convention: Convention
) -> tuple[dict[Place, Any], dict[Place, Misfit]]:
    """The arrays in our layout, per example as a batch, and those that do not fit."""
    net, batch = call.net, call.x.shape[:-1]
    places = named_places(net, call.params)
    found: dict[Place, Any] = {}
    misfits: dict[Place, Misfit] = {}
    for place, array in raw.items():
        shape = place.shape(net, *batch)
        if place.name not in places:  # ∂C/∂b of a layer without biases
            if array.any():
                note = f"expected nothing: layer {place.layer} has no biases"
                misfits[place] = Misfit(array.shape, note)
            continue
        turned = convention.turned(place, net, batch, array)
        bias = places.get(f"db{place.layer}")
        if place.quantity == "dW" and convention.bias != "separate" and bias is not None:
            shape = (shape[0], shape[1] + 1)
            if turned.shape == shape:
                turned, folded = convention.unfolded(turned)
                found.setdefault(bias, folded)
                shape = turned.shape
        if turned.shape != shape:
            theirs = shape[::-1] if convention.is_transposed(place) else shape
            note = f"expected shape {theirs}, got {array.shape}"
            if array.ndim > len(shape) and array.shape[1:] == theirs:
                note += "; of one part for each device, hand over their sum, or join them"
            misfits[place] = Misfit(array.shape, note, turned if turned.ndim <= 2 else None)
        else:
            found[place] = turned.reshape(-1, shape[-1]) if place.is_per_example else turned
    return found, misfits


def _turn_the_odd_ones(
    found: dict[Place, Any], misfits: dict[Place, Misfit], net: Network, batch: tuple[int, ...]
) -> list[str]:
    """Take those in that are laid out the other way than the rest, and name them."""
    turned = []
    settled = any(
        place.is_per_example and array.shape[0] != array.shape[1] and place.name != "a0"
        for place, array in found.items()
    )
    for place in [place for place in misfits if place.is_per_example and settled]:
        array = misfits[place].array
        if array is not None and array.ndim == 2 and array.T.shape == place.shape(net, *batch):
            found[place] = array.T
            del misfits[place]
            turned.append(place.symbol)
    return turned


def _read_off(
    update: Any, call: Call, place: Place, after: Any, error: Any, u: float
) -> tuple[Any, Any]:
    """The gradient (W − W′)/η, and what the rounding of an update does to it.

    W′ is stored once; W may be multiplied by a rounded 1 − ηλ before; η ∂C/∂W is some products.
    """
    before = np.asarray(call.params[place.layer - 1][0 if place.quantity == "dW" else 1])
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    eta = float(update.learning_rate) * (-1 if update.sign == "ascent" else 1)
    gradient = (before - after) / eta
    rounded = u * (3 * np.abs(before) + 2 * np.abs(after)) + (0 if error is None else error)
    return gradient, rounded / abs(eta) + 8 * u * np.abs(gradient)


def double(array: Any) -> Any:
    """In float64, unless it is a mask; on the host there is nothing to compile for that."""
    if array.dtype in (bool, jnp.float64):
        return array
    return np.asarray(array, np.float64) if on_host(array) else array.astype(jnp.float64)
