"""Arrays x and y, and those of a test part: of a `.npz` file, or a folder of `.npy` or IDX files.

They are as the files have them: nothing is scaled, and labels are labels.
"""

import os
from collections.abc import Iterable
from itertools import chain

import numpy as np

from manual_bp.files import idx
from manual_bp.files.npz import Npz
from manual_bp.files.unpacking import check_unpacked

PAIRS = (("x", "y"), ("x_test", "y_test"))
# What people call them; the first that is there counts.
_SPELLINGS = {
    "x": ("x", "X"),
    "y": ("y", "Y", "labels", "target"),
    "x_test": ("x_test", "X_test"),
    "y_test": ("y_test", "Y_test", "labels_test", "target_test"),
}


def read_folder(
    folder: str, targets: bool = True, memory_map: bool = False
) -> dict[str, np.ndarray]:
    """The arrays x, y and, where there are both, x_test, y_test of a folder of .npy or IDX files.

    Without `targets` y may lack, of .npy files; with `memory_map` x stays in its file.
    """
    if os.path.isfile(os.path.join(folder, "x.npy")):
        return _read_npy_files(folder, targets, memory_map)
    names = {
        key: f"{part}-{kind}-idx{ndim}-ubyte"
        for pair, part in zip(PAIRS, ("train", "t10k"), strict=True)
        for key, kind, ndim in zip(pair, ("images", "labels"), (3, 1), strict=True)
    }
    files = {}
    for key, name in names.items():
        spellings = [
            os.path.join(folder, spelling + end)
            for end in ("", ".gz")
            for spelling in (name, name.replace("-idx", ".idx"))
        ]
        files[key] = next((path for path in spellings if os.path.isfile(path)), None)
    if missing := _missing(key for key, path in files.items() if path):
        raise ValueError(
            f"{folder}: expected {' and '.join(names[key] for key in missing)} (or .idx, or .gz), "
            "got no such file; put the file there, or name another source"
        )
    arrays = {}
    for key, path in files.items():
        if path is None:
            continue
        arrays[key] = idx.read_idx(path, memory_map=memory_map and key == "x")
        ndim = 3 if key.startswith("x") else 1
        if arrays[key].ndim != ndim:
            raise idx.refusal(path, f"{ndim} dimensions", f"the shape {arrays[key].shape}")
    return arrays


def _read_npy_files(folder: str, targets: bool, memory_map: bool) -> dict[str, np.ndarray]:
    paths = {key: os.path.join(folder, f"{key}.npy") for key in chain(*PAIRS)}
    there = [key for key, path in paths.items() if os.path.isfile(path)]
    if not targets:
        there = [key for key in there if key in ("x", "y")]
    if missing := _missing(there if targets else {*there, "y"}):
        names = " and ".join(f"{key}.npy" for key in missing)
        raise ValueError(f"{folder}: expected {names} beside x.npy, got no such file; add it")
    arrays = {}
    for key in there:
        try:  # a header that claims more than the file has is refused, and so is what is pickled
            arrays[key] = np.lib.format.open_memmap(paths[key], mode="r")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{paths[key]}: expected a whole .npy file of numbers or text, got one that cannot "
                f"be read ({error}); write it again with numpy.save"
            ) from error
    whole = [key for key in there if key != "x" or not memory_map]
    if (size := sum(arrays[key].nbytes for key in whole)) > idx.MAX_BYTES:
        raise idx.too_large(folder, " and ".join(f"{key}.npy" for key in whole), size)
    return arrays | {key: np.array(arrays[key]) for key in whole}


def _missing(present: Iterable[str]) -> list[str]:
    """What lacks of x, y and, once one of them is there, x_test, y_test."""
    there = set(present)
    wanted = {"x", "y"} | ({"x_test", "y_test"} if there & {"x_test", "y_test"} else set())
    return sorted(wanted - there)


def read_npz(path: str, targets: bool = True) -> dict[str, np.ndarray]:
    """The arrays x, y and, where there are both, x_test, y_test of a .npz file.

    Without `targets` those of x and y that are there: x, and y if there is one.
    """
    with Npz(path) as archive:
        archive.check_members([*chain(*_SPELLINGS.values())])
        there = sorted(archive.names)
        named = {
            key: next((name for name in spellings if name in there), "")
            for key, spellings in _SPELLINGS.items()
        }
        keys = [key for key, name in named.items() if name]
        if missing := _missing(keys if targets else {*keys, "y"} & {"x", "y"}):
            raise ValueError(
                f"{path}: expected the arrays x and y, and x_test and y_test or neither, got "
                f"{', '.join(there) or 'none'}; add {' and '.join(missing)} with numpy.savez"
            )
        wanted = keys if targets else [key for key in keys if key in ("x", "y")]
        arrays = _arrays(archive, [named[key] for key in wanted])
        return dict(zip(wanted, arrays, strict=True))


def _arrays(archive: Npz, names: list[str]) -> list[np.ndarray]:
    """These arrays, none of them read before the size of all is known."""
    headers = [archive.header(name, text=name.lower()[0] != "x") for name in names]
    total = 0
    for name, header in zip(names, headers, strict=True):
        total += header.size
        if total > idx.MAX_BYTES:
            raise idx.too_large(archive.path, f"{name} of the shape {header.shape}", total)
    check_unpacked(archive.path, total)
    return list(map(archive.array, names, headers))
