"""How an argument is refused: each check in its one place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp.checks import Problems, float_dtype, jax_dtype, nearest, random_key, whole_number


def only(problems):
    (error,) = problems.found
    return error


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_a_whole_number(value):
    problems = Problems()
    found = whole_number("epochs", value, 1, problems)
    assert (found, type(found), problems.found) == (3, int, [])


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError), ("3", TypeError)],
)
def test_no_whole_number(value, kind):
    problems = Problems()
    assert whole_number("epochs", value, 1, problems) is None
    assert type(only(problems)) is kind
    assert str(only(problems)) == f"epochs: expected a whole number ≥ 1, got {value!r}"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("bfloat16", "bfloat16"),
        (jnp.bfloat16, "bfloat16"),
        (np.float16, "float16"),
        (np.dtype(">f4"), "float32"),
        ("float64", "float64"),  # with or without JAX's 64-bit types
    ],
)
def test_a_float_dtype(dtype, name):
    problems = Problems()
    found = float_dtype("dtype", dtype, problems)
    assert (found.name, found.isnative, problems.found) == (name, True, [])


@pytest.mark.parametrize("dtype", [None, "int32", "complex64", "float8_e4m3fn", "nonsense", 5])
def test_no_float_dtype(dtype):
    problems = Problems()
    assert float_dtype("dtype", dtype, problems) is None
    assert type(only(problems)) is TypeError
    assert str(only(problems)) == (
        f"dtype: expected one of float16, bfloat16, float32, float64, got {dtype!r}"
    )


def test_float64_needs_64_bit_types():
    problems = Problems()
    with jax.enable_x64(True):
        assert jax_dtype("dtype", "float64", problems) == np.float64
    assert not problems.found
    with jax.enable_x64(False):
        jax_dtype("dtype", "float64", problems)
    assert "float64 asked for while JAX's 64-bit types are off" in str(only(problems))


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.PRNGKey(3)])
def test_a_key(key):
    problems = Problems()
    random_key("key", key, problems)
    assert not problems.found


@pytest.mark.parametrize(
    "key", [0, None, "key", np.uint32(3), jnp.zeros(2), jax.random.split(jax.random.key(0))]
)
def test_no_key(key):
    problems = Problems()
    random_key("key", key, problems)
    assert type(only(problems)) is TypeError
    assert str(only(problems)).startswith("key: expected a key such as jax.random.key(0), got ")


def test_the_nearest_name():
    assert nearest("tahn", ["tanh", "relu"]) == "did you mean 'tanh'? Known: tanh, relu"
    assert nearest("zzz", ["tanh", "relu"]) == "Known: tanh, relu"


def test_problems_are_raised_together():
    problems = Problems()
    problems.raise_all()  # there are none
    problems.type("x: wrong type")
    with pytest.raises(TypeError, match=r"^x: wrong type$"):
        problems.raise_all()
    problems.value("y: wrong value")
    with pytest.raises(
        ValueError, match=r"2 things do not fit:\n  - x: wrong.*\n  - y: wrong value"
    ):
        problems.raise_all()
