"""How far rounding may take any program of JAX: how far it usually goes, and the worst it can.

The *usual* error is measured by Monte-Carlo arithmetic (Parker, *Monte Carlo Arithmetic*, 1997):
the program runs a few times with every rounding replaced by a random one. The *worst* error of one
value is certified to first order: the sum over every rounding of its size times how steeply the
value depends on it, all of which one reverse pass gives.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from manual_bp.rounding.arithmetic import Arithmetic
from manual_bp.rounding.operations import (
    ROOM_FOR_INPUTS,
    aval_of,
    bind,
    equations,
    inner_programs,
    is_float,
    rounding_of,
)

SAMPLES = 16
SAFETY = 8  # how many usual errors a right value may be off
OUTSIDE = 1 << 20  # numbers of keys that no operation has
_ODD = 0x9E3779B9  # 2³² over the golden ratio: its multiples lie far apart
COMPARISONS = ("gt", "lt", "ge", "le", "eq", "ne")
THE_SAME = (*COMPARISONS, "max", "min", "reduce_max", "reduce_min", "argmax", "argmin", "sort")
"""What reads a value to choose one: it has to be the value that is used elsewhere."""


class Seed(NamedTuple):
    """Where the random numbers of one part of a program come from.

    Attributes:
        drawn: a number that changes from sample to sample, and from turn to turn of a loop.
        part: which part of the program it is.
    """

    drawn: Any
    part: int = 0

    def of(self, n: Any) -> "Seed":
        """That of the n-th part, or of a loop's i-th turn."""
        if isinstance(n, int):
            return self._replace(part=(_ODD * (self.part + n + 1) ^ self.part >> 15) % 2**32)
        return self._replace(drawn=_mixed(self.drawn + n.astype(jnp.uint32)))

    def signs(self, shape: tuple[int, ...]) -> Array:
        """True or False for each element."""
        numbers = lax.iota(jnp.uint32, math.prod(shape)) * np.uint32(_ODD)
        start = _mixed(jnp.asarray(self.drawn, jnp.uint32) + np.uint32(self.part))
        return (_mixed(numbers + start) & 1).astype(bool).reshape(shape)


SEED = Seed(np.uint32(0))


class Reader(Protocol):
    """How a program is run: what its values are, and what each operation makes of them."""

    def constant(self, value: Any, seed: Seed) -> Any:
        """A number that stands in the program."""

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""

    def plain(self, value: Any) -> Array:
        """A value as an array, for a loop's condition or the choice of a branch."""


def run(
    program: ClosedJaxpr, inputs: Sequence[Any], reader: Reader, seed: Seed = SEED
) -> list[Any]:
    """A program's results, every operation done by a reader, calls and loops entered."""
    values: dict[Any, Any] = {}

    def read(atom: Any, seed: Seed) -> Any:
        if isinstance(atom, Literal):
            return reader.constant(_wide(jnp.asarray(atom.val, aval_of(atom).dtype)), seed)
        return values[atom]

    for n, (name, value) in enumerate(zip(program.jaxpr.constvars, program.consts, strict=True)):
        values[name] = reader.constant(_wide(jnp.asarray(value)), seed.of(OUTSIDE + n))
    values.update(zip(program.jaxpr.invars, inputs, strict=True))
    for n, eqn in enumerate(program.jaxpr.eqns):
        ours = seed.of(n)
        given = [read(atom, ours.of(i)) for i, atom in enumerate(eqn.invars)]
        values.update(zip(eqn.outvars, _applied(eqn, given, reader, ours), strict=True))
    return [read(atom, seed) for atom in program.jaxpr.outvars]


def _wide(value: Array) -> Array:
    return value.astype(jnp.float64) if is_float(value) else value


