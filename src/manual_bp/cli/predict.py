"""`manual-bp predict`: what a saved network says of data."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions
from manual_bp.files.atomic import replacing
from manual_bp.files.data import load_inputs


def predict(
    model: Path,
    data: str,
    /,
    *,
    classes: bool = False,
    out: Path | None = None,
    device: DeviceOptions | None = None,
    quiet: bool = False,
) -> int:
    """Tell what a saved network says of data, an example a line, and how much of it is right.

    Args:
        model: a file of manual-bp train --save
        data: digits, a FILE.npz with x, or a folder like MNIST's
        classes: the number of each example's class in place of its outputs
        out: write them to this FILE.csv or FILE.npz, not to the terminal
        quiet: leave out the closing sentence
    """
    if out is not None and out.suffix not in (".csv", ".npz"):
        raise ValueError(f"--out: expected a name that ends in .csv or .npz, got {out}")
    terminal.check_target("--out", out)
    with jax.enable_x64(True):
        net, params, _ = mbp.load(model)
    dtype = params[0][0].dtype.name
    x, y = load_inputs(data, dtype)
    with (device or DeviceOptions()).in_force(dtype):
        outputs = np.asarray(mbp.predict(net, params, jnp.asarray(x)))
        chosen = np.asarray(mbp.predict(net, params, jnp.asarray(x), classes=True))
    _write(out, chosen if classes else outputs, chosen)
    if not quiet and y is not None and (y == 0).any() and ((y == 0) | (y == 1)).all():  # classes
        right = int((chosen == (y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0])).sum())
        told = f"{right:,} of {len(y):,} right, {right / len(y):.2%}"
        print(told, file=sys.stdout if out else sys.stderr)  # lest it stand among the predictions
    return 0


def _write(out: Path | None, said: np.ndarray, chosen: np.ndarray) -> None:
    lines = [",".join(f"{value:.9g}" for value in np.atleast_1d(row)) for row in said]
    if out is None:
        print("\n".join(lines))
        return
    with replacing(out) as file:
        if out.suffix == ".csv":
            file.write("\n".join([*lines, ""]).encode())
        else:
            arrays: dict[str, Any] = {"classes": chosen}
            if said is not chosen:
                arrays["outputs"] = said.astype(np.float64)
            np.savez(file, **arrays)
