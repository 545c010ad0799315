"""How much a packed file may unpack to."""

import os

MAX_RATIO = 100
MAX_FREE = 2**28


def check_unpacked(path: str, size: int) -> None:
    """Refuse what unpacks to over 100 times the file's size, where that is over 256 MiB: a bomb.

    Raises:
        ValueError: naming the file, before anything is unpacked.
    """
    packed = os.path.getsize(path)
    if size > max(MAX_FREE, MAX_RATIO * packed):
        raise ValueError(
            f"{path}: expected at most {MAX_RATIO} times its {packed:,} bytes once unpacked, got "
            f"{size:,}; check the file, or write it unpacked"
        )
