"""The six steps on many devices: in a process of its own, on eight virtual ones."""

import os
import pathlib
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

import manual_bp as mbp
from manual_bp import layers
from printed import blocks
from running import ENVIRONMENT, ROOT

SECTIONS = (
    *("layouts", "right_code", "sharded_arguments", "lowering", "mistakes", "drift"),
    *("training", "checkpoints", "command_line", "refusals"),
)
SCRIPT = pathlib.Path(__file__).with_name("on_eight_devices.py")


def test_on_eight_devices():
    """One process for all sections, which JAX takes a minute to compile."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        check=False,
        timeout=900,
    )
    lines = done.stdout.splitlines()
    assert not [line for line in lines if not line.endswith(": right")], done.stdout
    assert done.returncode == 0, done.stderr
    sections = Counter(line.split(":")[0] for line in lines)
    assert set(sections) == set(SECTIONS)
    assert min(sections.values()) >= 3


@pytest.mark.sweep
def test_every_mesh_and_function():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, "everything"],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_on_parallel():
    """Its code runs on the devices that it makes, and prints what is shown."""
    runs = [block for block in blocks(ROOT / "docs" / "parallel.md") if block[0] == "python"]
    _, codes, prints = zip(*runs, strict=True)
    code, shown = "\n".join(codes), "".join(prints)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        check=False,
        timeout=600,
    )
    assert done.stdout == shown, done.stderr


NET = mbp.Network((8, 6, 4), ("gelu", "softmax"), "cross_entropy", l2=0.1)
BATCH = [jax.ShapeDtypeStruct((10, n), jnp.float32) for n in (8, 4)]
SHAPES = jax.eval_shape(NET.init, jax.random.key(0))


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (lambda p, x, y: mbp.backprop(NET, p, x, y), (SHAPES, *BATCH)),
        (lambda p, x, y: mbp.autodiff(NET, p, x, y), (SHAPES, *BATCH)),
        (lambda p, x, y: mbp.value_and_grad(NET)(p, x, y), (SHAPES, *BATCH)),
        (lambda p, x, y: mbp.value_and_grad(NET, 4)(p, x, y), (SHAPES, *BATCH)),
        (lambda p, x: mbp.predict(NET, p, x), (SHAPES, BATCH[0])),
        (lambda p: mbp.update(p, p, 0.1), (SHAPES,)),
        (
            lambda q: jax.grad(lambda q: layers.attention(q, q, q, block=4).sum())(q),
            (jax.ShapeDtypeStruct((10, 4), jnp.float32),),
        ),
    ],
    ids=["backprop", "autodiff", "lean", "microbatch", "predict", "update", "attention"],
)
def test_every_program_lowers_for_every_accelerator(program, arguments):
    lowered = jax.export.export(jax.jit(program), platforms=("cuda", "rocm", "tpu"))(*arguments)
    assert lowered.platforms == ("cuda", "rocm", "tpu")
