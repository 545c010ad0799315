"""What a network is: Network, Layer, init, and the checks on what a caller hands in."""

import difflib
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from manual_bp.activations import ACTIVATIONS, Activation
from manual_bp.costs import COSTS, Cost

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Layer(NamedTuple):
    """Weights and biases of one layer; also their gradients.

    Attributes:
        W: (n_l, n_{l-1}); W[j, k] joins neuron k of layer l-1 to neuron j of layer l.
        b: (n_l,).
    """

    W: Float[Array, "n n_prev"]
    b: Float[Array, " n"]


Params = tuple[Layer, ...] | list[Layer]


@dataclass(frozen=True)
class Network:
    """A fully connected network: its sizes, its activations, its cost; no numbers of its own.

    Args:
        sizes: n_0, n_1, …, n_L: the width of the input and of each layer.
        activations: σ of each layer 1…L, by name or as an `Activation`.
        cost: C, by name or as a `Cost`; the mean over the examples of a batch.
        l2: adds l2/2 · Σ‖W‖² to C; biases are not penalised.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and the fix.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((64, 32, 10), ("tanh", "softmax"), "cross_entropy")
        >>> [layer.W.shape for layer in net.init(jax.random.key(0))]
        [(32, 64), (10, 32)]
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    cost: Cost
    l2: float = 0.0

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[str | Activation],
        cost: str | Cost,
        l2: float = 0.0,
    ) -> None:
        problems = Problems()
        sizes = _sizes(sizes, problems)
        activations = _activations(activations, problems)
        cost = _lookup("cost", cost, Cost, COSTS, problems)
        if sizes and activations and len(activations) != len(sizes) - 1:
            problems.value(
                f"activations: expected one for each of the {len(sizes) - 1} layers after the "
                f"input, got {len(activations)}"
            )
        if isinstance(cost, Cost) and activations:
            _go_together(activations[-1], cost, problems)
        if isinstance(l2, bool) or not isinstance(l2, (int, float, np.floating)):
            problems.type(f"l2: expected a number ≥ 0, got {l2!r}")
        elif not 0 <= l2 < math.inf:
            problems.value(f"l2: expected a finite number ≥ 0, got {l2!r}")
        problems.raise_all()
        for name, value in (
            ("sizes", sizes),
            ("activations", activations),
            ("cost", cost),
            ("l2", float(l2)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = ", ".join(repr(activation.name) for activation in self.activations)
        penalty = f", l2={self.l2!r}" if self.l2 else ""
        return f"Network({self.sizes}, ({names},), {self.cost.name!r}{penalty})"

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        names = [activation.name for activation in self.activations]
        if len(set(names[:-1])) == 1:
            names = [names[0], names[-1]]
        penalty = f" + {self.l2:g}/2·‖W‖²" if self.l2 else ""
        return f"{sizes} {'/'.join(names)}/{self.cost}{penalty}"

    @property
    def depth(self) -> int:
        """L, the number of layers that have weights."""
        return len(self.sizes) - 1

    @property
    def layers(self) -> range:
        """l = 1…L, as the equations count them."""
        return range(1, self.depth + 1)

    def sigma(self, l: int) -> Activation:
        """The activation of layer l = 1…L."""
        return self.activations[l - 1]

    def init(self, key: Array, dtype: Any = jnp.float32) -> Params:
        """Random weights by the standard initialisation for each activation; zero biases.

        Glorot's uniform one, of variance 2/(n_{l-1} + n_l), for identity, sigmoid, tanh and
        softmax; He's normal one, of variance 2/n_{l-1}, for the ReLU family.

        Args:
            key: a key of `jax.random.key`.
            dtype: float16, bfloat16, float32 or float64.

        Returns:
            One `Layer(W, b)` for each layer 1…L.

        Source: Glorot and Bengio, AISTATS 2010, eq. 16; He et al., ICCV 2015, eq. 10.
        """
        problems = Problems()
        dtype = _dtype("dtype", dtype, problems)
        problems.raise_all()
        params = []
        for l, key_l in zip(self.layers, jax.random.split(key, self.depth), strict=True):
            initializer = {
                "glorot": jax.nn.initializers.glorot_uniform,
                "he": jax.nn.initializers.he_normal,
            }[self.sigma(l).init](in_axis=-1, out_axis=-2)
            W = initializer(key_l, (self.sizes[l], self.sizes[l - 1]), dtype)
            params.append(Layer(W, jnp.zeros(self.sizes[l], dtype)))
        return tuple(params)


class Problems:
    """Everything that does not fit, collected so that one error names it all."""

    def __init__(self) -> None:
        self.found: list[TypeError | ValueError] = []

    def type(self, message: str) -> None:
        """Note an argument of a wrong type."""
        self.found.append(TypeError(message))

    def value(self, message: str) -> None:
        """Note an argument of a wrong value."""
        self.found.append(ValueError(message))

    def raise_all(self) -> None:
        """Raise the one problem, or one error that lists them all; nothing where all is well."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise self.found[0]
        kind = TypeError if all(isinstance(p, TypeError) for p in self.found) else ValueError
        lines = "".join(f"\n  - {problem}" for problem in self.found)
        raise kind(f"{len(self.found)} things do not fit:{lines}")


