"""A trained network in one file, saved and loaded again; nothing is pickled or unpacked.

The file is of the safetensors format, which other programs read too: the parameters W1, b1, …, the
curves of the history, the optimiser's state by its places, and what they are as JSON text. It is
taken as untrusted: nothing in it runs, no array is larger than the file, and a checksum tells of
damage.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as serialized

from manual_bp.activations import Activation
from manual_bp.calls import check_network, read_params
from manual_bp.checks import FLOATS, Problems, jax_dtype, shown, whole_number
from manual_bp.checks import path as check_path
from manual_bp.costs import Cost
from manual_bp.files.atomic import replacing
from manual_bp.files.encoding import Encoding
from manual_bp.files.npz import DAMAGE
from manual_bp.network import Layer, Network, Params
from manual_bp.own import no_function
from manual_bp.training import version_0_1_0
from manual_bp.training.history import CURVES, History, SavedState, named

MAX_BYTES = 2**36
"""The largest file that is read (64 GiB)."""

_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{f"I{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    "BOOL": np.bool_,
}
_ABOUT = {"network": dict, "dtype": str, "settings": dict, "history": dict | None}
NOT_OURS = "expected a whole file of manual_bp.save, got another or a damaged one"


def save(
    path: str | os.PathLike[str],
    net: Network,
    params: Params,
    history: History | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
) -> None:
    """Write a network, its parameters and what `fit` measured to one file, whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        net: the network, whose description goes along.
        params: a `Layer(W, b)` for each layer.
        history: as `fit` gives it, with its optimiser state.
        settings: other words to keep, name to value.
        encoding: what x and the outputs stand for, as `manual_bp.files.data` gives it.

    Raises:
        ValueError, TypeError: naming every argument that does not fit.
        OSError: the file cannot be written.

    Source: the safetensors format, version 0.8 of its documentation.

    Example:
        >>> import jax, manual_bp as mbp, os, tempfile
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "net.safetensors")
        ...     mbp.save(path, net, params)
        ...     net_again, again, history = mbp.load(path)
        >>> net_again == net, bool((again[0].W == params[0].W).all()), history
        (True, True, None)
    """
    problems = Problems()
    check_path("path", path, problems)
    check_history(history, problems)
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping) or not all(
        isinstance(word, str) for item in settings.items() for word in item
    ):
        problems.type(
            f"settings: expected words, name to value, got {shown(settings)}; pass str(value)"
        )
    if not isinstance(encoding, Encoding | None):
        problems.type(f"encoding: expected that of manual_bp.files.data, got {shown(encoding)}")
    problems.raise_all()
    about, arrays = contents(net, params, history)
    about["settings"] = dict(settings)
    if encoding is not None and encoding != Encoding():
        about["encoding"] = encoding._asdict()
    whole = {name: native(name, array, problems) for name, array in arrays.items()}
    problems.raise_all()
    about["crc32"] = checksum(about, whole)
    content = serialized(whole, {"manual_bp": json.dumps(about)})
    with replacing(path) as file:
        file.write(content)


def load(
    path: str | os.PathLike[str], net: Network | None = None
) -> tuple[Network, tuple[Layer, ...], History | None]:
    """What `save` wrote, now or in version 0.1.0.

    Args:
        path: the file.
        net: the network that it must be of; needed only for a σ or C of one's own, which no file
            can hold.

    Returns:
        The network, its params, and the history, None if none was saved. Its `optimizer_state`
        goes into `fit(optimizer_state=…)`, with the optimiser that it is of. Where the inputs were
        scaled, `load_encoding` has how.

    Raises:
        ValueError: the file is missing, damaged or not one of `save`'s; is of another network than
            `net`, or of functions of one's own without it; or holds NaN or Inf as parameters.

    Example: see `save`.
    """
    problems = Problems()
    check_path("path", path, problems)
    problems.raise_all()
    if net is not None:
        check_network(net)
    with _reading(path) as (about, arrays):
        net = network_of(about["network"], net)
        params = params_of(net, about, arrays)
        return net, params, history_of(about["history"], arrays)


def load_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """The settings alone of a file that `save` wrote; raises as `load` does."""
    with _reading(path) as (about, _):
        return about["settings"]


def load_encoding(path: str | os.PathLike[str]) -> Encoding:
    """The encoding alone of a file that `save` wrote, empty if it has none; raises as `load` does.

    Example:
        >>> import jax, manual_bp as mbp, os, tempfile
        >>> net = mbp.Network((1, 2), ("softmax",), "cross_entropy")
        >>> encoding = Encoding(("length",), "kind", ("cat", "dog"), (2.0,), (0.5,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "net.safetensors")
        ...     mbp.save(path, net, net.init(jax.random.key(0)), encoding=encoding)
        ...     load_encoding(path) == encoding
        True
    """
    problems = Problems()
    check_path("path", path, problems)
    problems.raise_all()
    with _reading(path) as (about, _):
        try:
            n_0, *_, n_L = about["network"]["sizes"]
            return Encoding.from_dict(about.get("encoding", {}), n_0, n_L)
        except (*DAMAGE, AttributeError) as error:
            raise ValueError(NOT_OURS) from error


# ── The file ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _reading(
    path: str | os.PathLike[str],
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What a file says of itself, and its arrays; every complaint names the file."""
    try:
        if not os.path.isfile(path):
            raise ValueError("no such file; check the path")
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES} bytes, got {os.path.getsize(path)}")
        with open(path, "rb") as file:
            content = file.read()
        about, arrays = _opened(content)
        check_about(about)
        yield about, arrays
    except (OSError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def check_about(about: dict[str, Any]) -> None:
    """Raise unless a checkpoint says all of itself that it has to."""
    whole = about.keys() >= _ABOUT.keys() and all(
        isinstance(about[name], kind) for name, kind in _ABOUT.items()
    )
    if not whole or not all(isinstance(word, str) for word in about["settings"].values()):
        raise ValueError(NOT_OURS)


def _opened(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        if content.startswith(b"PK"):  # a zip's first bytes, no size of a header
            return version_0_1_0.opened(content)
        arrays = {
            name: np.frombuffer(view["data"], _DTYPES[view["dtype"]]).reshape(view["shape"])
            for name, view in deserialize(content)
        }
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"]["manual_bp"])
        if about.pop("crc32") != checksum(about, arrays):
            raise ValueError("the checksum differs")
        return about, arrays
    except (*DAMAGE, AttributeError, IndexError, SafetensorError) as error:
        raise ValueError(NOT_OURS) from error


def native(name: str, array: Any, problems: Problems) -> Any:
    """The same numbers, row by row and in this machine's order of bytes."""
    try:
        array = np.asarray(array)
        if array.dtype.newbyteorder("=") in _DTYPES.values():
            return np.asarray(array, array.dtype.newbyteorder("="), order="C")
    except Exception:  # whatever it may raise that is no array
        pass
    problems.type(f"history: {name}: expected an array of numbers, got {shown(array)}")
    return None


def checksum(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    """The sum of both, by which damage shows."""
    crc = zlib.crc32(json.dumps(about).encode())
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return crc


# ── What is in it ────────────────────────────────────────────────────────────────────────────────


def check_history(history: Any, problems: Problems) -> None:
    """A problem where this is no history."""
    if not isinstance(history, History | None):
        problems.type(f"history: expected that of fit, got {shown(history)}")
    elif history is not None:
        whole_number("history: epoch", history.epoch, 0, problems)
        if not isinstance(history.stopped, str):
            problems.type(f"history: stopped: expected words, got {shown(history.stopped)}")


def contents(
    net: Network, params: Params, history: History | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a checkpoint says of itself, and its arrays by name."""
    params = read_params(net, params)
    arrays: dict[str, Any] = {}
    for l, (W, b) in zip(net.layers, params, strict=True):
        arrays |= {f"W{l}": W, f"b{l}": b}
    about: dict[str, Any] = {
        "network": described(net),
        "dtype": params[0][0].dtype.name,
        "biases": [b is not None for _, b in params],
        "settings": {},
        "history": None,
    }
    if history is not None:
        about["history"] = {"epoch": int(history.epoch), "stopped": history.stopped}
        arrays |= {name: getattr(history, name) for name in CURVES}
        arrays |= {f"state{place}": leaf for place, leaf in named(history.optimizer_state).items()}
    return about, {name: array for name, array in arrays.items() if array is not None}


def described(net: Network) -> dict[str, Any]:
    """A network as a file tells it."""
    return {
        "sizes": list(net.sizes),
        "activations": list(map(_name, net.activations)),
        "cost": _name(net.cost),
        "l2": net.l2,
        "l2_biases": net.l2_biases,
    }


def _name(function: Activation | Cost) -> str | dict[str, str]:
    """A built-in function by its name alone; another so that it is not taken for one of these."""
    return function.name if function.built_in else {"own": function.name}


def network_of(told: dict[str, Any], given: Network | None) -> Network:
    """The network of a file; the one given, which it must be of, where there is one."""
    own: list[str] = []

    def function(entry: Any, kind: type) -> Any:
        if isinstance(entry, str):
            return entry
        own.append(str(entry["own"]))
        return kind(own[-1], no_function, no_function)

    try:
        sigmas = [function(entry, Activation) for entry in told["activations"]]
        cost = function(told["cost"], Cost)
        told = {"l2_biases": False, **told}  # files of 0.1.0 have none
        net = Network(told["sizes"], sigmas, cost, told["l2"], told["l2_biases"])
    except DAMAGE as error:
        raise ValueError(NOT_OURS) from error
    if given is None and own:
        raise ValueError(
            f"expected net=, for {', '.join(own)} of its network is not built in, and no file can "
            f"hold a function; pass the network that it was saved with"
        )
    if given is not None and described(given) != told:
        raise ValueError(f"net: expected {given!r}, got {net!r}")
    return given or net


def params_of(
    net: Network, about: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[Layer, ...]:
    """The parameters of a checkpoint, which must be finite."""
    name, biases = about["dtype"], about.get("biases", [True] * net.depth)  # 0.1.0 has them all
    if name not in FLOATS or not isinstance(biases, list) or len(biases) != net.depth:
        raise ValueError(NOT_OURS)
    problems = Problems()
    dtype = jax_dtype("its parameters", name, problems)
    problems.raise_all()
    params = tuple(
        Layer(
            _array(arrays, f"W{l}", dtype, (net.sizes[l], net.sizes[l - 1])),
            _array(arrays, f"b{l}", dtype, (net.sizes[l],)) if biases[l - 1] else None,
        )
        for l in net.layers
    )
    if not all(jnp.isfinite(array).all() for array in jax.tree.leaves(params)):
        raise ValueError("expected finite parameters, got NaN or Inf")
    return jax.tree.map(jnp.asarray, params)


def history_of(told: dict[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> History | None:
    """The history of a checkpoint, if it has one."""
    if told is None:
        return None
    epoch, stopped = told.get("epoch"), told.get("stopped")
    if type(epoch) is not int or epoch < 0 or not isinstance(stopped, str):
        raise ValueError(NOT_OURS)
    float64 = np.dtype(np.float64)
    curves: dict[str, Any] = {
        name: _array(arrays, name, float64) for name in CURVES if name in arrays
    }
    lengths = {len(curve) for curve in curves.values()}
    if not {"cost", "seconds"} <= curves.keys() or len(lengths) != 1:
        raise ValueError(f"expected curves of one length, got {sorted(lengths)}")
    state = {name[5:]: array for name, array in arrays.items() if name.startswith("state")}
    return History._make([*map(curves.get, CURVES), epoch, SavedState(state), stopped])


def _array(
    arrays: Mapping[str, np.ndarray], name: str, dtype: np.dtype, shape: tuple[int, ...] = ()
) -> Any:
    """An array of a file, which must be of this dtype and shape; a curve without one."""
    if name not in arrays:
        raise ValueError(NOT_OURS)
    array = arrays[name]
    if array.dtype != dtype or (array.shape != shape if shape else array.ndim != 1):
        raise ValueError(
            f"{name}: expected {dtype} of shape {shape or '(epochs,)'}, got {array.dtype} of "
            f"shape {array.shape}"
        )
    return array
