"""Set JAX up before anything of the library is imported: platform, precision, shape checks."""

import os

import jax
import pytest
from jaxtyping import install_import_hook

# The shapes in these annotations hold for every call that a test makes. Not in network.py, whose
# own checks and messages are what is tested there.
install_import_hook(["manual_bp.backprop", "manual_bp.witnesses.autodiff"], "beartype.beartype")

PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}


def pytest_addoption(parser):
    parser.addoption(
        "--jax-platform",
        choices=sorted(PLATFORMS),
        help="where the tests run; without it JAX_PLATFORMS decides, and else JAX",
    )


def pytest_configure(config):
    # What one test has compiled, the others, the workers and the scripts that they run need not.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.rootpath / ".pytest_cache/jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its loader logs CPU features as errors
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    platform = config.getoption("--jax-platform")
    if platform is not None:
        jax.config.update("jax_platforms", PLATFORMS[platform])
    # A GPU's default float32 product rounds its factors to 11 bits, which no bound here allows for.
    jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def x64():
    """JAX's 64-bit types, for the length of a test."""
    with jax.enable_x64(True):
        yield
