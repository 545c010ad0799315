"""What every bridge shares: a model as a chain of layers, read into a network and back."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.activations import Activation
from manual_bp.calls import read_call
from manual_bp.checks import FLOATS, Problems
from manual_bp.costs import COSTS, Cost
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop

READABLE = "fully connected layers and activations, one after another"


class Dense(NamedTuple):
    """A fully connected layer that was found.

    Attributes:
        where: how an error calls it, such as "model[2]".
        W: (out, in), or what its own bridge makes that of.
        b: (out,), likewise, or None without biases.
        holder: the object that holds W; two layers that share it are one.
        path: where it stands in the model, for a bridge that finds its gradients by that.
    """

    where: str
    W: Any
    b: Any
    holder: Any
    path: tuple[Any, ...] = ()


class Sigma(NamedTuple):
    """An activation that was found.

    Attributes:
        where: how an error calls it.
        what: how the model calls it.
        name: as `Network` takes it; None where it is not recognised.
    """

    where: str
    what: str
    name: str | Activation | None


class Part(NamedTuple):
    """A part of a model, made out of one layer and what follows it."""

    dense: Dense
    sigma: Sigma | None


def refuse(where: str, what: str, problems: Problems, fix: str = "") -> None:
    """Note a part of a model that cannot be read, by its name."""
    problems.type(f"{where}: expected {READABLE}, got {what}; {fix or 'check the part without it'}")


def parts_of(steps: Iterable[Dense | Sigma], problems: Problems, code: bool = False) -> list[Part]:
    """Each layer with the activation that follows it.

    Args:
        steps: the layers and activations in order.
        problems: where what does not fit is noted.
        code: whether activations may stand in the model's code, where nobody can read them.
    """
    parts: list[Part] = []
    seen: dict[int, str] = {}
    for step in steps:
        if isinstance(step, Dense):
            if id(step.holder) in seen:
                problems.value(
                    f"{step.where}: its weights are those of {seen[id(step.holder)]} too, and such "
                    f"a shared layer has one gradient for both; give each layer weights of its own"
                )
            seen[id(step.holder)] = step.where
            unknown = Sigma(step.where, "code", None) if code else None
            parts.append(Part(step, unknown))
        elif step.name == "identity":
            continue
        elif not parts:
            problems.value(
                f"{step.where}: {step.what} comes before the first layer; apply it to x instead"
            )
        elif (before := parts[-1].sigma) is not None and before.what != "code":
            problems.value(
                f"{step.where}: {step.what} follows {before.what}, and a layer has one "
                f"activation; make one mbp.Activation of both"
            )
        else:
            parts[-1] = parts[-1]._replace(sigma=step)
    if not parts and not problems.found:
        problems.value(f"model: expected {READABLE}, got no such layer")
    return parts


def network(
    parts: Sequence[Part],
    layers: Sequence[Layer],
    cost: str | Cost,
    activations: Sequence[str | Activation] | None,
    l2: float,
    problems: Problems,
) -> tuple[Network, tuple[Layer, ...]]:
    """The network of these parts, and its parameters as they were read.

    Raises:
        ValueError, TypeError: naming all that does not fit, `problems` included.
    """
    for before, after in pairwise(parts):
        gives, takes = before.dense.W.shape[0], after.dense.W.shape[1]
        if gives != takes:
            problems.value(
                f"{after.dense.where}: expected {gives} inputs, as many as "
                f"{before.dense.where} has outputs, got {takes}"
            )
    sigmas = _activations(parts, cost, activations, problems)
    problems.raise_all()
    sizes = (parts[0].dense.W.shape[1], *(part.dense.W.shape[0] for part in parts))
    return Network(sizes, sigmas, cost, l2), tuple(layers)


def _activations(
    parts: Sequence[Part], cost: Any, given: Any, problems: Problems
) -> list[str | Activation]:
    """σ of each layer, as it was found or as the caller names it; the last one fits the cost."""
    named: list[Any] = [None] * len(parts)
    if given is not None:
        named = [given] if isinstance(given, (str, Activation)) else list(given)
        if len(named) != len(parts):
            problems.value(
                f"activations: expected one for each of the {len(parts)} layers "
                f"{', '.join(part.dense.where for part in parts)}, got {len(named)}"
            )
            return []
    sigmas: list[Any] = []
    for i, (part, name) in enumerate(zip(parts, named, strict=True)):
        found: Any = "identity" if part.sigma is None else part.sigma.name
        if found is None and name is None:
            assert part.sigma is not None
            what = (
                f"{part.sigma.where}: what follows it is in the model's code and cannot be read"
                if part.sigma.what == "code"
                else f"{part.sigma.where}: {part.sigma.what} is no activation that is recognised"
            )
            problems.value(
                f"{what}; name one for each of the {len(parts)} layers, such as activations="
                f"{('tanh',) * (len(parts) - 1) + ('identity',)}"
            )
        last = i == len(parts) - 1
        # The output's may stand in the cost's code, as with logits: there the caller knows more.
        if name is not None and found is not None and not (last and found == "identity"):
            if str(name) != str(found):
                problems.value(
                    f"activations[{i}]: expected {str(found)!r}, which follows "
                    f"{part.dense.where} in the model, got {str(name)!r}"
                )
        elif name is not None:
            found = name
        sigmas.append(found)
    if sigmas and sigmas[-1] is not None:
        sigmas[-1] = _output(sigmas[-1], cost, problems)
    return sigmas


def _output(sigma: Any, cost: Any, problems: Problems) -> Any:
    """The output's σ: that of the cost where the model gives logits."""
    wanted = getattr(COSTS.get(cost) if isinstance(cost, str) else cost, "output", None)
    if str(sigma) == "identity" and wanted is not None:
        return wanted
    if str(sigma) == "log_softmax":
        if wanted == "softmax":
            return wanted
        problems.value(
            "model: it ends in log_softmax, which goes with the cost cross_entropy alone; "
            "let it end in softmax"
        )
    return sigma


