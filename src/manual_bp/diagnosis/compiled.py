"""Functions of the network on NumPy arrays in float64, each compiled once for many shapes.

A diagnosis takes thousands of small steps. Run operation by operation, each would be compiled.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from manual_bp.activations import ACTIVATIONS, Activation, softmax
from manual_bp.network import Network

Numbers = np.ndarray[Any, Any]
OTHERS = [name for name, σ in ACTIVATIONS.items() if σ is not softmax]
FROM_A = [name for name in OTHERS if ACTIVATIONS[name].of == "a"]


def _elementwise(function: Callable[..., Any], array: Numbers) -> Any:
    """A compiled function of each number; its length is a power of two, of which there are few."""
    length = max(256, 1 << (array.size - 1).bit_length())
    flat = np.zeros((1, length))  # a σ of the user's own may count on two axes
    flat[0, : array.size] = array.ravel()
    with jax.enable_x64(True), np.errstate(all="ignore"):
        found = jax.device_get(function(flat))
    return jax.tree.map(lambda v: v[0, : array.size].reshape(array.shape), found)


def sigma(own: Activation, z: Numbers) -> Numbers:
    """σ(z)."""
    if own is softmax:
        return _softmax(z, 1)
    return _elementwise(partial(_sigma, own), z)


def derivative(own: Activation, z: Numbers) -> Numbers:
    """σ′(z); for softmax the diagonal of its Jacobian."""
    if own is softmax:
        a = _softmax(z, 1)
        return a * (1 - a)
    return _elementwise(partial(_derivative, own), z)


def derivative_as_written(own: Activation, array: Numbers) -> Numbers:
    """What σ′ makes of an array, be it the one that it takes or not."""
    return _elementwise(partial(_as_written, own), array)


def softmax_over_examples(z: Numbers) -> Numbers:
    """Softmax along the wrong axis."""
    return _softmax(z, 0)


def _softmax(z: Numbers, axis: int) -> Numbers:
    exp = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(exp / exp.sum(axis=axis, keepdims=True))


# What was asked for last; a search asks for the same again and again.
_RECENT: OrderedDict[tuple[str, int], tuple[Numbers, Any]] = OrderedDict()


def _recent(name: str, function: Callable[[Any], Any], array: Numbers) -> Any:
    key = name, id(array)
    known, found = _RECENT.get(key, (None, None))
    if known is not array:
        found = _elementwise(function, array)
        _RECENT[key] = array, found
        while len(_RECENT) > 8:
            _RECENT.popitem(last=False)
    return found


def every_sigma(z: Numbers) -> dict[str, Numbers]:
    """σ(z) of every σ there is, by name."""
    return dict(_recent("sigma", _every_sigma, z))


def every_derivative(z: Numbers) -> dict[str, Numbers]:
    """σ′(z) of every σ there is, by name."""
    return dict(_recent("derivative", _every_derivative, z))


def every_derivative_from_a(a: Numbers) -> dict[str, Numbers]:
    """σ′ of every σ that is written as a function of a."""
    return dict(_recent("from a", _every_derivative_from_a, a))


@partial(jax.jit, static_argnums=0)
def _sigma(own: Activation, z: Array) -> Array:
    return own(z)


@partial(jax.jit, static_argnums=0)
def _derivative(own: Activation, z: Array) -> Array:
    return own.prime(z, own(z))


@partial(jax.jit, static_argnums=0)
def _as_written(own: Activation, array: Array) -> Array:
    return own.sigma_prime(array)


@jax.jit
def _every_sigma(z: Array) -> dict[str, Array]:
    return {name: ACTIVATIONS[name](z) for name in OTHERS}


@jax.jit
def _every_derivative(z: Array) -> dict[str, Array]:
    return {name: ACTIVATIONS[name].prime(z, ACTIVATIONS[name](z)) for name in OTHERS}


@jax.jit
def _every_derivative_from_a(a: Array) -> dict[str, Array]:
    return {name: ACTIVATIONS[name].sigma_prime(a) for name in FROM_A}


def slope(net: Network, a: Numbers, y: Numbers) -> Numbers:
    """What BP1 starts from, of each example."""
    with jax.enable_x64(True):
        return np.asarray(_slope(net, a, y))


def mean_cost(net: Network, m: int, z: Numbers, a: Numbers, y: Numbers) -> Numbers:
    """C without its penalty."""
    with jax.enable_x64(True):
        return np.asarray(_mean_cost(net, m, z, a, y))


@partial(jax.jit, static_argnums=0)
def _slope(net: Network, a: Array, y: Array) -> Array:
    return net.cost.slope(a, y)


@partial(jax.jit, static_argnums=(0, 1))
def _mean_cost(net: Network, m: int, z: Array, a: Array, y: Array) -> Array:
    return net.cost.mean(z, a, y, m)
