"""Any function's gradients as people hand them over, and how what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.subjects.gradients import obtained_from, read_reference

KEY = jax.random.key(0)
X, W = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
G = np.arange(8, dtype=np.float32).reshape(2, 4)


def product(x, w):
    """A plain function of two arrays."""
    return x @ w


def reference(function=product, args=(X, W), cotangent=G, argnums=None):
    return read_reference(function, args, cotangent, argnums, KEY, drawn=cotangent is None)


def arrays(subject, **settings):
    """By name, what a subject gives."""
    found = obtained_from(reference(**settings), subject)
    return {place.symbol: array for place, array in found.arrays.items()}


def by_hand(args, g):
    x, w = args
    return g @ w.T, x.T @ g


def custom(x, w):
    return product(x, w)


with_rule = jax.custom_vjp(custom)
with_rule.defvjp(lambda x, w: (product(x, w), (x, w)), by_hand)
GIVEN = by_hand((X, W), G)


@pytest.mark.parametrize(
    "subject",
    [
        by_hand,
        with_rule,
        jax.jit(with_rule),
        lambda x, w: with_rule(x, w),
        lambda args, g: {"w": by_hand(args, g)[1], "x": by_hand(args, g)[0]},
        GIVEN,
        list(GIVEN),
        {"x": GIVEN[0], "w": GIVEN[1].tolist()},
        mbp.Vjp(GIVEN),
    ],
    ids=["pullback", "custom_vjp", "jit", "function", "dict", "tuple", "list", "lists", "Vjp"],
)
def test_any_form_is_the_same_gradients(subject):
    found = arrays(subject)
    np.testing.assert_array_equal(found["∂/∂x"], GIVEN[0])
    np.testing.assert_array_equal(found["∂/∂w"], GIVEN[1])


def test_the_value_is_read_where_it_is_shown():
    assert "product" not in arrays(GIVEN)
    np.testing.assert_array_equal(arrays(with_rule)["product"], X @ W)
    np.testing.assert_array_equal(arrays(mbp.Vjp(GIVEN, X @ W))["product"], X @ W)


def test_none_is_zeros_and_whole_numbers_have_no_gradient():
    def taken(table, i):
        return table[i]

    found = arrays(
        lambda args, g: (None, None),
        function=taken,
        args=(W, np.array([0, 2])),
        cotangent=np.ones((2, 4), np.float32),
    )
    assert list(found) == ["∂/∂table"]
    assert not found["∂/∂table"].any()


def test_structures_are_named_by_their_parts():
    def affine(p, x):
        return x @ p["w"] + p["b"][0]

    params = {"w": W, "b": [np.zeros(4, np.float32)]}
    found = arrays(
        lambda args, g: ({"w": args[1].T @ g, "b": [g.sum(0)]}, None),
        function=affine,
        args=(params, X),
        argnums=0,
    )
    assert list(found) == ["∂/∂p['b'][0]", "∂/∂p['w']"]


def test_a_pullback_of_one_argument_and_a_function_of_two_are_told_apart():
    def scaled(x, w):  # of the arguments (args, cotangent) in number
        return x * w

    ones = np.ones((2, 3), np.float32)
    rule = lambda args, g: (g * args[1], g * args[0])  # noqa: E731
    settings = {"function": scaled, "args": (X, 2 * X), "cotangent": ones}
    np.testing.assert_array_equal(arrays(rule, **settings)["∂/∂x"], 2 * ones)
    np.testing.assert_array_equal(arrays(scaled, **settings)["∂/∂x"], 2 * ones)


def test_a_subject_has_copies_and_is_told_what_it_changed():
    def in_place(args, g):
        args[0][0, 0] = 7.0
        return by_hand(args, g)

    mine = X.copy()
    found = obtained_from(reference(args=(mine, W)), in_place)
    assert mine[0, 0] == 1
    assert found.notes == ("your function changed x while it ran; it had copies",)


def test_a_cotangent_is_drawn_at_random_and_in_the_value_s_format():
    drawn = reference(
        args=(jnp.asarray(X, jnp.bfloat16), jnp.asarray(W, jnp.bfloat16)), cotangent=None
    )
    assert drawn.cotangent.dtype == jnp.bfloat16
    assert len(np.unique(np.asarray(drawn.cotangent, float))) > 6


def test_float64_needs_no_setting_of_jax():
    wide = (X.astype(np.float64), W.astype(np.float64))
    drawn = reference(args=wide, cotangent=None)
    found = obtained_from(drawn, lambda x, w: jnp.sin(x) @ w)
    assert set(found.formats.values()) == {"float64"}
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"function": 3}, TypeError, "reference: expected a function of JAX, got 3"),
        ({"args": ()}, TypeError, "args: expected the reference's arguments"),
        ({"args": (X, "w")}, TypeError, r"args, w: expected an array, got str.*functools.partial"),
        ({"args": (X, W * 1j)}, TypeError, "args, w: expected real numbers, got complex64"),
        ({"args": (X, W * np.nan)}, ValueError, "args, w: expected finite numbers"),
        ({"args": (X.astype(int), W.astype(int))}, ValueError, "args: expected real numbers in"),
        ({"argnums": 2}, ValueError, "argnums: expected 0 to 1, got 2"),
        ({"argnums": "x"}, TypeError, "argnums: expected numbers of arguments, got 'x'"),
        ({"cotangent": G.T}, ValueError, r"cotangent: expected shape \(2, 4\), got \(4, 2\)"),
        ({"cotangent": (G, G)}, ValueError, "cotangent: expected the structure"),
        ({"function": lambda x, w: (x @ w) * 1j}, TypeError, "reference: expected real numbers"),
        ({"function": lambda x, w: (x @ w) > 0}, ValueError, "reference: expected real numbers"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(settings, error, words):
    with pytest.raises(error, match=words):
        reference(**settings)


def test_gradients_alone_need_their_cotangent():
    with pytest.raises(ValueError, match="cotangent: expected the one that your gradients were"):
        read_reference(product, (X, W), None, None, KEY, drawn=False)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (GIVEN[:1], "subject: expected a gradient for each of x and w, got 1"),
        (3, "subject: expected a gradient for each of x and w, got int"),
        ({"x": GIVEN[0]}, "subject: expected a gradient for w as well"),
        (mbp.Vjp(GIVEN, (X, X)), "subject: expected 1 arrays of real numbers as its value, got 2"),
        (lambda x, w: (x @ w, x), "subject: expected a value like the reference's"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(subject, words):
    with pytest.raises(ValueError, match=words):
        arrays(subject)


def test_a_wrong_shape_is_told_with_its_place():
    found = obtained_from(reference(), (GIVEN[0], GIVEN[1].T))
    (misfit,) = found.misfits.values()
    assert misfit.note == "has shape (4, 3) where (3, 4) is expected"


def test_an_error_of_a_stranger_s_function_says_whose_it_is():
    with pytest.raises(ZeroDivisionError) as raised:
        arrays(lambda args, g: 1 / 0)
    assert raised.value.__notes__ == ["subject: it is your function that raised this"]
