"""Any function's gradients as people hand them over: a reference, its arguments, and a subject."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jax.tree_util import keystr

from manual_bp.arrays import as_array
from manual_bp.checks import Problems, kind, shown, theirs
from manual_bp.record import GRADIENT, VALUE, Place
from manual_bp.rounding.operations import is_float
from manual_bp.subjects.run import copied, same
from manual_bp.subjects.subject import Misfit
from manual_bp.text import listed


class Vjp(NamedTuple):
    """What a backward pass gives for a cotangent.

    Attributes:
        gradients: one for each argument that was asked for, in the argument's own structure; None
            for zeros.
        value: what the function itself gives; None where it is not shown.
    """

    gradients: Any
    value: Any = None


@dataclass(frozen=True, eq=False)
class Reference:
    """A plain function of JAX at its arguments, and the cotangent that is sent back through it.

    Attributes:
        function: of `args`, in any structure of arrays.
        args: real and whole numbers, as arrays in their own formats.
        argnums: the arguments whose gradients are asked for.
        cotangent: of the function's value, in its structure; None where that is whole numbers.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...]
    cotangent: Any

    @property
    def name(self) -> str:
        """How reports call it."""
        return _name_of(self.function)

    @cached_property
    def leaves(self) -> list[Any]:
        """Every array of the arguments."""
        return jax.tree.leaves(self.args)

    @cached_property
    def wanted(self) -> list[int]:
        """Which of them have a gradient that is asked for."""
        counts = [len(jax.tree.leaves(arg)) for arg in self.args]
        owner = np.repeat(np.arange(len(counts)), counts)
        return [
            i for i, leaf in enumerate(self.leaves) if owner[i] in self.argnums and is_float(leaf)
        ]

    @cached_property
    def names(self) -> list[str]:
        """Of every array: q, or params['w'] in a structure."""
        names = _argument_names(self.function, len(self.args))
        return [
            names[i] + keystr(path)
            for i, arg in enumerate(self.args)
            for path, _ in jax.tree.leaves_with_path(arg)
        ]

    @property
    def places(self) -> list[Place]:
        """The function's value, then a gradient for each array that is asked for."""
        paths = jax.tree.leaves_with_path(self.cotangent)
        values = [Place(VALUE, self.name + keystr(path), 0) for path, _ in paths]
        return values + [Place(GRADIENT, f"∂/∂{self.names[i]}", 0) for i in self.wanted]

    def at(self, leaves: Sequence[Any]) -> "Reference":
        """The same at other arguments."""
        return replace(self, args=jax.tree.unflatten(jax.tree.structure(self.args), leaves))

    def with_twice_the_cotangent(self) -> "Reference":
        """The same, sent back twice as much."""
        with _formats_of(self.args):
            return replace(self, cotangent=jax.tree.map(lambda one: 2 * one, self.cotangent))

    @cached_property
    def inputs(self) -> list[Any]:
        """The cotangent's arrays and those of the arguments, real numbers in float64."""
        return [_wide(leaf) for leaf in (*jax.tree.leaves(self.cotangent), *self.leaves)]

    @cached_property
    def program(self) -> ClosedJaxpr:
        """(cotangent, arguments) -> (value, gradients) in float64, of arrays one by one."""
        count = len(jax.tree.leaves(self.cotangent))

        def pulled(*inputs: Any) -> list[Any]:
            cotangents, leaves = list(inputs[:count]), list(inputs[count:])

            def function(*wanted: Any) -> list[Any]:
                for i, leaf in zip(self.wanted, wanted, strict=True):
                    leaves[i] = leaf
                return self._flat(leaves)

            values, pull = jax.vjp(function, *(leaves[i] for i in self.wanted))
            return [*values, *pull(cotangents)]

        return jax.make_jaxpr(pulled)(*self.inputs)

    @cached_property
    def forward_program(self) -> ClosedJaxpr:
        """The function alone, arrays in, arrays out."""
        count = len(jax.tree.leaves(self.cotangent))
        return jax.make_jaxpr(lambda *leaves: self._flat(leaves))(*self.inputs[count:])

    def _flat(self, leaves: Sequence[Any]) -> list[Any]:
        args = jax.tree.unflatten(jax.tree.structure(self.args), leaves)
        return [one for one in jax.tree.leaves(self.function(*args)) if is_float(one)]


def _wide(leaf: Any) -> Any:
    return np.asarray(leaf, np.float64) if is_float(leaf) else leaf


