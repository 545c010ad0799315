"""What the benchmark compares: the same training, in the form that each peer's users write."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

import manual_bp as mbp
from manual_bp.network import Params
from manual_bp.training import descend
from timing import Run, least_operations

Pairs = list[tuple[np.ndarray, np.ndarray]]
Step = Callable[[Any, Array, Array], tuple[Any, Array]]
Cost = Callable[[Any, Array, Array], Array]


@dataclass(frozen=True)
class Work:
    """A network and the batch that it is trained on."""

    name: str
    sizes: tuple[int, ...]
    sigma: str
    batch: int
    output: str = "identity"
    cost: str = "quadratic"

    def __str__(self) -> str:
        return f"{self.name} {self.sigma}, batch {self.batch}"

    @property
    def net(self) -> mbp.Network:
        """As manual_bp has it."""
        hidden = (self.sigma,) * (len(self.sizes) - 2)
        return mbp.Network(self.sizes, (*hidden, self.output), self.cost)

    @property
    def operations(self) -> int:
        """What the products of one step need at least."""
        return least_operations(self.sizes, self.batch)


class Peer(NamedTuple):
    """One competitor: `run(n)` makes n steps, or n epochs, and waits for the results."""

    name: str
    run: Run
    params: Callable[[], Pairs]  # (W, b) of each layer after them, W as (out, in)


@dataclass(frozen=True)
class Setup:
    """What all peers of a comparison share: work, numbers to start from, dtype, learning rate."""

    work: Work
    steps: int = 1  # batches in the data
    dtype: str = "float32"
    learning_rate: float = 1e-6  # small, so that any number of steps stays finite
    seed: int = 0

    @property
    def params(self) -> Params:
        """Where every peer starts."""
        return self.work.net.init(jax.random.key(self.seed), self.dtype)

    @property
    def batches(self) -> tuple[Array, Array]:
        """x and y of each step: (steps, batch, n). Rows of y are probabilities."""
        sizes, shape = self.work.sizes, (self.steps, self.work.batch)
        key_x, key_y = jax.random.split(jax.random.key(self.seed + 1))
        x = jax.random.normal(key_x, (*shape, sizes[0]), self.dtype)
        y = jax.nn.softmax(jax.random.normal(key_y, (*shape, sizes[-1]), self.dtype))
        return x, y


def step_peers(setup: Setup, *, checkpoint: bool = False) -> list[Peer]:
    """One training step, called again and again on the same batch."""
    jitted = jax_steps(setup)
    if checkpoint:
        jitted |= checkpointed_steps(setup)
    peers = [_in_python(name, step, setup) for name, step in jitted.items()]
    return [*peers, *_others(setup)]


def epoch_peers(setup: Setup) -> list[Peer]:
    """One epoch over the same batches: compiled as a scan, or a Python loop over jitted steps."""
    steps = jax_steps(setup)
    scanned = [_scanned(name, steps[name], setup) for name in ("autodiff", "optax (in, out)")]
    loop = _in_python("optax (in, out)", steps["optax (in, out)"], setup)
    loop = loop._replace(name="jitted step, Python loop")
    return [_fitted(setup), *scanned, loop, *_others(setup)]


# ── JAX ──────────────────────────────────────────────────────────────────────────────────────────

# Of `jax.nn`, as users take them.
SIGMA: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jax.nn.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "softmax": jax.nn.softmax,
}


def jax_steps(setup: Setup) -> dict[str, Step]:
    """(params, x, y) -> (params, C), not compiled yet: by hand and its JAX peers."""
    eta = setup.learning_rate
    return {
        "by hand": _descent(mbp.value_and_grad(setup.work.net), eta),
        "autodiff": _descent(jax.value_and_grad(jax_cost(setup.work)), eta),
        "optax (in, out)": _optax(setup),
    }


def checkpointed_steps(setup: Setup) -> dict[str, Step]:
    """Autodiff that computes each layer a second time in place of storing it."""
    return {
        name: _descent(jax.value_and_grad(cost), setup.learning_rate)
        for name, cost in checkpointed_costs(setup.work).items()
    }


def checkpointed_costs(work: Work) -> dict[str, Cost]:
    """The cost with `jax.checkpoint` around each layer, as it is and with the products kept."""
    keep = jax.checkpoint_policies.dots_saveable
    return {
        "jax.checkpoint": jax_cost(work, jax.checkpoint),
        "jax.checkpoint, z kept": jax_cost(work, partial(jax.checkpoint, policy=keep)),
    }


def jax_cost(work: Work, wrap: Callable[..., Any] = lambda layer: layer) -> Cost:
    """The cost that users write for `jax.grad`, W as (out, in)."""

    def layer(sigma: Callable[[Array], Array], a: Array, W: Array, b: Array) -> Array:
        return sigma(a @ W.T + b)

    def cost(params: Any, x: Array, y: Array) -> Array:
        a = x
        for W, b in params[:-1]:
            a = wrap(partial(layer, SIGMA[work.sigma]))(a, W, b)
        W, b = params[-1]
        z = a @ W.T + b
        if work.cost == "cross_entropy":
            return -(y * jax.nn.log_softmax(z)).sum(axis=-1).mean()
        return ((SIGMA[work.output](z) - y) ** 2).sum(axis=-1).mean() / 2

    return cost


def _descent(value_and_grad: Callable[..., Any], eta: float) -> Step:
    def step(params: Any, x: Array, y: Array) -> tuple[Any, Array]:
        C, gradients = value_and_grad(params, x, y)
        return jax.tree.map(lambda w, dw: w - eta * dw, params, gradients), C

    return step


def _optax(setup: Setup) -> Step:
    """As with Flax: kernels are (in, out); the optimiser's state travels with the parameters."""
    work = setup.work
    optimizer = optax.sgd(setup.learning_rate)

    def cost(params: Any, x: Array, y: Array) -> Array:
        a = x
        for layer in params[:-1]:
            a = SIGMA[work.sigma](a @ layer["kernel"] + layer["bias"])
        z = a @ params[-1]["kernel"] + params[-1]["bias"]
        if work.cost == "cross_entropy":
            return optax.softmax_cross_entropy(z, y).mean()
        return optax.l2_loss(SIGMA[work.output](z), y).sum(axis=-1).mean()

    def step(state: Any, x: Array, y: Array) -> tuple[Any, Array]:
        params, memory = state
        C, gradients = jax.value_and_grad(cost)(params, x, y)
        updates, memory = optimizer.update(gradients, memory, params)
        return (optax.apply_updates(params, updates), memory), C

    return step


