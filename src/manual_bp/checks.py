"""How any part of the library refuses an argument: what was expected, what came, and the fix."""

import difflib
import numbers
import os
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.surroundings import WORKS_ON_VALUES, check_process, is_tracing

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


def shown(value: Any) -> str:
    """A value for a message: as Python writes it, within reason."""
    try:
        text = repr(value)
    except Exception:  # whatever it may raise; a number of thousands of digits does
        return f"a value of type {kind(value)}"
    return text if len(text) <= 200 else f"{text[:200]}…"


def parts(value: Any) -> tuple[Any, ...] | None:
    """What a sequence holds; None of a word, and of what cannot be gone through."""
    try:
        return None if isinstance(value, (str, bytes)) else tuple(value)
    except Exception:  # whatever it may raise
        return None


def whole_number(
    argument: str, value: Any, least: int, problems: Problems, most: int | None = None
) -> int | None:
    """The value as an int, or None and a problem where it is no whole number within the limits."""
    expected = f"{argument}: expected a whole number ≥ {least}, got {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        problems.type(expected)
    elif int(value) < least:
        problems.value(expected)
    elif most is not None and int(value) > most:
        problems.value(expected.replace(", got", f" up to {most}, got", 1))
    else:
        return int(value)
    return None


def real(value: Any) -> float | None:
    """One real number of Python, NumPy or JAX as a float, Inf if it is too large; else None."""
    is_array = isinstance(value, (np.ndarray, np.generic, jax.Array))
    if is_array and (value.shape != () or not _is_real(value.dtype)):
        return None
    if isinstance(value, (bool, jax.core.Tracer)) or not (
        is_array or isinstance(value, numbers.Real)
    ):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _is_real(dtype: Any) -> bool:
    is_span = getattr(dtype, "kind", "") == "m"  # of time, whose numbers NumPy counts as whole
    return (jnp.issubdtype(dtype, np.integer) and not is_span) or jnp.issubdtype(dtype, np.floating)


def flag(argument: str, value: Any, problems: Problems) -> None:
    """A problem where this is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        problems.type(f"{argument}: expected True or False, got {shown(value)}")


def one_of(argument: str, value: Any, known: Iterable[str], problems: Problems) -> None:
    """A problem where this is none of the known words."""
    if not isinstance(value, str) or value not in known:
        problems.value(f"{argument}: unknown {shown(value)}; {nearest(shown(value), known)}")


def functions(owner: Any, needed: Iterable[str], others: Iterable[str], problems: Problems) -> None:
    """A problem for each of these fields that is no function; the others may be None."""
    for name in (*needed, *others):
        function = getattr(owner, name)
        if function is None and name in others:
            continue
        if not callable(function) or not isinstance(function, Hashable):
            problems.type(f"{name}: expected a function, got {shown(function)}")


def path(argument: str, value: Any, problems: Problems) -> None:
    """A problem where this cannot be the path of a file."""
    if not isinstance(value, (str, os.PathLike)):
        problems.type(f"{argument}: expected the path of a file, got {shown(value)}")
    elif not os.fspath(value) or "\0" in os.fsdecode(value):
        problems.value(f"{argument}: expected the path of a file, got {shown(value)}")


@contextmanager
def theirs(argument: str) -> Iterator[None]:
    """Leave an error of the caller's own function as it is, with a note of whose it is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{argument}: it is your function that raised this")
        raise


def float_dtype(argument: str, dtype: Any, problems: Problems) -> Any:
    """One of the four formats, by name or type, in native byte order; else None and a problem."""
    try:
        found = None if dtype is None else jnp.dtype(dtype).newbyteorder("=")
    except Exception:  # NumPy asks whatever it is for its fields
        found = None
    if found is None or found.name not in FLOATS:
        problems.type(f"{argument}: expected one of {', '.join(FLOATS)}, got {shown(dtype)}")
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


def random_key(argument: str, key: Any, problems: Problems, *, traced: bool = False) -> None:
    """A problem where this is no key of `jax.random`, or one that JAX traces, unless it may be."""
    check_process()
    if not traced and (isinstance(key, jax.core.Tracer) or is_tracing()):
        problems.type(f"{argument}: {WORKS_ON_VALUES}")
        return
    is_key = isinstance(key, (jax.Array, np.ndarray))
    try:
        is_key = is_key and jnp.shape(jax.random.fold_in(key, 0)) == jnp.shape(key)
    except (TypeError, ValueError):
        is_key = False
    if not is_key:
        problems.type(f"{argument}: expected a key such as jax.random.key(0), got {shown(key)}")
