"""Checkpoints of parameters that are split over devices, and of a training that is to go on.

Orbax writes the arrays, each process the parts that it holds; what they are stands beside them as
JSON text. Every checkpoint in the folder has a number, and gets it as its name when it is whole.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from manual_bp.calls import check_network
from manual_bp.checks import Problems
from manual_bp.checks import path as check_path
from manual_bp.meshes import moved_to_auto_axes
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel.layout import Layout
from manual_bp.training.checkpoint import (
    check_about,
    check_history,
    checksum,
    contents,
    history_of,
    native,
    network_of,
    params_of,
)
from manual_bp.training.history import CURVES, History, is_key

_NOT_OURS = (
    "expected a checkpoint of manual_bp.save_checkpoint, got another's or one that is damaged"
)
_KEPT = 2
_UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of what orbax has not finished


def save_checkpoint(
    folder: str | os.PathLike[str], net: Network, params: Params, history: History | None = None
) -> None:
    """Write a checkpoint into a folder, whole or not at all; the last two are kept.

    Every process calls it, with a folder that all of them see, and writes the parts that its
    devices hold.

    Args:
        folder: where checkpoints are, and nothing else; made where there is none.
        net: the network, whose description goes along.
        params: a `Layer(W, b)` for each layer, wherever they lie.
        history: as `fit` gives it, with its optimiser state.

    Raises:
        ValueError, TypeError: naming every argument that does not fit; the folder holds something
            else.
        ModuleNotFoundError: Orbax is not installed: pip install 'manual_bp[distributed]'.
        OSError: the folder cannot be written.

    Example:
        >>> import jax, manual_bp as mbp, os, tempfile
        >>> net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
        >>> mesh = jax.make_mesh((1,), ("data",))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = os.path.join(place, "trained")
        ...     mbp.save_checkpoint(folder, net, net.init(jax.random.key(0)))
        ...     net_again, params, history = mbp.load_checkpoint(folder, mesh=mesh)
        >>> net_again == net, params[0].W.sharding.spec, history
        (True, P(None, None), None)
    """
    problems = Problems()
    check_path("folder", folder, problems)
    check_history(history, problems)
    problems.raise_all()
    about, arrays = contents(net, params, history)
    curves = {name: native(name, arrays.pop(name), problems) for name in CURVES if name in arrays}
    whole = {name: _of_numbers(name, array, problems) for name, array in arrays.items()}
    problems.raise_all()
    about["curves"] = {name: np.asarray(curve, float).tolist() for name, curve in curves.items()}
    about["arrays"] = {
        name: [array.dtype.name, list(array.shape), _sum_of_bytes(array)]
        for name, array in whole.items()
    }
    about["crc32"] = checksum(about, {})
    ocp = _orbax()
    with _named(folder):
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise ValueError("expected a folder, got a file; pass another path")
        if os.path.isdir(folder) and not all(map(_is_of_orbax, os.listdir(folder))):
            raise ValueError(
                "expected a new folder or one of manual_bp.save_checkpoint, got one with other "
                "files; pass another path"
            )
        if os.path.isdir(folder) and (latest := _latest(folder)) is not None:
            _about(folder, latest)  # which tells of a folder of another program
        items = ocp.args.Composite(
            arrays=ocp.args.PyTreeSave(whole), about=ocp.args.JsonSave(about)
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEPT, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        with ocp.CheckpointManager(os.path.abspath(folder), options=options) as manager:
            latest = manager.latest_step()  # when all processes are here
            manager.save(0 if latest is None else latest + 1, args=items, force=True)


def load_checkpoint(
    folder: str | os.PathLike[str],
    net: Network | None = None,
    *,
    mesh: Mesh | None = None,
    fully_sharded: bool = False,
) -> tuple[Network, tuple[Layer, ...], History | None]:
    """The last whole checkpoint of a folder, on any mesh, or on one device.

    Every process calls it, and reads the parts that its devices are to hold.

    Args:
        folder: of `save_checkpoint`.
        net: the network that it must be of; needed only for a σ or C of one's own.
        mesh: where W, b and the optimiser's state go, each as `Layout` says; by default to one
            device of each process.
        fully_sharded: see `Layout`.

    Returns:
        The network, its params and the history, as `manual_bp.load` gives them: its
        `optimizer_state` and `epoch` go into `fit(optimizer_state=…, start_epoch=…)`.

    Raises:
        ValueError, TypeError: naming every argument that does not fit; the folder is missing,
            damaged or not one of `save_checkpoint`'s, or of another network than `net`.
        ModuleNotFoundError: Orbax is not installed: pip install 'manual_bp[distributed]'.

    Example: see `save_checkpoint`.
    """
    problems = Problems()
    check_path("folder", folder, problems)
    if mesh is None and fully_sharded:
        problems.value("fully_sharded: it goes with mesh, which is not given; leave it out")
    problems.raise_all()
    if net is not None:
        check_network(net)
    ocp = _orbax()
    with _named(folder):
        if not os.path.isdir(folder):
            if os.path.exists(folder):
                raise ValueError("expected a folder, got a file; manual_bp.load reads files")
            raise ValueError("no such folder; check the path")
        if (latest := _latest(folder)) is None:
            raise ValueError(
                "expected a folder of manual_bp.save_checkpoint, found no whole checkpoint in it"
            )
        about = _about(folder, latest)
        net = network_of(about["network"], net)
    layout = None if mesh is None else Layout(net, mesh, fully_sharded)
    with _named(folder):
        to = partial(_placed, ocp, about, layout)
        arrays = _arrays(ocp, os.path.join(folder, str(latest), "arrays"), about, to)
        params = params_of(net, about, arrays)
        curves = {name: np.asarray(curve, float) for name, curve in about["curves"].items()}
        return net, params, history_of(about["history"], arrays | curves)


# ── The folder ───────────────────────────────────────────────────────────────────────────────────


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "save_checkpoint and load_checkpoint need Orbax: pip install 'manual_bp[distributed]'"
        ) from error
    return ocp


@contextmanager
def _named(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Every complaint names the folder."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(folder)}: {error}") from error


def _is_of_orbax(name: str) -> bool:
    return name.isdecimal() or _UNFINISHED in name


def _latest(folder: str | os.PathLike[str]) -> int | None:
    """The number of the last whole checkpoint; one that is not whole has another name."""
    return max((int(name) for name in os.listdir(folder) if name.isdecimal()), default=None)


def _about(folder: str | os.PathLike[str], number: int) -> dict[str, Any]:
    """What a checkpoint says of itself, if it is one of ours."""
    try:
        with open(os.path.join(folder, str(number), "about", "metadata"), "rb") as file:
            about = json.loads(file.read())
        if about.pop("crc32") != checksum(about, {}):
            raise ValueError(_NOT_OURS)
        check_about(about)
        if not isinstance(about["curves"], dict) or not isinstance(about["arrays"], dict):
            raise ValueError(_NOT_OURS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_NOT_OURS) from error
    return about


def _arrays(ocp: ModuleType, folder: str, about: dict[str, Any], to: Any) -> dict[str, Any]:
    """The arrays, read one after the other: of a damaged folder the first one tells."""
    arrays = {}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        for name, (dtype, shape, total) in about["arrays"].items():
            args = ocp.args.PyTreeRestore(
                item={name: 0}, restore_args={name: to(name)}, partial_restore=True
            )
            try:
                array = reader.restore(os.path.abspath(folder), args=args)[name]
                is_it = [array.dtype.name, list(array.shape)] == [dtype, shape]
            except Exception as error:  # whatever damage makes orbax raise
                raise ValueError(_NOT_OURS) from error
            if not is_it or _sum_of_bytes(array) != total:
                raise ValueError(_NOT_OURS)
            arrays[name] = array
    return arrays


def _placed(ocp: ModuleType, about: dict[str, Any], layout: Layout | None, name: str) -> Any:
    """How orbax is to read an array: to the host, or to its place on the mesh."""
    if layout is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    # Training runs on Auto axes, and so does an optimiser's state.
    mesh = layout.on_auto_axes if name.startswith("state") else layout.mesh
    sharding = NamedSharding(mesh, _spec(layout, about["arrays"], name))
    return ocp.ArrayRestoreArgs(restore_type=jax.Array, sharding=sharding)


def _spec(layout: Layout, arrays: dict[str, Any], name: str) -> P:
    """That of W or b, also of what an optimiser keeps of them, such as "state[0].mu[1].W"."""
    for l in layout.net.layers:
        for field in Layer._fields:
            param = f"{field}{l}"
            is_kept_of_it = name.startswith("state") and name.endswith(f"[{l - 1}].{field}")
            is_like_it = param in arrays and arrays[name][1] == arrays[param][1]
            if name == param or (is_kept_of_it and is_like_it):
                spec: P = getattr(layout, field)(l)
                return spec
    return P()


# ── Arrays ───────────────────────────────────────────────────────────────────────────────────────


def _of_numbers(name: str, array: Any, problems: Problems) -> Any:
    """An array as orbax takes it: JAX's stay where they lie."""
    if isinstance(array, jax.Array):
        return jax.random.key_data(array) if is_key(array) else array
    return native(name, array, problems)


def _sum_of_bytes(array: Any) -> int:
    """A checksum of the numbers wherever they lie: Σ (2i + 1) byteᵢ, modulo 2³².

    Each weight is odd, so one byte that changes always shows. Each device sums its own part.
    """
    if isinstance(array, jax.Array):
        return int(_weighted(moved_to_auto_axes(array)))
    return int(_weighted(np.ascontiguousarray(array)[..., None].view(np.uint8)))


@jax.jit
def _weighted(array: jax.Array) -> jax.Array:
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    bytes_ = jax.lax.bitcast_convert_type(array, jnp.uint8).astype(jnp.uint32)
    places = jnp.arange(bytes_.size, dtype=jnp.uint32).reshape(bytes_.shape)
    return jnp.sum(bytes_ * (2 * places + 1), dtype=jnp.uint32)
