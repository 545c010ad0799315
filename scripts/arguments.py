"""What the scripts share: their arguments, and how they end.

Exit codes: 0 when all is well, 1 when something disagrees, 2 for bad usage, 130 after Ctrl-C.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import jax

from manual_bp import Network
from manual_bp.checkpoint import replacing
from manual_bp.costs import COSTS
from manual_bp.data import Data, load
from manual_bp.network import nearest

DTYPES = ("float16", "bfloat16", "float32", "float64")
PRECISIONS = ("default", "high", "highest", "bfloat16", "tensorfloat32", "float32")


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag, and takes no abbreviations."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print usage and the one error, then exit with 2."""
        typo = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if typo:
            message += f"; {nearest(typo[1], self._option_string_actions)}"
        super().error(message)


def add_network(
    parser: argparse.ArgumentParser, *, hidden: int = 32, sizes: tuple[int, ...] | None = None
) -> None:
    """--sizes --activation --output --cost --l2; without sizes, the data's are the default."""
    parser.set_defaults(hidden=hidden)
    if sizes:
        parser.set_defaults(sizes=sizes)
    group = parser.add_argument_group("network")
    group.add_argument(
        "--sizes",
        type=_sizes,
        metavar="N-N-…",
        help="widths from the input to the output (default: "
        + ("-".join(map(str, sizes)) if sizes else f"the data's, {hidden} between them")
        + ")",
        default=argparse.SUPPRESS,
    )
    group.add_argument("--activation", default="tanh", help="σ of the hidden layers")
    group.add_argument(
        "--output",
        help="σ of the output layer (default: the one that goes with --cost)",
        default=argparse.SUPPRESS,
    )
    group.add_argument(
        "--cost",
        help=f"one of {', '.join(COSTS)} (default: the one that goes with --output, or "
        "cross_entropy)",
        default=argparse.SUPPRESS,
    )
    group.add_argument("--l2", type=float, default=0.0, help="penalty on the weights")


def add_run(
    parser: argparse.ArgumentParser,
    *,
    batch: int,
    learning_rate: float | str,
    dtype: str = "float32",
) -> None:
    """--data --batch --learning-rate --dtype --precision --device --seed."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--data", default="digits", help="digits, a FILE.npz of x and y, or a folder like MNIST's"
    )
    group.add_argument("--batch", type=positive, default=batch, help="examples in a batch")
    group.add_argument("--learning-rate", type=float, default=learning_rate, help="η")
    group.add_argument("--dtype", choices=DTYPES, default=dtype, help="of all arrays")
    add_device(group)
    group.add_argument("--seed", type=int, default=0, help="of weights and of the shuffling")


def add_device(parser: argparse._ActionsContainer) -> None:
    """--precision --device."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="highest", help="of matrix products"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu", "tpu"),
        help="where to run (default: JAX's first choice)",
        default=argparse.SUPPRESS,
    )


def positive(text: str) -> int:
    """A whole number from 1, as argparse wants it."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return number


def _sizes(text: str) -> tuple[int, ...]:
    parts = re.split(r"[-,x]", text)
    if len(parts) < 2:
        raise argparse.ArgumentTypeError(f"expected widths such as 64-32-10, got {text!r}")
    return tuple(positive(part) for part in parts)


def use_device(args: argparse.Namespace) -> jax.Device:
    """Put --dtype, --precision and --device in force for the whole process."""
    if getattr(args, "dtype", None) == "float64":
        jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", args.precision)
    platform = getattr(args, "device", None)
    try:
        device = jax.devices(platform)[0]
    except RuntimeError as error:
        present = sorted({device.platform for device in jax.devices()})
        raise ValueError(
            f"--device: expected a device that is there ({', '.join(present)}), got {platform}; "
            f"for an accelerator install jax[cuda13] or jax[tpu]"
        ) from error
    jax.config.update("jax_default_device", device)
    return device


def read_data(args: argparse.Namespace) -> Data:
    """The data that --data names, in --dtype."""
    return load(args.data, args.dtype)


def build_network(args: argparse.Namespace, data: Data) -> Network:
    """The network that the arguments describe, for this data."""
    n_0, n_L = data.x.shape[1], data.y.shape[1]
    sizes = getattr(args, "sizes", (n_0, args.hidden, n_L))
    if (sizes[0], sizes[-1]) != (n_0, n_L):
        raise ValueError(
            f"--sizes: {args.data} has {n_0} inputs and {n_L} outputs, got "
            f"{'-'.join(map(str, sizes))}; pass {n_0}-…-{n_L}"
        )
    return network_of(args, sizes)


def network_of(args: argparse.Namespace, sizes: tuple[int, ...]) -> Network:
    """The network that the arguments describe, of these sizes."""
    output, cost = getattr(args, "output", None), getattr(args, "cost", None)
    partners = {c.output: c.name for c in COSTS.values() if c.output}
    if cost is None:
        cost = partners.get(output, "quadratic") if output else "cross_entropy"
    if output is None:
        known = COSTS.get(cost)
        output = (known.output if known else None) or "sigmoid"
    return Network(sizes, (args.activation,) * (len(sizes) - 2) + (output,), cost, args.l2)


def silent(*_: object) -> None:
    """Print nothing."""


def colour() -> bool:
    """Whether to print in colour: on a terminal, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that tells of one more step: in a progress bar on a terminal, else in a line."""
    if quiet or not sys.stdout.isatty() or find_spec("rich") is None:
        yield silent if quiet else partial(print, flush=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns) as bar:
        task = bar.add_task(what, total=total)
        yield lambda line: bar.update(task, advance=1, description=line)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's `main` and exit with its code; an error is one line, without a traceback."""
    program = os.path.basename(sys.argv[0])
    try:
        with _unmasked_interrupts():
            code = main()
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of the pipe has gone; leave Python nothing to flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        code = 2
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(
            f"{program}: error: out of memory on the device; make --batch or --sizes smaller",
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)


@contextmanager
def _unmasked_interrupts() -> Iterator[None]:
    """Ctrl-C comes out as one where another error took its place: zipfile's, closed in a write."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        raise
