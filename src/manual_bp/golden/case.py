"""A case: a network, its inputs, and every number of its backward pass."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import count, pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from manual_bp.backprop import backprop
from manual_bp.calls import check_network, read_call, read_inputs
from manual_bp.checks import Problems, flag, float_dtype, whole_number
from manual_bp.families import parsed
from manual_bp.network import Layer, Network, Params
from manual_bp.record import Backprop, named_places

FORMAT, VERSIONS = "manual_bp.golden", (1, 2)
FILES = ("golden.bin", "golden.npz", "golden.json")

MAX_VALUES = 2**18
"""The most numbers of one case, inputs and results together."""

MAX_LAYERS = 32
"""The most layers of one case: compiling a deeper one can take minutes, and gigabytes."""

Numbers = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Golden(NamedTuple):
    """One case: inputs that its dtype holds exactly, and what follows from them in float64.

    Attributes:
        net: the network.
        params: a `Layer(W, b)` for each layer, NumPy arrays of `dtype`.
        x: (m, n_0), of `dtype`.
        y: (m, n_L), of `dtype`.
        record: every quantity, in float64.
        dtype: the format that the vectors are meant for.
        seed: what the case was drawn from; None for one of your own.
    """

    net: Network
    params: tuple[Layer, ...]
    x: Numbers
    y: Numbers
    record: Backprop
    dtype: str
    seed: int | None = None

    @property
    def biases(self) -> list[bool]:
        """Which layers have biases."""
        return [b is not None for _, b in self.params]

    @property
    def version(self) -> int:
        """Of the files: 2 for what version 1 has no word for."""
        texts = [sigma.name for sigma in self.net.activations] + [self.net.cost.name]
        plain = not any(parsed(text).has_parameters for text in texts)
        return 1 if plain and all(self.biases) and not self.net.l2_biases else 2

    def values(self) -> dict[str, Numbers]:
        """Every array by its name, in float64, in the order of the files: inputs, then results."""
        given = (array for layer in self.params for array in layer if array is not None)
        results = map(self.record.at, named_places(self.net, self.params).values())
        arrays = (np.asarray(array, np.float64) for array in (self.x, self.y, *given, *results))
        return dict(zip(shapes(self.net, len(self.x), self.biases), arrays, strict=True))

    def rounded(self) -> dict[str, Numbers]:
        """Those arrays, each rounded to `dtype`."""
        return {name: in_format(array, self.dtype) for name, array in self.values().items()}

    def in_dtype(self, dtype: str) -> "Golden":
        """The same inputs as arrays of a format that holds them exactly, to be judged in it.

        Raises:
            ValueError: where the format does not hold them.
        """
        params, x, y = _inputs(self.params, self.x, self.y, dtype)
        golden = self._replace(params=params, x=x, y=y, dtype=dtype)
        before, after = self.values(), golden.values()
        if changed := [name for name in before if not np.array_equal(before[name], after[name])]:
            raise ValueError(
                f"dtype: expected a format that holds the case's {self.dtype} numbers, got "
                f"{dtype}, which changes {', '.join(changed)}; make the case in {dtype}"
            )
        return golden


def case_from(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    dtype: str = "float32",
    seed: int | None = None,
) -> Golden:
    """A case of your own inputs, each rounded to dtype first.

    Args:
        net: the network, of built-in activations and cost.
        params: a (W, b) for each layer, W (n_l, n_{l-1}) and b (n_l,) or None.
        x: (m, n_0), one example a row.
        y: (m, n_L).
        dtype: float16, bfloat16, float32 or float64.
        seed: what they were drawn from, if anything; it is only written down.

    Returns:
        The inputs, and every quantity that follows from them, computed in float64.

    Raises:
        ValueError, TypeError: an argument that does not fit, or more than `MAX_VALUES` numbers or
            `MAX_LAYERS` layers.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.golden.case import case_from
        >>> net = mbp.Network((2, 1), ("identity",), "quadratic")
        >>> case = case_from(net, [([[2.0, -1.0]], [0.5])], [[1.0, 3.0]], [[1.0]])
        >>> case.record.delta[0].tolist(), case.record.dW[0].tolist()
        ([[-1.5]], [[-1.5, -4.5]])
    """
    _check_built_in(net)
    problems = Problems()
    float_dtype("dtype", dtype, problems)
    if seed is not None:
        whole_number("seed", seed, 0, problems)
    problems.raise_all()
    layers, (rows, targets) = read_inputs(net, params, x, y)
    arrays = [[given and given.array for given in layer] for layer in layers]
    inputs = _inputs(arrays, rows.array, targets.array, dtype)
    m, dtype = len(inputs[1]), inputs[1].dtype.name
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        wide = jax.tree.map(partial(np.asarray, dtype=np.float64), inputs)
        read_call(net, *wide)
        if wide[1].ndim == 1:
            raise ValueError(f"x: expected shape (m, {m}), got ({m},); pass x[None]")
        _check_size(net, m)
        record = jax.tree.map(np.asarray, backprop(net, *wide))
    golden = Golden(net, *inputs, record, dtype, seed)
    for name, array in golden.rounded().items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name}: expected numbers within the range of {dtype}, got one beyond it; make "
                f"the inputs smaller or take a wider dtype"
            )
    return golden


def random_case(
    net: Network,
    *,
    batch: int | None = None,
    dtype: str = "float32",
    seed: int = 0,
    bias: bool = True,
) -> Golden:
    """A random case in which no number is zero by accident, biases included.

    Gives and raises what `case_from` does.

    Args:
        net: the network, of built-in activations and cost.
        batch: m; without it the first number from 5 on that is no width of the network, so that
            no axis can be taken for another.
        dtype: as `case_from` takes it.
        seed: a whole number ≥ 0.
        bias: False for layers without biases.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.golden.case import random_case
        >>> case = random_case(mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy"))
        >>> case.x.shape, case.record.dW[0].dtype.name, list(case.values())[:6]
        ((6, 4), 'float64', ['x', 'y', 'W1', 'b1', 'W2', 'b2'])
    """
    check_network(net)
    problems = Problems()
    whole_number("seed", seed, 0, problems)
    float_dtype("dtype", dtype, problems)
    flag("bias", bias, problems)
    if batch is not None:
        whole_number("batch", batch, 1, problems)
    problems.raise_all()
    m = int(batch or next(m for m in count(5) if m not in net.sizes))
    _check_size(net, m)

    rng = np.random.default_rng(int(seed))

    def signed(*shape: int) -> Numbers:
        return rng.uniform(0.2, 1.0, shape) * rng.choice([-1.0, 1.0], shape)

    params = []
    for n_prev, n in pairwise(net.sizes):
        b = signed(n)
        params.append((1.5 * n_prev**-0.5 * signed(n, n_prev), b if bias else None))
    x, n = signed(m, net.sizes[0]), net.sizes[-1]
    match net.cost.family:
        case "cross_entropy":
            y = np.eye(n)[rng.permutation(np.arange(m) % n)]
        case "binary_cross_entropy":
            y = rng.permutation(np.arange(m * n) % 2).reshape(m, n)
        case "hinge":
            y = 2 * rng.permutation(np.arange(m * n) % 2).reshape(m, n) - 1
        case "poisson":
            y = rng.integers(1, 6, (m, n))
        case _:
            y = signed(m, n)
    return case_from(net, params, x, y, dtype=dtype, seed=int(seed))


def shapes(net: Network, m: int, biases: Sequence[bool] | None = None) -> dict[str, Shape]:
    """Every array by its name, in the order of the files, with our shape of it."""
    n = net.sizes
    found: dict[str, Shape] = {"x": (m, n[0]), "y": (m, n[-1])}
    params = [Layer(None, has or None) for has in biases or [True] * net.depth]
    for l in net.layers:
        found[f"W{l}"] = n[l], n[l - 1]
        if params[l - 1].b is not None:
            found[f"b{l}"] = (n[l],)
    results = named_places(net, params).items()
    return found | {name: place.shape(net, m) for name, place in results}


def _inputs(params: Params, x: Any, y: Any, dtype: str) -> tuple[tuple[Layer, ...], Any, Any]:
    to = partial(in_format, dtype=dtype)
    layers = tuple(Layer(to(W), None if b is None else to(b)) for W, b in params)
    return layers, to(x), to(y)


def in_format(array: Any, dtype: str) -> Any:
    """An array of dtype, with infinities for what is beyond its range."""
    problems = Problems()
    found = float_dtype("dtype", dtype, problems)
    problems.raise_all()
    with np.errstate(over="ignore"):
        return np.asarray(array, found)


def _check_built_in(net: Network) -> None:
    """An error for a σ or C of one's own, which the files have no name for."""
    check_network(net)
    problems = Problems()
    for i, sigma in enumerate(net.activations):
        if not sigma.built_in:
            problems.value(f"activations[{i}]: expected a built-in one, got {sigma.name!r}")
    if not net.cost.built_in:
        problems.value(f"cost: expected a built-in one, got {net.cost.name!r}")
    problems.raise_all()


def _check_size(net: Network, m: int) -> None:
    if net.depth > MAX_LAYERS:
        raise ValueError(
            f"sizes: expected a case of at most {MAX_LAYERS} layers, got {net.depth:,}; take "
            f"fewer: a small case shows the same mistakes"
        )
    if (size := sum(map(math.prod, shapes(net, m).values()))) > MAX_VALUES:
        raise ValueError(
            f"sizes, batch: expected a case of at most {MAX_VALUES:,} numbers, got {size:,}; take "
            f"fewer neurons or examples: a small case shows the same mistakes"
        )
