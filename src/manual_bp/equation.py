"""One equation's arguments, held against the shapes that it states, before it is computed."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Shaped, jaxtyped

from manual_bp.arrays import Given, cast, dtype_of, in_64_bits, read_array
from manual_bp.calls import check_network
from manual_bp.checks import Problems, whole_number
from manual_bp.meshes import distinct, on_auto_axes, spec_of
from manual_bp.network import MAX_AXIS, Network
from manual_bp.surroundings import check_process, standard_promotion
from manual_bp.text import listed

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def equation(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check that the arguments fit each other, then compute the step.

    Axes of one name must be of one length; `*m` is the batch axis, or none; of a network, n is the
    width of the output. Arrays may come in any form, and take the format of the first; NaN and Inf
    stay what they are.
    """
    signature, standard = inspect.signature(step), standard_promotion()(step)
    stated = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    axes = {name: found for name, type_ in stated.items() if (found := axes_of(type_))}

    def on_mesh(bound: inspect.BoundArguments) -> Result:
        names = [name for name in bound.arguments if name in axes]

        def of_arrays(*arrays: Any) -> Result:
            bound.arguments.update(zip(names, arrays, strict=True))
            return standard(*bound.args, **bound.kwargs)

        def lies(*arrays: Any) -> Any:
            return _result_spec(axes_of(signature.return_annotation), axes, names, arrays)

        return on_auto_axes(of_arrays, lies, *(bound.arguments[name] for name in names))

    @wraps(step)
    def boundary(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        check_process()
        bound = signature.bind(*args, **kwargs)
        call, problems = bound.arguments, Problems()
        if "net" in call:
            check_network(call["net"])
        if "m" in call:
            whole_number("m", call["m"], 1, problems, most=MAX_AXIS)
        read = {
            name: read_array(name, value, problems, traced=True)
            for name, value in call.items()
            if name in axes and not (value is None and type(None) in get_args(stated[name]))
        }
        problems.raise_all()
        arrays = {name: given for name, given in read.items() if given is not None}
        check_axes(axes, arrays, call.get("net"), problems)
        problems.raise_all()
        first, *others = arrays.values()
        dtype = dtype_of([first], others)
        if any(isinstance(given.array, jax.core.Tracer) for given in arrays.values()):
            call.update({name: given.of(dtype) for name, given in arrays.items()})
            return on_mesh(bound)
        with in_64_bits(dtype) as handed_back:
            call.update(
                {name: jnp.asarray(cast(given.array, dtype)) for name, given in arrays.items()}
            )
            result: Result = handed_back(on_mesh(bound))
            return result

    return boundary


def axes_of(type_: Any) -> str:
    """The names of an array's axes, as its annotation states them; nothing for another type."""
    return next((t.dim_str for t in (type_, *get_args(type_)) if hasattr(t, "dim_str")), "")


def _result_spec(
    result: str, axes: Mapping[str, str], names: list[str], arrays: tuple[Any, ...]
) -> PartitionSpec:
    """Each axis of the result lies as the axis of its name does in the arguments."""
    lies: dict[str, Any] = {}
    for name, array in zip(names, arrays, strict=True):
        if array is not None:
            stated = axes[name].split()[-array.ndim :]  # without *m of one example
            for axis, entry in zip(stated, spec_of(array), strict=True):
                lies[axis] = lies.get(axis) or entry
    return distinct(*(lies[axis] for axis in result.split() if axis in lies))


def check_axes(
    axes: Mapping[str, str],
    arrays: Mapping[str, Given],
    net: Network | None,
    problems: Problems,
) -> None:
    """A problem for each array whose axes are not as long as those of the arrays before it.

    `*m` is one axis or none, another name with a star any number of axes.
    """
    before: list[str] = []
    with jaxtyped("context"):  # in which an axis keeps the length that it was first seen with
        if net is not None:
            _fits(np.empty(net.sizes[-1]), "n")
            before.append(f"{net.sizes[-1]} output neurons")
        for name, given in arrays.items():
            shape, stated = given.array.shape, axes[name].split()
            known_rank = "*m" not in stated or len(shape) <= 2
            if 0 not in shape and known_rank and _fits(given.array, axes[name]):
                before.append(f"{name} of shape {shape}")
                continue
            expected = f"({', '.join(stated).replace('*m', 'm')}{',' * (len(stated) == 1)})"
            if stated[0] == "*m":
                expected += f", or ({', '.join(stated[1:])},) for one example"
            beside = f" beside {listed(before)}" if before else ""
            problems.value(f"{name}: expected shape {expected}{beside}, got {shape}")


def _fits(array: Any, axes: str) -> bool:
    type_: Any = Shaped[Any, axes]
    return isinstance(array, type_)
