"""The six steps on every device's own part of the arrays, and the collectives between them.

It reads as `backprop.py` does. What a device holds of W, x, z and the rest is its shard, as
`layout.py` says; a sum that runs over neurons or examples of other devices is completed by `psum`.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Scalar

from manual_bp.arrays import in_64_bits
from manual_bp.backprop import (
    bias_gradient,
    output_delta,
    weight_gradient,
    weighted_input,
    with_penalty,
)
from manual_bp.calls import examples, read_call
from manual_bp.lean import recall, tie
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel.layout import Layout
from manual_bp.record import Backprop, by_layer
from manual_bp.surroundings import standard_promotion


def shard_steps(
    layout: Layout, m: int, params: Params, x: Array, y: Array, real: Array
) -> Backprop:
    """Steps 1 to 5 on one device: its shard of every z, a, δ, ∂C/∂W and ∂C/∂b.

    Its rows of x that are not `real` fill the batch up, and count for nothing.
    """
    net, (W, b), by_rows = layout.net, by_layer(params), layout.by_rows
    σ, L = net.sigma, net.depth
    z, a, delta, dW, db = {}, {0: x}, {}, {}, dict.fromkeys(net.layers)

    for l in net.layers:
        z[l] = weighted_input(gathered(layout, l, W[l]), None, a[l - 1])
        if not by_rows(l):  # a device has a part of the neurons that this sums over
            z[l] = psum(z[l], layout.model)
        z[l] = z[l] if b[l] is None else z[l] + b[l]  # once, after the sum
        a[l] = σ[l](z[l])  # aˡ = σ(zˡ)

    delta[L] = output_delta(net, z[L], a[L], y, m)  # BP1, with the whole batch's 1/m
    delta[L] = jnp.where(real[:, None], delta[L], 0)
    a_again = {0: x}
    for l in reversed(net.layers[:-1]):
        W_next = gathered(layout, l + 1, tie(W[l + 1], delta[l + 1]))  # not kept since step 1
        back = delta[l + 1] @ W_next
        if by_rows(l + 1):  # a device has a part of the neurons that this sums over
            back = psum(back, layout.model)
        sigma_prime, a_again[l] = recall(σ[l], z[l], a[l], back)
        delta[l] = back * sigma_prime  # BP2

    for l in net.layers:  # each sums over the examples of all devices
        if b[l] is not None:
            db[l] = psum(bias_gradient(delta[l]), layout.data)  # BP3
        dW[l] = scattered(layout, l, weight_gradient(delta[l], a_again[l - 1]))  # BP4
        dW[l], db[l] = with_penalty(net, W[l], b[l], dW[l], db[l])

    C = net.cost.value(z[L] if net.cost.of == "z" else a[L], y)
    C = psum(jnp.where(real, C, 0).sum() / m, layout.data)
    return Backprop.from_layers(C + penalty(layout, W, b), z, a, delta, dW, db)


def psum(part: Array, axis: str | None) -> Array:
    """The sum of all devices' parts along an axis of the mesh."""
    return part if axis is None else lax.psum(part, axis)


def gathered(layout: Layout, l: int, W: Array) -> Array:
    """Wˡ as it is used: fully sharded, the parts of it that lie along "data" are put together."""
    if not layout.fully_sharded or layout.data is None:
        return W
    return lax.all_gather(W, "data", axis=0 if layout.by_rows(l) else 1, tiled=True)


def scattered(layout: Layout, l: int, dW: Array) -> Array:
    """∂C/∂Wˡ summed over "data": whole on every device, or fully sharded each device's part."""
    if not layout.fully_sharded or layout.data is None:
        return psum(dW, layout.data)
    axis = 0 if layout.by_rows(l) else 1
    return lax.psum_scatter(dW, "data", scatter_dimension=axis, tiled=True)


def penalty(layout: Layout, W: dict[int, Array], b: dict[int, Any]) -> Any:
    """l2/2 Σ‖W‖², and Σ‖b‖² with l2_biases: of all shards, each counted once."""
    net, squares = layout.net, jnp.zeros((), W[1].dtype)
    if not net.l2:
        return squares
    for l in net.layers:
        of_W = (W[l] ** 2).sum()
        squares += lax.psum(of_W, layout.split) if layout.split else of_W
        if net.l2_biases and b[l] is not None:
            squares += psum((b[l] ** 2).sum(), layout.model if layout.by_rows(l) else None)
    return net.l2 / 2 * squares


# ── As one program ───────────────────────────────────────────────────────────────────────────────


