"""The judge: for each place what was got, the truth, and the bound; once per call.

Each equation is judged on the subject's own inputs: does its δˡ follow from its δˡ⁺¹, zˡ and W?
So one mistake is told once, and not again in all that follows from it. If every equation holds,
from x to ∂C/∂W, the whole holds by induction.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.network import Network, Params
from manual_bp.record import Place, by_layer, places
from manual_bp.rounding.arithmetic import FLOAT64_ROUNDOFF, Arithmetic
from manual_bp.rounding.dense import (
    Bounded,
    OwnActivation,
    Uncertain,
    activation_bound,
    bias_gradient_bound,
    cost_bound,
    differs,
    hidden_delta_bound,
    output_delta_bound,
    penalty,
    weight_gradient_bound,
    weighted_input_bound,
)
from manual_bp.verdicts.subject import Shown, double


class Judged(NamedTuple):
    """One place, judged; every array in float64.

    Attributes:
        place: where it is.
        got: what the subject gives there, or None.
        truth: what follows from the subject's own inputs, by autodiff of this one step.
        bound: the most that a right computation may differ from it, element by element.
        otherwise: another value that would be as right, and its bound; or None.
        terms: parts of the equation (a bias, the l2 penalty) that must show above the bound before
            agreement says anything about them.
        missing: the inputs that the subject did not give, whose truth was taken, by name.
    """

    place: Place
    got: Shown | None
    truth: Any
    bound: Any
    otherwise: tuple[Any, Any] | None
    terms: tuple[Any, ...]
    missing: tuple[str, ...]


def judge(
    net: Network,
    arithmetic: Arithmetic,
    params: Params,
    x: Any,
    y: Any,
    shown: dict[Place, Shown],
) -> list[Judged]:
    """Every equation of a network on a batch, in the order of the six steps.

    Args:
        net: the network.
        arithmetic: how the subject's numbers were rounded.
        params: a `Layer(W, b)` for each layer.
        x: (m, n_0), or (n_0,).
        y: (m, n_L), or (n_L,).
        shown: what the subject gives, by place. Downstream of what it does not give stands the
            truth, with its bound as its uncertainty.
    """
    with jax.enable_x64(True):
        x, y = jnp.atleast_2d(x), jnp.atleast_2d(y)
        params, x, y, shown = jax.tree.map(double, (params, x, y, shown))
        return _judge(net, arithmetic, params, x, y, shown)


def _judge(
    net: Network, arithmetic: Arithmetic, params: Params, x: Any, y: Any, shown: dict[Place, Shown]
) -> list[Judged]:
    # The truth's own float64 rounding is one more contribution to each bound.
    ar = arithmetic._replace(
        u=arithmetic.u + FLOAT64_ROUNDOFF, accumulator=arithmetic.accumulator + FLOAT64_ROUNDOFF
    )
    (W, b), σ, L, cost, l2 = by_layer(params), net.sigma, net.depth, net.cost, net.l2
    at = {(place.quantity, place.layer): shown.get(place) for place in places(net)}
    z: dict[int, Uncertain] = {}
    a: dict[int, Uncertain] = {}
    delta: dict[int, Uncertain] = {}
    own: dict[int, OwnActivation] = {}
    right: Bounded
    reads: dict[str, int]
    judged = []
    for place in places(net):
        l, terms = place.layer, tuple[Any, ...]()
        match place.kind:
            case "x":
                right, reads = Bounded(x, ar.reading * jnp.abs(x)), {}
            case "z":
                right, reads = weighted_input_bound(ar, W[l], b[l], a[l - 1]), {"a": l - 1}
                terms = (b[l],)
            case "a":
                right, reads = activation_bound(ar, σ[l], z[l]), {"z": l}
            case "cost":
                right, reads = cost_bound(ar, net, params, z[L], a[L], y), {cost.of: L}
                terms = (penalty(l2, params),) if l2 else ()
            case "BP1":
                right, reads = output_delta_bound(ar, cost, σ[L], z[L], own[L], y), {"z": L}
            case "BP2":
                right = hidden_delta_bound(ar, σ[l], W[l + 1], delta[l + 1], z[l], own[l])
                reads = {"delta": l + 1, "z": l}
            case "BP3":
                right, reads = bias_gradient_bound(ar, delta[l]), {"delta": l}
            case "BP4":
                right = weight_gradient_bound(ar, l2, W[l], delta[l], a[l - 1])
                reads, terms = {"delta": l, "a": l - 1}, (l2 * W[l],) if l2 else ()
        got = shown.get(place)
        if place.is_per_example:
            value = _to_go_on_with(ar, place, got, right)
            {"z": z, "a": a, "delta": delta}[place.quantity][l] = value
            if place.kind == "a":
                own[l] = OwnActivation(got and got.value, got is not None and differs(value, right))
        missing = tuple(f"{name}{l}" for name, l in reads.items() if at[name, l] is None)
        judged.append(Judged(place, got, *right, terms, missing))
    return [_finished(one) for one in jax.device_get(judged)]


def _to_go_on_with(ar: Arithmetic, place: Place, got: Shown | None, right: Bounded) -> Uncertain:
    """What the next equations read: the subject's own value, or the truth in its place."""
    if got is None:
        return Uncertain(right.truth, right.bound)
    value, valid, error = got
    if ar.excess and place.kind != "x":  # x is as it was given
        error = ar.excess * jnp.abs(value) + (0 if error is None else error)
    if valid is None:
        return Uncertain(value, error)
    return Uncertain(
        jnp.where(valid, value, right.truth),
        jnp.where(valid, 0 if error is None else error, right.bound),
    )


@np.errstate(invalid="ignore", over="ignore")
def _finished(judged: Judged) -> Judged:
    """On the host, with the subject's own error in the bound, and Inf for a bound of no claim."""
    truth, bound = np.asarray(judged.truth), np.asarray(judged.bound)
    if judged.got is not None and judged.got.error is not None:
        bound = bound + judged.got.error
    if np.isnan(bound.sum()):
        # γₙ is infinite for a long sum in a short format; times 0 it makes no claim either.
        bound = np.where(np.isnan(bound), np.inf, bound)
    return judged._replace(truth=truth, bound=bound)
