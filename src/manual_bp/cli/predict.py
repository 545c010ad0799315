"""`manual-bp predict`: what a saved network says of data."""

import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions, named_as_flags
from manual_bp.files.atomic import replacing
from manual_bp.files.data import Inputs, load_inputs
from manual_bp.files.encoding import Encoding
from manual_bp.lean import class_of
from manual_bp.text import listed
from manual_bp.training.checkpoint import load_encoding


def predict(
    model: Path,
    data: str,
    /,
    *,
    classes: bool = False,
    outputs: bool = False,
    target: str | None = None,
    out: Path | None = None,
    device: DeviceOptions | None = None,
    quiet: bool = False,
) -> int:
    """Tell what a saved network says of data, an example a line, and how much of it is right.

    A network that was trained on named classes tells those, another one its outputs.

    Args:
        model: a file of manual-bp train --save
        data: digits, a FILE.csv, a FILE.npz with x, or a folder like MNIST's; the columns of a CSV
            file are found by name
        classes: each example's class, by name or number
        outputs: the outputs, of which the largest is the class
        target: the column of a CSV file with what is right (default: that of the training)
        out: write them to this FILE.csv or FILE.npz, not to the terminal
        quiet: leave out the closing sentence
    """
    if out is not None and out.suffix not in (".csv", ".npz"):
        raise ValueError(f"--out: expected a name that ends in .csv or .npz, got {out}")
    if classes and outputs:
        raise ValueError("--classes, --outputs: expected one of them, got both; leave one out")
    terminal.check_target("--out", out)
    encoding = load_encoding(model)
    with jax.enable_x64(True):
        net, params, _ = mbp.load(model)
    dtype = params[0][0].dtype.name
    with named_as_flags(source="DATA"):
        inputs = load_inputs(data, dtype, encoding, target)
    with (device or DeviceOptions()).in_force(dtype):
        said = encoding.in_units(np.asarray(mbp.predict(net, params, jnp.asarray(inputs.x))))
    chosen = np.asarray(class_of(net, said))
    told = classes or (bool(encoding.classes) and not outputs)
    _write(out, encoding, said, chosen, told)
    if not quiet:
        where = sys.stdout if out else sys.stderr  # lest it stand among the predictions
        if inputs.left_out:
            print(
                f"left out, for the network has no such input: {listed(inputs.left_out)}",
                file=where,
            )
        if result := _result(net, encoding, inputs, said, chosen):
            print(result, file=where)
    return 0


def _result(
    net: mbp.Network, encoding: Encoding, inputs: Inputs, said: np.ndarray, chosen: np.ndarray
) -> str:
    """How much is right, in words; nothing where there are no targets to tell."""
    y = inputs.y
    if y is None:
        return ""
    of_numbers = bool(encoding.columns) and not encoding.classes
    if y.ndim == 2 and y.shape[1] == 1 < said.shape[1]:
        y = y[:, 0]  # class numbers in a column
    elif y.ndim == 2 and not of_numbers and _tell_classes(net, y):
        y = class_of(net, y)
    elif y.ndim == 1 and of_numbers:
        y = y[:, None]
    if y.ndim == 1:
        right, m = (chosen == y).sum(), np.ma.count(y)
        unknown = (y < 0).sum()
        strange = f"; {unknown:,} of classes that the network does not know" if unknown else ""
        return f"{right:,} of {m:,} right, {right / m:.2%}{strange}"
    if net.cost.output or net.cost.family == "hinge" or y.shape != said.shape:
        return ""
    return f"root mean squared error {np.sqrt(((said - y) ** 2).mean()):.4g}"


def _tell_classes(net: mbp.Network, y: np.ndarray) -> bool:
    low = -1 if net.cost.family == "hinge" else 0
    return bool((y == low).any() and ((y == low) | (y == 1)).all())


def _write(
    out: Path | None, encoding: Encoding, said: np.ndarray, chosen: np.ndarray, classes: bool
) -> None:
    """Print a line for each example, or write the file; of named columns it has a line of names."""
    names = np.array(encoding.classes)
    if classes:
        rows = [[word] for word in (names[chosen] if len(names) else chosen)]
        head = [encoding.target]
    else:
        rows = [[f"{value:.9g}" for value in row] for row in said]
        head = [*encoding.classes[-said.shape[1] :]] or [encoding.target]
    if out is None:
        print(_as_csv(rows), end="")
        return
    with replacing(out) as file:
        if out.suffix == ".csv":
            file.write(_as_csv([head, *rows] if encoding.columns else rows).encode())
            return
        arrays: dict[str, Any] = {"classes": chosen}
        if len(names):
            arrays["names"] = names[chosen]
        if not classes:
            arrays["outputs"] = said.astype(np.float64)
        np.savez(file, **arrays)


def _as_csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
