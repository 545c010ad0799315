"""Golden vectors as they are made: the numbers, and what is refused."""

import jax
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.golden.case import case_from, random_case

NET = mbp.Network((2, 1), ("identity",), "quadratic", 1e-3)


def rounded(array, dtype):
    return array.astype(jax.numpy.dtype(dtype)).astype(np.float64)


def assert_same(actual, desired):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    assert np.array_equal(actual, desired)


def test_the_values_are_those_of_the_sums_of_index_notation(net, x64):
    case = random_case(net, dtype="float64", seed=1)
    witness = mbp.summation(net, case.params, case.x, case.y)
    for got, want in zip(jax.tree.leaves(case.record), jax.tree.leaves(witness), strict=True):
        assert got.shape == want.shape
        # Numbers of order 1, and fewer than 100 roundings on the way to any of them.
        assert np.all(np.abs(got - want) <= 100 * 2.0**-53 * np.maximum(1, np.abs(want)))


def test_both_precisions_have_the_same_inputs(written):
    case, _ = written
    for name, array in case.values().items():
        if name[0] in "xyWb":
            assert_same(rounded(array, case.dtype), array)
    assert {np.asarray(w).dtype.name for layer in case.params for w in layer} == {case.dtype}
    assert {v.dtype.name for v in jax.tree.leaves(case.record)} == {"float64"}


def test_no_number_hides_a_mistake(written):
    case, _ = written
    assert len(case.x) not in case.net.sizes
    for layer in case.params:
        assert np.all(np.abs(np.asarray(layer.b, np.float64)) > 0.1)
        assert np.all(np.asarray(layer.W) != 0)
    if case.net.cost.name != "quadratic":
        assert set(case.y.ravel().tolist()) == {0, 1}
    if case.net.cost.name == "cross_entropy":
        assert_same(np.sum(case.y, axis=1, dtype=float), np.ones(len(case.y)))


def test_a_seed_fixes_the_case():
    net = NET
    first, again, other = (random_case(net, seed=seed).values() for seed in (3, 3, 4))
    for name in first:
        assert_same(first[name], again[name])
    assert not np.array_equal(first["W1"], other["W1"])
    assert not np.array_equal(first["x"], other["x"])


def test_a_batch_that_is_asked_for():
    assert random_case(NET, batch=2).x.shape == (2, 2)


def test_a_wider_dtype_holds_the_inputs_and_a_narrower_one_does_not(written):
    case, _ = written
    wide = case.in_dtype("float64")
    assert wide.x.dtype == np.float64
    for name, array in wide.values().items():
        assert_same(array, case.values()[name])
    if case.dtype not in ("float16", "bfloat16"):
        with pytest.raises(ValueError, match=r"dtype: .*float16, which changes x, .*W1"):
            case.in_dtype("float16")


LOUD = mbp.Activation("loud", lambda z: 2 * z, lambda a: 2 + 0 * a)
BAD = {
    "deep": (
        {"net": mbp.Network((1,) * 1001, ("tanh",) * 1000, "quadratic")},
        ValueError,
        "sizes: expected a case of at most 32 layers, got 1,000; take fewer",
    ),
    "no examples": ({"batch": 0}, ValueError, "batch: expected a whole number ≥ 1, got 0"),
    "half an example": ({"batch": 1.5}, TypeError, "batch: expected a whole number.* got 1.5"),
    "negative seed": ({"seed": -1}, ValueError, "seed: expected a whole number ≥ 0, got -1"),
    "no seed": ({"seed": None}, TypeError, "seed: .* got None"),
    "both": ({"seed": -1, "batch": True}, ValueError, "2 things do not fit"),
    "dtype": (
        {"dtype": "float23"},
        TypeError,
        "dtype: expected one of float16, bfloat16, float32, float64, got 'float23'",
    ),
    "too many": ({"batch": 10**5}, ValueError, "at most 262,144 numbers, got 800,007"),
    "own activation": (
        {"net": mbp.Network((2, 1), (LOUD,), "quadratic")},
        ValueError,
        "activations.0..*loud",
    ),
    "vast": (
        {"net": mbp.Network((10**6, 10**6), ("tanh",), "quadratic")},
        ValueError,
        "at most 262,144",
    ),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD.values(), ids=BAD)
def test_a_case_that_cannot_be_made_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        random_case(**{"net": NET} | arguments)


def test_inputs_that_do_not_fit_are_refused():
    net, params = NET, [([[2.0, -1.0]], [0.5])]
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\)"):
        case_from(net, params, [[1.0, 2.0, 3.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\), got \(2,\)"):
        case_from(net, params, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="cost: expected numbers within the range of float16"):
        case_from(net, [([[6e4, 6e4]], [1.0])], [[1.0, 1.0]], [[1.0]], dtype="float16")