def _applied(eqn: JaxprEqn, inputs: list[Any], reader: Reader, seed: Seed) -> list[Any]:
    match eqn.primitive.name:
        case "scan":
            return _scan(eqn, inputs, reader, seed)
        case "while":
            return _while(eqn, inputs, reader, seed)
        case "cond":
            branches = [
                partial(lambda branch, *given: run(branch, given, reader, seed), branch)
                for branch in eqn.params["branches"]
            ]
            out: list[Any] = lax.switch(reader.plain(inputs[0]), branches, *inputs[1:])
            return out
    if inner := inner_programs(eqn):
        return run(inner[0], inputs, reader, seed)
    return reader.apply(eqn, inputs, seed)


def _scan(eqn: JaxprEqn, inputs: list[Any], reader: Reader, seed: Seed) -> list[Any]:
    consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    fixed, start, over = inputs[:consts], inputs[consts : consts + carry], inputs[consts + carry :]
    length = eqn.params["length"]

    def step(state: Any, now: Any) -> Any:
        i, xs = now
        out = run(eqn.params["jaxpr"], [*fixed, *state, *xs], reader, seed.of(i))
        return out[:carry], out[carry:]

    last, stacked = lax.scan(
        step, start, (jnp.arange(length), over), length=length, reverse=eqn.params["reverse"]
    )
    return [*last, *stacked]


def _while(eqn: JaxprEqn, inputs: list[Any], reader: Reader, seed: Seed) -> list[Any]:
    of_cond, of_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    cond, body = inputs[:of_cond], inputs[of_cond : of_cond + of_body]

    def goes_on(state: Any) -> Array:
        _, values = state
        return reader.plain(run(eqn.params["cond_jaxpr"], [*cond, *values], reader, seed)[0])

    def step(state: Any) -> Any:
        i, values = state
        inner = seed.of(i)
        return i + 1, run(eqn.params["body_jaxpr"], [*body, *values], reader, inner)

    start = (jnp.zeros((), jnp.int32), inputs[of_cond + of_body :])
    out: list[Any] = lax.while_loop(goes_on, step, start)[1]
    return out


# ── As it is ─────────────────────────────────────────────────────────────────────────────────────


class Exactly:
    """A program run in float64."""

    def constant(self, value: Any, seed: Seed) -> Any:
        """A number of the program."""
        return value

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""
        return bind(eqn, inputs)

    def plain(self, value: Any) -> Array:
        """The value as an array."""
        return jnp.asarray(value)


class Sizes:
    """How far rounding takes each result, by its identity, which holds as long as it is kept."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Any, Any]] = {}
        self.used: set[int] = set()

    def keep(self, value: Any, size: Any) -> None:
        """Note the size of a result's rounding."""
        self.kept[id(value)] = value, size

    def of(self, value: Any) -> Any:
        """The size that was noted."""
        return self.kept[id(value)][1]

    def used_again(self, value: Any) -> bool:
        """Whether a result whose size is known has been used before."""
        if id(value) not in self.kept:
            return False
        before = id(value) in self.used
        self.used.add(id(value))
        return before


# ── Monte-Carlo arithmetic ───────────────────────────────────────────────────────────────────────


class Sample(NamedTuple):
    """A value as it is, and with random roundings."""

    right: Array
    noisy: Array


