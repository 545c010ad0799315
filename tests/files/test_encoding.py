"""How inputs are scaled, how outputs are told, and which encodings of a file are refused."""

import json

import numpy as np
import pytest

from manual_bp.files.encoding import Encoding, class_text

X = np.array([[1.0, 5, 1e300, 0], [2, 5, -1e300, 0], [6, 5, 0, 0]])


def test_inputs_have_mean_0_and_deviation_1():
    encoding = Encoding().fitted(X)
    scaled = encoding.scaled(X)
    np.testing.assert_allclose(scaled[:, [0, 2]].mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled[:, [0, 2]].std(axis=0), 1)
    assert not scaled[:, [1, 3]].any()
    assert encoding.deviation[1] == encoding.deviation[3] == 1
    # As the training part was, so are all others.
    np.testing.assert_allclose(encoding.scaled(X[:1])[0], scaled[0])
    assert encoding.scaled(np.array([[1.0, 7, 0, 2]]))[0, 1:].tolist() == [2, 0, 2]


def test_a_constant_that_float64_cannot_hold_is_constant():
    x = np.full((3, 1), 0.1)
    assert x.std() > 0  # by rounding alone
    assert Encoding().fitted(x).scaled(x).tolist() == [[0]] * 3


def test_targets_and_back():
    y = np.array([[100.0], [300], [500]])
    encoding = Encoding().fitted(X[:, :1], y)
    scaled = encoding.targets_scaled(y)
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-15)
    np.testing.assert_allclose(encoding.in_units(scaled), y)
    assert Encoding().in_units(y) is y


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 4\), got \(3, 2\)"):
        Encoding().fitted(X).scaled(X[:, :2])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" cat ", "cat"), ("1.0", "1"), (1.0, "1"), (np.int64(-3), "-3"), (0.1, "0.1"),
        (np.uint64(2**64 - 1), "18446744073709551615"), (True, "True"), ("1_0", "1_0"),
        ("nan", "nan"), ("inf", "inf"), ("1e3", "1000"),
    ],
)  # fmt: skip
def test_a_class_as_text(cell, text):
    assert class_text(cell) == text


FULL = Encoding(("a", "b"), "y", ("no", "yes"), (0.5, 1.0), (2.0, 1.0), 3.0, 4.0)


def test_what_a_file_keeps_is_the_same():
    told = json.loads(json.dumps(FULL._asdict()))
    assert Encoding.from_dict(told, 2, 2) == FULL
    assert Encoding.from_dict(told, 2, 1) == FULL  # one output tells two classes
    assert Encoding.from_dict({}, 9, 9) == Encoding()


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": ["a"]}, {"columns": ["a", 1]}, {"target": 1}, {"target": ["y"]},
        {"classes": ["no"]}, {"mean": [0.5]}, {"mean": []}, {"mean": [0.5, "1"]},
        {"mean": [0.5, float("nan")]}, {"deviation": [0.0, 1.0]}, {"deviation": [-1.0, 1.0]},
        {"deviation": [float("inf"), 1.0]}, {"target_deviation": 0}, {"target_mean": None},
        {"mean": [True, 1.0]}, {"columns": None}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_encoding_of_the_network_is_refused(changed):
    with pytest.raises((ValueError, TypeError)):
        Encoding.from_dict(FULL._asdict() | changed, 2, 2)
