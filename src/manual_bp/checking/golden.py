"""Golden vectors: a case with every number of its backward pass, for programs in any language.

A folder holds one case three times: `golden.npz`, `golden.json` and `golden.bin`. What another
program computes comes back as arrays of the same names, which `received.py` reads.
"""

import json
import math
import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.activations import ACTIVATIONS
from manual_bp.backprop import Backprop, backprop
from manual_bp.costs import COSTS
from manual_bp.network import Layer, Network, Problems, check_call, nearest

FORMAT, VERSION = "manual_bp.golden", 1
FILES = ("golden.bin", "golden.npz", "golden.json")
DTYPES = ("float16", "bfloat16", "float32", "float64")

MAX_VALUES = 2**18
"""The most numbers of one case, inputs and results together."""

# In golden.bin a name is its place in these, which only ever grow at their ends.
SIGMA_CODES = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu"),
    *("softplus", "silu", "gelu", "gelu_tanh", "softmax"),
)
COST_CODES = ("quadratic", "cross_entropy", "binary_cross_entropy")

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

    def values(self) -> dict[str, Numbers]:
        """Every array by its name, in float64, in the order of the files: inputs, then results."""
        arrays = {"x": self.x, "y": self.y}
        for l, layer in enumerate(self.params, start=1):
            arrays |= {f"W{l}": np.asarray(layer.W), f"b{l}": np.asarray(layer.b)}
        for name, (field, l) in results(self.net).items():
            quantity = getattr(self.record, field)
            first = 0 if field == "a" else 1
            arrays[name] = quantity if field == "cost" else quantity[l - first]
        return {name: np.asarray(array, np.float64) for name, array in arrays.items()}

    def in_dtype(self, dtype: str) -> "Golden":
        """The same inputs as arrays of a format that holds them exactly, to be judged in it.

        Raises:
            ValueError: where the format does not hold them.
        """
        cast = _to(dtype)
        params = tuple(Layer(cast(layer.W), cast(layer.b)) for layer in self.params)
        golden = self._replace(params=params, x=cast(self.x), y=cast(self.y), dtype=dtype)
        before, after = self.values(), golden.values()
        if changed := [name for name in before if not np.array_equal(before[name], after[name])]:
            raise ValueError(
                f"dtype: expected a format that holds the case's {self.dtype} numbers, got "
                f"{dtype}, which changes {', '.join(changed)}; make the case in {dtype}"
            )
        return golden


def make(
    net: Network, *, batch: int | None = None, dtype: str = "float32", seed: int = 0
) -> Golden:
    """A random case in which no number is zero by accident, biases included.

    Args:
        net: the network, of built-in activations and cost.
        batch: m; without it the first number from 5 on that is no width of the network, so that
            no axis can be taken for another.
        dtype: float16, bfloat16, float32 or float64; the inputs are rounded to it.
        seed: a whole number ≥ 0.

    Returns:
        The inputs, and every quantity that follows from them, computed in float64.

    Raises:
        ValueError, TypeError: an argument that does not fit, or more than `MAX_VALUES` numbers.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.checking import golden
        >>> case = golden.make(mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy"))
        >>> case.x.shape, case.record.dW[0].dtype.name, list(case.values())[:6]
        ((6, 4), 'float64', ['x', 'y', 'W1', 'b1', 'W2', 'b2'])
    """
    problems = Problems()
    for argument, value, least in (("batch", batch, 1), ("seed", seed, 0)):
        if value is None and argument == "batch":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            problems.value(f"{argument}: expected a whole number from {least}, got {value!r}")
    problems.raise_all()
    m = next(m for m in count(5) if m not in net.sizes) if batch is None else int(batch)
    _check_size(net, m)

    rng = np.random.default_rng(int(seed))

    def signed(*shape: int) -> Numbers:
        return rng.uniform(0.2, 1.0, shape) * rng.choice([-1.0, 1.0], shape)

    params = [
        Layer(1.5 * net.sizes[l - 1] ** -0.5 * signed(net.sizes[l], net.sizes[l - 1]), b)  # type: ignore[arg-type]
        for l, b in ((l, signed(net.sizes[l])) for l in net.layers)
    ]
    x, n = signed(m, net.sizes[0]), net.sizes[-1]
    if net.cost.name == "cross_entropy":
        y = np.eye(n)[rng.permutation(np.arange(m) % n)]
    elif net.cost.name == "binary_cross_entropy":
        y = rng.permutation(np.arange(m * n) % 2).reshape(m, n)
    else:
        y = signed(m, n)
    return of(net, params, x, y, dtype=dtype, seed=int(seed))


