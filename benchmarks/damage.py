"""Files of every kind, damaged in every way: each is read, or refused by one error of ours.

`attack` is what a benchmark or a test calls. A file's bytes are flipped, cut, inserted and
repeated; and, where a checksum would tell of that at once, so are the bytes inside, under a right
checksum. In JSON a value is replaced, left out, or written twice.
"""

import copy
import gzip
import io
import json
import random
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import deserialize
from safetensors.numpy import save as serialized

import manual_bp as mbp
from manual_bp.files import data
from manual_bp.files.idx import read_idx
from manual_bp.golden.case import random_case
from manual_bp.golden.read import read_golden, read_record
from manual_bp.golden.write import write
from manual_bp.record import named_places
from manual_bp.training import checkpoint

Change = Callable[[bytes, random.Random], bytes]

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 0.5, 1e308, -1e-320, 2**53, 10**400, float("nan"), float("inf")),
    *(
        "",
        "tanh",
        "0x1p0",
        "0x1p9999",
        "nan",
        "\x1b[2J",
        "σ" * 10**4,
        "(" * 10**4,
        "-" * 10**4 + "1",
    ),
    *(
        [],
        {},
        [[]],
        [[[1.0]]],
        [None],
        {"a": [1]},
        [1.0] * 1000,
        [[1.0] * 3] * 3,
        "leaky_relu(1e999)",
    ),
)


class File(NamedTuple):
    """A whole file, how it is read, and how it is damaged.

    Attributes:
        name: what it is called.
        content: its bytes.
        read: gives what is in it.
        changes: each makes other bytes of these.
        sealed: which of the changes a checksum tells: what is read after them is the same.
    """

    name: str
    content: bytes
    read: Callable[[Path], Any]
    changes: tuple[Change, ...]
    sealed: tuple[Change, ...]


class Outcome(NamedTuple):
    """What became of one file's mutations.

    Attributes:
        name: of the file.
        mutations: how many there were.
        read: how many of them were read.
        refused: how many were refused by one ValueError or OSError that names the file.
        faults: the others, in words.
        slowest: the most seconds that one of them took.
    """

    name: str
    mutations: int
    read: int
    refused: int
    faults: tuple[str, ...]
    slowest: float


