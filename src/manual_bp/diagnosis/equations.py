"""Each equation as a few parts, in numbers and in words. A mistake puts another part in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from manual_bp.activations import softmax
from manual_bp.costs import quadratic
from manual_bp.diagnosis.compiled import derivative_as_written, mean_cost, sigma, slope
from manual_bp.network import Network
from manual_bp.record import Place
from manual_bp.rounding.sized import Sized
from manual_bp.subjects.convention import Convention, Scales, penalty_in

Numbers = np.ndarray[Any, Any]
Layers = Mapping[int, Any]


class Shards(NamedTuple):
    """Over how many devices a step is split: its examples, and its weights."""

    data: int = 1
    model: int = 1

    @property
    def is_split(self) -> bool:
        """Whether it is."""
        return self.data * self.model > 1


# ── What an equation reads ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What one equation of layer l reads, and the rest of the record beside it.

    Attributes:
        net, place: the network, and where the equation stands in the record.
        scales: how many times ours the numbers are.
        W, b, z, a, delta, dW: by layer; `a` from 0. All by NumPy in float64, examples as rows.
        y: (m, n_L).
        got: what the subject has in its place; None where it is not shown.
        after: whether the subject is seen from its parameters after an update.
        norms: ‖·‖ of all gradients together and of this one, as they should be, where known.
        neurons, before: which neurons of layer l, and of the layer before, are looked at; all
            where they are None.
        shards: over how many devices the step is split.
    """

    net: Network
    place: Place
    scales: Scales
    W: Layers
    b: Layers
    z: Layers
    a: Layers
    delta: Layers
    dW: Layers
    y: Any
    got: Any = None
    after: bool = False
    norms: tuple[float, ...] = ()
    neurons: Any = None
    before: Any = None
    shards: Shards = Shards()  # noqa: RUF009 (a tuple)

    @classmethod
    def reading(cls, place: Place, arrays: Mapping[str, Layers], **rest: Any) -> Inputs:
        """Those of the equation at a place, of a record's arrays by quantity and layer."""
        read: dict[str, Any] = {name: arrays[name] for name in ("z", "a", "delta", "dW")}
        return cls(place=place, **read, **rest)

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

    @property
    def n(self) -> int:
        """How many outputs."""
        return self.net.sizes[-1]

    @property
    def cancels(self) -> bool:
        """Whether the cost's derivative cancels σ′ in BP1."""
        return self.net.cost.delta is not None

    @property
    def has_mean(self) -> bool:
        """Whether the 1/m of the mean over the examples comes in here."""
        s = self.scales
        if self.kind in ("cost", "BP1"):
            scale = s.cost if self.kind == "cost" else s.delta
            return self.m > 1 and bool(np.isclose(abs(scale), s.cost_penalty))
        return self.m > 1 and self.kind in ("BP3", "BP4") and abs(s.collected) < 1

    def layer(self, l: int, array: str = "a") -> Sized:
        """An array of a layer."""
        return Sized.of(getattr(self, array)[l])

    def slope(self, y: Any) -> Sized:
        """∇ₐC/m for such targets; for the costs whose σ′ cancels, δᴸ."""
        a, factor = self.a[self.net.depth], self.scales.delta / self.m
        if self.net.cost is quadratic:
            return Sized((a - y) * factor, (np.abs(a) + np.abs(y)) * abs(factor))
        value, y = slope(self.net, a, y), np.abs(y)
        terms = np.abs(a) * y.sum(axis=1, keepdims=True) + y if self.cancels else 1
        return Sized(value * factor, (np.abs(value) + terms) * abs(factor))

    def prime(self, l: int) -> Sized:
        """σ′ of layer l, from z or from a as it is written; for softmax its diagonal."""
        own = self.net.sigma[l]
        if own is softmax:
            return from_sigma(self.a[l] * (1 - self.a[l]))
        return from_sigma(derivative_as_written(own, (self.a if own.of == "a" else self.z)[l]))

    def pulled_back(self, l: int) -> Sized:
        """∂C/∂aˡ: ∇ₐC at the output, else (Wˡ⁺¹)ᵀ δˡ⁺¹."""
        if l == self.net.depth:
            return self.slope(self.y)
        return self.layer(l + 1, "delta") @ self.layer(l + 1, "W")

    def raw_errors(self, l: int) -> list[Sized]:
        """∂C/∂aˡ in the place of δˡ: from δˡ⁺¹, and with no σ′ all the way from the output."""
        if l > self.net.depth:
            return []
        error = self.slope(self.y)
        for above in range(self.net.depth, l, -1):
            error = error @ self.layer(above, "W")
        return [self.pulled_back(l), error] if l < self.net.depth else [error]

    def looked_at(self, found: Sized) -> Sized:
        """An array at the place, of the neurons looked at."""
        shape = self.place.shape(self.net, self.m)
        if self.neurons is None or found.value.shape != shape or not shape:
            return found
        index: Any = (Ellipsis, self.neurons)
        if self.kind == "BP4":
            index = np.ix_(self.neurons, self.before)
        return found.each(lambda v: v[index])

    @cached_property
    def penalty(self) -> Any:
        """The l2 term of this equation, in its scale; None where it has none."""
        _, scale = self.scales.of(self.place)
        params = list(zip(self.W.values(), self.b.values(), strict=True))
        term = penalty_in(self.net, params, self.place)
        return None if isinstance(term, float) and not term else np.asarray(scale * term)

    @property
    def penalty_looked_at(self) -> Sized:
        """That term, of the neurons looked at."""
        return self.looked_at(Sized.of(self.penalty))

    @property
    def penalised(self) -> bool:
        """Whether this equation has an l2 term."""
        return self.penalty is not None


