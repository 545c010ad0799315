"""manual-bp predict: what it prints and writes of a saved network."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
from manual_bp.files.encoding import Encoding
from running import call

NET = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, data with labels, and the same data without."""
    folder = tmp_path_factory.mktemp("predict")
    params, x, _ = random_case(NET, 7, 0, "float32")
    mbp.save(folder / "model", NET, params)
    labels = np.asarray(mbp.predict(NET, params, x, classes=True)).copy()
    labels[0] = 1 - labels[0]  # one of them is wrong
    np.savez(folder / "data.npz", x=np.asarray(x), y=labels)
    np.savez(folder / "inputs.npz", x=np.asarray(x))
    np.savez(folder / "wide.npz", x=np.ones((7, 5)))
    return folder


def expected(folder, classes=False):
    net, params, _ = mbp.load(folder / "model")
    x = jnp.asarray(np.load(folder / "inputs.npz")["x"])
    return np.asarray(mbp.predict(net, params, x, classes=classes))


def test_the_outputs_one_example_a_line(folder):
    code, out, err = call("predict", "model", "inputs.npz", folder=folder)
    assert (code, err) == (0, "")
    said = np.array([[float(cell) for cell in line.split(",")] for line in out.splitlines()])
    np.testing.assert_array_equal(said.astype(np.float32), expected(folder))


def test_the_classes_and_how_many_are_right(folder):
    code, out, err = call("predict", "model", "data.npz", "--classes", folder=folder)
    assert (code, err) == (0, "6 of 7 right, 85.71%\n")  # not among the predictions
    assert list(map(int, out.split())) == expected(folder, classes=True).tolist()
    assert call("predict", "model", "data.npz", "--classes", "--quiet", folder=folder)[2] == ""


def test_a_single_output_is_one_of_two_classes(folder):
    net = mbp.Network((3, 1), ("sigmoid",), "binary_cross_entropy")
    x, y = np.float32([[3, 0, 0], [-3, 0, 0], [2, 0, 0]]), np.float32([[1], [0], [0]])
    mbp.save(folder / "single", net, [(np.float32([[1, 0, 0]]), np.zeros(1, np.float32))])
    np.savez(folder / "single.npz", x=x, y=y)
    np.savez(folder / "labels.npz", x=x, y=np.int64(y[:, 0]))
    for data in ("single.npz", "labels.npz"):
        done = call("predict", "single", data, "--classes", folder=folder)
        assert done == (0, "1\n0\n1\n", "2 of 3 right, 66.67%\n")


def test_the_digits(folder):
    pytest.importorskip("sklearn")
    net = mbp.Network((64, 10), ("softmax",), "cross_entropy")
    mbp.save(folder / "zeros", net, [(np.zeros((10, 64), np.float32), np.zeros(10, np.float32))])
    code, out, err = call("predict", "zeros", "digits", "--classes", folder=folder)
    assert (code, set(out.split())) == (0, {"0"})
    assert err == "178 of 1,797 right, 9.91%\n"  # as many zeros are there


def test_targets_that_are_no_classes_are_not_counted(folder):
    np.savez(folder / "targets.npz", x=np.ones((2, 3)), y=np.array([[0.5, 2], [0, 1]]))
    assert call("predict", "model", "targets.npz", folder=folder)[::2] == (0, "")


