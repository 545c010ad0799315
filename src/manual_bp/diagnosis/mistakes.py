"""The catalogue of mistakes: each once, with the wrong formula on its equation's own inputs.

The same catalogue plants mistakes and names them: a diagnosis computes what each mistake would have
given from the subject's own arrays, and names the one that fits to rounding.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from manual_bp.activations import ACTIVATIONS, softmax
from manual_bp.costs import quadratic
from manual_bp.diagnosis.equations import (
    derivative,
    derivative_as_written,
    every_activation,
    output_delta,
    scaled_cost,
)
from manual_bp.network import Network
from manual_bp.record import Place
from manual_bp.subjects.convention import Convention, Scales, penalty_in

Formula = Callable[["Inputs"], Any]
Text = str | Callable[[Convention], str]
"""A formula or a fix in words; by the convention that it is told in, where that matters."""


def right_formula(kind: str, net: Network, convention: Convention) -> str:
    """An equation as it should be, in a convention, by the kind of its place."""
    minus = "−" if convention.sign == "ascent" else ""
    factor = "" if convention.scale == 1 else f"{convention.scale:.6g} "
    sums, of_each = convention.reduction == "sum", convention.delta == "example"
    averaged = of_each and not sums  # where the gradients are made
    squares = "weights and biases" if net.l2_biases else "weights"
    penalties = {
        "cost": f"{factor}l2/2 times the sum of the squared {squares}",
        "BP3": f"{minus}{factor}l2 · bˡ" if net.l2_biases else "",
        "BP4": f"{minus}{factor}l2 · Wˡ",
    }
    right = {
        "x": "a⁰ = x",
        "z": "zˡ = Wˡ aˡ⁻¹ + bˡ",
        "a": "aˡ = σ(zˡ)",
        "cost": f"C = {factor and factor + 'times '}the {'sum' if sums else 'mean'} over the "
        "examples",
        "BP1": f"δᴸ = {minus}{factor}∇ₐC ⊙ σ′(zᴸ)"
        + ("" if sums or of_each else ", with the mean's 1/m"),
        "BP2": "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)",
        "BP3": f"∂C/∂bˡ = the {'mean' if averaged else 'sum'} of δˡ over the examples",
        "BP4": f"∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ, {'averaged' if averaged else 'summed'} over the examples",
    }[kind]
    penalty = penalties.get(kind) if net.l2 else None
    return f"{right}, and {penalty}" if penalty else right


def _in_rows(rows: str, columns: str) -> Text:
    """A fix for those who keep examples as rows, and for those who keep them as columns."""
    return lambda convention: rows if convention.examples == "rows" else columns


def _where_m_comes_in(convention: Convention) -> str:
    if convention.reduction == "sum":
        return "Leave m out: you sum over the examples."
    if convention.delta == "example":
        return "Divide by m once, where the gradients are made."
    return "Divide by m once: in BP1, after which δ has the mean's 1/m."


@dataclass(frozen=True)
class Inputs:
    """What one equation of layer l reads, and the rest of the record beside it.

    Attributes:
        net, place: the network, and where the equation stands in the record.
        scales: how many times ours the numbers are.
        W, b, z, a, delta, dW: by layer; `a` from 0. All by NumPy in float64, examples as rows.
        y: (m, n_L).
        right: what the equation should give.
        got: what the subject has in its place; None where a mistake is planted, not sought.
        eta: η of an update that comes too early, when planting.
        absolute: give sizes in place of values, so that a formula gives the sum of its absolute
            terms, in which rounding is measured.
    """

    net: Network
    place: Place
    scales: Scales
    W: dict[int, Any]
    b: dict[int, Any]
    z: dict[int, Any]
    a: dict[int, Any]
    delta: dict[int, Any]
    dW: dict[int, Any]
    y: Any
    right: Any
    got: Any = None
    eta: float = 0.5
    absolute: bool = False

    @property
    def kind(self) -> str:
        """Of the place: see `Place.kind`."""
        return self.place.kind

    @property
    def l(self) -> int:  # noqa: E743 (the layer, as in the equations)
        """The layer."""
        return self.place.layer

    @property
    def m(self) -> int:
        """How many examples."""
        return len(self.y)

    def size(self) -> "Inputs":
        """The same, in absolute values; targets negative, since the formulas subtract them."""

        def sizes(arrays: dict[int, Any]) -> dict[int, Any]:
            return {l: None if array is None else abs(array) for l, array in arrays.items()}

        return replace(
            self,
            W=sizes(self.W),
            b=sizes(self.b),
            delta=sizes(self.delta),
            dW=sizes(self.dW),
            right=abs(self.right),
            absolute=True,
        )

    def _sized(self, array: Any, least: float = 0) -> Any:
        return abs(array) + least if self.absolute else array

    def act(self, l: int) -> Any:
        """aˡ."""
        return self._sized(self.a[l])

    def sum_(self, l: int) -> Any:
        """zˡ."""
        return self._sized(self.z[l])

    def target(self) -> Any:
        """y."""
        return -abs(self.y) if self.absolute else self.y

    def prime(self, l: int) -> Any:
        """σ′(zˡ), of layer l's own σ."""
        return self.prime_at(l, self.z[l])

    def prime_at(self, l: int, z: Any) -> Any:
        """σ′ of layer l, as a function of z, at another array; for softmax its diagonal."""
        prime = np.asarray(derivative(self.net.sigma[l], z))
        return self._sized(prime, 1)  # whose rounding may be absolute

    def pulled_back(self) -> Any:
        """(Wˡ⁺¹)ᵀ δˡ⁺¹, BP2 without its σ′."""
        return self.delta[self.l + 1] @ self.W[self.l + 1]

    def cost_gradient(self, y: Any = None) -> Any:
        """∇ₐC/m at the output; for the costs whose σ′ cancels, the difference that is left."""
        y = self.target() if y is None else y
        scale = abs(self.scales.delta) if self.absolute else self.scales.delta
        return np.asarray(self.net.cost.slope(self.act(self.net.depth), y)) / self.m * scale

    def collected(self, sums: Any) -> Any:
        """BP3 or BP4 from its sums over the examples: in its scale, and with its penalty."""
        factor = self.scales.collected
        return (abs(factor) if self.absolute else factor) * sums + self.penalty

    def bias(self) -> Any:
        """bˡ; 0 in a layer without biases."""
        return 0 if self.b[self.l] is None else self.b[self.l]

    @property
    def penalty(self) -> Any:
        """The l2 term of this equation; 0 where it has none."""
        _, scale = self.scales.of(self.place)
        params = [(self.W[l], self.b[l]) for l in self.net.layers]
        penalty = penalty_in(self.net, params, self.place)
        return (abs(scale) if self.absolute else scale) * penalty

    @property
    def has_penalty(self) -> bool:
        """Whether this equation has an l2 term."""
        return self.net.l2 > 0 and (self.kind != "BP3" or self.net.l2_biases)

    @property
    def has_mean(self) -> bool:
        """Whether the 1/m of the mean over the examples comes in here."""
        scales = self.scales
        if self.kind == "cost":
            return self.m > 1 and abs(scales.cost) == scales.cost_penalty
        if self.kind == "BP1":
            return self.m > 1 and abs(scales.delta) == scales.cost_penalty
        return self.m > 1 and self.kind in ("BP3", "BP4") and abs(scales.collected) < 1

    def scaled(self, factor: float) -> Any:
        """The equation with all but its l2 term times a factor."""
        if self.absolute:
            return abs(factor) * (self.right + self.penalty) + self.penalty
        return factor * (self.right - self.penalty) + self.penalty

    def closest(self, candidates: Iterable[Any]) -> Any:
        """The candidate nearest to what the subject has; the first when planting."""
        candidates = list(candidates)
        if self.got is None or not candidates:
            return candidates[0] if candidates else None
        return min(candidates, key=lambda array: float(abs(array - self.got).sum()))


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        name: short and stable.
        kinds: the equations where it is made: see `Place.kind`.
        wrong: the wrong formula, as text; "…" stands for the right one, up to its ⊙. By the
            convention, as is the fix, where it matters.
        fix: what to do, in one sentence.
        formula: what it gives in place of the equation; None where it cannot be made.
    """

    name: str
    kinds: tuple[str, ...]
    wrong: Text
    fix: Text
    formula: Formula

    def formula_at(self, kind: str, net: Network, convention: Convention) -> str:
        """The wrong formula of one of its kinds of place, in full."""
        right = right_formula(kind, net, convention).partition(" ⊙")[0]
        return _said(self.wrong, convention).replace("…", right)

    def fix_in(self, convention: Convention) -> str:
        """What to do, in a convention."""
        return _said(self.fix, convention)

    def result(self, inputs: Inputs) -> Any:
        """What the mistake gives, in float64; None where the network has no room for it."""
        try:
            with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
                wrong = self.formula(inputs)
        except (TypeError, ValueError, KeyError):  # shapes or layers that do not fit
            return None
        if wrong is None or wrong.shape != inputs.right.shape:
            return None
        return np.asarray(wrong, np.float64)


def _said(text: Text, convention: Convention) -> str:
    return text if isinstance(text, str) else text(convention)


def _if(condition: bool, formula: Callable[[], Any]) -> Any:
    return formula() if condition else None


def _labels_off_by_one(g: Inputs) -> Any:
    """Each target one class off, to either side."""
    if g.y.shape[1] == 1:
        return None
    return g.closest(_with_targets(g, np.roll(g.target(), shift, 1)) for shift in (1, -1))


def _targets_of_other_examples(g: Inputs) -> Any:
    """Each target that of the example before or after."""
    if g.m == 1:
        return None
    return g.closest(_with_targets(g, np.roll(g.target(), shift, 0)) for shift in (1, -1))


def _with_targets(g: Inputs, y: Any) -> Any:
    """The cost, or BP1, with other targets."""
    L, net = g.net.depth, g.net
    if g.kind == "cost":
        params = tuple((g.W[l], g.b[l]) for l in net.layers)
        value = np.asarray(scaled_cost(net, g.m, params, g.z[L], g.a[L], abs(y), g.scales))
        return abs(value) + abs(g.right) if g.absolute else value
    if g.absolute:
        return g.cost_gradient(y) * g.prime(L)
    return np.asarray(output_delta(net, g.m, g.z[L], g.a[L], y, g.scales))


def _has_sigma_prime(g: Inputs) -> bool:
    """Whether BP1 has a σ′ to get wrong: not where it cancels."""
    return g.net.cost.delta is None


def _clipped_cost(g: Inputs) -> Any:
    """−Σ y log a with a kept away from 0 and 1, as programs that take the cost from a do."""
    a, y = g.a[g.net.depth], g.y
    if g.net.cost.output is None:
        return None

    def clipped_at(least: float) -> Any:
        kept = np.clip(a, least, 1 - least)
        terms = y * np.log(kept)
        if g.net.cost.output == "sigmoid":
            terms = terms + (1 - y) * np.log1p(-kept)
        return -terms.sum() / g.m * g.scales.cost + g.penalty

    return g.closest(clipped_at(least) for least in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15))


def _updated_weights(g: Inputs) -> Any:
    """W after its update; η is what fits best, and one number alone would fit any."""
    l = g.l
    if g.got is not None and g.right.size == 1:
        return None
    change = (g.delta[l + 1] @ g.dW[l + 1]) * g.prime(l)
    if g.absolute:
        return g.right + change
    return g.right - learning_rate(g) * change


def learning_rate(g: Inputs) -> Any:
    """η of an update that came too early, by least squares."""
    if g.got is None:
        return g.eta
    change = (g.delta[g.l + 1] @ g.dW[g.l + 1]) * g.prime(g.l)
    length = float((change * change).sum())
    return float(((g.right - g.got) * change).sum()) / length if length else 0.0


def _dropped(g: Inputs, axis: int) -> Any:
    """One row (axis 0) or column set to zero: the one most wrong, or the largest when planting."""
    if g.right.ndim <= axis or g.right.shape[axis] == 1:
        return None
    if g.absolute:
        return g.right
    off = g.right if g.got is None else g.right - g.got
    size = abs(off) if off.ndim == 1 else abs(off).sum(axis=1 - axis)
    kept = np.arange(g.right.shape[axis]) != int(size.argmax())
    return g.right * (kept if g.right.ndim == 1 or axis == 1 else kept[:, None])


def _example_left_out(g: Inputs) -> Any:
    """A sum over the examples without one: the one that fits best, or the largest when planting."""
    if g.m == 1:
        return None
    if g.absolute:
        return g.right
    delta, a_prev = g.delta[g.l], g.a[g.l - 1]
    if g.got is None:
        i = int((abs(delta).sum(axis=1) * abs(a_prev).sum(axis=1)).argmax())
    else:
        missing = g.right - g.got
        if g.kind == "BP3":
            one = g.scales.collected * delta
            fit = [float(abs(missing - one[i]).sum()) for i in range(g.m)]
        else:
            # ‖M − δaᵀ‖² without M's own part, for every example at once.
            missing = missing / g.scales.collected
            fit = (delta**2).sum(axis=1) * (a_prev**2).sum(axis=1)
            fit = fit - 2 * ((delta @ missing) * a_prev).sum(axis=1)
        i = min(range(g.m), key=lambda i: float(fit[i]))
    lost = delta[i] if g.kind == "BP3" else delta[i][:, None] * a_prev[i][None, :]
    return g.right - g.scales.collected * lost


def _of_one_example(g: Inputs, i: int) -> Any:
    """BP3 or BP4 of one example alone."""
    delta = g.delta[g.l][i]
    return g.collected(delta if g.kind == "BP3" else delta[:, None] * g.act(g.l - 1)[i][None, :])


def _other_sigma(g: Inputs) -> Any:
    """Another activation than the network's."""
    every, own = jax.device_get(every_activation(g.z[g.l])), g.net.sigma[g.l]
    others = (a for name, a in every.items() if ACTIVATIONS[name] is not own)
    return g._sized(g.closest(others), 1)


