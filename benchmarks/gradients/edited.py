"""A page of the library with lines of it changed: the text of its module, edited and run."""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from manual_bp import layers

Edit = tuple[str, str]  # what stands on the page, once, and what stands in its place


@cache
def edited(layer: str, edits: tuple[Edit, ...], **more: Any) -> Callable[..., Any]:
    """The layer that its page gives with these edits, which may use `jax`, `jnp` and `more`."""
    module = sys.modules[getattr(layers, layer).__module__]
    text = inspect.getsource(module)
    for line, instead in edits:
        if text.count(line) != 1:
            raise ValueError(f"{layer}: expected {line!r} once on its page, got {text.count(line)}")
        text = text.replace(line, instead)
    names = {"__name__": module.__name__, "jax": jax, "jnp": jnp, **more}
    exec(compile(text, f"{layer}, edited", "exec"), names)
    function: Callable[..., Any] = names[layer]
    return function
