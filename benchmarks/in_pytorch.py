"""The record of a backward pass by PyTorch's own functions and derivatives, as users write it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

import manual_bp as mbp
from manual_bp.families import parsed
from manual_bp.record import by_layer


class Kind(NamedTuple):
    """How a computation runs: the format of its tensors, and of autocast where it is on."""

    dtype: str
    autocast: str = ""

    @property
    def name(self) -> str:
        return f"autocast to {self.autocast}" if self.autocast else self.dtype

    @property
    def is_short(self) -> bool:
        return "16" in self.dtype + self.autocast


KINDS = (
    Kind("float32", "bfloat16"),
    Kind("float32"),
    Kind("float64"),
    Kind("bfloat16"),
    Kind("float32", "float16"),
)
SIGMA: dict[str, Any] = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "selu": F.selu,
    "softsign": F.softsign,
    "hard_sigmoid": F.hardsigmoid,
    "hard_tanh": F.hardtanh,
    "exp": torch.exp,
    "softmax": lambda z: torch.softmax(z, dim=-1),
}


def record_of(case: Any, kind: Kind) -> mbp.Backprop:
    """z, a, δ, ∂C/∂W and ∂C/∂b as autograd has them, in tensors of the formats that it chose."""
    net, params, x, y = case
    dtype = getattr(torch, kind.dtype)

    def tensor(array: Any) -> Tensor:
        return torch.tensor(array.astype(float), dtype=dtype)

    W, b = by_layer([tuple(map(tensor, layer)) for layer in params])
    for leaf in (*W.values(), *b.values()):
        leaf.requires_grad_()
    z, a, targets = {}, {0: tensor(x)}, tensor(y)
    short = getattr(torch, kind.autocast or "bfloat16")
    with torch.autocast("cpu", dtype=short, enabled=bool(kind.autocast)):
        for l in net.layers:
            z[l] = F.linear(a[l - 1], W[l], b[l])
            z[l].retain_grad()
            a[l] = SIGMA[parsed(net.sigma[l].name).name](z[l])
        C = cost(net, z[net.depth], a[net.depth], targets)
        if net.l2:
            C = C + net.l2 / 2 * sum((w**2).sum() for w in W.values())
    C.backward()
    delta = {l: z[l].grad for l in z}
    dW, db = ({l: leaf.grad for l, leaf in leaves.items()} for leaves in (W, b))
    return mbp.Backprop.from_layers(C.detach(), z, a, delta, dW, db)


def cost(net: mbp.Network, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """C by the functions that are meant for it."""
    match net.cost.name:
        case "cross_entropy":
            return F.cross_entropy(z, y)
        case "binary_cross_entropy":
            return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(y)
    return F.mse_loss(a, y, reduction="sum") / 2 / len(y)
