"""The same as `manual-bp check`."""

from manual_bp.cli.main import door

door("check")
