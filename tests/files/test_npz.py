"""A .npz file takes no more memory than its arrays, whatever is packed in it."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from manual_bp.files.npz import Npz

MEBIBYTE = 2**20


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def bomb(path, start, claimed, compression):
    """A member of 32 MiB that the archive says is as long as `claimed`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("dW1.npy", start + bytes(32 * MEBIBYTE))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\1\2")
    struct.pack_into("<I", content, directory + 16, zlib.crc32(claimed))
    struct.pack_into("<I", content, directory + 24, len(claimed))
    path.write_bytes(content)


def memory_to_read(path):
    """The peak, in bytes, and the array or the refusal."""
    tracemalloc.start()
    try:
        with Npz(str(path)) as archive:
            found = archive.array("dW1", archive.header("dW1"))
    except ValueError as error:
        found = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, found


ARRAY = npy(np.arange(4.0))


def test_more_than_was_claimed_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    bomb(path, ARRAY, ARRAY, zipfile.ZIP_DEFLATED)
    peak, found = memory_to_read(path)
    assert found.tolist() == [0, 1, 2, 3]
    assert peak < MEBIBYTE


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bz2", "lzma"])
def test_what_unpacks_without_bound_is_refused(compression, tmp_path):
    path = tmp_path / "a.npz"
    bomb(path, ARRAY, ARRAY, compression)
    peak, found = memory_to_read(path)
    assert "expected dW1 intact" in found
    assert "packed by method" in found
    assert peak < MEBIBYTE


def test_an_endless_header_is_not_read(tmp_path):
    path, start = tmp_path / "a.npz", b"\x93NUMPY\2\0" + struct.pack("<I", 2**25)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dW1.npy", start + b" " * 2**25)
    peak, found = memory_to_read(path)
    assert "expected dW1 intact" in found
    assert peak < MEBIBYTE


def test_too_many_signs_are_damage_and_no_lack_of_memory(tmp_path):
    header = b"-" * 9000 + b"1"
    start = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("dW1.npy", start)
    with Npz(str(tmp_path / "a.npz")) as archive, pytest.raises(ValueError, match="dW1 intact"):
        archive.header("dW1")


def test_no_memory_is_not_told_as_damage(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", dW1=np.ones(4))

    def none(*_, **__):
        raise MemoryError

    with Npz(str(tmp_path / "a.npz")) as archive:
        header = archive.header("dW1")
        monkeypatch.setattr(np, "frombuffer", none)
        with pytest.raises(MemoryError):
            archive.array("dW1", header)


def test_the_message_of_a_damaged_file_is_short(tmp_path):
    """zipfile quotes as many bytes as the damage says that a name has."""
    path = tmp_path / "a.npz"
    np.savez(path, dW1=np.arange(10**4))
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 26, 2**15)  # the length of the member's name
    path.write_bytes(content)
    with Npz(str(path)) as archive, pytest.raises(ValueError, match="dW1 intact") as refusal:
        archive.header("dW1")
    assert len(str(refusal.value)) < len(str(path)) + 400


def test_a_file_of_python_2_is_read(tmp_path):
    """Its whole numbers end in L, of which numpy would warn."""
    start = npy(np.arange(4.0)).replace(b"(4,), ", b"(4L,),")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("dW1.npy", start)
    assert memory_to_read(tmp_path / "a.npz")[1].tolist() == [0, 1, 2, 3]
