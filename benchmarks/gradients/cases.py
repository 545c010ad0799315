"""Random arguments for each layer: such that a mistake shows, and that no axis is like another."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradients import plain
from manual_bp import layers

Gradients = tuple[Any, ...]
Random = np.random.Generator
Drawn = tuple[dict[str, Any], dict[str, Any]]  # arrays that have a gradient, and the rest


class Case(NamedTuple):
    """A call of a layer, and the error of what it gives.

    Attributes:
        layer: its name.
        args: the arrays that have a gradient, by name and in the order of the layer's arguments.
        options: the others, by name.
        cotangent: ∂C/∂ of each output.
    """

    layer: str
    args: dict[str, Any]
    options: dict[str, Any]
    cotangent: Any

    @property
    def by_hand(self) -> Callable[..., Any]:
        """The library's layer, a function of the arrays."""
        return self.of(getattr(layers, self.layer))

    @property
    def plain(self) -> Callable[..., Any]:
        """The plain form, a function of the arrays."""
        return self.of(getattr(plain, self.layer))

    @property
    def widened(self) -> "Case":
        """The same numbers in float64; with JAX's 64-bit types on."""
        args = {name: array.astype("float64") for name, array in self.args.items()}
        cotangent = jax.tree.map(lambda g: g.astype("float64"), self.cotangent)
        return self._replace(args=args, cotangent=cotangent)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of all arguments, as one of the arrays alone."""
        return partial(function, **self.options)

    def gradients(self, function: Callable[..., Any]) -> Gradients:
        """What a function of the arrays gives back for this cotangent."""
        gradients: Gradients = jax.vjp(function, *self.args.values())[1](self.cotangent)
        return gradients


def case(layer: str, size: int = 0, seed: int = 0, dtype: Any = "float32") -> Case:
    """Random numbers for one of a layer's shapes; `size` counts through them, again and again."""
    random = np.random.default_rng((seed, size, LAYERS.index(layer)))
    sizes = SIZES[layer]
    arrays, options = globals()[f"_{layer}"](random, *sizes[size % len(sizes)])
    args = {name: jnp.asarray(array, dtype) for name, array in arrays.items()}
    outputs = jax.eval_shape(partial(getattr(layers, layer), **options), *args.values())
    cotangent = jax.tree.map(lambda y: jnp.asarray(_errors(random, y.shape), y.dtype), outputs)
    return Case(layer, args, options, cotangent)


SIZES: dict[str, list[Any]] = {
    "layernorm": [((4,), 7), ((2, 3), 16), ((33,), 129)],
    "rmsnorm": [((4,), 7), ((2, 3), 16), ((33,), 129)],
    "batchnorm": [((6,), 4), ((3, 4, 5), 2), ((65,), 9)],
    "softmax_cross_entropy": [((5,), 3), ((2, 3), 10), ((17,), 101)],
    "dropout": [((6, 7), 0.5), ((5, 3, 4), 0.1), ((200,), 0.8)],
    "embedding": [((9,), 5, 3, None), ((4, 6), 7, 5, 2), ((150,), 11, 8, 0)],
    "conv2d": [
        ((2, 5, 6, 3), (3, 3), 4, {}),
        ((3, 7, 9, 2), (3, 4), 3, {"stride": (2, 3), "padding": "VALID"}),
        ((2, 6, 5, 4), (4, 2), 3, {"stride": 2, "padding": ((2, 1), (0, 1))}),
    ],
    "rnn": [(5, 3, 4, 6), (9, 2, 5, 3), (24, 4, 3, 8)],
    "lstm": [(5, 3, 4, 6), (9, 2, 5, 3), (24, 4, 3, 8)],
    "attention": [((2,), 10, 4, 3, 4), ((2, 3), 7, 5, 6, 16), ((3,), 33, 8, 5, 8)],
    "swiglu": [((5,), 4, 6), ((2, 3), 7, 5), ((40,), 12, 9)],
}
LAYERS = tuple(SIZES)


def _errors(random: Random, shape: tuple[int, ...]) -> Any:
    """Errors of both signs, none near 0, of several sizes: no two are alike, and none is 1."""
    size = random.uniform(0.2, 1.9, shape)
    return size * random.choice([-1, 1], shape)


