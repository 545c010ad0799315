"""One picture of all figures: a panel a section, ratios and growth on log axes."""

from pathlib import Path
from typing import Any

from table import OVER, TIME, UPPER_HALF, Figure, figure, select

ENDINGS = (".png", ".pdf", ".svg")


def check(file: Path) -> None:
    """Refuse what cannot be drawn before minutes are spent on measuring it."""
    if file.suffix not in ENDINGS:
        endings = ", ".join(ENDINGS)
        raise ValueError(f"--picture: expected a file name that ends in {endings}, got {file}")


def draw(rows: list[Figure], title: str, file: Path) -> None:
    """Write PNG, PDF or SVG, by the file's ending."""
    from matplotlib.figure import Figure as Canvas

    ratios = [row for row in rows if row.what == OVER and row.section != "growth"]
    growth = select(rows, section="growth")
    bars = dict.fromkeys(row.section for row in ratios)
    axes = dict.fromkeys(row.network for row in growth)
    panels = [(draw_ratios, select(ratios, section=section)) for section in bars]
    panels += [(draw_growth, select(growth, network=axis)) for axis in axes]
    columns = min(3, len(panels) or 1)
    lines = -(-len(panels) // columns) or 1
    canvas = Canvas(figsize=(6 * columns, 5 * lines), layout="constrained")
    canvas.suptitle(f"by hand over its peers: {title}")
    names = dict.fromkeys(["by hand", "autodiff", *(row.peer for row in ratios)])
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for place, (panel, of) in enumerate(panels, start=1):
        ax = canvas.add_subplot(lines, columns, place)
        panel(ax, of, colours)
        ax.legend(fontsize="small")
    canvas.savefig(file, dpi=120)


def draw_ratios(ax: Any, rows: list[Figure], colours: dict[str, str]) -> None:
    lines = list(dict.fromkeys(f"{row.network} {row.sigma}" for row in rows))
    peers = list(dict.fromkeys(row.peer for row in rows))
    for row in rows:
        i, value = peers.index(row.peer), row.median
        # Side by side within the line of their network.
        y = lines.index(f"{row.network} {row.sigma}") + 0.8 * (i + 0.5) / len(peers) - 0.4
        ends = [[value - (row.low or value)], [(row.high or value) - value]]
        label = row.peer if row == select(rows, peer=row.peer)[0] else None
        ax.errorbar(value, y, xerr=ends, fmt="o", ms=4, label=label, color=colours[row.peer])
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yticks(range(len(lines)), lines)
    ax.invert_yaxis()
    ax.set_title(f"{rows[0].section}: by hand over …")


def draw_growth(ax: Any, rows: list[Figure], colours: dict[str, str]) -> None:
    for peer in ("by hand", "autodiff"):
        times = select(rows, peer=peer, what=TIME)
        sizes, seconds = [row.size for row in times], [row.median for row in times]
        ax.plot(sizes, seconds, "o-", label=peer, color=colours[peer])
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set(xlabel=rows[0].network, ylabel="seconds a step")
    power = figure(rows, what=UPPER_HALF).median
    ax.set_title(f"growth: upper half ∝ {rows[0].network}^{power:.2f}")