def attack(folder: Path, mutations: int, seed: int = 0) -> Iterator[Outcome]:
    """Damage a file of each kind so many times, and read it; the files lie in this folder."""
    for file in whole_files(folder):
        path, choose = folder / "damaged" / file.name, random.Random(f"{seed} {file.name}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.content)
        whole, faults, read, slowest = file.read(path), [], 0, 0.0
        for _ in range(mutations):
            change = choose.choice(file.changes)
            path.write_bytes(change(file.content, choose))
            started = time.perf_counter()
            fault, found = _outcome(file.read, path)
            slowest = max(slowest, time.perf_counter() - started)
            if found is not None and change in file.sealed and not _same(found, whole):
                fault = "read as something else"
            if fault is not None:
                faults.append(f"{file.name}: {fault}")
            read += fault is None and found is not None
        refused = mutations - read - len(faults)
        yield Outcome(file.name, mutations, read, refused, tuple(faults), slowest)


def _outcome(read: Callable[[Path], Any], path: Path) -> tuple[str | None, Any]:
    """A fault in words, if there is one, and what was read, if anything was."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return None, read(path)
    except (ValueError, OSError) as error:
        text = str(error)
        ours = str(path) in text and text.isprintable() and len(text) < len(str(path)) + 1000
        return None if ours else f"{type(error).__name__}: {text[:300]!r}", None
    except Exception as error:  # whatever else there may be is a fault
        return f"{type(error).__name__}: {str(error)[:300]!r}", None


def _same(one: Any, other: Any) -> bool:
    leaves = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(leaves[0]) == len(leaves[1]) and all(
        np.array_equal(a, b) if isinstance(a, np.ndarray | jax.Array) else a == b
        for a, b in zip(*leaves, strict=True)
    )


# ── Whole files ──────────────────────────────────────────────────────────────────────────────────


def whole_files(folder: Path) -> list[File]:
    """One of each kind that is read, made in this folder."""
    net = mbp.Network((3, 4, 2), ("leaky_relu(0.2)", "softmax"), "cross_entropy", 0.01)
    case = random_case(net)
    write(folder, case)
    golden, mine = (folder / "golden.json").read_bytes(), folder / "golden.npz"
    arrays = {name: case.values()[name] for name in named_places(net)}
    texts = json.dumps({name: array.tolist() for name, array in arrays.items()}).encode()
    results = b"".join(array.astype("<f8").tobytes() for array in arrays.values())
    rng = np.random.default_rng(0)
    examples = {"x": rng.normal(size=(9, 5)), "y": np.arange(9) % 3}
    images = bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, *range(24)])
    record = partial(read_record, golden=case)
    saved = folder / "trained.safetensors"
    mbp.save(saved, net, net.init(jax.random.key(0)), settings={"seed": "0"})

    def of_folder(path: Path) -> Any:
        again = read_golden(path.parent)
        return again.net, again.params, again.x, again.y, again.dtype

    zipped = (flipped, cut, inserted, repeated)
    inside, in_text = partial(_in_member, change=_any), (flipped, cut, inserted, repeated, replaced)
    return [
        File("golden.json", golden, of_folder, in_text, in_text),
        File("mine.json", texts, record, in_text, ()),
        File("mine.npz", mine.read_bytes(), record, (*zipped, inside), zipped),
        File("mine.bin", results, record, zipped, ()),
        File("plain.npz", _zipped(examples), data.load, (*zipped, inside), zipped),
        File("packed.npz", _zipped(examples, packed=True), data.load, (*zipped, inside), zipped),
        File("idx", images, read_idx, zipped, ()),
        File("idx.gz", gzip.compress(images), read_idx, (*zipped, _in_gzip), zipped),
        File("a.safetensors", saved.read_bytes(), _trained, (*zipped, _in_about), zipped),
    ]


def _trained(path: Path) -> Any:
    return mbp.load(path)[:2]


def _zipped(arrays: dict[str, Any], packed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **arrays)
    return file.getvalue()


# ── Damage ───────────────────────────────────────────────────────────────────────────────────────


def flipped(content: bytes, choose: random.Random) -> bytes:
    """One to four bytes changed, by a bit or altogether."""
    changed = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(changed))
        changed[at] ^= choose.choice([1 << choose.randrange(8), choose.randrange(1, 256)])
    return bytes(changed)


def cut(content: bytes, choose: random.Random) -> bytes:
    """Without its end, or without a part in the middle."""
    start = choose.randrange(len(content))
    end = choose.choice([len(content), min(len(content), start + choose.randint(1, 40))])
    return content[:start] + content[end:]


def inserted(content: bytes, choose: random.Random) -> bytes:
    """With bytes of any kind, or digits, somewhere in it or at its end."""
    at = choose.choice([len(content), choose.randrange(len(content))])
    more = choose.randbytes(choose.randint(1, 40))
    digits = str(choose.getrandbits(choose.randint(1, 99))).encode()
    return content[:at] + choose.choice([more, digits]) + content[at:]


def repeated(content: bytes, choose: random.Random) -> bytes:
    """With a part of it once more, in the place of another part."""
    start, to = choose.randrange(len(content)), choose.randrange(len(content))
    part = content[start : start + choose.randint(1, 200)]
    return content[:to] + part + content[to + choose.choice([0, len(part)]) :]


def replaced(content: bytes, choose: random.Random) -> bytes:
    """JSON with one value replaced by an odd one, left out, or under a second name."""
    document = json.loads(content)
    return json.dumps(_with_one_changed(document, choose)).encode()


def _with_one_changed(document: Any, choose: random.Random) -> Any:
    """A JSON document with one value, at any depth, replaced, left out or under a second name."""
    root: Any = [copy.deepcopy(document)]
    place, key = root, 0
    while isinstance(place[key], dict | list) and place[key] and choose.random() < 0.8:
        place = place[key]
        key = choose.choice([*place] if isinstance(place, dict) else range(len(place)))
    value, odd = place[key], choose.choice(ODD_VALUES)
    match choose.choice(["odd", "odd", "left out", "twice", "near"]):
        case "left out" if place is not root:
            del place[key]
        case "twice" if isinstance(place, dict):
            place[f"{str(odd)[:100]}{key}"] = value
        case "twice" if place is not root:
            place.append(value)
        case "near" if type(value) in (int, float):
            place[key] = choose.choice([-1, 2, 1 + 2**-30]) * value
        case _:
            place[key] = odd
    return root[0]


def _any(content: bytes, choose: random.Random) -> bytes:
    return choose.choice((flipped, cut, inserted, repeated))(content, choose)


def _in_member(content: bytes, choose: random.Random, change: Change) -> bytes:
    """A .npz with one of its arrays damaged, and a right checksum over that."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        damaged = choose.choice(old.namelist())
        for info in old.infolist():
            whole = old.read(info)
            new.writestr(info, change(whole, choose) if info.filename == damaged else whole)
    return file.getvalue()


def _in_gzip(content: bytes, choose: random.Random) -> bytes:
    return gzip.compress(_any(gzip.decompress(content), choose))


def _in_about(content: bytes, choose: random.Random) -> bytes:
    """A checkpoint that says something odd of itself, and a right checksum over that."""
    arrays: dict[str, Any] = {
        name: np.frombuffer(view["data"], "<f4").reshape(view["shape"])
        for name, view in deserialize(content)
    }
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"]["manual_bp"])
    del about["crc32"]
    about = _with_one_changed(about, choose)
    if isinstance(about, dict):
        about["crc32"] = checkpoint.checksum(about, arrays)
    return serialized(arrays, {"manual_bp": json.dumps(about)})