# ── The equations ────────────────────────────────────────────────────────────────────────────────

Parts = dict[str, Any]


def right_parts(g: Inputs) -> Parts:
    """What stands in each part of the equation as it should be."""
    l, ones = g.l, np.ones((g.m, 1))
    match g.kind:
        case "x":
            return {"x": g.layer(0)}
        case "z":
            b = Sized.of(np.zeros(g.net.sizes[l]) if g.b[l] is None else g.b[l])
            return {"W": g.layer(l, "W"), "a": g.layer(l - 1), "b": b}
        case "a":
            return {"sigma": from_sigma(sigma(g.net.sigma[l], g.z[l]))}
        case "cost":
            return {"y": g.y, "value": None}
        case "BP1":
            return {"y": g.y, "prime": None, "join": Sized.__mul__}
        case "BP2":
            W, delta = g.layer(l + 1, "W"), g.layer(l + 1, "delta")
            return {"W": W, "delta": delta, "prime": g.prime(l), "join": Sized.__mul__}
        case "BP3":
            return {"delta": g.layer(l, "delta"), "over": ones, "sum": lambda d: d.sum(0)}
        case _:
            return {"delta": g.layer(l, "delta"), "over": ones, "a": g.layer(l - 1)}


def equation(g: Inputs, p: Parts) -> Sized:
    """What an equation gives with such parts, without its penalty; of the neurons looked at."""
    J, K = g.neurons, g.before
    if J is not None:
        cut = {"z": {"W": J}, "BP2": {"W": (slice(None), J), "prime": (slice(None), J)}}
        cut["BP4"] = {"delta": (slice(None), J), "a": (slice(None), K)}
        p = p | {part: p[part].each(lambda v, at=at: v[at])
                 for part, at in cut.get(g.kind, {}).items()
                 if part != "delta" or p[part].value.shape[1] == g.net.sizes[g.l]}  # fmt: skip
        if g.kind == "z":
            p = p | {"b": p["b"].each(lambda v: v[J])}
    found = _equation(g, p)
    return g.looked_at(found)


