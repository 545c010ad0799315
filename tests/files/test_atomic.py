import errno
import os
import stat
import threading

import pytest

from manual_bp.files.atomic import replacing


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.write(b"half" + None)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_until_it_is_whole_the_old_file_stays(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with open(path, "rb") as reader:
        with replacing(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"  # who reads it meanwhile gets no mixture
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_two_threads_write_the_same_name(tmp_path):
    path, met = tmp_path / "a", threading.Barrier(2, timeout=60)
    wholes = [bytes([letter]) * 10**5 for letter in b"xy"]

    def write(whole):
        for _ in range(20):
            met.wait()
            with replacing(path) as file:
                file.write(whole[: 10**4])
                met.wait()  # both files are open at once
                file.write(whole[10**4 :])

    threads = [threading.Thread(target=write, args=(whole,)) for whole in wholes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in wholes
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "a", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("folder/a")
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
    assert os.listdir(tmp_path / "folder") == ["a"]


def test_what_is_no_file_is_written_directly(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    reader.start()
    with replacing(path) as file:
        file.write(b"through the pipe")
    reader.join(timeout=60)
    assert read == [b"through the pipe"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    with replacing(os.devnull) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_permissions_are_the_old_ones_or_the_usual(tmp_path):
    private, usual, new = (tmp_path / name for name in ("private", "usual", "new"))
    private.touch(mode=0o600)
    usual.touch()
    for path in (private, new):
        with replacing(path) as file:
            file.write(b"1")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert new.stat().st_mode == usual.stat().st_mode


def test_errors_name_the_file(tmp_path, monkeypatch):
    for path, error in (
        (tmp_path / "nowhere" / "a", FileNotFoundError),
        (tmp_path, IsADirectoryError),
    ):
        with pytest.raises(error) as refusal, replacing(path):
            pass
        assert refusal.value.filename == str(path)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as refusal, replacing(path):
            pass
    assert refusal.value.filename == str(path)
    assert os.listdir(tmp_path) == []
    # An error of the caller's own about another file stays as it is.
    with pytest.raises(FileNotFoundError) as refusal, replacing(path):
        (tmp_path / "other").read_bytes()
    assert refusal.value.filename == str(tmp_path / "other")
