"""Several processes, on one machine or on many: each has devices and a part of the data of its own.

JAX's own runtime connects them; on CPUs their collectives are gloo's.
"""

from typing import Any

import jax
import numpy as np

from manual_bp.checks import Problems, shown, whole_number

LOST_AFTER = 60
"""Seconds without a sign of life after which a process is taken for lost."""


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    lost_after: int = LOST_AFTER,
) -> None:
    """Join the other processes of this program; before anything else of JAX is used.

    Then `jax.devices()` has the devices of all of them, and so has a mesh. Each process calls the
    same functions in the same order. `fit` takes each process's own examples, and trains as one
    process would on all of them, in the order of the processes.

    Args:
        coordinator: host:port of the first process; nothing where JAX detects the cluster itself,
            such as Slurm or a TPU's.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        lost_after: seconds without a sign of life after which a process is taken for lost, and
            ends the others.

    Raises:
        ValueError, TypeError: naming every argument that does not fit.
        RuntimeError: JAX is in use already, or the others do not answer.

    Example:
        >>> from manual_bp import parallel
        >>> parallel.connect("127.0.0.1:8476", num_processes=2, process_id=2)
        Traceback (most recent call last):
        ValueError: process_id: expected a whole number ≥ 0 up to 1, got 2
    """
    problems = Problems()
    given = (coordinator, num_processes, process_id)
    if coordinator is not None and not (
        isinstance(coordinator, str) and coordinator.rpartition(":")[2].isdecimal()
    ):
        problems.value(f"coordinator: expected host:port, got {shown(coordinator)}")
    if None in given and any(one is not None for one in given):
        problems.value(
            "coordinator, num_processes, process_id: expected all of them, or none where JAX "
            "detects the cluster itself"
        )
    if num_processes is not None:
        whole_number("num_processes", num_processes, 1, problems)
        if process_id is not None and not problems.found:
            whole_number("process_id", process_id, 0, problems, most=num_processes - 1)
    whole_number("lost_after", lost_after, 1, problems)
    problems.raise_all()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(*given, heartbeat_timeout_seconds=lost_after)


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def whole(tree: Any) -> Any:
    """Arrays that lie on the devices of several processes, whole and as NumPy's in each of them.

    Every process has to call it. Where there is one process they are merely copied to the host.

    Example:
        >>> import jax.numpy as jnp
        >>> from manual_bp import parallel
        >>> parallel.whole({"W": jnp.ones(2)})
        {'W': array([1., 1.], dtype=float32)}
    """

    def gathered(array: Any) -> Any:
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            return jax.device_get(array)
        return _of_all(array, tiled=True)

    return jax.tree.map(gathered, tree)


def rows_of_all(count: int, parts: int) -> tuple[int, np.ndarray]:
    """Where the examples of all processes stand, if each fills its own up to the same number.

    Args:
        count: how many this process has.
        parts: how many devices its own are split over, which has to divide that number.

    Returns:
        That number, and the place of each example, in the order of the processes.
    """
    counts = np.ravel(_of_all(np.array(count)))
    each = int(-(-counts.max() // parts) * parts)
    places = [k * each + np.arange(n) for k, n in enumerate(counts)]
    return each, np.concatenate(places)


def _of_all(array: Any, *, tiled: bool = False) -> np.ndarray:
    """An array of all processes, put together in each of them."""
    from jax.experimental import multihost_utils  # which one process has no need of

    return np.asarray(multihost_utils.process_allgather(array, tiled=tiled))
