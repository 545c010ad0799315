"""JAX's own activation functions by the library's names, for models that hold functions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from manual_bp.activations import Activation
from manual_bp.bridges.chain import number_of, with_number

Function = Callable[[Any], Any]

_FUNCTIONS: dict[str, Function] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu_tanh": jax.nn.gelu,  # JAX's default is the approximation
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "selu": jax.nn.selu,
    "softsign": jax.nn.soft_sign,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
}
_NAMES = {function: name for name, function in _FUNCTIONS.items()} | {
    jax.lax.logistic: "sigmoid",
    jax.lax.tanh: "tanh",
}
# With one more argument than z: what it is called, and what it is without one.
_ARGUMENTS = {"leaky_relu": ("negative_slope", 0.01), "elu": ("alpha", 1.0)}


def name_of(function: Any) -> str | Activation | None:
    """The activation that a function is; None where it is not recognised.

    Example:
        >>> import functools, jax
        >>> name_of(jax.nn.relu), name_of(functools.partial(jax.nn.leaky_relu, negative_slope=0.2))
        ('relu', 'leaky_relu(0.2)')
        >>> name_of(lambda z: z**3)
    """
    if isinstance(function, Activation):
        return function
    if isinstance(function, functools.partial):
        return None if function.args else _of_partial(name_of(function.func), function.keywords)
    try:
        if function in _NAMES:
            return _NAMES[function]
    except TypeError:  # no hash
        return None
    return "identity" if _is_identity(function) else None


def _of_partial(name: Any, arguments: dict[str, Any]) -> str | None:
    if arguments == {"axis": -1} and name in ("softmax", "log_softmax"):
        return str(name)
    if name == "gelu_tanh" and arguments.keys() == {"approximate"}:
        return "gelu_tanh" if arguments["approximate"] else "gelu"
    argument, usual = _ARGUMENTS.get(name, ("", 0.0))
    if arguments.keys() == {argument}:
        return with_number(name, arguments[argument], usual)
    return None


def _is_identity(function: Any) -> bool:
    """Whether it gives back whatever it is given, as `lambda z: z` does."""
    if function is getattr(jax.nn, "identity", None):
        return True
    token = object()
    try:
        return function(token) is token
    except Exception:
        return False


def function_of(activation: Activation) -> Function:
    """JAX's function of that name; an activation that JAX does not have is a function itself."""
    if activation.name == "gelu":
        return functools.partial(jax.nn.gelu, approximate=False)
    name, number = number_of(activation.name, 0.0)
    if name == activation.name:
        return _FUNCTIONS.get(name, activation)
    if name in _ARGUMENTS:
        return functools.partial(_FUNCTIONS[name], **{_ARGUMENTS[name][0]: number})
    return activation
