"""What a caller hands in to (net, params, x, y): read, checked, then run as one compiled program.

People have lists, NumPy arrays, DataFrames, tensors, labels. They are read here, for every public
function alike: what they mean for certain is taken, and what they may mean is asked.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.arrays import Given, cast, check_finite, dtype_of, in_64_bits, read_array
from manual_bp.checks import Problems, kind, real, shown
from manual_bp.meshes import like, on_auto_axes, record_specs
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop
from manual_bp.surroundings import WORKS_ON_VALUES, check_process, is_tracing, standard_promotion

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", covariant=True)


class Call(NamedTuple):
    """The arguments of a call, as arrays of the shapes that the network asks for.

    Attributes:
        net: the network.
        params: as they came, lists and tuples alike, with arrays in place of what they held.
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,); None where the call has none.
    """

    net: Network
    params: Params
    x: Any
    y: Any = None

    @property
    def dtype(self) -> Any:
        """The format of the parameters, in which all is computed."""
        return self.params[0][0].dtype

    def in_one_dtype(self) -> "Call":
        """The same with x and y in the dtype of the parameters."""
        x, y = (cast(array, self.dtype) for array in (self.x, self.y))
        return self._replace(x=x, y=y)


def read_call(net: Network, params: Any, x: Any, *y: Any, traced: bool = False) -> Call:
    """The arguments of a call `(net, params, x[, y])`, or one error that names all that is wrong.

    Shapes, dtypes and structure are checked always; the numbers (finite, targets in range) where
    they are known, that is outside `jit`, `grad` and `vmap`. These are refused unless `traced`.
    """
    layers, rows = read_inputs(net, params, x, *y, traced=traced)
    if not traced and is_tracing():
        raise TypeError(f"net, params, x{', y' * len(y)}: {WORKS_ON_VALUES}")
    problems = Problems()
    dtype = dtype_of([*(array for layer in layers for array in layer if array is not None)], rows)
    _one_dtype(layers, problems)
    call = Call(net, _in_containers(params, layers, dtype), *(array.of(dtype) for array in rows))
    if not problems.found:
        _numbers(call, problems)
    problems.raise_all()
    return call


def read_inputs(
    net: Network, params: Any, x: Any, *y: Any, traced: bool = False
) -> tuple[list[list[Given | None]], list[Given]]:
    """(W, b) of each layer, and x and y as rows, each in the format in which it came."""
    check_process()
    check_network(net)
    problems = Problems()
    layers = _params(net, params, traced, problems)
    rows = _batch(net, x, y, traced, problems)
    problems.raise_all()
    return layers, rows


def read_params(net: Network, params: Any) -> Params:
    """Parameters of a network that are known and finite, as arrays of one format."""
    check_network(net)
    problems = Problems()
    layers = _params(net, params, False, problems)
    problems.raise_all()
    _one_dtype(layers, problems)
    problems.raise_all()
    dtype = dtype_of([array for layer in layers for array in layer if array is not None])
    read = _in_containers(params, layers, dtype)
    for argument, array in _named(read):
        check_finite(argument, array, problems)
    problems.raise_all()
    return read


def _named(params: Params) -> Iterator[tuple[str, Any]]:
    """The arrays of parameters, by their names in messages."""
    for l, layer in enumerate(params, start=1):
        for name, array in zip("Wb", layer, strict=True):
            if array is not None:
                yield f"params, layer {l}, {name}", array


def check_network(net: Any) -> None:
    """Raise an error where this is no network."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a manual_bp.Network, got {shown(net)}")


def _in_containers(params: Any, layers: list[list[Given | None]], dtype: Any) -> Any:
    """What was read of parameters, in the containers in which they came."""

    def layer_like(came: Any, pair: list[Given | None]) -> Any:
        arrays = [None if given is None else given.of(dtype) for given in pair]
        return type(came)(arrays) if type(came) in (tuple, list) else Layer(*arrays)

    container = tuple if isinstance(params, tuple) else list
    return container(map(layer_like, params, layers))


def examples(x: Any) -> int:
    """m, the number of examples in a batch of rows; 1 for one example without the batch axis."""
    return 1 if x.ndim == 1 else len(x)