def test_written_to_a_file(folder):
    code, out, _ = call("predict", "model", "data.npz", "--out", "p.npz", folder=folder)
    assert (code, out) == (0, "6 of 7 right, 85.71%\n")
    with np.load(folder / "p.npz") as written:
        np.testing.assert_array_equal(written["outputs"].astype(np.float32), expected(folder))
        np.testing.assert_array_equal(written["classes"], expected(folder, classes=True))
    code, out, _ = call(
        "predict", "model", "inputs.npz", "--classes", "--out", "p.csv", folder=folder
    )
    assert (code, out) == (0, "")
    written = (folder / "p.csv").read_text()
    assert list(map(int, written.split())) == expected(folder, classes=True).tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_every_format_of_parameters(folder, dtype):
    with jax.enable_x64(True):
        params, _, _ = random_case(NET, 7, 0, dtype)
        mbp.save(folder / dtype, NET, params)
    code, out, err = call("predict", dtype, "inputs.npz", folder=folder)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "inputs.npz"], "nothing: no such file"),
        (["inputs.npz", "inputs.npz"], "inputs.npz: expected a whole file of manual_bp.save"),
        (["model", "nothing.npz"], "'nothing.npz' (nothing there)"),
        (["model", "wide.npz"], "x: expected shape (m, 3)"),
        (["model", "inputs.npz", "--out", "p.txt"], "expected a name that ends in .csv or .npz"),
        (["model", "inputs.npz", "--out", "no/p.csv"], "--out: expected a folder to write to"),
        (["model", "inputs.npz", "--classes", "--outputs"], "expected one of them, got both"),
        (["model"], "requires an argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_error_and_2(folder, arguments, message):
    code, out, err = call("predict", *arguments, folder=folder)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err


# ── Names ────────────────────────────────────────────────────────────────────────────────────────

NAMED = Encoding(("size", "age", "more"), "kind", ("cat", "a dog, or so"), (1.0,) * 3, (2.0,) * 3)


@pytest.fixture(scope="module")
def named(folder):
    """A network whose inputs and classes have names, and tables of four rows."""
    net = mbp.Network((3, 2), ("softmax",), "cross_entropy")
    params = [(np.float32([[0, 0, 0], [1, 0, 0]]), np.zeros(2, np.float32))]
    mbp.save(folder / "named", net, params, encoding=NAMED)
    x, chosen = np.array([[1.0, 5, 3], [4, 2, 0], [0, 0, 1], [9, -3, 2]]), [0, 1, 0, 1]  # size > 1
    words = [NAMED.classes[k] for k in chosen]
    right = [f'"{word}"' for word in words]
    right[0] = "emu"
    rows = [f"{b},{word},{a},{c}" for (a, b, c), word in zip(x, right, strict=True)]
    (folder / "named.csv").write_text("\n".join(["age,kind,size,more", *rows]))
    rows = [f"{i},{a},{b},{c}" for i, (a, b, c) in enumerate(x)]
    (folder / "alone.csv").write_text("\n".join(["id,size,age,more", *rows]))
    return words


def test_classes_by_name(folder, named):
    code, out, err = call("predict", "named", "named.csv", folder=folder)
    assert (code, list(csv.reader(out.splitlines()))) == (0, [[word] for word in named])
    assert err == "3 of 4 right, 75.00%; 1 of classes that the network does not know\n"
    code, again, err = call("predict", "named", "alone.csv", folder=folder)
    assert (code, again) == (0, out)
    assert err == "left out, for the network has no such input: id\n"


def test_names_in_files(folder, named):
    for flags, head in (((), ["kind"]), (("--outputs",), [*NAMED.classes])):
        call("predict", "named", "named.csv", "--out", "n.csv", *flags, folder=folder)
        first, *rows = csv.reader((folder / "n.csv").read_text().splitlines())
        assert (first, len(rows)) == (head, 4)
    assert call("predict", "named", "named.csv", "--outputs", folder=folder)[1].splitlines() == [
        ",".join(row) for row in rows
    ]
    call("predict", "named", "named.csv", "--out", "n.npz", folder=folder)
    with np.load(folder / "n.npz") as written:
        assert written["names"].tolist() == named


def test_a_target_of_another_name(folder, named):
    text = (folder / "named.csv").read_text().replace("kind", "truth")
    (folder / "truth.csv").write_text(text)
    err = call("predict", "named", "truth.csv", "--target", "truth", folder=folder)[2]
    assert err.startswith("3 of 4 right")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size", "sizes", "trained on, got none named 'size'; did you mean 'sizes'? Known: sizes"),
        ("more,", "", "got none named 'more'"),
        ("5.0", "", "got nothing in column 'age', row 2"),
        ("5.0", "five", "got 'five' in column 'age', row 2"),
    ],
)
def test_other_columns_and_cells_are_refused(folder, named, old, new, message):
    text = (folder / "named.csv").read_text()
    text = text.replace("size,more", "more,size").replace(old, new, 1)
    (folder / "bad.csv").write_text(text)
    code, out, err = call("predict", "named", "bad.csv", folder=folder)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("error: ") == 1


def test_numbers_in_the_units_of_the_target(folder):
    net = mbp.Network((1, 1), ("identity",), "quadratic")
    encoding = Encoding(("a",), "price", (), (1.0,), (2.0,), 100.0, 10.0)
    params = [(np.float32([[1]]), np.zeros(1, np.float32))]
    mbp.save(folder / "numbers", net, params, encoding=encoding)
    (folder / "numbers.csv").write_text("a,price\n1,100\n3,113\n5,\n")
    done = call("predict", "numbers", "numbers.csv", folder=folder)
    assert done == (0, "100\n110\n120\n", "root mean squared error 2.121\n")
