"""What a batch cannot show of a backward pass."""

from typing import Any

import jax
import numpy as np

from manual_bp.backprop import forward
from manual_bp.calls import Call, examples
from manual_bp.diagnosis.compiled import derivative
from manual_bp.network import Network
from manual_bp.record import by_layer
from manual_bp.verdicts.compare import Agreement


def blind_spots(call: Call) -> list[str]:
    """What a batch cannot show, and why."""
    net, params, x, _ = call
    sums, _ = jax.device_get(forward(net, params, x))
    m, (_, b), σ = examples(x), by_layer(params), net.sigma
    found = []
    for l, z_l in zip(net.layers[:-1], sums, strict=False):
        with jax.enable_x64(True):
            z = np.atleast_2d(z_l).astype(np.float64)
            prime = np.asarray(derivative(σ[l], z))
        dead = int((prime == 0).all(axis=0).sum())
        if dead:
            found.append(
                f"{dead} of {net.sizes[l]} units of layer {l} are dead (σ′ = 0 on every example): "
                f"no mistake in their δ or weights can show."
            )
        saturated = int((np.abs(prime).max(axis=0) < 1e-3).sum()) - dead
        if saturated > 0:
            found.append(
                f"{saturated} of {net.sizes[l]} units of layer {l} are saturated (σ′ < 1e-3): "
                f"mistakes in their δ hardly show."
            )
    square = [str(l) for l in net.layers if net.sizes[l] == net.sizes[l - 1]]
    if square:
        found.append(
            f"layer {', '.join(square)} is square: a transposed W or ∂C/∂W has the right shape; "
            f"take unequal widths."
        )
    zero = [str(l) for l in net.layers if b[l] is not None and not np.asarray(b[l]).any()]
    if zero:
        hidden = "bias_omitted, bias_twice and bias_penalised"
        found.append(
            f"the biases of layer {', '.join(zero)} are zero: "
            f"{hidden if net.l2 else 'bias_omitted and bias_twice'} cannot show."
        )
    if m == 1:
        found.append(
            "there is one example: sum_for_mean, mean_twice, mean_again, bias_averaged and "
            "targets_of_other_examples cannot show."
        )
    if m > 1 and m in net.sizes:
        found.append(
            f"the batch has as many examples as a layer has neurons, {m}: a sum over the wrong "
            f"axis has the right shape; take another number."
        )
    return found


def ambiguities(net: Network, x: Any, agreement: Agreement) -> list[str]:
    """Where rows and columns have the same shape."""
    wrong = {row.quantity for row in agreement.disagreements}
    found = []
    if x.ndim == 2 and wrong & {"z", "a", "delta"} and set(net.sizes) == {len(x)}:
        found.append(
            f"every array of the batch is {len(x)} × {len(x)}: rows and columns cannot be told "
            f"apart by shape; take unequal widths."
        )
    return found