class OfBatch(Protocol[Result]):
    """What a caller sees of a step (net, params, x, y): arrays may come in any form."""

    def __call__(self, net: Network, params: Params, x: Any, y: Any) -> Result:
        """Its result, in JAX's arrays; in NumPy's of float64 where JAX's 64-bit types are off."""


class OfInputs(Protocol[Result]):
    """What a caller sees of a step (net, params, x)."""

    def __call__(self, net: Network, params: Params, x: Any) -> Result:
        """Its result, in JAX's arrays."""


class Compiling(Protocol):
    """A decorator of steps (net, params, x, y) and (net, params, x)."""

    @overload
    def __call__(
        self, step: Callable[[Network, Params, jax.Array, jax.Array], Result]
    ) -> OfBatch[Result]: ...
    @overload
    def __call__(
        self, step: Callable[[Network, Params, jax.Array], Result]
    ) -> OfInputs[Result]: ...


def compiled_giving(part: Callable[[Backprop, Params], Any]) -> Compiling:
    """Read what the caller hands in, then run `step(net, params, x[, y])` as one XLA program.

    Its result is a part of a backward pass's record, or of params, and lies on a mesh as that does.
    """

    def lies(params: Params, x: Any, *_: Any) -> Any:
        return part(record_specs(params, x), like(params))

    def compiling(step: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(step)

        @wraps(step)
        @standard_promotion()
        def in_jax(net: Network, *arrays: Any) -> Any:
            arrays = jax.tree.map(jnp.asarray, arrays)  # NumPy's, with jit turned off
            return on_auto_axes(partial(step, net), lies, *arrays)

        program = jax.jit(in_jax, static_argnums=0)

        @wraps(step)
        def boundary(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments.values()
            call = read_call(*given, traced=True).in_one_dtype()
            with in_64_bits(call.dtype) as handed_back:
                return handed_back(program(*call[: len(given)]))

        return boundary

    return compiling


compiled = compiled_giving(lambda record, _: record)
"""For a step that gives the record of a backward pass."""


def compiled_update(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check that gradients fit params, then run `step(params, gradients, learning_rate)`."""

    def in_jax(params: Any, *others: Any) -> Any:
        return on_auto_axes(step, lambda params, *_: like(params), params, *others)

    program = jax.jit(standard_promotion()(in_jax))

    @wraps(step)
    def boundary(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        check_process()
        call = inspect.signature(step).bind(*args, **kwargs).arguments
        params, gradients, eta = call["params"], call["gradients"], call["learning_rate"]
        params, dtype = _read_layers("params", params)
        gradients, _ = _read_layers("gradients", gradients, dtype)
        expected, received = map(_described, (params, gradients))
        if expected != received:
            raise ValueError(
                f"gradients: expected the structure, shapes and dtypes of params, {expected}, "
                f"got {received}; pass those of value_and_grad(net)"
            )
        if isinstance(eta, jax.core.Tracer):
            fits = eta.shape == () and jnp.issubdtype(eta.dtype, np.number)
            fits = fits and not jnp.iscomplexobj(eta)
        else:
            fits = (number := real(eta)) is not None
            if fits and not np.isfinite(cast(np.asarray(number), dtype)):
                raise ValueError(f"learning_rate: expected a finite {dtype}, got {shown(eta)}")
        if not fits:
            raise TypeError(f"learning_rate: expected one real number, got {shown(eta)}")
        with in_64_bits(dtype) as handed_back:
            result: Result = handed_back(program(params, gradients, jnp.asarray(eta, dtype)))
            return result

    return boundary


def _read_layers(argument: str, layers: Any, dtype: Any = None) -> tuple[Any, Any]:
    """A (W, b) for each layer, as arrays in the same containers; and their dtype."""
    problems = Problems()
    pairs = isinstance(layers, (tuple, list)) and all(
        isinstance(layer, (tuple, list)) and len(layer) == 2 for layer in layers
    )
    if not pairs or isinstance(layers, Layer):
        raise TypeError(f"{argument}: expected a Layer(W, b) for each layer, got {kind(layers)}")
    given = [
        _read_pair(f"{argument}, layer {l}", layer, True, problems)
        for l, layer in enumerate(layers, start=1)
    ]
    problems.raise_all()
    if dtype is None:
        dtype = dtype_of([array for layer in given for array in layer if array is not None])
    read = _in_containers(layers, given, dtype)
    for name, array in _named(read):
        check_finite(name.replace("params", argument), array, problems)
    problems.raise_all()
    return read, dtype


def _read_pair(argument: str, layer: Any, traced: bool, problems: Problems) -> list[Given | None]:
    """W and b of a layer; None for what is None or no array."""
    return [
        read_array(f"{argument}, {name}", array, problems, traced=traced)
        if array is not None or name == "W"
        else None
        for name, array in zip("Wb", layer, strict=True)
    ]


def _described(layers: Any) -> str:
    """The containers, shapes and dtypes of parameters."""

    def of(array: Any) -> str:
        return "None" if array is None else f"{array.dtype}{list(array.shape)}"

    parts = (f"{kind(layer)}({', '.join(map(of, layer))})" for layer in layers)
    return f"{kind(layers)}({', '.join(parts)})"


def _params(
    net: Network, params: Any, traced: bool, problems: Problems
) -> list[list[Given | None]]:
    if not isinstance(params, (tuple, list)) or isinstance(params, Layer):
        problems.type(f"params: expected a tuple of {net.depth} Layer(W, b), got {kind(params)}")
        return []
    if len(params) != net.depth:
        problems.value(
            f"params: expected a Layer(W, b) for each of the {net.depth} layers of {net}, "
            f"got {len(params)}"
        )
        return []
    found = []
    for l, layer in zip(net.layers, params, strict=True):
        if not isinstance(layer, (tuple, list)) or len(layer) != 2:
            problems.type(
                f"params, layer {l}: expected Layer(W, b), or Layer(W, None) for no biases, "
                f"got {kind(layer)}"
            )
            continue
        W, b = _read_pair(f"params, layer {l}", layer, traced, problems)
        n, shape = net.sizes[l], (net.sizes[l], net.sizes[l - 1])
        if W is not None and W.array.shape != shape:
            fix = "; W is (out, in): pass its transpose" if W.array.shape == shape[::-1] else ""
            problems.value(
                f"params, layer {l}, W: expected shape {shape}, got {W.array.shape}{fix}"
            )
        if b is not None and b.array.shape in ((n, 1), (1, n)):
            b = b._replace(array=b.array.reshape(n))
        if b is not None and b.array.shape != (n,):
            problems.value(f"params, layer {l}, b: expected shape ({n},), got {b.array.shape}")
        found.append([W, b])
    return found


def _one_dtype(layers: list[list[Given | None]], problems: Problems) -> None:
    """A problem for each array of the parameters that is of another format than the first."""
    names = [(f"params, layer {l}, {n}", array)
             for l, layer in enumerate(layers, start=1)
             for n, array in zip("Wb", layer, strict=True)
             if array is not None and array.has_dtype]  # fmt: skip
    for argument, given in names:
        first, expected = names[0][0], names[0][1].array.dtype
        if given.array.dtype.name != expected.name:
            problems.type(
                f"{argument}: expected {expected} like {first}, got {given.array.dtype}; "
                f"parameters are of one format: pass {argument[-1]}.astype({expected.name!r})"
            )


def _batch(
    net: Network, x: Any, y: tuple[Any, ...], traced: bool, problems: Problems
) -> list[Given]:
    """x and y as rows, or as one example without its axis."""
    n_0, n_L = net.sizes[0], net.sizes[-1]
    inputs = read_array("x", x, problems, traced=traced)
    targets = read_array("y", y[0], problems, traced=traced) if y else None
    if inputs is None or (y and targets is None):
        return []
    if inputs.array.ndim == 1 and n_0 == 1 and inputs.array.size > 1:
        inputs = inputs.turned(lambda x: x[:, None])  # one number an example
    x_fits = _check_rows("x", inputs.array.shape, n_0, problems)
    if targets is None:
        return [inputs]
    if x_fits:
        before = len(problems.found)
        targets = _targets(net, inputs.array.shape, targets, problems)
        if len(problems.found) > before:
            return []
    y_fits = _check_rows("y", targets.array.shape, n_L, problems)
    shapes = [inputs.array.shape, targets.array.shape]
    if x_fits and y_fits and shapes[0][:-1] != shapes[1][:-1]:
        problems.value(
            f"x, y: expected as many examples in both, got shapes {shapes[0]} and {shapes[1]}"
        )
    return [inputs, targets]


def _check_rows(argument: str, shape: tuple[int, ...], n: int, problems: Problems) -> bool:
    if len(shape) not in (1, 2) or shape[-1] != n:
        fix = "; examples are rows: pass its transpose" if shape[:1] == (n,) != shape[1:] else ""
        problems.value(
            f"{argument}: expected shape (m, {n}), or ({n},) for one example, got {shape}{fix}"
        )
    elif 0 in shape:
        problems.value(f"{argument}: expected at least one example, got shape {shape}")
    else:
        return True
    return False


def _targets(net: Network, x: tuple[int, ...], y: Given, problems: Problems) -> Given:
    """Targets as rows, where what they are is certain: a column, or the numbers of classes."""
    n, shape = net.sizes[-1], y.array.shape
    examples = x[:-1]  # () for one example without its axis
    if shape == (*examples, n):
        return y
    if shape == examples or shape == (*examples, 1):  # one number an example
        if n == 1:
            return y.turned(lambda y: y.reshape(*examples, 1))
        if _are_whole(y.array):
            if net.cost.output == "softmax":
                return _one_hot(y.turned(lambda y: y.reshape(examples)), n, problems)
            problems.value(
                f"y: expected shape {(*examples, n)}, got {shape}; if these are the numbers of "
                f"classes, pass one-hot rows: jax.nn.one_hot(y, {n})"
            )
        else:
            problems.value(
                f"y: expected {n} targets for each example, shape {(*examples, n)}, got {shape}"
            )
    elif examples == (1,) and shape == (n,):
        return y.turned(lambda y: y[None])
    return y


def _are_whole(y: Any) -> bool:
    if y.dtype.kind in "biu":
        return True
    if isinstance(y, jax.core.Tracer):
        return False
    y = np.asarray(y)
    return bool((np.isfinite(y) & (y == np.round(y))).all())


def _one_hot(labels: Given, n: int, problems: Problems) -> Given:
    """A row for each class number; a problem for a number that is no class."""
    y = labels.array
    if isinstance(y, jax.core.Tracer):
        return labels.turned(lambda y: jax.nn.one_hot(y, n))
    y = np.asarray(y)
    if y.size and not 0 <= y.min() <= y.max() < n:
        least, greatest = float(y.min()), float(y.max())
        from_one = least == 1 and greatest == n
        fix = (
            "they count from 1: pass y - 1" if from_one else f"give the network {greatest + 1:.0f}"
        )
        fix = "number the classes from 0" if least < 0 else fix
        problems.value(
            f"y: expected the numbers of {n} classes, 0 to {n - 1}, got {least:.0f} to "
            f"{greatest:.0f}; {fix}"
        )
        return labels
    return labels._replace(array=np.eye(n)[y.astype(int)], has_dtype=False)


def _numbers(call: Call, problems: Problems) -> None:
    arrays = dict(_named(call.params)) | {"x": call.x, "y": call.y}
    if any(isinstance(array, jax.core.Tracer) for array in arrays.values()):
        return
    for argument, array in arrays.items():
        check_finite(argument, array, problems)
    (least, greatest), cost = call.net.cost.targets, call.net.cost
    if call.y is not None and (least, greatest) != (-math.inf, math.inf):
        targets = np.asarray(call.y)
        low, high = float(targets.min()), float(targets.max())
        if low < least or high > greatest:
            fix = "; for classes pass one-hot rows" if call.net.sizes[-1] > 1 else ""
            problems.value(
                f"y: {cost} expects targets from {least:g} to {greatest:g}, got from {low:g} to "
                f"{high:g}{fix}"
            )
        elif cost.family == "hinge" and (np.abs(targets) != 1).any():
            problems.value(
                f"y: {cost} expects the targets -1 and 1, got others from {low:g} to {high:g}; "
                f"of targets 0 and 1 pass 2 * y - 1"
            )
        elif cost.family == "cross_entropy" and high == 0:
            problems.value(
                f"y: {cost} expects a class in one row at least, got zeros alone, whose cost "
                f"and gradients are 0; pass one-hot rows"
            )
