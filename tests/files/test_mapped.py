"""Data that stays in its files: the same numbers, read when they are asked for."""

import numpy as np
import pytest

from idx_bytes import idx
from manual_bp.files.data import load, load_inputs
from manual_bp.files.mapped import MappedRows
from manual_bp.files.split import split

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(10, 2, 3)).astype(np.float32), np.arange(10) % 3


def saved(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_a_folder_of_npy_files_is_as_the_same_arrays_in_one_file(tmp_path):
    folder, file = saved(tmp_path, x=X, y=Y, x_test=X[:4], y_test=Y[:4]), tmp_path / "all.npz"
    np.savez(file, x=X, y=Y, x_test=X[:4], y_test=Y[:4])
    expected = load(file)
    for memory_map in (False, True):
        got = load(folder, memory_map=memory_map)
        assert isinstance(got.x, MappedRows) == memory_map
        for name in ("x", "y", "x_test", "y_test"):
            np.testing.assert_array_equal(getattr(got, name)[:], getattr(expected, name))
    np.testing.assert_array_equal(load_inputs(folder).x, expected.x)
    (folder / "y.npy").unlink()
    np.testing.assert_array_equal(load_inputs(folder).x, expected.x)


def test_parts_are_those_of_arrays_in_memory(tmp_path):
    pixels = DRAW.integers(256, size=(10, 4), dtype=np.uint8)
    folder = saved(tmp_path, x=pixels, y=Y)
    expected, got = (split(load(folder, memory_map=mapped), 0.3) for mapped in (False, True))
    assert got.x.shape == expected.x.shape == (7, 4)
    np.testing.assert_array_equal(got.x[np.array([6, 0])], expected.x[[6, 0]])
    np.testing.assert_array_equal(got.x.only(np.array([5, 2]))[1:], expected.x[[2]])
    np.testing.assert_array_equal(got.x_test, expected.x_test)


def test_mnists_files_are_mapped_unless_they_are_packed(tmp_path):
    images = DRAW.integers(256, size=(6, 2, 2), dtype=np.uint8)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(images))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y[:6].astype(np.uint8)))
    got = load(tmp_path, memory_map=True)
    assert isinstance(got.x, MappedRows)
    np.testing.assert_array_equal(got.x[:], load(tmp_path).x)
    path.write_bytes(idx(images) + b"1")
    with pytest.raises(ValueError, match=r"expected 24 bytes for \(6, 2, 2\), got 25"):
        load(tmp_path, memory_map=True)
    path.rename(tmp_path / f"{path.name}.gz")
    with pytest.raises(ValueError, match=r"expected a file that is not packed, to map it"):
        load(tmp_path, memory_map=True)


def nan_at(row):
    x = X.copy()
    x[row, 1, 2] = np.nan
    return x


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "expected y.npy beside x.npy, got no such file"),
        ({"x": X, "y": Y, "x_test": X}, "expected y_test.npy beside x.npy"),
        ({"x": X, "y": Y[:9]}, "expected as many examples in x as in y"),
        ({"x": nan_at(7), "y": Y}, r"expected finite x, got nan at \(7, 1, 2\)"),
        ({"x": X.astype(object), "y": Y}, "expected a whole .npy file of numbers or text"),
        ({"x": X.astype(float) * 1e300, "y": Y}, "expected x in float32's range"),
    ],
)
def test_what_is_no_data_is_refused(tmp_path, monkeypatch, arrays, message, memory_map):
    monkeypatch.setattr("manual_bp.files.data._CHECKED_AT_ONCE", 50)  # several parts
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path, **arrays), memory_map=memory_map)


def test_a_file_that_is_cut_off_or_of_another_kind_is_refused(tmp_path):
    folder = saved(tmp_path, x=X, y=Y)
    content = (folder / "x.npy").read_bytes()
    for wrong in (content[:-4], content[:20], b"", b"no numbers"):
        (folder / "x.npy").write_bytes(wrong)
        with pytest.raises(ValueError, match=r"x\.npy: expected a whole \.npy file"):
            load(folder, memory_map=True)
    for source in ("digits", tmp_path / "x.npz", tmp_path / "x.csv"):
        with pytest.raises(ValueError, match=r"memory_map: expected a folder of \.npy or IDX"):
            load(source, memory_map=True)
