"""How JAX's operations round: what each adds to the error of its result, by a rule of its own.

A rule gives two sizes of that error. The *usual* one is what rounding errors of random signs come
to: √n roundoffs of a sum's terms. The *worst* one is that of n errors of one sign: γₙ of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, JaxprEqn

from manual_bp.rounding.arithmetic import Arithmetic

ROOM_FOR_INPUTS = 1.0
"""How many roundings the inputs may be off: whoever scales q before the product rounds once."""


class Size(NamedTuple):
    """How large the rounding error of an operation is."""

    usual: Array
    worst: Array


class Units(NamedTuple):
    """The error of a function: units in the last place of its result, and of numbers near 1."""

    relative: float
    absolute: float = 0.0


FUNCTIONS = {
    "exp": Units(2),
    "exp2": Units(2),
    "log": Units(2),
    "log1p": Units(2, 1),
    "expm1": Units(2, 1),
    "tanh": Units(3, 1),
    "logistic": Units(3, 1),
    "erf": Units(3, 2),
    "erfc": Units(6, 1),
    "erf_inv": Units(8, 2),
    "sin": Units(2, 1),
    "cos": Units(2, 1),
    "tan": Units(4, 1),
    "asin": Units(4, 1),
    "acos": Units(4, 1),
    "atan": Units(3, 1),
    "atan2": Units(3, 1),
    "sinh": Units(4, 1),
    "cosh": Units(4),
    "asinh": Units(4, 1),
    "acosh": Units(4, 1),
    "atanh": Units(4, 1),
    "sqrt": Units(0.5),
    "rsqrt": Units(2),
    "cbrt": Units(2),
    "pow": Units(8),
    "lgamma": Units(16, 16),
    "digamma": Units(16, 16),
}
"""By primitive, the largest over the platforms, with room for the usual ways to write a function.

The second number is for those ways: tanh as 2σ(2z) − 1 is as far off near 0 as 1 has digits.
Sources: CUDA C++ Programming Guide, "Mathematical Functions" (expf, logf, rsqrtf, sinf, cosf at
most 2, powf 4, cbrtf 1, tanhf 2, erff 2, erfcf 4, log1pf and expm1f 1); for the CPU no table is
published, and a test holds this one to what the running platform computes.
"""

EXACT = {
    *("neg", "abs", "sign", "max", "min", "clamp", "select_n", "reduce_max", "reduce_min"),
    *("cummax", "cummin", "floor", "ceil", "round", "argsort", "sort", "top_k", "real", "copysign"),
    *("broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "rev", "expand_dims"),
    *("dynamic_slice", "dynamic_update_slice", "gather", "scatter", "concatenate", "pad", "split"),
    *("copy", "copy_p", "stop_gradient", "optimization_barrier", "convert_element_type", "iota"),
    *("reduce_precision", "select_and_gather_add", "reduce_window_max", "reduce_window_min"),
    *("device_put", "sharding_constraint", "mesh_cast", "create_token", "nextafter", "tile"),
    *("random_bits", "random_wrap", "random_unwrap", "bitcast_convert_type", "empty", "pbroadcast"),
}
"""What moves, chooses or keeps numbers, without a rounding."""

Rule = Callable[[Arithmetic, JaxprEqn, Sequence[Array], Array], Size]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def rounding_of(
    ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array
) -> Size | None:
    """What an operation adds to the error of its result; None for nothing.

    Below the normal numbers a result may be lost, unless it is 0 anyway.
    """
    name = eqn.primitive.name
    if name in EXACT or not is_float(output):
        return None
    size = RULES[name](ar, eqn, inputs, output)
    lost = jnp.where(output == 0, 0.0, ar.tiny)
    return Size(*(jnp.where(jnp.isfinite(one), one, 0) + lost for one in size))


def refuse_unknown(program: ClosedJaxpr) -> None:
    """Raise a ValueError that names the operations for which there is no rule."""
    names = {
        eqn.primitive.name
        for eqn in equations(program)
        if any(is_float(aval_of(out)) for out in eqn.outvars) and not inner_programs(eqn)
    }
    if unknown := sorted(names - EXACT - set(RULES) - set(FUNCTIONS)):
        raise ValueError(
            f"reference: it uses {', '.join(unknown)}, of which it is not known how it rounds; "
            f"write it with other operations of JAX. Known: "
            f"{', '.join(sorted(set(RULES) | set(FUNCTIONS)))}"
        )


def equations(program: ClosedJaxpr) -> list[JaxprEqn]:
    """Every operation, those of the programs within included."""
    found = []
    for eqn in program.jaxpr.eqns:
        found.append(eqn)
        for inner in inner_programs(eqn):
            found += equations(inner)
    return found


def inner_programs(eqn: JaxprEqn) -> list[ClosedJaxpr]:
    """The programs that a call, a loop or a branch runs."""
    if "branches" in eqn.params:
        return list(eqn.params["branches"])
    names = ("jaxpr", "call_jaxpr", "fun_jaxpr", "cond_jaxpr", "body_jaxpr")
    found = [eqn.params[name] for name in names if eqn.params.get(name) is not None]
    return [one if isinstance(one, ClosedJaxpr) else ClosedJaxpr(one, ()) for one in found]


def aval_of(atom: Any) -> Any:
    """The shape and the format of a variable or a constant of a program."""
    return atom.aval


def is_float(value: Any) -> bool:
    """Whether an array or its description is of real numbers that are rounded."""
    return bool(jnp.issubdtype(value.dtype, jnp.floating))


# ── The rules ────────────────────────────────────────────────────────────────────────────────────


def _one(size: Array) -> Size:
    """An operation that rounds once: both sizes are the same."""
    return Size(size, size)


@_rule("add", "sub", "add_any")
def _add(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    return _one(jnp.where((inputs[0] == 0) | (inputs[1] == 0), 0, ar.u * jnp.abs(output)))


@_rule("mul")
def _multiply(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    return _one(ar.u * jnp.abs(output))


@_rule("div", "rem")
def _divide(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    return _one(2 * ar.u * jnp.abs(output))  # as a product with the reciprocal


@_rule("integer_pow", "square")
def _whole_power(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    return _one(abs(eqn.params.get("y", 2)) * ar.u * jnp.abs(output))


def _function(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    """Units of the result; what its exponent's own rounding does, as in 2^(x·log₂e); near 1."""
    name, u = eqn.primitive.name, ar.u
    units = FUNCTIONS[name]
    exponent: Array | float = 0.0
    if name in ("exp", "exp2", "sinh", "cosh"):
        exponent = jnp.abs(inputs[0])
    elif name == "pow":
        exponent = jnp.abs(jnp.log(jnp.abs(inputs[0])) * inputs[1])
    exponent = jnp.where(output == 0, 0, exponent)
    fine = min(u, ar.accumulator)  # short formats are computed in float32 and rounded once
    inside = 2 * (units.relative + exponent) * jnp.abs(output) + 2 * units.absolute
    return _one(u * jnp.abs(output) + fine * inside)


