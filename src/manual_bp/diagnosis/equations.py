"""The equations of `backprop.py`, each as one compiled program.

A diagnosis takes them one at a time. Run operation by operation, each operation would be compiled.
"""

from functools import partial

import jax
from jax import Array

from manual_bp.activations import ACTIVATIONS, Activation, softmax
from manual_bp.backprop import bias_gradient as _bias_gradient
from manual_bp.backprop import hidden_delta as _hidden_delta
from manual_bp.backprop import mean_cost as _mean_cost
from manual_bp.backprop import output_delta as _output_delta
from manual_bp.backprop import weight_gradient as _weight_gradient
from manual_bp.backprop import weighted_input as _weighted_input

weighted_input = jax.jit(_weighted_input)
activation = jax.jit(Activation.__call__, static_argnums=0)
mean_cost = jax.jit(_mean_cost, static_argnums=(0, 5))
output_delta = jax.jit(_output_delta, static_argnums=(0, 4))
bias_gradient = jax.jit(_bias_gradient)


@partial(jax.jit, static_argnums=0)
def hidden_delta(sigma: Activation, W_next: Array, delta_next: Array, z: Array, a: Array) -> Array:
    """BP2."""
    return _hidden_delta(W_next, delta_next, sigma.prime(z, a))


@partial(jax.jit, static_argnums=0)
def weight_gradient(l2: float, delta: Array, a_prev: Array, W: Array) -> Array:
    """BP4, with the penalty's own gradient."""
    return _weight_gradient(delta, a_prev) + (l2 * W if l2 else 0)


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