def _float16_step(g: Inputs) -> Any:
    """Rounded to float16; sought, it is what float16 holds whole and is that near."""
    rounded = g.right.astype(np.float16).astype(np.float64)
    if g.got is None or g.absolute:
        return rounded
    held = (g.got.astype(np.float16) == g.got).all()
    near = (abs(g.got - rounded) <= 2.0**-10 * abs(g.right) + 2.0**-24).all()
    return g.got if held and near else rounded


def _before_derivative(g: Inputs) -> Any:
    """What BP1 or BP2 multiplies by σ′."""
    if g.kind == "BP2":
        return g.pulled_back()
    return g.cost_gradient() if _has_sigma_prime(g) else None


def _repenalised(g: Inputs, factor: float) -> Any:
    if g.absolute:
        return g.right + (1 + factor) * g.penalty
    return g.right + (factor - 1) * g.penalty


def _rescaled(g: Inputs) -> Any:
    """λx + c, by least squares over all of x, or over each column of it; x/2 when planting."""
    x = g.right
    if g.absolute:
        return x + 1
    if g.got is None:
        return x / 2

    def fitted(axis: int | None) -> Any:
        spread = x - x.mean(axis=axis, keepdims=True)
        length = (spread * spread).sum(axis=axis, keepdims=True)
        slope = (spread * g.got).sum(axis=axis, keepdims=True) / (length + (length == 0))
        return slope * spread + g.got.mean(axis=axis, keepdims=True)

    # Two numbers are fitted to each column: with two examples they would fit anything.
    return g.closest([fitted(None), fitted(0)] if g.m > 2 else [fitted(None)])