class Randomly:
    """A program run with random roundings.

    A comparison of numbers that lie within their errors may go either way: where `turned`, it goes
    the other way, and else as it does without an error. Numbers that are made of random bits, such
    as those of a dropout's mask, are the same for everybody, and so is what they are compared with.
    """

    def __init__(self, arithmetic: Arithmetic, turned: Array) -> None:
        self.arithmetic, self.turned = arithmetic, turned
        self.of_bits: dict[int, Array] = {}  # by identity, which holds as long as they are kept
        self.sizes = Sizes()

    def constant(self, value: Any, seed: Seed) -> Sample:
        """A number of the program."""
        if not is_float(value):
            return Sample(value, value)
        return Sample(value, value + _random(seed, _of_constant(self.arithmetic, value)))

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""
        right = bind(eqn, [one.right for one in inputs])
        if self._is_of_bits(eqn, inputs):
            self.of_bits.update((id(one), one) for one in right)
            return [Sample(one, one) for one in right]
        given = [self._used(eqn, one.noisy, seed.of(OUTSIDE + k)) for k, one in enumerate(inputs)]
        noisy = bind(eqn, given)
        if eqn.primitive.name in COMPARISONS and is_float(given[0]):
            noisy = [self._compared(right[0], *inputs)]
        else:
            for n, out in enumerate(noisy):
                size = rounding_of(self.arithmetic, eqn, given, out)
                if size is not None:
                    noisy[n] = out + _random(seed.of(n), size.usual)
                    self.sizes.keep(noisy[n], size.usual)
        return [Sample(*both) for both in zip(right, noisy, strict=True)]

    def _used(self, eqn: JaxprEqn, value: Array, seed: Seed) -> Array:
        """A value as one operation reads it; a right program may compute it anew for a second."""
        if eqn.primitive.name in THE_SAME or not self.sizes.used_again(value):
            return value
        return value + _random(seed, self.sizes.of(value))

    def _is_of_bits(self, eqn: JaxprEqn, inputs: Sequence[Any]) -> bool:
        if eqn.primitive.name == "bitcast_convert_type":
            return is_float(aval_of(eqn.outvars[0]))
        floats = [one.noisy for one in inputs if is_float(one.noisy)]
        known = [id(one) in self.of_bits for one in floats]
        return any(known) and all(
            is_known or jnp.size(one) == 1 for one, is_known in zip(floats, known, strict=True)
        )

    def _compared(self, right: Array, a: Sample, b: Sample) -> Array:
        apart = a.right - b.right
        off = jnp.abs(a.noisy - b.noisy - apart)
        either = (off > 0) & (jnp.abs(apart) <= SAFETY * off)
        return jnp.where(either & self.turned, ~right, right)

    def plain(self, value: Any) -> Array:
        """The value as an array."""
        noisy: Array = value.noisy
        return noisy


def _of_constant(ar: Arithmetic, value: Array) -> Array:
    """How far a constant may be off: not at all where a few binary digits hold it, as they do ½."""
    mantissa = jnp.frexp(value)[0] * (1 / ar.u)
    return jnp.where(mantissa == jnp.round(mantissa), 0.0, ar.u * jnp.abs(value))


def _random(seed: Seed, size: Array) -> Array:
    """An error of random sign, with the variance of one that is uniform within its size."""
    return jnp.where(seed.signs(jnp.shape(size)), size, -size) / np.sqrt(3)


