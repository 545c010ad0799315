"""The layers of modern networks by hand: a page each, with the equations above the code.

Any JAX model can use them: `jax.grad` runs the way back that is written on the page.
"""

from manual_bp.layers.attention import attention
from manual_bp.layers.batchnorm import batchnorm
from manual_bp.layers.conv2d import conv2d
from manual_bp.layers.cross_entropy import softmax_cross_entropy
from manual_bp.layers.dropout import dropout
from manual_bp.layers.embedding import embedding
from manual_bp.layers.layernorm import layernorm
from manual_bp.layers.lstm import lstm
from manual_bp.layers.rmsnorm import rmsnorm
from manual_bp.layers.rnn import rnn
from manual_bp.layers.swiglu import swiglu

__all__ = [
    "layernorm",
    "rmsnorm",
    "batchnorm",
    "softmax_cross_entropy",
    "dropout",
    "embedding",
    "conv2d",
    "rnn",
    "lstm",
    "attention",
    "swiglu",
]
