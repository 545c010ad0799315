"""The judge: for each place what was got, the truth, and the bound; once per call.

Each equation is judged on the subject's own inputs: does its δˡ follow from its δˡ⁺¹, zˡ and W?
So one mistake is told once, and not again in all that follows from it. If every equation holds,
from x to ∂C/∂W, the whole holds by induction.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.calls import Call
from manual_bp.network import Network, Params
from manual_bp.record import Place, by_layer, places
from manual_bp.rounding.arithmetic import (
    FLOAT64_ROUNDOFF,
    Arithmetic,
    Uncertain,
    arithmetic_of,
)
from manual_bp.rounding.dense import (
    Bounded,
    OwnActivation,
    activation_bound,
    bias_gradient_bound,
    cost_bound,
    cost_from_a_bound,
    differs,
    hidden_delta_bound,
    output_delta_bound,
    penalty,
    penalty_gradient,
    rounded_in_order,
    scaled,
    weight_gradient_bound,
    weighted_input_bound,
)
from manual_bp.subjects.convention import Scales
from manual_bp.subjects.subject import Shown, Subject, double

SHORT_SUMS = "sums kept in this short format explain it; kept in float32 they would be nearer"


class Allowance(NamedTuple):
    """What is right too where it explains all that is off, with a word on it.

    Attributes:
        value: what it makes right.
        bound: the most that a right computation of that kind may differ from it.
        note: which kind that is.
    """

    value: Any
    bound: Any
    note: str

    def explains(self, got: Shown) -> bool:
        """Whether everything that is given is such a value."""
        with np.errstate(invalid="ignore", over="ignore"):
            fits = np.abs(got.value - self.value) <= self.bound
        return bool((fits if got.valid is None else fits | ~got.valid).all())


class Judged(NamedTuple):
    """One place, judged; every array in float64.

    Attributes:
        place: where it is.
        got: what the subject gives there, or None.
        truth: what follows from the subject's own inputs, by autodiff of this one step, in the
            subject's own scale.
        bound: the most that a right computation may differ from it, element by element.
        otherwise: another value that would be as right, and its bound; or None.
        terms: parts of the equation (a bias, the l2 penalty) that must show above the bound before
            agreement says anything about them.
        missing: the inputs that the subject did not give, whose truth was taken, by name.
        allowances: where the place is off, what it is judged by as well.
    """

    place: Place
    got: Shown | None
    truth: Any
    bound: Any
    otherwise: tuple[Any, Any] | None
    terms: tuple[Any, ...]
    missing: tuple[str, ...]
    allowances: tuple[Allowance, ...] = ()

    def allowing(self, more: Allowance) -> "Judged":
        """The same with one more allowance."""
        return self._replace(allowances=(*self.allowances, more))

    def with_the_truth(self) -> "Judged":
        """The same of who has it right."""
        return self._replace(got=Shown(self.truth), otherwise=None, allowances=())

    @property
    def is_off(self) -> bool:
        """Whether a value that is given lies outside its bound."""
        one = Allowance(self.truth, self.bound, "")
        return self.got is not None and not one.explains(self.got)


def judge(call: Call, subject: Subject) -> list[Judged]:
    """Every equation of a network on a batch, in the order of the six steps.

    Each is in the subject's own scale. Downstream of what it does not give stands the truth, with
    its bound as its uncertainty.
    """
    with jax.enable_x64(True):
        x, y = (jnp.atleast_2d(double(array)) for array in (call.x, call.y))
        params, shown = jax.tree.map(double, (call.params, subject.shown))
        args, subject = (call.net, params, x, y), subject._replace(shown=shown)
        judged = _judge(*args, subject)
        off = {one.place for one in judged if one.is_off}
        for other, note in _otherwise_rounded(call.net, subject, judged) if off else ():
            for i, loose in enumerate(_judge(*args, other)):
                if loose.place in off and np.isfinite(loose.bound).all():
                    judged[i] = judged[i].allowing(Allowance(loose.truth, loose.bound, note))
        judged = [_with_short_sums(subject, judged, one) for one in judged]
        return [_with_cost_from_a(*args, subject, judged, one) for one in judged]


def reach_of(call: Call, subject: Subject) -> list[Judged]:
    """What rounding can do from x on to a record of this subject's arithmetic and scale."""
    return judge(call, subject._replace(shown={}))