def of(
    net: Network, params: Any, x: Any, y: Any, *, dtype: str = "float32", seed: int | None = None
) -> Golden:
    """A case of your own inputs, each rounded to dtype first.

    Args:
        net: the network, of built-in activations and cost.
        params: a (W, b) for each layer, W (n_l, n_{l-1}) and b (n_l,).
        x: (m, n_0), one example a row.
        y: (m, n_L).
        dtype: float16, bfloat16, float32 or float64.
        seed: what they were drawn from, if anything; it is only written down.

    Returns:
        The inputs, and every quantity that follows from them, computed in float64.

    Raises:
        ValueError, TypeError: an argument that does not fit, or more than `MAX_VALUES` numbers.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.checking import golden
        >>> net = mbp.Network((2, 1), ("identity",), "quadratic")
        >>> case = golden.of(net, [([[2.0, -1.0]], [0.5])], [[1.0, 3.0]], [[1.0]])
        >>> case.record.delta[0].tolist(), case.record.dW[0].tolist()
        ([[-1.5]], [[-1.5, -4.5]])
    """
    _codes(net)
    cast = _to(dtype)
    params = tuple(Layer(cast(W), cast(b)) for W, b in params)
    x, y = cast(x), cast(y)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        inputs = jax.tree.map(partial(np.asarray, dtype=np.float64), (params, x, y))
        check_call(net, *inputs)
        if x.ndim != 2:
            raise ValueError(f"x: expected shape (m, {net.sizes[0]}), got {x.shape}; pass x[None]")
        _check_size(net, len(x))
        record = jax.tree.map(np.asarray, backprop(net, *inputs))
    golden = Golden(net, params, x, y, record, dtype, seed)
    for name, array in golden.values().items():
        if not np.isfinite(cast(array)).all():
            raise ValueError(
                f"{name}: expected numbers within the range of {dtype}, got one beyond it; make "
                f"the inputs smaller or take a wider dtype"
            )
    return golden


def write(folder: str | os.PathLike[str], golden: Golden) -> list[Path]:
    """Write `golden.bin`, `golden.npz` and `golden.json`; a folder that is not there is made.

    Each file is written under another name and renamed, so it is there whole or not at all.
    `docs/golden.md` describes the three, `docs/golden.schema.json` the JSON.

    Args:
        folder: where to.
        golden: the case, of `make` or `of`.

    Returns:
        The paths written.

    Raises:
        OSError: when the folder cannot be written to.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.checking import golden, received
        >>> net = mbp.Network((2, 3, 1), ("tanh", "sigmoid"), "quadratic")
        >>> [path.name for path in golden.write("vectors", golden.make(net))]
        ['golden.bin', 'golden.npz', 'golden.json']
        >>> received.read_golden("vectors").net == net
        True
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writers: tuple[Callable[[Any, Golden], None], ...] = (_write_bin, _write_npz, _write_json)
    for name, write_to in zip(FILES, writers, strict=True):
        temporary = folder / f".{name}.{os.getpid()}.partial"
        try:
            with open(temporary, "wb") as file:
                write_to(file, golden)
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)
    return [folder / name for name in FILES]


# ── Names, shapes and codes ──────────────────────────────────────────────────────────────────────


def results(net: Network) -> dict[str, tuple[str, int]]:
    """The results by name, in the order of the files: the record's field, and the layer."""
    names = {"cost": ("cost", net.depth)}
    for field in ("z", "a", "delta", "dW", "db"):
        layers = range(0 if field == "a" else 1, net.depth + 1)
        names |= {f"{field}{l}": (field, l) for l in layers}
    return names


