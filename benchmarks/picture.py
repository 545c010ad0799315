"""One picture of all figures: a panel a section, ratios and growth on log axes."""

from pathlib import Path
from typing import Any

from table import OVER, TIME, UPPER_HALF, Rows, figure, select

ENDINGS = ".png, .pdf, .svg"


def draw(rows: Rows, title: str, file: Path) -> None:
    """Write PNG, PDF or SVG, by the file's ending."""
    from matplotlib.figure import Figure as Canvas

    ratios, growth = select(rows, what=OVER), select(rows, section="growth")
    panels = [(draw_ratios, select(ratios, section=of)) for of in ("step", "epoch", "memory")]
    panels += [(draw_growth, select(growth, network=of)) for of in ("width", "depth", "batch")]
    canvas = Canvas(figsize=(18, 10), layout="constrained")
    canvas.suptitle(f"by hand over its peers: {title}")
    colours = {peer: f"C{i}" for i, peer in enumerate(dict.fromkeys(row.peer for row in rows))}
    for place, (draw_panel, its) in enumerate(panels, start=1):
        if its:
            draw_panel(ax := canvas.add_subplot(2, 3, place), its, colours)
            ax.legend(fontsize="small")
    canvas.savefig(file, dpi=120)


def draw_ratios(ax: Any, rows: Rows, colours: dict[str, str]) -> None:
    lines = list(dict.fromkeys(f"{row.network} {row.sigma}" for row in rows))
    peers = list(dict.fromkeys(row.peer for row in rows))
    for i, peer in enumerate(peers):
        its, beside = select(rows, peer=peer), 0.8 * (i + 0.5) / len(peers) - 0.4
        y = [lines.index(f"{row.network} {row.sigma}") + beside for row in its]
        x = [row.median for row in its]
        ax.plot(x, y, "o", ms=4, label=peer, color=colours[peer])
        ends = zip(*((row.low or row.median, row.high or row.median) for row in its), strict=True)
        ax.hlines(y, *ends, color=colours[peer])
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set(title=f"{rows[0].section}: by hand over …", xscale="log")
    ax.set_yticks(range(len(lines)), lines)
    ax.invert_yaxis()


def draw_growth(ax: Any, rows: Rows, colours: dict[str, str]) -> None:
    for peer in ("by hand", "autodiff"):
        its = select(rows, peer=peer, what=TIME)
        sizes, seconds = [row.size for row in its], [row.median for row in its]
        ax.plot(sizes, seconds, "o-", label=peer, color=colours[peer])
    along, power = rows[0].network, figure(rows, what=UPPER_HALF).median
    ax.set(title=f"growth: upper half ∝ {along}^{power:.2f}", xlabel=along, ylabel="seconds a step")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
