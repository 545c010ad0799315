"""PyTorch, eager: `nn.Sequential`, `optim.SGD`."""

from typing import Any

import jax
import numpy as np

from peers.peer import Peer
from works import Work

MODULES = {name.lower(): name for name in ("ReLU", "ELU", "SiLU", "GELU", "Sigmoid", "Tanh")}


def peers(work: Work) -> list[Peer]:
    """None where PyTorch is missing, or does not see the accelerator."""
    try:
        import torch
    except ImportError:
        return []
    on_cpu = jax.default_backend() == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        return []
    nn, model = torch.nn, torch.nn.Sequential()
    kind = {"device": "cpu" if on_cpu else "cuda", "dtype": getattr(torch, work.dtype)}
    tensor = lambda array: torch.tensor(np.asarray(array, np.float64), **kind)  # noqa: E731
    for (W, b), sigma in zip(work.params, work.net.activations, strict=True):
        linear = nn.Linear(*W.shape[::-1])
        linear.weight, linear.bias = nn.Parameter(tensor(W)), nn.Parameter(tensor(b))
        model.append(linear)
        if sigma.name not in ("identity", "softmax"):
            model.append(getattr(nn, MODULES[sigma.name])())
    optimizer = torch.optim.SGD(model.parameters(), lr=work.learning_rate)
    quadratic = lambda a, y: ((a - y) ** 2).sum(dim=-1).mean() / 2  # noqa: E731
    cost = nn.CrossEntropyLoss() if work.cost == "cross_entropy" else quadratic

    def step(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
        optimizer.zero_grad()
        C = cost(model(x), y)
        C.backward()
        optimizer.step()
        return model, C

    def pairs(model: Any) -> Any:
        arrays = (array.detach().double().cpu() for array in model.parameters())
        return zip(arrays, arrays, strict=True)

    batches = list(zip(*map(tensor, work.batches), strict=True))
    wait = lambda _: None if on_cpu else torch.cuda.synchronize()  # noqa: E731
    return [Peer("PyTorch, eager", step, model, batches, pairs, wait)]
