"""A user's own σ and C, held to what they claim before a network takes them.

σ′ is compared with automatic differentiation of σ, and a cost's gradient or delta with that of its
value, in float64 at irregular points. Each object is looked at once. A wrong one is told as the
user's, at the point where it shows; in `compare` it would look like a wrong backward pass.
"""

from functools import lru_cache
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.activations import Activation
from manual_bp.checks import kind
from manual_bp.costs import Cost
from manual_bp.surroundings import check_process, judging

# No kink, no extreme and no round number is among them.
_SIZES = (
    1.3e-3,
    0.0173,
    0.1127,
    0.3719,
    0.8317,
    1.2943,
    2.1391,
    3.7171,
    6.3137,
    11.731,
    23.17,
    57.9,
)
POINTS = np.array([[s, -s * 1.0371] for s in _SIZES]).reshape(-1, 4)

NEAR = 1e-7
"""Of its size, what a derivative may be off: far more than float64's rounding of a few operations,
far less than a mistake."""


def no_function(*arrays: Any) -> NoReturn:
    """Stands for a function that a file holds the name of, and no more."""
    raise TypeError("a file holds the name of this function alone")


@lru_cache(maxsize=1024)
def activation_problem(sigma: Activation) -> str | None:
    """What is wrong with a user's own σ, in one sentence; None where nothing is."""
    if sigma.built_in or sigma.sigma is no_function:
        return None
    check_process()
    with jax.ensure_compile_time_eval(), judging():
        return _form_problem(sigma) or _slope_problem(sigma)


@lru_cache(maxsize=1024)
def cost_problem(cost: Cost, output: Activation, n: int) -> str | None:
    """What is wrong with a user's own C of n outputs of this σ; None where nothing is."""
    if cost.built_in or no_function in (cost.value, output.sigma):
        return None
    check_process()
    with jax.ensure_compile_time_eval(), judging(), jax.enable_x64(True):
        return _cost_problem(cost, output, n)


# ── σ ────────────────────────────────────────────────────────────────────────────────────────────


def _form_problem(sigma: Activation) -> str | None:
    """Of shape, dtype, or of one element's dependence on another."""
    with jax.enable_x64(False):
        z = jax.ShapeDtypeStruct(POINTS.shape, "float32")
        for symbol, of in (("σ", sigma.sigma), ("σ′", sigma.sigma_prime)):
            try:
                a = jax.eval_shape(of, z)
            except Exception as error:  # whatever it may raise
                return f"the {symbol} of your {sigma.name!r} raised {_said(error)}"
            if getattr(a, "shape", None) != z.shape or getattr(a, "dtype", None) != z.dtype:
                got = f"{a.dtype} {a.shape}" if hasattr(a, "dtype") else f"a {kind(a)}"
                return (
                    f"the {symbol} of your {sigma.name!r} must be element-wise, with shape and "
                    f"dtype kept: for float32 {z.shape} it gives {got}; write it with jax.numpy, "
                    f"and constants as Python numbers"
                )
    return None


def _slope_problem(sigma: Activation) -> str | None:
    def values(z: Any) -> Any:
        every_other = jnp.indices(z.shape).sum(axis=0) % 2 == 1
        a = sigma.sigma(z)
        return a, sigma.prime(z, a), sigma.sigma(jnp.where(every_other, z / 2, z)), every_other

    def derivatives(z: Any) -> Any:
        a, pull = jax.vjp(sigma.sigma, z)
        return pull(jnp.ones_like(a))[0], sigma.sigma_prime(a if sigma.of == "z" else z)

    with jax.enable_x64(True):
        a, prime, again, moved = map(np.asarray, jax.jit(values)(jnp.asarray(POINTS)))
        try:
            truth, as_other = map(np.asarray, jax.jit(derivatives)(jnp.asarray(POINTS)))
        except Exception:  # whatever it may raise: JAX cannot differentiate it
            return None
    finite = np.isfinite(a)
    if (~moved & finite & np.isfinite(again) & ~_near(again, a)).any():
        return (
            f"the σ of your {sigma.name!r} is not element-wise: one of its values depends on "
            f"another z; of such functions softmax alone is built in"
        )
    told = finite & np.isfinite(truth)
    least = min(1.0, np.abs(truth, where=told, out=np.zeros_like(truth)).max())
    wrong = told & ~_near(prime, truth, least)
    if not wrong.any():
        return None
    at, got, right = _nearest_to_one(wrong, POINTS, (POINTS, prime, truth))
    fix = "correct σ′, or take a built-in σ"
    if _near(as_other, truth, least)[told].all():
        other = "a" if sigma.of == "z" else "z"
        fix = f"it is the derivative as a function of {other}: say of={other!r}"
    return (
        f"the σ′ of your {sigma.name!r} is not the derivative of its σ: at z = {at:.4g} it gives "
        f"{got:.6g}, and the derivative is {right:.6g}; {fix}"
    )


