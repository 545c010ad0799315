"""The same steps, keeping one array a layer: less memory than autodiff, and no record.

Where σ′ can be had from a, the way back reads a, and z is not stored. Where it takes z (silu and
gelu), z is stored, and a is computed again. The tests hold the result to `backprop.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Scalar

from manual_bp.activations import Activation
from manual_bp.backprop import (
    bias_gradient,
    forward,
    hidden_delta,
    mean_cost,
    output_delta,
    weight_gradient,
    weighted_input,
    with_penalty,
)
from manual_bp.calls import check_network, compiled_giving, examples
from manual_bp.checks import Problems, flag
from manual_bp.network import Layer, Network, Params
from manual_bp.record import by_layer


def value_and_grad(net: Network) -> Callable[[Params, Any, Any], tuple[Scalar, Any]]:
    """A function (params, x, y) -> (C, gradients) that keeps one array a layer on its way.

    The gradients have the structure of params, so any `optax` optimiser takes them.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> C, gradients = mbp.value_and_grad(net)(params, jnp.ones((5, 3)), jnp.zeros((5, 2)))
        >>> params = mbp.update(params, gradients, learning_rate=0.1)
    """
    check_network(net)
    return partial(_cost_and_gradients, net)


@compiled_giving(lambda record, params: (record.cost, params))
def _cost_and_gradients(net: Network, params: Params, x: Array, y: Array) -> tuple[Scalar, Any]:
    C, _, gradients = descent_step(net, params, x, y)
    return C, jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(gradients))


def descent_step(
    net: Network, params: Params, x: Array, y: Array
) -> tuple[Scalar, Array, tuple[Layer, ...]]:
    """C, aᴸ and the gradients of a batch; to be compiled as a part of something larger."""
    (W, b), σ, L, m = by_layer(params), net.sigma, net.depth, examples(x)
    z, a = {}, {0: x}
    for l in net.layers:
        z[l] = weighted_input(W[l], b[l], a[l - 1])
        a[l] = σ[l](z[l])
    output = a[L]

    delta = {L: output_delta(net, z[L], output, y, m)}  # BP1
    for l in reversed(net.layers[:-1]):
        sigma_prime, a[l] = recall(σ[l], z[l], a[l], delta[l + 1])
        delta[l] = hidden_delta(W[l + 1], delta[l + 1], sigma_prime)  # BP2
    dW = {l: weight_gradient(delta[l], a[l - 1]) for l in net.layers}  # BP4
    db = {l: None if b[l] is None else bias_gradient(delta[l]) for l in net.layers}  # BP3
    C = mean_cost(net, params, z[L], output, y, m)
    gradients = (Layer(*with_penalty(net, W[l], b[l], dW[l], db[l])) for l in net.layers)
    return C, output, tuple(gradients)


def recall(sigma: Activation, z: Array, a: Array, delta_next: Array) -> tuple[Array, Array]:
    """σ′(z) and a, as the way back reads them from the one array of a layer that is stored."""
    if sigma.of == "a":
        return sigma.sigma_prime(a), a
    z = tie(z, delta_next)
    return sigma.sigma_prime(z), sigma(z)


def tie(z: Array, delta: Array) -> Array:
    """The same z, but available only once `delta` is.

    Without the tie, XLA merges σ(z) of the way back with that of the way forward and keeps both z
    and a in memory from one to the other. No finite result changes; a NaN stays a NaN.
    """
    first = delta[(slice(1),) * delta.ndim]
    return jnp.where(jnp.isnan(first), first, z)


def predict(net: Network, params: Params, x: Any, *, classes: bool = False) -> Any:
    """aᴸ, what the network says of each example; with `classes`, the number of its class.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.
        x: (m, n_0), or (n_0,) for one example.
        classes: give the position of the largest output, (m,) integers, in place of the outputs;
            of a single output 1 where it is ½ or more, with hinge 0 or more, and else 0.

    Returns:
        (m, n_L), or (n_L,) for one example.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 1.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("softmax",), "cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> mbp.predict(net, params, jnp.ones((5, 3))).shape
        (5, 2)
        >>> mbp.predict(net, params, jnp.ones((5, 3)), classes=True).shape
        (5,)
    """
    problems = Problems()
    flag("classes", classes, problems)
    problems.raise_all()
    output = _output(net, params, x)
    return class_of(net, output) if classes else output


def class_of(net: Network, output: Any) -> Any:
    """The number of the class that outputs tell of each example; or that targets do."""
    if output.shape[-1] > 1:
        return output.argmax(axis=-1)
    middle = 0.0 if net.cost.family == "hinge" else 0.5
    return (output[..., 0] >= middle).astype(int)


@compiled_giving(lambda record, _: record.a[-1])
def _output(net: Network, params: Params, x: Array) -> Array:
    _, a = forward(net, params, x)
    return a[-1]
