"""A training run by epochs, and the errors by layers: the lines are the numbers."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import manual_bp as mbp
from drawn import HISTORY, case, legend, record
from manual_bp.training.history import History


def test_the_lines_are_the_history():
    ax = HISTORY.plot()
    cost, accuracy = ax.figure.axes
    drawn = {line.get_label(): line for axes in (cost, accuracy) for line in axes.lines}
    for name, curve in {
        "cost while training": HISTORY.cost,
        "cost of validation": HISTORY.validation_cost,
        "accuracy while training": HISTORY.accuracy,
        "accuracy of validation": HISTORY.validation_accuracy,
    }.items():
        np.testing.assert_array_equal(drawn[name].get_ydata(), curve)
        np.testing.assert_array_equal(drawn[name].get_xdata(), [5, 6, 7])
        assert drawn[name].get_linestyle() == ("--" if "training" in name else "-")
    assert legend(ax)[:4] == [*drawn]
    assert len({line.get_color() for line in drawn.values()}) == 2
    assert accuracy.get_ylabel() == "accuracy (%)"


@pytest.mark.parametrize(
    ("costs", "scale"),
    [([2.0, 0.1], "log"), ([2.0, 1.0], "linear"), ([2.0, 0.0], "linear"), ([2.0, -9], "linear")],
)
def test_a_cost_that_falls_far_has_a_log_scale(costs, scale):
    ax = History(np.array(costs), None, None, None, np.ones(2), 2).plot()
    assert ax.get_yscale() == scale
    assert len(ax.figure.axes) == 1


def test_a_value_between_gaps_has_a_marker():
    curve = np.full(100, np.nan)
    curve[[3, 50, 51]] = 1, 2, 3
    [line] = History(curve, None, None, None, curve, 100).plot().lines
    assert [*line.get_markevery()] == [3]


def test_one_epoch_is_numbered_and_none_is_refused():
    one = History(np.ones(1), np.ones(1), None, None, np.ones(1), 7).plot()
    one.figure.canvas.draw()
    within = [t for t in one.get_xticks() if one.get_xlim()[0] <= t <= one.get_xlim()[1]]
    assert within == [7]
    with pytest.raises(ValueError, match="history: expected at least one epoch to draw"):
        History(np.empty(0), None, None, None, np.empty(0), 0).plot()


# ── Errors by layer ──────────────────────────────────────────────────────────────────────────────


def test_points_are_the_rms_and_bars_the_percentiles():
    step = record(3, 5, 4, 2)
    ax = mbp.plot.deltas(step)
    rms = [np.sqrt(np.mean(d**2)) for d in step.delta]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), rms)
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, :, 1], [np.percentile(abs(d), (10, 90)) for d in step.delta])
    np.testing.assert_array_equal(bars[:, 0, 0], [1, 2, 3])
    low, high = ax.get_ylim()
    assert low <= bars[:, :, 1].min() < bars[:, :, 1].max() <= high
    assert f"{rms[0] / rms[2]:.2g} times" in legend(ax)[-1]
    assert (ax.get_yscale(), len(legend(ax))) == ("log", 3)  # two, and the title


def test_zeros_and_nan_are_marked_and_said():
    some_nan, half = np.full((2, 4), 0.5), np.array([[0.0, 0.0, 0.3, 0.4]])
    some_nan[0, 1] = np.nan
    nan = np.full((1, 2), np.inf)
    ax = mbp.plot.deltas(mbp.Backprop(delta=(np.zeros((3, 3)), some_nan, half, nan)))
    ax.figure.canvas.draw()
    marks = {line.get_label(): [*line.get_xdata()] for line in ax.lines}
    assert marks["the whole layer is 0"] == [1]
    assert marks["10th percentile is 0"] == [3]
    assert marks["has NaN or Inf"] == [2, 4]
    np.testing.assert_allclose(ax.lines[0].get_ydata()[1:3], [0.5, 0.25])
    assert {"the whole layer is 0", "10th percentile is 0", "has NaN or Inf"} <= set(legend(ax))


def test_numpys_own_settings_do_not_stop_it():
    delta = np.array([1e-300, 1e300, np.inf, np.nan, 0.0])
    step = mbp.Backprop(a=(delta, delta[:1]), delta=(delta[:1],))
    with np.errstate(all="raise"):
        mbp.plot.deltas(mbp.Backprop(delta=(delta, delta[:2])))
        mbp.plot.network(*case(5, 1)[:2], step)


def test_what_jax_traces_is_refused():
    def drawn(delta):
        mbp.plot.deltas(mbp.Backprop(delta=(delta,)))

    with pytest.raises(TypeError, match="step: delta, layer 1: expected values, got what JAX"):
        jax.jit(drawn)(np.ones((2, 3)))
    assert not plt.get_fignums()


def test_nothing_but_zeros_has_no_scale():
    ax = mbp.plot.deltas(mbp.Backprop(delta=(np.zeros((1, 3)),)))
    ax.figure.canvas.draw()
    assert not len(ax.get_yticks())
    assert legend(ax) == ["the whole layer is 0", ""]


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e300])
@pytest.mark.parametrize("shape", [(3,), (1, 1), (4, 2)], ids=str)
def test_errors_of_any_size_and_shape(size, shape):
    ax = mbp.plot.deltas(mbp.Backprop(delta=[np.full(shape, -size), np.full(shape, size)]))
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), size)
    low, high = ax.get_ylim()
    assert low <= size <= high


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ([np.ones(3)], TypeError, "step: expected the record of .*, got list"),
        (mbp.Backprop(), ValueError, "step: expected delta, an array for each layer, got none"),
        (mbp.Backprop(delta=np.ones((2, 3))), ValueError, "each layer, got ndarray"),
        (mbp.Backprop(delta=()), ValueError, "got tuple of 0"),
        (mbp.Backprop(delta=("δ",)), TypeError, "step: delta, layer 1: expected real numbers"),
        (mbp.Backprop(delta=(np.ones((2, 0)),)), ValueError, r"delta, layer 1: .* got \(2, 0\)"),
        (mbp.Backprop(delta=(np.ones(2), None)), TypeError, "delta, layer 2: expected real"),
    ],
)
def test_what_is_no_record_of_errors(step, error, message):
    with pytest.raises(error, match=message):
        mbp.plot.deltas(step)
    assert not plt.get_fignums()
