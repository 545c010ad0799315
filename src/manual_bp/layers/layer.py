"""What the pages of layers share: how arguments are read, and how JAX comes to use a page."""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.arrays import dtype_of, in_64_bits, read_array
from manual_bp.checks import Problems, real, shown
from manual_bp.equation import axes_of, check_axes
from manual_bp.surroundings import check_process, is_tracing, standard_promotion

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def by_hand(
    forward: Callable[..., Any], backward: Callable[..., Any], *, options: int = 0
) -> Callable[..., Any]:
    """What `forward` gives, which JAX differentiates by `backward`.

    Args:
        forward: (*arrays, *options) -> (output, kept), where `kept` is what the way back reads.
        backward: (*options, kept, cotangent) -> the gradient of each array, None where it has none.
        options: how many of the last arguments of `forward` are no arrays.
    """
    count = len(inspect.signature(forward).parameters)

    def output(*args: Any) -> Any:
        return forward(*args)[0]

    function = jax.custom_vjp(output, nondiff_argnums=tuple(range(count - options, count)))
    function.defvjp(forward, standard_promotion()(backward))
    return function


def layer(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Read the arrays, and check that they fit the shapes that the annotations state.

    Arrays may come in any form, whole numbers where real ones are asked for included. NaN and Inf
    stay what they are. Under `jit`, `grad` and `vmap` shapes are known, so all of this holds there.
    """
    signature, standard = inspect.signature(function), standard_promotion()(function)
    stated = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    axes = {name: found for name, type_ in stated.items() if (found := axes_of(type_))}
    is_real = {name: "float32" in _formats(type_) for name, type_ in stated.items()}

    @wraps(function)
    def boundary(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        check_process()
        bound, problems = signature.bind(*args, **kwargs), Problems()
        call, arrays = bound.arguments, {}
        for name, value in call.items():
            optional = value is None and signature.parameters[name].default is None
            if name in axes and not optional:
                arrays[name] = read_array(name, value, problems, traced=True)
        problems.raise_all()
        found = {name: given for name, given in arrays.items() if given is not None}
        for name, given in found.items():
            if not is_real[name] and not jnp.issubdtype(given.array.dtype, np.integer):
                problems.type(f"{name}: expected whole numbers, got dtype {given.array.dtype}")
        check_axes(axes, found, None, problems)
        problems.raise_all()
        first, *others = (given for name, given in found.items() if is_real[name])
        dtype = dtype_of([first], others)
        traced = any(isinstance(given.array, jax.core.Tracer) for given in found.values())
        with in_64_bits(None if traced or is_tracing() else dtype) as handed_back:
            for name, given in found.items():
                array = given.of(dtype) if is_real[name] else given.array
                call[name] = jnp.asarray(array)
            result: Result = handed_back(standard(*bound.args, **bound.kwargs))
            return result

    return boundary


def _formats(type_: Any) -> Iterator[str]:
    """The formats that an annotation admits."""
    for one in (type_, *get_args(type_)):
        yield from getattr(one, "dtypes", ())


def wide(*arrays: Any) -> Any:
    """The arrays in the format that sums are kept in: float32, or float64 where one of them has it.

    Bfloat16 and float16 are too coarse to add up many terms.
    """
    dtype = jnp.result_type(np.float32, *arrays)
    return tuple(array.astype(dtype) for array in arrays)


def number(argument: str, value: Any, least: float, below: float = np.inf) -> float:
    """The value as a float; an error where it is no real number from `least` to `below`."""
    found, problems = real(value), Problems()
    if found is None or not least <= found < below:
        limits = f"≥ {least:g}" + (f" and < {below:g}" if below < np.inf else "")
        problems.value(f"{argument}: expected a number {limits}, got {shown(value)}")
    problems.raise_all()
    return float(found or 0)


def known(argument: str, array: jax.Array, n: int, of: str) -> None:
    """An error where whole numbers that are known are not from 0 to n − 1."""
    if isinstance(array, jax.core.Tracer):
        return
    numbers = np.asarray(array)
    least, most = numbers.min(), numbers.max()
    if least < 0 or most >= n:
        problems = Problems()
        problems.value(f"{argument}: expected {of}, 0 to {n - 1}, got {least} to {most}")
        problems.raise_all()
