"""manual-bp predict: what it prints and writes of a saved network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
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
