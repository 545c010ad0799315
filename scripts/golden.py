"""Golden vectors: a random case with every z, a, δ, ∂C/∂W and ∂C/∂b, for any language to read."""

import argparse
from pathlib import Path

import jax

import arguments
from manual_bp.checking import golden


def parse() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    arguments.add_network(parser, sizes=(4, 5, 3))
    group = parser.add_argument_group("case")
    group.add_argument(
        "--batch",
        type=arguments.positive,
        help="examples (default: the first number from 5 on that is no width)",
        default=argparse.SUPPRESS,
    )
    group.add_argument(
        "--dtype",
        choices=golden.DTYPES,
        default="float32",
        help="what your program computes in: the inputs are rounded to it",
    )
    group.add_argument("--seed", type=int, default=0, help="of the inputs")
    group.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="where to write")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args()


def main() -> int:
    args = parse()
    jax.config.update("jax_platforms", "cpu")  # where float64 is float64
    case = golden.make(
        arguments.network_of(args, args.sizes),
        batch=getattr(args, "batch", None),
        dtype=args.dtype,
        seed=args.seed,
    )
    paths = golden.write(args.out, case)
    say = arguments.silent if args.quiet else print
    say(f"{case.net}, {len(case.x)} examples, inputs in {case.dtype}, seed {case.seed}")
    say(f"{sum(array.size for array in case.values().values()):,} numbers: {names(case)}")
    for path in paths:
        say(f"wrote {path} ({path.stat().st_size:,} bytes)")
    say(f"Next: python scripts/check.py {args.out} MINE.npz (or MINE.json, or MINE.bin)")
    return 0


def names(case: golden.Golden) -> str:
    """The arrays with their shapes, those of the first layer at least."""
    shapes = [
        f"{name} {'×'.join(map(str, array.shape)) or 'a number'}"
        for name, array in case.values().items()
    ]
    return ", ".join(shapes if len(shapes) <= 32 else [*shapes[:16], "…", *shapes[-4:]])


if __name__ == "__main__":
    arguments.run(main)