# ── C ────────────────────────────────────────────────────────────────────────────────────────────


def _cost_problem(cost: Cost, output: Activation, n: int) -> str | None:
    z = jnp.asarray(np.resize(POINTS.ravel()[:14], 7 * n).reshape(7, n) / 1.7)
    problem = None
    for y in _targets(cost, output, z):
        problem = _mismatch(cost, output, z, y)
        if problem is None:  # what holds for one kind of targets is not refused
            return None
    return problem


def _targets(cost: Cost, output: Activation, z: Any) -> list[Any]:
    """Targets of several kinds, those within the cost's range; one at least."""
    m, n = z.shape
    rng = np.random.default_rng(0)
    low, high = cost.targets
    ends = max(low, -1.0), min(high, 1.0)
    one_hot = np.eye(n)[np.arange(m) % n]
    kinds = [one_hot] if output.name == "softmax" else []
    if high > low:
        kinds.append(rng.uniform(max(low, -1.3), min(high, max(low, -1.3) + 2.6), (m, n)))
    kinds += [one_hot, rng.choice([-1.0, 1.0], (m, n)), rng.choice(ends, (m, n))]
    within = [y for y in kinds if low <= y.min() and y.max() <= high]
    return [jnp.asarray(y) for y in within or [np.full((m, n), low)]]


def _mismatch(cost: Cost, output: Activation, z: Any, y: Any) -> str | None:
    a = output(z)
    inputs = z if cost.of == "z" else a
    try:
        value = cost.value(inputs, y)
    except Exception as error:  # whatever it may raise
        return f"the value of your {cost.name!r} raised {_said(error)}"
    if jnp.shape(value) != y.shape[:1]:
        return (
            f"the value of your {cost.name!r} must be one number for each example, of shape "
            f"{y.shape[:1]} for outputs of {y.shape}, got {jnp.shape(value)}; sum over the "
            f"outputs with .sum(axis=-1)"
        )
    formula, what = (cost.delta, "delta") if cost.delta else (cost.gradient, "gradient")
    assert formula is not None  # Network has seen to it
    try:
        got = formula(a, y)
    except Exception as error:  # whatever it may raise
        return f"the {what} of your {cost.name!r} raised {_said(error)}"
    if jnp.shape(got) != y.shape:
        return (
            f"the {what} of your {cost.name!r} must have the shape of the outputs, {y.shape}, got "
            f"{jnp.shape(got)}"
        )
    through_sigma = cost.delta is not None or cost.of == "z"
    if cost.delta is None and through_sigma:
        got = output.pull_back(got, z, a)

    def total(v: Any) -> Any:
        return cost.value(output(v) if through_sigma and cost.of == "a" else v, y).sum()

    try:
        truth = jax.grad(total)(z if through_sigma else a)
    except Exception:  # whatever it may raise: JAX cannot differentiate it
        return None
    arrays: tuple[Any, ...] = tuple(map(np.asarray, (a, y, got, truth)))
    a, y, got, right = arrays
    told = np.isfinite(a) & np.isfinite(got) & np.isfinite(right) & (a != y)
    least = min(1.0, np.abs(right, where=told, out=np.zeros_like(right)).max())
    wrong = told & ~_near(got, right, least)
    if not wrong.any():
        return None
    a_i, y_i, got_i, right_i = _nearest_to_one(wrong, np.asarray(z), arrays)
    of = f"its value of σ(z), with σ = {output}" if through_sigma else "its value"
    return (
        f"the {what} of your {cost.name!r} is not the derivative of {of}: at a = {a_i:.4g}, "
        f"y = {y_i:.4g} it gives {got_i:.6g}, and the derivative is {right_i:.6g}; correct it, "
        f"and leave the mean's 1/m to the library"
    )


def _near(got: Any, right: Any, least: float = 1e-3) -> Any:
    """Whether they differ by rounding alone; infinity and NaN are near to nothing."""
    with np.errstate(invalid="ignore"):
        return np.abs(got - right) <= NEAR * (np.abs(right) + least)


def _nearest_to_one(wrong: Any, z: Any, arrays: tuple[Any, ...]) -> list[float]:
    """Of the wrong elements that of the |z| nearest to 1, where σ is easiest to picture."""
    i = int(np.where(wrong, np.abs(np.log(np.abs(z))), np.inf).argmin())
    return [float(array.ravel()[i]) for array in arrays]


def _said(error: Exception) -> str:
    return f"{kind(error)}: {(str(error).splitlines() or [''])[0][:200]}"