def _judge(net: Network, params: Params, x: Any, y: Any, subject: Subject) -> list[Judged]:
    (W, b), σ, L, cost = by_layer(params), net.sigma, net.depth, net.cost
    shown, scales = subject.shown, subject.scales
    kept = {(place.quantity, place.layer): ar.excess for place, ar in subject.by_place.items()}
    collected = scales.collected
    at = {(place.quantity, place.layer): shown.get(place) for place in places(net)}
    z: dict[int, Uncertain] = {}
    a: dict[int, Uncertain] = {}
    delta: dict[int, Uncertain] = {}
    own: dict[int, OwnActivation] = {}
    right: Bounded
    reads: dict[str, int]
    judged = []

    def as_read(one: Uncertain, quantity: str, l: int) -> Uncertain:
        """As an equation reads it: rounded to its format, where it is kept in a finer one."""
        finer = at[quantity, l] is not None and kept.get((quantity, l), ar.u) < ar.u
        return one.rounded(ar.u) if finer else one

    for place in places(net, params):
        l, terms = place.layer, tuple[Any, ...]()
        ar = _with_own_rounding(subject.by_place.get(place, subject.arithmetic))
        added = _penalty(net, scales, place, params)
        match place.kind:
            case "x":
                right, reads = Bounded(x, ar.reading * jnp.abs(x) + ar.tiny), {}
            case "z":
                right, reads = weighted_input_bound(ar, W[l], b[l], a[l - 1]), {"a": l - 1}
                terms = () if b[l] is None else (b[l],)
            case "a":
                right, reads = activation_bound(ar, σ[l], as_read(z[l], "z", l)), {"z": l}
            case "cost":
                times = scales.cost, scales.cost_penalty
                inputs = as_read(z[L], "z", L), as_read(a[L], "a", L)
                right, reads = cost_bound(ar, net, params, *inputs, y, *times), {cost.of: L}
            case "BP1":
                read = as_read(z[L], "z", L)
                right, reads = output_delta_bound(ar, cost, σ[L], read, own[L], y), {"z": L}
                right = right if scales.delta == 1 else scaled(ar, right, scales.delta)
            case "BP2":
                read = as_read(z[l], "z", l)
                right = hidden_delta_bound(ar, σ[l], W[l + 1], delta[l + 1], read, own[l])
                reads = {"delta": l + 1, "z": l}
            case "BP3":
                read = as_read(delta[l], "delta", l)
                right, reads = bias_gradient_bound(ar, read, collected, added), {"delta": l}
            case "BP4":
                right = weight_gradient_bound(ar, delta[l], a[l - 1], collected, added)
                reads = {"delta": l, "a": l - 1}
        terms = terms if added is None else (added,)
        got = shown.get(place)
        if place.is_per_example:
            before = {"z": l - 1, "BP2": l + 1}.get(
                place.kind
            )  # whose neurons the product sums over
            is_sum = before is None or net.sizes[before] > 1
            value = _to_go_on_with(ar, place, got, right, is_sum)
            {"z": z, "a": a, "delta": delta}[place.quantity][l] = value
            if place.kind == "a":
                own[l] = OwnActivation(got and got.value, got is not None and differs(value, right))
        missing = tuple(f"{name}{l}" for name, l in reads.items() if at[name, l] is None)
        judged.append(Judged(place, got, *right, terms, missing))
    return [_finished(one) for one in jax.device_get(judged)]


def _otherwise_rounded(
    net: Network, subject: Subject, judged: list[Judged]
) -> Iterator[tuple[Subject, str]]:
    """The ways in which a right program may have rounded what is off, and a word on each.

    Compilers keep the sums of short numbers in float32, but a program of one's own may not. One
    under autocast widens its gradients: where they alone are shown, and all lie on a short format's
    grid while the truth does not, that format is what they were computed in.
    """
    every = (subject.arithmetic, *subject.by_place.values())
    if any(ar.accumulator < ar.u for ar in every):

        def coarse(ar: Arithmetic) -> Arithmetic:
            return ar._replace(accumulator=max(ar.accumulator, ar.u))

        by_place = {place: coarse(ar) for place, ar in subject.by_place.items()}
        yield subject._replace(arithmetic=coarse(subject.arithmetic), by_place=by_place), SHORT_SUMS
    shown = [one for one in judged if one.got is not None]
    if any(one.place.is_per_example and one.place.layer for one in shown):
        return
    gradients = [one for one in shown if one.got and one.place.quantity in ("dW", "db")]
    # A penalty may have been added after the gradient was widened, or before.
    free = [one for one in gradients if _penalty_free(net, one.place)]
    for dtype in ("bfloat16", "float16"):
        ar = arithmetic_of(dtype, precision=None, platform="cpu")
        on_grid = any(_are_kept_in(dtype, these) for these in (free, gradients))
        if subject.arithmetic.u < ar.u and on_grid:
            short = ar._replace(reading=ar.u, product=ar.u)
            note = f"all gradients are numbers of {dtype}, and judged as computed in it"
            yield subject._replace(arithmetic=short, by_place={}), note


