"""Several processes of one machine, over the loopback: the parameters of one process."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.cli.hosts import is_one_of_several
from manual_bp.files.data import load
from running import ENVIRONMENT, call

COMMAND = "import sys; from manual_bp.cli.main import main; sys.exit(main())"
HOW = ("train", "--sizes", "64-16-10", "--epochs", "2", "--batch", "100", "--dtype", "float64")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(folder, count, *more, devices=1, how=HOW):
    """As many processes of one training, each with its own virtual devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    together = "--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", str(count)
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", COMMAND, *how, *together,
             "--process-id", str(i), *more],
            cwd=folder, env=os.environ | ENVIRONMENT | flags, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(count)
    ]  # fmt: skip


def ended(processes):
    """The exit code and the words of each; their runtime's own are left out."""
    found = []
    for process in processes:
        out, error = process.communicate(timeout=300)
        own = [line for line in out.splitlines() if "peer ranks" not in line]  # Gloo's, or a half
        found.append((process.returncode, own, error))
    return found


def trained(folder, name):
    with jax.enable_x64(True):
        return mbp.load(folder / name)[1:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    code, _, error = call(*HOW, "--save", "one.safetensors", folder=folder)
    assert code == 0, error
    return trained(folder, "one.safetensors")


@pytest.mark.parametrize(
    ("count", "devices", "more"),
    [
        (2, 1, ["--verify-every", "4", "--data", "own", "--memory-map"]),
        pytest.param(2, 2, ["--mesh", "data=2,model=2"], marks=pytest.mark.sweep),
        pytest.param(4, 1, [], marks=pytest.mark.sweep),
        pytest.param(4, 2, ["--mesh", "data=4,model=2", "--fully-sharded"],
                     marks=pytest.mark.sweep),
    ],
)  # fmt: skip
def test_several_processes_train_as_one(tmp_path, alone, count, devices, more):
    digits = load("digits", "float64")
    (tmp_path / "own").mkdir()
    np.save(tmp_path / "own" / "x.npy", digits.x)  # of which each process reads its own rows
    np.save(tmp_path / "own" / "y.npy", digits.y)
    files = [f"{name}.safetensors" for name in ("first", "again")[: 1 + (count > 2)]]
    for file in files:
        processes = started(tmp_path, count, "--save", file, *more, devices=devices)
        (code, out, error), *others = ended(processes)
        assert code == 0, error
        assert out[-1].endswith(f"saved to {file}")
        assert [(code, out) for code, out, _ in others] == [(0, [])] * (count - 1)
    params, history = trained(tmp_path, files[0])
    for got, expected in zip(jax.tree.leaves(params), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(history.accuracy, alone[1].accuracy)
    if len(files) > 1:  # the same run gives the same bits
        again, _ = trained(tmp_path, files[1])
        assert all(map(np.array_equal, *map(jax.tree.leaves, (params, again))))


@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.sweep)])
def test_a_process_that_is_killed_ends_the_other_and_training_goes_on_from_the_file(
    tmp_path, victim
):
    long = [*HOW[:4], "1000000", *HOW[5:]]
    processes = started(tmp_path, 2, "--save", "kept.safetensors", "--lost-after", "5", how=long)
    while not (tmp_path / "kept.safetensors").exists():
        assert all(process.poll() is None for process in processes), ended(processes)
        time.sleep(0.2)
    processes[victim].send_signal(signal.SIGKILL)
    found = ended(processes)
    code, _, error = found[1 - victim]
    assert (code, found[victim][0]) == (1, -signal.SIGKILL)
    assert error.startswith("manual-bp train: error: another process was lost; start all of them")
    assert len(error.splitlines()) == 1, error
    _, history = trained(tmp_path, "kept.safetensors")
    more = str(history.epoch + 1)
    code, _, error = call("train", "--load", "kept.safetensors", "--epochs", more, folder=tmp_path)
    assert code == 0, error


@pytest.mark.sweep
def test_a_checkpoint_of_two_processes(tmp_path):
    script, port = pathlib.Path(__file__).with_name("checkpoint_of_two.py"), str(free_port())
    processes = [
        subprocess.Popen([sys.executable, "-W", "ignore", script, str(i), port, tmp_path],
                         env=os.environ | ENVIRONMENT, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for i in range(2)
    ]  # fmt: skip
    for code, out, error in ended(processes):
        assert (code, out) == (0, ["same bits"]), error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--num-processes", "2"], "--coordinator: it goes with --num-processes"),
        (["--process-id", "0"], "--coordinator: it goes with --num-processes"),
    ],
)
def test_flags_that_are_not_whole(tmp_path, flags, words):
    code, _, error = call(*HOW, *flags, folder=tmp_path)
    assert code == 2
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1", 2, 0), "coordinator: expected host:port"),
        (("127.0.0.1:80", 2, None), "coordinator, num_processes, process_id: expected all"),
        (("127.0.0.1:80", 0, 0), "num_processes: expected a whole number ≥ 1"),
        (("127.0.0.1:80", 2, 2), "process_id: expected a whole number ≥ 0 up to 1, got 2"),
    ],
)
def test_who_cannot_be_connected(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mbp.parallel.connect(*arguments)


def test_which_commands_are_watched():
    assert is_one_of_several(["train", "--coordinator=auto"])
    assert is_one_of_several(["train", "--coordinator", "host:1"])
    assert not is_one_of_several(["train", "--save", "coordinator"])
