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
from manual_bp.files.data import load, load_inputs
from manual_bp.files.encoding import Encoding
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
@pytest.mark.parametrize("name", ["missing", "other.xls", "missing.npz", "digits"])
def test_a_source_of_no_kind_is_refused(name, path_type, tmp_path):
    (tmp_path / "other.xls").write_text("1,2")
    with pytest.raises(ValueError, match=r'source: expected "digits", a .csv or .npz file, or'):
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
    assert toy[2:5] == (None, None, "toy.npz")


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


LABELLED = {
    "text": (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
    "bytes": ([b"b", b"a", b"b"], ("a", "b"), [1, 0, 1]),
    "truth": ([True, False, True], ("False", "True"), [1, 0, 1]),
    "negative": ([1, -1, 1], ("-1", "1"), [1, 0, 1]),
    "vast": ([10**12, 0, 10**12], ("0", "1000000000000"), [1, 0, 1]),
    "unsigned": (np.array([2**64 - 1, 0, 0], "u8"), ("0", "18446744073709551615"), [1, 0, 0]),
    "whole floats": ([2.0, 0, 2], ("0", "2"), [1, 0, 1]),
    "a column": ([["b"], ["a"], ["b"]], ("a", "b"), [1, 0, 1]),
    "their numbers": ([2, 0, 0], (), [2, 0, 0]),
}


@pytest.mark.parametrize(("y", "classes", "labels"), LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("names", [("x", "y"), ("X", "labels")], ids="/".join)
def test_labels_of_every_kind(y, classes, labels, names, tmp_path):
    x = np.eye(3)
    path = write_npz(tmp_path / "toy.npz", **dict(zip(names, (x, np.array(y)), strict=True)))
    toy = load(path)
    assert toy.encoding == Encoding(classes=classes)
    assert_same(toy.y, np.eye(max(labels) + 1, dtype=np.float32)[labels])
    # To predict they are read as the classes of the network.
    assert load_inputs(path, encoding=toy.encoding).y.tolist() == labels


def test_labels_of_both_parts_are_numbered_together(tmp_path):
    y, y_test = np.array(["b", "c"]), np.array(["a"])
    toy = load(write_npz(tmp_path / "toy.npz", X=FLOATS, y=y, X_test=FLOATS[:1], y_test=y_test))
    assert toy.encoding.classes == ("a", "b", "c")
    assert_same(toy.y, np.eye(3, dtype=np.float32)[[1, 2]])
    assert_same(toy.y_test, np.eye(3, dtype=np.float32)[[0]])


@pytest.mark.parametrize("y", [[0.5, 2.0, 7.25], [[0.5], [2.0], [7.25]]], ids=["(m,)", "(m, 1)"])
def test_numbers_are_targets_as_they_are(y, tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=np.eye(3), y=np.array(y))
    assert_same(load(path).y, np.float32([[0.5], [2], [7.25]]))
    assert_same(load_inputs(path, "float64").y, np.array([[0.5], [2], [7.25]]))


def test_the_task_of_whole_numbers(tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=FLOATS, y=INTS)
    assert_same(load(path, task="regression").y, np.float32([[1], [0]]))
    with pytest.raises(ValueError, match='task: expected "classification" or "regression", got'):
        load(path, task="classes")


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
    "text in x": ({"x": np.array([["a"], ["b"]]), "y": INTS}, "x to hold real .* got dtype <U1"),
    "text in columns": ({"x": FLOATS, "y": np.array([["a", "b"]] * 2)}, "y of .m, n_L. floats or"),
    "one class": ({"x": FLOATS, "y": INTS * 0}, "two classes or more in 'y', got '0' alone"),
    "one text": ({"x": FLOATS, "y": np.array(["a", "a"])}, "two classes .* got 'a' alone"),
    "bytes": ({"x": FLOATS, "y": np.array([b"a", b"\xff"])}, "y of text that can be read"),
    "bfloat16": ({"x": FLOATS.astype(ml_dtypes.bfloat16), "y": INTS}, r"got dtype \|V2"),
    "int64 x": ({"x": FLOATS.astype(int), "y": INTS}, "x of floats or uint8 pixels, got int64"),
    "scalar x": ({"x": np.float32(1), "y": INTS}, r"x of shape \(m, n_0\), got \(\)"),
    "1-d x": ({"x": FLOATS[:, 0], "y": INTS}, r"x of shape \(m, n_0\), got \(2,\)"),
    "3-d y": ({"x": FLOATS, "y": FLOATS[:, :, None]}, "expected y of .m, n_L. floats or"),
    "different m": ({"x": FLOATS, "y": LABELS}, "as many examples in x as in y"),
    "no examples": ({"x": FLOATS[:0], "y": INTS[:0]}, r"x to hold an entry, got the shape \(0, 3"),
    "no inputs": ({"x": FLOATS[:, :0], "y": INTS}, r"x to hold an entry, got the shape \(2, 0\)"),
    "nan": ({"x": NAN, "y": INTS}, r"finite x, got nan at \(1, 2\)"),
    "infinity": ({"x": FLOATS, "y": INF}, r"finite y, got -inf at \(0, 1\)"),
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
    path = write_npz(tmp_path / "bad.npz", x=NAN, y=np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match=r"expected y of .*as many examples .*finite x"):
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


def test_names_of_relative_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(write_mnist(tmp_path))
    assert load(pathlib.Path()).name == tmp_path.name


# CSV

CSV = "size,age,kind\n1.5,3,cat\n-2,1,dog\n0,0,cat\n1,1,dog\n"


def write_csv(folder, text=CSV, name="a.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_a_csv_file(tmp_path):
    data = load(str(write_csv(tmp_path)), "float64")
    assert data.encoding == Encoding(("size", "age"), "kind", ("cat", "dog"))
    assert_same(data.x, np.array([[1.5, 3], [-2, 1], [0, 0], [1, 1]]))
    assert_same(data.y, np.eye(2)[[0, 1, 0, 1]])
    assert data[2:5] == (None, None, "a.csv")


def test_a_csv_file_of_numbers(tmp_path):
    data = load(write_csv(tmp_path), target="size", ignore=["kind"])
    assert data.encoding == Encoding(("age",), "size")
    assert_same(data.y, np.float32([[1.5], [-2], [0], [1]]))


def test_names_are_those_of_tables(tmp_path):
    path = write_npz(tmp_path / "toy.npz", x=FLOATS, y=INTS)
    for name, given in (("target", "y"), ("ignore", ["y"])):
        with pytest.raises(ValueError, match=rf"^{name}: only a CSV file has names"):
            load(path, **{name: given})


def test_a_csv_file_beyond_a_format_is_refused(tmp_path):
    path = write_csv(tmp_path, "a,y\n1e39,x\n1,z\n1,z\n")
    with pytest.raises(ValueError, match="expected x in float32's range"):
        load(path)


ENCODING = Encoding(("size", "age"), "kind", ("cat", "cow", "dog"), (1.0, 2.0), (2.0, 4.0))


def test_on_with_the_columns_and_classes_of_a_network(tmp_path):
    path = write_csv(tmp_path, "kind,age,more,size\ndog,3,7,1\ncat,1,8,0\n")
    data = load(path, encoding=ENCODING)
    assert data.encoding == ENCODING
    assert_same(data.x, np.float32([[1, 3], [0, 1]]))
    assert_same(data.y, np.float32([[0, 0, 1], [1, 0, 0]]))
    path = write_csv(tmp_path, CSV.replace("1,1,dog", "1,1,cot"))
    with pytest.raises(ValueError, match=r"trained on, got 'cot'; did you mean 'cow'\?"):
        load(path, encoding=ENCODING)


def test_inputs_are_found_by_name_and_scaled(tmp_path):
    path = write_csv(tmp_path, "kind,age,more,size\ndog,6,7,1\nemu,2,8,3\n,2,8,3\n")
    inputs = load_inputs(path, "float32", ENCODING)
    assert_same(inputs.x, np.float32([[0, 1], [1, 0], [1, 0]]))
    assert inputs.y.tolist() == [2, -1, None]
    assert inputs.left_out == ("more",)
    inputs = load_inputs(write_csv(tmp_path, "age,size\n6,1\n"), "float32", ENCODING)
    assert (inputs.x.tolist(), inputs.y, inputs.left_out) == ([[0, 1]], None, ())
    # Of arrays they have no names.
    path = write_npz(tmp_path / "toy.npz", x=np.array([[1.0, 6]]))
    assert_same(load_inputs(path, "float32", ENCODING).x, np.float32([[0, 1]]))


def test_numbers_to_predict(tmp_path):
    path, encoding = write_csv(tmp_path, "a,y\n1,2.5\n2,\n"), Encoding(("a",), "y")
    assert load_inputs(path, encoding=encoding).y.tolist() == [[2.5], [None]]
    path = write_csv(tmp_path, "a,y\n1,\n2,\n")
    assert load_inputs(path, encoding=encoding).y is None


def test_a_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": [1.5, -2, 0, 1], "kind": pandas.Categorical(list("abab"))})
    data = load(frame)
    assert data.encoding == Encoding(("size",), "kind", ("a", "b"))
    assert data.name == "DataFrame"
    assert_same(data.y, np.float32([[1, 0], [0, 1]] * 2))
    inputs = load_inputs(frame[["kind", "size"]], encoding=data.encoding)
    assert_same(inputs.x, data.x)
    assert inputs.y.tolist() == [0, 1, 0, 1]
