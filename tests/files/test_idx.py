import gzip

import numpy as np
import pytest

from helpers import assert_close
from idx_bytes import flipped, idx
from manual_bp.files.idx import read_idx

IMAGES = np.random.default_rng(7).integers(0, 256, (5, 3, 2), dtype=np.uint8)
LABELS = np.array([2, 0, 3, 0, 1], np.uint8)


@pytest.mark.parametrize("name", ["file", "file.gz"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4)], ids=str)
def test_read_idx(name, shape, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    content = gzip.compress(idx(array)) if name.endswith(".gz") else idx(array)
    (tmp_path / name).write_bytes(content)
    assert_close(read_idx(tmp_path / name), array)


def test_read_idx_dimensions_are_big_endian(tmp_path):
    (tmp_path / "file").write_bytes(b"\0\0\x08\x02\0\0\x01\x00\0\0\0\x02" + bytes(512))
    assert read_idx(tmp_path / "file").shape == (256, 2)


BAD_IDX = {
    "empty file": (b"", "two zero bytes"),
    "magic cut": (b"\0\0\x08", "two zero bytes"),
    "wrong magic": (idx(LABELS, start=b"\0\1\x08"), "two zero bytes"),
    "little endian": (idx(LABELS, start=b"\1\x08\0"), "two zero bytes"),
    "float32 entries": (idx(LABELS, start=b"\0\0\x0d"), "type code 0x08.*got 0x0D"),
    "no dimensions": (b"\0\0\x08\0\1", "1 to 8 dimensions, got 0"),
    "255 dimensions": (b"\0\0\x08\xff" + bytes(2000), "1 to 8 dimensions, got 255"),
    "header cut": (idx(IMAGES)[:11], "12 bytes of dimensions, got 7: truncated"),
    "one byte short": (idx(IMAGES)[:-1], "30 bytes for .*truncated"),
    "one byte more": (idx(IMAGES) + b"\0", "30 bytes for .*trailing bytes"),
    "empty dimension": (idx(IMAGES, dims=(0, 3, 2)), "empty shape"),
    "3 GB claimed": (idx(LABELS, dims=(3_000_000_000,)), "too short: truncated"),
    "8 GB claimed": (idx(LABELS, dims=(4_000_000_000, 2)), "at most 4294967296 bytes"),
    "absurd claim": (idx(LABELS, dims=(2**32 - 1,) * 8), "at most 4294967296 bytes"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("content", "message"), BAD_IDX.values(), ids=BAD_IDX)
def test_a_bad_idx_file_is_refused(content, message, zipped, tmp_path):
    path = tmp_path / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_idx(path)
    assert str(path) in str(refusal.value)


PACKED = gzip.compress(idx(IMAGES))
BAD_GZIP = {
    "no gzip": idx(IMAGES),
    "truncated": PACKED[:-1],
    "trailing garbage": PACKED + b"garbage",
    "corrupt stream": flipped(PACKED, 14),
    "wrong checksum": flipped(PACKED, len(PACKED) - 8),
    "wrong length": flipped(PACKED, len(PACKED) - 4),
}


@pytest.mark.parametrize("content", BAD_GZIP.values(), ids=BAD_GZIP)
def test_a_corrupt_gzip_file_is_refused(content, tmp_path):
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.gz: expected a whole gzip file"):
        read_idx(tmp_path / "file.gz")


def test_a_gzip_bomb_is_read_no_further_than_its_header_claims(tmp_path, monkeypatch):
    asked = []
    real = gzip.GzipFile.read

    def read(self, size=-1):
        asked.append(size)
        return real(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    (tmp_path / "file.gz").write_bytes(gzip.compress(idx(LABELS) + bytes(10**7)))
    with pytest.raises(ValueError, match="trailing bytes"):
        read_idx(tmp_path / "file.gz")
    assert asked == [4, 4, 6]


def test_read_idx_of_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_idx(tmp_path)
