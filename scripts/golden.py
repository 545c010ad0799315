"""The same as `manual-bp golden`."""

from manual_bp.cli.main import door

door("golden")
