import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from manual_bp.files import atomic
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


def test_a_link_to_itself_stays(tmp_path):
    path = tmp_path / "a"
    path.symlink_to("a")
    with pytest.raises(OSError, match="symbolic links") as refusal, replacing(path) as file:
        file.write(b"lost")
    assert refusal.value.filename == str(path)
    assert os.readlink(path) == "a"


@pytest.mark.parametrize("name", ["/dev/stdout", "out"])
def test_the_file_that_is_printed_to_is_not_cut_off(name, tmp_path):
    """What is printed before and after is in it as well, in order."""
    code = f"""if True:
        from manual_bp.files.atomic import replacing
        print("before")
        with replacing({name!r}) as file:
            file.write(b"within\\n")
        print("after")
    """
    with (tmp_path / "out").open("wb") as out:
        buffered = os.environ | {"PYTHONUNBUFFERED": ""}
        arguments = [sys.executable, "-c", code]
        subprocess.run(arguments, cwd=tmp_path, env=buffered, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nwithin\nafter\n"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_device_is_named(tmp_path):
    (tmp_path / "a").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match="No space left") as refusal,
        replacing(tmp_path / "a") as file,
    ):
        file.write(b"1")
    assert refusal.value.filename == str(tmp_path / "a")


def test_a_full_disk_in_the_middle_of_a_write_is_named(tmp_path):
    with pytest.raises(OSError, match="No space left") as refusal, replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as file.write does
    assert refusal.value.filename == str(tmp_path / "a")
    assert os.listdir(tmp_path) == []


# ── What a killed process leaves ─────────────────────────────────────────────────────────────────

WRITER = """if True:
    import sys, time
    from manual_bp.files.atomic import replacing
    with replacing(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        print("half", flush=True)
        sys.stdin.read()
"""


def write_half(path):
    """Another process in the middle of a write; it ends it when its input ends."""
    arguments = [sys.executable, "-c", WRITER, path]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    return process


def save(path, content):
    with replacing(path) as file:
        file.write(content)


needs_locks = pytest.mark.skipif(
    atomic.fcntl is None or atomic._machine().startswith("process"),
    reason="no locks, or no name of the running system",
)


@needs_locks
def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "a"
    with write_half(path) as process:
        process.send_signal(signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(atomic._PREFIX)
    save(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_running_writer_keeps_its_file(tmp_path):
    """Another process's, and another thread's."""
    path = tmp_path / "a"
    with write_half(path) as process:
        with replacing(path) as file:
            file.write(b"first")
            save(path, b"second")
            assert path.read_bytes() == b"second"
        assert path.read_bytes() == b"first"
        process.communicate(b"")
    assert process.returncode == 0
    assert path.read_bytes() == b"half"
    assert os.listdir(tmp_path) == ["a"]


def test_only_what_is_surely_ours_goes(tmp_path, monkeypatch):
    prefix = f"{atomic._PREFIX}{atomic._machine()}-"
    elsewhere = tmp_path / f"{atomic._PREFIX}another-1"  # of a system whose locks are not seen here
    user, more, new, link = (tmp_path / f"{prefix}{name}" for name in ("u", "m", "n", "l"))
    for folder in (elsewhere, user, more, new):
        folder.mkdir()
    for folder in (elsewhere, user, more):
        (folder / "whole").touch()
    (more / "mine").touch()
    link.symlink_to(user)
    (tmp_path / f"{prefix}file").touch()
    there = set(os.listdir(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        save(tmp_path / "a", b"1")
    assert set(os.listdir(tmp_path)) == there | {"a"}
    if atomic.fcntl is not None:
        os.utime(new, (0, time.time() - 3600))  # nobody is about to write into it any more
        save(tmp_path / "a", b"1")
        assert set(os.listdir(tmp_path)) == (there | {"a"}) - {user.name, new.name}
    assert os.listdir(more)


def test_where_there_are_no_locks_nothing_goes(tmp_path, monkeypatch):
    left = tmp_path / f"{atomic._PREFIX}{atomic._machine()}-u"
    left.mkdir()
    (left / "whole").touch()

    def unknown(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if atomic.fcntl is not None:
        monkeypatch.setattr(atomic.fcntl, "flock", unknown)
        save(tmp_path / "a", b"1")
        monkeypatch.setattr(atomic, "fcntl", None)
    save(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert set(os.listdir(tmp_path)) == {left.name, "a"}


@pytest.mark.sweep
def test_killed_at_any_moment_it_leaves_an_old_or_a_new_whole(tmp_path):
    """Two processes write without end, and are killed, fifteen times."""
    path = tmp_path / "a"
    code = """if True:
        import os, sys
        from manual_bp.files.atomic import replacing
        print(end="x", flush=True)
        while True:
            with replacing(sys.argv[1]) as file:
                for part in range(50):
                    file.write(sys.argv[2].encode() * 1000)
    """
    wholes = {letter.encode() * 50_000 for letter in "yz"}
    for moment in range(15):
        arguments = ([sys.executable, "-c", code, path, letter] for letter in "yz")
        processes = [subprocess.Popen(each, stdout=subprocess.PIPE) for each in arguments]
        for process in processes:
            assert process.stdout.read(1) == b"x"
        time.sleep(0.05 + 0.001 * moment)
        for process in processes:
            assert process.poll() is None
            process.kill()
            process.communicate()
        assert path.read_bytes() in wholes
    save(path, b"new")
    path.unlink()
    # Killed beside its write it may leave an empty folder, for a minute.
    assert not any(os.listdir(tmp_path / name) for name in os.listdir(tmp_path))
