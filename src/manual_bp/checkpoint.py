"""What `fit` trained, saved to a file and loaded again; nothing is pickled."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from manual_bp.network import Layer, Network, Params
from manual_bp.npz import DAMAGE
from manual_bp.training import CURVES, History


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write; it takes the name `path` only when it is whole and on the disk.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(pathlib.Path(folder, "numbers")) as file:
        ...         _ = file.write(b"1 2 3")
        ...     [entry.name for entry in pathlib.Path(folder).iterdir()]
        ['numbers']
    """
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def save(
    path: str | os.PathLike[str],
    net: Network,
    params: Params,
    history: History,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Write what `fit` gave to one `.npz` file, without pickle; a crash leaves no half of one.

    Args:
        path: the file; one that is there is replaced.
        net: the network, whose description goes along.
        params: a `Layer(W, b)` for each layer.
        history: as `fit` gives it, with its optimiser state.
        settings: other words to keep, name to value.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp, os, tempfile
        >>> from manual_bp.checkpoint import load, save
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> x, y = jnp.ones((5, 3)), jnp.zeros((5, 2))
        >>> params, history = mbp.fit(
        ...     net, net.init(jax.random.key(0)), x, y,
        ...     epochs=2, batch_size=5, key=jax.random.key(1), learning_rate=0.1,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "trained.npz")
        ...     save(path, net, params, history)
        ...     again, history, settings = load(path, net)
        >>> bool((again[0].W == params[0].W).all()), history.epoch
        (True, 2)
    """
    about = {
        "network": repr(net),
        "settings": dict(settings or {}),
        "epoch": history.epoch,
        "stopped": history.stopped,
        "interrupted": history.interrupted,
        "dtype": params[0][0].dtype.name,
    }
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
    for l, (W, b) in zip(net.layers, params, strict=True):
        arrays |= {f"W{l}": W, f"b{l}": b}
    for name in CURVES:
        if getattr(history, name) is not None:
            arrays[name] = getattr(history, name)
    arrays |= {f"state{i}": leaf for i, leaf in enumerate(jax.tree.leaves(history.optimizer_state))}
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **{k: _storable(array) for k, array in arrays.items()})


def load(
    path: str | os.PathLike[str],
    net: Network,
    optimizer: optax.GradientTransformation | None = None,
) -> tuple[Params, History, dict[str, str]]:
    """What `save` wrote: params, history and settings; nothing is unpickled.

    Args:
        path: the file.
        net: the network that it must be of.
        optimizer: the one it was trained with, to take up its state; None for `learning_rate`.

    Raises:
        ValueError: the file is missing, damaged, not one of `save`'s, of another network or
            optimiser, or holds parameters that are NaN or Inf.
    """
    with _reading(path) as (archive, about):
        if about["network"] != repr(net):
            raise ValueError(f"expected {net!r}, got {about['network']}")
        dtype = jnp.dtype(about["dtype"])
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"expected 64-bit types turned on for its {dtype}; set jax_enable_x64")
        params = tuple(
            Layer(
                _restored(archive, f"W{l}", (net.sizes[l], net.sizes[l - 1]), dtype),
                _restored(archive, f"b{l}", (net.sizes[l],), dtype),
            )
            for l in net.layers
        )
        if not all(bool(jnp.isfinite(array).all()) for array in jax.tree.leaves(params)):
            raise ValueError("expected finite parameters, got NaN or Inf")
        leaves, structure = jax.tree.flatten(optimizer and optimizer.init(params))
        stored = sum(name.startswith("state") for name in archive)
        if stored != len(leaves):
            raise ValueError(
                f"expected the state of this optimiser, {len(leaves)} arrays, got {stored}; pass "
                f"the optimiser it was trained with"
            )
        state = [
            _restored(archive, f"state{i}", jnp.shape(leaf), jnp.result_type(leaf))
            for i, leaf in enumerate(leaves)
        ]
        float64 = np.dtype(np.float64)
        curves = [
            _restored(archive, name, None, float64) if name in archive else None for name in CURVES
        ]
        lengths = {curve.shape for curve in curves if curve is not None}
        if curves[0] is None or curves[-1] is None or len(lengths) != 1:
            raise ValueError(f"expected curves of one length, got {sorted(lengths)}")
        told = about["epoch"], jax.tree.unflatten(structure, state), about["stopped"]
        history = History._make([*curves, *told, about["interrupted"]])
        return params, history, about["settings"]


def load_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """The settings alone of a file that `save` wrote; raises as `load` does."""
    with _reading(path) as (_, about):
        return about["settings"]


_ABOUT = {
    "network": str,
    "settings": dict,
    "epoch": int,
    "stopped": str,
    "interrupted": bool,
    "dtype": str,
}


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The arrays of a file and what it says of itself; every complaint names the file."""
    try:
        if not os.path.isfile(path):
            raise ValueError("no such file; check the path")
        with open(path, "rb") as file:
            yield _opened(file)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _opened(file: IO[bytes]) -> tuple[Any, dict[str, Any]]:
    try:
        archive: Any = np.load(file, allow_pickle=False)
        about = json.loads(str(archive["about"]))
        # Stored as they are, arrays are no larger than the file: nothing can unpack to more.
        whole = all(info.compress_type == zipfile.ZIP_STORED for info in archive.zip.infolist())
        whole &= all(type(about[name]) is kind for name, kind in _ABOUT.items())
        whole &= about["epoch"] >= 0 and bool(jnp.dtype(about["dtype"]))
        whole &= all(isinstance(value, str) for value in about["settings"].values())
    except (*DAMAGE, AttributeError, IndexError) as error:
        raise ValueError(_NOT_OURS) from error
    if not whole:
        raise ValueError(_NOT_OURS)
    return archive, about


_NOT_OURS = "expected a whole file of manual_bp.checkpoint.save, got another or a damaged one"


def _storable(array: Any) -> np.ndarray:
    """The array itself; as its bits where it is of a type that NumPy's files have no name for."""
    array = np.asarray(array)
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array


def _restored(archive: Any, name: str, shape: tuple[int, ...] | None, dtype: Any) -> Any:
    """An array of a file, which must be of this dtype and shape, or a NumPy curve without one."""
    try:
        array = archive[name]
    except DAMAGE as error:
        raise ValueError(_NOT_OURS) from error
    expected = np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype
    if array.dtype != expected or (array.ndim != 1 if shape is None else array.shape != shape):
        raise ValueError(
            f"{name}: expected {dtype} of shape {shape or '(epochs,)'}, got {array.dtype} of "
            f"shape {array.shape}"
        )
    return array if shape is None else jnp.asarray(array.view(dtype))
