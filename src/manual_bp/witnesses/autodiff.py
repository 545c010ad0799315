"""The same record from `jax.grad` of the same cost."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.backprop import mean_cost
from manual_bp.calls import compiled, examples
from manual_bp.network import Network, Params
from manual_bp.record import Backprop, by_layer


@compiled
def autodiff(
    net: Network, params: Params, x: Float[Array, "*m n_0"], y: Float[Array, "*m n_L"]
) -> Backprop:
    """What `backprop` computes, from automatic differentiation alone.

    δˡ = ∂C/∂zˡ is the derivative with respect to a zero that is added to zˡ. Takes, raises and
    gives what `manual_bp.backprop` does.
    """
    L, m, dtype = net.depth, examples(x), params[0][0].dtype
    zeros = tuple(jnp.zeros((*x.shape[:-1], n), dtype) for n in net.sizes[1:])

    def C(params: Params, zeros: tuple[Array, ...]) -> tuple[Array, Any]:
        (W, b), z, a = by_layer(params), {}, {0: x}
        for l, zero in enumerate(zeros, start=1):
            z[l] = a[l - 1] @ W[l].T + (0 if b[l] is None else b[l]) + zero
            a[l] = net.sigma[l](z[l])
        record = tuple(z.values()), tuple(a.values())
        return mean_cost(net, params, z[L], a[L], y, m), record

    (cost, (z, a)), (gradients, delta) = jax.value_and_grad(C, argnums=(0, 1), has_aux=True)(
        params, zeros
    )
    dW, db = zip(*gradients, strict=True)
    return Backprop(cost, z, a, delta, dW, db)
