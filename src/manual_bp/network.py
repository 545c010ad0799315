"""What a network is: Network, Layer, and where its weights begin."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from manual_bp.activations import Activation, activation
from manual_bp.checks import Problems, flag, jax_dtype, kind, parts, random_key, real, shown
from manual_bp.costs import Cost
from manual_bp.costs import cost as built_in_cost
from manual_bp.families import parsed
from manual_bp.own import activation_problem, cost_problem
from manual_bp.text import summary


class Layer(NamedTuple):
    """Weights and biases of one layer; also their gradients.

    Attributes:
        W: (n_l, n_{l-1}); W[j, k] joins neuron k of layer l-1 to neuron j of layer l.
        b: (n_l,); None for a layer without biases.
    """

    W: Any  # arrays of JAX or NumPy
    b: Any = None

    def __repr__(self) -> str:
        b = "" if self.b is None else f"; b: {summary(self.b)}"
        return f"Layer(W: {summary(self.W)}{b})"


MAX_AXIS = 2**31 - 1
"""The widest layer, and the largest batch: an axis of XLA counts no further."""

Params = Sequence[Sequence[Any]]
"""A `Layer(W, b)`, or a pair of arrays, for each layer l = 1…L; b is None for no biases."""
SameParams = TypeVar("SameParams", bound=Params)
"""Such parameters, in the structure in which they came."""


@dataclass(frozen=True)
class Network:
    """A fully connected network: its sizes, its activations, its cost; no numbers of its own.

    Args:
        sizes: n_0, n_1, …, n_L: the width of the input and of each layer.
        activations: σ of each layer 1…L, by name, such as "tanh" or "leaky_relu(0.2)", or as an
            `Activation` of your own, whose σ′ is held to σ.
        cost: C, by name, such as "quadratic" or "huber(2)", or as a `Cost` of your own, whose
            gradient or delta is held to its value; the mean over the examples of a batch.
        l2: adds l2/2 · Σ‖W‖² to C.
        l2_biases: whether the penalty is on the biases too, as weight decay has it in PyTorch.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and the fix.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((64, 32, 10), ("tanh", "softmax"), "cross_entropy")
        >>> [layer.W.shape for layer in net.init(jax.random.key(0))]
        [(32, 64), (10, 32)]
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    cost: Cost
    l2: float = 0.0
    l2_biases: bool = False

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[str | Activation],
        cost: str | Cost,
        l2: float = 0.0,
        l2_biases: bool = False,
    ) -> None:
        problems = Problems()
        sizes = _sizes(sizes, problems)
        sigmas = _activations(activations, problems)
        cost = _lookup("cost", cost, Cost, built_in_cost, problems)
        if sizes and sigmas is not None and len(sigmas) != len(sizes) - 1:
            problems.value(
                f"activations: expected one for each of the {len(sizes) - 1} layers after the "
                f"input that sizes has, got {len(sigmas)}"
            )
        if isinstance(cost, Cost) and sigmas:
            _go_together(sigmas[-1], cost, sizes, problems)
        if (penalty := real(l2)) is None:
            problems.type(f"l2: expected a number ≥ 0, got {shown(l2)}")
        elif not 0 <= penalty < math.inf:
            problems.value(f"l2: expected a finite number ≥ 0, got {shown(l2)}")
        flag("l2_biases", l2_biases, problems)
        problems.raise_all()
        for name, value in (
            ("sizes", sizes),
            ("activations", sigmas),
            ("cost", cost),
            ("l2", penalty),
            ("l2_biases", bool(l2_biases)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = ", ".join(repr(sigma.name) for sigma in self.activations)
        penalty = f", l2={self.l2!r}" if self.l2 else ""
        penalty += ", l2_biases=True" if self.l2_biases else ""
        return f"Network({self.sizes}, ({names},), {self.cost.name!r}{penalty})"

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        names = [sigma.name for sigma in self.activations]
        if len(set(names[:-1])) == 1:
            names = [names[0], names[-1]]
        squares = "(‖W‖² + ‖b‖²)" if self.l2_biases else "‖W‖²"
        penalty = f" + {self.l2:g}/2·{squares}" if self.l2 else ""
        return f"{sizes} {'/'.join(names)}/{self.cost}{penalty}"

    @property
    def depth(self) -> int:
        """L, the number of layers that have weights."""
        return len(self.sizes) - 1

    @property
    def layers(self) -> range:
        """l = 1…L, as the equations count them."""
        return range(1, self.depth + 1)

    @property
    def sigma(self) -> dict[int, Activation]:
        """σ of each layer l = 1…L."""
        return dict(enumerate(self.activations, start=1))

    def penalised(self, params: Params) -> list[Any]:
        """The arrays whose squares the penalty adds up: the weights, and biases with l2_biases."""
        biases = [b for _, b in params if b is not None] if self.l2_biases else []
        return [W for W, _ in params] + biases

    def init(self, key: Array, dtype: Any = jnp.float32, bias: bool = True) -> tuple[Layer, ...]:
        """Random weights by the standard initialisation for each activation; zero biases.

        He's normal one, of variance 2/n_{l-1}, for the ReLU family; LeCun's normal one, of
        variance 1/n_{l-1}, for selu; Glorot's uniform one, of variance 2/(n_{l-1} + n_l), for
        all others.

        Args:
            key: a key of `jax.random.key`.
            dtype: float16, bfloat16, float32 or float64.
            bias: False for layers without biases.

        Returns:
            One `Layer(W, b)`, or `Layer(W, None)`, for each layer 1…L.

        Source: Glorot and Bengio, AISTATS 2010, eq. 16; He et al., ICCV 2015, eq. 10; Klambauer
        et al., NeurIPS 2017, sec. 3.
        """
        problems = Problems()
        dtype = jax_dtype("dtype", dtype, problems)
        random_key("key", key, problems, traced=True)
        flag("bias", bias, problems)
        problems.raise_all()
        params = []
        for l, key_l in zip(self.layers, jax.random.split(key, self.depth), strict=True):
            initializer = {
                "glorot": jax.nn.initializers.glorot_uniform,
                "he": jax.nn.initializers.he_normal,
                "lecun": jax.nn.initializers.lecun_normal,
            }[self.sigma[l].init](in_axis=-1, out_axis=-2)
            W = initializer(key_l, (self.sizes[l], self.sizes[l - 1]), dtype)
            params.append(Layer(W, jnp.zeros(self.sizes[l], dtype) if bias else None))
        return tuple(params)


def _sizes(sizes: Any, problems: Problems) -> tuple[int, ...]:
    if (widths := parts(sizes)) is None:
        problems.type(
            f"sizes: expected a sequence of widths such as (64, 32, 10), got {shown(sizes)}"
        )
        return ()
    for i, width in enumerate(widths):
        try:
            fits = not isinstance(width, bool) and 0 < operator.index(width) <= MAX_AXIS
        except Exception:  # whatever it may raise that is no number
            fits = False
        if not fits:
            limit = f" up to {MAX_AXIS:,}" if (real(width) or 0) > MAX_AXIS else ""
            problems.value(f"sizes[{i}]: expected a positive integer{limit}, got {shown(width)}")
            return ()
    if len(widths) < 2:
        problems.value(
            f"sizes: expected at least two, the input's width and one layer's, got {shown(widths)}"
        )
        return ()
    return tuple(map(operator.index, widths))


def _lookup(
    argument: str, value: Any, type_: type, named: Callable[[str], Any], problems: Problems
) -> Any:
    if isinstance(value, type_):
        return value
    if not isinstance(value, str):
        problems.type(
            f"{argument}: expected a name or a manual_bp.{type_.__name__}, got {kind(value)}"
        )
        return None
    try:
        return named(value)
    except ValueError as error:
        problems.value(f"{argument}: {error}")
    return None


def _activations(given: Any, problems: Problems) -> tuple[Activation, ...] | None:
    if (activations := parts(given)) is None:
        problems.type(
            f"activations: expected one for each layer, such as ('tanh', 'softmax'), "
            f"got {shown(given)}"
        )
        return None
    found = [
        _lookup(f"activations[{i}]", name, Activation, activation, problems)
        for i, name in enumerate(activations)
    ]
    if not all(found):
        return None
    told: set[str] = set()
    for i, sigma in enumerate(found):
        problem = activation_problem(sigma)
        if problem and problem not in told:
            told.add(problem)
            problems.value(f"activations[{i}]: {problem}")
    for i, sigma in enumerate(found[:-1]):
        if sigma.name == "softmax":
            problems.value(
                f"activations[{i}]: softmax is for the output layer only: it is not an "
                f"element-wise function, so a hidden layer cannot have it"
            )
    return tuple(found)


def _go_together(
    output: Activation, cost: Cost, sizes: tuple[int, ...], problems: Problems
) -> None:
    if cost.output not in (None, output.name):
        own = (
            "; for rates by another σ give a Cost of your own, of value a − y log a and gradient "
            "1 − y/a"
        )
        problems.value(
            f"cost: {cost.name} goes with the output activation {cost.output}, got "
            f"{output.name}; take ({cost.output}, {cost.name}), or (any activation, quadratic)"
            f"{own if cost.family == 'poisson' else ''}"
        )
        return
    if sizes and output.name == "softmax" and output.built_in and sizes[-1] == 1:
        problems.value(
            "sizes, activations: softmax of one output neuron is always 1; take (sigmoid, "
            "binary_cross_entropy), or two output neurons"
        )
    if cost.gradient is None and cost.delta is None:
        problems.value(f"cost: {cost.name} has neither a gradient ∇ₐC nor a delta; give one")
        return
    if cost.family == "cross_entropy":
        weights: Any = parsed(cost.name).named.get("weights", ())
        if sizes and weights and len(weights) != sizes[-1]:
            problems.value(
                f"cost: expected a class weight for each of the {sizes[-1]} output neurons, got "
                f"{len(weights)} in {cost.name}"
            )
    if sizes and not problems.found and (problem := cost_problem(cost, output, sizes[-1])):
        problems.value(f"cost: {problem}")