def _mixed(bits: Array) -> Array:
    """Every bit of the result depends on every bit given.

    A sign for each of millions of roundings is wanted, and nobody guesses at it: the finaliser of
    MurmurHash3 (Appleby, 2011) is compiled in a tenth of the time that `jax.random` takes.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(factor)
    return bits ^ (bits >> 16)


def _exactly(program: ClosedJaxpr, *inputs: Array) -> list[Array]:
    return run(program, inputs, Exactly())


def _squares(
    program: ClosedJaxpr,
    ar: Arithmetic,
    total: list[Array],
    right: list[Array],
    turned: Array,
    drawn: Array,
    *inputs: Array,
) -> list[Array]:
    """The squared errors of one more sample, added up."""
    given, seed = [], Seed(drawn)
    for n, value in enumerate(inputs):
        size = ROOM_FOR_INPUTS * ar.u * jnp.abs(value) if is_float(value) else None
        off = value if size is None else value + _random(seed.of(OUTSIDE + n), size)
        given.append(Sample(value, off))
    out = run(program, given, Randomly(ar, turned), seed)
    return [
        so_far + jnp.square(jnp.where(jnp.isfinite(exact), one.noisy - exact, 0))
        for so_far, one, exact in zip(total, out, right, strict=True)
    ]


# ── The certificate ──────────────────────────────────────────────────────────────────────────────


@jax.custom_vjp
def _noted(value: Array, size: Array, total: Array) -> Array:
    """The value itself; the slope of `total` becomes Σ |∂result/∂value| · size."""
    return value


_noted.defvjp(
    lambda value, size, total: (value, size),
    lambda size, slope: (slope, jnp.zeros_like(size), jnp.sum(jnp.abs(slope) * size)),
)


class Noting:
    """A program run in float64, the size of every rounding noted for the way back."""

    def __init__(self, arithmetic: Arithmetic, total: Array) -> None:
        self.arithmetic, self.total = arithmetic, total
        self.sizes = Sizes()

    def constant(self, value: Any, seed: Seed) -> Any:
        """A number of the program."""
        if not is_float(value):
            return value
        return _noted(value, _of_constant(self.arithmetic, value), self.total)

    def apply(self, eqn: JaxprEqn, inputs: Sequence[Any], seed: Seed) -> list[Any]:
        """The results of one operation."""
        used = [
            value
            if eqn.primitive.name in THE_SAME or not self.sizes.used_again(value)
            else _noted(value, self.sizes.of(value), self.total)
            for value in inputs
        ]
        out = bind(eqn, used)
        for n, one in enumerate(out):
            size = rounding_of(self.arithmetic, eqn, lax.stop_gradient(inputs), one)
            if size is not None:
                worst = lax.stop_gradient(size.worst)
                out[n] = _noted(one, worst, self.total)
                self.sizes.keep(out[n], worst)
        return out

    def plain(self, value: Any) -> Array:
        """The value as an array."""
        return jnp.asarray(value)


class RoundingErrors:
    """How far rounding may take the results of one program in one arithmetic, at any inputs."""

    def __init__(self, program: ClosedJaxpr, arithmetic: Arithmetic) -> None:
        self.program, self.arithmetic = program, arithmetic
        self._exact = jax.jit(partial(_exactly, program))
        self._sample = jax.jit(partial(_squares, program, arithmetic))
        self._slope = jax.jit(partial(_worst, program, arithmetic))

    def usual(self, inputs: Sequence[Array], key: Array) -> tuple[list[Any], list[Any]]:
        """The results in float64, and how far rounding usually takes each of their values.

        The inputs may be one rounding off.
        """
        right = self._exact(*inputs)
        total = [jnp.zeros(jnp.shape(one)) for one in right]
        for n, one in enumerate(jax.random.bits(key, (SAMPLES,), jnp.uint32)):
            total = self._sample(total, right, n % 2 == 1, one, *inputs)
        return list(map(np.asarray, right)), [np.sqrt(np.asarray(one) / SAMPLES) for one in total]

    def worst(self, inputs: Sequence[Array], which: int, index: tuple[int, ...]) -> float | None:
        """The worst error of one value of one result, to first order.

        None for a program with a loop of unknown length, which cannot be run backwards.
        """
        if any(eqn.primitive.name == "while" for eqn in equations(self.program)):
            return None
        results = self.program.jaxpr.outvars
        chosen = [np.zeros(aval_of(one).shape) for one in results]
        chosen[which][index] = 1.0
        return float(self._slope(chosen, *inputs))


def _worst(program: ClosedJaxpr, ar: Arithmetic, chosen: list[Array], *inputs: Array) -> Array:
    """Σ over every rounding: its size, times how steeply the chosen value depends on it."""

    def results(total: Array) -> list[Array]:
        given = [
            _noted(value, ROOM_FOR_INPUTS * ar.u * jnp.abs(value), total)
            if is_float(value)
            else value
            for value in inputs
        ]
        return run(program, given, Noting(ar, total))

    _, pull = jax.vjp(results, jnp.zeros(()))
    slope: Array = pull(chosen)[0]
    return slope
