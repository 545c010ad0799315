"""Where a picture is drawn, and in which colours: those that colour-blind people can tell apart."""

from typing import TYPE_CHECKING, Any

import numpy as np

from manual_bp.checks import kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Source: M. Okabe and K. Ito, *Color Universal Design* (2008).
BLUE, VERMILLION, SKY, ORANGE = "#0072B2", "#D55E00", "#56B4E9", "#E69F00"
CLASSES = (BLUE, ORANGE, "#009E73", VERMILLION, "#CC79A7", SKY, "#F0E442", "#999999")
MARKERS = "os^DvPX<>*"  # as many as colours and two, so that pairs of them repeat late


def need_matplotlib(what: str = "manual_bp.plot") -> None:
    """Raise where matplotlib is not installed, and say how to install it.

    Raises:
        ModuleNotFoundError: it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs matplotlib, which is not installed: pip install 'manual_bp[report]'"
        ) from error


def axes(ax: Any, width: float | None = None) -> "Axes":
    """The Axes handed in, or those of a new figure, as wide as the style has it or wider.

    Raises:
        TypeError: `ax` is no Axes, or one of another kind, such as a polar one.
        ModuleNotFoundError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        figure, new = plt.subplots(layout="constrained")
        figure.set_figwidth(max(figure.get_figwidth(), width or 0))
        return new
    if not isinstance(ax, Axes):
        raise TypeError(f"ax: expected one Axes of matplotlib, got {kind(ax)}; pass one of them")
    if ax.name != "rectilinear":
        raise TypeError(f"ax: expected Axes with two straight axes, got {ax.name} ones")
    return ax


def ground(ax: "Axes") -> Any:
    """The colour behind what is drawn."""
    from matplotlib.colors import to_rgba

    own = to_rgba(ax.get_facecolor())
    return (own if own[3] else to_rgba(ax.figure.get_facecolor()))[:3]


def ink(ax: "Axes") -> Any:
    """The colour of what is written."""
    return ax.xaxis.label.get_color()


def two_colours(ax: "Axes") -> tuple[str, str]:
    """Two that stand out from what is behind them, light or dark."""
    dark = np.dot(ground(ax), (0.2126, 0.7152, 0.0722)) < 0.5
    return (SKY, ORANGE) if dark else (BLUE, VERMILLION)


def class_colours(n: int) -> list[Any]:
    """A colour for each class; beyond the first ones the same again, and darker."""
    from matplotlib.colors import to_rgb

    rounds = [(CLASSES[k % len(CLASSES)], 0.6 ** (k // len(CLASSES))) for k in range(n)]
    return [tuple(share * light for light in to_rgb(colour)) for colour, share in rounds]


def legend_above(ax: "Axes", handles: Any, columns: int = 2, title: str = "") -> None:
    """A legend over the picture, where it hides nothing."""
    ax.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        frameon=False,
        fontsize="small",
        title=title or None,
        title_fontsize="small",
    )
