"""The `.npz` files that version 0.1.0 saved, read as those of today."""

import ast
import io
import json
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

# What that version had built in. Another name is that of a function of one's own.
SIGMAS = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu"),
    *("softplus", "silu", "gelu", "gelu_tanh", "softmax"),
)
COSTS = ("quadratic", "cross_entropy", "binary_cross_entropy")


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says of itself, and its arrays; nothing is unpickled or unpacked."""
    archive: Any = np.load(io.BytesIO(content), allow_pickle=False)
    # Stored as they are, arrays are no larger than the file: nothing can unpack to more.
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist()):
        raise ValueError("packed arrays")
    try:
        arrays = {name: archive[name] for name in archive}
    except MemoryError as error:  # no array is larger than the file, whatever its header claims
        raise ValueError("a header that claims too much") from error
    about = json.loads(str(arrays.pop("about")))
    about["network"] = _described(about["network"])
    about["history"] = {name: about[name] for name in ("epoch", "stopped")}
    # NumPy's files have no name for bfloat16, which was stored as its bits.
    return about, {
        name: array.view(ml_dtypes.bfloat16) if array.dtype == np.uint16 else array
        for name, array in arrays.items()
    }


def _described(network: str) -> dict[str, Any]:
    """A network from its text: Network((3, 4), ('softmax',), 'cross_entropy', l2=0.01)."""
    try:
        call: Any = ast.parse(network, mode="eval").body
    except MemoryError as error:  # Python's word for too many signs in a row
        raise ValueError("no network") from error
    sizes, activations, cost = map(ast.literal_eval, call.args)
    penalty = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return {
        "sizes": list(sizes),
        "activations": [name if name in SIGMAS else {"own": name} for name in activations],
        "cost": cost if cost in COSTS else {"own": cost},
        "l2": penalty.get("l2", 0.0),
    }
