"""Arrays from a `.npz` file that is taken as untrusted.

Nothing is unpickled, and no size that a header claims is believed before it is checked.
"""

import io
import math
import struct
import textwrap
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np

# What zipfile, zlib and numpy's header reader raise on damaged bytes.
DAMAGE = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_MAX_HEADER = 2**14  # bytes: numpy itself believes no longer one


class Header(NamedTuple):
    """What a member says of its array.

    Attributes:
        shape: of the array.
        in_columns: whether its entries are in column-major order.
        dtype: of its entries.
        start: the position of the first entry, after this header.
    """

    shape: tuple[int, ...]
    in_columns: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def size(self) -> int:
        """The bytes of the entries."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npz:
    """An open `.npz` file: its names, then the header of an array, then the array."""

    def __init__(self, path: str) -> None:
        self.path = path
        with self._intact("a .npz file"):
            self.archive = zipfile.ZipFile(path)

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    @property
    def names(self) -> list[str]:
        """Of the arrays, in the file's order; one that comes twice is here twice."""
        members = self.archive.namelist()
        return [name.removesuffix(".npy") for name in members if name.endswith(".npy")]

    def check_members(self, wanted: Container[str] | None = None) -> None:
        """Refuse a member that is no array of its name: of the wanted ones, or of all."""
        for member in self.archive.namelist():
            name = member.removesuffix(".npy")
            if wanted is not None and name not in wanted:
                continue
            if name == member or self.names.count(name) > 1:
                found = "another name" if name == member else "it twice"
                raise ValueError(
                    f"{self.path}: member {member[:40]!a}: expected one whose name is that of an "
                    f"array and .npy, got {found}; write the arrays with numpy.savez"
                )

    def stored(self, name: str) -> int:
        """The bytes that a member claims to hold, which are the most that are ever taken of it."""
        return self.archive.getinfo(f"{name}.npy").file_size

    def header(self, name: str, text: bool = False) -> Header:
        """The header of one array; a ValueError where it is damaged or of no real numbers.

        With `text` an array of words or of True and False will do as well.
        """
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        # Of too many signs in a row Python says that it has no memory.
        intact = self._intact(name, (*DAMAGE, MemoryError))
        with intact, warnings.catch_warnings(), self._opened(name) as member:
            start = io.BytesIO(member.read(_MAX_HEADER))
            warnings.simplefilter("ignore", UserWarning)  # a file of Python 2 is as good
            shape, in_columns, dtype = readers[np.lib.format.read_magic(start)](start)
            header = Header(shape, in_columns, dtype, start.tell())
        if dtype.kind not in ("fiuUSb" if text else "fiu"):
            what = "pickled objects" if dtype.hasobject else f"dtype {dtype}"
            raise ValueError(
                f"{self.path}: expected {name} to hold real numbers, got {what}; "
                "save floats or integers"
            )
        return header

    def array(self, name: str, header: Header) -> np.ndarray:
        """The array of a header; a ValueError where it is damaged, too long or too short."""
        expected, claimed = header.start + header.size, self.stored(name)
        if min(header.shape, default=0) < 0 or expected != claimed:
            raise ValueError(
                f"{self.path}: expected {expected} bytes of {name} for its shape {header.shape}, "
                f"got {claimed}; fetch or write the file again"
            )
        with self._intact(name), self._opened(name) as member:
            entries = member.read(claimed)  # no more, whatever is packed; and holds the checksum
            array = np.frombuffer(entries, header.dtype, offset=header.start)
            return array.reshape(header.shape, order="F" if header.in_columns else "C")

    def _opened(self, name: str) -> IO[bytes]:
        """A member of the two kinds that numpy writes: others unpack with no bound."""
        kind = self.archive.getinfo(f"{name}.npy").compress_type
        if kind not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError(f"packed by method {kind}")
        return self.archive.open(f"{name}.npy")

    @contextmanager
    def _intact(self, what: str, damage: tuple[type[Exception], ...] = DAMAGE) -> Iterator[None]:
        """Says that a file is damaged, whatever its bytes made the readers raise."""
        try:
            yield
        except damage as error:
            raise ValueError(
                f"{self.path}: expected {what} intact, got bytes that cannot be read "
                f"({type(error).__name__}: {textwrap.shorten(str(error), 150)}); write the file "
                f"again with numpy.savez"
            ) from error