def read_reference(
    function: Any, args: Sequence[Any], cotangent: Any, argnums: Any, key: Any, *, drawn: bool
) -> Reference:
    """The reference at its arguments; the cotangent drawn at random, where it may be.

    Raises:
        ValueError, TypeError: naming the argument.
    """
    if not callable(function):
        raise TypeError(f"reference: expected a function of JAX, got {shown(function)}")
    if not args:
        raise TypeError("args: expected the reference's arguments after the subject, got none")
    names, problems = _argument_names(function, len(args)), Problems()
    read = tuple(
        jax.tree.map(lambda leaf, n=name: _read(f"args, {n}", leaf, problems), arg)
        for name, arg in zip(names, args, strict=True)
    )
    problems.raise_all()
    floats = [i for i, arg in enumerate(read) if any(map(is_float, jax.tree.leaves(arg)))]
    which = tuple(floats) if argnums is None else _argnums(argnums, read, floats)
    if not which:
        raise ValueError("args: expected real numbers in one of them at least, got none")
    with theirs("reference"), _formats_of(read):
        value = jax.eval_shape(function, *read)
    for path, leaf in jax.tree.leaves_with_path(value):
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise TypeError(
                f"reference: expected real numbers, got {leaf.dtype} as value{keystr(path)}; "
                f"give its real and imaginary part"
            )
    if not any(is_float(leaf) for leaf in jax.tree.leaves(value)):
        raise ValueError("reference: expected real numbers as its value, got none")
    if cotangent is None and not drawn:
        raise ValueError(
            "cotangent: expected the one that your gradients were computed with, got none; "
            "of a loss that is a number it is 1.0"
        )
    read_cotangent = _drawn(value, key) if cotangent is None else _cotangent(value, cotangent)
    return Reference(function, read, which, read_cotangent)


def _read(argument: str, leaf: Any, problems: Problems) -> Any:
    """An array, in its own format; Python's numbers as JAX takes them."""
    try:
        array = as_array(leaf)
        dtype = jnp.dtype(array.dtype)
    except Exception:  # whatever it may raise that cannot be read
        problems.type(
            f"{argument}: expected an array, got {kind(leaf)}; what is no array goes into the "
            f"function, as with functools.partial"
        )
        return None
    if jnp.issubdtype(dtype, jnp.complexfloating):
        problems.type(f"{argument}: expected real numbers, got {dtype}; check its parts instead")
        return None
    if not is_float(array):
        return array
    if isinstance(leaf, (int, float)):
        array = np.asarray(leaf, np.float32)
    if not np.isfinite(np.asarray(array, np.float64)).all():
        problems.value(f"{argument}: expected finite numbers, got NaN or Inf")
    return array


def _argnums(argnums: Any, args: tuple[Any, ...], floats: list[int]) -> tuple[int, ...]:
    given = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for n in given:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"argnums: expected numbers of arguments, got {shown(argnums)}")
        if n not in range(-len(args), len(args)):
            raise ValueError(f"argnums: expected 0 to {len(args) - 1}, got {shown(argnums)}")
        if n % len(args) not in floats:
            raise ValueError(f"argnums: argument {n} has no real numbers, so no gradient")
    return tuple(dict.fromkeys(int(n) % len(args) for n in given))


def _drawn(value: Any, key: Any) -> Any:
    """Random numbers, never ones: a backward pass that forgets its cotangent must show."""
    leaves, structure = jax.tree.flatten(value)
    keys = jax.random.split(key, len(leaves))
    drawn = []
    for k, leaf in zip(keys, leaves, strict=True):
        one = None
        if is_float(leaf):
            with jax.enable_x64(leaf.dtype == np.float64):
                one = jax.random.normal(k, leaf.shape, np.float32).astype(leaf.dtype)
        drawn.append(one)
    return jax.tree.unflatten(structure, drawn)


