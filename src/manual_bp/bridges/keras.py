"""Keras 3: a chain of Dense layers as a network, its list of gradients as a record, and back."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.activations import Activation
from manual_bp.bridges import chain
from manual_bp.bridges.chain import Dense, Part, Sigma, number_of, with_number
from manual_bp.checks import Problems, kind
from manual_bp.costs import Cost
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop

try:
    import keras
except ImportError as error:
    raise ImportError(
        "manual_bp.bridges.keras needs Keras 3 and its backend: pip install keras, and set "
        "KERAS_BACKEND=jax in the environment before Keras is imported"
    ) from error

_FUNCTIONS = {
    "identity": keras.activations.linear,
    "sigmoid": keras.activations.sigmoid,
    "tanh": keras.activations.tanh,
    "relu": keras.activations.relu,
    "leaky_relu(0.2)": keras.activations.leaky_relu,  # Keras' own default
    "elu": keras.activations.elu,
    "softplus": keras.activations.softplus,
    "silu": keras.activations.silu,
    "gelu": keras.activations.gelu,
    "softmax": keras.activations.softmax,
    "log_softmax": keras.activations.log_softmax,
    "selu": keras.activations.selu,
    "softsign": keras.activations.softsign,
    "hard_sigmoid": keras.activations.hard_sigmoid,
    "hard_tanh": keras.activations.hard_tanh,
}
_NAMES = {function: name for name, function in _FUNCTIONS.items()}
_DROPOUTS = (
    "Dropout",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
)


def network_of(
    model: Any,
    cost: str | Cost,
    *,
    activations: Sequence[str | Activation] | None = None,
    l2: float = 0.0,
) -> tuple[Network, tuple[Layer, ...]]:
    """A Keras model as `(net, params)`.

    Args:
        model: a built `keras.Sequential`, or a functional `keras.Model` that is one chain, of Dense
            and activation layers. Flatten and Dropout change nothing in a call with
            `training=False`, and are passed over.
        cost: C, by name or as a `Cost`. With cross_entropy and binary_cross_entropy the model may
            give logits, as for losses with `from_logits=True`.
        activations: σ of each layer; needed only where a function is not recognised.
        l2: as `Network` has it.

    Returns:
        The network and a `Layer(W, b)` for each layer, copies, bit for bit the model's numbers,
        with each kernel's transpose as W; in JAX on Keras' JAX backend, else in NumPy. b is None
        for `use_bias=False`.

    Raises:
        ValueError, TypeError: naming every layer that cannot be read, and the fix.

    Example:
        >>> import keras
        >>> from manual_bp.bridges import keras as bridge
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(2)]
        ... )
        >>> net, params = bridge.network_of(model, "cross_entropy")
        >>> net
        Network((4, 3, 2), ('tanh', 'softmax',), 'cross_entropy')
        >>> params[0].W.shape
        (3, 4)
    """
    problems = Problems()
    parts = _parts(model, problems)
    layers = [Layer(_array(dense.W).T, _array(dense.b)) for dense, _ in parts]
    parts = [
        part._replace(dense=part.dense._replace(W=layer.W))
        for part, layer in zip(parts, layers, strict=True)
    ]
    return chain.network(parts, layers, cost, activations, l2, problems)


def gradients_of(model: Any, gradients: Any) -> Backprop:
    """A Keras model's list of gradients as a record for `check`.

    Args:
        model: as in `network_of`.
        gradients: one for each of `model.trainable_variables`, in that order, as `jax.grad` gives
            them for the first argument of `model.stateless_call`.

    Returns:
        A `Backprop` with dW, the transposes of the kernels' gradients, and db; None for layers
        that are not trainable.

    Raises:
        ValueError, TypeError: there is not one gradient for each variable, or the model cannot be
            read.

    Example:
        >>> import keras, numpy as np
        >>> from manual_bp.bridges import keras as bridge
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> mine = [np.ones((4, 2)), np.ones(2)]
        >>> bridge.gradients_of(model, mine).dW[0].shape
        (2, 4)
    """
    problems = Problems()
    parts = _parts(model, problems)
    problems.raise_all()
    variables = model.trainable_variables
    if not isinstance(gradients, (list, tuple)) or len(gradients) != len(variables):
        got = len(gradients) if isinstance(gradients, (list, tuple)) else kind(gradients)
        raise ValueError(
            f"gradients: expected a list with one for each of the {len(variables)} "
            f"trainable_variables {', '.join(v.path for v in variables)}, got {got}"
        )
    by_variable = {id(v): g for v, g in zip(variables, gradients, strict=True)}
    pairs = []
    for dense, _ in parts:
        dW, db = (_array(by_variable.get(id(variable))) for variable in (dense.W, dense.b))
        pairs.append((None if dW is None else dW.T, db))
    return chain.gradients(pairs, "make the model's layers trainable")


def model_of(net: Network, params: Params) -> Any:
    """A network and its parameters as a `keras.Sequential`.

    With the costs cross_entropy and binary_cross_entropy the model gives logits, for losses with
    `from_logits=True`. The cost and l2 do not go along.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.

    Returns:
        The model, in the format of the parameters and with their bits.

    Raises:
        ValueError, TypeError: naming each argument that does not fit, or an activation that Keras
            does not have.

    Example:
        >>> import jax, manual_bp as mbp
        >>> from manual_bp.bridges import keras as bridge
        >>> net = mbp.Network((4, 3, 2), ("relu", "softmax"), "cross_entropy")
        >>> model = bridge.model_of(net, net.init(jax.random.key(0)))
        >>> [layer.units for layer in model.layers]
        [3, 2]
    """
    steps: list[Any] = []
    layers = chain.checked(net, params)
    for sigma, W, b in layers:
        dense = keras.layers.Dense(W.shape[0], use_bias=b is not None, dtype=W.dtype.name)
        steps += [dense, *_activation(dense, sigma)]
    model = keras.Sequential([keras.Input((net.sizes[0],), dtype=params[0][0].dtype.name), *steps])
    kernels = [layer for layer in steps if isinstance(layer, keras.layers.Dense)]
    for dense, (_, W, b) in zip(kernels, layers, strict=True):
        dense.kernel.assign(np.asarray(W).T)
        if b is not None:
            dense.bias.assign(np.asarray(b))
    return model


def _activation(dense: Any, sigma: Activation | None) -> list[Any]:
    """σ as the layer's own, or as a layer after it where Keras has it only so."""
    if sigma is None:
        return []
    dtype = dense.dtype
    name, number = number_of(sigma.name, {"leaky_relu": 0.01, "elu": 1.0}.get(sigma.name, 0.0))
    if sigma.name in _FUNCTIONS:
        dense.activation = _FUNCTIONS[sigma.name]
        return []
    if name == "leaky_relu":
        return [keras.layers.LeakyReLU(negative_slope=number, dtype=dtype)]
    if name == "elu":
        return [keras.layers.ELU(alpha=number, dtype=dtype)]
    if name == "gelu_tanh":
        dense.activation = functools.partial(keras.activations.gelu, approximate=True)
        return []
    raise ValueError(
        f"net: expected activations that Keras has, got {sigma.name!r}; take one of "
        f"{', '.join([*_FUNCTIONS, 'leaky_relu', 'gelu_tanh'])}"
    )


