"""Matrix backpropagation by hand on JAX, every equation verified against autodiff."""

from manual_bp.activations import Activation
from manual_bp.backprop import (
    Backprop,
    backprop,
    bias_gradient,
    cost,
    forward,
    hidden_delta,
    output_delta,
    update,
    value_and_grad,
    weight_gradient,
)
from manual_bp.checking.blindness import suggest_case
from manual_bp.checking.convention import Convention
from manual_bp.checking.diagnosis import Diagnosis, Finding, check
from manual_bp.costs import Cost
from manual_bp.network import Layer, Network
from manual_bp.training import fit
from manual_bp.verification.agreement import Agreement, Row, compare
from manual_bp.witnesses.autodiff import autodiff
from manual_bp.witnesses.numerical import numerical
from manual_bp.witnesses.summation import summation

__version__ = "0.1.0"

__all__ = [
    "Network",
    "Layer",
    "Activation",
    "Cost",
    "Backprop",
    "cost",
    "forward",
    "output_delta",
    "hidden_delta",
    "bias_gradient",
    "weight_gradient",
    "update",
    "backprop",
    "autodiff",
    "summation",
    "numerical",
    "value_and_grad",
    "fit",
    "compare",
    "Agreement",
    "Row",
    "check",
    "Convention",
    "Diagnosis",
    "Finding",
    "suggest_case",
]
