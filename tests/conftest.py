"""Set JAX up before anything of the library is imported: platform, precision, shape checks."""

import atexit
import os
import shutil
import tempfile
from collections import defaultdict

# What takes the tests' time is compiling. A program that one test compiled, the next one finds, and
# so do the processes that it starts. Each worker has a folder of its own: JAX's files are not
# written whole or not at all, and two workers must not read each other's halves.
COMPILED = tempfile.mkdtemp(prefix="compiled-")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["MPLBACKEND"] = "agg"  # which opens no window
os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it once; its own default is another

import jax  # noqa: E402 (it reads these)
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# The shapes in these annotations hold for every call that a test makes. Not in network.py, whose
# own checks and messages are what is tested there.
install_import_hook(
    ["manual_bp.backprop", "manual_bp.lean", "manual_bp.witnesses.autodiff"], "beartype.beartype"
)

PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}


def pytest_addoption(parser):
    parser.addoption(
        "--jax-platform",
        choices=sorted(PLATFORMS),
        help="where the tests run; without it JAX_PLATFORMS decides, and else JAX",
    )


def pytest_configure(config):
    platform = config.getoption("--jax-platform")
    if platform is not None:
        jax.config.update("jax_platforms", PLATFORMS[platform])
    # A GPU's default float32 product rounds its factors to 11 bits, which no bound here allows for.
    jax.config.update("jax_default_matmul_precision", "highest")


@pytest.hookimpl(tryfirst=True)  # before those that are marked are left out
def pytest_collection_modifyitems(items):
    """Of a test with several lists of cases, mark as a sweep what a sample of them leaves out.

    The sample has every entry of every list. The lists are those of its `parametrize`s; an entry
    may be one argument, or several that go together.
    """
    tests = defaultdict(list)
    for item in items:
        if len(list(item.iter_markers("parametrize"))) > 1:
            tests[item.path, item.originalname].append((_entries(item), item))
    for cases in tests.values():
        unseen = set().union(*(entries for entries, _ in cases))
        while unseen:
            best = max(cases, key=lambda case: len(case[0] & unseen))
            unseen -= best[0]
            cases.remove(best)
        for _, item in cases:
            item.add_marker("sweep")


def _entries(item):
    """Which entry of each of its lists a case has."""
    found = set()
    for number, mark in enumerate(item.iter_markers("parametrize")):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        values = (repr(item.callspec.params[name.strip()]) for name in names)
        found.add((number, *values))
    return found


def pytest_runtest_teardown(item):
    """Let go of the programs of many tests: a process may map 65,530 pieces of memory on Linux.

    Each program takes several, and where one more cannot be had, the compiler crashes.
    """
    item.config.tests_done = getattr(item.config, "tests_done", 0) + 1
    if item.config.tests_done % 100 == 0:
        jax.clear_caches()


@pytest.fixture
def x64():
    """JAX's 64-bit types, for the length of a test."""
    with jax.enable_x64(True):
        yield