def _parts(model: Any, problems: Problems) -> list[Part]:
    if not isinstance(model, keras.Model):
        raise TypeError(f"model: expected a keras.Sequential, got {kind(model)}")
    return chain.parts_of(_steps("model", model, problems), problems)


def _steps(where: str, layer: Any, problems: Problems) -> Iterator[Dense | Sigma]:
    # By their exact types: a subclass may compute something else.
    layers = keras.layers
    if type(layer) is keras.Sequential:
        for child in layer.layers:
            yield from _steps(_named(where, child), child, problems)
    elif isinstance(layer, keras.Model):
        for child in _chain_of(where, layer, problems):
            yield from _steps(_named(where, child), child, problems)
    elif type(layer) is layers.Dense:
        yield from _of_dense(where, layer, problems)
    elif type(layer) in (layers.InputLayer, layers.Identity):
        return
    elif type(layer) is layers.Flatten:
        if layer.data_format != "channels_last":
            chain.refuse(
                where, "Flatten of channels_first", problems, "flatten x to (m, n) instead"
            )
    elif kind(layer) in _DROPOUTS and layer.__module__.startswith("keras."):
        return
    elif type(layer) is layers.Activation:
        yield _sigma(where, layer.activation)
    elif type(layer) is layers.LeakyReLU:
        yield Sigma(where, kind(layer), with_number("leaky_relu", layer.negative_slope, 0.01))
    elif type(layer) is layers.ELU:
        yield Sigma(where, kind(layer), with_number("elu", layer.alpha, 1.0))
    elif type(layer) is layers.Softmax:
        name = "softmax" if layer.axis in (-1, 1) else None
        yield Sigma(where, f"Softmax(axis={layer.axis})", name)
    elif type(layer) is layers.ReLU:
        plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
        yield Sigma(where, "ReLU with its own slope, limit or threshold", "relu" if plain else None)
    else:
        chain.refuse(where, f"keras.layers.{kind(layer)}", problems)


