"""What people do to an equation: each mistake as an edit of one of its parts.

The same table plants mistakes and names them. A diagnosis puts other parts into an equation, and
compares what comes out with the subject's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.activations import softmax
from manual_bp.costs import quadratic
from manual_bp.diagnosis.compiled import (
    derivative,
    derivative_as_written,
    every_derivative,
    every_derivative_from_a,
    every_sigma,
    sigma,
    softmax_over_examples,
)
from manual_bp.diagnosis.equations import Inputs, equation, from_sigma, right_parts
from manual_bp.rounding.sized import Sized
from manual_bp.subjects.convention import Convention

Text = str | Callable[[Convention], str]
"""Words; by the convention that they are told in, where that matters."""


class Option(NamedTuple):
    """One thing to put in place of a part.

    Attributes:
        part: the part; a number for a factor.
        more: what comes to the part η times, or c times, where that number is to be found.
        said: which one it is, where the edit has several.
        fitted: how many numbers it takes from the subject's.
    """

    part: Any
    more: Any = None
    said: str = ""
    fitted: int = 0


@dataclass(frozen=True)
class Edit:
    """One thing that people do to a part of an equation.

    Attributes:
        name: short and stable.
        kinds: the equations where it is made, with spaces between: see `Place.kind`.
        part: which part it replaces: of `right_parts`; or "after" and "result", what is done to
            the result without its l2 term and with it; "also", what is added to it; "factor",
            "penalty" or "whole", what multiplies the result without its l2 term, that term, or
            both; "clip", the largest size that the values keep.
        text: what then stands in the part, or how it is said behind the formula.
        fix: what to do, in one sentence.
        options: what may stand there, of the equation's inputs; none where there is no room.
        certain: whether nothing else than this is a usual reason for such numbers.
    """

    name: str
    kinds: str
    part: str
    text: Text
    fix: Text
    options: Callable[[Inputs], Iterable[Option]]
    certain: bool = True

    @property
    def fits(self) -> bool:
        """Whether a number is fitted that is no factor: η, or a constant."""
        return self.name in ("weights_updated_first", "constant_added")

    def fix_in(self, convention: Convention) -> str:
        """What to do, in a convention."""
        return self.fix if isinstance(self.fix, str) else self.fix(convention)

    def told(self, convention: Convention, used: Any, m: int) -> str:
        """What it puts in the place of its part."""
        text = self.text if isinstance(self.text, str) else self.text(convention)
        number = "" if used.number is None else written(used.number, m)
        return text.format(used.said or number)

    def made_in(self, g: Inputs) -> list[Option]:
        """Its options for such inputs, in float64; none where shapes or layers do not fit."""
        if g.kind not in self.kinds.split():
            return []
        try:
            with jax.enable_x64(True), np.errstate(all="ignore"):
                return list(self.options(g))
        except (TypeError, ValueError, KeyError, IndexError):
            return []


def written(number: float, m: int) -> str:
    """A factor as people write it: m, 1/m, or the number."""
    names = {m: "m", 1 / m: "1/m"} if m > 1 else {}
    name = next((name for value, name in names.items() if abs(number / value - 1) < 1e-5), "")
    return f"{number:.6g}{f' = {name}' if name else ''}"


def one(part: Any, said: str = "") -> Iterator[Option]:
    """A single option."""
    yield Option(part, None, said)


def _if(condition: Any, *parts: Any) -> Iterator[Option]:
    """These options, where there is room for them."""
    return (Option(part) for part in parts) if condition else iter(())


def _numbers(condition: Any, *numbers: float) -> Iterator[Option]:
    """Factors that are no 1."""
    return (Option(k) for k in dict.fromkeys(numbers) if condition and k != 1)


def _right_value(g: Inputs) -> Any:
    """What the equation gives as it should be."""
    right = equation(g, right_parts(g))
    return (right + g.penalty_looked_at if g.penalised else right).value


def _rolled(g: Inputs, axis: int) -> Iterator[Option]:
    if g.y.shape[axis] > 1:
        for shift in (1, -1):
            yield Option(np.roll(g.y, shift, axis))


def _labels_shifted(g: Inputs) -> Iterator[Option]:
    if g.n > 1:
        for shift in (1, -1):
            y = np.roll(g.y, shift, 1)
            y[:, 0 if shift == 1 else -1] = 0
            yield Option(y)


def _as_if_a(g: Inputs) -> Iterator[Option]:
    own = g.net.sigma[g.l]
    if own.of == "a" and own is not softmax and not (g.cancels and g.kind == "BP1"):
        yield Option(from_sigma(derivative_as_written(own, g.z[g.l])))


def _other_derivatives(g: Inputs) -> Iterator[Option]:
    """σ′ of every other σ, as a function of z and as one of a."""
    if g.kind == "BP1" and (g.cancels or g.net.sigma[g.l] is softmax):
        return
    same = (g.net.sigma[g.l].name, "identity")
    for said, found in (
        ("{}′(zˡ)", every_derivative(g.z[g.l])),
        ("{}′ as a function of aˡ", every_derivative_from_a(g.a[g.l])),
    ):
        for name, value in found.items():
            if name not in same and np.ptp(value):  # a constant is no σ′ at all
                yield Option(from_sigma(value), None, said.format(name))


def _clipped_derivatives(g: Inputs) -> Iterator[Option]:
    prime = g.prime(g.l)
    usual = bounds = [0.1, 0.05, 0.01, 0.001]
    if g.got is not None:
        before = g.pulled_back(g.l).value
        told = np.abs(before) > 1e-3 * np.abs(before).max()
        if told.any():
            bounds = [*usual, float((g.got[told] / before[told]).min())]
    low, high = prime.value.min(), 0.5 * prime.value.max()
    bounds = [least for least in dict.fromkeys(bounds) if low < least < high]
    for least in bounds:
        clipped = Sized(np.maximum(prime.value, least), prime.size)
        yield Option(clipped, None, f"{least:.6g}", least not in usual)


def _clipped_cost(g: Inputs) -> Iterator[Option]:
    """−Σ y log a with a kept away from 0 and 1, as programs that take the cost from a do."""
    a, y = g.a[g.net.depth], g.y
    if g.net.cost.output is None:
        return
    for least in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15):
        kept = np.clip(a, least, 1 - least)
        terms = y * np.log(kept)
        if g.net.cost.output == "sigmoid":
            terms = terms + (1 - y) * np.log1p(-kept)
        yield Option(Sized.of(-terms.sum() / g.m * g.scales.cost))


def _smoothed(g: Inputs) -> Iterator[Option]:
    if g.n > 1:
        for amount in (0.1, 0.05, 0.2, 0.01):
            yield Option((1 - amount) * g.y + amount / g.n, None, f"{amount}")


def _dropped(g: Inputs, axis: int) -> Iterator[Option]:
    """Zero in one row (axis 0) or column: that which is zero; the largest where it is not known."""
    shape = g.place.shape(g.net, g.m)
    axis = min(axis, len(shape) - 1)
    if shape[axis] == 1:
        return
    others = tuple(i for i in range(len(shape)) if i != axis)
    of_neurons = g.neurons is not None and (axis == 1 or g.kind in ("BP3", "BP4"))
    here = g.neurons if of_neurons else np.arange(shape[axis])
    if g.got is None:
        chosen = here[np.argsort(-np.abs(_right_value(g)).sum(axis=others))[:64]]
    else:
        chosen = np.flatnonzero(~g.got.any(axis=others))
        if len(chosen) > 1:  # but those that are zero anyway
            right = _right_value(replace(g, neurons=None, before=None)).any(axis=others)
            chosen = chosen[right[chosen]]
        chosen = chosen if len(chosen) == 1 else chosen[:0]
    for i in chosen:
        kept = here != i
        kept = kept[:, None] if len(shape) == 2 and axis == 0 else kept
        yield Option(lambda core, kept=kept: core * kept)


def _weighted(g: Inputs) -> Iterator[Option]:
    """A sum over the examples without one of them."""
    sizes = np.abs(g.delta[g.l]).sum(axis=1) * np.abs(g.a[g.l - 1]).sum(axis=1)
    for i in np.argsort(-sizes)[:64] if g.m > 1 else ():
        yield Option((np.arange(g.m) != i)[:, None] * 1.0, None, f"{i}")


def _running(g: Inputs) -> Iterator[Option]:
    if g.m > 1:
        yield Option(np.arange(g.m, 0, -1.0)[:, None])
        yield Option(np.arange(1.0, g.m + 1)[:, None])


def _last(g: Inputs, i: int) -> Iterator[Option]:
    if g.m > 1:
        weights = np.zeros((g.m, 1))
        weights[i] = 1
        yield Option(weights)


def _too_early(g: Inputs) -> Iterator[Option]:
    W, dW = g.layer(g.l + 1, "W"), g.layer(g.l + 1, "dW")
    yield Option(W, -1.0 * dW)


def _without_weights(g: Inputs) -> Iterator[Option]:
    W = g.W[g.l + 1]
    yield Option(Sized.of(np.ones_like(W)))
    if W.shape[0] == W.shape[1]:
        yield Option(Sized.of(np.eye(len(W))))


def _stale(g: Inputs) -> Iterator[Option]:
    for l in range(g.net.depth, g.l + 2, -1):
        yield Option(g.layer(l, "delta"), None, f"{l}")


def _rescaled(g: Inputs) -> Iterator[Option]:
    """λx + c, by least squares over all of x, or over each column of it; x/2 when planting."""
    x = g.a[0]
    if g.got is None:
        yield Option(Sized.of(x / 2))
        return
    # Two numbers are fitted to each column: with two examples they would fit anything.
    for axis in (None, 0) if g.m > 2 else (None,):
        spread = x - x.mean(axis=axis, keepdims=True)
        length = (spread * spread).sum(axis=axis, keepdims=True)
        ratio = (spread * g.got).sum(axis=axis, keepdims=True) / (length + (length == 0))
        shift = g.got.mean(axis=axis, keepdims=True)
        yield Option(Sized(ratio * spread + shift, np.abs(ratio * x) + np.abs(shift)), None, "", 2)


def _other_sigma(g: Inputs) -> Iterator[Option]:
    for name, value in every_sigma(g.z[g.l]).items():
        if name not in (g.net.sigma[g.l].name, "identity"):
            yield Option(from_sigma(value), None, name)


def _rounded(dtype: Any) -> Callable[[Inputs], Iterator[Option]]:
    """To a shorter format; what it holds whole and is that near, where it is known."""
    info = np.finfo(dtype)

    def options(g: Inputs) -> Iterator[Option]:
        def after(core: Sized) -> Sized:
            rounded = core.value.astype(dtype).astype(np.float64)
            if g.got is not None:
                held = (g.got.astype(dtype) == g.got).all()
                slack = 2 * float(info.eps) * np.abs(core.value) + float(info.smallest_subnormal)
                if held and (np.abs(g.got - rounded) <= slack).all():
                    rounded = g.got
            return Sized(rounded, core.size)

        yield Option(after)

    return options


def _clipped(g: Inputs) -> Iterator[Option]:
    """At the largest value that is seen; where it is not shown, at the usual ones."""
    usual = (10.0, 5.0, 2.0, 1.0, 0.5, 0.1, 0.05, 0.01, 0.001, 1e-4)
    if g.got is not None:
        level = float(np.abs(g.got).max())
        yield Option(level, fitted=not np.isclose(level, usual, rtol=1e-7, atol=0).any())
        return
    right = np.abs(_right_value(g))
    for level in usual:
        if right.min() < level < right.max():
            yield Option(level)


def _clipped_by_norm(g: Inputs) -> Iterator[Option]:
    """What makes a norm a usual one, where it was larger; PyTorch adds 1e-6 to it."""
    if g.kind == "BP1" and g.got is not None:
        return  # δ is not what is clipped
    norms = g.norms
    if g.kind != "BP1" and not norms:
        norms = (float(np.linalg.norm(_right_value(g))),)
    for norm in norms:
        for most in (1.0, 5.0, 10.0, 2.0, 0.5, 0.1, 0.01, 0.25, 3.0, 20.0, 50.0, 100.0):
            if norm > most:
                yield Option(most / norm)
                yield Option(most / (norm + 1e-6))


def _join(*joins: Callable[[Sized, Sized], Sized]) -> Callable[[Inputs], Iterator[Option]]:
    return lambda g: (Option(join) for join in joins if not (g.cancels and g.kind == "BP1"))


def _sigma_of_delta(g: Inputs) -> Iterator[Option]:
    """σ, or σ′, of the error itself."""
    own = g.net.sigma[g.l]
    yield Option(lambda error, prime: (error * prime).through(lambda v: sigma(own, v)))
    yield Option(lambda error, _: error.through(lambda v: sigma(own, v)))
    yield Option(lambda error, _: error * Sized.of(derivative(own, error.value)))


def _in_rows(rows: str, columns: str) -> Text:
    """A fix for those who keep examples as rows, and for those who keep them as columns."""
    return lambda convention: rows if convention.examples == "rows" else columns


def _where_m_comes_in(convention: Convention) -> str:
    if convention.reduction == "sum":
        return "Leave m out: you sum over the examples."
    if convention.delta == "example":
        return "Divide by m once, where the gradients are made."
    return "Divide by m once: in BP1, after which δ has the mean's 1/m."


_PENALTY = "The cost has l2/2 times the sum of the squared weights, whose derivative is l2 · W."
_OWN_SUM = "Let the sum over the examples begin at the first and end after the last."
_REACH_ALL = "Let the loop over the neurons reach them all."
_NOT_CLIPPED = "Compare the gradients before they are clipped."
_NO_FACTOR = "Look for a constant that is left over, or left out, in that line."


CATALOGUE = {
    edit.name: edit
    for edit in (
        # A factor.
        Edit("ascent_sign", "BP1", "factor", "with the sign turned",
             lambda c: f"Take {'a − y' if c.sign == 'descent' else 'y − a'}, not the other way "
             "round.",
             lambda g: _numbers(True, -1)),
        Edit("sum_for_mean", "cost BP1 BP3 BP4", "factor",
             "without the 1/m of the mean", _where_m_comes_in,
             lambda g: _numbers(g.has_mean, g.m)),
        Edit("mean_twice", "BP1", "factor",
             lambda c: "divided by m" + (" twice" if (c.reduction, c.delta) == ("mean", "batch")
                                         else ""),
             _where_m_comes_in, lambda g: _numbers(True, 1 / g.m)),
        Edit("mean_again", "cost BP2 BP4", "factor", "divided by m once more", _where_m_comes_in,
             lambda g: _numbers(True, 1 / g.m)),
        Edit("bias_averaged", "BP3", "factor",
             lambda c: "divided by m"
             + ("" if c.delta == "batch" or c.reduction == "sum" else " again"),
             _where_m_comes_in, lambda g: _numbers(True, 1 / g.m)),
        Edit("half_missing", "cost BP1", "factor", "without the ½ of the quadratic cost",
             "The quadratic cost has a ½, which cancels the 2 of its derivative.",
             lambda g: _numbers(g.net.cost is quadratic, 2)),
        Edit("half_twice", "cost BP1", "factor", "with the ½ of the quadratic cost a second time",
             "The ½ stands in the cost once, and cancels with the 2 of the derivative in BP1.",
             lambda g: _numbers(g.net.cost is quadratic, 0.5)),
        Edit("mean_over_outputs", "cost BP1", "factor", "divided by n_L too",
             "Divide by the number of examples alone: C sums over the outputs.",
             lambda g: _numbers(True, 1 / g.n)),
        Edit("loss_scale_left", "BP1 BP3 BP4", "factor",
             "times a loss scale that is still in it, {}",
             "Divide the gradients by the loss scale before you use them.",
             lambda g: _numbers(True, *(2.0**k for k in range(5, 25))), certain=False),
        Edit("momentum_mixed_in", "BP1 BP3 BP4", "factor", "averaged with what was before",
             "That is a step with momentum: hand over a step without it, or the gradients.",
             lambda g: _numbers(g.after, 0.1, 0.01, 0.001), certain=False),
        Edit("factor", "z cost BP1 BP2 BP3 BP4", "factor", "times {}", _NO_FACTOR,
             lambda g: _numbers(True, *_usual_factors(g))),
        Edit("accumulated", "BP3 BP4", "whole", "added to the gradient of the last call",
             "Set the gradients to zero before each backward pass.",
             lambda g: _numbers(True, 2), certain=False),
        Edit("bias_missing", "BP3", "whole", "set to zero",
             "Give the biases their gradient: the sum of δˡ over the examples.",
             lambda g: _numbers(True, 0)),
        # σ′.
        Edit("no_output_derivative", "BP1", "prime", "", "Multiply by σ′(zᴸ): with this cost "
             "nothing cancels it.",
             lambda g: _if(not g.cancels, Sized.of(np.ones_like(g.y)))),
        Edit("extra_output_derivative", "BP1", "prime", "σ′(zᴸ)",
             "Leave σ′ out: this cost's derivative cancels it.",
             lambda g: _if(g.cancels, g.prime(g.l))),
        Edit("softmax_diagonal", "BP1", "prime", "a(1 − a), softmax's Jacobian taken as diagonal",
             "Every output of softmax depends on every z: δⱼ = aⱼ(gⱼ − Σₖ gₖaₖ).",
             lambda g: _if(g.net.sigma[g.l] is softmax and not g.cancels, g.prime(g.l))),
        Edit("no_hidden_derivative", "BP2", "prime", "", "Multiply by σ′(zˡ), element by element.",
             lambda g: one(Sized.of(np.ones_like(g.z[g.l])))),
        Edit("sigma_for_derivative", "BP1 BP2", "prime", "σ(zˡ)",
             "Multiply by the derivative σ′(zˡ), not by σ(zˡ).",
             lambda g: _if(not g.cancels or g.kind == "BP2", g.layer(g.l))),
        Edit("derivative_at_a", "BP1 BP2", "prime", "σ′(aˡ)",
             "Evaluate σ′ at zˡ: aˡ has been through σ once already.",
             lambda g: _if(not g.cancels or g.kind == "BP2",
                           from_sigma(derivative(g.net.sigma[g.l], g.a[g.l])))),
        Edit("derivative_of_z_as_if_a", "BP1 BP2", "prime",
             "the σ′ that takes a, such as a(1 − a), given z",
             "That form of σ′ is a function of a: put aˡ into it.",
             _as_if_a),
        Edit("derivative_of_wrong_layer", "BP2", "prime", "σ′(zˡ⁺¹)",
             "δˡ takes σ′ of its own layer, σ′(zˡ).", lambda g: one(g.prime(g.l + 1))),
        Edit("one_minus_a", "BP1 BP2", "prime", "(1 − aˡ)",
             "σ′ has another factor: tanh′ is (1 − a)(1 + a), and the logistic σ′ is a(1 − a).",
             lambda g: _if(not g.cancels or g.kind == "BP2",
                           Sized(1 - g.a[g.l], 1 + np.abs(g.a[g.l])))),
        Edit("derivative_of_other_activation", "BP1 BP2", "prime", "{}",
             "Take σ′ of the σ that this layer has.", _other_derivatives),
        Edit("derivative_twice", "BP1 BP2", "prime", "σ′(zˡ) ⊙ σ′(zˡ)", "Multiply by σ′ once.",
             lambda g: _if(not g.cancels or g.kind == "BP2", g.prime(g.l) * g.prime(g.l))),
        Edit("derivative_clipped", "BP1 BP2", "prime", "σ′(zˡ) kept at {} or above",
             "Leave σ′ as it is: where it is small, so is the gradient.",
             lambda g: _clipped_derivatives(g) if not g.cancels or g.kind == "BP2" else ()),
        Edit("matrix_product_for_hadamard", "BP1 BP2", "join", "· (a matrix product)",
             "⊙ is element by element: `*`, not `@`.", _join(Sized.__matmul__)),
        Edit("sum_for_product", "BP1 BP2", "join", "+", "⊙ is a product: `*`, not `+`.",
             _join(Sized.__add__)),
        Edit("activation_applied_to_delta", "BP2", "join", "put through σ:",
             "Multiply the error by σ′(zˡ); σ is for the way forward.", _sigma_of_delta),
        # The wrong array.
        Edit("weights_not_transposed", "BP2", "W", "Wˡ⁺¹",
             _in_rows("Going back takes the transpose: for rows, δˡ⁺¹ @ Wˡ⁺¹ with W as (out, in).",
                      "Going back takes the transpose: for columns, Wˡ⁺¹.T @ δˡ⁺¹ with W as (out, "
                      "in)."),
             lambda g: one(g.layer(g.l + 1, "W").transposed)),
        Edit("weights_of_wrong_layer", "BP2", "W", "(Wˡ)ᵀ",
             "δˡ⁺¹ comes back through the weights that lead out of layer l, Wˡ⁺¹.",
             lambda g: one(g.layer(g.l, "W"))),
        Edit("weights_updated_first", "BP2", "W", "(Wˡ⁺¹ − η ∂C/∂Wˡ⁺¹)ᵀ",
             "Compute every δ before any W is updated.", _too_early),
        Edit("weights_omitted", "BP2", "W", "", "The error comes back through (Wˡ⁺¹)ᵀ.",
             _without_weights),
        Edit("error_sent_back", "BP2", "delta", "∂C/∂aˡ⁺¹",
             "What goes back is δˡ⁺¹, the error with its σ′(zˡ⁺¹), not ∂C/∂aˡ⁺¹.",
             lambda g: map(Option, g.raw_errors(g.l + 1))),
        Edit("delta_of_wrong_layer", "BP2", "delta", "δˡ⁺²",
             "δˡ follows from the error of the very next layer, δˡ⁺¹.",
             lambda g: one(g.layer(g.l + 2, "delta"))),
        Edit("stale_delta", "BP2", "delta", "δ of layer {}",
             "Take the error of the very next layer, and assign it before it is used.", _stale),
        Edit("first_example_for_all", "BP2", "delta", "δˡ⁺¹ of the first example for every example",
             "Take each example's own δˡ⁺¹: check the index of the example.",
             lambda g: _if(g.m > 1, Sized.of(np.repeat(g.delta[g.l + 1][:1], g.m, 0)))),
        Edit("delta_of_next_layer", "BP3 BP4", "delta", "δˡ⁺¹",
             "The gradients of layer l take the error of layer l.",
             lambda g: one(g.layer(g.l + 1, "delta"))),
        Edit("gradient_from_error", "BP3 BP4", "delta", "∂C/∂aˡ",
             "Take δˡ, the error with its σ′(zˡ), for the gradients.",
             lambda g: map(Option, g.raw_errors(g.l))),
        Edit("gradient_transposed", "BP4", "after", "transposed",
             _in_rows("∂C/∂W has W's shape: for rows, δˡ.T @ aˡ⁻¹ with W as (out, in).",
                      "∂C/∂W has W's shape: for columns, δˡ @ aˡ⁻¹.T with W as (out, in)."),
             lambda g: one(lambda core: core.transposed)),
        Edit("activation_of_same_layer", "BP4", "a", "(aˡ)ᵀ",
             "Wˡ joins aˡ⁻¹ to zˡ: take the activation of the layer before.",
             lambda g: one(g.layer(g.l))),
        Edit("sum_for_activation", "BP4", "a", "(zˡ⁻¹)ᵀ",
             "Wˡ is multiplied by aˡ⁻¹ = σ(zˡ⁻¹), not by zˡ⁻¹.",
             lambda g: one(g.layer(g.l - 1, "z"))),
        Edit("weights_for_activation", "BP4", "after", "made of Wˡ in place of aˡ⁻¹",
             "∂C/∂Wˡ is made of what Wˡ was multiplied by on the way forward: aˡ⁻¹.",
             lambda g: one(lambda _: g.layer(g.l, "W") * g.delta[g.l].sum(0)[:, None]
                           * g.scales.collected)),
        # Sums over the examples, and the biases.
        Edit("last_example_only", "BP3 BP4", "over", "of the last example alone",
             "Add up the examples: += in the loop over them, not =.", lambda g: _last(g, -1)),
        Edit("example_left_out", "BP3 BP4", "over", "without example {}", _OWN_SUM, _weighted),
        Edit("not_reset", "BP3 BP4", "over", "with running sums added up",
             "Start each example's gradient at zero, or add it to the sum once.", _running),
        Edit("bias_wrong_axis", "BP3", "sum", "the sum of δˡ over the neurons",
             _in_rows("Sum over the axis of the examples: axis 0, since they are rows.",
                      "Sum over the axis of the examples: axis 1, since they are columns."),
             lambda g: one(lambda d: d.sum(1))),
        Edit("summed_over_neurons", "BP3", "sum", "the sum of δˡ over the neurons too: one number",
             _in_rows("Sum over the examples alone: .sum(axis=0), since they are rows.",
                      "Sum over the examples alone: .sum(axis=1), since they are columns."),
             lambda g: _if(g.net.sizes[g.l] > 1, lambda d: d.each(
                 lambda v: np.full(v.shape[1], v.sum())))),
        Edit("bias_from_weights", "BP3", "after", "made as the sum of each row of ∂C/∂Wˡ",
             "∂C/∂bˡ is the sum of δˡ over the examples: its input is 1, not aˡ⁻¹.",
             lambda g: one(lambda _: g.layer(g.l, "dW").sum(1))),
        Edit("bias_penalised", "BP3", "also", "l2 · bˡ", "The penalty is on the weights alone.",
             lambda g: _if(g.net.l2 > 0 and not g.net.l2_biases,
                           g.scales.gradient_penalty * g.net.l2 * g.b[g.l])),
        Edit("constant_added", "BP1 BP2 BP3 BP4", "also", "a constant {}",
             "Leave the constant out.", lambda g: iter([Option(
                 np.zeros(g.place.shape(g.net, g.m)), np.ones(g.place.shape(g.net, g.m)))])),
        # The penalty.
        Edit("penalty_missing", "cost BP3 BP4", "penalty", "without the l2 term",
             "Add l2/2 times the sum of the squared weights to the cost, and l2 · W to ∂C/∂W.",
             lambda g: _numbers(g.penalised, 0)),
        Edit("penalty_halved", "cost BP3 BP4", "penalty", "with half of the l2 term", _PENALTY,
             lambda g: _numbers(g.penalised, 0.5)),
        Edit("penalty_doubled", "cost BP3 BP4", "penalty", "with twice the l2 term", _PENALTY,
             lambda g: _numbers(g.penalised, 2)),
        Edit("penalty_negated", "cost BP3 BP4", "penalty", "with the l2 term subtracted",
             "The penalty grows with the weights: add it to C, and l2 · W to ∂C/∂W.",
             lambda g: _numbers(g.penalised, -1)),
        Edit("penalty_scaled", "cost BP3 BP4", "penalty", "with the l2 term times {}", _PENALTY,
             lambda g: _numbers(g.penalised, *(k for k in _usual_factors(g) if k not in (2, .5, -1))
                                )),
        Edit("penalty_on_biases", "cost", "also", "l2/2 times the sum of the squared biases",
             "The penalty is on the weights alone.",
             lambda g: _if(g.net.l2 > 0 and not g.net.l2_biases, np.asarray(
                 g.scales.cost_penalty * g.net.l2 / 2 * sum(
                     (b**2).sum() for b in g.b.values() if b is not None)))),
        # The cost, the targets.
        Edit("log_clipped", "cost", "value", "with log a kept away from log 0, while δ is not",
             "Compute the cost from z, where it stays exact: log-sum-exp, or softplus.",
             _clipped_cost),
        Edit("labels_off_by_one", "cost BP1", "y", "with the targets one class off",
             "Count the classes as y does: its columns are the classes 0 … n_L − 1.",
             lambda g: _rolled(g, 1)),
        Edit("labels_shifted", "cost BP1", "y",
             "with the targets one class off, and the class at the end lost",
             "Count the classes as y does: its columns are the classes 0 … n_L − 1.",
             _labels_shifted),
        Edit("targets_of_other_examples", "cost BP1", "y", "with the targets of the next example",
             "Row i of y is the target of row i of x: shuffle both alike.",
             lambda g: _rolled(g, 0)),
        Edit("label_smoothing", "cost BP1", "y", "with the targets smoothed by {}",
             "Give the smoothing to the network's cost, cross_entropy(smoothing=…), or leave it "
             "out.", _smoothed),
        # The forward pass.
        Edit("input_rescaled", "x", "x", "x, scaled or shifted",
             "Feed x as it is given, or hand the scaled x to the check as well.", _rescaled),
        Edit("bias_omitted", "z", "b", "", "Add the bias bˡ.",
             lambda g: _if(g.b[g.l] is not None, Sized.of(np.zeros(g.net.sizes[g.l])))),
        Edit("bias_twice", "z", "b", " + 2bˡ: an extra bias", "Add the bias bˡ once.",
             lambda g: one(2 * g.layer(g.l, "b"))),
        Edit("forward_transposed", "z", "W", "(Wˡ)ᵀ",
             _in_rows("W is (out, in): for rows, aˡ⁻¹ @ Wˡ.T.",
                      "W is (out, in): for columns, Wˡ @ aˡ⁻¹."),
             lambda g: one(g.layer(g.l, "W").transposed)),
        Edit("forward_sum_not_activation", "z", "a", "zˡ⁻¹",
             "Layer l takes the activations aˡ⁻¹ = σ(zˡ⁻¹), not the sums zˡ⁻¹.",
             lambda g: one(g.layer(g.l - 1, "z"))),
        Edit("activation_omitted", "a", "sigma", "zˡ", "Apply σ.",
             lambda g: one(g.layer(g.l, "z"))),
        Edit("other_activation", "a", "sigma", "{}(zˡ)", "Apply the σ that the network names.",
             _other_sigma),
        Edit("softmax_over_examples", "a", "sigma", "softmax over the examples",
             _in_rows("Each example's outputs add up to 1: axis 1, since examples are rows.",
                      "Each example's outputs add up to 1: axis 0, since examples are columns."),
             lambda g: _if(g.net.sigma[g.l] is softmax,
                           from_sigma(softmax_over_examples(g.z[g.l])))),
        # Parts, and precision.
        Edit("unit_dropped", "a BP1 BP2 BP3", "result", "with zero in one neuron", _REACH_ALL,
             lambda g: _dropped(g, 1)),
        Edit("unit_dropped_from_gradient", "BP4", "result", "with zero in one neuron's row",
             _REACH_ALL, lambda g: _dropped(g, 0)),
        Edit("example_dropped", "BP1 BP2", "result", "with zero in one example's row",
             "Let the loop over the examples reach them all.", lambda g: _dropped(g, 0)),
        Edit("gradient_clipped", "BP1 BP2 BP3 BP4", "clip", "clipped", _NOT_CLIPPED, _clipped),
        Edit("gradient_clipped_by_norm", "BP1 BP3 BP4", "whole", "clipped by its norm: times {}",
             _NOT_CLIPPED, _clipped_by_norm),
        Edit("float16_step", "z BP1 BP2 BP4", "result", "rounded to float16 on the way",
             "Keep every step in the dtype of the parameters.", _rounded(np.float16)),
        Edit("float32_step", "z a BP1 BP2 BP3 BP4", "result", "rounded to float32 on the way",
             "Keep every step in the dtype of the parameters.", _rounded(np.float32)),
    )
}  # fmt: skip


def _usual_factors(g: Inputs) -> tuple[float, ...]:
    """The constants that people leave over or out."""
    m, n, width = g.m, g.n, g.net.sizes[g.l]
    found = [3, -1, 2, 0.5, m, 1 / m, n, 1 / n, 2 / n, 1 / (2 * n), width]
    found += [k / width for width in g.net.sizes for k in (1, m)]
    found += [2 * m, 0.5 / m, 2 / m, m / (m - 1) if m > 1 else 1, -m, -1 / m, -2, 4, 0.25]
    return tuple(float(k) for k in found)
