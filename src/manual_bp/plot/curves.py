"""Curves: a training run by epochs, and the errors of a backward pass by layers."""

from typing import TYPE_CHECKING, Any

import numpy as np

from manual_bp.plot.canvas import axes, ground, legend_above, two_colours
from manual_bp.plot.sizes import decades, rms, sizes
from manual_bp.text import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKED = 30  # the most epochs of which each has a marker
_LOG_FROM = 10  # the ratio of the largest to the smallest cost from which its axis is logarithmic


def training(
    last: int, costs: dict[str, Any], accuracies: dict[str, Any], ax: "Axes | None" = None
) -> "Axes":
    """Curves over the epochs that end with `last`: costs on the left, accuracies on the right.

    The first of each is dashed. A curve that is None is not drawn.
    """
    n = len(next(iter(costs.values())))
    if n == 0:
        raise ValueError("history: expected at least one epoch to draw, got none; train first")
    ax, epochs = axes(ax), np.arange(last - n + 1, last + 1)
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    first, second = two_colours(ax)
    handles = _drawn(ax, epochs, costs, color=first, marker="o", ms=4)
    ax.set(xlabel="epoch", ylabel="cost $C$")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.3)
    known = np.concatenate([line.get_ydata() for line in handles])
    known = known[np.isfinite(known)]
    if known.size and known.min() > 0 and known.max() / known.min() > _LOG_FROM:
        ax.set_yscale("log")
    if any(curve is not None for curve in accuracies.values()):
        right = ax.twinx()
        handles += _drawn(right, epochs, accuracies, color=second, marker="s", mfc="none", ms=7)
        right.set_ylabel("accuracy (%)")
        right.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
        right.grid(False)
    legend_above(ax, handles)
    return ax


def _drawn(ax: "Axes", epochs: np.ndarray, curves: dict[str, Any], **look: Any) -> list[Any]:
    """The lines of these curves; a value between two gaps has a marker, for it has no line."""
    lines = []
    for (name, curve), dashes in zip(curves.items(), ("--", "-"), strict=True):
        if curve is not None:
            there = np.pad(np.isfinite(curve), 1)
            alone = there[1:-1] & ~there[:-2] & ~there[2:]
            marked = alone | (len(curve) <= _MARKED)
            lines += ax.plot(
                epochs, curve, dashes, label=name, markevery=np.flatnonzero(marked), **look
            )
    return lines


def deltas(step: Any, ax: "Axes | None" = None) -> "Axes":
    """The size of δ by layer on a log scale, where vanishing and exploding errors show.

    A point is the rms over all examples and neurons of a layer; its bar goes from the 10th to the
    90th percentile of |δ|. What a log scale cannot show has a mark of its own: layers of zeros,
    bars that begin at zero, and NaN or Inf, which the rest leaves out.

    Args:
        step: a `Backprop` record whose delta is given, each (m, n_l), or (n_l,) of one example.
        ax: the Axes to draw into; a new figure's by default.

    Returns:
        The Axes.

    Raises:
        TypeError, ValueError: naming what does not fit.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((3, 4, 4, 2), ("sigmoid",) * 3, "quadratic")
        >>> params = net.init(jax.random.key(0))
        >>> step = mbp.backprop(net, params, jnp.ones((5, 3)), jnp.zeros((5, 2)))
        >>> ax = mbp.plot.deltas(step)
        >>> ax.get_xlabel(), ax.get_yscale()
        ('layer $l$', 'log')
        >>> ax.figure.savefig("deltas.png")
    """
    found = [*sizes(step, "delta").values()]
    ax = axes(ax)
    from matplotlib.ticker import MaxNLocator

    first, second = two_colours(ax)
    L = len(found)
    layers = np.arange(1, L + 1)
    finite = [values[np.isfinite(values)] for values in found]
    typical = np.array([rms(values) if values.size else np.nan for values in finite])
    low, high = np.array(
        [np.percentile(values, (10, 90)) if values.size else (np.nan, np.nan) for values in finite]
    ).T
    drawn = np.stack([typical, low, high])
    bottom, top = decades(drawn[drawn > 0]) if (drawn > 0).any() else (0.1, 10.0)
    ax.set(xlim=(0.5, L + 0.5), yscale="log", ylim=(bottom, top))
    ax.set(xlabel="layer $l$", ylabel=r"size of $\delta^l = \partial C/\partial z^l$")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(axis="y", alpha=0.3)

    points = np.where(typical > 0, typical, np.nan)
    line = ax.plot(layers, points, "o-", color=first, label="rms", clip_on=False)
    bars = ax.vlines(
        layers, np.maximum(low, bottom), np.maximum(high, bottom), color=first, lw=9, alpha=0.35,
        label="10th to 90th percentile",
    )  # fmt: skip
    zero, cut = typical == 0, (typical > 0) & (low == 0)
    broken = np.array([not np.isfinite(values).all() for values in found])
    marks: list[Any] = []
    for where, height, name, look in (
        (cut, 0, "10th percentile is 0", {"marker": "v", "mfc": ground(ax)}),
        (zero, 0, "the whole layer is 0", {"marker": "v"}),
        (broken, 1, "has NaN or Inf", {"marker": "X"}),
    ):
        if where.any():
            marks += ax.plot(
                layers[where], np.full(where.sum(), height), ls="", ms=9, color=second, label=name,
                transform=ax.get_xaxis_transform(), clip_on=False, zorder=3, **look,
            )  # fmt: skip
    if not (drawn > 0).any():
        ax.set_yticks([])
        ax.set_yticks([], minor=True)
    shown = [*line, bars] if (drawn > 0).any() else []
    legend_above(ax, [*shown, *marks], title=_vanishing(typical))
    return ax


def _vanishing(typical: np.ndarray) -> str:
    """How much of δ is left, or has grown, on its way from the output to the first layer."""
    L, first, last = len(typical), float(typical[0]), float(typical[-1])
    if L == 1 or not (first > 0 and last > 0):
        return ""
    return rf"$\delta^1$ is {digits(first / last, 2)} times $\delta^{{{L}}}$"
