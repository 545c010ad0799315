"""PyTorch: a `torch.nn.Sequential` as a network, its `.grad` as a record, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from manual_bp.activations import Activation
from manual_bp.bridges import chain
from manual_bp.bridges.chain import Dense, Part, Sigma, number_of, with_number
from manual_bp.checks import FLOATS, Problems, kind
from manual_bp.costs import Cost
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("manual_bp.bridges.pytorch needs PyTorch: pip install torch") from error

_SIMPLE = {
    nn.Identity: "identity",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.SiLU: "silu",
    nn.SELU: "selu",
    nn.Softsign: "softsign",
    nn.Hardsigmoid: "hard_sigmoid",
}
_MODULES = {name: module for module, name in _SIMPLE.items()}
_DROPOUTS = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)


def network_of(
    model: Any,
    cost: str | Cost,
    *,
    activations: Sequence[str | Activation] | None = None,
    l2: float = 0.0,
) -> tuple[Network, tuple[Layer, ...]]:
    """A PyTorch model as `(net, params)`.

    Args:
        model: a `torch.nn.Sequential` of Linear and activation modules, or one Linear. Flatten,
            and Dropout in eval mode, change nothing and are passed over.
        cost: C, by name or as a `Cost`. With cross_entropy and binary_cross_entropy the model may
            give logits, as for CrossEntropyLoss and BCEWithLogitsLoss.
        activations: σ of each layer; needed only where a module is not recognised.
        l2: as `Network` has it.

    Returns:
        The network and a `Layer(W, b)` for each layer, NumPy arrays, bit for bit the model's
        numbers, which stay when the model trains on. b is None for `bias=False`.

    Raises:
        ValueError, TypeError: naming every module that cannot be read, and the fix.

    Example:
        >>> import torch
        >>> from manual_bp.bridges import pytorch
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)
        ... )
        >>> net, params = pytorch.network_of(model, "cross_entropy")
        >>> net
        Network((4, 3, 2), ('tanh', 'softmax',), 'cross_entropy')
        >>> params[0].W.shape, params[0].W.dtype.name
        ((3, 4), 'float32')
    """
    problems = Problems()
    parts = _parts(model, problems)
    layers = [
        Layer(
            _array(f"{dense.where}.weight", dense.W, problems),
            _array(f"{dense.where}.bias", dense.b, problems),
        )
        for dense, _ in parts
    ]
    return chain.network(parts, layers, cost, activations, l2, problems)


def gradients_of(model: Any, gradients: Any = None) -> Backprop:
    """The gradients in a PyTorch model as a record for `check`.

    Args:
        model: as in `network_of`, after `loss.backward()`.
        gradients: in place of each parameter's `.grad`: one for each of `model.parameters()`, as
            `torch.autograd.grad` gives them, or by name, as `torch.func.grad` does.

    Returns:
        A `Backprop` with dW and db, NumPy arrays; None for parameters without a gradient.

    Raises:
        ValueError, TypeError: there are no gradients, or not one for each parameter.

    Example:
        >>> import torch
        >>> from manual_bp.bridges import pytorch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> model(torch.ones(3, 4)).sum().backward()
        >>> pytorch.gradients_of(model).db[0]
        array([3., 3.], dtype=float32)
    """
    problems = Problems()
    parts = _parts(model, problems)
    problems.raise_all()
    parameters = dict(model.named_parameters())
    if gradients is None:
        by_name = {name: parameter.grad for name, parameter in parameters.items()}
    elif isinstance(gradients, Mapping):
        by_name = dict(gradients)
    else:
        by_name = dict(zip(parameters, gradients, strict=False))
        if len(gradients) != len(parameters):
            raise ValueError(
                f"gradients: expected one for each of the {len(parameters)} parameters "
                f"{', '.join(parameters)}, got {len(gradients)}"
            )
    names = {id(parameter): name for name, parameter in parameters.items()}

    def gradient(parameter: Any) -> Any:
        if parameter is None:
            return None
        name = names[id(parameter)]
        return _array(f"gradients: {name}", by_name.get(name), problems)

    pairs = [(gradient(dense.W), gradient(dense.b)) for dense, _ in parts]
    problems.raise_all()
    return chain.gradients(pairs, "call loss.backward() first")


def model_of(net: Network, params: Params) -> Any:
    """A network and its parameters as a `torch.nn.Sequential`.

    With the costs cross_entropy and binary_cross_entropy the model gives logits, for
    CrossEntropyLoss and BCEWithLogitsLoss. The cost and l2 do not go along.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.

    Returns:
        The model, on the CPU, in the format of the parameters and with their bits.

    Raises:
        ValueError, TypeError: naming each argument that does not fit, or an activation that
            PyTorch has no module for.

    Example:
        >>> import jax, manual_bp as mbp
        >>> from manual_bp.bridges import pytorch
        >>> net = mbp.Network((4, 3, 2), ("relu", "softmax"), "cross_entropy")
        >>> pytorch.model_of(net, net.init(jax.random.key(0)))
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    modules: list[Any] = []
    for sigma, W, b in chain.checked(net, params):
        n, n_prev = W.shape
        linear = nn.Linear(n_prev, n, bias=b is not None, device="meta")
        linear.weight = nn.Parameter(_tensor(W))
        if b is not None:
            linear.bias = nn.Parameter(_tensor(b))
        modules.append(linear)
        if sigma is not None:
            modules.append(_module(sigma))
    return nn.Sequential(*modules)


