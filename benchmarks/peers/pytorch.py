"""PyTorch, eager: `nn.Sequential`, `optim.SGD`."""

from typing import Any

import jax
import numpy as np

from peers.peer import Pairs, Peer
from works import Setup

MODULES = {"relu": "ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU"}
MODULES |= {"sigmoid": "Sigmoid", "tanh": "Tanh"}


def peer(setup: Setup) -> Peer | None:
    """Steps on all batches in turn; None where it cannot run here."""
    try:
        import torch
    except ImportError:
        return None
    on_cpu = jax.default_backend() == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        return None
    nn, work = torch.nn, setup.work

    def tensor(array: Any) -> Any:
        wide = torch.tensor(np.asarray(array, np.float64))
        return wide.to("cpu" if on_cpu else "cuda", getattr(torch, setup.dtype))

    model = nn.Sequential()
    for (W, b), sigma in zip(setup.params, work.net.activations, strict=True):
        linear = nn.Linear(*W.shape[::-1])
        linear.weight, linear.bias = nn.Parameter(tensor(W)), nn.Parameter(tensor(b))
        model.append(linear)
        if sigma.name not in ("identity", "softmax"):
            model.append(getattr(nn, MODULES[sigma.name])())
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.learning_rate)
    batches = list(zip(*map(tensor, setup.batches), strict=True))
    cross_entropy = nn.CrossEntropyLoss() if work.cost == "cross_entropy" else None

    def epoch(model: Any) -> Any:
        for x, y in batches:
            optimizer.zero_grad()
            output = model(x)
            if cross_entropy:
                C = cross_entropy(output, y)
            else:
                C = ((output - y) ** 2).sum(dim=-1).mean() / 2
            C.backward()
            optimizer.step()
        return model

    def pairs(model: Any) -> Pairs:
        arrays = [p.detach().double().cpu().numpy() for p in model.parameters()]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    wait = lambda _: None if on_cpu else torch.cuda.synchronize()  # noqa: E731
    return Peer("PyTorch, eager", epoch, model, pairs, wait)
