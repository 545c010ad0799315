"""Matrix backpropagation by hand on JAX, every equation verified against autodiff."""

from manual_bp import explorer, layers, parallel, plot
from manual_bp.activations import Activation
from manual_bp.any_gradient.check_vjp import check_vjp
from manual_bp.backprop import (
    backprop,
    bias_gradient,
    cost,
    forward,
    hidden_delta,
    output_delta,
    update,
    weight_gradient,
    weighted_input,
)
from manual_bp.costs import Cost
from manual_bp.diagnosis.case import suggest_case
from manual_bp.diagnosis.check import Diagnosis, check
from manual_bp.diagnosis.finding import Finding
from manual_bp.lean import predict, value_and_grad
from manual_bp.network import Layer, Network
from manual_bp.record import Backprop
from manual_bp.subjects.convention import Convention
from manual_bp.subjects.forms import Update
from manual_bp.subjects.gradients import Vjp
from manual_bp.training.checkpoint import load, save
from manual_bp.training.checkpoints import load_checkpoint, save_checkpoint
from manual_bp.training.fit import fit
from manual_bp.training.history import History
from manual_bp.verdicts.compare import Agreement, compare
from manual_bp.verdicts.rows import Row
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
    "weighted_input",
    "output_delta",
    "hidden_delta",
    "bias_gradient",
    "weight_gradient",
    "update",
    "predict",
    "backprop",
    "autodiff",
    "summation",
    "numerical",
    "value_and_grad",
    "fit",
    "History",
    "parallel",
    "plot",
    "layers",
    "explorer",
    "save",
    "load",
    "save_checkpoint",
    "load_checkpoint",
    "compare",
    "Agreement",
    "Row",
    "check",
    "check_vjp",
    "Vjp",
    "Convention",
    "Update",
    "Diagnosis",
    "Finding",
    "suggest_case",
]