def _cotangent(value: Any, cotangent: Any) -> Any:
    """The one given, held to the value's structure and shapes."""
    expected = jax.tree.unflatten(
        jax.tree.structure(value),
        [leaf if is_float(leaf) else None for leaf in jax.tree.leaves(value)],
    )
    wanted: Any = jax.tree.structure(expected)
    given: Any = jax.tree.structure(cotangent)
    if wanted != given:
        raise ValueError(
            f"cotangent: expected the structure of the reference's value, {wanted}, got {given}"
        )
    problems = Problems()
    for (path, leaf), one in zip(
        jax.tree.leaves_with_path(expected), jax.tree.leaves(cotangent), strict=True
    ):
        read = _read(f"cotangent{keystr(path)}", one, problems)
        if read is not None and tuple(read.shape) != leaf.shape:
            problems.value(
                f"cotangent{keystr(path)}: expected shape {leaf.shape}, got {tuple(read.shape)}"
            )
    problems.raise_all()
    arrays = [
        np.asarray(as_array(one)).astype(leaf.dtype)
        if isinstance(one, (int, float))
        else as_array(one)
        for leaf, one in zip(jax.tree.leaves(expected), jax.tree.leaves(cotangent), strict=True)
    ]
    return jax.tree.unflatten(wanted, arrays)


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """What a function calls its arguments; arg0, arg1, … where it does not say."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [
        one.name
        for one in parameters
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return [*names[:count], *(f"arg{i}" for i in range(len(names[:count]), count))]


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None) or getattr(
        getattr(function, "func", None), "__name__", None
    )
    return str(name or "a function")


# ── What a subject gives ─────────────────────────────────────────────────────────────────────────


class Obtained(NamedTuple):
    """A subject's arrays by place, in float64, with the formats they came in.

    Attributes:
        arrays: what is given, of the right shape.
        formats: the dtype of each by name.
        misfits: what has no place.
        notes: what else was seen while it ran.
    """

    arrays: dict[Place, Any]
    formats: dict[Place, str]
    misfits: dict[Place, Misfit]
    notes: tuple[str, ...] = ()


def subject_name(subject: Any) -> str:
    """How reports call it."""
    return _name_of(subject) if callable(subject) else "your gradients"


def obtained_from(reference: Reference, subject: Any) -> Obtained:
    """What a subject gives for this cotangent: by running it on copies, or as it stands."""
    if not callable(subject):
        return _placed(reference, subject)
    before = [copied(leaf) for leaf in reference.leaves]
    copies = jax.tree.map(copied, reference.args)
    with theirs("subject"), _formats_of(reference.args):
        given = _run(reference, subject, copies, jax.tree.map(copied, reference.cotangent))
    now = jax.tree.leaves(copies)
    changed = [
        name
        for name, old, new in zip(reference.names, before, now, strict=True)
        if not same(old, new)
    ]
    found = _placed(reference, given)
    if changed:
        note = f"your function changed {listed(changed)} while it ran; it had copies"
        found = found._replace(notes=(note,))
    return found


@contextmanager
def _formats_of(args: Any) -> Iterator[None]:
    """JAX's 64-bit types where an argument is of float64, and only there."""
    wide = any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(args))
    with jax.enable_x64(wide):
        yield


def _run(reference: Reference, subject: Any, args: tuple[Any, ...], cotangent: Any) -> Vjp:
    if not is_function(reference, subject, args):
        given = subject(args, cotangent)
        return given if isinstance(given, Vjp) else Vjp(given)

    def of_wanted(*wanted: Any) -> Any:
        full = list(args)
        for n, arg in zip(reference.argnums, wanted, strict=True):
            full[n] = arg
        return subject(*full)

    value, pull = jax.vjp(of_wanted, *(args[n] for n in reference.argnums))
    sent, problems = _sent_back(value, cotangent), Problems()
    problems.raise_all()
    return Vjp(pull(sent), value)


def _sent_back(value: Any, cotangent: Any) -> Any:
    """The cotangent in the formats of the subject's own value."""
    leaves, structure = jax.tree.flatten(value)
    given = iter(jax.tree.leaves(cotangent))
    if sum(is_float(leaf) for leaf in leaves) != len(jax.tree.leaves(cotangent)):
        raise ValueError(
            f"subject: expected a value like the reference's, got the structure {structure}"
        )
    sent = [
        jnp.asarray(next(given)).astype(leaf.dtype)
        if is_float(leaf)
        else np.zeros(leaf.shape, jax.dtypes.float0)
        for leaf in leaves
    ]
    return jax.tree.unflatten(structure, sent)


def is_function(reference: Reference, subject: Any, args: tuple[Any, ...]) -> bool:
    """Whether a subject is called like the reference, and not as a pullback (args, cotangent)."""
    if isinstance(subject, jax.custom_vjp):
        return True
    try:
        signature = inspect.signature(subject)
    except (TypeError, ValueError):
        return True
    if not _takes(signature, len(args)):
        return False
    if not _takes(signature, 2):
        return True
    names = _argument_names(subject, 2)
    if names == _argument_names(reference.function, 2) or names[0] == "args":
        return names[0] != "args"
    value = _shapes(subject, *args)  # both would do: by what comes out
    expected = [np.shape(leaf) for leaf in jax.tree.leaves(reference.cotangent)]
    if value is None or value == expected:
        return value is not None
    return _shapes(subject, args, reference.cotangent) is None


