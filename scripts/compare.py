"""The same as `manual-bp compare`."""

from manual_bp.cli.main import door

door("compare")
