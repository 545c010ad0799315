"""The test part, and the scaling of the training part."""

import numpy as np
import pytest

from manual_bp.files.data import Data
from manual_bp.files.encoding import Encoding
from manual_bp.files.split import split, standardized


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected, strict=True)


m = 11
ROWS = Data(np.arange(m)[:, None] * 1.0, np.arange(m)[:, None] * [[2.0, 3.0]], None, None, "rows")


@pytest.mark.parametrize(("fraction", "k"), [(0.2, 2), (0.5, 6), (0.9, 10), (np.float32(0.1), 1)])
def test_split_is_disjoint_complete_and_keeps_pairs(fraction, k):
    parts = split(ROWS, fraction)
    assert parts.name == "rows"
    assert parts.x.shape == (m - k, 1)
    assert parts.x_test.shape == (k, 1)
    assert sorted([*parts.x.ravel(), *parts.x_test.ravel()]) == list(range(m))
    assert_same(parts.y, parts.x * [[2.0, 3.0]])
    assert_same(parts.y_test, parts.x_test * [[2.0, 3.0]])


def test_split_is_fixed_by_its_seed():
    first, again, other = split(ROWS, seed=3), split(ROWS, seed=3), split(ROWS, seed=4)
    for a, b in zip(first[:4], again[:4], strict=True):
        assert_same(a, b)
    assert not np.array_equal(first.x, other.x)
    assert not np.array_equal(first.x, np.sort(first.x, axis=0))
    assert_same(ROWS.x, np.arange(m)[:, None] * 1.0)


def test_split_keeps_the_test_part_there_is():
    parts = split(ROWS)
    assert split(parts, 0.5, seed=9) is parts


BAD_SPLITS = {
    "zero": ({"fraction": 0}, ValueError, "0 < fraction < 1, got 0"),
    "one": ({"fraction": 1.0}, ValueError, "0 < fraction < 1, got 1.0"),
    "negative": ({"fraction": -0.2}, ValueError, "0 < fraction < 1"),
    "nan": ({"fraction": float("nan")}, ValueError, "0 < fraction < 1, got nan"),
    "no test example": ({"fraction": 0.04}, ValueError, "got 0 of 11 held out"),
    "no train example": ({"fraction": 0.99}, ValueError, "got 11 of 11 held out"),
    "text": ({"fraction": "0.2"}, TypeError, "fraction: expected a real number"),
    "negative seed": ({"seed": -1}, ValueError, "seed: expected a whole number ≥ 0"),
    "no seed": ({"seed": None}, TypeError, "seed: expected a whole number"),
    "half a test part": ({"data": ROWS._replace(x_test=ROWS.x)}, ValueError, "both or neither"),
    "unpaired": ({"data": ROWS._replace(y=ROWS.y[1:])}, ValueError, "got 11 and 10"),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD_SPLITS.values(), ids=BAD_SPLITS)
def test_a_bad_split_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        split(**{"data": ROWS} | given)


# ── Standardized ─────────────────────────────────────────────────────────────────────────────────

TRAIN, TEST = np.array([[1.0, 5], [3, 5]]), np.array([[5.0, 6]])
PARTS = Data(TRAIN, TRAIN[:, :1] * 10, TEST, TEST[:, :1] * 10, "parts")


def test_the_training_part_alone_gives_the_scaling():
    scaled = standardized(PARTS, "float32", targets=True)
    assert_same(scaled.x, np.float32([[-1, 0], [1, 0]]))
    assert_same(scaled.x_test, np.float32([[3, 1]]))
    assert_same(scaled.y, np.float32([[-1], [1]]))
    assert_same(scaled.y_test, np.float32([[3]]))
    assert (scaled.encoding.mean, scaled.encoding.target_mean) == ((2, 5), 20)
    assert_same(standardized(PARTS, "float32").y, PARTS.y.astype(np.float32))


def test_a_scaling_that_there_is_holds():
    given = PARTS._replace(encoding=Encoding(mean=(1.0, 0.0), deviation=(2.0, 1.0)))
    scaled = standardized(given._replace(x_test=None, y_test=None), "float32")
    assert_same(scaled.x, np.float32([[0, 5], [1, 5]]))
    assert scaled.encoding == given.encoding


def test_what_a_format_cannot_hold_is_refused():
    far = PARTS._replace(x_test=TEST * 1e6)
    with pytest.raises(ValueError, match="parts: expected values in the range of float16 once"):
        standardized(far, "float16")