def _equation(g: Inputs, p: Parts) -> Sized:
    match g.kind:
        case "x" | "a":
            found: Sized = p["x" if g.kind == "x" else "sigma"]
        case "z":
            found = p["a"] @ p["W"].transposed + p["b"]
        case "cost":
            found = p["value"] or _cost(g, p["y"])
        case "BP1":
            slope, prime, own = g.slope(p["y"]), p["prime"], p["join"] is Sized.__mul__
            if prime is None and own and (g.cancels or g.net.sigma[g.l] is softmax):
                found = slope if g.cancels else _through_softmax(slope, g.layer(g.l))
            else:
                found = p["join"](slope, g.prime(g.l) if prime is None else prime)
        case "BP2":
            found = p["join"](p["delta"] @ p["W"], p["prime"])
        case "BP3":
            found = p["sum"](p["over"] * p["delta"]) * g.scales.collected
        case _:
            found = (p["over"] * p["delta"]).transposed @ p["a"] * g.scales.collected
    return p["after"](found) if "after" in p else found


def _through_softmax(slope: Sized, a: Sized) -> Sized:
    along = (slope * a).each(lambda v: v.sum(axis=1, keepdims=True))
    return a * Sized(slope.value - along.value, slope.size + along.size)


def _cost(g: Inputs, y: Any) -> Sized:
    L = g.net.depth
    value = mean_cost(g.net, g.m, g.z[L], g.a[L], y) * g.scales.cost
    return Sized(value, np.abs(value))


def from_sigma(value: Numbers) -> Sized:
    """What a σ, or a σ′, gave: its rounding may be absolute."""
    return Sized(value, np.abs(value) + 1)


# ── In words ─────────────────────────────────────────────────────────────────────────────────────


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


# What stands in each part of an equation, and how the parts are put together.
_WORDS = {
    "z": ("zˡ = {W} {a}{b}", {"W": "Wˡ", "a": "aˡ⁻¹", "b": " + bˡ"}),
    "BP2": ("δˡ = {W} {delta} {join} {prime}",
            {"W": "(Wˡ⁺¹)ᵀ", "delta": "δˡ⁺¹", "join": "⊙", "prime": "σ′(zˡ)"}),
    "BP4": ("∂C/∂Wˡ = {delta} {a}", {"delta": "δˡ", "a": "(aˡ⁻¹)ᵀ"}),
    "a": ("aˡ = {sigma}", {"sigma": "σ(zˡ)"}),
    "x": ("a⁰ = {x}", {"x": "x"}),
}  # fmt: skip


def in_words(kind: str, net: Network, convention: Convention, used: Any, m: int) -> str:
    """An equation with edits, as a formula and what is said behind it."""
    behind = []
    if any(one.edit.part == "penalty" for one in used):
        net = replace(net, l2=0.0)  # what is said of its l2 term stands behind
    right = right_formula(kind, net, convention)
    head, _, rest = right.partition(", ") if kind in ("BP1", "BP4") else (right, "", "")
    form, parts = _WORDS.get(kind, (head, {}))
    if kind == "BP1":
        slope, _, _ = head.partition(" ⊙")
        if net.cost.delta:
            slope = "δᴸ = " + ("(y − a)" if convention.sign == "ascent" else "(a − y)")
            slope, rest = slope + ("/m" if rest else ""), ""
        form, parts = slope + " {join} {prime}", {"join": "⊙", "prime": "σ′(zᴸ)"}
        if net.cost.delta and not any(one.edit.part == "prime" for one in used):
            form = slope
    if kind == "BP3":
        form, parts = head.replace("δˡ", "{delta}"), {"delta": "δˡ"}
    for one in used:
        text = one.edit.told(convention, one, m)
        if one.edit.part == "sum":
            form = f"∂C/∂bˡ = {text}"
        elif one.edit.part in parts:
            parts = parts | {one.edit.part: text}
        elif text:
            behind.append(text)
        if one.edit.name == "weights_updated_first" and one.number is not None:
            behind.append(f"with η = {one.number:.6g}")
    if parts.get("prime") == "":
        parts = parts | {"join": ""}
    said = form.format(**parts)
    words = [" ".join(said.split()).replace(" ,", ","), rest, *behind]
    return ", ".join(word for word in words if word)