CATALOGUE = {
    mistake.name: mistake
    for mistake in (
        # A factor.
        Mistake(
            "ascent_sign",
            ("BP1",),
            "δᴸ = −∇ₐC ⊙ σ′(zᴸ)",
            lambda c: "Take a − y, not y − a." if c.sign == "descent" else "Take y − a, not a − y.",
            lambda g: g.scaled(-1),
        ),
        Mistake(
            "sum_for_mean",
            ("cost", "BP1", "BP3", "BP4"),
            "the sum over the examples in place of their mean",
            _where_m_comes_in,
            lambda g: _if(g.has_mean, lambda: g.scaled(g.m)),
        ),
        Mistake(
            "mean_twice",
            ("BP1",),
            lambda c: (
                "δᴸ = ∇ₐC ⊙ σ′(zᴸ), divided by m"
                + (" twice" if (c.reduction, c.delta) == ("mean", "batch") else "")
            ),
            _where_m_comes_in,
            lambda g: _if(g.m > 1, lambda: g.scaled(1 / g.m)),
        ),
        Mistake(
            "mean_again",
            ("cost", "BP2", "BP4"),
            "divided by m once more",
            _where_m_comes_in,
            lambda g: _if(g.m > 1, lambda: g.scaled(1 / g.m)),
        ),
        Mistake(
            "half_missing",
            ("cost", "BP1"),
            "of the quadratic cost without its ½",
            "The quadratic cost has a ½, which cancels the 2 of its derivative.",
            lambda g: _if(g.net.cost is quadratic, lambda: g.scaled(2)),
        ),
        Mistake(
            "half_twice",
            ("cost", "BP1"),
            "with the ½ of the quadratic cost a second time",
            "The ½ stands in the cost once, and cancels with the 2 of the derivative in BP1.",
            lambda g: _if(g.net.cost is quadratic, lambda: g.scaled(0.5)),
        ),
        Mistake(
            "mean_over_outputs",
            ("cost", "BP1"),
            "the mean over the outputs too: 1/(m n_L)",
            "Divide by the number of examples alone: C sums over the outputs.",
            lambda g: _if(g.y.shape[1] > 1, lambda: g.scaled(1 / g.y.shape[1])),
        ),
        Mistake(
            "accumulated",
            ("BP3", "BP4"),
            "added to the gradient of the last call",
            "Set the gradients to zero before each backward pass.",
            lambda g: 2 * g.right,
        ),
        # σ′.
        Mistake(
            "no_output_derivative",
            ("BP1",),
            "δᴸ = ∇ₐC",
            "Multiply by σ′(zᴸ): with this cost nothing cancels it.",
            lambda g: _if(_has_sigma_prime(g), g.cost_gradient),
        ),
        Mistake(
            "extra_output_derivative",
            ("BP1",),
            lambda c: "… ⊙ σ′(zᴸ)".replace(
                "…",
                ("(y − a)" if c.sign == "ascent" else "(a − y)")
                + ("/m" if (c.reduction, c.delta) == ("mean", "batch") else ""),
            ),
            "Leave σ′ out: this cost's derivative cancels it.",
            lambda g: _if(not _has_sigma_prime(g), lambda: g.right * g.prime(g.l)),
        ),
        Mistake(
            "softmax_diagonal",
            ("BP1",),
            "δᴸ = ∇ₐC ⊙ a(1 − a), softmax's Jacobian taken as diagonal",
            "Every output of softmax depends on every z: δⱼ = aⱼ(gⱼ − Σₖ gₖaₖ).",
            lambda g: _if(
                g.net.sigma[g.l] is softmax and _has_sigma_prime(g),
                lambda: g.cost_gradient() * g.prime(g.l),
            ),
        ),
        Mistake(
            "no_hidden_derivative",
            ("BP2",),
            "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹",
            "Multiply by σ′(zˡ), element by element.",
            lambda g: g.pulled_back(),
        ),
        Mistake(
            "sigma_for_derivative",
            ("BP1", "BP2"),
            "… ⊙ σ(zˡ)",
            "Multiply by the derivative σ′(zˡ), not by σ(zˡ).",
            lambda g: _before_derivative(g) * g.act(g.l),
        ),
        Mistake(
            "derivative_at_a",
            ("BP1", "BP2"),
            "… ⊙ σ′(aˡ)",
            "Evaluate σ′ at zˡ: aˡ has been through σ once already.",
            lambda g: _before_derivative(g) * g.prime_at(g.l, g.a[g.l]),
        ),
        Mistake(
            "derivative_of_z_as_if_a",
            ("BP1", "BP2"),
            "… ⊙ the σ′ that takes a, such as a(1 − a), given z",
            "That form of σ′ is a function of a: put aˡ into it.",
            lambda g: _if(
                g.net.sigma[g.l].of == "a" and g.net.sigma[g.l] is not softmax,
                lambda: (
                    _before_derivative(g)
                    * g._sized(np.asarray(derivative_as_written(g.net.sigma[g.l], g.z[g.l])), 1)
                ),
            ),
        ),
        Mistake(
            "derivative_of_wrong_layer",
            ("BP2",),
            "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ⁺¹)",
            "δˡ takes σ′ of its own layer, σ′(zˡ).",
            lambda g: g.pulled_back() * g.prime(g.l + 1),
        ),
        Mistake(
            "matrix_product_for_hadamard",
            ("BP1", "BP2"),
            "a matrix product with σ′(zˡ) in place of ⊙",
            "⊙ is element by element: `*`, not `@`.",
            lambda g: _before_derivative(g) @ g.prime(g.l),
        ),
        # The wrong array.
        Mistake(
            "weights_not_transposed",
            ("BP2",),
            "δˡ = Wˡ⁺¹ δˡ⁺¹ ⊙ σ′(zˡ)",
            _in_rows(
                "Going back takes the transpose: for rows, δˡ⁺¹ @ Wˡ⁺¹ with W as (out, in).",
                "Going back takes the transpose: for columns, Wˡ⁺¹.T @ δˡ⁺¹ with W as (out, in).",
            ),
            lambda g: (g.delta[g.l + 1] @ g.W[g.l + 1].T) * g.prime(g.l),
        ),
        Mistake(
            "weights_of_wrong_layer",
            ("BP2",),
            "δˡ = (Wˡ)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)",
            "δˡ⁺¹ comes back through the weights that lead out of layer l, Wˡ⁺¹.",
            lambda g: (g.delta[g.l + 1] @ g.W[g.l]) * g.prime(g.l),
        ),
        Mistake(
            "weights_updated_first",
            ("BP2",),
            "δˡ = (Wˡ⁺¹ − η ∂C/∂Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)",
            "Compute every δ before any W is updated.",
            _updated_weights,
        ),
        Mistake(
            "delta_of_wrong_layer",
            ("BP2",),
            "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺² ⊙ σ′(zˡ)",
            "δˡ follows from the error of the very next layer, δˡ⁺¹.",
            lambda g: (g.delta[g.l + 2] @ g.W[g.l + 1]) * g.prime(g.l),
        ),
        Mistake(
            "delta_of_next_layer",
            ("BP3", "BP4"),
            "with δˡ⁺¹ in place of δˡ",
            "The gradients of layer l take the error of layer l.",
            lambda g: g.collected(
                g.delta[g.l + 1].sum(axis=0)
                if g.kind == "BP3"
                else g.delta[g.l + 1].T @ g.act(g.l - 1)
            ),
        ),
        Mistake(
            "gradient_transposed",
            ("BP4",),
            "∂C/∂Wˡ = aˡ⁻¹ (δˡ)ᵀ",
            _in_rows(
                "∂C/∂W has W's shape: for rows, δˡ.T @ aˡ⁻¹ with W as (out, in).",
                "∂C/∂W has W's shape: for columns, δˡ @ aˡ⁻¹.T with W as (out, in).",
            ),
            lambda g: (
                (g.right - g.penalty).T + g.penalty if not g.absolute else g.right.T + 2 * g.penalty
            ),
        ),
        Mistake(
            "activation_of_same_layer",
            ("BP4",),
            "∂C/∂Wˡ = δˡ (aˡ)ᵀ",
            "Wˡ joins aˡ⁻¹ to zˡ: take the activation of the layer before.",
            lambda g: g.collected(g.delta[g.l].T @ g.act(g.l)),
        ),
        Mistake(
            "sum_for_activation",
            ("BP4",),
            "∂C/∂Wˡ = δˡ (zˡ⁻¹)ᵀ",
            "Wˡ is multiplied by aˡ⁻¹ = σ(zˡ⁻¹), not by zˡ⁻¹.",
            lambda g: g.collected(g.delta[g.l].T @ g.sum_(g.l - 1)),
        ),
        # The biases.
        Mistake(
            "bias_averaged",
            ("BP3",),
            lambda c: (
                "∂C/∂bˡ = the mean of δˡ over the examples"
                if c.delta == "batch" or c.reduction == "sum"
                else "∂C/∂bˡ = the mean of δˡ over the examples, divided by m again"
            ),
            _where_m_comes_in,
            lambda g: _if(g.m > 1, lambda: g.scaled(1 / g.m)),
        ),
        Mistake(
            "bias_wrong_axis",
            ("BP3",),
            "∂C/∂bˡ = the sum of δˡ over the neurons",
            _in_rows(
                "Sum over the axis of the examples: axis 0, since they are rows.",
                "Sum over the axis of the examples: axis 1, since they are columns.",
            ),
            lambda g: g.collected(g.delta[g.l].sum(axis=1)),
        ),
        Mistake(
            "bias_missing",
            ("BP3",),
            "∂C/∂bˡ = 0",
            "Give the biases their gradient: the sum of δˡ over the examples.",
            lambda g: 0 * g.right,
        ),
        Mistake(
            "bias_penalised",
            ("BP3",),
            "∂C/∂bˡ = Σ δˡ + l2 · bˡ",
            "The penalty is on the weights alone.",
            lambda g: _if(
                g.net.l2 > 0 and not g.net.l2_biases,
                lambda: g.right + g.scales.gradient_penalty * g.net.l2 * g.b[g.l],
            ),
        ),
        # The penalty.
        Mistake(
            "penalty_missing",
            ("cost", "BP3", "BP4"),
            "without the l2 term",
            "Add l2/2 times the sum of the squared weights to the cost, and l2 · W to ∂C/∂W.",
            lambda g: _if(g.has_penalty, lambda: _repenalised(g, 0)),
        ),
        Mistake(
            "penalty_halved",
            ("cost", "BP4"),
            "with half of the l2 term",
            "The cost has l2/2 times the sum of the squared weights, whose derivative is l2 · W.",
            lambda g: _if(g.has_penalty, lambda: _repenalised(g, 0.5)),
        ),
        Mistake(
            "penalty_doubled",
            ("cost", "BP4"),
            "with twice the l2 term",
            "The cost has l2/2 times the sum of the squared weights, whose derivative is l2 · W.",
            lambda g: _if(g.has_penalty, lambda: _repenalised(g, 2)),
        ),
        Mistake(
            "penalty_on_biases",
            ("cost",),
            "… and l2/2 times the sum of the squared biases",
            "The penalty is on the weights alone.",
            lambda g: _if(
                g.net.l2 > 0 and not g.net.l2_biases,
                lambda: (
                    g.right
                    + g.scales.cost_penalty
                    * g.net.l2
                    / 2
                    * sum((b**2).sum() for b in g.b.values() if b is not None)
                ),
            ),
        ),
        # The cost, the targets.
        Mistake(
            "log_clipped",
            ("cost",),
            "with log a kept away from log 0, while δ is not",
            "Compute the cost from z, where it stays exact: log-sum-exp, or softplus.",
            _clipped_cost,
        ),
        Mistake(
            "labels_off_by_one",
            ("cost", "BP1"),
            "with the targets one class off",
            "Count the classes as y does: its columns are the classes 0 … n_L − 1.",
            _labels_off_by_one,
        ),
        Mistake(
            "targets_of_other_examples",
            ("cost", "BP1"),
            "with the targets of the next example",
            "Row i of y is the target of row i of x: shuffle both alike.",
            _targets_of_other_examples,
        ),
        # The forward pass.
        Mistake(
            "input_rescaled",
            ("x",),
            "a⁰ = x, scaled or shifted",
            "Feed x as it is given, or hand the scaled x to the check as well.",
            lambda g: _rescaled(g),
        ),
        Mistake(
            "bias_omitted",
            ("z",),
            "zˡ = Wˡ aˡ⁻¹",
            "Add the bias bˡ.",
            lambda g: _if(g.b[g.l] is not None, lambda: g.act(g.l - 1) @ g.W[g.l].T),
        ),
        Mistake(
            "bias_twice",
            ("z",),
            "zˡ = Wˡ aˡ⁻¹ + 2bˡ: an extra bias",
            "Add the bias bˡ once.",
            lambda g: g.act(g.l - 1) @ g.W[g.l].T + 2 * g.b[g.l],
        ),
        Mistake(
            "forward_transposed",
            ("z",),
            "zˡ = (Wˡ)ᵀ aˡ⁻¹ + bˡ",
            _in_rows(
                "W is (out, in): for rows, aˡ⁻¹ @ Wˡ.T.", "W is (out, in): for columns, Wˡ @ aˡ⁻¹."
            ),
            lambda g: g.act(g.l - 1) @ g.W[g.l] + g.bias(),
        ),
        Mistake(
            "forward_sum_not_activation",
            ("z",),
            "zˡ = Wˡ zˡ⁻¹ + bˡ",
            "Layer l takes the activations aˡ⁻¹ = σ(zˡ⁻¹), not the sums zˡ⁻¹.",
            lambda g: g.sum_(g.l - 1) @ g.W[g.l].T + g.bias(),
        ),
        Mistake(
            "activation_omitted",
            ("a",),
            "aˡ = zˡ",
            "Apply σ.",
            lambda g: g.sum_(g.l),
        ),
        Mistake(
            "other_activation",
            ("a",),
            "aˡ = another σ of zˡ",
            "Apply the σ that the network names.",
            _other_sigma,
        ),
        # Parts, and precision.
        Mistake(
            "unit_dropped",
            ("a", "BP1", "BP2", "BP3"),
            "zero in one neuron",
            "Let the loop over the neurons reach them all.",
            lambda g: _dropped(g, g.right.ndim - 1),
        ),
        Mistake(
            "unit_dropped_from_gradient",
            ("BP4",),
            "zero in one neuron's row",
            "Let the loop over the neurons reach them all.",
            lambda g: _dropped(g, 0),
        ),
        Mistake(
            "example_dropped",
            ("BP1", "BP2"),
            "zero in one example's row",
            "Let the loop over the examples reach them all.",
            lambda g: _dropped(g, 0),
        ),
        Mistake(
            "example_left_out",
            ("BP3", "BP4"),
            "the sum over all the examples but one",
            "Let the sum over the examples begin at the first and end after the last.",
            _example_left_out,
        ),
        Mistake(
            "last_example_only",
            ("BP3", "BP4"),
            "the last example's gradient in place of the sum",
            "Add up the examples: += in the loop over them, not =.",
            lambda g: _if(g.m > 1, lambda: _of_one_example(g, g.m - 1)),
        ),
        Mistake(
            "first_example_for_all",
            ("BP2",),
            "δˡ⁺¹ of the first example for every example",
            "Take each example's own δˡ⁺¹: check the index of the example.",
            lambda g: _if(g.m > 1, lambda: (g.delta[g.l + 1][:1] @ g.W[g.l + 1]) * g.prime(g.l)),
        ),
        Mistake(
            "float16_step",
            ("z", "BP1", "BP2", "BP4"),
            "rounded to float16 on the way",
            "Keep every step in the dtype of the parameters.",
            _float16_step,
        ),
    )
}
