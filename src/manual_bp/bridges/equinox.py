"""Equinox: an `equinox.nn.MLP` as a network, a gradient of it as a record, and back."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from manual_bp.activations import Activation, softmax
from manual_bp.bridges import chain
from manual_bp.bridges.chain import Dense, Part, Sigma
from manual_bp.bridges.functions import function_of, name_of
from manual_bp.checks import Problems, kind
from manual_bp.costs import Cost
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop

try:
    import equinox as eqx
except ImportError as error:
    raise ImportError("manual_bp.bridges.equinox needs Equinox: pip install equinox") from error


def network_of(
    model: Any,
    cost: str | Cost,
    *,
    activations: Sequence[str | Activation] | None = None,
    l2: float = 0.0,
) -> tuple[Network, tuple[Layer, ...]]:
    """An Equinox model as `(net, params)`.

    Args:
        model: an `equinox.nn.MLP`, an `equinox.nn.Sequential` of Linear, Lambda and Identity, or
            a module of your own whose fields are such layers, in their order. Dropout in inference
            mode changes nothing and is passed over.
        cost: C, by name or as a `Cost`. With cross_entropy and binary_cross_entropy the model may
            give logits.
        activations: σ of each layer; needed only where a function is not recognised.
        l2: as `Network` has it.

    Returns:
        The network and a `Layer(W, b)` for each layer, copies in JAX, bit for bit the model's
        numbers. b is None for `use_bias=False`.

    Raises:
        ValueError, TypeError: naming every layer that cannot be read, and the fix.

    Example:
        >>> import equinox, jax
        >>> from manual_bp.bridges import equinox as bridge
        >>> model = equinox.nn.MLP(4, 2, 3, depth=1, activation=jax.nn.silu, key=jax.random.key(0))
        >>> bridge.network_of(model, "cross_entropy")[0]
        Network((4, 3, 2), ('silu', 'softmax',), 'cross_entropy')
    """
    problems = Problems()
    parts = _parts(model, problems)
    layers = [Layer(*map(_copy, (dense.W, dense.b))) for dense, _ in parts]
    return chain.network(parts, layers, cost, activations, l2, problems)


def gradients_of(model: Any, gradients: Any) -> Backprop:
    """A gradient with respect to an Equinox model as a record for `check`.

    Args:
        model: as in `network_of`.
        gradients: as `equinox.filter_grad` gives it, in the structure of the model.

    Returns:
        A `Backprop` with dW and db; None for parameters without a gradient.

    Raises:
        ValueError, TypeError: there are no gradients, or not those of such a model.

    Example:
        >>> import equinox, jax, jax.numpy as jnp
        >>> from manual_bp.bridges import equinox as bridge
        >>> model = equinox.nn.MLP(4, 2, 3, depth=0, key=jax.random.key(0))
        >>> gradients = equinox.filter_grad(lambda model: model(jnp.ones(4)).sum())(model)
        >>> bridge.gradients_of(model, gradients).db[0]
        Array([1., 1.], dtype=float32)
    """
    problems = Problems()
    parts = _parts(model, problems)
    problems.raise_all()
    if type(gradients) is not type(model):
        raise TypeError(
            f"gradients: expected a {kind(model)} like model, got {kind(gradients)}; pass what "
            f"equinox.filter_grad gives"
        )
    found = [_at(gradients, dense.path) for dense, _ in parts]
    pairs = [(getattr(layer, "weight", None), getattr(layer, "bias", None)) for layer in found]
    return chain.gradients(pairs, "pass what equinox.filter_grad gives")


def model_of(net: Network, params: Params) -> Any:
    """A network and its parameters as an Equinox model of one example; `jax.vmap` it for a batch.

    With the costs cross_entropy and binary_cross_entropy the model gives logits. The cost and l2
    do not go along.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.

    Returns:
        An `equinox.nn.MLP` where all hidden layers are alike, with one width and one activation;
        else an `equinox.nn.Sequential`. Its numbers have the parameters' format and bits.

    Raises:
        ValueError, TypeError: naming each argument that does not fit.

    Example:
        >>> import jax, manual_bp as mbp
        >>> from manual_bp.bridges import equinox as bridge
        >>> net = mbp.Network((4, 3, 3, 2), ("relu", "relu", "softmax"), "cross_entropy")
        >>> model = bridge.model_of(net, net.init(jax.random.key(0)))
        >>> type(model).__name__, model.depth, model(jax.numpy.ones(4)).shape
        ('MLP', 2, (2,))
    """
    layers = chain.checked(net, params)
    linears = [_linear(W, b) for _, W, b in layers]
    functions = [None if sigma is None else function_of(sigma) for sigma, _, _ in layers]
    biased = [b is not None for _, _, b in layers]
    hidden = set(list(zip(net.sizes[1:], net.activations, biased, strict=True))[:-1])
    # An MLP has activations that are element-wise alone.
    if len(hidden) > 1 or layers[-1][0] is softmax:
        steps: list[Any] = []
        for linear, function in zip(linears, functions, strict=True):
            steps += [linear] if function is None else [linear, eqx.nn.Lambda(function)]
        return eqx.nn.Sequential(steps)
    final = {} if functions[-1] is None else {"final_activation": functions[-1]}
    model = eqx.nn.MLP(
        net.sizes[0],
        net.sizes[-1],
        net.sizes[1],
        net.depth - 1,
        activation=functions[0] if net.depth > 1 and functions[0] else _identity,
        use_bias=biased[0],
        use_final_bias=biased[-1],
        key=jax.random.key(0),
        **final,
    )
    return eqx.tree_at(lambda model: model.layers, model, tuple(linears))


def _identity(z: Any) -> Any:
    return z


def _linear(W: Any, b: Any) -> Any:
    n, n_prev = W.shape
    made = eqx.nn.Linear(n_prev, n, use_bias=b is not None, key=jax.random.key(0))
    made = eqx.tree_at(lambda linear: linear.weight, made, jnp.array(W))
    return made if b is None else eqx.tree_at(lambda linear: linear.bias, made, jnp.array(b))


def _copy(array: Any) -> Any:
    return None if array is None else jnp.array(array)


def _parts(model: Any, problems: Problems) -> list[Part]:
    if not isinstance(model, eqx.Module):
        raise TypeError(f"model: expected an equinox.nn.MLP, got {kind(model)}")
    return chain.parts_of(_steps("model", (), model, problems), problems, code=_is_own(model))


def _is_own(module: Any) -> bool:
    return not type(module).__module__.startswith("equinox.")


def _steps(
    where: str, path: tuple[Any, ...], module: Any, problems: Problems
) -> Iterator[Dense | Sigma]:
    # By their exact types: a subclass may compute something else.
    nn = eqx.nn
    if type(module) is nn.Linear:
        yield Dense(where, module.weight, module.bias, module.weight, path)
    elif type(module) is nn.MLP:
        for i, layer in enumerate(module.layers):
            yield from _steps(f"{where}.layers[{i}]", (*path, "layers", i), layer, problems)
            last = i == len(module.layers) - 1
            name = "final_activation" if last else "activation"
            yield _sigma(f"{where}.{name}", getattr(module, name))
    elif type(module) is nn.Sequential:
        for i, layer in enumerate(module.layers):
            yield from _steps(f"{where}[{i}]", (*path, "layers", i), layer, problems)
    elif type(module) is nn.Lambda:
        yield _sigma(where, module.fn)
    elif type(module) is nn.Identity:
        return
    elif type(module) is nn.Dropout:
        if not module.inference and module.p:
            fix = "make it equinox.nn.inference_mode(model) first"
            chain.refuse(where, "Dropout that is training", problems, fix)
    elif isinstance(module, eqx.Module) and _is_own(module):
        for field in dataclasses.fields(module):
            name, value = field.name, getattr(module, field.name)
            listed = value if isinstance(value, (list, tuple)) else ()
            for i, layer in enumerate(listed):
                if isinstance(layer, eqx.Module):
                    yield from _steps(f"{where}.{name}[{i}]", (*path, name, i), layer, problems)
            if isinstance(value, eqx.Module):
                yield from _steps(f"{where}.{name}", (*path, name), value, problems)
            elif eqx.is_array(value):
                chain.refuse(f"{where}.{name}", "an array of its own", problems)
    else:
        chain.refuse(where, f"equinox.nn.{kind(module)}", problems)


def _sigma(where: str, function: Any) -> Sigma:
    return Sigma(where, getattr(function, "__name__", repr(function)), name_of(function))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = getattr(tree, key) if isinstance(key, str) else tree[key]
    return tree
