"""The networks that are measured, each with the batch that it is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import NamedTuple

import jax
from jax import Array

import manual_bp as mbp
from manual_bp.network import Params


@dataclass(frozen=True)
class Work:
    """A network and the batch that it is trained on."""

    name: str
    sizes: tuple[int, ...]
    sigma: str
    batch: int
    output: str = "identity"
    cost: str = "quadratic"

    @property
    def net(self) -> mbp.Network:
        """As manual_bp has it."""
        hidden = (self.sigma,) * (len(self.sizes) - 2)
        return mbp.Network(self.sizes, (*hidden, self.output), self.cost)

    @property
    def operations(self) -> int:
        """Additions and multiplications that the products of one step need.

        Forward and BP4 in every layer; BP2 in every layer but the first, whose δ⁰ nobody asks for.
        """
        weights = [n * n_prev for n_prev, n in pairwise(self.sizes)]
        return 2 * self.batch * (2 * sum(weights) + sum(weights[1:]))


@dataclass(frozen=True)
class Setup:
    """What all peers of a comparison share."""

    work: Work
    steps: int = 1  # batches in the data
    dtype: str = "float32"
    learning_rate: float = 1e-6  # small, so that any number of steps stays finite
    seed: int = 0

    @property
    def params(self) -> Params:
        """Where every peer starts; new arrays each time, for a peer uses them up."""
        return self.work.net.init(jax.random.key(self.seed), self.dtype)

    @property
    def batches(self) -> tuple[Array, Array]:
        """x and y of each step: (steps, batch, n). Rows of y are probabilities."""
        sizes, shape = self.work.sizes, (self.steps, self.work.batch)
        key_x, key_y = jax.random.split(jax.random.key(self.seed + 1))
        x = jax.random.normal(key_x, (*shape, sizes[0]), self.dtype)
        return x, jax.nn.softmax(jax.random.normal(key_y, (*shape, sizes[-1]), self.dtype))


SMALL = (
    Work("784-30-10", (784, 30, 10), "sigmoid", 10, "sigmoid"),
    Work("784-100-10", (784, 100, 10), "relu", 32, "softmax", "cross_entropy"),
    Work("784-512-512-10", (784, 512, 512, 10), "relu", 128, "softmax", "cross_entropy"),
    Work("8x64", (64,) * 9, "tanh", 32),
)
WIDE = (Work("1024x4", (1024,) * 5, "relu", 512), Work("2048x4", (2048,) * 5, "gelu", 1024))
DEEP = ("relu", "elu", "silu", "gelu", "sigmoid")
STACKED = ("relu", "leaky_relu", "softplus", "elu", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh")
ACCELERATOR = (*product((4096, 8192), ("relu", "gelu")),)


class Scale(NamedTuple):
    """How much is measured: the networks of each section, and for how long."""

    step: Sequence[Work]
    epoch: Sequence[Work]
    memory: Sequence[Work]
    trust: Sequence[Work]
    growth: Sequence[dict[int, Work]]  # along width, depth and batch
    products: Sequence[int]
    epoch_operations: float  # what an epoch takes, within 2 to 1000 steps
    least: int  # rounds
    block: float  # seconds of one peer's turn


def full_scale(on_cpu: bool) -> Scale:
    """What the targets are about."""
    powers = [2**i for i in range(14)]
    deep = [Work("16x256", (256,) * 17, sigma, 4096) for sigma in DEEP]
    large = [Work(f"{n}x4", (n,) * 5, sigma, 16384) for n, sigma in ACCELERATOR]
    return Scale(
        step=[*SMALL, *WIDE, *deep, *([] if on_cpu else large)],
        epoch=[*SMALL, *WIDE],
        memory=[Work("33x256", (256,) * 34, sigma, 8192) for sigma in STACKED],
        trust=SMALL[2:3],
        growth=_growth(256, 4, 256, powers[6:13], powers[1:7], powers),
        products=(1024, 2048, 4096) if on_cpu else (4096, 8192, 16384),
        epoch_operations=1e10 if on_cpu else 1e12,
        least=15,
        block=0.03,
    )


def quick_scale() -> Scale:
    """Enough to see that every part runs; its figures say little."""
    step, memory = Work("3x32", (32,) * 4, "gelu", 64), Work("5x32", (32,) * 6, "relu", 256)
    growth, one = _growth(16, 2, 8, (16, 32, 64), (2, 4), (1, 8)), SMALL[:1]
    both = [memory, replace(memory, sigma="gelu")]
    return Scale([*one, step], one, both, one, growth, (256,), 2e7, least=3, block=0.003)


def _growth(n: int, depth: int, m: int, *sizes: Sequence[int]) -> list[dict[int, Work]]:
    """Along widths, depths and batches, each with the other two as they usually are."""
    widths, depths, batches = sizes
    return [
        {i: Work("width", (i,) * (depth + 1), "relu", m) for i in widths},
        {i: Work("depth", (n,) * (i + 1), "relu", m) for i in depths},
        {i: Work("batch", (n,) * (depth + 1), "relu", i) for i in batches},
    ]
