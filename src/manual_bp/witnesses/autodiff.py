"""The same record from `jax.grad` of the same cost."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.backprop import Backprop, batch_cost
from manual_bp.network import Network, Params, compiled


@compiled
def autodiff(
    net: Network, params: Params, x: Float[Array, "*m n_0"], y: Float[Array, "*m n_L"]
) -> Backprop:
    """What `backprop` computes, from automatic differentiation alone.

    δˡ = ∂C/∂zˡ is the derivative with respect to a zero that is added to zˡ. Takes, raises and
    gives what `manual_bp.backprop` does.
    """
    zeros = tuple(
        jnp.zeros((*x.shape[:-1], n), W.dtype)
        for n, (W, b) in zip(net.sizes[1:], params, strict=True)
    )

    def C(params: Params, zeros: tuple[Array, ...]) -> tuple[Array, Any]:
        z, a = [], [x]
        for l, (W, b) in enumerate(params, start=1):
            z.append(a[-1] @ W.T + b + zeros[l - 1])
            a.append(net.sigma(l).sigma(z[-1]))
        return batch_cost(net, params, z[-1], a[-1], y), (tuple(z), tuple(a))

    (cost, (z, a)), (gradients, delta) = jax.value_and_grad(C, argnums=(0, 1), has_aux=True)(
        params, zeros
    )
    dW, db = zip(*gradients, strict=True)
    return Backprop(cost, z, a, delta, dW, db)
