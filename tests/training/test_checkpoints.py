"""Checkpoints by Orbax in one process: what is kept, what is refused, and kills."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp
from manual_bp.training.checkpoints import _sum_of_bytes
from manual_bp.training.fit import epochs as each_epoch
from manual_bp.training.history import named
from running import ENVIRONMENT
from training_case import KEY, NET, case, same

orbax = pytest.importorskip("orbax.checkpoint")
ADAM = optax.adam(0.01)
WRITER = """
import sys, warnings
warnings.simplefilter("ignore")
import jax, optax
import manual_bp as mbp
from training_case import KEY, NET, case
params, x, y = case()
folder, start = sys.argv[1], None
try:
    _, params, start = mbp.load_checkpoint(folder)
except ValueError:
    pass
def keep(params, history):
    mbp.save_checkpoint(folder, NET, params, history)
    print(history.epoch, flush=True)
done = start.epoch if start else 0
mbp.fit(NET, params, x, y, epochs=int(sys.argv[2]) - done, batch_size=7, key=KEY, on_epoch=keep,
        optimizer=optax.adam(0.01), start_epoch=done,
        optimizer_state=start and start.optimizer_state)
"""


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_was_saved_is_loaded(tmp_path, dtype):
    params, x, y = case(dtype)
    params = (*params[:1], mbp.Layer(params[1].W, None))
    got, history = mbp.fit(
        NET, params, x, y, epochs=2, batch_size=7, key=KEY, optimizer=ADAM, validation=(x, y)
    )
    mbp.save_checkpoint(tmp_path, NET, got, history)
    net, again, told = mbp.load_checkpoint(tmp_path)
    assert net == NET
    assert same(again, got)
    assert again[1].b is None
    assert (told.epoch, told.stopped) == (2, "")
    np.testing.assert_array_equal(told.validation_cost, history.validation_cost)
    how = {"epochs": 1, "batch_size": 7, "key": KEY, "optimizer": ADAM, "start_epoch": 2}
    on, _ = mbp.fit(NET, got, x, y, **how, optimizer_state=history.optimizer_state)
    assert same(mbp.fit(NET, again, x, y, **how, optimizer_state=told.optimizer_state)[0], on)


def test_float64_is_kept(tmp_path, x64):
    params, _, _ = case(jnp.float64)
    mbp.save_checkpoint(tmp_path, NET, params)
    assert same(mbp.load_checkpoint(tmp_path)[1], params)


def test_what_cannot_be_loaded(tmp_path):
    params, _, _ = case()
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        mbp.load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found no whole checkpoint"):
        mbp.load_checkpoint(tmp_path)
    (tmp_path / "another" / "3").mkdir(parents=True)
    (tmp_path / "another" / "3" / "file").write_text("of another program")
    with pytest.raises(ValueError, match="save_checkpoint, got another's"):
        mbp.load_checkpoint(tmp_path / "another")
    mbp.save_checkpoint(tmp_path / "ours", NET, params)
    other = mbp.Network((3, 2), ("tanh",), "quadratic")
    with pytest.raises(ValueError, match=r"ours: net: expected Network\(\(3, 2\)"):
        mbp.load_checkpoint(tmp_path / "ours", other)
    wide = jax.make_mesh((1,), ("batch",))
    with pytest.raises(ValueError, match="mesh: expected the axes"):
        mbp.load_checkpoint(tmp_path / "ours", mesh=wide)
    with pytest.raises(TypeError, match="history: expected that of fit"):
        mbp.save_checkpoint(tmp_path / "ours", NET, params, history=3)
    with pytest.raises(TypeError, match=r"history: state\[0\]: expected an array of numbers"):
        mbp.save_checkpoint(tmp_path / "ours", NET, params, history_of([object()]))
    with pytest.raises(ValueError, match="fully_sharded: it goes with mesh"):
        mbp.load_checkpoint(tmp_path / "ours", fully_sharded=True)
    with pytest.raises(ValueError, match=r"manual_bp\.load reads files"):
        mbp.load_checkpoint(tmp_path / "another" / "3" / "file")
    assert same(mbp.load_checkpoint(tmp_path / "ours")[1], params)


def history_of(state):
    none = np.empty(0)
    return mbp.History(none, None, None, None, none, 0, state)


def below(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_what_is_not_ours_is_kept(tmp_path):
    """A folder with other files, a file, and checkpoints of another program."""
    for name in ("others", "foreign"):
        tmp_path.joinpath(name).mkdir()
    tmp_path.joinpath("others", "notes.txt").write_text("mine")
    tmp_path.joinpath("file").write_text("mine")
    with orbax.CheckpointManager(tmp_path / "foreign") as manager:
        for step in (5, 6, 7):
            manager.save(step, args=orbax.args.StandardSave({"W": np.ones(3)}))
    before = below(tmp_path)
    for name, words in (("others", "other files"), ("file", "a file"), ("foreign", "another's")):
        with pytest.raises(ValueError, match=f"{name}: expected .*{words}"):
            mbp.save_checkpoint(tmp_path / name, NET, case()[0])
    with pytest.raises(ValueError, match="save_checkpoint, got another's"):
        mbp.load_checkpoint(tmp_path / "foreign")
    assert below(tmp_path) == before


def test_a_save_that_breaks_off_leaves_the_last_one_and_the_next_clears_up(tmp_path, monkeypatch):
    params, _, _ = case()
    mbp.save_checkpoint(tmp_path, NET, params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    with monkeypatch.context() as patch:
        patch.setattr(orbax.PyTreeCheckpointHandler, "finalize", None)
        with pytest.raises(TypeError):
            mbp.save_checkpoint(tmp_path, NET, zeros)
    assert len(os.listdir(tmp_path)) == 2
    assert same(mbp.load_checkpoint(tmp_path)[1], params)
    mbp.save_checkpoint(tmp_path, NET, zeros)
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]
    assert same(mbp.load_checkpoint(tmp_path)[1], zeros)


def test_one_bit_always_changes_the_sum():
    array = np.arange(5, dtype=np.float32)
    right = _sum_of_bytes(array)
    assert right == _sum_of_bytes(jnp.asarray(array))
    for bit in range(8 * array.nbytes):
        hurt = array.copy()
        hurt.view(np.uint8)[bit // 8] ^= 1 << bit % 8
        assert _sum_of_bytes(hurt) != right, bit


def test_damage_is_told(tmp_path, capfd):
    """Each file lost, cut, or with a bit flipped: what loads is what was saved."""
    net = mbp.Network((64, 48), ("sigmoid",), "quadratic")
    params, good, bad = net.init(KEY), tmp_path / "good", tmp_path / "bad"
    mbp.save_checkpoint(good, net, params, history_of({"mu": params[0].W, "count": np.int32(3)}))
    draw, told = np.random.default_rng(0), []
    for path in sorted(path for path in good.rglob("*") if path.is_file()):
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[draw.integers(len(content))] ^= 1 << int(draw.integers(8))
        for hurt in (None, content[: len(content) // 2], flipped):
            shutil.rmtree(bad, ignore_errors=True)
            shutil.copytree(good, bad)
            there = bad / path.relative_to(good)
            there.unlink() if hurt is None else there.write_bytes(hurt)
            try:
                assert same(mbp.load_checkpoint(bad)[1], params), path
            except ValueError as error:
                told.append(str(error))
    assert len(told) > 10
    assert all(error.startswith(f"{bad}: expected a checkpoint") for error in told)
    assert "Traceback" not in capfd.readouterr().err


def test_without_orbax_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'manual_bp\[distributed\]'"):
        mbp.save_checkpoint(tmp_path, NET, case()[0])


def writing(folder, epochs):
    environment = os.environ | ENVIRONMENT
    path = os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(epochs)],
        env=environment | {"PYTHONPATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.sweep)])
def test_a_killed_training_leaves_whole_checkpoints_and_goes_on_to_the_same_bits(tmp_path, kills):
    params, x, y = case()
    draw, at = random.Random(0), None
    uninterrupted = each_epoch(
        NET, params, x, y, epochs=100 * kills, batch_size=7, key=KEY, optimizer=ADAM
    )
    for _ in range(kills):
        process = writing(tmp_path, 100 * kills)
        lines = [process.stdout.readline() for _ in range(draw.randrange(1, 6))]
        time.sleep(draw.random() / 5)
        process.send_signal(signal.SIGKILL)
        rest, error = process.communicate()
        said = [int(line) for line in [*lines, *rest.splitlines()] if line]
        assert said, error
        _, got, history = mbp.load_checkpoint(tmp_path)
        assert history.epoch - said[-1] in (0, 1)  # it has its name before it is told
        while at is None or at[1].epoch < history.epoch:
            at = next(uninterrupted)
        assert same(got, at[0])
        assert same(history.optimizer_state.arrays, named(at[1].optimizer_state))
