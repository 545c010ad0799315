"""Where a call comes from: JAX's settings there, a function that JAX traces, a forked process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np


@contextmanager
def standard_promotion() -> Iterator[None]:
    """JAX's own rules for operands of two ranks or formats, as the equations are written for."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@contextmanager
def judging() -> Iterator[None]:
    """So too, and not a word about NaN and Inf, which a judge meets, and makes, on purpose."""
    with (
        standard_promotion(),
        jax.debug_nans(False),
        jax.debug_infs(False),
        np.errstate(all="ignore"),
    ):
        yield


def is_tracing() -> bool:
    """Whether what is computed here has no values, as inside of `jax.jit`."""
    return isinstance(jnp.zeros(()) + 1, jax.core.Tracer)


WORKS_ON_VALUES = (
    "expected values, got what JAX traces; this function cannot be inside of jit, grad, vmap or "
    "scan: call it outside, on arrays"
)

# ── Forks ────────────────────────────────────────────────────────────────────────────────────────

_forked_from_jax = False


def _note_a_fork() -> None:
    """In the child: a copy of JAX without its threads, if the parent had started them."""
    global _forked_from_jax
    bridge = sys.modules.get("jax._src.xla_bridge")  # asking JAX itself could start it, or hang
    _forked_from_jax = _forked_from_jax or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_a_fork)


def check_process() -> None:
    """Raise a RuntimeError where JAX may hang: in the fork of a process that had used it."""
    if _forked_from_jax:
        raise RuntimeError(
            "this process is a fork of one that had used JAX, and JAX can hang in it: start it "
            "with multiprocessing.get_context('spawn') in place of 'fork'"
        )
