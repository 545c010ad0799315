"""The six steps of backpropagation, as matrix and Hadamard products.

Examples are rows: x is (m, n_0); zˡ, aˡ and δˡ are (m, n_l); Wˡ is (n_l, n_{l-1}); ⊙ is `*`.
Without the batch axis each step is the textbook's equation for one example, to the letter.
Every result has the dtype of the parameters.

Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 2, BP1-BP4.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from manual_bp.network import Network, Params, compiled, compiled_update


class Backprop(NamedTuple):
    """What backpropagation computes, a tuple over the layers for each quantity."""

    cost: Array  # C, of the batch
    z: tuple[Array, ...]  # z¹ … zᴸ, the input sums
    a: tuple[Array, ...]  # a⁰ = x, a¹ … aᴸ, the activations
    delta: tuple[Array, ...]  # δ¹ … δᴸ, the errors ∂C/∂z
    dW: tuple[Array, ...]  # ∂C/∂W¹ … ∂C/∂Wᴸ
    db: tuple[Array, ...]  # ∂C/∂b¹ … ∂C/∂bᴸ


# ── The six steps, an equation each ──────────────────────────────────────────────────────────────


@compiled
def forward(
    net: Network, params: Params, x: Float[Array, "*m n_0"]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Step 1: zˡ = Wˡ aˡ⁻¹ + bˡ and aˡ = σ(zˡ); gives (z¹…zᴸ) and (a⁰…aᴸ)."""
    z, a = {}, {0: x}
    for l, (W, b) in enumerate(params, start=1):
        z[l] = a[l - 1] @ W.T + b
        a[l] = net.sigma(l).sigma(z[l])
    return tuple(z.values()), tuple(a.values())


def output_delta(
    net: Network, z: Float[Array, "*m n"], a: Float[Array, "*m n"], y: Float[Array, "*m n"]
) -> Float[Array, "*m n"]:
    """Step 2, BP1: δᴸ = ∇ₐC ⊙ σ′(zᴸ), of the output's z and a; the mean's 1/m enters here."""
    m = a.size // a.shape[-1]
    slope = net.cost.slope(a, y) / m
    if net.cost.delta is not None:
        return slope  # σ′ cancels
    return net.sigma(net.depth).pull_back(slope, z, a)


def hidden_delta(
    W_next: Float[Array, "n_next n"],
    delta_next: Float[Array, "*m n_next"],
    sigma_prime: Float[Array, "*m n"],
) -> Float[Array, "*m n"]:
    """Step 3, BP2: δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)."""
    return (delta_next @ W_next) * sigma_prime


def weight_gradient(
    delta: Float[Array, "*m n"], a_prev: Float[Array, "*m n_prev"]
) -> Float[Array, "n n_prev"]:
    """Step 4, BP4: ∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ, which for a batch adds up its examples."""
    return jnp.atleast_2d(delta).T @ jnp.atleast_2d(a_prev)


def bias_gradient(delta: Float[Array, "*m n"]) -> Float[Array, " n"]:
    """Step 5, BP3: ∂C/∂bˡ = δˡ, which for a batch adds up its examples."""
    return jnp.atleast_2d(delta).sum(axis=0)


@compiled_update
def update(params: Params, gradients: Params, learning_rate: float | Scalar) -> Params:
    """Step 6: W ← W − η ∂C/∂W, b ← b − η ∂C/∂b."""
    return jax.tree.map(lambda w, dw: w - learning_rate * dw, params, gradients)


# ── All of them ──────────────────────────────────────────────────────────────────────────────────


@compiled
def backprop(
    net: Network, params: Params, x: Float[Array, "*m n_0"], y: Float[Array, "*m n_L"]
) -> Backprop:
    """Steps 1 to 5: every z, a, δ, ∂C/∂W and ∂C/∂b of a batch, or of one example.

    Raises:
        ValueError, TypeError: naming every argument that does not fit the network.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> step = mbp.backprop(net, params, jnp.ones((5, 3)), jnp.eye(2)[jnp.arange(5) % 2])
        >>> [delta.shape for delta in step.delta], [dW.shape for dW in step.dW]
        ([(5, 4), (5, 2)], [(4, 3), (2, 4)])
    """
    L, W = net.depth, {l: W for l, (W, b) in enumerate(params, start=1)}
    z_record, a_record = forward(net, params, x)
    z, a = dict(enumerate(z_record, start=1)), dict(enumerate(a_record))

    delta = {L: output_delta(net, z[L], a[L], y)}  # BP1
    for l in range(L - 1, 0, -1):
        sigma_prime, a[l] = net.sigma(l).recall(z[l], a[l], delta[l + 1])
        delta[l] = hidden_delta(W[l + 1], delta[l + 1], sigma_prime)  # BP2
    dW = {l: weight_gradient(delta[l], a[l - 1]) for l in net.layers}  # BP4
    db = {l: bias_gradient(delta[l]) for l in net.layers}  # BP3
    if net.l2:
        dW = {l: dW[l] + net.l2 * W[l] for l in net.layers}  # the penalty's own gradient

    return Backprop(
        cost=batch_cost(net, params, z[L], a[L], y),
        z=z_record,
        a=a_record,
        delta=tuple(delta[l] for l in net.layers),
        dW=tuple(dW.values()),
        db=tuple(db.values()),
    )


@compiled
def cost(
    net: Network, params: Params, x: Float[Array, "*m n_0"], y: Float[Array, "*m n_L"]
) -> Scalar:
    """C of a batch: what `jax.grad` differentiates, and what `backprop` gives the gradients of."""
    z, a = forward(net, params, x)
    return batch_cost(net, params, z[-1], a[-1], y)


def batch_cost(net: Network, params: Params, z: Array, a: Array, y: Array) -> Scalar:
    """C from the output's z and a: the mean over the examples, and l2/2 · Σ‖W‖²."""
    C = net.cost.mean(z, a, y)
    if net.l2:
        C += net.l2 / 2 * sum((W**2).sum() for W, b in params)
    return C


def value_and_grad(net: Network) -> Callable[[Params, Array, Array], tuple[Scalar, Params]]:
    """A function (params, x, y) -> (C, gradients) that keeps one array a layer on its way.

    The gradients have the structure of params, so any `optax` optimiser takes them.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> C, gradients = mbp.value_and_grad(net)(params, jnp.ones((5, 3)), jnp.zeros((5, 2)))
        >>> params = mbp.update(params, gradients, learning_rate=0.1)
    """
    return partial(_cost_and_gradients, net)


@compiled
def _cost_and_gradients(net: Network, params: Params, x: Array, y: Array) -> tuple[Scalar, Params]:
    step = backprop(net, params, x, y)  # what is not returned, XLA does not keep
    gradients = [gradient for layer in zip(step.dW, step.db, strict=True) for gradient in layer]
    return step.cost, jax.tree.unflatten(jax.tree.structure(params), gradients)