def checked(net: Network, params: Any) -> list[tuple[Activation | None, Any, Any]]:
    """(σ, W, b) of each layer; σ is None where it is no function or the cost takes logits.

    Raises:
        ValueError, TypeError: naming each argument that does not fit.
    """
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params) if hasattr(leaf, "dtype")]
    known = [dtype for dtype in dtypes if dtype.name in FLOATS]
    read_call(net, params, np.zeros(getattr(net, "sizes", (1,))[0], (*known, np.float32)[0]))
    layers = []
    for l, (W, b) in zip(net.layers, params, strict=True):
        sigma: Activation | None = net.sigma[l]
        if net.sigma[l].name == "identity" or (l == net.depth and net.cost.output is not None):
            sigma = None
        layers.append((sigma, W, b))
    return layers


def gradients(pairs: Sequence[tuple[Any, Any]], fix: str) -> Backprop:
    """The record of (∂C/∂W, ∂C/∂b) of each layer, None where the model gives none.

    Raises:
        ValueError: there is no gradient at all.
    """
    if all(array is None for pair in pairs for array in pair):
        raise ValueError(f"gradients: expected those of the model's layers, got none; {fix}")
    return Backprop(dW=tuple(dW for dW, _ in pairs), db=tuple(db for _, db in pairs))


def with_number(name: str, number: float, usual: float) -> str:
    """'leaky_relu(0.2)'; the name alone for the number that it stands for."""
    return name if float(number) == usual else f"{name}({float(number)!r})"


def number_of(name: str, usual: float) -> tuple[str, float]:
    """('leaky_relu', 0.2) of 'leaky_relu(0.2)', with the usual number where there is none."""
    match = re.fullmatch(r"(\w+)\(([^()]+)\)", name)
    return (match[1], float(match[2])) if match else (name, usual)
