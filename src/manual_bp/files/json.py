"""JSON files, with names for the numbers that JSON does not have."""

import json
import math
import os
from typing import Any

from manual_bp.files.atomic import replacing


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file whole or not at all; what JSON has no form for is written as its text.

    Raises:
        OSError: the file cannot be written.
        ValueError: content holds NaN or Inf; see `number`.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "costs.json")
        ...     write_json(file, {"costs": [0.5, number(math.inf)]})
        ...     json.loads(file.read_text(encoding="utf-8"))
        {'costs': [0.5, 'Infinity']}
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def number(value: float | None) -> float | str | None:
    """The value, or its name where JSON has no such number."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
