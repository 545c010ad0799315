"""Which arrays of a .npz file count, whatever people call them; the rest is in test_data.py."""

import numpy as np
import pytest

from manual_bp.files.arrays import read_npz

X, Y = np.eye(2), np.array(["a", "b"])


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("x", "labels"), ("X", "target")])
def test_each_spelling(names, tmp_path):
    arrays = dict(zip(names, (X, Y), strict=True))
    arrays |= {f"{name}_test": array for name, array in zip(names, (X + 1, Y), strict=True)}
    np.savez(tmp_path / "a.npz", **arrays, more=np.ones(1))
    read = read_npz(str(tmp_path / "a.npz"))
    assert [*read] == ["x", "y", "x_test", "y_test"]
    assert (read["x_test"] == X + 1).all()
    assert read["y"].tolist() == ["a", "b"]


def test_of_two_spellings_the_first_counts(tmp_path):
    np.savez(tmp_path / "a.npz", X=X + 1, x=X, labels=Y, y=np.array([0, 1]))
    read = read_npz(str(tmp_path / "a.npz"))
    assert read["x"].tolist() == X.tolist()
    assert read["y"].tolist() == [0, 1]


def test_without_targets_x_will_do(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, x_test=X)
    assert [*read_npz(str(tmp_path / "a.npz"), targets=False)] == ["x"]
    with pytest.raises(ValueError, match="got X, x_test; add y and y_test with"):
        read_npz(str(tmp_path / "a.npz"))
