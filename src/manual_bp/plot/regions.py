"""What a network of two inputs decides, everywhere around the examples."""

from typing import TYPE_CHECKING, Any

import numpy as np

from manual_bp.calls import read_call
from manual_bp.lean import predict
from manual_bp.network import Network, Params
from manual_bp.plot.canvas import MARKERS, axes, class_colours, ink, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 200  # along each side


def boundary(net: Network, params: Params, x: Any, y: Any, ax: "Axes | None" = None) -> "Axes":
    """The plane of two inputs, coloured by the class that the network gives, with the examples.

    An example has the colour and marker of its own class, so one that stands in a region of
    another colour is decided wrongly. With one output the classes are y's two numbers, 0 and 1 or
    −1 and 1, and the boundary is in the middle between them; with more it is the largest output.

    Args:
        net: a network of two inputs.
        params: a `Layer(W, b)` for each layer.
        x: (m, 2), or (2,) for one example.
        y: (m, n_L), or (n_L,): classes as one-hot rows, or their numbers with cross_entropy.
        ax: the Axes to draw into; a new figure's by default.

    Returns:
        The Axes.

    Raises:
        TypeError, ValueError: naming what does not fit.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((2, 3, 1), ("tanh", "sigmoid"), "binary_cross_entropy")
        >>> params = net.init(jax.random.key(0))
        >>> ax = mbp.plot.boundary(net, params, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
        >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
        ('$x_1$', ['class 0', 'class 1'])
        >>> ax.figure.savefig("boundary.png")
    """
    if isinstance(net, Network) and net.sizes[0] != 2:
        raise ValueError(
            f"net: expected a network of 2 inputs, which a plane can show, got {net.sizes[0]}"
        )
    call = read_call(net, params, x, y)
    x, y = (np.atleast_2d(np.asarray(array, np.float64)) for array in call[2:])
    if (found := classes_of(net, y)) is None:
        expected = "0 or 1 (or -1 and 1)" if y.shape[1] == 1 else "one-hot rows"
        raise ValueError(
            f"y: expected classes, {expected}, got other numbers from {y.min():g} to {y.max():g}; "
            f"only classes have regions"
        )
    names, classes, _ = found
    across, up, classes_there = decided(net, call.params, x, y, _CELLS)
    ax = axes(ax)
    from matplotlib.colors import ListedColormap

    colours = class_colours(len(names))
    half = [(side[1] - side[0]) / 2 for side in (across, up)]
    ax.imshow(
        classes_there, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(names) - 0.5, alpha=0.35,
        extent=(across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1]),
        origin="lower", aspect="auto", interpolation="nearest",
    )  # fmt: skip
    for k in np.unique(classes_there)[1:]:
        ax.contour(across, up, classes_there == k, levels=[0.5], colors=[ink(ax)], linewidths=0.8)
    for k in np.unique(classes):
        of_class = x[classes == k]
        ax.scatter(
            of_class[:, 0], of_class[:, 1], s=28, color=colours[k], edgecolor=ink(ax),
            marker=MARKERS[k % len(MARKERS)], linewidth=0.6, label=f"class {names[k]}", zorder=3,
        )  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    ax.grid(False)
    legend_above(ax, ax.get_legend_handles_labels()[0], columns=5)
    return ax


def decided(
    net: Network, params: Params, x: np.ndarray, y: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middles of the cells across and up around the examples, and the class decided in each."""
    found = classes_of(net, y)
    assert found is not None  # only classes have regions
    names, _, middle = found
    across, up = (_around(column, cells) for column in x.T)
    outputs = np.stack(
        [predict(net, params, np.column_stack([across, np.full(cells, h)])) for h in up]
    ).astype(np.float64)
    one = len(names) > outputs.shape[-1]
    return across, up, outputs[..., 0] > middle if one else outputs.argmax(-1)


def classes_of(net: Network, y: np.ndarray) -> tuple[list[str], np.ndarray, float] | None:
    """The names of the classes, that of each example, and what divides those of one output.

    None where rows of targets are no classes.
    """
    n, known = y.shape[1], set(np.unique(y))
    if n == 1 and (known <= {0.0, 1.0} or known <= {-1.0, 1.0}):
        signed = -1.0 in known or net.cost.family == "hinge"
        return ["−1" if signed else "0", "1"], (y[:, 0] == 1).astype(int), 0.0 if signed else 0.5
    one_each = ((y == 1).sum(axis=1) == 1).all() and (known <= {0.0, 1.0} or known <= {-1.0, 1.0})
    if n > 1 and (one_each or net.cost.family == "cross_entropy"):
        return [str(k) for k in range(n)], y.argmax(axis=1), 0.0
    return None


def _around(column: np.ndarray, cells: int) -> np.ndarray:
    """The cells' middles along one side: the examples' range and a tenth of it on either side."""
    low, high = column.min(), column.max()
    margin = 0.1 * (high - low) or max(1.0, 0.1 * abs(low))
    return np.linspace(low - margin, high + margin, cells)