RULES.update(dict.fromkeys(FUNCTIONS, _function))


def _sum(ar: Arithmetic, n: Any, absolute: Array, output: Array) -> Size:
    """The sum of n terms, given Σ|terms|, stored."""
    n, u = jnp.asarray(n, jnp.float64), ar.accumulator
    worst = jnp.where(n * u < 1, n * u / jnp.maximum(1 - n * u, u), jnp.inf)
    stored = ar.u * jnp.abs(output)
    many = n > 1
    return Size(
        stored + jnp.where(many, jnp.sqrt(n) * u * absolute, 0),
        stored + jnp.where(many & (absolute > 0), worst * absolute, 0),
    )


@_rule("reduce_sum")
def _reduce_sum(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    n = math.prod(inputs[0].shape[axis] for axis in eqn.params["axes"])
    return _sum(ar, n, jnp.abs(inputs[0]).sum(eqn.params["axes"]), output)


@_rule("cumsum", "cumlogsumexp", "cumprod", "reduce_prod")
def _running(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    name, n = eqn.primitive.name, inputs[0].size // max(output.size, 1)
    if name == "cumsum":
        n = inputs[0].shape[eqn.params["axis"]]
        return _sum(ar, n, _again(eqn, jnp.abs(inputs[0])), output)
    n = max(n, inputs[0].shape[eqn.params["axis"]] if "axis" in eqn.params else 1)
    return _one(4 * n * ar.u * jnp.abs(output))


@_rule("dot_general")
def _product(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    contracted = eqn.params["dimension_numbers"][0][0]
    n = math.prod(inputs[0].shape[axis] for axis in contracted)
    return _factors(ar, n, eqn, inputs, output)


@_rule("conv_general_dilated")
def _convolution(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    axis = eqn.params["dimension_numbers"].rhs_spec[0]
    return _factors(ar, inputs[1].size // inputs[1].shape[axis], eqn, inputs, output)


def _factors(ar: Arithmetic, n: int, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    """Sums of n products, whose factors a matrix unit may read with fewer digits."""
    absolute = _again(eqn, *map(jnp.abs, inputs))
    size = _sum(ar, n, absolute, output)
    if not ar.product:
        return size
    read = ar.product * (2 + ar.product)
    rough = read * jnp.sqrt(_again(eqn, *(jnp.square(one) for one in inputs)))
    return Size(size.usual + rough, size.worst + read * absolute)


@_rule("reduce_window_sum")
def _window(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    n = math.prod(eqn.params["window_dimensions"])
    return _sum(ar, n, _again(eqn, jnp.abs(inputs[0])), output)


@_rule("scatter-add", "scatter_add")
def _scatter_add(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    into, where, updates = inputs
    n = 1 + _again(eqn, jnp.zeros_like(into), where, jnp.ones_like(updates))
    return _sum(ar, n, _again(eqn, jnp.abs(into), where, jnp.abs(updates)), output)


@_rule("select_and_scatter_add")
def _pooled(ar: Arithmetic, eqn: JaxprEqn, inputs: Sequence[Array], output: Array) -> Size:
    n = math.prod(eqn.params["window_dimensions"])
    return _sum(ar, n, _again(eqn, jnp.abs(inputs[0]), inputs[1]), output)


def _again(eqn: JaxprEqn, *inputs: Any) -> Array:
    """The same operation on other numbers."""
    out: Array = bind(eqn, inputs)[0]
    return out


def bind(eqn: JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    """An operation applied, with all real numbers in float64, whatever it was written for."""
    out = eqn.primitive.bind(*inputs, **in_float64(eqn))
    each = list(out) if eqn.primitive.multiple_results else [out]
    return [one.astype(jnp.float64) if is_float(one) else one for one in each]


def in_float64(eqn: JaxprEqn) -> dict[str, Any]:
    """An operation's parameters with float64 for every other format of real numbers."""
    wide: dict[str, Any] = {}
    if eqn.primitive.name == "bitcast_convert_type":  # as random bits become numbers
        return eqn.params
    for name in ("new_dtype", "preferred_element_type", "dtype"):
        dtype = eqn.params.get(name)
        if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
            wide[name] = np.dtype(np.float64)
    return {**eqn.params, **wide}