def _start(name: str, setup: Setup) -> Any:
    params = setup.params
    if name != "optax (in, out)":
        return params
    kernels = [{"kernel": W.T, "bias": b} for W, b in params]
    return kernels, optax.sgd(setup.learning_rate).init(kernels)


def _pairs(name: str, state: Any) -> Pairs:
    if name != "optax (in, out)":
        return [(np.asarray(W), np.asarray(b)) for W, b in state]
    return [(np.asarray(layer["kernel"]).T, np.asarray(layer["bias"])) for layer in state[0]]


def _in_python(name: str, step: Step, setup: Setup) -> Peer:
    """A jitted step, its parameters donated, called from a Python loop over ready batches."""
    program = jax.jit(step, donate_argnums=0)
    state = _start(name, setup)
    batches = list(zip(*setup.batches, strict=True))

    def run(n: int) -> None:
        nonlocal state
        for _ in range(n):
            for x, y in batches:
                state, _C = program(state, x, y)
        jax.block_until_ready(state)

    return Peer(name, run, lambda: _pairs(name, state))


def _scanned(name: str, step: Step, setup: Setup) -> Peer:
    """An epoch in one program: a scan over its batches, the parameters donated."""
    program = jax.jit(
        lambda state, batches: lax.scan(lambda state, batch: step(state, *batch), state, batches),
        donate_argnums=0,
    )
    state, batches = _start(name, setup), setup.batches

    def run(n: int) -> None:
        nonlocal state
        for _ in range(n):
            state, _C = program(state, batches)
        jax.block_until_ready(state)

    return Peer(name, run, lambda: _pairs(name, state))


def _fitted(setup: Setup) -> Peer:
    """An epoch of `manual_bp.training.fit`: its scan, C of each step and nothing of accuracy."""
    eta = jnp.asarray(setup.learning_rate, setup.dtype)
    params, batches, net = setup.params, setup.batches, setup.work.net

    def run(n: int) -> None:
        nonlocal params
        for _ in range(n):
            params, *_rest = descend(net, None, params, None, batches, eta)
        jax.block_until_ready(params)

    return Peer("by hand", run, lambda: _pairs("by hand", params))


def temporaries(value_and_grad: Callable[..., Any], work: Work, dtype: str) -> int | None:
    """The compiler's peak of temporary bytes in one cost and gradient; nothing is run."""
    params = jax.eval_shape(lambda: work.net.init(jax.random.key(0), dtype))
    x, y = (jax.ShapeDtypeStruct((work.batch, work.sizes[i]), dtype) for i in (0, -1))
    analysis = jax.jit(value_and_grad).lower(params, x, y).compile().memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def gradient_functions(work: Work) -> dict[str, Callable[..., Any]]:
    """(params, x, y) -> (C, gradients), W as (out, in): by hand, autodiff, and with checkpoints."""
    costs = {"autodiff": jax_cost(work), **checkpointed_costs(work)}
    return {
        "by hand": mbp.value_and_grad(work.net),
        **{name: jax.value_and_grad(cost) for name, cost in costs.items()},
    }


