"""`manual-bp golden`: a case with every number of its backward pass, for any language to read."""

from dataclasses import dataclass
from pathlib import Path

from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions, Dtype, NetworkOptions, Positive, Seed
from manual_bp.golden.case import Golden, random_case
from manual_bp.golden.write import write


@dataclass(frozen=True, kw_only=True)
class GoldenNetwork(NetworkOptions):
    """The network, small enough to read its numbers."""

    sizes: str = "4-5-3"
    """widths from the input to the output"""


def golden(
    *,
    out: Path,
    network: GoldenNetwork | None = None,
    batch: Positive | None = None,
    dtype: Dtype = "float32",
    seed: Seed = 0,
    quiet: bool = False,
) -> int:
    """Write golden vectors: a random case with every z, a, δ, ∂C/∂W and ∂C/∂b.

    Args:
        out: the folder to write
        batch: examples (default: the first number from 5 on that is no width)
        dtype: what your program computes in: the inputs are rounded to it
        seed: of the inputs
        quiet: print nothing
    """
    net = (network or GoldenNetwork()).network()
    with DeviceOptions(device="cpu").in_force(dtype):  # where float64 is float64
        bias = not (network and network.no_bias)
        case = random_case(net, batch=batch, dtype=dtype, seed=seed, bias=bias)
    paths = write(out, case)
    say = terminal.say_unless(quiet)
    say(f"{case.net}, {len(case.x)} examples, inputs in {case.dtype}, seed {case.seed}")
    say(f"{sum(array.size for array in case.values().values()):,} numbers: {_names(case)}")
    for path in paths:
        say(f"wrote {path} ({path.stat().st_size:,} bytes)")
    say(f"Next: manual-bp check {out} MINE.npz (or MINE.json, or MINE.bin)")
    return 0


def _names(case: Golden) -> str:
    """The arrays with their shapes, those of the first layer at least."""
    shapes = [
        f"{name} {'×'.join(map(str, array.shape)) or 'a number'}"
        for name, array in case.values().items()
    ]
    return ", ".join(shapes if len(shapes) <= 32 else [*shapes[:16], "…", *shapes[-4:]])
