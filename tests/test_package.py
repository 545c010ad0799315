"""What importing the package brings in, and the names it gives."""

import re
import subprocess
import sys

import manual_bp

NAMES = [
    "Network",
    "Layer",
    "Activation",
    "Cost",
    "Backprop",
    "cost",
    "forward",
    "output_delta",
    "hidden_delta",
    "weight_gradient",
    "bias_gradient",
    "update",
    "backprop",
    "autodiff",
    "value_and_grad",
]
OPTIONAL = [
    "matplotlib",
    "rich",
    "sklearn",
    "pytest",
    "chex",
    "hypothesis",
    "beartype",
    "sympy",
    "tqdm",
]

# PEP 440's canonical form, from its appendix B.
PEP_440 = (
    r"([1-9][0-9]*!)?(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*((a|b|rc)(0|[1-9][0-9]*))?"
    r"(\.post(0|[1-9][0-9]*))?(\.dev(0|[1-9][0-9]*))?"
)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_brings_in_no_optional_package():
    loaded = run("import sys, manual_bp; print(*{m.partition('.')[0] for m in sys.modules})")
    assert "manual_bp" in loaded
    assert not set(OPTIONAL) & set(loaded)


def test_import_starts_no_backend():
    started = "import manual_bp; from jax._src import xla_bridge; print(len(xla_bridge._backends))"
    assert run(started) == ["0"]
    # The same count does see a backend once there is one.
    assert run("import jax; jax.devices();" + started) != ["0"]


def test_version_is_canonical():
    assert re.fullmatch(PEP_440, manual_bp.__version__)


def test_public_names():
    missing = [name for name in NAMES if not hasattr(manual_bp, name)]
    assert not missing
    public = getattr(manual_bp, "__all__", NAMES)
    assert set(NAMES) <= set(public)
    assert all(getattr(manual_bp, name).__doc__ for name in NAMES)
