"""Flax: nnx modules and linen variables as a network, their gradients as a record, and back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from manual_bp.activations import Activation
from manual_bp.bridges import chain
from manual_bp.bridges.chain import Dense, Part, Sigma
from manual_bp.bridges.functions import function_of, name_of
from manual_bp.checks import Problems, kind, nearest
from manual_bp.costs import Cost
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop

try:
    from flax import linen, nnx
except ImportError as error:
    raise ImportError("manual_bp.bridges.flax needs Flax: pip install flax") from error

Path = tuple[Any, ...]


def network_of(
    model: Any,
    cost: str | Cost,
    *,
    activations: Sequence[str | Activation] | None = None,
    layers: Sequence[str] | None = None,
    l2: float = 0.0,
) -> tuple[Network, tuple[Layer, ...]]:
    """A Flax model as `(net, params)`.

    Args:
        model: one of

            - an `nnx.Sequential` of Linear and activation functions, which are recognised;
            - an nnx module of your own that has Linear layers;
            - a pair (`linen.Sequential`, variables), whose activations are recognised too;
            - linen variables or params, or a pair (linen module, variables).

            Dropout that is deterministic changes nothing and is passed over.
        cost: C, by name or as a `Cost`. With cross_entropy and binary_cross_entropy the model may
            give logits.
        activations: σ of each layer; needed where they stand in a module's code, and "identity"
            for logits.
        layers: the layers' names in the order of the data, such as ("hidden", "out") or
            ("block/Dense_0", …); needed where linen's names are not numbered, since a dictionary
            has no order.
        l2: as `Network` has it.

    Returns:
        The network and a `Layer(W, b)` for each layer, copies in JAX, bit for bit the model's
        numbers, with each kernel's transpose as W. b is None for `use_bias=False`.

    Raises:
        ValueError, TypeError: naming every layer that cannot be read, and the fix.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from manual_bp.bridges import flax as bridge
        >>> rngs = nnx.Rngs(0)
        >>> first, last = nnx.Linear(4, 3, rngs=rngs), nnx.Linear(3, 2, rngs=rngs)
        >>> model = nnx.Sequential(first, nnx.tanh, last)
        >>> net, params = bridge.network_of(model, "cross_entropy")
        >>> net
        Network((4, 3, 2), ('tanh', 'softmax',), 'cross_entropy')
        >>> params[0].W.shape
        (3, 4)
    """
    problems = Problems()
    parts = _parts(model, layers, problems)
    found = [Layer(dense.W, None if dense.b is None else jnp.array(dense.b)) for dense, _ in parts]
    return chain.network(parts, found, cost, activations, l2, problems)


def gradients_of(model: Any, gradients: Any, *, layers: Sequence[str] | None = None) -> Backprop:
    """A gradient with respect to a Flax model as a record for `check`.

    Args:
        model: as in `network_of`.
        gradients: as `nnx.grad` gives it for an nnx model, or `jax.grad` for linen's variables or
            params.
        layers: as in `network_of`.

    Returns:
        A `Backprop` with dW, the transposes of the kernels' gradients, and db; None for
        parameters without a gradient.

    Raises:
        ValueError, TypeError: there are no gradients, or the model cannot be read.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from manual_bp.bridges import flax as bridge
        >>> model = nnx.Sequential(nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
        >>> gradients = nnx.grad(lambda model: model(jnp.ones((3, 4))).sum())(model)
        >>> bridge.gradients_of(model, gradients).db[0]
        Array([3., 3.], dtype=float32)
    """
    problems = Problems()
    parts = _parts(model, layers, problems)
    problems.raise_all()
    if isinstance(gradients, Mapping) and "params" in gradients:
        gradients = gradients["params"]
    pairs = []
    for dense, _ in parts:
        dW = _array(_at(gradients, (*dense.path, "kernel")))
        pairs.append((None if dW is None else dW.T, _array(_at(gradients, (*dense.path, "bias")))))
    return chain.gradients(pairs, "pass what nnx.grad gives, or jax.grad for linen's params")


def model_of(net: Network, params: Params) -> Any:
    """A network and its parameters as an `nnx.Sequential`.

    With the costs cross_entropy and binary_cross_entropy the model gives logits. The cost and l2
    do not go along.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.

    Returns:
        The model, in the format of the parameters and with their bits.

    Raises:
        ValueError, TypeError: naming each argument that does not fit.

    Example:
        >>> import jax, manual_bp as mbp
        >>> from manual_bp.bridges import flax as bridge
        >>> net = mbp.Network((4, 3, 2), ("relu", "softmax"), "cross_entropy")
        >>> model = bridge.model_of(net, net.init(jax.random.key(0)))
        >>> model(jax.numpy.ones((5, 4))).shape
        (5, 2)
    """
    steps: list[Any] = []
    for sigma, W, b in chain.checked(net, params):
        n, n_prev = W.shape
        made = nnx.Linear(n_prev, n, use_bias=b is not None, param_dtype=W.dtype, rngs=nnx.Rngs(0))
        made.kernel[...] = jnp.array(W).T
        if b is not None:
            made.bias[...] = jnp.array(b)
        steps += [made] if sigma is None else [made, function_of(sigma)]
    return nnx.Sequential(*steps)


def linen_model_of(net: Network, params: Params) -> tuple[Any, dict[str, Any]]:
    """A network and its parameters as a `linen.Sequential` and its variables; as `model_of`.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.

    Returns:
        (module, variables), for `module.apply(variables, x)`.

    Raises:
        ValueError, TypeError: naming each argument that does not fit.

    Example:
        >>> import jax, manual_bp as mbp
        >>> from manual_bp.bridges import flax as bridge
        >>> net = mbp.Network((4, 3, 2), ("relu", "softmax"), "cross_entropy")
        >>> module, variables = bridge.linen_model_of(net, net.init(jax.random.key(0)))
        >>> module.apply(variables, jax.numpy.ones((5, 4))).shape, list(variables["params"])
        ((5, 2), ['layers_0', 'layers_2'])
    """
    steps: list[Any] = []
    found = {}
    for sigma, W, b in chain.checked(net, params):
        found[f"layers_{len(steps)}"] = {"kernel": jnp.array(W).T} | (
            {} if b is None else {"bias": jnp.array(b)}
        )
        steps.append(linen.Dense(W.shape[0], use_bias=b is not None, param_dtype=W.dtype))
        if sigma is not None:
            steps.append(function_of(sigma))
    return linen.Sequential(steps), {"params": found}


def _parts(model: Any, layers: Any, problems: Problems) -> list[Part]:
    code = True
    steps: Sequence[Dense | Sigma]
    if isinstance(model, nnx.Module):
        code = type(model) not in (nnx.Sequential, nnx.Linear)
        steps = list(_of_nnx("model", (), model, problems))
    elif isinstance(model, Mapping):
        steps = _of_variables(model, layers, problems)
    elif _is_linen_pair(model):
        module, variables = model
        params = _params(variables, problems)
        if type(module) is linen.Sequential:
            code = False
            steps = list(_of_linen("model", (), module, params, problems))
        else:
            steps = _of_variables(params, layers, problems)
    else:
        raise TypeError(
            f"model: expected an nnx module, linen's variables, or a pair (linen module, "
            f"variables), got {kind(model)}"
        )
    if layers is not None:
        steps = _in_order(steps, layers, problems)
    return chain.parts_of(steps, problems, code)


def _is_linen_pair(model: Any) -> bool:
    return (
        isinstance(model, tuple)
        and len(model) == 2
        and isinstance(model[0], linen.Module)
        and isinstance(model[1], Mapping)
    )


def _of_nnx(where: str, path: Path, module: Any, problems: Problems) -> Iterator[Dense | Sigma]:
    # By their exact types: a subclass may compute something else.
    if type(module) is nnx.Linear:
        _one_format(where, module, module.kernel[...].dtype, problems)
        yield _dense(where, path, module.kernel, module.bias)
    elif type(module) is nnx.Sequential:
        for i, layer in enumerate(module.layers):
            yield from _of_nnx(f"{where}.layers[{i}]", (*path, "layers", i), layer, problems)
    elif type(module) is nnx.Dropout:
        _no_dropout(where, module, "model.eval()", problems)
    elif isinstance(module, nnx.Module) and _is_own(module):
        for name, value in vars(module).items():
            if isinstance(value, nnx.Variable):
                chain.refuse(f"{where}.{name}", "a parameter of its own", problems)
            elif isinstance(value, (list, tuple, nnx.List)):
                for i, layer in enumerate(value):
                    if isinstance(layer, nnx.Module):
                        at = f"{where}.{name}[{i}]"
                        yield from _of_nnx(at, (*path, name, i), layer, problems)
            elif isinstance(value, nnx.Module):
                yield from _of_nnx(f"{where}.{name}", (*path, name), value, problems)
    elif isinstance(module, nnx.Module) or not callable(module):
        chain.refuse(where, f"nnx.{kind(module)}", problems)
    else:
        yield _sigma(where, module)


def _is_own(module: Any) -> bool:
    return not type(module).__module__.startswith("flax.")


def _of_linen(
    where: str, path: Path, module: Any, params: Any, problems: Problems
) -> Iterator[Dense | Sigma]:
    if type(module) is linen.Sequential:
        for i, layer in enumerate(module.layers):
            name = getattr(layer, "name", None) or f"layers_{i}"
            yield from _of_linen(f"{where}.layers[{i}]", (*path, name), layer, params, problems)
    elif type(module) is linen.Dense:
        found = _at(params, path)
        if not _is_dense(found):
            problems.value(
                f"model: expected the variables of the module, got none for {'/'.join(path)}; "
                f"pass what module.init gives"
            )
            return
        _one_format(where, module, found["kernel"].dtype, problems)
        yield _dense(where, path, found["kernel"], found.get("bias"), holder=module)
    elif type(module) is linen.Dropout:
        _no_dropout(where, module, "set deterministic=True", problems)
    elif isinstance(module, linen.Module) or not callable(module):
        chain.refuse(where, f"linen.{kind(module)}", problems)
    else:
        yield _sigma(where, module)


def _of_variables(variables: Any, layers: Any, problems: Problems) -> Sequence[Dense | Sigma]:
    """The Dense layers among linen's parameters, in the order of their numbers."""
    params = _params(variables, problems)
    found = list(_dense_in((), params, problems))
    levels: dict[tuple[Path, int], set[str]] = {}
    for dense in found:
        for i, name in enumerate(dense.path):
            levels.setdefault((dense.path[:i], i), set()).add(name)
    unordered = [
        names
        for names in levels.values()
        if len(names) > 1 and len({re.sub(r"\d+$", "", name) for name in names}) > 1
    ]
    if unordered and layers is None:
        names = ", ".join("/".join(dense.path) for dense in found)
        problems.value(
            f"layers: expected their order, since a dictionary has none, for {names}; pass their "
            f"names in the order of the data, such as layers=('hidden', 'out')"
        )
    return sorted(found, key=lambda dense: [_numbered(name) for name in dense.path])


def _numbered(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(\d*)", name)
    assert match
    return match[1], int(match[2] or -1)


def _dense_in(path: Path, params: Any, problems: Problems) -> Iterator[Dense]:
    where = "/".join(path) or "params"
    if _is_dense(params):
        yield _dense(where, path, params["kernel"], params.get("bias"))
    elif isinstance(params, Mapping) and all(isinstance(v, Mapping) for v in params.values()):
        for name, value in params.items():
            yield from _dense_in((*path, name), value, problems)
    else:
        entries = params if isinstance(params, Mapping) else {}
        arrays = {name: v for name, v in entries.items() if not isinstance(v, Mapping)}
        shapes = ", ".join(f"{name} {jnp.shape(array)}" for name, array in arrays.items())
        chain.refuse(where, shapes or kind(params), problems)


def _is_dense(params: Any) -> bool:
    return (
        isinstance(params, Mapping)
        and params.keys() in ({"kernel"}, {"kernel", "bias"})
        and jnp.ndim(params["kernel"]) == 2
    )


def _params(variables: Any, problems: Problems) -> Any:
    if "params" not in variables:
        return variables
    for name in variables:
        if name != "params" and jax.tree.leaves(variables[name]):
            chain.refuse(f"variables[{name!r}]", "state beside the parameters", problems)
    return variables["params"]


def _in_order(
    steps: Sequence[Dense | Sigma], layers: Sequence[str], problems: Problems
) -> list[Dense | Sigma]:
    """The layers by the names that the caller gives; activations stay with their layer."""
    groups: dict[str, list[Dense | Sigma]] = {}
    for step in steps:
        if isinstance(step, Dense):
            group = groups.setdefault("/".join(map(str, step.path)), [])
        elif not groups:
            return list(steps)  # refused for what it begins with
        group.append(step)
    for name in layers:
        if name not in groups:
            problems.value(f"layers: no layer has the name {name!r}; {nearest(name, groups)}")
    left = [name for name in groups if name not in layers]
    if left:
        problems.value(f"layers: expected every layer, got none of {', '.join(left)}")
    return [step for name in layers for step in groups.get(name, ())]


def _dense(where: str, path: Path, kernel: Any, bias: Any, holder: Any = None) -> Dense:
    return Dense(where, _array(kernel).T, _array(bias), kernel if holder is None else holder, path)


def _sigma(where: str, function: Any) -> Sigma:
    return Sigma(where, getattr(function, "__name__", repr(function)), name_of(function))


def _no_dropout(where: str, module: Any, fix: str, problems: Problems) -> None:
    if module.rate and not module.deterministic:
        chain.refuse(where, "Dropout that is training", problems, f"{fix} first")


def _one_format(where: str, module: Any, dtype: Any, problems: Problems) -> None:
    if module.dtype is not None and jnp.dtype(module.dtype) != dtype:
        problems.type(
            f"{where}: expected one format, got parameters in {dtype} and products in "
            f"{jnp.dtype(module.dtype)}; give dtype and param_dtype the same"
        )


def _array(value: Any) -> Any:
    return value[...] if isinstance(value, nnx.Variable) else value


def _at(tree: Any, path: Path) -> Any:
    """What stands there in a tree of mappings, states or modules; None where nothing does."""
    for key in path:
        if isinstance(tree, nnx.Module) and isinstance(key, str):
            tree = getattr(tree, key, None)
        else:
            try:
                tree = tree[key]
            except (KeyError, IndexError, TypeError):
                return None
    return tree