def _of_dense(where: str, layer: Any, problems: Problems) -> Iterator[Dense | Sigma]:
    if not layer.built:
        problems.value(f"{where}: it has no weights yet; call model.build((None, n_0)) first")
        return
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        chain.refuse(where, "a Dense layer that is quantised or has LoRA", problems)
        return
    if layer.compute_dtype != layer.variable_dtype:
        problems.type(
            f"{where}: expected one format, got parameters in {layer.variable_dtype} and products "
            f"in {layer.compute_dtype}; set dtype={layer.variable_dtype!r}"
        )
    yield Dense(where, layer.kernel, layer.bias, layer.kernel)
    yield _sigma(where, layer.activation)


def _chain_of(where: str, model: Any, problems: Problems) -> list[Any]:
    """A functional model's layers from its input to its output, one that is used twice twice."""
    fix = "make a model of one chain of layers"
    if not hasattr(model, "operations") or not hasattr(model, "inputs"):
        what = f"{kind(model)}, whose call is code"
        chain.refuse(where, what, problems, "make it a keras.Sequential or functional model")
        return []
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        what = f"a model of {len(model.inputs)} inputs and {len(model.outputs)} outputs"
        chain.refuse(where, what, problems, fix)
        return []
    found, tensor = [], model.outputs[0]
    while tensor is not model.inputs[0]:
        layer, node, _ = tensor._keras_history
        found.append(layer)
        before = layer._inbound_nodes[node].input_tensors
        if len(before) != 1:
            chain.refuse(f"{where}[{layer.name!r}]", kind(layer), problems, fix)
            return []
        tensor = before[0]
    return found[::-1]


def _named(where: str, layer: Any) -> str:
    return f"{where}[{layer.name!r}]"


def _sigma(where: str, function: Any) -> Sigma:
    name = None
    if isinstance(function, functools.partial) and function.func is keras.activations.gelu:
        if not function.args and function.keywords.keys() == {"approximate"}:
            name = "gelu_tanh" if function.keywords["approximate"] else "gelu"
    elif isinstance(function, Activation):
        return Sigma(where, function.name, function)
    else:
        name = _NAMES.get(function)
    return Sigma(where, getattr(function, "__name__", repr(function)), name)


def _array(variable: Any) -> Any:
    """A copy of a variable or a gradient; in JAX where it lies there."""
    if variable is None:
        return None
    value = getattr(variable, "value", variable)
    if isinstance(value, jax.Array):
        return jnp.array(value)
    return np.array(keras.ops.convert_to_numpy(value))
