"""The equations of `backprop.py` in any scale, each as one compiled program.

A diagnosis takes them one at a time. Run operation by operation, each operation would be compiled.
"""

from functools import partial
from typing import Any

import jax
from jax import Array

from manual_bp.activations import ACTIVATIONS, Activation, softmax
from manual_bp.backprop import bias_gradient as _bias_gradient
from manual_bp.backprop import hidden_delta as _hidden_delta
from manual_bp.backprop import output_delta as _output_delta
from manual_bp.backprop import weight_gradient as _weight_gradient
from manual_bp.backprop import weighted_input as _weighted_input
from manual_bp.network import Network, Params
from manual_bp.subjects.convention import Scales

weighted_input = jax.jit(_weighted_input)
activation = jax.jit(Activation.__call__, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1))
def scaled_cost(
    net: Network, m: int, params: Params, z: Array, a: Array, y: Array, scales: Scales
) -> Array:
    """C of m examples, and the penalty, each so many times ours."""
    C = scales.cost * net.cost.mean(z, a, y, m)
    if net.l2:
        squares = sum((w**2).sum() for w in net.penalised(params))
        C = C + scales.cost_penalty * net.l2 / 2 * squares
    return C


@partial(jax.jit, static_argnums=(0, 1))
def output_delta(net: Network, m: int, z: Array, a: Array, y: Array, scales: Scales) -> Array:
    """BP1."""
    return scales.delta * _output_delta(net, z, a, y, m)


@partial(jax.jit, static_argnums=0)
def hidden_delta(sigma: Activation, W_next: Array, delta_next: Array, z: Array, a: Array) -> Array:
    """BP2."""
    return _hidden_delta(W_next, delta_next, sigma.prime(z, a))


@partial(jax.jit, static_argnums=0)
def bias_gradient(net: Network, delta: Array, b: Array, scales: Scales) -> Array:
    """BP3, with the penalty's own gradient where the biases are penalised."""
    penalty = scales.gradient_penalty * net.l2 * b if net.l2 and net.l2_biases else 0
    return scales.collected * _bias_gradient(delta) + penalty


@partial(jax.jit, static_argnums=0)
def weight_gradient(net: Network, delta: Array, a_prev: Array, W: Array, scales: Scales) -> Array:
    """BP4, with the penalty's own gradient."""
    penalty: Any = scales.gradient_penalty * net.l2 * W if net.l2 else 0
    return scales.collected * _weight_gradient(delta, a_prev) + penalty


@partial(jax.jit, static_argnums=0)
def derivative(sigma: Activation, z: Array) -> Array:
    """σ′(z); for softmax the diagonal of its Jacobian."""
    a = sigma(z)
    return a * (1 - a) if sigma is softmax else sigma.prime(z, a)


@partial(jax.jit, static_argnums=0)
def derivative_as_written(sigma: Activation, array: Array) -> Array:
    """What σ′ makes of an array, be it the one that it takes or not."""
    return sigma.sigma_prime(array)


@jax.jit
def every_activation(z: Array) -> dict[str, Array]:
    """σ(z) of every σ there is, by name."""
    return {name: sigma(z) for name, sigma in ACTIVATIONS.items()}
