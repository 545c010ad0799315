"""The six steps of backpropagation, as matrix and Hadamard products.

Examples are rows: x is (m, n_0); zˡ, aˡ and δˡ are (m, n_l); Wˡ is (n_l, n_{l-1}); ⊙ is `*`.
Without the batch axis each step is the textbook's equation for one example, to the letter.
Every result has the dtype of the parameters.

Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 2, BP1-BP4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from manual_bp.calls import compiled, compiled_giving, compiled_update, examples
from manual_bp.equation import equation
from manual_bp.network import Network, Params, SameParams
from manual_bp.record import Backprop, by_layer


@equation
def weighted_input(
    W: Float[Array, "n n_prev"], b: Float[Array, " n"] | None, a_prev: Float[Array, "*m n_prev"]
) -> Float[Array, "*m n"]:
    """Step 1: zˡ = Wˡ aˡ⁻¹ + bˡ; zˡ = Wˡ aˡ⁻¹ in a layer without biases."""
    z = a_prev @ W.T
    return z if b is None else z + b


@equation
def output_delta(
    net: Network, z: Float[Array, "*m n"], a: Float[Array, "*m n"], y: Float[Array, "*m n"], m: int
) -> Float[Array, "*m n"]:
    """Step 2, BP1: δᴸ = ∇ₐC ⊙ σ′(zᴸ), of the output's z and a; the 1/m of the mean enters here."""
    slope = net.cost.slope(a, y) / m
    return slope if net.cost.delta else net.sigma[net.depth].pull_back(slope, z, a)


@equation
def hidden_delta(
    W_next: Float[Array, "n_next n"],
    delta_next: Float[Array, "*m n_next"],
    sigma_prime: Float[Array, "*m n"],
) -> Float[Array, "*m n"]:
    """Step 3, BP2: δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)."""
    return (delta_next @ W_next) * sigma_prime


@equation
def weight_gradient(
    delta: Float[Array, "*m n"], a_prev: Float[Array, "*m n_prev"]
) -> Float[Array, "n n_prev"]:
    """Step 4, BP4: ∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ, which for a batch adds up its examples."""
    return jnp.atleast_2d(delta).T @ jnp.atleast_2d(a_prev)


@equation
def bias_gradient(delta: Float[Array, "*m n"]) -> Float[Array, " n"]:
    """Step 5, BP3: ∂C/∂bˡ = δˡ, which for a batch adds up its examples."""
    return jnp.atleast_2d(delta).sum(axis=0)


@compiled_update
def update(params: SameParams, gradients: Params, learning_rate: float | Scalar) -> SameParams:
    """Step 6: W ← W − η ∂C/∂W, b ← b − η ∂C/∂b."""
    return jax.tree.map(lambda w, dw: w - learning_rate * dw, params, gradients)


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
    (W, b), σ, L, m = by_layer(params), net.sigma, net.depth, examples(x)
    z, a, delta, dW, db = {}, {0: x}, {}, {}, dict.fromkeys(net.layers)

    for l in net.layers:
        z[l] = weighted_input(W[l], b[l], a[l - 1])  # zˡ = Wˡ aˡ⁻¹ + bˡ
        a[l] = σ[l](z[l])  # aˡ = σ(zˡ)

    for l in reversed(net.layers):
        if l == L:
            delta[l] = output_delta(net, z[l], a[l], y, m)  # BP1
        else:
            delta[l] = hidden_delta(W[l + 1], delta[l + 1], σ[l].prime(z[l], a[l]))  # BP2
        if b[l] is not None:
            db[l] = bias_gradient(delta[l])  # BP3
        dW[l] = weight_gradient(delta[l], a[l - 1])  # BP4
        dW[l], db[l] = with_penalty(net, W[l], b[l], dW[l], db[l])

    C = mean_cost(net, params, z[L], a[L], y, m)
    return Backprop.from_layers(C, z, a, delta, dW, db)


@compiled_giving(lambda record, _: (record.z, record.a))
def forward(
    net: Network, params: Params, x: Float[Array, "*m n_0"]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Step 1 alone, layer by layer; gives (z¹…zᴸ) and (a⁰…aᴸ)."""
    (W, b), z, a = by_layer(params), {}, {0: x}
    for l in net.layers:
        z[l] = weighted_input(W[l], b[l], a[l - 1])
        a[l] = net.sigma[l](z[l])
    return tuple(z.values()), tuple(a.values())


@compiled_giving(lambda record, _: record.cost)
def cost(
    net: Network, params: Params, x: Float[Array, "*m n_0"], y: Float[Array, "*m n_L"]
) -> Scalar:
    """C of a batch: what `jax.grad` differentiates, and what `backprop` gives the gradients of."""
    z, a = forward(net, params, x)
    return mean_cost(net, params, z[-1], a[-1], y, examples(x))


def mean_cost(net: Network, params: Params, z: Array, a: Array, y: Array, m: int) -> Scalar:
    """C from the output's z and a: the mean over the m examples, and l2/2 · Σ‖W‖²."""
    C = net.cost.mean(z, a, y, m)
    if net.l2:
        C += net.l2 / 2 * sum((w**2).sum() for w in net.penalised(params))
    return C


def with_penalty(
    net: Network, W: Array, b: Array | None, dW: Array, db: Array | None
) -> tuple[Array, Array | None]:
    """∂C/∂W and ∂C/∂b of a layer with the penalty's own gradient: l2 · W, and l2 · b."""
    if net.l2:
        dW = dW + net.l2 * W
        if net.l2_biases and b is not None and db is not None:
            db = db + net.l2 * b
    return dW, db