def _rows(random: Random, shape: tuple[int, ...], eps: float) -> Any:
    """Rows of several sizes: in every other one ε is as large as the variance."""
    sizes = np.resize([1.0, eps**0.5], math.prod(shape[:-1])).reshape(*shape[:-1], 1)
    return random.normal(size=shape) * sizes


def _scales(random: Random, n: int) -> Any:
    return random.uniform(0.5, 1.5, n) * random.choice([-1, 1], n)


def _layernorm(random: Random, rows: tuple[int, ...], n: int) -> Drawn:
    x = _rows(random, (*rows, n), 1e-5)
    x += 0.5 * np.abs(x).max(axis=-1, keepdims=True)
    return {"x": x, "gamma": _scales(random, n), "beta": random.normal(size=n)}, {"eps": 1e-5}


def _rmsnorm(random: Random, rows: tuple[int, ...], n: int) -> Drawn:
    return {"x": _rows(random, (*rows, n), 1e-6), "gamma": _scales(random, n)}, {"eps": 1e-6}


def _batchnorm(random: Random, examples: tuple[int, ...], n: int) -> Drawn:
    sizes = np.resize([30.0, 1e-5**0.5, 1.0], n)  # in a large one the errors of μ and v show
    x = (random.normal(size=(*examples, n)) + 0.5) * sizes
    return {"x": x, "gamma": _scales(random, n), "beta": random.normal(size=n)}, {"eps": 1e-5}


def _softmax_cross_entropy(random: Random, rows: tuple[int, ...], n: int) -> Drawn:
    labels = jnp.asarray(random.integers(n, size=rows), "int32")
    return {"logits": 2 * random.normal(size=(*rows, n))}, {"labels": labels}


def _dropout(random: Random, shape: tuple[int, ...], rate: float) -> Drawn:
    key = jax.random.key(int(random.integers(2**31)))
    return {"x": random.normal(size=shape)}, {"key": key, "rate": rate}


def _embedding(random: Random, shape: tuple[int, ...], n: int, d: int, padding: Any) -> Drawn:
    ids = random.integers(n, size=shape)
    ids.flat[0] = ids.flat[1] = ids.flat[-1]  # one row three times
    ids.flat[2] = 0 if padding is None else padding
    options = {"ids": jnp.asarray(ids, "int32"), "padding_id": padding}
    return {"table": random.normal(size=(n, d))}, options


def _conv2d(
    random: Random, x: tuple[int, ...], kernel: tuple[int, int], c_out: int, options: Any
) -> Drawn:
    W = random.normal(size=(*kernel, x[-1], c_out)) / math.sqrt(math.prod(kernel) * x[-1])
    return {"x": random.normal(size=x), "W": W, "b": random.normal(size=c_out)}, options


def _rnn(random: Random, T: int, m: int, n: int, k: int) -> Drawn:
    return {
        "x": random.normal(size=(T, m, n)),
        "h_0": random.normal(size=(m, k)) / 2,
        "W": random.normal(size=(k, n)) / math.sqrt(n),
        "U": random.normal(size=(k, k)) / math.sqrt(k),
        "b": random.normal(size=k) / 2,
    }, {}


def _lstm(random: Random, T: int, m: int, n: int, k: int) -> Drawn:
    return {
        "x": random.normal(size=(T, m, n)),
        "h_0": random.normal(size=(m, k)) / 2,
        "c_0": random.normal(size=(m, k)),
        "W": random.normal(size=(4 * k, n)) / math.sqrt(n),
        "U": random.normal(size=(4 * k, k)) / math.sqrt(k),
        "b": random.normal(size=4 * k) / 2,
    }, {}


def _attention(
    random: Random, heads: tuple[int, ...], T: int, d: int, d_v: int, block: int
) -> Drawn:
    q, k = random.normal(size=(2, *heads, T, d))
    return {"q": q, "k": k, "v": random.normal(size=(*heads, T, d_v))}, {"block": block}


def _swiglu(random: Random, rows: tuple[int, ...], n: int, k: int) -> Drawn:
    W, V = random.normal(size=(2, k, n)) / math.sqrt(n)
    return {"x": random.normal(size=(*rows, n)), "W": W, "V": V}, {}
