"""A case in three files: golden.bin, golden.npz and golden.json.

`docs/golden.md` describes them, `docs/golden.schema.json` the JSON.
"""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from manual_bp.families import parsed
from manual_bp.files.atomic import replacing
from manual_bp.golden.case import FILES, FORMAT, Golden, Numbers
from manual_bp.record import named_places

# In golden.bin a name is its place in these, which only ever grow at their ends.
SIGMA_CODES = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu"),
    *("softplus", "silu", "gelu", "gelu_tanh", "softmax"),
    *("selu", "softsign", "hard_sigmoid", "hard_tanh", "exp", "swish"),
)
COST_CODES = (
    *("quadratic", "cross_entropy", "binary_cross_entropy"),
    *("mean_squared_error", "absolute_error", "huber", "hinge", "poisson"),
)


def write(folder: str | os.PathLike[str], golden: Golden) -> list[Path]:
    """Write the three files, each whole or not at all; a folder that is not there is made.

    Args:
        folder: where to.
        golden: the case, of `random_case` or `case_from`.

    Returns:
        The paths written.

    Raises:
        OSError: when the folder cannot be written to.

    Example:
        >>> import manual_bp as mbp
        >>> from manual_bp.golden.case import random_case
        >>> from manual_bp.golden.read import read_golden
        >>> net = mbp.Network((2, 3, 1), ("tanh", "sigmoid"), "quadratic")
        >>> [path.name for path in write("vectors", random_case(net))]
        ['golden.bin', 'golden.npz', 'golden.json']
        >>> read_golden("vectors").net == net
        True
    """
    paths = [Path(folder, name) for name in FILES]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, write_to in zip(paths, (_write_bin, _write_npz, _write_json), strict=True):
        with replacing(path) as file:
            write_to(file, golden)
    return paths


def checksum(golden: Golden) -> int:
    """The CRC-32 of all that `golden.bin` has before C: the network, x, y, W and b."""
    return zlib.crc32(_given(golden))


def _given(golden: Golden) -> bytes:
    """What `golden.bin` has before C."""
    net, cost = golden.net, parsed(golden.net.cost.name)
    sigmas = [parsed(sigma.name) for sigma in net.activations]
    codes = [SIGMA_CODES.index(sigma.name) for sigma in sigmas]
    of_cost = COST_CODES.index(cost.name)
    header: list[Any] = [golden.version, net.depth, len(golden.x), of_cost, net.l2]
    header += [*net.sizes, *codes]
    if golden.version == 2:
        more = np.hstack([*cost.numbers, *cost.named.values(), []])
        if cost.name == "cross_entropy" and "smoothing" not in cost.named:
            more = np.hstack([0, more])  # the smoothing stands before the weights
        header += [net.l2_biases, *golden.biases]
        header += [sigma.numbers[0] if sigma.numbers else 0 for sigma in sigmas]
        header += [len(more), *more]
    params = [array for layer in golden.params for array in layer if array is not None]
    return _in_bytes(np.array(header, float), golden.x, golden.y, *params)


def _in_bytes(*arrays: Numbers) -> bytes:
    return b"".join(array.astype("<f8").tobytes() for array in arrays)


def _write_bin(file: IO[bytes], golden: Golden) -> None:
    results = map(golden.values().__getitem__, named_places(golden.net, golden.params))
    file.write(_given(golden) + _in_bytes(*results))


def _write_npz(file: IO[bytes], golden: Golden) -> None:
    net, dtype = golden.net, golden.dtype
    # NumPy's own files know no bfloat16; float32 holds it exactly.
    stored = np.dtype("float32" if dtype == "bfloat16" else dtype)
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "version": golden.version,
        "sizes": net.sizes,
        "activations": [sigma.name for sigma in net.activations],
        "cost_name": net.cost.name,
        "l2": net.l2,
        "dtype": dtype,
        "seed": -1 if golden.seed is None else golden.seed,
        "checksum": np.uint32(checksum(golden)),
        **_more(golden),
        **golden.values(),
        **{f"{name}_{dtype}": array.astype(stored) for name, array in golden.rounded().items()},
    }
    np.savez(file, **arrays)


def _more(golden: Golden) -> dict[str, Any]:
    """What version 2 says of a network beyond version 1."""
    if golden.version == 1:
        return {}
    return {"l2_biases": golden.net.l2_biases, "biases": golden.biases}


def _write_json(file: IO[bytes], golden: Golden) -> None:
    net, values, rounded = golden.net, golden.values(), golden.rounded()
    network = {
        "sizes": net.sizes,
        "activations": [sigma.name for sigma in net.activations],
        "cost": net.cost.name,
        "l2": net.l2,
        **_more(golden),
    }
    head = {
        "format": FORMAT,
        "version": golden.version,
        "network": network,
        "dtype": golden.dtype,
        "seed": golden.seed,
        "checksum": checksum(golden),
    }
    entries = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    for key, arrays, number in (
        ("values", values, _decimal),
        ("hex", values, _hexadecimal),
        ("rounded", rounded, _decimal),
        ("rounded_hex", rounded, _hexadecimal),
    ):
        lines = [f'  "{name}": {_nested(v.tolist(), number)}' for name, v in arrays.items()]
        entries.append(f' "{key}": {{\n' + ",\n".join(lines) + "\n }")
    file.write(("{\n" + ",\n".join(entries) + "\n}\n").encode())


def _nested(numbers: Any, number: Callable[[float], str]) -> str:
    if isinstance(numbers, float):
        return number(numbers)
    return "[" + ", ".join(_nested(row, number) for row in numbers) + "]"


def _decimal(value: float) -> str:
    return f"{value:.17g}"


def _hexadecimal(value: float) -> str:
    return f'"{value.hex()}"'
