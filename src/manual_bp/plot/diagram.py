"""A network drawn: its neurons by layer, its weights, and how far a step moved each neuron."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from manual_bp.calls import read_params
from manual_bp.checks import Problems, whole_number
from manual_bp.network import Network, Params
from manual_bp.plot.canvas import axes, ground, ink, legend_above, two_colours
from manual_bp.plot.sizes import decades, rms, sizes
from manual_bp.text import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DISC, _RING = 0.56, 0.9  # diameters; neurons stand 1 apart
_ROWS = 1.5  # times as many as columns of the same size, for the scales beside take room
_LEAST = 1e-280  # of a scale of colours, which matplotlib cannot draw for smaller ones
_LABELS = 13  # the most layers that are all numbered


def network(
    net: Network, params: Params, step: Any = None, ax: "Axes | None" = None, *, most: int = 12
) -> "Axes":
    """The network: neurons by layer, weights by colour and width, and what a step made of them.

    Of a step each neuron's disc is as dark as its activation is large, and the ring around it
    shows its error δ on a log scale: absolute values of one example, the rms over a batch. A
    neuron without a ring has δ = 0, and a cross is NaN or Inf. Biases are not drawn. Of a large
    layer `most` neurons are drawn, evenly spaced, and the layer's label says of how many.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer.
        step: a `Backprop` record whose a or delta is given, or both, each (m, n_l), or (n_l,).
        ax: the Axes to draw into; a new figure's by default.
        most: the most neurons drawn in a layer.

    Returns:
        The Axes.

    Raises:
        TypeError, ValueError: naming what does not fit.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 40, 2), ("tanh", "softmax"), "cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> step = mbp.backprop(net, params, jnp.ones((5, 3)), jnp.eye(2)[jnp.arange(5) % 2])
        >>> ax = mbp.plot.network(net, params, step, most=6)
        >>> [label.get_text().split() for label in ax.get_xticklabels()]
        [['0', '3'], ['1', '6', 'of', '40'], ['2', '2']]
        >>> ax.figure.savefig("network.png")
    """
    params = read_params(net, params)
    problems = Problems()
    most = whole_number("most", most, 1, problems) or 1
    problems.raise_all()
    measured = _measured(net, step)
    ax = axes(ax, width=0.62 * len(net.sizes) + 2)

    neurons = [_sample(n, most) for n in net.sizes]
    places = [
        np.column_stack([np.full(len(i), l), (len(i) - 1) / 2 - np.arange(len(i))])
        for l, i in enumerate(neurons)
    ]
    room = ax.get_window_extent()
    narrow = _ROWS * (net.depth + 1.2) * room.height / room.width  # lest rings touch beside them
    rows = max(max(map(len, neurons)), 5, narrow)
    ax.set(xlim=(-0.6, net.depth + 0.6), ylim=(-rows / 2, rows / 2), yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)
    handles, notes = _weights(ax, params, neurons, places)
    _discs(ax, np.concatenate(places), _DISC, facecolor=ground(ax), edgecolor=ink(ax))
    for quantity, (over, values) in measured.items():
        shown = {l: values[l][neurons[l]] for l in values}
        where = np.concatenate([places[l] for l in shown])
        sizes_there = np.concatenate([*shown.values()])
        handles += _sizes_of(ax, quantity, over, where, sizes_there)
        if quantity == "delta" and (sizes_there == 0).any():
            notes += r"; no ring: $\delta^l = 0$"
    _name_layers(ax, net, neurons)
    legend_above(ax, handles, title=notes)
    return ax


def _sample(n: int, most: int) -> np.ndarray:
    """Which of n neurons are drawn: all, or so many that are evenly spaced."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def _measured(net: Network, step: Any) -> dict[str, tuple[str, dict[int, np.ndarray]]]:
    """By quantity: how its examples were put together, and each neuron's number by layer."""
    if step is None:
        return {}
    given = [q for q in ("delta", "a") if getattr(step, q, None) is not None] or ["a"]
    found, problems = {}, Problems()
    for quantity in given:
        by_layer = sizes(step, quantity)
        m = len(next(iter(by_layer.values())))
        expected = net.sizes[min(by_layer) :]
        if len(by_layer) != len(expected):
            problems.value(
                f"step: expected {quantity} of {len(expected)} layers, got {len(by_layer)}; pass "
                f"backprop(net, params, x, y) of this network"
            )
        for (l, values), n in zip(by_layer.items(), expected, strict=False):
            if values.shape != (m, n):
                problems.value(
                    f"step: {quantity}, layer {l}: expected shape {(m, n)}, got {values.shape}"
                )
        symbol = r"\delta^l" if quantity == "delta" else "a^l"
        over = f"$|{symbol}|$" if m == 1 else f"rms of ${symbol}$, $m$ = {m:,}"
        found[quantity] = over, {l: rms(values, 0) for l, values in by_layer.items()}
    problems.raise_all()
    return found


