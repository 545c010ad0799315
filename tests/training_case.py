"""What the tests of training share: a small network and its data, a run, and its mini-batches."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

import manual_bp as mbp

NET = mbp.Network((3, 5, 4), ("tanh", "softmax"), "cross_entropy", l2=0.01)
M = 23  # 7 does not divide it
KEY = jax.random.key(5)
# One object each, for which its programs are compiled once.
OPTIMIZERS = {
    "momentum": optax.sgd(0.1, momentum=0.9),
    # With this under the root the step's derivative stays near 1; else √v is steep at 0.
    "adam": optax.adam(0.05, eps_root=0.1),
}


def case(dtype=jnp.float32, net=NET, seed=0):
    """Params, x and y of one-hot rows; by NumPy, which has nothing to compile."""
    rng = np.random.default_rng(seed)

    def normal(scale, *shape):
        return jax.device_put(rng.normal(0, scale, shape).astype(jnp.dtype(dtype)))

    params = tuple(
        mbp.Layer(normal((2 / (n + n_prev)) ** 0.5, n, n_prev), normal(0.1, n))
        for n_prev, n in pairwise(net.sizes)
    )
    x = normal(1, M, net.sizes[0])
    y = np.eye(net.sizes[-1])[rng.integers(0, net.sizes[-1], M)]
    return params, x, jax.device_put(y.astype(jnp.dtype(dtype)))


def run(params, x, y, **changes):
    settings = {"epochs": 3, "batch_size": 7, "key": KEY, "learning_rate": 0.3} | changes
    return mbp.fit(NET, params, x, y, **settings)


def batches(x, y, epoch, batch_size):
    """The epoch's mini-batches, by NumPy from the 32 random bits of each example."""
    order = np.argsort(jax.random.bits(jax.random.fold_in(KEY, epoch), (len(x),)), kind="stable")
    for i in range(0, len(x), batch_size):
        yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


def same(one, other):
    one, other = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(one) == len(other) and all(
        a.dtype == b.dtype and bool((a == b).all()) for a, b in zip(one, other, strict=True)
    )