def _shapes(function: Callable[..., Any], *args: Any) -> list[tuple[int, ...]] | None:
    """The shapes of what comes out; None where the function does not take such arguments."""
    try:
        value = jax.eval_shape(function, *args)
    except Exception:  # whatever a stranger's function may raise
        return None
    return [leaf.shape for leaf in jax.tree.leaves(value) if is_float(leaf)]


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _placed(reference: Reference, given: Any) -> Obtained:
    """A subject's arrays where they belong."""
    if not isinstance(given, Vjp):
        given = Vjp(given)
    found = Obtained({}, {}, {})
    values = [place for place in reference.places if place.equation == VALUE]
    if given.value is not None:
        leaves = [leaf for leaf in jax.tree.leaves(given.value) if is_float(as_array(leaf))]
        if len(leaves) != len(values):
            raise ValueError(
                f"subject: expected {len(values)} arrays of real numbers as its value, "
                f"got {len(leaves)}"
            )
        for place, leaf, like in zip(
            values, leaves, jax.tree.leaves(reference.cotangent), strict=True
        ):
            _put(found, place, leaf, np.shape(like))
    gradients = [place for place in reference.places if place.equation == GRADIENT]
    arrays = _by_argument(reference, given.gradients)
    for place, i, array in zip(gradients, reference.wanted, arrays, strict=True):
        like = reference.leaves[i]
        if array is None:
            array = np.zeros(np.shape(like), like.dtype)
        _put(found, place, array, np.shape(like))
    return found


def _put(found: Obtained, place: Place, array: Any, shape: tuple[int, ...]) -> None:
    array = as_array(array)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"subject: {place.quantity}: expected real numbers, got {array.dtype}")
    found.formats[place] = jnp.dtype(array.dtype).name
    if tuple(array.shape) == shape:
        found.arrays[place] = np.asarray(array, np.float64)
    else:
        note = f"has shape {tuple(array.shape)} where {shape} is expected"
        found.misfits[place] = Misfit(tuple(array.shape), note)


def _by_argument(reference: Reference, gradients: Any) -> list[Any]:
    """The gradient of each array that is asked for; None for zeros."""
    args, argnums = reference.args, reference.argnums
    names = _argument_names(reference.function, len(args))
    if isinstance(gradients, dict) and set(gradients) <= set(names) and gradients:
        if missing := [names[n] for n in argnums if names[n] not in gradients]:
            raise ValueError(
                f"subject: expected a gradient for {listed(missing)} as well; "
                f"leave out what is not to be checked with argnums"
            )
        given = [gradients[names[n]] for n in argnums]
    elif not isinstance(gradients, (tuple, list)) or isinstance(args[argnums[0]], type(gradients)):
        given = [gradients]
    else:
        given = list(gradients)
    if len(given) == len(args) != len(argnums):
        given = [given[n] for n in argnums]
    if len(given) != len(argnums):
        wanted = listed(names[n] for n in argnums)
        got = len(given) if isinstance(gradients, (tuple, list)) else kind(gradients)
        raise ValueError(f"subject: expected a gradient for each of {wanted}, got {got}")
    found: list[Any] = []
    for n, gradient in zip(argnums, given, strict=True):
        structure, floats = (
            jax.tree.structure(args[n]),
            list(map(is_float, jax.tree.leaves(args[n]))),
        )
        leaves = _leaves_like(args[n], gradient)
        if gradient is None:
            leaves = [None] * len(floats)
        if len(leaves) != len(floats):
            raise ValueError(
                f"subject: expected the gradient of {names[n]} in its structure, {structure}, "
                f"got {jax.tree.structure(gradient)}"
            )
        found += [leaf for leaf, real in zip(leaves, floats, strict=True) if real]
    return found


def _leaves_like(arg: Any, gradient: Any) -> list[Any]:
    """The arrays of a gradient; of an array's gradient a list is one as well, and None is one."""
    if not isinstance(arg, (dict, list, tuple)) and len(jax.tree.leaves(arg)) == 1:
        return [gradient]
    return jax.tree.leaves(gradient, is_leaf=lambda leaf: leaf is None)
