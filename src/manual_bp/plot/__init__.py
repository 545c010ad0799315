"""Pictures for notebooks and papers: a network, the sizes of its errors, its decision regions.

They need matplotlib, `pip install 'manual_bp[report]'`, which only drawing imports. Each draws into
`ax`, or into a new figure of pyplot, and returns the Axes. A figure of your own leaves room for all
that is written where it has `layout="constrained"`. `History.plot` draws a training run.
"""

from manual_bp.plot.curves import deltas
from manual_bp.plot.diagram import network
from manual_bp.plot.regions import boundary

__all__ = ["network", "deltas", "boundary"]
