"""check_vjp: right gradients in any form are right, and a wrong term is found and named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import manual_bp as mbp

DRAW = np.random.default_rng(0)


def drawn(*shape, dtype=jnp.float32):
    return jnp.asarray(DRAW.standard_normal(shape), dtype)


def normalised(x, gamma, beta):
    """Layer normalisation, plainly."""
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5) * gamma + beta


def normalised_back(args, g, *, mean=1.0, projection=1.0, root=True, epsilon=1e-5, ones=False):
    """Its gradients by hand, each term with a factor of its own."""
    x, gamma, _ = args
    g = jnp.ones_like(g) if ones else g
    centred = x - x.mean(-1, keepdims=True)
    r = lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    hat, w = centred * r, g * gamma
    dx = w - mean * w.mean(-1, keepdims=True) - projection * hat * (w * hat).mean(-1, keepdims=True)
    return dx * r if root else dx, (g * hat).sum(0), g.sum(0)


ROWS = (drawn(8, 24), 1 + drawn(24) / 8, drawn(24) / 8)


def judged(**mistake):
    return mbp.check_vjp(normalised, lambda args, g: normalised_back(args, g, **mistake), *ROWS)


def names(diagnosis):
    return [finding.mistake for finding in diagnosis.findings]


def test_right_by_hand_is_right_and_says_where_else_it_was_run():
    diagnosis = judged()
    assert diagnosis.ok, diagnosis
    assert [row.place.symbol for row in diagnosis.agreement.rows] == [
        *("normalised", "∂/∂x", "∂/∂gamma", "∂/∂beta")
    ]
    assert diagnosis.agreement.worst.bound_ratio < 0.5
    assert "with some rows and columns as small as √1e-05" in str(diagnosis)
    assert "Right: 3 of 3 quantities agree" in diagnosis.headline


@pytest.mark.parametrize(
    ("mistake", "name", "words"),
    [
        ({"mean": 0.0}, "term_missing", "is missing"),
        ({"mean": 2.0}, "term_twice", "is counted twice"),
        ({"projection": -1.0}, "term_negated", "has the wrong sign"),
        ({"root": False}, "factor_left_out", "lax.rsqrt(variance + 1e-5)"),
        ({"ones": True}, "cotangent_ignored", "the cotangent is taken for ones"),
        ({"epsilon": 1e-6}, "constant_changed", "the constant 1e-05 in"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_term_is_named_with_its_line(mistake, name, words):
    diagnosis = judged(**mistake)
    assert not diagnosis.ok
    assert name in names(diagnosis)[0]
    assert words in diagnosis.findings[0].explanation
    if name != "cotangent_ignored":
        assert "of test_check_vjp.py)" in diagnosis.findings[0].explanation


def test_a_wrong_epsilon_shows_on_small_inputs_alone():
    (finding,) = judged(epsilon=1e-6).findings
    assert finding.explanation.startswith("on your inputs with some rows and columns as small as")
    assert finding.edits == ("constant_changed",)


def matched(x, w):
    """A plain product under a function."""
    return jnp.tanh(x @ w)


def matched_back(args, g, change=lambda dx, dw: (dx, dw)):
    x, w = args
    d = g * (1 - jnp.square(jnp.tanh(x @ w)))
    return change(d @ w.T, x.T @ d)


PRODUCT = (drawn(8, 12), drawn(12, 12) / 4)


def of_product(change):
    return mbp.check_vjp(matched, lambda args, g: matched_back(args, g, change), *PRODUCT)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda dx, dw: (dx, dw.T), "operand"),
        (lambda dx, dw: (dx, 0 * dw), "gradient_missing"),
        (lambda dx, dw: (-dx, -dw), "gradient_negated"),
        (lambda dx, dw: (12 * dx, 12 * dw), "gradient_scaled"),
        (lambda dx, dw: (dx, 2 * dw), "term_twice"),
        (lambda dx, dw: (dx.at[-3:].set(0), dw), "rows_missing"),
    ],
)
def test_one_argument_or_all_of_them(change, name):
    diagnosis = of_product(change)
    assert len(diagnosis.findings) == 1
    if name != "operand":  # ∂/∂w transposed is no edit of one operation
        assert name in names(diagnosis)[0]


def test_what_no_edit_explains_has_no_name_but_says_where_it_is():
    noise = drawn(12, 12)
    (finding,) = of_product(lambda dx, dw: (dx, dw + noise)).findings
    assert finding.mistake is None
    assert "your ∂/∂w is wrong in 144 of 144 values" in finding.explanation
    (finding,) = of_product(lambda dx, dw: (dx.at[2, 3].add(0.1), dw)).findings
    assert finding.mistake is None
    assert "wrong in one value alone, at (2, 3)" in finding.explanation


def test_nan_is_told_first():
    (finding,) = of_product(lambda dx, dw: (dx, dw.at[1, 2].set(jnp.nan))).findings
    assert "your ∂/∂w is nan at (1, 2)" in finding.explanation


def test_what_is_not_linear_in_the_cotangent_is_found():
    """Gradients that are right for this cotangent and wrong for another."""
    largest = []

    def backward(args, g):
        largest.append(jnp.abs(g).max())
        return matched_back(args, g * largest[0] / jnp.abs(g).max())

    diagnosis = mbp.check_vjp(matched, backward, *PRODUCT)
    assert names(diagnosis) == ["not_linear", "not_linear"]


def test_two_runs_that_differ_are_noted():
    runs = []

    def backward(args, g):
        runs.append(1)
        dx, dw = matched_back(args, g)
        return dx, jnp.where(len(runs) % 2, dw, jnp.nextafter(dw, jnp.inf))

    diagnosis = mbp.check_vjp(matched, backward, *PRODUCT)
    assert diagnosis.ok
    assert "two runs gave different bits for ∂/∂w" in str(diagnosis)


def test_coarser_arithmetic_is_named_where_it_explains_the_rest():
    short = lambda x: x.astype(jnp.bfloat16).astype(jnp.float32)  # noqa: E731

    def in_short_factors(args, g):
        x, w = args
        d = g * (1 - jnp.square(jnp.tanh(x @ w)))
        return short(d) @ short(w).T, short(x).T @ short(d)

    diagnosis = mbp.check_vjp(matched, in_short_factors, *PRODUCT)
    assert names(diagnosis) == ["products_in_bfloat16"]
    assert mbp.check_vjp(
        matched, in_short_factors, *PRODUCT, arithmetic="bfloat16"
    ).agreement.ok is (jax.default_backend() != "cpu")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, "float64"])
def test_every_format_is_judged_by_its_own_rounding(dtype):
    x, w = (np.asarray(one, dtype) for one in PRODUCT)
    diagnosis = mbp.check_vjp(matched, matched_back, x, w)
    assert diagnosis.ok, diagnosis
    wrong = mbp.check_vjp(matched, lambda a, g: matched_back((a[0], 2 * a[1]), g), x, w)
    assert not wrong.ok


def test_arrays_from_elsewhere_are_judged_with_their_cotangent():
    g = np.asarray(drawn(8, 12))
    dx, dw = map(np.asarray, matched_back(PRODUCT, g))
    assert mbp.check_vjp(matched, {"x": dx, "w": dw}, *PRODUCT, cotangent=g).ok
    assert mbp.check_vjp(matched, dw, *PRODUCT, cotangent=g, argnums=1).ok
    shown = mbp.Vjp((dx, dw), np.tanh(np.asarray(PRODUCT[0]) @ np.asarray(PRODUCT[1])))
    diagnosis = mbp.check_vjp(matched, shown, *PRODUCT, cotangent=g)
    assert [row.verdict for row in diagnosis.agreement.rows] == ["agrees"] * 3
    wrong = shown._replace(value=shown.value + 0.1)
    (finding,) = mbp.check_vjp(matched, wrong, *PRODUCT, cotangent=g).findings
    assert finding.equation == "value"


def test_a_diagnosis_prints_goes_to_json_and_raises():
    diagnosis = judged(mean=0.0)
    told = diagnosis.to_dict()
    assert told["findings"][0]["equation"] == "VJP"
    assert [row["quantity"] for row in told["agreement"]["rows"]][1] == "∂/∂x"
    assert "VJP ∂/∂x" in str(diagnosis.agreement)
    assert "<table>" in diagnosis._repr_html_()
    with pytest.raises(AssertionError, match="VJP"):
        diagnosis.raise_if_wrong()


def test_an_arithmetic_that_is_none_is_refused():
    with pytest.raises(ValueError, match="arithmetic: unknown 'bfloat61'; did you mean 'bfloat16'"):
        mbp.check_vjp(matched, matched_back, *PRODUCT, arithmetic="bfloat61")
    with pytest.raises(TypeError, match="arithmetic: expected one of default"):
        mbp.check_vjp(matched, matched_back, *PRODUCT, arithmetic=16)
    with pytest.raises(TypeError, match="key: expected a key"):
        mbp.check_vjp(matched, matched_back, *PRODUCT, key=0)


def gated(a, b):
    """Two arguments of one shape, two outputs, and a function with a slope."""
    return jnp.tanh(a) * b, jnp.where(a > 0.1, b, 0.5 * b)


def gated_back(args, g, *, slope=True, product=None, mask=None, change=lambda da, db: (da, db)):
    a, b = args
    first, second = g
    kept = a > 0.1 if mask is None else mask(a)
    da = first * (b if product is None else product) * (1 - jnp.tanh(a) ** 2 if slope else 1)
    db = first * jnp.tanh(a) + jnp.where(kept, second, 0.5 * second)
    return change(da, db)


PAIR = (drawn(6, 5), drawn(6, 5))


def of_gate(gradients):
    return mbp.check_vjp(gated, gradients, *PAIR)


@pytest.mark.parametrize(
    ("gradients", "name", "words"),
    [
        (lambda args, g: gated_back(args, g, slope=False), "slope_left_out", "the slope of"),
        (lambda args, g: gated_back(args, g, product=args[0]), "factor_exchanged", "a stands for"),
        (lambda args, g: gated_back(args, g, mask=lambda a: a <= 0.1),
         "mask_inverted", "is the other way round"),
        (lambda args, g: gated_back(args, g, change=lambda da, db: (db, da)),
         "gradients_exchanged", "∂/∂a and ∂/∂b are what comes out if each of them is given"),
        (lambda args, g: gated_back(args, (0.7 * g[0], 1.3 * g[1])),
         "gradient_scaled", "0.7 (output 0) and 1.3 (output 1)"),
        (lambda args, g: gated_back(args, [one.at[-1].set(0) for one in g]),
         "rows_missing", "row 5 (output 0) of the cotangent is left out"),
    ],
)  # fmt: skip
def test_factors_slopes_masks_and_outputs_have_names(gradients, name, words):
    diagnosis = of_gate(gradients)
    assert any(name in way for way in names(diagnosis)[0].split(" or ")), diagnosis
    assert words in diagnosis.findings[0].explanation


def test_a_factor_of_2_that_is_a_count_is_told_as_both():
    def doubled(args, g):
        dx, dw = matched_back(args, g)
        return dx, 2 * dw

    pair = drawn(8, 4), drawn(4, 4)  # √4 is 2
    (finding,) = mbp.check_vjp(matched, doubled, *pair).findings
    assert finding.mistake == "term_twice or term_scaled"
    assert "2 = √4 times" in finding.explanation


def test_a_few_rows_that_are_off_are_no_rule_for_each_row():
    def some(args, g):
        dx, dw = matched_back(args, g)
        return dx.at[:3].multiply(jnp.array([[1.3], [0.4], [2.2]])), dw

    assert names(mbp.check_vjp(matched, some, *PRODUCT)) == [None]

    def all_of_them(args, g):
        dx, dw = matched_back(args, g)
        return dx * (1 + jnp.arange(8.0)[:, None] / 5), dw

    assert names(mbp.check_vjp(matched, all_of_them, *PRODUCT)) == ["rows_scaled"]


def centred_rows(x):
    return jnp.square(x - x.sum(-1, keepdims=True) / x.shape[-1])


def test_a_mean_that_is_lost_shows_off_centre():
    def without(args, g):
        return (2 * g * args[0] - (2 * g * args[0]).mean(-1, keepdims=True),)

    x = drawn(6, 8)
    x -= x.mean(-1, keepdims=True)  # where it is 0, nothing is lost
    (finding,) = mbp.check_vjp(centred_rows, without, x).findings
    assert finding.explanation.startswith("on your inputs with some rows and columns off centre")


def largest(x):
    return jnp.max(x, axis=-1)


@pytest.mark.parametrize(
    ("share", "ok"),
    [
        (lambda x, at: jnp.arange(x.shape[-1]) == x.argmax(-1, keepdims=True), True),
        (lambda x, at: at / at.sum(-1, keepdims=True), True),
        (lambda x, at: at, False),
    ],
    ids=["the first", "equal shares", "each of them whole"],
)
def test_a_tie_may_be_shared_in_any_way_but_no_error_may_be_made(share, ok):
    def gradients(args, g):
        (x,) = args
        return (g[:, None] * share(x, x == x.max(-1, keepdims=True)),)

    diagnosis = mbp.check_vjp(largest, gradients, drawn(5, 7))
    assert diagnosis.ok == ok
    assert "with each row's largest value there twice" in str(diagnosis)
