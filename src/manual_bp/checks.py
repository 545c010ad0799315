"""How any part of the library refuses an argument: what was expected, what came, and the fix."""

import difflib
import numbers
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOATS = ("float16", "bfloat16", "float32", "float64")


class Problems:
    """Everything that does not fit, collected so that one error names it all."""

    def __init__(self) -> None:
        self.found: list[TypeError | ValueError] = []

    def type(self, message: str) -> None:
        """Note an argument of a wrong type."""
        self.found.append(TypeError(message))

    def value(self, message: str) -> None:
        """Note an argument of a wrong value."""
        self.found.append(ValueError(message))

    def raise_all(self) -> None:
        """Raise the one problem, or one error that lists them all; nothing where all is well."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise self.found[0]
        kind = TypeError if all(isinstance(p, TypeError) for p in self.found) else ValueError
        lines = "".join(f"\n  - {problem}" for problem in self.found)
        raise kind(f"{len(self.found)} things do not fit:{lines}")


def nearest(name: str, names: Iterable[str]) -> str:
    """'did you mean …?' where a known name is near, and the names there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names)}"


def kind(value: Any) -> str:
    """The name of a value's type."""
    return type(value).__name__


def whole_number(argument: str, value: Any, least: int, problems: Problems) -> int | None:
    """The value as an int, or None and a problem where it is no whole number from `least` on."""
    expected = f"{argument}: expected a whole number ≥ {least}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        problems.type(expected)
    elif value < least:
        problems.value(expected)
    else:
        return int(value)
    return None


def float_dtype(argument: str, dtype: Any, problems: Problems) -> Any:
    """One of the four formats, by name or type, in native byte order; else None and a problem."""
    try:
        found = None if dtype is None else jnp.dtype(dtype).newbyteorder("=")
    except TypeError:
        found = None
    if found is None or found.name not in FLOATS:
        problems.type(f"{argument}: expected one of {', '.join(FLOATS)}, got {dtype!r}")
        return None
    return found


def jax_dtype(argument: str, dtype: Any, problems: Problems) -> Any:
    """Such a format in which JAX computes: float64 only with its 64-bit types turned on."""
    found = float_dtype(argument, dtype, problems)
    if found is not None and found.name == "float64" and jnp.result_type(float) != found:
        problems.value(
            f"{argument}: float64 asked for while JAX's 64-bit types are off; turn them on with "
            f"jax.config.update('jax_enable_x64', True) before anything else, or use float32"
        )
    return found


def random_key(argument: str, key: Any, problems: Problems) -> None:
    """A problem where this is no key of `jax.random`."""
    try:
        if jnp.shape(jax.random.fold_in(key, 0)) != jnp.shape(key) or isinstance(key, np.generic):
            raise TypeError
    except (TypeError, ValueError):
        problems.type(f"{argument}: expected a key such as jax.random.key(0), got {key!r}")
