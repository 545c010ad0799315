"""Judge arrays computed elsewhere from golden vectors: which equation is wrong, and how.

Exit codes: 0 when all is right, 1 when something is wrong, 2 for bad usage or a bad file.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import get_args

import jax

import arguments
import manual_bp as mbp
from manual_bp.checking import golden, received


def parse() -> argparse.Namespace:
    parser = arguments.Parser(__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="written by scripts/golden.py")
    parser.add_argument(
        "mine", type=Path, metavar="MINE", help="what you computed: .npz, .json or .bin"
    )
    group = parser.add_argument_group("convention")
    for field, what in zip(fields(mbp.Convention), CONVENTIONS, strict=True):
        group.add_argument(
            f"--{field.name}", choices=get_args(field.type), default=field.default, help=what
        )
    parser.add_argument(
        "--dtype",
        choices=golden.DTYPES,
        help="what you computed in (default: the vectors' own)",
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the diagnosis", default=argparse.SUPPRESS
    )
    parser.add_argument("--quiet", action="store_true", help="print the first line alone")
    return parser.parse_args()


CONVENTIONS = (
    "what an example is in z, a and δ",
    "the axes of ∂C/∂W",
    "over the examples, of the cost",
    "whose derivative δ is: of the batch's cost or each example's own",
)


def main() -> int:
    args = parse()
    jax.config.update("jax_platforms", "cpu")  # where float64 is float64
    case = received.read_golden(args.folder)
    if "dtype" in args:
        case = case.in_dtype(args.dtype)
    if case.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    convention = mbp.Convention(
        **{field.name: getattr(args, field.name) for field in fields(mbp.Convention)}
    )
    mine = received.read_record(args.mine, case, convention=convention)
    diagnosis = mbp.check(case.net, case.params, case.x, case.y, mine, convention=convention)
    if "json" in args:
        arguments.write_json(args.json, diagnosis.to_dict())
    text = str(diagnosis)
    print(text.splitlines()[0] if args.quiet else f"{args.mine}, of {case.net}\n{text}")
    return 0 if diagnosis.ok else 1


if __name__ == "__main__":
    arguments.run(main)
