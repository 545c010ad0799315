"""The network drawn: its neurons, its weights, and the numbers that the neurons carry."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import manual_bp as mbp
from drawn import case, collection, legend


def values_of(ax, quantity):
    return collection(ax, quantity).get_array()


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (4, 5, 3), (784, 128, 10), (9,) * 13], ids=str)
def test_the_neurons_and_weights_of_a_network(sizes):
    net, params, _, _ = case(*sizes)
    ax = mbp.plot.network(net, params)
    drawn = [min(n, 12) for n in sizes]
    assert len(ax.collections[-1].get_offsets()) == sum(drawn)
    lines = sum(len(c.get_segments()) for c in ax.collections[:-1])
    assert lines == sum(n * m for n, m in zip(drawn[1:], drawn[:-1], strict=True))
    names = [label.get_text().split() for label in ax.get_xticklabels()]
    sampled = [["12", "of"] if n > 12 else [] for n in sizes]
    assert names == [
        [f"{l}", *s, f"{n}"] for l, (s, n) in enumerate(zip(sampled, sizes, strict=True))
    ]
    assert ("are drawn" in ax.get_xlabel()) == (max(sizes) > 12)
    ax.figure.canvas.draw()


def test_weights_by_sign_and_size():
    net, _, _, _ = case(2, 2)
    ax = mbp.plot.network(net, [(np.array([[1.0, -2.0], [0.5, 0.0]]), None)])
    up, down = collection(ax, "$w > 0$"), collection(ax, "$w < 0$")
    assert tuple(up.get_colors()[0][:3]) != tuple(down.get_colors()[0][:3])
    assert up.get_linestyles()[0][1] is None
    assert down.get_linestyles()[0][1] is not None
    # W[j, k] joins neuron k of the input, numbered from the top, to neuron j.
    np.testing.assert_array_equal(up.get_segments(), [[[0, 0.5], [1, -0.5]], [[0, 0.5], [1, 0.5]]])
    np.testing.assert_array_equal(down.get_segments(), [[[0, -0.5], [1, 0.5]]])
    thin, thick = up.get_linewidths()
    assert thin < thick < down.get_linewidths()[0]
    assert "widest line: $|w|$ = 2" in legend(ax)
    ax = mbp.plot.network(net, [(np.zeros((2, 2)), None)])
    assert "every weight drawn is 0" in legend(ax)


@pytest.mark.parametrize("m", [None, 1, 6])
def test_neurons_carry_the_sizes_of_a_step(m):
    net, params, x, y = case(3, 4, 2, m=m or 1)
    step = mbp.backprop(net, params, *((x, y) if m else (x[0], y[0])))
    ax = mbp.plot.network(net, params, step)
    for quantity, arrays in (("a", step.a), ("delta", step.delta)):
        expected = [np.sqrt(np.mean(np.atleast_2d(v) ** 2, axis=0)) for v in arrays]
        np.testing.assert_allclose(values_of(ax, quantity), np.concatenate(expected), rtol=1e-6)
    bars = [a.get_ylabel() for a in ax.figure.axes[1:]]
    assert all(label.startswith("rms" if m == 6 else "$|") for label in bars)
    assert len(collection(ax, "delta").get_offsets()) == 6
    ax.figure.canvas.draw()


def test_of_sampled_layers_the_values_of_those_drawn():
    net, params, _, _ = case(100, 2)
    a = np.arange(100.0)
    step = mbp.Backprop(a=(a, np.zeros(2)))
    ax = mbp.plot.network(net, params, step, most=3)
    np.testing.assert_array_equal(values_of(ax, "a"), [0, 50, 99, 0, 0])


def test_zero_and_nonfinite_neurons_are_said():
    net, params, _, _ = case(2, 3, 2)
    a = [np.array([np.nan, 1.0]), np.ones(3), np.ones(2)]
    delta = [np.array([0.0, 1e-3, 1e-2]), np.array([np.inf, 1e-3])]
    ax = mbp.plot.network(net, params, mbp.Backprop(a=a, delta=delta))
    ax.figure.canvas.draw()
    assert len(values_of(ax, "a")) == 6
    np.testing.assert_allclose(values_of(ax, "delta"), [1e-3, 1e-2, 1e-3])
    crosses = {line.get_label(): [*map(tuple, line.get_xydata())] for line in ax.lines}
    assert crosses == {
        "$a^l$ is NaN or Inf": [(0, 0.5)],
        r"$\delta^l$ is NaN or Inf": [(2, 0.5)],
    }
    assert any("no ring" in text for text in legend(ax))


def test_what_does_not_fit_the_network():
    net, params, x, y = case(3, 4, 2)
    step = mbp.backprop(net, params, x, y)
    other = mbp.backprop(*case(3, 5, 2))
    for arguments, error, message in (
        ((params, net), TypeError, "net: expected a manual_bp.Network, got "),
        ((net, params[:1]), ValueError, r"params: expected a Layer\(W, b\) for each of the 2"),
        ((net, params, x), TypeError, "step: expected the record of .*, got ndarray"),
        ((net, params, other), ValueError, r"a, layer 1: expected shape \(6, 4\), got \(6, 5\)"),
        ((net, params, mbp.Backprop(cost=1)), ValueError, "step: expected a, an array"),
        (
            (net, params, step._replace(delta=step.delta[:1])),
            ValueError,
            "step: expected delta of 2 layers, got 1",
        ),
    ):
        with pytest.raises(error, match=message):
            mbp.plot.network(*arguments)
    with pytest.raises(ValueError, match="most: expected a whole number ≥ 1, got 0"):
        mbp.plot.network(net, params, most=0)
    assert not plt.get_fignums()
