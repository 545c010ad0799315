"""What the layers by hand cost: temporaries and time of a way back, over those of `jax.grad`.

Each layer's gradients are computed once by the way back on its page, and once by `jax.grad` of the
plain form that a user would write. Temporaries are what XLA sets aside for one compiled program.
Times are medians of rounds that take turns, on this machine; under 1, by hand is ahead.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradients import plain
from manual_bp import layers
from manual_bp.cli.main import new_app, run_app
from table import BYTES, OVER, TIME, Cells, Figure, Files, Rows, markdown, read, select
from timing import ratio, spread, turns

FORMAT = "manual_bp.layers 1"
ATTENTION = (256, 512, 1024, 2048, 4096)
Shapes = tuple[tuple[int, ...], ...]
SHAPES: dict[str, Shapes] = {
    "layernorm": ((4096, 768), (768,), (768,)),
    "rmsnorm": ((4096, 768), (768,)),
    "batchnorm": ((4096, 768), (768,), (768,)),
    "softmax_cross_entropy": ((512, 8192),),
    "dropout": ((4096, 768),),
    "embedding": ((8192, 256),),
    "conv2d": ((16, 32, 32, 16), (3, 3, 16, 32), (32,)),
    "rnn": ((128, 32, 128), (32, 128), (128, 128), (128, 128), (128,)),
    "lstm": ((128, 32, 64), (32, 64), (32, 64), (256, 64), (256, 64), (256,)),
    "swiglu": ((2048, 256), (1024, 256), (1024, 256)),
}
MORE: dict[str, tuple[Any, ...]] = {
    "softmax_cross_entropy": (np.arange(512) % 8192,),
    "embedding": (np.arange(4096) * 31 % 8192,),
}


def works() -> Iterator[tuple[str, int | None, tuple[Any, ...], tuple[Any, ...]]]:
    """A layer, the rows of attention, its arrays with a gradient, and the rest."""
    random = np.random.default_rng(0)

    def drawn(shapes: Shapes) -> tuple[Any, ...]:
        """Of about unit size; a matrix such that its products are."""
        sizes = (shape[-1] ** 0.5 if len(shape) == 2 else 1 for shape in shapes)
        return tuple(
            jnp.asarray(random.normal(size=shape) / size, "float32")
            for shape, size in zip(shapes, sizes, strict=True)
        )

    for name, shapes in SHAPES.items():
        more = (jax.random.key(0),) if name == "dropout" else MORE.get(name, ())
        yield name, None, drawn(shapes), more
    for T in ATTENTION:
        yield "attention", T, drawn(((4, T, 64),) * 3), ()


def gradients(function: Callable[..., Any], more: tuple[Any, ...], count: int) -> Any:
    """Of the sum of what a layer gives, weighted so that no two errors are alike; compiled."""

    def total(*arrays: Any) -> Any:
        out = jax.tree.leaves(function(*arrays, *more))
        return sum((jnp.cos(jnp.arange(y.size).reshape(y.shape)) * y).sum() for y in out)

    return jax.jit(jax.grad(total, argnums=tuple(range(count))))


def measured(seconds: float) -> Iterator[Figure]:
    """Temporaries and times of each layer, by hand and by `jax.grad`."""
    for name, T, arrays, more in works():
        programs = {
            peer: gradients(getattr(room, name), more, len(arrays)).lower(*arrays).compile()
            for peer, room in (("by hand", layers), ("jax.grad", plain))
        }
        own = {peer: one.memory_analysis().temp_size_in_bytes for peer, one in programs.items()}
        row = Figure("layers", name, size=T)
        for peer, size in own.items():
            yield row._replace(peer=peer, what=BYTES, median=size, unit="B")
        share = own["by hand"] / own["jax.grad"] if own["jax.grad"] else math.nan
        yield row._replace(what=OVER, sigma=BYTES, median=share)
        times = turns(
            {peer: repeated(one, arrays) for peer, one in programs.items()},
            seconds=seconds, block=seconds / 20, least=5,
        )  # fmt: skip
        for peer, its in times.items():
            yield row._replace(peer=peer, what=TIME, unit="s", **spread(its))
        over = ratio(times["by hand"], times["jax.grad"])
        yield row._replace(what=OVER, sigma=TIME, **over)


def repeated(program: Any, arrays: tuple[Any, ...]) -> Callable[[int], None]:
    """So many calls, one after the other."""

    def run(n: int) -> None:
        for _ in range(n):
            out = program(*arrays)
        jax.block_until_ready(out)

    return run


def table_of(rows: Rows) -> Cells:
    """A line for each layer."""
    cells: Cells = {}
    for row in select(rows, section="layers"):
        line = row.network + (f", T = {row.size:,}" if row.size else "")
        of = {BYTES: "temporaries", TIME: "time"}.get(row.sigma or row.what, "")
        column = f"{of} over jax.grad's" if row.what == OVER else f"{of}, {row.peer}"
        cells[line, column] = f"{row.median:.2f}" if row.what == OVER else str(row)
    return cells


app = new_app("layers")


@app.default
def main(*, seconds: float = 2.0, files: Files | None = None) -> int:
    """Measure the layers by hand against `jax.grad`; two minutes.

    Args:
        seconds: for each layer
    """
    files = files or Files()
    if files.earlier:
        about, rows = read(files.earlier, FORMAT)
    else:
        about, rows = {"format": FORMAT, "jax": jax.__version__}, list(measured(seconds))
    tables = {"by hand and by jax.grad, float32": table_of(rows)}
    text = ["# Layers by hand", __doc__.strip(), f"jax {about['jax']}"]
    print(text[-1], markdown(tables), sep="\n", end="")
    files.write(about, rows, text, tables)
    return 0


if __name__ == "__main__":
    sys.exit(run_app(app))