def shapes_of(net: Network, m: int) -> dict[str, Shape]:
    """Every array by its name, in the order of the files, with our shape of it."""
    n = net.sizes
    shapes: dict[str, Shape] = {"x": (m, n[0]), "y": (m, n[-1])}
    for l in net.layers:
        shapes |= {f"W{l}": (n[l], n[l - 1]), f"b{l}": (n[l],)}
    for name, (field, l) in results(net).items():
        shapes[name] = {"cost": (), "dW": (n[l], n[l - 1]), "db": (n[l],)}.get(field, (m, n[l]))
    return shapes


def _to(dtype: str) -> Callable[[Any], Any]:
    """What makes an array of dtype, with infinities for what is beyond its range."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype: unknown name {dtype!r}; {nearest(str(dtype), DTYPES)}")

    def cast(array: Any) -> Any:
        with np.errstate(over="ignore"):
            return np.asarray(array, jnp.dtype(dtype))

    return cast


def _codes(net: Network) -> tuple[int, list[int]]:
    """The numbers that stand for the cost and the activations; an error for a user's own."""
    problems = Problems()
    for i, sigma in enumerate(net.activations):
        if ACTIVATIONS.get(sigma.name) is not sigma:
            problems.value(f"activations[{i}]: expected a built-in one, got {sigma.name!r}")
    if COSTS.get(net.cost.name) is not net.cost:
        problems.value(f"cost: expected a built-in one, got {net.cost.name!r}")
    problems.raise_all()
    return COST_CODES.index(net.cost.name), [SIGMA_CODES.index(s.name) for s in net.activations]


def _check_size(net: Network, m: int) -> None:
    if (size := sum(map(math.prod, shapes_of(net, m).values()))) > MAX_VALUES:
        raise ValueError(
            f"sizes, batch: expected a case of at most {MAX_VALUES:,} numbers, got {size:,}; take "
            f"fewer neurons or examples: a small case shows the same mistakes"
        )


# ── The three files ──────────────────────────────────────────────────────────────────────────────


def _write_bin(file: Any, golden: Golden) -> None:
    net = golden.net
    cost, sigmas = _codes(net)
    header = [VERSION, net.depth, len(golden.x), cost, net.l2, *net.sizes, *sigmas]
    for array in (np.array(header), *golden.values().values()):
        file.write(array.astype("<f8").tobytes())


def _write_npz(file: Any, golden: Golden) -> None:
    net, values, round_to = golden.net, golden.values(), _to(golden.dtype)
    # NumPy's own files know no bfloat16; float32 holds it exactly.
    stored = np.dtype("float32" if golden.dtype == "bfloat16" else golden.dtype)
    np.savez(
        file,
        format=FORMAT,
        version=VERSION,
        sizes=net.sizes,
        activations=[sigma.name for sigma in net.activations],
        cost_name=net.cost.name,
        l2=net.l2,
        dtype=golden.dtype,
        seed=-1 if golden.seed is None else golden.seed,
        **values,  # type: ignore[arg-type]
        **{f"{k}_{golden.dtype}": round_to(v).astype(stored) for k, v in values.items()},
    )


def _write_json(file: Any, golden: Golden) -> None:
    net, values, round_to = golden.net, golden.values(), _to(golden.dtype)
    rounded = {name: round_to(array) for name, array in values.items()}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "network": {
            "sizes": net.sizes,
            "activations": [sigma.name for sigma in net.activations],
            "cost": net.cost.name,
            "l2": net.l2,
        },
        "dtype": golden.dtype,
        "seed": golden.seed,
    }
    text = "{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items())
    for key, arrays, number in (
        ("values", values, _decimal),
        ("hex", values, _hexadecimal),
        ("rounded", rounded, _decimal),
        ("rounded_hex", rounded, _hexadecimal),
    ):
        lines = [
            f"  {json.dumps(name)}: {_nested(v.tolist(), number)}" for name, v in arrays.items()
        ]
        text += f",\n {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }"
    file.write(f"{text}\n}}\n".encode())


def _nested(numbers: Any, number: Callable[[float], str]) -> str:
    if isinstance(numbers, float):
        return number(numbers)
    return "[" + ", ".join(_nested(row, number) for row in numbers) + "]"


def _decimal(value: float) -> str:
    return f"{value:.17g}"


def _hexadecimal(value: float) -> str:
    return f'"{value.hex()}"'
