"""NumPy, by hand, on the CPU."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from peers.peer import Peer
from works import Setup

Pair = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def softmax(z: Any) -> Any:
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


# σ, and σ′ as a function of a; softmax's cancels in the cross-entropy.
SIGMA: dict[str, Pair] = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0),
    "identity": (lambda z: z, lambda a: 1),
    "softmax": (softmax, lambda a: 1),
}


def peer(setup: Setup) -> Peer | None:
    """Steps on all batches in turn; None for a σ or a dtype that NumPy does not have."""
    net, eta = setup.work.net, setup.learning_rate
    no_dtype = setup.dtype not in ("float32", "float64")
    if setup.work.sigma not in SIGMA or no_dtype or jax.default_backend() != "cpu":
        return None
    sigma, sigma_prime = zip(*(SIGMA[s.name] for s in net.activations), strict=True)
    batches = list(zip(*map(np.asarray, setup.batches), strict=True))

    def epoch(params: Any) -> Any:
        for x, y in batches:
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
        return params

    params = [(np.array(W), np.array(b)) for W, b in setup.params]
    return Peer("NumPy, by hand", epoch, params, wait=lambda params: None)
