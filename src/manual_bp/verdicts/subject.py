"""What is to be judged: a function or a record, read into arrays by place."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.calls import on_host
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, Place, named_places
from manual_bp.rounding.arithmetic import Arithmetic, arithmetic_of
from manual_bp.witnesses.numerical import numerical, numerical_with_error

Function = Callable[[Network, Params, Any, Any], Backprop]


class Shown(NamedTuple):
    """What a subject gives at one place, a batch as rows.

    Attributes:
        value: the array.
        valid: True where a value is given; None where all are. The rest is untested.
        error: the maker's own statement of how far a value may be off; None where it makes none.
    """

    value: Any
    valid: Any = None
    error: Any = None


class Misfit(NamedTuple):
    """An array that has no place in the record: its shape, and why."""

    shape: tuple[int, ...]
    note: str


class Subject(NamedTuple):
    """A record, ready to be judged.

    Attributes:
        name: how reports call it.
        shown: what it gives, by place.
        misfits: the arrays that do not fit, by the place they were given for.
        arithmetic: how its numbers were rounded.
    """

    name: str
    shown: dict[Place, Shown]
    misfits: dict[Place, Misfit]
    arithmetic: Arithmetic

    def in_float64(self, place: Place) -> Shown | None:
        """What it gives at a place, as NumPy arrays of float64."""
        if place not in self.shown:
            return None
        with jax.enable_x64(True):
            shown: Shown = jax.device_get(jax.tree.map(double, self.shown[place]))
        return shown


def record_of(
    argument: str, source: Any, batch: tuple[Any, ...], precision: str | None
) -> tuple[Backprop, Backprop | None]:
    """What a function gives for (net, params, x, y), with its own error; or a record as it is."""
    record, error = source, None
    if callable(source):
        with jax.default_matmul_precision(precision or "highest"):
            if source is numerical:
                record, error = numerical_with_error(*batch)
            else:
                record = source(*batch)
    if not isinstance(record, Backprop):
        what = "it to return a Backprop" if callable(source) else "a function or a Backprop"
        raise TypeError(f"{argument}: expected {what}, got {type(record).__name__}")
    return record, error


def read_subject(
    argument: str, source: Function | Backprop, batch: tuple[Any, ...], precision: str | None
) -> Subject:
    """A function run on (net, params, x, y), or a record as it is, ready to be judged."""
    net, params, x, _ = batch
    record, error = record_of(argument, source, batch, precision)
    arrays, misfits = in_place(net, x.shape[:-1], record)
    errors = {} if error is None else in_place(net, x.shape[:-1], error)[0]
    shown = {
        place: Shown(
            np.ma.getdata(array) if np.ma.isMaskedArray(array) else array,
            ~np.ma.getmaskarray(array) if np.ma.is_masked(array) else None,
            np.ma.getdata(errors[place]) if place in errors else None,
        )
        for place, array in arrays.items()
    }
    if callable(source):
        name, precision = getattr(source, "__name__", "a function"), precision or "highest"
    else:
        name = "a record"
    return Subject(name, shown, misfits, _arithmetic(arrays, params[0][0].dtype, precision))


def _arithmetic(arrays: dict[Place, Any], given: Any, precision: str | None) -> Arithmetic:
    """What its numbers are good for: the parameters' format, or its own finest if coarser."""
    finest = min((array.dtype for array in arrays.values()), key=_coarseness, default=given)
    dtype = max(given, finest, key=_coarseness)
    made_by_jax = [array for array in arrays.values() if isinstance(array, jax.Array)]
    platform = next(iter(made_by_jax[0].devices())).platform if made_by_jax else "numpy"
    arithmetic = arithmetic_of(dtype.name, precision=precision, platform=platform)
    if dtype != given:  # it has read x and the parameters in its own format
        u = arithmetic.u
        arithmetic = arithmetic._replace(reading=u, product=max(u, arithmetic.product))
    return arithmetic


def _coarseness(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def in_place(
    net: Network, batch: tuple[int, ...], record: Backprop
) -> tuple[dict[Place, Any], dict[Place, Misfit]]:
    """The record's arrays by place, each as a batch, and those that do not fit."""
    arrays: dict[Place, Any] = {}
    misfits: dict[Place, Misfit] = {}
    record, of_layers = _as_tuples(net, record)
    misfits |= of_layers
    for place in named_places(net).values():
        array = record.at(place)
        if array is None:
            continue
        if not hasattr(array, "dtype"):
            try:
                array = np.asarray(array)
            except ValueError:  # nested lists of unequal lengths
                array = np.asarray(None)
        expected = place.shape(net, *batch)
        if array.shape != expected:
            misfits[place] = Misfit(array.shape, f"expected shape {expected}, got {array.shape}")
        elif not jnp.issubdtype(array.dtype, jnp.floating):
            note = f"expected real floating-point numbers, got dtype {array.dtype}"
            misfits[place] = Misfit(array.shape, note)
        else:
            arrays[place] = array.reshape(-1, expected[-1]) if place.is_per_example else array
    return arrays, misfits


def _as_tuples(net: Network, record: Backprop) -> tuple[Backprop, dict[Place, Misfit]]:
    """The record with a tuple of the right length for each quantity that has one, else None."""
    misfits = {}
    last = {place.quantity: place for place in named_places(net).values()}
    count = {q: sum(place.quantity == q for place in named_places(net).values()) for q in last}
    for quantity, place in last.items():
        given = getattr(record, quantity)
        if quantity == "cost" or given is None:
            continue
        arrays = tuple(given) if np.iterable(given) else None
        if arrays is None or len(arrays) != count[quantity]:
            got = type(given).__name__ if arrays is None else len(arrays)
            note = f"expected {count[quantity]} arrays, one a layer, got {got}"
            misfits[place], arrays = Misfit((), note), None
        record = record._replace(**{quantity: arrays})
    return record, misfits


def double(array: Any) -> Any:
    """In float64, unless it is a mask; on the host there is nothing to compile for that."""
    if array.dtype in (bool, jnp.float64):
        return array
    return np.asarray(array, np.float64) if on_host(array) else array.astype(jnp.float64)
