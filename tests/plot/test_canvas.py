"""What holds for every picture: any style, any Axes, nothing that overlaps, no other backend."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

import manual_bp as mbp
from drawn import HISTORY, case, record

STYLES = ("default", "dark_background", "ggplot", "grayscale", "seaborn-v0_8", "fivethirtyeight")


PICTURES = {
    "history": lambda ax: HISTORY.plot(ax),
    "deltas": lambda ax: mbp.plot.deltas(record(4, 20, 3), ax),
    "network": lambda ax: mbp.plot.network(*case(4, 20, 3)[:2], record(4, 20, 3), ax),
    "boundary": lambda ax: mbp.plot.boundary(*case(2, 3, 3), ax),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_every_style_has_every_letter(draw, style):
    """matplotlib warns of a glyph that a font lacks, and a warning fails a test."""
    with plt.style.context(style):
        ax = draw(None)
        ax.figure.canvas.draw()
        assert ax.get_xlabel()


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_axes_are_those_handed_in_or_new(draw):
    figure, ax = plt.subplots()
    assert draw(ax) is ax
    assert plt.get_fignums() == [figure.number]
    assert draw(None).figure is not figure
    with pytest.raises(TypeError, match=r"ax: expected one Axes of matplotlib, got ndarray"):
        draw(np.array([ax]))
    with pytest.raises(TypeError, match=r"ax: expected Axes with two straight axes, got polar"):
        draw(plt.figure().add_subplot(projection="polar"))


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_nothing_written_overlaps_or_is_cut_off(draw):
    ax = draw(None)
    ax.figure.canvas.draw()
    whole = ax.figure.bbox.padded(1)
    assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent().padded(-1))
    labels = [t for t in ax.get_xticklabels() if ax.get_xlim()[0] <= t.get_position()[0]]
    labels = [t.get_window_extent() for t in labels if t.get_position()[0] <= ax.get_xlim()[1]]
    boxes = [*labels, ax.xaxis.label.get_window_extent(), ax.get_legend().get_window_extent()]
    boxes += [a.yaxis.label.get_window_extent() for a in ax.figure.axes if a.get_ylabel()]
    for i, box in enumerate(boxes):
        assert whole.containsx(box.x0)
        assert whole.containsx(box.x1)
        assert whole.containsy(box.y0)
        assert whole.containsy(box.y1)
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in PICTURES.values():
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'manual_bp\[report\]'"):
            draw(None)


def test_agg_is_enough_and_only_drawing_imports_matplotlib():
    code = """if True:
        import sys
        import manual_bp as mbp, numpy as np
        assert "matplotlib" not in sys.modules
        mbp.plot.deltas(mbp.Backprop(delta=(np.ones((2, 3)),))).figure.savefig(sys.argv[1])
        import matplotlib
        assert matplotlib.get_backend().lower() == "agg"
    """
    options = {"env": os.environ | {"MPLBACKEND": "agg"}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, "/dev/null"], **options)
    assert done.returncode == 0, done.stderr
