"""Checkpoints of parameters that are split over devices, and of a training that is to go on.

Orbax writes them: each process the parts that it holds, into a folder of its own that gets its name
when all of it is there. So a folder holds whole checkpoints and no others, the last two of them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from manual_bp.arrays import in_64_bits
from manual_bp.calls import check_network, read_params
from manual_bp.checks import Problems, jax_dtype, shown
from manual_bp.checks import path as check_path
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel.layout import Layout
from manual_bp.training.checkpoint import described, network_of
from manual_bp.training.history import CURVES, History, SavedState, named

KEPT = 2
ABOUT, ARRAYS = "about", "arrays"


def save_checkpoint(
    folder: str | os.PathLike[str], net: Network, params: Params, history: History | None = None
) -> None:
    """Write a checkpoint into a folder, whole or not at all; the last two are kept.

    Every process calls it, and writes the parts that its devices hold.

    Args:
        folder: where checkpoints are; made where there is none.
        net: the network.
        params: a `Layer(W, b)` for each layer, wherever they lie.
        history: as `fit` gives it, with its optimiser state.

    Raises:
        ValueError, TypeError: naming every argument that does not fit.
        ModuleNotFoundError: Orbax is not installed: pip install 'manual_bp[distributed]'.
        OSError: the folder cannot be written.

    Example:
        >>> import jax, manual_bp as mbp, tempfile
        >>> net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params, mesh = net.init(jax.random.key(0)), jax.make_mesh((1,), ("data",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mbp.save_checkpoint(folder, net, params)
        ...     net_again, again, history = mbp.load_checkpoint(folder, mesh=mesh)
        >>> net_again == net, again[0].W.sharding.mesh == mesh, history
        (True, True, None)
    """
    problems = Problems()
    check_path("folder", folder, problems)
    if not isinstance(history, History | None):
        problems.type(f"history: expected that of fit, got {shown(history)}")
    problems.raise_all()
    check_network(net)
    if not any(isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
               for leaf in jax.tree.leaves(params)):  # fmt: skip
        params = read_params(net, params)
    about: dict[str, Any] = {
        "manual_bp": 1,
        "network": described(net),
        "dtype": params[0][0].dtype.name,
        "biases": [b is not None for _, b in params],
        "history": None,
    }
    arrays = {f"W{l}": W for l, (W, _) in zip(net.layers, params, strict=True)}
    arrays |= {f"b{l}": b for l, (_, b) in zip(net.layers, params, strict=True) if b is not None}
    if history is not None:
        curves = {name: getattr(history, name) for name in CURVES}
        about["history"] = {
            "epoch": int(history.epoch),
            "stopped": history.stopped,
            "curves": {n: curve.tolist() for n, curve in curves.items() if curve is not None},
        }
        arrays |= {f"state{place}": one for place, one in named(history.optimizer_state).items()}
    with _manager(folder, create=True) as (orbax, manager), in_64_bits(params[0][0].dtype):
        last = manager.latest_step()
        manager.save(
            0 if last is None else last + 1,
            args=orbax.args.Composite(
                **{ABOUT: orbax.args.JsonSave(about), ARRAYS: orbax.args.StandardSave(arrays)}
            ),
            force=True,
        )
        manager.wait_until_finished()


def load_checkpoint(
    folder: str | os.PathLike[str],
    net: Network | None = None,
    *,
    mesh: Mesh | None = None,
    fully_sharded: bool = False,
) -> tuple[Network, tuple[Layer, ...], History | None]:
    """The last whole checkpoint of a folder, on any mesh, or on one device.

    Args:
        folder: of `save_checkpoint`.
        net: the network that it must be of; needed only for a σ or C of one's own, which no file
            can hold.
        mesh: where the parameters are to lie, as `parallel.Layout` says; one device without it. It
            need not be the one that they were saved on.
        fully_sharded: see `parallel.value_and_grad`.

    Returns:
        The network, its params, and the history, None if none was saved. Its `optimizer_state`
        goes into `fit(optimizer_state=…)`, with the optimiser that it is of.

    Raises:
        ValueError: there is no whole checkpoint; it is of another network than `net`, or of
            functions of one's own without it; or the mesh does not divide its widths.
        ModuleNotFoundError: Orbax is not installed: pip install 'manual_bp[distributed]'.

    Example: see `save_checkpoint`.
    """
    problems = Problems()
    check_path("folder", folder, problems)
    problems.raise_all()
    if net is not None:
        check_network(net)
    name, wanted = os.fspath(folder), f"{os.fspath(folder)}: expected a checkpoint"
    if not os.path.isdir(folder):
        raise ValueError(f"{name}: no such folder; check the path")
    with _manager(folder, create=False) as (orbax, manager):
        step = manager.latest_step()
        if step is None:
            raise ValueError(f"{wanted} of manual_bp.save_checkpoint, found no whole one")
        try:
            only_about = orbax.args.Composite(**{ABOUT: orbax.args.JsonRestore()})
            about = manager.restore(step, args=only_about)[ABOUT]
            told = {"network", "dtype", "biases", "history"} <= about.keys()
            shapes = dict(manager.item_metadata(step)[ARRAYS]) if told else {}
        except Exception as error:  # whatever Orbax raises of a folder that is another's
            raise ValueError(f"{wanted} of manual_bp.save_checkpoint, got another's") from error
        if not told:
            raise ValueError(f"{wanted} of manual_bp.save_checkpoint, got another's")
        try:
            net = network_of(about["network"], net)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        jax_dtype("its parameters", about["dtype"], problems)
        problems.raise_all()
        layout = None if mesh is None else Layout(net, mesh, fully_sharded)
        places = _places(net, about["biases"], layout, shapes)
        target = {
            key: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=places[key])
            for key, one in shapes.items()
        }
        arrays = manager.restore(
            step, args=orbax.args.Composite(**{ARRAYS: orbax.args.StandardRestore(target)})
        )[ARRAYS]
    params = tuple(Layer(arrays[f"W{l}"], arrays.get(f"b{l}")) for l in net.layers)
    return net, params, _history(about["history"], arrays)


def _places(
    net: Network, biases: list[bool], layout: Layout | None, shapes: dict[str, Any]
) -> dict[str, Any]:
    """Where each array is to lie: the optimiser's beside the parameters of their shape."""
    if layout is None:
        return dict.fromkeys(shapes, SingleDeviceSharding(jax.local_devices()[0]))
    specs = {f"W{l}": layout.W(l) for l in net.layers}
    specs |= {f"b{l}": layout.b(l) for l, is_there in zip(net.layers, biases, strict=True)
              if is_there}  # fmt: skip
    found = {}
    for key, one in shapes.items():
        # state of optax: its places end with those of the parameters, [0].W and so on
        own = next((name for l in net.layers for name, ending in
                    ((f"W{l}", f"[{l - 1}].W"), (f"b{l}", f"[{l - 1}].b"))
                    if key.endswith(ending) and shapes[name].shape == one.shape), key)  # fmt: skip
        found[key] = NamedSharding(layout.mesh, specs.get(own, P()))
    return found


def _history(told: dict[str, Any] | None, arrays: dict[str, Any]) -> History | None:
    if told is None:
        return None
    curves = {name: np.asarray(curve, np.float64) for name, curve in told["curves"].items()}
    state = {key[5:]: array for key, array in arrays.items() if key.startswith("state")}
    saved = SavedState(state)
    return History._make([*map(curves.get, CURVES), told["epoch"], saved, told["stopped"]])


@contextmanager
def _manager(folder: str | os.PathLike[str], *, create: bool) -> Iterator[tuple[ModuleType, Any]]:
    """Orbax, and its manager of a folder."""
    try:
        import orbax.checkpoint as orbax  # a second of imports that nobody else needs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "save_checkpoint and load_checkpoint need Orbax: pip install 'manual_bp[distributed]'"
        ) from error
    options = orbax.CheckpointManagerOptions(
        max_to_keep=KEPT, create=create, enable_async_checkpointing=False
    )
    handlers = {ABOUT: orbax.JsonCheckpointHandler(), ARRAYS: orbax.StandardCheckpointHandler()}
    manager = orbax.CheckpointManager(
        os.path.abspath(folder), options=options, item_handlers=handlers
    )
    try:
        yield orbax, manager
    finally:
        manager.close()
