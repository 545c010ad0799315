"""Checkpoints by Orbax in one process: what is kept, what is refused, and kills."""

import os
import random
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
from running import ENVIRONMENT
from training_case import KEY, NET, case, same

pytest.importorskip("orbax.checkpoint")
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
    with pytest.raises(ValueError, match="found no whole one"):
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
    draw, last, epochs = random.Random(0), 0, 30 * kills
    for _ in range(kills):
        process = writing(tmp_path, epochs)
        for _ in range(draw.randrange(1, 6)):
            assert process.stdout.readline().strip(), process.stderr.read()
        time.sleep(draw.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, got, history = mbp.load_checkpoint(tmp_path)
        assert history.epoch >= last
        last = history.epoch
    how = {"batch_size": 7, "key": KEY, "optimizer": ADAM}
    expected, _ = mbp.fit(NET, params, x, y, epochs=last, **how)
    assert same(got, expected)
