"""What many devices cost: the bytes that a step's collectives move, against the least needed.

They are counted in the compiled program of `parallel.value_and_grad`, on eight virtual devices. A
ring moves 2(n − 1)/n of an array through each device for a sum over n of them, and (n − 1)/n to
gather it or to scatter a sum. The least is what each layout's own equations ask for; see
`parallel/steps.py`.

What that means on real devices is predicted, not measured: products at a stated rate, and bytes
over a stated link, either one after the other, or all of the traffic behind the products.
"""

import os
import re
import sys
from collections.abc import Iterator
from itertools import pairwise, product
from math import prod
from typing import Any, NamedTuple

EIGHT = "--xla_force_host_platform_device_count=8"
os.environ.setdefault("XLA_FLAGS", EIGHT)  # before JAX starts

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402

import manual_bp as mbp  # noqa: E402
from manual_bp.cli.main import new_app, run_app  # noqa: E402
from manual_bp.parallel import Layout, steps  # noqa: E402
from table import Cells, Figure, Files, Rows, markdown, read, select  # noqa: E402

FORMAT = "manual_bp.collectives 1"
COUNTED, LEAST, KINDS, OVERLAPPED = "counted", "least", "kinds", "overlapped"
NET = mbp.Network((256, 512, 256, 64), ("gelu", "relu", "softmax"), "cross_entropy")
M = 256
LAYOUTS = {
    "data 8": ((8,), ("data",), False),
    "model 8": ((8,), ("model",), False),
    "data 4, model 2": ((4, 2), ("data", "model"), False),
    "data 2, model 4": ((2, 4), ("data", "model"), False),
    "data 8, fully sharded": ((8,), ("data",), True),
    "data 4, model 2, fully sharded": ((4, 2), ("data", "model"), True),
}
FACTORS = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}
COLLECTIVES = (*FACTORS, "all-to-all", "collective-permute", "collective-broadcast")
ITEM = {"f32": 4, "bf16": 2, "f64": 8, "s32": 4, "u32": 4, "pred": 1}


class Machine(NamedTuple):
    """A kind of device, as its data sheet has it.

    Attributes:
        flops: of matrix products, a second.
        link: bytes a second that a device sends.
    """

    flops: float
    link: float


# Products in bfloat16 at half of the rate that NVIDIA states for an H100 (989 Tflop/s), and its two
# links: 400 Gbit/s between hosts, 450 GB/s each way by NVLink.
MACHINES = (Machine(500e12, 50e9), Machine(500e12, 450e9))
LARGE = mbp.Network((8192,) * 9, ("gelu",) * 7 + ("identity",), "quadratic")
ROWS_EACH, BYTES_EACH = 4096, 2  # of each device's share of the batch; of a number in bfloat16
DEVICES = (8, 64, 512, 4096)
PLANS = {
    "data": (1, False),
    "data, fully sharded": (1, True),
    "data, model 8": (8, False),
    "data, model 8, fully sharded": (8, True),
}


