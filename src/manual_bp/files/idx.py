"""IDX files, MNIST's own format, taken as untrusted: no size that a header claims is believed."""

import gzip
import math
import os
import struct
import zlib

import numpy as np
from jaxtyping import UInt8

from manual_bp.files.unpacking import check_unpacked

MAX_BYTES = 4 * 2**30
"""The most that one file may hold, and that the arrays of one source may take (4 GiB)."""

_DEFLATE_RATIO = 1032  # zlib's own bound: no gzip file unpacks to more than this times its size
_UNSIGNED_BYTE = 0x08
_MAX_NDIM = 8


def read_idx(path: str | os.PathLike[str], *, memory_map: bool = False) -> UInt8[np.ndarray, "..."]:
    """The array of one IDX file of unsigned bytes; a name that ends in `.gz` is unpacked.

    The file is 0, 0, the type code 0x08, the number of dimensions, each dimension as a big-endian
    uint32, then the bytes in row-major order, and nothing after them.

    Args:
        path: the file.
        memory_map: leave the entries in the file, of any size, until they are asked for.

    Returns:
        The array, uint8 and read-only, in the shape that the header states.

    Raises:
        ValueError: the file is missing, damaged, of another type, shorter or longer than its
            header states, empty, beyond `MAX_BYTES`, or a bomb; or to be memory-mapped, and packed.

    Source:
        Y. LeCun, C. Cortes and C. Burges, The MNIST Database of Handwritten Digits, file formats.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "labels")
        ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
        ...     read_idx(file)
        array([7, 0, 9], dtype=uint8)

    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: expected an IDX file, got no such file; check the path")
    zipped = path.lower().endswith(".gz")
    if memory_map and zipped:
        raise ValueError(f"{path}: expected a file that is not packed, to map it; run gunzip on it")
    try:
        with gzip.open(path) if zipped else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0":
                raise refusal(path, "an IDX file, which starts with two zero bytes", start)
            if start[2] != _UNSIGNED_BYTE:
                raise refusal(path, "IDX type code 0x08, unsigned bytes", f"0x{start[2]:02X}")
            ndim = start[3]
            if not 1 <= ndim <= _MAX_NDIM:
                raise refusal(path, f"1 to {_MAX_NDIM} dimensions", ndim)
            header = file.read(4 * ndim)
            if len(header) < 4 * ndim:
                raise refusal(path, f"{4 * ndim} bytes of dimensions", f"{len(header)}: truncated")
            shape = struct.unpack(f">{ndim}I", header)
            size = math.prod(shape)
            if not size:
                raise refusal(path, "at least one entry", f"the empty shape {shape}")
            if size > MAX_BYTES and not memory_map:
                raise too_large(path, f"the shape {shape}", size)
            # Before the read, which sets aside all that it is asked for.
            if size > os.path.getsize(path) * (_DEFLATE_RATIO if zipped else 1):
                raise refusal(path, f"{size} bytes for {shape}", "a file too short: truncated")
            if memory_map:
                if (found := os.path.getsize(path) - file.tell()) != size:
                    raise refusal(path, f"{size} bytes for {shape}", f"{found}: trailing bytes")
                return np.memmap(path, np.uint8, "r", file.tell(), shape)
            check_unpacked(path, size)
            # One byte too many shows a file that goes on, and takes gzip to its checksum.
            entries = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole {'gzip' if zipped else 'IDX'} file, got one that cannot be "
            f"read ({error}); fetch it again"
        ) from error
    if len(entries) != size:
        got = f"{len(entries)}: truncated" if len(entries) < size else "more: trailing bytes"
        raise refusal(path, f"{size} bytes for {shape}", got)
    return np.frombuffer(entries, np.uint8).reshape(shape)


def refusal(path: str, expected: str, got: object) -> ValueError:
    """An error that names the file."""
    return ValueError(f"{path}: expected {expected}, got {got}; fetch or write the file again")


def too_large(path: str, what: str, size: int) -> ValueError:
    """An error that names the file and what brings it beyond `MAX_BYTES`."""
    return ValueError(
        f"{path}: expected arrays of at most {MAX_BYTES} bytes in all, got {what}, which "
        f"brings them to {size}; keep fewer examples or classes, or check the file"
    )