def _parts(model: Any, problems: Problems) -> list[Part]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Sequential, got {kind(model)}")
    return chain.parts_of(_steps("model", model, problems), problems)


def _steps(where: str, module: Any, problems: Problems) -> Iterator[Dense | Sigma]:
    # By their exact types: a subclass may compute something else.
    what = f"torch.nn.{kind(module)}" if _is_torchs(module) else kind(module)
    if type(module) is nn.Sequential:
        for name, child in module._modules.items():  # named_children leaves out what comes twice
            yield from _steps(f"{where}[{name}]", child, problems)
    elif type(module) is nn.Linear:
        yield Dense(where, module.weight, module.bias, module.weight)
    elif type(module) is nn.Flatten:
        if (module.start_dim, module.end_dim) != (1, -1):
            chain.refuse(where, repr(module), problems, "flatten x to (m, n) instead")
    elif type(module) in _DROPOUTS:
        if module.training and module.p:
            chain.refuse(where, f"{what} that is training", problems, "call model.eval() first")
    elif next(module.parameters(), None) is not None or len(module._modules):
        own = "" if _is_torchs(module) else ", whose forward is code"
        fix = "put Linear and activation modules into a torch.nn.Sequential"
        chain.refuse(where, what + own, problems, fix)
    else:
        yield Sigma(where, repr(module), _name_of(module))


def _is_torchs(module: Any) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _name_of(module: Any) -> str | None:
    if type(module) in _SIMPLE:
        return _SIMPLE[type(module)]
    if type(module) is nn.LeakyReLU:
        return with_number("leaky_relu", module.negative_slope, 0.01)
    if type(module) is nn.ELU:
        return with_number("elu", module.alpha, 1.0)
    if type(module) is nn.GELU:
        return "gelu_tanh" if module.approximate == "tanh" else "gelu"
    if type(module) is nn.Softplus and module.beta == 1 and module.threshold >= 20:
        return "softplus"
    if type(module) is nn.Hardtanh and (module.min_val, module.max_val) == (-1, 1):
        return "hard_tanh"
    if type(module) in (nn.Softmax, nn.LogSoftmax) and module.dim in (1, -1):
        return "softmax" if type(module) is nn.Softmax else "log_softmax"
    return None


def _module(sigma: Activation) -> Any:
    name, number = number_of(sigma.name, 0.0)
    if name in ("leaky_relu", "elu"):
        module = nn.LeakyReLU if name == "leaky_relu" else nn.ELU
        return module() if name == sigma.name else module(number)
    if sigma.name in _MODULES:
        return _MODULES[sigma.name]()
    others = {
        "gelu": lambda: nn.GELU(),
        "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
        "softplus": lambda: nn.Softplus(),
        "hard_tanh": lambda: nn.Hardtanh(),
        "softmax": lambda: nn.Softmax(dim=-1),
    }
    if sigma.name not in others:
        raise ValueError(
            f"net: expected activations that torch.nn has, got {sigma.name!r}; take one of "
            f"{', '.join([*_MODULES, 'leaky_relu', 'elu', *others])}"
        )
    return others[sigma.name]()


def _array(argument: str, tensor: Any, problems: Problems) -> Any:
    """A copy as a NumPy array of the same bits; what is no tensor stays as it is."""
    if not isinstance(tensor, torch.Tensor):
        return tensor
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in FLOATS:
        problems.type(f"{argument}: expected one of {', '.join(FLOATS)}, got {name}")
        return None
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    if name == "bfloat16":
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _tensor(array: Any) -> Any:
    array = np.array(array)  # a copy that may be written to
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