def whole_steps(layout: Layout, params: Params, x: Array, y: Array) -> Backprop:
    """The record of a batch, on all devices; to be compiled as a part of something larger."""
    m, rows = examples(x), layout.size("data")
    real = jnp.arange(m + -m % rows) < m
    if m % rows:
        x, y = (jnp.pad(array, ((0, -m % rows), (0, 0)), "edge") for array in (x, y))
    places = layout.params(params), layout.z(0), layout.targets(), P(layout.data)
    record = layout.record(params)
    arguments = layout.put((tuple(Layer(*p) for p in params), x, y, real), places)
    steps = jax.shard_map(
        partial(shard_steps, layout, m), mesh=layout.on_auto_axes, in_specs=places, out_specs=record
    )
    found: Backprop = steps(*arguments)
    if m % rows:  # no shards of one size
        z, a, delta = ([rows[:m] for rows in arrays] for arrays in (found.z, found.a, found.delta))
        found = found._replace(z=tuple(z), a=tuple(a), delta=tuple(delta))
    return found


def descent_step(
    layout: Layout, params: Params, x: Array, y: Array
) -> tuple[Scalar, Array, tuple[Layer, ...]]:
    """C, aᴸ and the gradients of a batch, as `lean.descent_step` gives them."""
    record = whole_steps(layout, params, x, y)
    return record.cost, record.a[-1], tuple(map(Layer, record.dW, record.db))


@cache
def program(layout: Layout, of_record: Callable[[Backprop], Any]) -> Callable[..., Any]:
    """The compiled steps of a layout, of which a part of the record is asked."""

    @jax.jit
    @standard_promotion()
    def run(params: Params, x: Array, y: Array) -> Any:
        return of_record(whole_steps(layout, params, x, y))

    return run


def backprop(net: Network, mesh: Mesh, *, fully_sharded: bool = False) -> Callable[..., Backprop]:
    """A function (params, x, y) -> Backprop on a mesh, whose every array is sharded.

    Args:
        net: the network.
        mesh: of `jax.make_mesh`, with the axes "data", "model", or both.
        fully_sharded: split W over "data" as well, and gather it before it is used.

    Returns:
        A function of params, x and y as `manual_bp.backprop` takes them, from wherever they lie.
        The batch need not divide over "data": what is missing is filled up, and counts for nothing.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and each width that the
            devices do not divide.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params, mesh = net.init(jax.random.key(0)), jax.make_mesh((1, 1), ("data", "model"))
        >>> x, y = jnp.ones((5, 3)), jnp.ones((5, 2)) / 2
        >>> step = mbp.parallel.backprop(net, mesh)(params, x, y)
        >>> step.dW[0].sharding.spec
        P('model', None)
    """
    return partial(_call, Layout(net, mesh, fully_sharded), whole)


def value_and_grad(
    net: Network, mesh: Mesh, *, fully_sharded: bool = False
) -> Callable[..., tuple[Scalar, tuple[Layer, ...]]]:
    """A function (params, x, y) -> (C, gradients) on a mesh; each gradient lies where its W does.

    It takes and raises what `parallel.backprop` does.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params, mesh = net.init(jax.random.key(0)), jax.make_mesh((1,), ("data",))
        >>> f = mbp.parallel.value_and_grad(net, mesh)
        >>> C, gradients = f(params, jnp.ones((5, 3)), jnp.ones((5, 2)) / 2)
        >>> [layer.W.shape for layer in gradients]
        [(4, 3), (2, 4)]
    """
    return partial(_call, Layout(net, mesh, fully_sharded), cost_and_gradients)


def whole(record: Backprop) -> Backprop:
    """All of it, for `program`."""
    return record


def cost_and_gradients(record: Backprop) -> tuple[Scalar, tuple[Layer, ...]]:
    """C and the gradients, for `program`."""
    return record.cost, tuple(map(Layer, record.dW, record.db))


def _call(
    layout: Layout, of_record: Callable[[Backprop], Any], params: Params, x: Any, y: Any
) -> Any:
    call = read_call(layout.net, params, x, y, traced=True).in_one_dtype()
    if call.x.ndim != 2:
        raise ValueError(f"x: expected a batch of rows, (m, n_0), got shape {call.x.shape}")
    with in_64_bits(call.dtype) as handed_back:
        rows: Any = layout.z(0), layout.targets()
        if is_uneven := bool(examples(call.x) % layout.size("data")):
            rows = P(), P()
        placed = layout.put_params(call.params), *layout.put((call.x, call.y), rows)
        result = program(layout, of_record)(*placed)
        if not layout.is_auto:
            lies = of_record(layout.record(call.params, is_uneven))
            result = layout.put(result, lies, layout.mesh)
        return handed_back(result)
