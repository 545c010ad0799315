"""How JAX's operations round: every rule held to what the running platform computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from manual_bp.rounding.arithmetic import arithmetic_of
from manual_bp.rounding.certificate import Exactly, run
from manual_bp.rounding.operations import (
    EXACT,
    FUNCTIONS,
    RULES,
    Size,
    equations,
    refuse_unknown,
    rounding_of,
)

RANGES = {
    **dict.fromkeys(("log", "sqrt", "rsqrt", "acosh", "lgamma", "digamma"), (1.0, 60.0)),
    **dict.fromkeys(("asin", "acos", "atanh", "erf_inv"), (-0.99, 0.99)),
    "log1p": (-0.9, 30.0),
    "tan": (-1.5, 1.5),
}
TWO = ("pow", "atan2")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_is_as_near_as_its_units_say(name):
    low, high = RANGES.get(name, (-12.0, 12.0))
    x = np.random.default_rng(0).uniform(low, high, 4000).astype(np.float32)
    inputs = (np.abs(x), x[::-1].copy()) if name in TWO else (x,)
    function = getattr(lax, name)
    got = np.asarray(jax.jit(function)(*inputs), np.float64)
    with jax.enable_x64(True):
        program = jax.make_jaxpr(function)(*(np.asarray(one, np.float64) for one in inputs))
        wide = [np.asarray(one, np.float64) for one in inputs]
        (right,) = run(program, wide, Exactly())
        eqn = next(eqn for eqn in equations(program) if eqn.primitive.name == name)
        size = rounding_of(cpu(), eqn, wide, right)
    assert (np.abs(got - np.asarray(right)) <= np.asarray(size.worst)).all()


def cpu(dtype="float32", **changes):
    return arithmetic_of(dtype, precision="highest", platform="cpu")._replace(**changes)


def size_of(function, *inputs, ar=None):
    """The rounding error of a function of one operation."""
    with jax.enable_x64(True):
        wide = [np.asarray(one, np.float64) for one in inputs]
        program = jax.make_jaxpr(function)(*wide)
        (eqn,) = equations(program)
        (out,) = run(program, wide, Exactly())
        size = rounding_of(ar or cpu(), eqn, wide, out)
        return size and Size(*map(np.asarray, size))


def test_a_sum_errs_by_every_addition_at_worst_and_by_their_root_usually():
    x = np.full(64, 0.5)
    size, u = size_of(lambda x: lax.reduce_sum_p.bind(x, axes=(0,), out_sharding=None), x), 2.0**-24
    np.testing.assert_allclose(size.usual, u * 32 + 8 * u * 32, rtol=1e-6)
    np.testing.assert_allclose(size.worst, u * 32 + 64 * u / (1 - 64 * u) * 32, rtol=1e-6)


def test_a_product_reads_its_factors_as_the_matrix_unit_does():
    A, B = np.ones((2, 8)), np.ones((8, 3))
    whole = size_of(lambda a, b: a @ b, A, B)
    short = size_of(lambda a, b: a @ b, A, B, ar=cpu(product=2.0**-11))
    assert (short.worst - whole.worst >= 8 * 2 * 2.0**-11).all()
    assert (short.usual < short.worst).all()


def test_what_moves_or_chooses_numbers_adds_no_error():
    x = np.ones((2, 3))
    assert size_of(lambda x: x.T, x) is None
    assert size_of(lambda x: lax.neg(x), x) is None
    assert size_of(lambda x: lax.gt(x, x), x) is None
    assert not EXACT & (set(RULES) | set(FUNCTIONS))


def test_an_addition_of_zero_is_exact_and_a_zero_is_not_lost_below_the_normal_numbers():
    zero, one = np.zeros(3), np.ones(3)
    assert (size_of(lax.add, one, zero).worst <= 2 * cpu().tiny).all()
    assert not size_of(lax.mul, one, zero).worst.any()


def test_short_formats_compute_a_function_in_float32_and_round_it_once():
    size = size_of(lax.exp, np.zeros(1), ar=cpu("bfloat16"))
    assert 2.0**-8 <= size.worst[0] < 1.001 * 2.0**-8


def test_an_operation_without_a_rule_is_refused_by_name():
    with jax.enable_x64(True):
        program = jax.make_jaxpr(lambda x: jnp.fft.rfft(x).real + lax.bessel_i1e(x)[0])(np.ones(4))
    with pytest.raises(ValueError, match=r"reference: it uses .*bessel_i1e.*write it with other"):
        refuse_unknown(program)
