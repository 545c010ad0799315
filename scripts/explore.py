"""The same as `manual-bp explore`."""

from manual_bp.cli.main import door

door("explore")
