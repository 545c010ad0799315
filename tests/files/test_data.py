import gzip
import io
import pathlib
import zipfile

import ml_dtypes
import numpy as np
import pytest

from idx_bytes import flipped, idx
from manual_bp.files import idx as idx_module
from manual_bp.files import unpacking
from manual_bp.files.data import Data, load, load_inputs, split
from manual_bp.files.npz import Npz

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (5, 3, 2), dtype=np.uint8)
LABELS = np.array([2, 0, 3, 0, 1], np.uint8)
TEST_IMAGES = RNG.integers(0, 256, (2, 3, 2), dtype=np.uint8)
TEST_LABELS = np.array([4, 1], np.uint8)
FLOATS = np.array([[0.5, -1.0, 0.0], [2.0, 0.25, -3.0]], np.float32)
INTS = np.array([1, 0])


def write_mnist(folder, suffix="", test=True, **replaced):
    """An MNIST folder; a keyword replaces the bytes of one file, None leaves the file out."""
    arrays = {"train_images": IMAGES, "train_labels": LABELS}
    arrays |= {"t10k_images": TEST_IMAGES, "t10k_labels": TEST_LABELS} if test else {}
    for key, array in arrays.items():
        content = replaced.get(key, idx(array))
        if content is not None:
            content = gzip.compress(content) if suffix.endswith(".gz") else content
            ndim = 3 if key.endswith("images") else 1
            dot = "." if suffix.startswith(".idx") else "-"
            name = f"{key.replace('_', '-')}{dot}idx{ndim}-ubyte{suffix.removeprefix('.idx')}"
            (folder / name).write_bytes(content)
    return folder


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def write_members(path, compression=zipfile.ZIP_STORED, **members):
    """A .npz of raw .npy bytes, for what numpy.savez would not write."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array, shape=None):
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header | ({"shape": shape} if shape else {}))
    return file.getvalue() + array.tobytes()


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


# dtype

DTYPES = {
    "float64": ("float64", np.float64),
    "float16": (np.float16, np.float16),
    "bfloat16-name": ("bfloat16", ml_dtypes.bfloat16),
    "bfloat16-type": (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "bfloat16-dtype": (np.dtype(ml_dtypes.bfloat16), ml_dtypes.bfloat16),
    "swapped": (">f4", np.float32),
}


@pytest.mark.parametrize(("dtype", "expected"), DTYPES.values(), ids=DTYPES)
def test_every_array_has_the_dtype_asked_for(dtype, expected, tmp_path):
    parts = load(write_mnist(tmp_path), dtype=dtype)
    assert {a.dtype for a in parts[:4]} == {np.dtype(expected)}
    assert all(a.dtype.isnative for a in parts[:4])
    assert_same(parts.x, (IMAGES.reshape(5, 6) / 255).astype(expected))


@pytest.mark.parametrize(
    "dtype",
    ["int8", "complex64", "object", "nonsense", None, 5, "int4", "float8_e8m0fnu", "float8_e5m2"],
)
def test_a_dtype_that_is_none_of_the_four_is_refused(dtype):
    with pytest.raises(TypeError, match=r"^dtype: expected one of float16, bfloat16, float32, f"):
        load("digits", dtype=dtype)


# source


@pytest.mark.parametrize("path_type", [str, pathlib.Path])
@pytest.mark.parametrize("name", ["missing", "other.csv", "missing.npz", "digits"])
def test_a_source_of_no_kind_is_refused(name, path_type, tmp_path):
    (tmp_path / "other.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r'source: expected "digits", a .npz file or a folder'):
        load(path_type(tmp_path / name))


def test_a_relative_path_digits_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nothing there"):
        load(pathlib.Path("digits"))


@pytest.mark.parametrize("source", [None, 3, b"digits"], ids=repr)
def test_a_source_that_is_no_path_is_refused(source):
    with pytest.raises(TypeError, match=r"^source: expected"):
        load(source)


# IDX


@pytest.mark.parametrize("suffix", ["", ".gz", ".idx", ".idx.gz"], ids=lambda s: s or "plain")
def test_mnist_folder(suffix, tmp_path):
    parts = load(write_mnist(tmp_path, suffix))
    assert parts.name == tmp_path.name
    assert_same(parts.x, (IMAGES.reshape(5, 6) / 255).astype(np.float32))
    assert_same(parts.x_test, (TEST_IMAGES.reshape(2, 6) / 255).astype(np.float32))
    # Five classes, though the train part alone shows four.
    assert_same(parts.y, (LABELS[:, None] == np.arange(5)).astype(np.float32))
    assert_same(parts.y_test, (TEST_LABELS[:, None] == np.arange(5)).astype(np.float32))


def test_mnist_folder_without_a_test_part(tmp_path):
    parts = load(str(write_mnist(tmp_path, test=False)))
    assert parts.y.shape == (5, 4)
    assert parts.x_test is None
    assert parts.y_test is None


FOLDERS = {
    "no images": ({"train_images": None}, "train-images-idx3-ubyte"),
    "no labels": ({"train_labels": None}, "train-labels-idx1-ubyte"),
    "half a test part": ({"t10k_labels": None}, "t10k-labels-idx1-ubyte"),
    "fewer labels": ({"train_labels": idx(LABELS[:4])}, "as many examples in x as in y"),
    "fewer test labels": ({"t10k_labels": idx(TEST_LABELS[:1])}, "examples in x_test as in y_test"),
    "flat images": ({"train_images": idx(IMAGES.reshape(5, 6))}, "expected 3 dimensions"),
    "labels as images": ({"train_labels": idx(IMAGES)}, "expected 1 dimensions"),
    "other test images": ({"t10k_images": idx(TEST_IMAGES[:, :2])}, "x_test shaped like x but"),
    "truncated": ({"t10k_images": idx(TEST_IMAGES)[:-1]}, "t10k-images-idx3-ubyte: .*truncated"),
}


@pytest.mark.parametrize(("replaced", "message"), FOLDERS.values(), ids=FOLDERS)
def test_a_bad_mnist_folder_is_refused(replaced, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(write_mnist(tmp_path, **replaced))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train-images-idx3-ubyte and train-labels-idx1-ubyte"):
        load(tmp_path)


# .npz


def test_npz_floats_are_taken_as_they_are(tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=FLOATS, y=FLOATS[:, :2], more=LABELS)
    toy = load(path)
    assert_same(toy.x, FLOATS)
    assert_same(toy.y, FLOATS[:, :2])
    assert toy[2:] == (None, None, "toy.npz")


@pytest.mark.parametrize("label_dtype", ["uint8", "int64", ">u4", "uint64"])
def test_npz_images_and_labels(label_dtype, tmp_path):
    arrays = {"x": IMAGES, "y": LABELS.astype(label_dtype)}
    arrays |= {"x_test": TEST_IMAGES, "y_test": TEST_LABELS.astype(label_dtype)}
    np.savez_compressed(tmp_path / "toy.npz", **arrays)
    toy = load(str(tmp_path / "toy.npz"), dtype="float64")
    assert_same(toy.x, IMAGES.reshape(5, 6) / 255)
    assert_same(toy.x_test, TEST_IMAGES.reshape(2, 6) / 255)
    assert_same(toy.y, np.eye(5)[LABELS])
    assert_same(toy.y_test, np.eye(5)[TEST_LABELS])


def test_npz_in_column_order_and_other_byte_order(tmp_path):
    x = np.asfortranarray(FLOATS.astype(">f8"))
    assert_same(load(write_npz(tmp_path / "toy.npz", x=x, y=INTS)).x, FLOATS)


def test_what_was_loaded_can_be_written_to(tmp_path):
    toy = load(write_npz(tmp_path / "toy.npz", x=FLOATS, y=FLOATS))
    toy.x[0, 0] = toy.y[0, 0] = 9
    assert toy.x[0, 0] == toy.y[0, 0] == 9


NAN, INF = FLOATS.copy(), FLOATS.copy()
NAN[1, 2], INF[0, 1] = np.nan, -np.inf
BAD_NPZ = {
    "no y": ({"x": FLOATS}, "got x; add y"),
    "other names": ({"x_train": FLOATS, "y_train": INTS}, "got x_train, y_train; add x and y"),
    "x_test alone": ({"x": FLOATS, "y": INTS, "x_test": FLOATS}, "add y_test"),
    "y_test alone": ({"x": FLOATS, "y": INTS, "y_test": INTS}, "add x_test"),
    "objects in x": ({"x": np.array([[1], [None]]), "y": INTS}, "x to hold real .* pickled"),
    "objects in y": ({"x": FLOATS, "y": np.array([1, None])}, "y to hold real .* pickled"),
    "complex x": ({"x": FLOATS + 0j, "y": INTS}, "got dtype complex64"),
    "text": ({"x": FLOATS, "y": np.array(["a", "b"])}, "got dtype <U1"),
    "bool labels": ({"x": FLOATS, "y": INTS > 0}, "got dtype bool"),
    "bfloat16": ({"x": FLOATS.astype(ml_dtypes.bfloat16), "y": INTS}, r"got dtype \|V2"),
    "int64 x": ({"x": FLOATS.astype(int), "y": INTS}, "x of floats or uint8 pixels, got int64"),
    "scalar x": ({"x": np.float32(1), "y": INTS}, r"x of shape \(m, n_0\), got \(\)"),
    "1-d x": ({"x": FLOATS[:, 0], "y": INTS}, r"x of shape \(m, n_0\), got \(2,\)"),
    "3-d y": ({"x": FLOATS, "y": FLOATS[:, :, None]}, "expected y of .m, n_L. floats or"),
    "1-d float y": ({"x": FLOATS, "y": FLOATS[:, 0]}, "expected y of .m, n_L. floats or"),
    "2-d integer y": ({"x": FLOATS, "y": INTS[:, None]}, "expected y of .m, n_L. floats or"),
    "different m": ({"x": FLOATS, "y": LABELS}, "as many examples in x as in y"),
    "no examples": ({"x": FLOATS[:0], "y": INTS[:0]}, r"x to hold an entry, got the shape \(0, 3"),
    "no inputs": ({"x": FLOATS[:, :0], "y": INTS}, r"x to hold an entry, got the shape \(2, 0\)"),
    "nan": ({"x": NAN, "y": INTS}, r"finite x, got nan at \(1, 2\)"),
    "infinity": ({"x": FLOATS, "y": INF}, r"finite y, got -inf at \(0, 1\)"),
    "negative label": ({"x": FLOATS, "y": INTS - 1}, "labels ≥ 0 in y, got -1"),
    "vast label": ({"x": FLOATS, "y": INTS * 10**12}, "labels up to 1000000000000"),
    "vast uint64": ({"x": FLOATS, "y": np.array([2**64 - 1, 0], "u8")}, "18446744073709551615"),
    "above float32": ({"x": np.array([[1e39], [0]]), "y": INTS}, "x in float32's range"),
    "below float32": ({"x": FLOATS, "y": np.array([[-1e39], [0]])}, "y in float32's range"),
    "test width": (
        {"x": FLOATS, "y": INTS, "x_test": FLOATS[:, :2], "y_test": INTS},
        "x_test shaped like x but for m",
    ),
    "test targets": (
        {"x": FLOATS, "y": INTS, "x_test": FLOATS, "y_test": FLOATS},
        "y_test shaped like y but for m",
    ),
    "test scale": (
        {"x": FLOATS, "y": INTS, "x_test": FLOATS.astype(np.uint8), "y_test": INTS},
        "x_test of the kind of x, got uint8 and float32",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_a_bad_npz_is_refused(arrays, message, tmp_path):
    path = write_npz(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as refusal:
        load(path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_all_mismatches_are_told_together(tmp_path):
    path = write_npz(tmp_path / "bad.npz", x=NAN, y=np.array([-1]))
    with pytest.raises(ValueError, match=r"labels ≥ 0 .*as many examples .*finite x"):
        load(path)


MEMBERS = {
    "claims more": ({"x": npy(FLOATS, (2, 4)), "y": npy(INTS)}, "160 bytes of x .*got 152"),
    "claims less": ({"x": npy(FLOATS, (2, 2)), "y": npy(INTS)}, "144 bytes of x .*got 152"),
    "claims 4 TB": ({"x": npy(FLOATS, (2**40, 1)), "y": npy(INTS)}, "at most 4294967296 bytes"),
    "negative": ({"x": npy(FLOATS, (-2, -3)), "y": npy(INTS)}, "x for its shape"),
    "no npy": ({"x": b"hello", "y": npy(INTS)}, "expected x intact"),
    "empty": ({"x": npy(FLOATS), "y": b""}, "expected y intact"),
    "version 9": ({"x": flipped(npy(FLOATS), 6), "y": npy(INTS)}, "expected x intact"),
}


@pytest.mark.parametrize(("members", "message"), MEMBERS.values(), ids=MEMBERS)
def test_an_npz_that_lies_is_refused(members, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(write_members(tmp_path / "bad.npz", **members))


def test_an_npz_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_module, "MAX_BYTES", 10**6)
    x = np.zeros((11, 10**5), np.uint8)
    path = tmp_path / "bomb.npz"
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x), y=npy(np.arange(11)))
    assert path.stat().st_size < 10**4
    with monkeypatch.context() as patch:
        patch.setattr(Npz, "array", lambda *_: pytest.fail("unpacked"))
        with pytest.raises(ValueError, match=r"x of the shape .* brings them to 1100000"):
            load(path)
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x[:10]), y=npy(np.arange(10)))
    with pytest.raises(ValueError, match=r"y of the shape .* brings them to 1000080"):
        load(path)
    # Where there is x alone, no less.
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x))
    with pytest.raises(ValueError, match=r"x of the shape .* brings them to 1100000"):
        load_inputs(path)
    # What fits as uint8 may still be too much as float32.
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x[:5]), y=npy(np.arange(5)))
    with pytest.raises(ValueError, match=r"5 examples .* in float32, which brings them to 2000100"):
        load(path)


def test_what_is_packed_too_tightly_is_no_data(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_FREE", 10**6)
    x, path = np.zeros((11, 10**5), np.uint8), tmp_path / "toy.npz"
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x), y=npy(np.arange(11)))
    with pytest.raises(
        ValueError, match=r"toy\.npz: expected at most 100 times its .* write it unp"
    ):
        load(path)
    write_members(path, zipfile.ZIP_STORED, x=npy(x), y=npy(np.arange(11)))
    assert load(path).x.shape == x.shape
    write_members(path, zipfile.ZIP_DEFLATED, x=npy(x[:9]), y=npy(np.arange(9)))
    assert load(path).x.shape == x[:9].shape
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x[None])))
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(ValueError, match=r"ubyte\.gz: expected at most 100 times its"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["x", "y", "x_test"])
def test_a_member_that_numpy_would_not_name_so_is_refused(name, tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=FLOATS, y=FLOATS[:, :2])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README", "not of these arrays")
    assert load(path).x.shape == FLOATS.shape
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, npy(FLOATS))
    message = rf"member '{name}': expected one whose name .* and \.npy, got another name"
    for read in (load, load_inputs):
        with pytest.raises(ValueError, match=message):
            read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_comes_twice_is_refused(tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=FLOATS, y=FLOATS[:, :2])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", npy(2 * FLOATS))
    with pytest.raises(ValueError, match=r"member 'x\.npy': .* got it twice"):
        load(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=str)
def test_a_damaged_npz_is_refused_or_read_the_same(compression, tmp_path):
    path = write_members(tmp_path / "toy.npz", compression, x=npy(FLOATS), y=npy(INTS))
    content, whole = path.read_bytes(), load(path)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"toy\.npz: expected"):
            load(path)
    for at in range(len(content)):  # dates, for one, may change unseen
        path.write_bytes(flipped(content, at))
        try:
            assert_same(load(path).x, whole.x)
        except ValueError as refusal:
            assert "toy.npz: expected" in str(refusal)  # noqa: PT017


def test_a_pickle_named_npz_is_never_run(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"cbuiltins\nexit\n(tR.")
    with pytest.raises(ValueError, match=r"x\.npz: expected a .npz file intact"):
        load(tmp_path / "x.npz")


# split

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


def test_names_of_relative_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(write_mnist(tmp_path))
    assert load(pathlib.Path()).name == tmp_path.name
