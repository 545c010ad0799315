"""The same as `manual-bp train`."""

from manual_bp.cli.main import door

door("train")
