"""What people have, as arrays: lists, NumPy, JAX, pandas, tensors, each in its own format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.checks import FLOATS, Problems, kind
from manual_bp.surroundings import WORKS_ON_VALUES


class Given(NamedTuple):
    """An array that was handed in, and whether it has a format of its own.

    Lists of Python's numbers have none, nor have whole numbers: they take that of the others.
    """

    array: Any
    has_dtype: bool

    def of(self, dtype: Any) -> Any:
        """The array; in this dtype where it has none of its own."""
        return self.array if self.has_dtype else cast(self.array, dtype)

    def turned(self, turn: Callable[[Any], Any]) -> "Given":
        """The same with its array turned."""
        return self._replace(array=turn(self.array))


def read_array(
    argument: str, value: Any, problems: Problems, *, traced: bool = False, masked: bool = False
) -> Given | None:
    """Real numbers in any form: nested lists, NumPy, JAX, pandas, tensors; None and a problem.

    What JAX traces is refused too, unless it may be `traced`, and what is not known, unless the
    array may be `masked`.
    """
    own = not isinstance(value, (list, tuple, int, float))
    if not traced and isinstance(value, jax.core.Tracer):
        problems.type(f"{argument}: {WORKS_ON_VALUES}")
        return None
    try:
        value = as_array(value)
    except Exception:  # whatever it may raise that cannot be read
        if isinstance(value, (list, tuple)):
            problems.value(f"{argument}: expected rows of one length, got lists of several")
        else:
            problems.type(f"{argument}: expected real numbers, got {kind(value)}")
        return None
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if np.ma.isMaskedArray(value) and not masked:
        if np.ma.is_masked(value):
            problems.value(f"{argument}: expected numbers everywhere, got a masked array; fill it")
            return None
        value = np.ma.getdata(value)
    if isinstance(value, np.matrix):
        value = np.asarray(value)
    form = getattr(value.dtype, "kind", "")  # which JAX's own dtypes have not
    if value.dtype.name in FLOATS:
        return Given(value, own)
    if form and form in "biu":
        return Given(value, False)
    if form == "f":  # wider than float64
        return Given(value.astype(np.float64), own)
    problems.type(f"{argument}: expected real numbers, got dtype {value.dtype}")
    return None


def as_array(value: Any) -> Any:
    """The array of JAX or NumPy that an array-like value holds."""
    if isinstance(value, (jax.Array, np.ndarray)):
        return value
    if hasattr(value, "detach"):  # a tensor of PyTorch, whose gradient's history is not needed
        value = value.detach().cpu()
        try:
            return np.asarray(value)
        except TypeError:  # bfloat16, which NumPy does not have
            return np.asarray(jnp.from_dlpack(value))
    if hasattr(value, "__array__") or isinstance(value, (list, tuple, int, float)):
        return np.asarray(value)
    return np.from_dlpack(value)


def cast(array: Any, dtype: Any) -> Any:
    """The array in this dtype, with infinities for what is beyond its range; None stays None."""
    if array is None or array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):  # an infinity is told of later
        return array.astype(dtype)


def _digits(dtype: Any) -> int:
    return int(jnp.finfo(dtype).nmant)


def dtype_of(*groups: list[Given]) -> Any:
    """The finest format in the first group that has one; float64, as Python's, without any."""
    for group in groups:
        if found := [one.array.dtype for one in group if one.has_dtype]:
            return max(found, key=_digits)
    return np.dtype(np.float64)


def check_finite(argument: str, array: Any, problems: Problems) -> None:
    """A problem where there is NaN or Inf among numbers that are known."""
    if array is None or isinstance(array, jax.core.Tracer):
        return
    if on_host(array):
        # Waited for, since NumPy would read an array that found no memory as if it were there.
        finite = np.isfinite(np.asarray(jax.block_until_ready(array)))
    else:
        finite = jnp.isfinite(array)
    if not finite.all():
        problems.value(
            f"{argument}: expected finite numbers, got NaN or Inf; "
            f"find them with jnp.isfinite({argument.split()[-1]})"
        )


def on_host(array: Any) -> bool:
    """Whether NumPy can read an array where it lies; there it has nothing to compile."""
    if not isinstance(array, jax.Array):
        return True
    return array.is_fully_addressable and all(d.platform == "cpu" for d in array.devices())


@contextmanager
def in_64_bits(dtype: Any) -> Iterator[Callable[[Any], Any]]:
    """JAX's 64-bit types, in this thread and for float64 alone; the caller's setting stays.

    Gives what hands results back: as NumPy's arrays, where JAX would round float64 ones outside.
    """
    if dtype == np.float64 and jnp.result_type(float) != np.float64:
        with jax.enable_x64(True):
            yield jax.device_get
    else:
        yield lambda result: result
