"""How far rounding may take any program: what is usual, and the worst."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from manual_bp.rounding.arithmetic import arithmetic_of
from manual_bp.rounding.certificate import Exactly, RoundingErrors, run

AR = arithmetic_of("float32", precision="highest", platform="cpu")
U = 2.0**-24
KEY = jax.random.key(0)


def errors_of(function, *inputs, ar=AR):
    with jax.enable_x64(True):
        wide = [np.asarray(one, np.float64) for one in inputs]
        errors = RoundingErrors(jax.make_jaxpr(lambda *x: [function(*x)])(*wide), ar)
        right, usual = errors.usual(wide, KEY)
        return errors, wide, right[0], usual[0]


def worst(errors, wide, *index):
    with jax.enable_x64(True):
        return errors.worst(wide, 0, index)


def test_the_worst_of_a_difference_is_the_sum_of_its_roundings():
    errors, wide, _, usual = errors_of(lambda x, y: x - y, [3.0], [2.0])
    # Each input one rounding off, and the difference itself rounded.
    np.testing.assert_allclose(worst(errors, wide, 0), U * (3 + 2 + 1), rtol=1e-6)
    assert 0 < usual[0] < U * 6


def test_a_rounding_is_carried_by_what_depends_on_it():
    errors, wide, _, _ = errors_of(lambda x: jnp.square(x) * 1000.0, [3.0])
    # x² is off by 2·3·(3u) and 2u·9; both, and the product's own rounding, times 1000.
    np.testing.assert_allclose(worst(errors, wide, 0), 1000 * U * (18 + 18 + 9), rtol=1e-6)


def test_a_constant_that_few_digits_hold_is_exact_and_another_is_not():
    half, _, _, _ = errors_of(lambda x: x * 0.5, [1.0])
    tenth, _, _, _ = errors_of(lambda x: x * 0.1, [1.0])
    np.testing.assert_allclose(worst(half, [np.ones(1)], 0), U * (0.5 + 0.5), rtol=1e-6)
    np.testing.assert_allclose(worst(tenth, [np.ones(1)], 0), U * 0.3, rtol=1e-6)


def test_a_comparison_within_its_error_goes_either_way():
    near = np.array([1.0 + 1e-9, 2.0])
    _, _, right, usual = errors_of(lambda x: jnp.where(x * 1.0 > 1.0, 5.0, 0.0) * x, near)
    np.testing.assert_allclose(right, [5.0, 10.0], rtol=1e-6)
    assert usual[0] > 1  # a jump of 5 in half of the samples
    assert usual[1] < 1e-5


def test_a_mask_of_random_bits_is_the_same_for_everybody():
    short = arithmetic_of("bfloat16", precision="highest", platform="cpu")
    draw = lambda x: jax.random.bernoulli(jax.random.key(0), 0.9, x.shape)  # noqa: E731
    x = np.ones(500)
    _, _, _, usual = errors_of(lambda x: jnp.where(draw(x), x, 0.0), x, ar=short)
    assert usual.max() < 0.01  # no element is kept in one sample and not in another


def test_equal_numbers_stay_equal_where_they_are_the_same_number():
    x = np.array([[1.0, 1.0 + 1e-3, 0.5]])
    _, _, _, usual = errors_of(lambda x: jnp.where(x == x.max(-1, keepdims=True), 5.0, 0.0), x)
    assert usual.max() < 1e-5


@pytest.mark.parametrize("within", ["scan", "while", "cond", "jit", "checkpoint", "custom_vjp"])
def test_loops_branches_and_calls_are_entered(within):
    def thrice(x):
        return jnp.exp(jnp.sin(x))

    def function(x):
        match within:
            case "scan":
                return lax.scan(lambda h, _: (thrice(h), h), x, length=3)[0]
            case "while":
                return lax.while_loop(
                    lambda s: s[0] < 3, lambda s: (s[0] + 1, thrice(s[1])), (0, x)
                )[1]
            case "cond":
                return lax.cond(x[0] > 0, lambda x: thrice(thrice(thrice(x))), jnp.cos, x)
            case "jit":
                return jax.jit(lambda x: thrice(thrice(thrice(x))))(x)
            case "checkpoint":
                return jax.checkpoint(lambda x: thrice(thrice(thrice(x))))(x)
        rule = jax.custom_vjp(lambda x: thrice(thrice(thrice(x))))
        rule.defvjp(lambda x: (rule(x), x), lambda x, g: (g,))
        return rule(x)

    x = np.array([0.3, 0.9])
    plain, wide, expected, usual = errors_of(lambda x: thrice(thrice(thrice(x))), x)
    errors, _, right, ours = errors_of(function, x)
    np.testing.assert_allclose(right, expected, rtol=1e-14)
    assert (ours > usual / 3).all()
    assert (ours < usual * 3).all()
    if within == "while":
        assert worst(errors, wide, 0) is None
    elif within != "custom_vjp":
        np.testing.assert_allclose(worst(errors, wide, 0), worst(plain, wide, 0), rtol=1e-6)


def test_a_program_written_for_float32_is_run_in_float64():
    with jax.enable_x64(True):
        program = jax.make_jaxpr(lambda x: [(x.astype(jnp.float32) * 3).astype(jnp.bfloat16)])(
            np.ones(1)
        )
        (out,) = run(program, [np.array([1 + 1e-12])], Exactly())
    np.testing.assert_allclose(out, [3 + 3e-12], rtol=1e-15)


def test_what_is_usual_is_what_float32_does():
    draw = np.random.default_rng(1)
    x, w = draw.standard_normal((50, 40)), draw.standard_normal((40, 30)) / 6

    def function(x, w):
        return jnp.tanh(x @ w) / (1 + jnp.square(x @ w).sum(-1, keepdims=True))

    x, w = (one.astype(np.float32) for one in (x, w))
    _, _, right, usual = errors_of(function, x, w)
    got = np.asarray(jax.jit(function)(x, w), np.float64)
    ratio = np.sqrt(np.mean(np.square((got - right) / usual)))
    assert 0.02 < ratio < 2