def counted(text: str) -> Iterator[tuple[str, int, float]]:
    """Each collective of a compiled program: its kind, n, and the bytes through each device."""
    for line in text.splitlines():
        found = re.search(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(", line)
        if found is None:
            continue
        result, kind = found[1], found[2]
        arrays = re.findall(r"(\w+)\[([\d,]*)\]", result)
        size = sum(ITEM[kind_] * prod(map(int, filter(None, shape.split(","))))
                   for kind_, shape in arrays)  # fmt: skip
        n = group_size(line)
        if kind == "reduce-scatter":
            size *= n  # the result is a part; what is summed is the whole
        yield kind, n, FACTORS.get(kind, 1) * size * (n - 1) / n


def group_size(line: str) -> int:
    """How many devices a collective runs over, as XLA writes it."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return len(listed[1].split(","))
    short = re.search(r"replica_groups=\[\d+,(\d+)\]", line)
    return int(short[1]) if short else 8


def least(net: mbp.Network, m: int, data: int, model: int, fully: bool, item: int) -> float:
    """The bytes through each device that the equations of a layout ask for, in one step.

    W is gathered for step 1, and again for BP2 but for layer 1's; ∂C/∂W is scattered.
    """

    def through(n: int, numbers: float, factor: int = 1) -> float:
        return factor * item * numbers * (n - 1) / n

    total = through(data, 1, 2)  # C
    for l in net.layers:
        n_l, n_prev = net.sizes[l], net.sizes[l - 1]
        by_rows = (net.depth - l) % 2 == 1
        own = n_l * n_prev / model  # of W, where it is not split over data
        total += through(data, own, (3 if l > 1 else 2) if fully else 2)
        total += through(data, n_l / model if by_rows else n_l, 2)  # ∂C/∂b
        if not by_rows:
            total += through(model, m / data * n_l, 2)  # z
        elif l > 1:
            total += through(model, m / data * n_prev, 2)  # (Wˡ)ᵀδˡ
    return total


def compiled(name: str) -> tuple[str, Layout]:
    """The program of a layout's step, for a batch that its devices divide."""
    shape, axes, fully = LAYOUTS[name]
    mesh = jax.make_mesh(shape, axes, (AxisType.Auto,) * len(axes))
    layout = Layout(NET, mesh, fully)
    shapes = jax.eval_shape(NET.init, jax.random.key(0))

    def placed(tree: Any, specs: Any) -> Any:
        def put(one: Any, spec: Any) -> Any:
            return jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=NamedSharding(mesh, spec))

        return jax.tree.map(put, tree, specs)

    x, y = (jax.ShapeDtypeStruct((M, n), jnp.float32) for n in (NET.sizes[0], NET.sizes[-1]))
    arguments = placed(
        (tuple(shapes), x, y), (layout.params(shapes), layout.z(0), layout.targets())
    )
    program: Any = steps.program(layout, steps.cost_and_gradients)
    return program.lower(*arguments).compile().as_text(), layout


def figures() -> Iterator[Figure]:
    """Of every layout what is counted and what is needed, and what a machine would make of it."""
    for name in LAYOUTS:
        text, layout = compiled(name)
        found = list(counted(text))
        sizes = layout.size("data"), layout.size("model")
        row = Figure("layouts", name)
        yield row._replace(what=COUNTED, median=sum(size for *_, size in found), unit="B")
        needed = least(NET, M, *sizes, layout.fully_sharded, 4)
        yield row._replace(what=LEAST, median=needed, unit="B")
        for kind in dict.fromkeys(kind for kind, *_ in found):
            times = sum(1 for one, *_ in found if one == kind)
            yield row._replace(what=KINDS, peer=kind, median=times)
        started = len(re.findall(rf"({'|'.join(COLLECTIVES)})-start\(", text))
        yield row._replace(what=OVERLAPPED, median=started)
    for machine, (name, (model, fully)), devices in product(MACHINES, PLANS.items(), DEVICES):
        m, data = ROWS_EACH * devices, devices // model
        work = 6 * m * sum(n * n_prev for n, n_prev in pairwise(LARGE.sizes))
        products = work / devices / machine.flops
        traffic = least(LARGE, m, data, model, fully, BYTES_EACH) / machine.link
        row = Figure("predicted", name, size=devices, peer=f"{machine.link / 1e9:.0f} GB/s")
        yield row._replace(what="one after the other", median=products / (products + traffic))
        yield row._replace(what="at once", median=products / max(products, traffic))


def tables_of(rows: Rows) -> dict[str, Cells]:
    """What is counted in each layout, and what is predicted of more devices."""
    layouts: Cells = {}
    for name in LAYOUTS:
        own = select(rows, section="layouts", network=name)
        for what, words in ((COUNTED, "moved a step"), (LEAST, "least needed")):
            (size,) = select(own, what=what)
            layouts[name, words] = f"{size.median / 1024:,.1f} KiB"
        kinds = [f"{row.median:.0f} {row.peer}" for row in select(own, what=KINDS)]
        layouts[name, "collectives"] = ", ".join(kinds)
    tables = {f"{NET}, batch {M}, float32, eight devices": layouts}
    for machine in MACHINES:
        link = f"{machine.link / 1e9:.0f} GB/s"
        tables[
            f"efficiency predicted: {LARGE.depth} layers of {LARGE.sizes[0]:,} in bfloat16, "
            f"{ROWS_EACH:,} examples a device, {machine.flops / 1e12:.0f} Tflop/s, {link}"
        ] = {
            (f"{row.network}, {row.what}", f"{row.size:,} devices"): f"{row.median:.2f}"
            for row in select(rows, section="predicted", peer=link)
        }
    return tables


app = new_app("collectives")


@app.default
def main(*, files: Files | None = None) -> int:
    """Count what the collectives of each layout move; half a minute."""
    files = files or Files()
    if files.earlier:
        about, rows = read(files.earlier, FORMAT)
    else:
        about, rows = {"format": FORMAT, "jax": jax.__version__}, list(figures())
    started = sum(row.median for row in select(rows, what=OVERLAPPED))
    said = (
        f"jax {about['jax']}. Collectives that the compiler starts early, to run beside products: "
        f"{started:.0f}. On a CPU it starts none."
    )
    tables = tables_of(rows)
    print(said, markdown(tables), sep="\n", end="")
    files.write(about, rows, ["# What many devices cost", __doc__.strip(), said], tables)
    return 0


if __name__ == "__main__":
    sys.exit(run_app(app))
