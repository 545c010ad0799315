"""A page of the six steps, for who would rather look: one file that needs no network.

It reads what was recorded and judged, and computes nothing of its own.
"""

from manual_bp.explorer.page import write
from manual_bp.explorer.steps import Step

__all__ = ["Step", "write"]
