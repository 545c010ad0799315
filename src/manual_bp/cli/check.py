"""`manual-bp check`: which equation is wrong in what another program computed, and how."""

from pathlib import Path
from typing import Any, Literal

import manual_bp as mbp
from manual_bp.cli import terminal
from manual_bp.cli.options import DeviceOptions, Dtype, Natural
from manual_bp.files.json import write_json
from manual_bp.golden.read import read_golden, read_record


def check(
    folder: Path,
    mine: Path,
    /,
    *,
    examples: Literal["rows", "columns"] = "rows",
    weights: Literal["out_in", "in_out"] = "out_in",
    reduction: Literal["mean", "sum"] = "mean",
    delta: Literal["batch", "example"] = "batch",
    sign: Literal["descent", "ascent"] = "descent",
    scale: float = 1.0,
    bias: Literal["separate", "first", "last"] = "separate",
    decimals: Natural | None = None,
    dtype: Dtype | None = None,
    json: Path | None = None,
    page: Path | None = None,
    quiet: bool = False,
) -> int:
    """Judge arrays that were computed elsewhere from golden vectors: which equation is wrong.

    Args:
        folder: what manual-bp golden wrote
        mine: what you computed: .npz, .json or .bin
        examples: what an example is in z, a and δ
        weights: the axes of ∂C/∂W
        reduction: over the examples, of the cost
        delta: whose derivative δ is: of the batch's cost or each example's own
        sign: ascent where δ, ∂C/∂W and ∂C/∂b are minus the gradient
        scale: how many times ours C and its derivatives are
        bias: the column of ∂C/∂W that holds ∂C/∂b
        decimals: digits after the point that your numbers were rounded to
        dtype: what you computed in (default: the vectors' own)
        json: write the diagnosis to this file
        page: write a page to look at to this file, with the wrong cells marked
        quiet: print the first line alone
    """
    terminal.check_target("--json", json)
    terminal.check_target("--page", page)
    case = read_golden(folder)
    if dtype is not None:
        case = case.in_dtype(dtype)
    convention = mbp.Convention(examples, weights, reduction, delta, sign, scale, bias)
    record = read_record(mine, case, convention=convention)
    with DeviceOptions(device="cpu").in_force(case.dtype):  # where float64 is float64
        settings: Any = {"convention": convention, "decimals": decimals}
        diagnosis = mbp.check(case.net, case.params, case.x, case.y, record, **settings)
    diagnosis = diagnosis.in_flags()
    if json is not None:
        write_json(json, diagnosis.to_dict())
    if page is not None:
        diagnosis.page(page)
    print(diagnosis.headline if quiet else f"{mine}, of {case.net}\n{diagnosis}")
    return 0 if diagnosis.ok else 1