def product(n: int, dtype: str) -> Run:
    """A square matrix product, 2n³ operations a call: what the machine can do at best."""
    key_a, key_b = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (n, n), dtype) for key in (key_a, key_b))
    program = jax.jit(jnp.matmul)

    def run(calls: int) -> None:
        for _ in range(calls):
            c = program(a, b)
        c.block_until_ready()

    return run


# ── Outside JAX ──────────────────────────────────────────────────────────────────────────────────


def _others(setup: Setup) -> list[Peer]:
    found = [torch_peer(setup), numpy_peer(setup)]
    return [peer for peer in found if peer is not None]


def torch_peer(setup: Setup) -> Peer | None:
    """PyTorch, eager: `nn.Sequential`, `optim.SGD`; None where it cannot run here."""
    try:
        import torch
    except ImportError:
        return None
    on_cpu = jax.default_backend() == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        return None
    device, dtype = "cpu" if on_cpu else "cuda", getattr(torch, setup.dtype)
    nn, work = torch.nn, setup.work
    sigmas = {
        "identity": nn.Identity,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "elu": nn.ELU,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
    }
    modules: list[Any] = []
    for l, (W, b) in enumerate(setup.params, start=1):
        linear = nn.Linear(*W.shape[::-1], device=device, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(W, np.float64)))
            linear.bias.copy_(torch.tensor(np.asarray(b, np.float64)))
        modules.append(linear)
        sigma = work.sigma if l < len(setup.params) else work.output
        if sigma not in ("identity", "softmax"):
            modules.append(sigmas[sigma]())
    model = nn.Sequential(*modules)
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.learning_rate)
    x, y = (
        torch.tensor(np.asarray(array, np.float64), device=device, dtype=dtype)
        for array in setup.batches
    )
    batches = list(zip(x, y, strict=True))
    cross_entropy = nn.CrossEntropyLoss()

    def run(n: int) -> None:
        for _ in range(n):
            for x, y in batches:
                optimizer.zero_grad()
                output = model(x)
                if work.cost == "cross_entropy":
                    C = cross_entropy(output, y)
                else:
                    C = ((output - y) ** 2).sum(dim=-1).mean() / 2
                C.backward()
                optimizer.step()
        if not on_cpu:
            torch.cuda.synchronize()

    def params() -> Pairs:
        arrays = [p.detach().double().cpu().numpy() for p in model.parameters()]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    return Peer("PyTorch, eager", run, params)


# σ, and σ′ as a function of a.
_NUMPY_SIGMA: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0),
    "identity": (lambda z: z, lambda a: 1),
}


def numpy_peer(setup: Setup) -> Peer | None:
    """NumPy, by hand, on the CPU; None for a σ or a dtype that NumPy does not have."""
    work = setup.work
    no_dtype = setup.dtype not in ("float32", "float64")
    if work.sigma not in _NUMPY_SIGMA or no_dtype or jax.default_backend() != "cpu":
        return None
    sigma, sigma_prime = _NUMPY_SIGMA[work.sigma]
    out, out_prime = _NUMPY_SIGMA.get(work.output, _NUMPY_SIGMA["identity"])
    W, b = (list(map(np.array, arrays)) for arrays in zip(*setup.params, strict=True))
    batches = list(zip(*map(np.asarray, setup.batches), strict=True))
    eta, last = setup.learning_rate, len(W) - 1

    def step(x: np.ndarray, y: np.ndarray) -> None:
        a = [x]
        for l in range(last):
            a.append(sigma(a[l] @ W[l].T + b[l]))
        z = a[last] @ W[last].T + b[last]
        if work.cost == "cross_entropy":
            exp = np.exp(z - z.max(axis=1, keepdims=True))
            delta = (exp / exp.sum(axis=1, keepdims=True) - y) / len(x)
        else:
            output = out(z)
            delta = (output - y) / len(x) * out_prime(output)
        for l in range(last, -1, -1):
            dW, db = delta.T @ a[l], delta.sum(axis=0)
            if l:
                delta = (delta @ W[l]) * sigma_prime(a[l])
            W[l] -= eta * dW
            b[l] -= eta * db

    def run(n: int) -> None:
        for _ in range(n):
            for x, y in batches:
                step(x, y)

    return Peer("NumPy, by hand", run, lambda: list(zip(W, b, strict=True)))
