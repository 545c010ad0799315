"""The networks that are measured, and what by hand is held to on them."""

from collections.abc import Iterable
from itertools import pairwise, product
from typing import Any, NamedTuple

import jax
from jax import Array

import manual_bp as mbp
from manual_bp.network import Params
from table import CEILING, OVER, STEPS, Figure


class Work(NamedTuple):
    """A network and its training, which all peers share."""

    name: str
    sizes: tuple[int, ...]
    sigma: str
    batch: int
    output: str = "identity"
    cost: str = "quadratic"
    size: int | None = None  # what varies: an epoch's steps, a width, …
    steps: int = 1  # batches in the data
    dtype: str = "float32"
    learning_rate: float = 1e-6  # small, so that any number of steps stays finite
    seed: int = 0

    @property
    def net(self) -> mbp.Network:
        hidden = (self.sigma,) * (len(self.sizes) - 2)
        return mbp.Network(self.sizes, (*hidden, self.output), self.cost)

    @property
    def operations(self) -> int:
        """Additions and multiplications that the products of one step need.

        Forward and BP4 in every layer; BP2 in every layer but the first, whose δ⁰ nobody asks for.
        """
        weights = [n * n_prev for n_prev, n in pairwise(self.sizes)]
        return 2 * self.batch * (2 * sum(weights) + sum(weights[1:]))

    @property
    def params(self) -> Params:
        """Where every peer starts; new arrays each time, for a peer uses them up."""
        return self.net.init(jax.random.key(self.seed), self.dtype)

    @property
    def batches(self) -> tuple[Array, Array]:
        """x and y of each step: (steps, batch, n). Rows of y are probabilities."""
        key_x, key_y = jax.random.split(jax.random.key(self.seed + 1))
        shape = (self.steps, self.batch)
        x = jax.random.normal(key_x, (*shape, self.sizes[0]), self.dtype)
        return x, jax.nn.softmax(jax.random.normal(key_y, (*shape, self.sizes[-1]), self.dtype))

    def epoch(self, operations: float) -> "Work":
        """As many steps as take so many operations, within 2 to 1000."""
        steps = int(min(1000, max(2, operations // self.operations)))
        return self._replace(steps=steps, size=steps)

    def figure(self, section: str, peer: str, **fields: Any) -> Figure:
        """A row about it."""
        return Figure(section, self.name, self.sigma, self.batch, self.size, peer, **fields)


Works = dict[str, list[Any]]  # by section: single ones, or lists of what belongs together
SMALL = [
    Work("784-30-10", (784, 30, 10), "sigmoid", 10, "sigmoid"),
    Work("784-100-10", (784, 100, 10), "relu", 32, "softmax", "cross_entropy"),
    Work("784-512-512-10", (784, 512, 512, 10), "relu", 128, "softmax", "cross_entropy"),
    Work("8x64", (64,) * 9, "tanh", 32),
]
WIDE = [Work("1024x4", (1024,) * 5, "relu", 512), Work("2048x4", (2048,) * 5, "gelu", 1024)]
# σ of the stacks of layers, with what by hand may take beside autodiff: of time, of temporaries.
DEEP = {"relu": 0.95, "elu": 0.88, "silu": 0.95, "gelu": 0.90, "sigmoid": 1.0}
STACKED = {"relu": 0.52, "leaky_relu": 0.52, "softplus": 0.52, "elu": 0.35, "silu": 0.42}
STACKED |= {"gelu": 0.42, "gelu_tanh": 0.42, "sigmoid": 1.0, "tanh": 1.0}


def full_scale(on_cpu: bool) -> Works:
    """What the targets are about."""
    powers = [2**i for i in range(15)]
    large = product(() if on_cpu else (4096, 8192), ("relu", "gelu"))
    deep = [Work("16x256", (256,) * 17, sigma, 4096) for sigma in DEEP]
    deep += [Work(f"{n}x4", (n,) * 5, sigma, 16384) for n, sigma in large]
    return {
        "ceiling": [_squares(powers[10:13] if on_cpu else powers[12:15])],
        "step": [*SMALL, *WIDE, *deep],
        "epoch": [work.epoch(1e10 if on_cpu else 1e12) for work in (*SMALL, *WIDE)],
        "memory": [Work("33x256", (256,) * 34, sigma, 8192) for sigma in STACKED],
        "trust": SMALL[2:3],
        "growth": _growing(256, 4, 256, powers[6:13], powers[1:7], powers[:14]),
    }


def quick_scale() -> Works:
    """Enough to see that every part runs; its figures say little."""
    return {
        "ceiling": [_squares([256])],
        "step": [SMALL[0], Work("3x32", (32,) * 4, "gelu", 64)],
        "epoch": [SMALL[0].epoch(2e7)],
        "memory": [Work("5x32", (32,) * 6, sigma, 256) for sigma in ("relu", "gelu")],
        "trust": SMALL[:1],
        "growth": _growing(16, 2, 8, (16, 32, 64), (2, 4), (1, 8)),
    }


def _squares(sizes: Iterable[int]) -> list[Work]:
    return [Work("square products", (n, n), "", n, size=n) for n in sizes]


def _growing(n: int, depth: int, m: int, *along: Iterable[int]) -> list[list[Work]]:
    """Along widths, depths and batches, each with the other two as they usually are."""
    widths, depths, batches = along
    return [
        [Work("width", (i,) * (depth + 1), "relu", m, size=i) for i in widths],
        [Work("depth", (n,) * (i + 1), "relu", m, size=i) for i in depths],
        [Work("batch", (n,) * (depth + 1), "relu", i, size=i) for i in batches],
    ]


# By section, figure and peer: the limit of each network and σ that begins so; the first one holds.
Limits = dict[tuple[str, str, str], dict[str, float]]
EVERYWHERE: Limits = {("memory", OVER, "autodiff"): {f"33x256 {s}": STACKED[s] for s in STACKED}}
CPU: Limits = {
    ("step", OVER, "autodiff"): {**{f"16x256 {s}": DEEP[s] for s in DEEP}, "": 1.03},
    ("step", CEILING, "by hand"): {"1024x4": 0.90, "2048x4": 0.90},
    ("epoch", OVER, "optax (in, out)"): {"784-30-10": 0.78},
    ("epoch", OVER, "jitted step, Python loop"): {"784-30-10": 0.42},
    ("epoch", OVER, "PyTorch, eager"): {"784-30-10": 0.07},
    ("trust", STEPS, "compare"): {"": 25},
}
ACCELERATOR: Limits = {
    ("step", OVER, "autodiff"): {"": 1.0},
    ("step", CEILING, "by hand"): {"8192x4": 0.80},
}


def held(row: Figure, on_cpu: bool) -> Figure:
    """The row with its target, if it has one."""
    limits = EVERYWHERE | (CPU if on_cpu else ACCELERATOR)
    for start, limit in limits.get((row.section, row.what, row.peer), {}).items():
        if f"{row.network} {row.sigma}".startswith(start):
            ceiling = row.what == CEILING
            return row._replace(at_least=limit) if ceiling else row._replace(at_most=limit)
    return row