def _weights(
    ax: "Axes", params: Params, neurons: list[Any], places: list[Any]
) -> tuple[list[Any], str]:
    """Draw the weights between these neurons; give what the legend says of them."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    W = [
        np.asarray(W, np.float64)[np.ix_(here, before)]
        for (W, _), (before, here) in zip(params, pairwise(neurons), strict=True)
    ]
    ends = [
        np.stack(np.broadcast_arrays(before[None], here[:, None]), axis=2).reshape(-1, 2, 2)
        for before, here in pairwise(places)
    ]
    weights, lines = np.concatenate([w.ravel() for w in W]), np.concatenate(ends)
    largest = np.abs(weights).max()
    if largest == 0:
        return [], "every weight drawn is 0"
    order = np.argsort(np.abs(weights))  # the large ones on top
    weights, lines = weights[order], lines[order]
    handles = []
    for sign, name, dashes, color in zip(
        (1, -1), ("$w > 0$", "$w < 0$"), ("-", (0, (4, 1.2))), two_colours(ax), strict=True
    ):
        handles.append(Line2D([], [], color=color, ls=dashes, lw=2, label=name))
        its = sign * weights > 0
        if not its.any():
            continue
        share = np.abs(weights[its]) / largest
        drawn = LineCollection(
            list(lines[its]), linewidths=0.3 + 2.2 * share, alpha=0.15 + 0.85 * share,
            colors=color, linestyles=[dashes], label=name, zorder=1,
        )  # fmt: skip
        ax.add_collection(drawn)
    return handles, f"widest line: $|w|$ = {digits(largest, 3)}"


def _sizes_of(
    ax: "Axes", quantity: str, over: str, where: np.ndarray, values: np.ndarray
) -> list[Any]:
    """Colour the neurons by these sizes, with a scale beside; crosses where they are not finite."""
    from matplotlib.colors import LogNorm, Normalize

    finite = np.isfinite(values)
    if quantity == "delta":
        shown = finite & (values > 0)
        low, high = decades(np.maximum(values[shown], _LEAST)) if shown.any() else (0.1, 1.0)
        look: dict[str, Any] = {"norm": LogNorm(low, high), "cmap": "viridis", "zorder": 1.5}
    else:
        shown = finite
        largest = values[shown].max(initial=0) or 1.0
        look = {"norm": Normalize(0, largest), "cmap": "Greys", "edgecolor": ink(ax)}
    discs = _discs(ax, where[shown], _RING if quantity == "delta" else _DISC, **look)
    discs.set_array(values[shown])
    discs.set_label(quantity)
    ax.figure.colorbar(discs, ax=ax, label=over, shrink=0.8, aspect=25, pad=0.02)
    if finite.all():
        return []
    size = {"delta": 11, "a": 6}[quantity]
    name = {"delta": r"$\delta^l$", "a": "$a^l$"}[quantity] + " is NaN or Inf"
    look = {"marker": "x" if quantity == "delta" else "+", "color": two_colours(ax)[1]}
    return ax.plot(*where[~finite].T, ls="", ms=size, mew=2, label=name, zorder=4, **look)


def _discs(ax: "Axes", where: np.ndarray, diameter: float, **look: Any) -> Any:
    """Discs that stay round whatever the shape of the Axes."""
    from matplotlib.collections import EllipseCollection

    across = np.full(len(where), diameter)
    discs = EllipseCollection(
        across, across, 0 * across, units="y", offsets=where, offset_transform=ax.transData,
        **({"zorder": 2} | look),
    )  # fmt: skip
    return ax.add_collection(discs)


def _name_layers(ax: "Axes", net: Network, neurons: list[Any]) -> None:
    """Under each layer its number and its neurons, and how many of them are drawn."""
    every = -(-len(net.sizes) // _LABELS)
    layers = [*range(0, net.depth, every), net.depth]
    layers = [l for l in layers if l == net.depth or net.depth - l >= every]
    of = [("" if len(neurons[l]) == net.sizes[l] else f"{len(neurons[l])} of\n") for l in layers]
    ax.set_xticks(layers, [f"{l}\n{o}{net.sizes[l]:,}" for l, o in zip(layers, of, strict=True)])
    ax.tick_params(bottom=False)
    sampled = any(len(i) < n for i, n in zip(neurons, net.sizes, strict=True))
    ax.set_xlabel("layer $l$, and how many of its neurons are drawn" if sampled
                  else "layer $l$, and its neurons")  # fmt: skip
