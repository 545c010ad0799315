"""The same six steps on many devices, with the collectives written by hand."""

from manual_bp.parallel.hosts import connect, whole
from manual_bp.parallel.layout import Layout
from manual_bp.parallel.steps import backprop, value_and_grad

__all__ = ["Layout", "backprop", "connect", "value_and_grad", "whole"]
