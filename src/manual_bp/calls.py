"""What a caller hands in to (net, params, x, y): checked, then run as one compiled program."""

import inspect
import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.checks import FLOATS, Problems, jax_dtype, kind
from manual_bp.network import Layer, Network

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def check_call(net: Network, params: Any, x: Any, *y: Any) -> None:
    """Raise one error that names all that does not fit in a call `(net, params, x[, y])`.

    Shapes, dtypes and structure are checked always; the numbers (finite, targets in range) where
    they are known, that is outside `jit`, `grad` and `vmap`.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a manual_bp.Network, got {kind(net)}")
    problems = Problems()
    arrays = _params(net, params, problems) | _batch(net, x, y, problems)
    _one_dtype(arrays, problems)
    if not problems.found:
        _numbers(net, arrays, problems)
    problems.raise_all()


def examples(x: Any) -> int:
    """m, the number of examples in a batch of rows; 1 for one example without the batch axis."""
    return 1 if x.ndim == 1 else len(x)


def compiled(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check what the caller hands in, then run `step(net, params, x[, y])` as one XLA program."""
    program = jax.jit(step, static_argnums=0)
    signature = inspect.signature(step)

    @wraps(step)
    def boundary(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        call = signature.bind(*args, **kwargs).arguments.values()
        check_call(*call)
        return program(*call)

    return boundary


def compiled_update(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check that gradients fit params, then run `step(params, gradients, learning_rate)`."""
    program = jax.jit(step)

    @wraps(step)
    def boundary(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        call = inspect.signature(step).bind(*args, **kwargs).arguments
        params, gradients, eta = call["params"], call["gradients"], call["learning_rate"]
        expected, received = (
            jax.tree.map(lambda w: (jnp.shape(w), jnp.result_type(w)), tree)
            for tree in (params, gradients)
        )
        if expected != received:
            raise ValueError(
                f"gradients: expected the structure, shapes and dtypes of params, {expected}, "
                f"got {received}; pass those of value_and_grad(net)"
            )
        numeric = isinstance(eta, (int, float, np.number, np.ndarray, jax.Array))
        if (
            not numeric
            or jnp.shape(eta) != ()
            or jnp.result_type(eta) == jnp.bool_
            or jnp.issubdtype(jnp.result_type(eta), jnp.complexfloating)
        ):
            raise TypeError(f"learning_rate: expected one real number, got {eta!r}")
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return program(params, gradients, jnp.asarray(eta, dtype))

    return boundary


def _params(net: Network, params: Any, problems: Problems) -> dict[str, Any]:
    if not isinstance(params, (tuple, list)) or isinstance(params, Layer):
        problems.type(f"params: expected a tuple of {net.depth} Layer(W, b), got {kind(params)}")
        return {}
    if len(params) != net.depth:
        problems.value(
            f"params: expected a Layer(W, b) for each of the {net.depth} layers of {net}, "
            f"got {len(params)}"
        )
        return {}
    arrays = {}
    for l, layer in zip(net.layers, params, strict=True):
        if not isinstance(layer, (tuple, list)) or len(layer) != 2:
            problems.type(f"params, layer {l}: expected Layer(W, b), got {kind(layer)}")
            continue
        n, n_prev = net.sizes[l], net.sizes[l - 1]
        for name, array, shape in (("W", layer[0], (n, n_prev)), ("b", layer[1], (n,))):
            argument = f"params, layer {l}, {name}"
            if not _is_array(argument, array, problems):
                continue
            arrays[argument] = array
            if array.shape != shape:
                transposed = name == "W" and array.shape == shape[::-1]
                fix = "; W is (out, in): pass its transpose" if transposed else ""
                problems.value(f"{argument}: expected shape {shape}, got {array.shape}{fix}")
    return arrays


def _batch(net: Network, x: Any, y: tuple[Any, ...], problems: Problems) -> dict[str, Any]:
    arrays = {}
    for argument, array, n in zip("xy", (x, *y), (net.sizes[0], net.sizes[-1]), strict=False):
        if not _is_array(argument, array, problems):
            continue
        arrays[argument] = array
        if array.ndim not in (1, 2) or array.shape[-1] != n:
            fix = ""
            if array.ndim == 2 and array.shape[0] == n:
                fix = "; examples are rows: pass its transpose"
            problems.value(
                f"{argument}: expected shape (m, {n}), or ({n},) for one example, "
                f"got {array.shape}{fix}"
            )
        elif 0 in array.shape:
            problems.value(f"{argument}: expected at least one example, got shape {array.shape}")
    shapes = [array.shape for array in arrays.values() if array.ndim in (1, 2)]
    if len(shapes) == 2 and shapes[0][:-1] != shapes[1][:-1]:
        problems.value(
            f"x, y: expected as many examples in both, got shapes {shapes[0]} and {shapes[1]}"
        )
    return arrays


def _is_array(argument: str, array: Any, problems: Problems) -> bool:
    if not isinstance(array, (jax.Array, np.ndarray)):
        problems.type(
            f"{argument}: expected an array of floats, got {kind(array)}; "
            f"pass jnp.asarray({argument[-1]}, dtype)"
        )
        return False
    if array.dtype.name not in FLOATS:
        one_hot = argument == "y" and np.issubdtype(array.dtype, np.integer)
        fix = "jax.nn.one_hot(y, n_L)" if one_hot else f"{argument[-1]}.astype(jnp.float32)"
        problems.type(
            f"{argument}: expected real floating-point numbers, got dtype {array.dtype}; pass {fix}"
        )
        return False
    return True


def _one_dtype(arrays: dict[str, Any], problems: Problems) -> None:
    for argument, array in arrays.items():
        before = len(problems.found)
        jax_dtype(argument, array.dtype, problems)
        if len(problems.found) > before:
            return
    dtypes = {argument: array.dtype.name for argument, array in arrays.items()}
    expected = next(iter(dtypes.values()), None)
    for argument, dtype in dtypes.items():
        if dtype != expected:
            problems.type(
                f"{argument}: expected {expected} like {next(iter(dtypes))}, got {dtype}; nothing "
                f"is converted silently: pass {argument[-1]}.astype({expected!r})"
            )


def _numbers(net: Network, arrays: dict[str, Any], problems: Problems) -> None:
    if any(isinstance(array, jax.core.Tracer) for array in arrays.values()):
        return
    for argument, array in arrays.items():
        if not _finite(array):
            problems.value(
                f"{argument}: expected finite numbers, got NaN or Inf; "
                f"find them with jnp.isfinite({argument[-1]})"
            )
    least, greatest = net.cost.targets
    if "y" in arrays and (least, greatest) != (-math.inf, math.inf):
        targets = np.asarray(arrays["y"])
        low, high = float(targets.min()), float(targets.max())
        if low < least or high > greatest:
            problems.value(
                f"y: {net.cost} expects targets from {least} to {greatest}, got from {low:g} to "
                f"{high:g}; for classes pass one-hot rows"
            )
        elif net.cost.family == "hinge" and (np.abs(targets) != 1).any():
            problems.value(
                f"y: {net.cost} expects the targets -1 and 1, got others from {low:g} to {high:g}; "
                f"of targets 0 and 1 pass 2 * y - 1"
            )
        elif net.cost.family == "cross_entropy" and high == 0:
            problems.value(
                f"y: {net.cost} expects a class in one row at least, got zeros alone, whose cost "
                f"and gradients are 0; pass one-hot rows"
            )


def _finite(array: Any) -> bool:
    if on_host(array):
        return bool(np.isfinite(np.asarray(array)).all())
    return bool(jnp.isfinite(array).all())


def on_host(array: Any) -> bool:
    """Whether NumPy can read an array where it lies; there it has nothing to compile."""
    return not isinstance(array, jax.Array) or all(d.platform == "cpu" for d in array.devices())