def _with_short_sums(subject: Subject, judged: list[Judged], one: Judged) -> Judged:
    """A gradient that is off, with what a sum over the examples in its short format may do to it.

    Not the worst case, which makes no claim about 256 examples in bfloat16: it is enough that the
    sum was kept in their order, whole or in parts.
    """
    ar = subject.by_place.get(one.place, subject.arithmetic)
    shown = not one.missing and one.place.quantity in ("db", "dW")
    if not (shown and one.is_off and ar.accumulator < ar.u):
        return one
    at = {other.place.name: other.got for other in judged}
    delta, a = at[f"delta{one.place.layer}"], at[f"a{one.place.layer - 1}"]
    assert delta is not None  # nothing is missing
    others = np.ones((len(delta.value), 1))
    if one.place.quantity == "dW":
        assert a is not None
        others = a.value
    spread = np.asarray(rounded_in_order(delta.value, others)).reshape(one.bound.shape)
    bound = one.bound + abs(subject.scales.collected) * ar.u * spread
    return one._replace(allowances=(Allowance(one.truth, bound, SHORT_SUMS),))


def _penalty_free(net: Network, place: Place) -> bool:
    """Whether a gradient has no penalty in it, which is added after it was widened."""
    return not net.l2 or (place.quantity == "db" and not net.l2_biases)


def _are_kept_in(dtype: str, judged: Sequence[Judged]) -> bool:
    """Whether a format has all of the numbers given, which it would not if they were the truth."""
    given = [one.got.value for one in judged if one.got]
    return all(_is_in(dtype, value) for value in given) and not all(
        _is_in(dtype, one.truth) for one in judged
    )


def _is_in(dtype: str, array: Any) -> bool:
    """Whether a format has all of these numbers."""
    array = np.asarray(array)
    with np.errstate(over="ignore"):
        return bool((array.astype(jnp.dtype(dtype)).astype(np.float64) == array).all())


def _with_cost_from_a(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    subject: Subject,
    judged: list[Judged],
    one: Judged,
) -> Judged:
    """A C that takes zᴸ and is off may follow from aᴸ instead."""
    takes_z = net.cost.of == "z" and net.cost.built_in
    if one.place.quantity != "cost" or not takes_z or not one.is_off:
        return one

    def arithmetic(place: Place) -> Arithmetic:
        return _with_own_rounding(subject.by_place.get(place, subject.arithmetic))

    output = next(other for other in judged if other.place.name == f"a{net.depth}")
    right = Bounded(output.truth, output.bound)
    a = _to_go_on_with(arithmetic(output.place), output.place, output.got, right, True)
    times = subject.scales.cost, subject.scales.cost_penalty
    value, bound, _ = jax.device_get(
        cost_from_a_bound(arithmetic(one.place), net, params, a, y, *times)
    )
    if not np.isfinite(value):
        return one
    note = "it follows from a, whose logarithm has lost digits that z still has"
    from_a = Allowance(value, np.where(np.isnan(bound), np.inf, bound), note)
    return one._replace(allowances=(from_a, *one.allowances))


def _with_own_rounding(arithmetic: Arithmetic) -> Arithmetic:
    """The truth's own float64 rounding is one more contribution to each bound."""
    return arithmetic._replace(
        u=arithmetic.u + FLOAT64_ROUNDOFF, accumulator=arithmetic.accumulator + FLOAT64_ROUNDOFF
    )


def _penalty(net: Network, scales: Scales, place: Place, params: Params) -> Any:
    """The l2 term of an equation, in the subject's scale; None where it has none."""
    W, b = params[place.layer - 1]
    if net.l2 and place.quantity == "cost":
        return scales.cost_penalty * penalty(net, params)
    if net.l2 and place.quantity == "dW":
        return scales.gradient_penalty * penalty_gradient(net.l2, W)
    if net.l2 and place.quantity == "db" and net.l2_biases:
        return scales.gradient_penalty * penalty_gradient(net.l2, b)
    return None


def _to_go_on_with(
    ar: Arithmetic, place: Place, got: Shown | None, right: Bounded, is_sum: bool
) -> Uncertain:
    """What the next equations read: the subject's own value, or the truth in its place.

    A product of one term is no sum: a compiler fuses it into all that reads it, and rounds it anew
    there.
    """
    if got is None:
        return Uncertain(right.truth, right.bound)
    value, valid, error = got
    if ar.excess and place.kind != "x":  # x is as it was given
        value, error = Uncertain(value, error).rounded(ar.excess, ar.tiny)
    if not is_sum:
        error = right.bound + (0 if error is None else error)
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
