"""CSV files: a line of names, then a line for each example; parted by Python's own reader."""

import csv
import os
from collections.abc import Iterator

from manual_bp.files.idx import MAX_BYTES

_DELIMITERS = ",;\t"


def rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    r"""The rows of a CSV file with their numbers from 1, as a spreadsheet has them.

    Cells stand between commas, semicolons or tabs, whichever parts the first line into more. Rows
    with nothing in them are left out.

    Args:
        path: the file, in UTF-8.

    Returns:
        An iterator of (number, cells); the file is read as it goes on.

    Raises:
        ValueError: the file is missing, too large, not of UTF-8 or not CSV; it names the file.

    Source: Y. Shafranovich, *Common Format and MIME Type for CSV Files*, RFC 4180 (2005).

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "a.csv")
        ...     _ = file.write_text("length; kind\n1.5; b\n")
        ...     list(rows(file))
        [(1, ['length', 'kind']), (2, ['1.5', 'b'])]
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected a CSV file, got no such file; check the path")
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES} bytes, got {size}; take fewer rows")
    number = 0
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            delimiter = max(_DELIMITERS, key=lambda sign: len(_cells([first], sign)))
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                number = reader.line_num
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield number, cells
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, got other bytes ({error.reason} at byte "
            f"{error.start}); save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise ValueError(
            f"{path}: expected cells between commas, semicolons or tabs, got what is none "
            f"({error}, after row {number}); save it as CSV again"
        ) from error
    except OSError as error:
        raise ValueError(f"{path}: expected a file that can be read, got: {error}") from error


def _cells(lines: list[str], delimiter: str) -> list[str]:
    return next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])