def nearest(name: str, names: Iterable[str]) -> str:
    """': did you mean …?' where a known name is near, and the names there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names)}"


def check_call(net: Network, params: Any, x: Any, *y: Any) -> None:
    """Raise one error that names all that does not fit in a call `(net, params, x[, y])`.

    Shapes, dtypes and structure are checked always; the numbers (finite, targets in range) where
    they are known, that is outside `jit`, `grad` and `vmap`.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a manual_bp.Network, got {_kind(net)}")
    problems = Problems()
    arrays = _params(net, params, problems) | _batch(net, x, y, problems)
    _one_dtype(arrays, problems)
    if not problems.found:
        _numbers(net, arrays, problems)
    problems.raise_all()


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


def _kind(value: Any) -> str:
    return type(value).__name__


def _sizes(sizes: Any, problems: Problems) -> tuple[int, ...]:
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        problems.type(f"sizes: expected a sequence of widths such as (64, 32, 10), got {sizes!r}")
        return ()
    widths = tuple(sizes)
    for i, width in enumerate(widths):
        try:
            fits = not isinstance(width, bool) and operator.index(width) > 0
        except TypeError:
            fits = False
        if not fits:
            problems.value(f"sizes[{i}]: expected a positive integer, got {width!r}")
            return ()
    if len(widths) < 2:
        problems.value(
            f"sizes: expected at least two, the input's width and one layer's, got {widths}"
        )
        return ()
    return tuple(map(operator.index, widths))


def _lookup(
    argument: str, value: Any, kind: type, known: Mapping[str, Any], problems: Problems
) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, str):
        problems.type(
            f"{argument}: expected a name or a manual_bp.{kind.__name__}, got {_kind(value)}"
        )
    elif value in known:
        return known[value]
    else:
        problems.value(f"{argument}: unknown name {value!r}; {nearest(value, known)}")
    return None


def _activations(activations: Any, problems: Problems) -> tuple[Activation, ...]:
    if isinstance(activations, (str, Activation)) or not isinstance(activations, Iterable):
        problems.type(
            f"activations: expected one for each layer, such as ('tanh', 'softmax'), "
            f"got {activations!r}"
        )
        return ()
    found = [
        _lookup(f"activations[{i}]", name, Activation, ACTIVATIONS, problems)
        for i, name in enumerate(activations)
    ]
    if not all(found):
        return ()
    for i, activation in enumerate(found[:-1]):
        if activation.name == "softmax":
            problems.value(
                f"activations[{i}]: softmax stands in a hidden layer; it goes with the output "
                f"layer alone, since it is no element-wise function"
            )
    return tuple(found)


def _go_together(output: Activation, cost: Cost, problems: Problems) -> None:
    if cost.output not in (None, output.name):
        problems.value(
            f"cost: {cost.name} goes with the output activation {cost.output}, got "
            f"{output.name}; take ({cost.output}, {cost.name}), or (any activation, quadratic)"
        )
    if cost.gradient is None and cost.delta is None:
        problems.value(f"cost: {cost.name} has neither a gradient ∇ₐC nor a delta; give one")


_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _dtype(argument: str, dtype: Any, problems: Problems) -> Any:
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in _FLOATS:
        problems.type(f"{argument}: expected one of {', '.join(_FLOATS)}, got {dtype!r}")
        return None
    if found.name == "float64" and jnp.result_type(float) != found:
        problems.value(
            f"{argument}: float64 asked for while JAX's 64-bit types are off; turn them on with "
            f"jax.config.update('jax_enable_x64', True) before anything else, or use float32"
        )
    return found


def _params(net: Network, params: Any, problems: Problems) -> dict[str, Any]:
    if not isinstance(params, (tuple, list)) or isinstance(params, Layer):
        problems.type(f"params: expected a tuple of {net.depth} Layer(W, b), got {_kind(params)}")
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
            problems.type(f"params, layer {l}: expected Layer(W, b), got {_kind(layer)}")
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
            f"{argument}: expected an array of floats, got {_kind(array)}; "
            f"pass jnp.asarray({argument[-1]}, dtype)"
        )
        return False
    if array.dtype.name not in _FLOATS:
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
        _dtype(argument, array.dtype, problems)
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


def _finite(array: Any) -> bool:
    if on_host(array):
        return bool(np.isfinite(np.asarray(array)).all())
    return bool(jnp.isfinite(array).all())


def on_host(array: Any) -> bool:
    """Whether NumPy can read an array where it lies; there it has nothing to compile."""
    return not isinstance(array, jax.Array) or all(d.platform == "cpu" for d in array.devices())
