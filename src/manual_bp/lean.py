"""The same steps, keeping one array a layer: less memory than autodiff, and no record.

Where σ′ can be had from a, the way back reads a, and z is not stored. Where it takes z (silu and
gelu), z is stored, and a is computed again. The tests hold the result to `backprop.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
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
from manual_bp.checks import Problems, flag, one_of, whole_number
from manual_bp.network import Layer, Network, Params
from manual_bp.record import by_layer

PART_BYTES = 8 * 2**20
"""What the arrays of one part may take: about a processor's cache."""

Microbatch = int | str | None


def value_and_grad(
    net: Network, microbatch: Microbatch = None
) -> Callable[[Params, Any, Any], tuple[Scalar, Any]]:
    """A function (params, x, y) -> (C, gradients) that keeps one array a layer on its way.

    The gradients have the structure of params, so any `optax` optimiser takes them.

    Args:
        net: the network.
        microbatch: how many examples to take at a time; their gradients are added up, so memory
            does not grow with the batch. "auto": as many as have their arrays in 8 MiB, and no
            fewer than twice the widest layer. Without it the whole batch at once.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> C, gradients = mbp.value_and_grad(net)(params, jnp.ones((5, 3)), jnp.zeros((5, 2)))
        >>> params = mbp.update(params, gradients, learning_rate=0.1)
    """
    check_network(net)
    check_microbatch(microbatch)
    return partial(_cost_and_gradients_of(microbatch), net)


def check_microbatch(microbatch: Any) -> None:
    """Raise an error where this is no number of examples, nor "auto"."""
    problems = Problems()
    if isinstance(microbatch, str):
        one_of("microbatch", microbatch, ("auto",), problems)
    elif microbatch is not None:
        whole_number("microbatch", microbatch, 1, problems)
    problems.raise_all()


@cache
def _cost_and_gradients_of(microbatch: Microbatch) -> Callable[..., tuple[Scalar, Any]]:
    @compiled_giving(lambda record, params: (record.cost, params))
    def cost_and_gradients(net: Network, params: Params, x: Array, y: Array) -> tuple[Scalar, Any]:
        C, _, gradients = descent_step(net, params, x, y, microbatch, outputs=False)
        return C, jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(gradients))

    return cost_and_gradients


def descent_step(
    net: Network,
    params: Params,
    x: Array,
    y: Array,
    microbatch: Microbatch = None,
    outputs: bool = True,
) -> tuple[Scalar, Array, tuple[Layer, ...]]:
    """C, aᴸ and the gradients of a batch; to be compiled as a part of something larger.

    In parts, aᴸ is kept of all of them only where the `outputs` are wanted.
    """
    m, size = examples(x), part_size(net, microbatch)
    if x.ndim == 1 or size is None or size >= m:
        return _steps(net, params, x, y, m)
    return _added_up(net, params, x, y, size, outputs)


def part_size(net: Network, microbatch: Microbatch) -> int | None:
    """How many examples a part has; None for all of them."""
    if microbatch != "auto":
        return None if microbatch is None else int(microbatch)
    of_an_example = 4 * sum(net.sizes)
    return max(2 * max(net.sizes[1:]), PART_BYTES // of_an_example)


def _steps(
    net: Network, params: Params, x: Array, y: Array, m: int, sums: Any = None
) -> tuple[Scalar, Array, tuple[Layer, ...]]:
    """What these examples, some of m or all, add to C and the gradients; and their aᴸ.

    `sums` is the format that the gradients are added up in, where it is another.
    """
    (W, b), σ, L = by_layer(params), net.sigma, net.depth
    z, a = {}, {0: x}
    for l in net.layers:
        z[l] = weighted_input(W[l], b[l], a[l - 1])
        a[l] = σ[l](z[l])
    output = a[L]

    delta = {L: output_delta(net, z[L], output, y, m)}  # BP1
    for l in reversed(net.layers[:-1]):
        sigma_prime, a[l] = recall(σ[l], z[l], a[l], delta[l + 1])
        delta[l] = hidden_delta(W[l + 1], delta[l + 1], sigma_prime)  # BP2
    C = mean_cost(net, params, z[L], output, y, m)
    if sums is not None:
        delta, a = ({l: v.astype(sums) for l, v in of.items()} for of in (delta, a))
    dW = {l: weight_gradient(delta[l], a[l - 1]) for l in net.layers}  # BP4
    db = {l: None if b[l] is None else bias_gradient(delta[l]) for l in net.layers}  # BP3
    gradients = (Layer(*with_penalty(net, W[l], b[l], dW[l], db[l])) for l in net.layers)
    return C, output, tuple(gradients)


def _added_up(
    net: Network, params: Params, x: Array, y: Array, size: int, outputs: bool
) -> tuple[Scalar, Array, tuple[Layer, ...]]:
    """The same of all examples, so many at a time; the last part may be shorter.

    The penalty is counted with the first part. Short formats are added up in float32. Without
    `outputs` aᴸ is that of the first part alone.
    """
    m, bare, dtype = len(x), replace(net, l2=0.0), x.dtype
    sums = jnp.promote_types(dtype, jnp.float32)

    def add(total: Any, first: Any, n: int) -> tuple[Any, Any]:
        x_n, y_n = (jax.lax.dynamic_slice_in_dim(v, first, n) for v in (x, y))
        C, output, gradients = _steps(bare, params, x_n, y_n, m, sums)
        return jax.tree.map(jnp.add, total, (C, gradients)), output if outputs else None

    C, output, gradients = _steps(net, params, x[:size], y[:size], m, sums)
    total: Any = (C.astype(sums), gradients)
    starts = jnp.arange(size, m - m % size, size)
    total, middle = jax.lax.scan(lambda total, first: add(total, first, size), total, starts)
    last = output[:0]
    if m % size:
        total, last = add(total, m - m % size, m % size)
    C, gradients = jax.tree.map(lambda sum: sum.astype(dtype), total)
    if outputs:
        output = jnp.concatenate([output, middle.reshape(-1, output.shape[-1]), last])
    return C, output, gradients


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
