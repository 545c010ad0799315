"""Decision regions: they are what `predict` says, and the points are the examples."""

from itertools import pairwise

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import manual_bp as mbp
from drawn import case, legend
from manual_bp.plot import canvas


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_regions_are_what_predict_says(classes):
    net, params, x, y = case(2, 5, classes, m=33)
    ax = mbp.plot.boundary(net, params, x, y)
    [image] = ax.images
    decided, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
    rows, columns = decided.shape
    i, j = np.random.default_rng(1).integers(0, (rows, columns), (50, 2)).T
    width, height = (right - left) / columns, (top - bottom) / rows
    cells = np.column_stack([left + (j + 0.5) * width, bottom + (i + 0.5) * height])
    said = mbp.predict(net, params, cells, classes=True)
    assert len(np.unique(said)) > 1
    np.testing.assert_array_equal(decided[i, j], said)
    points = {c.get_label(): c.get_offsets() for c in ax.collections if "class" in c.get_label()}
    assert [*points] == [f"class {k}" for k in range(classes)]
    for k in range(classes):
        np.testing.assert_allclose(points[f"class {k}"], x[y[:, k] == 1])
    assert left < x[:, 0].min() < x[:, 0].max() < right
    ax.figure.canvas.draw()


def test_no_two_classes_look_alike():
    net, params, x, y = case(2, 20, m=40)
    ax = mbp.plot.boundary(net, params, x, y)
    [image] = ax.images
    assert len(set(canvas.class_colours(20))) == image.get_cmap().N == 20
    points = [c for c in ax.collections if "class" in c.get_label()]
    np.testing.assert_allclose([c.get_facecolor()[0][:3] for c in points], canvas.class_colours(20))
    markers = [c.get_paths()[0].vertices.tobytes() for c in points]
    assert all(one != other for one, other in pairwise(markers))


@pytest.mark.parametrize(
    ("output", "cost", "low", "edge"),
    [
        ("sigmoid", "binary_cross_entropy", 0, 0.5),
        ("tanh", "quadratic", -1, 0.0),
        ("identity", "hinge", -1, 0.0),
    ],
)
def test_one_output_is_divided_in_the_middle(output, cost, low, edge):
    net = mbp.Network((2, 1), (output,), cost)
    params = [(np.array([[1.0, 0.0]]), np.array([0.25]))]
    x, y = np.array([[-1.0, -1], [1, 1]]), np.array([low, 1])
    ax = mbp.plot.boundary(net, params, x, y)
    [image] = ax.images
    row = np.asarray(image.get_array())[0]
    left, right, *_ = image.get_extent()
    turn = left + np.argmax(row) * (right - left) / len(row)
    assert turn == pytest.approx(-0.25, abs=2 * (right - left) / len(row))
    assert legend(ax)[:2] == [f"class {'−1' if low else '0'}", "class 1"]


def test_one_example_and_one_class():
    net, *_ = case(2, 3)
    ax = mbp.plot.boundary(net, [(np.zeros((3, 2)), np.array([0.0, 1, 0]))], [5.0, 5.0], [0, 1, 0])
    ax.figure.canvas.draw()
    assert (np.asarray(ax.images[0].get_array()) == 1).all()
    assert legend(ax)[0] == "class 1"


def test_the_numbers_of_classes_will_do():
    net, params, x, y = case(2, 3)
    first, second = (mbp.plot.boundary(net, params, x, t) for t in (y, y.argmax(axis=1)))
    for one, other in zip(first.collections, second.collections, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), other.get_offsets())


def test_what_has_no_regions():
    with pytest.raises(ValueError, match=r"net: expected a network of 2 inputs, .* got 3"):
        mbp.plot.boundary(*case(3, 2))
    net, params, x, y = case(2, 3)
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\)"):
        mbp.plot.boundary(net, params, x[:, :1], y)
    real = mbp.Network((2, 1), ("identity",), "quadratic")
    with pytest.raises(ValueError, match=r"y: expected classes, 0 or 1 .*, got other numbers from"):
        mbp.plot.boundary(real, [(np.ones((1, 2)), None)], x, np.linspace(0, 1, len(x)))
    assert not plt.get_fignums()


def test_a_network_of_jax_in_float16():
    net, _, x, y = case(2, 3, 2)
    params = net.init(jax.random.key(0), "float16")
    ax = mbp.plot.boundary(net, params, x, y)
    mbp.plot.network(net, params, mbp.backprop(net, params, x, y))
    ax.figure.canvas.draw()
    assert ax.images
