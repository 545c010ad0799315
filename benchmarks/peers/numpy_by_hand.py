"""NumPy, by hand, on the CPU."""

from typing import Any

import jax
import numpy as np

from peers.peer import Peer
from works import Work


def softmax(z: Any) -> Any:
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


# σ, and σ′ as a function of a; softmax's cancels in the cross-entropy.
SIGMA: dict[str, Any] = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0),
    "identity": (lambda z: z, lambda a: 1),
    "softmax": (softmax, lambda a: 1),
}


def peers(work: Work) -> list[Peer]:
    """None for a σ or a dtype that NumPy does not have."""
    has_dtype = work.dtype in ("float32", "float64")
    if work.sigma not in SIGMA or not has_dtype or jax.default_backend() != "cpu":
        return []
    sigma, sigma_prime = zip(*(SIGMA[s.name] for s in work.net.activations), strict=True)
    eta = work.learning_rate

    def step(params: Any, x: Any, y: Any) -> tuple[Any]:
        a = [x]
        for l, (W, b) in enumerate(params):
            a.append(sigma[l](a[l] @ W.T + b))
        delta = (a[-1] - y) / len(x) * sigma_prime[-1](a[-1])
        for l, (W, b) in reversed(list(enumerate(params))):
            dW, db = delta.T @ a[l], delta.sum(axis=0)
            if l:
                delta = (delta @ W) * sigma_prime[l - 1](a[l])
            W -= eta * dW
            b -= eta * db
        return (params,)

    params = [(np.array(W), np.array(b)) for W, b in work.params]
    batches = list(zip(*map(np.asarray, work.batches), strict=True))
    return [Peer("NumPy, by hand", step, params, batches)]
