"""The same as `manual-bp predict`."""

from manual_bp.cli.main import door

door("predict")
