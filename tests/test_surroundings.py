"""Calls from anywhere: under JAX's settings of any kind, inside of its tracing, in a fork."""

import itertools
import os
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp

NET = mbp.Network(
    (3, 4, 2), ("tanh", "softmax"), "cross_entropy(smoothing=0.1, weights=(1, 2))", l2=0.1
)
PARAMS = NET.init(jax.random.key(0))
X = np.random.default_rng(0).normal(size=(5, 3)).astype("f")
Y = np.eye(2, dtype="f")[[0, 1, 0, 1, 0]]
TRAINING = {"epochs": 1, "batch_size": 5, "key": jax.random.key(0)}
SCORES = tuple(mbp.Layer(W * 1e4, b) for W, b in PARAMS)
WIDE = mbp.Network((300, 2), ("softmax",), "cross_entropy")
SLOPPY = mbp.backprop(NET, PARAMS, X, Y)._replace(cost=jnp.float32("nan"))


NUMBERS = itertools.count()


def own_sigma(scale):
    """A σ that no network has looked at yet."""
    return mbp.Activation(f"cube {scale}", lambda z: z**3, lambda z: 3 * z**2)


CALLS = {
    "backprop": lambda: mbp.backprop(NET, PARAMS, X, Y),
    "autodiff": lambda: mbp.autodiff(NET, PARAMS, X, Y),
    "value_and_grad": lambda: mbp.value_and_grad(NET)(PARAMS, X, Y),
    "its own gradient": lambda: jax.grad(mbp.cost, argnums=1)(NET, PARAMS, X, Y),
    "predict": lambda: mbp.predict(NET, PARAMS, X, classes=True),
    "step 1": lambda: mbp.weighted_input(*PARAMS[0], X),
    "BP1": lambda: mbp.output_delta(NET, Y, Y, Y, 5),
    "update": lambda: mbp.update(PARAMS, PARAMS, 0.1),
    "fit": lambda: mbp.fit(NET, PARAMS, X, Y, learning_rate=0.1, verify_every=1, **TRAINING),
    "fit by optax": lambda: mbp.fit(NET, PARAMS, X, Y, optimizer=optax.adam(0.1), **TRAINING),
    "own": lambda: mbp.Network((3, 2), (own_sigma(next(NUMBERS)),), "quadratic"),
}
JUDGED = {
    "compare": lambda: mbp.compare(NET, PARAMS, X, Y),
    "check": lambda: mbp.check(NET, PARAMS, X, Y, mbp.backprop),
    "numerical": lambda: mbp.compare(NET, PARAMS, X, Y, witness=mbp.numerical),
    "large scores": lambda: mbp.compare(NET, SCORES, X, Y),
    "a sum too long for its format": lambda: mbp.compare(
        WIDE, WIDE.init(jax.random.key(0), "bfloat16"), np.ones((2, 300)), np.eye(2)
    ),
}
SETTINGS = {
    "no promotion of ranks": [lambda: jax.numpy_rank_promotion("raise")],
    "strict promotion of dtypes": [lambda: jax.numpy_dtype_promotion("strict")],
    "debug_nans": [lambda: jax.debug_nans(True)],
    "debug_infs": [lambda: jax.debug_infs(True)],
    "NumPy raises": [lambda: np.errstate(all="raise")],
    "64 bits": [lambda: jax.enable_x64(True)],
    "32 bits": [lambda: jax.enable_x64(False)],
}
STRICTEST = [setting for settings in SETTINGS.values() for setting in settings]  # in 32 bits
SLOW = {
    "fit",
    "fit by optax",
    "numerical",
    "check",
    "a sum too long for its format",
}  # operation by operation


@pytest.fixture(
    params=[
        STRICTEST,
        [jax.disable_jit],
        *(pytest.param(settings, marks=pytest.mark.sweep) for settings in SETTINGS.values()),
    ],
    ids=["strictest", "no jit", *SETTINGS],
)
def _setting(request, name):
    if request.param == [jax.disable_jit] and name in SLOW:
        pytest.skip("slow operation by operation")
    with ExitStack() as stack:
        for setting in request.param:
            stack.enter_context(setting())
        yield


@pytest.mark.usefixtures("_setting")
@pytest.mark.parametrize("name", CALLS)
def test_under_any_setting(name):
    CALLS[name]()


@pytest.mark.usefixtures("_setting")
@pytest.mark.parametrize("name", JUDGED)
def test_right_code_is_right_under_any_setting(name):
    assert JUDGED[name]().ok


def test_a_nan_of_theirs_is_told_and_not_raised():
    with jax.debug_nans(True):
        agreement = mbp.compare(NET, PARAMS, X, Y, subject=SLOPPY)
        assert [row.quantity for row in agreement.disagreements] == ["cost"]
        with pytest.raises(FloatingPointError):  # the setting is as it was
            jnp.log(jnp.float32(-1))


# ── Tracing ──────────────────────────────────────────────────────────────────────────────────────

ON_VALUES = {
    "compare": lambda params, x: mbp.compare(NET, params, x, Y).ok,
    "check": lambda params, x: mbp.check(NET, params, x, Y, mbp.backprop).ok,
    "fit": lambda params, x: mbp.fit(NET, params, x, Y, learning_rate=0.1, **TRAINING)[0],
    "numerical": lambda params, x: mbp.numerical(NET, params, x, Y).cost,
    "summation": lambda params, x: mbp.summation(NET, params, x, Y).cost,
}


@pytest.mark.parametrize("name", ON_VALUES)
@pytest.mark.parametrize(
    ("transformed", "argument"),
    [
        (lambda f: jax.jit(f)(PARAMS, X), "params, layer 1, W"),
        (lambda f: jax.jit(lambda x: f(PARAMS, x))(X), "x"),
        (lambda f: jax.vmap(lambda x: f(PARAMS, x))(X[None]), "x"),
        (lambda f: jax.grad(lambda params: f(params, X))(PARAMS), "params, layer 1, W"),
        (lambda f: jax.jit(lambda: f(PARAMS, X))(), "net, params, x, y"),
    ],
    ids=["jit", "jit of x", "vmap", "grad", "jit of nothing"],
)
def test_what_works_on_values_says_so(name, transformed, argument):
    with pytest.raises((TypeError, ValueError), match=rf"{argument}: expected values, got what"):
        transformed(ON_VALUES[name])


def test_a_traced_subject_is_named():
    def subject(cost):
        return mbp.check(NET, PARAMS, X, Y, SLOPPY._replace(cost=cost)).ok

    with pytest.raises(TypeError, match=r"^subject: cost: expected values, got what JAX traces"):
        jax.grad(subject)(1.0)


def test_the_rest_is_traced_as_before():
    batch = jnp.stack([X, X])
    assert jax.vmap(lambda x: mbp.predict(NET, PARAMS, x))(batch).shape == (2, 5, 2)
    assert jax.jit(mbp.weighted_input)(*PARAMS[0], X).shape == (5, 4)
    assert jax.vmap(NET.init)(jax.random.split(jax.random.key(0)))[0].W.shape == (2, 4, 3)


# ── Forks ────────────────────────────────────────────────────────────────────────────────────────

IN_A_FORK = """
    import os, jax, sys, manual_bp as mbp
    net = mbp.Network((3, 2), ("tanh",), "quadratic")
    params = {params}
    pid = os.fork()
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    for call in (
        lambda: net.init(jax.random.key(0)) if {early} else net.init(None),
        lambda: mbp.backprop(net, params, [1, 2, 3], [1, 2]),
        lambda: mbp.compare(net, params, [1, 2, 3], [1, 2]),
        lambda: mbp.update(params, params, 0.1),
        lambda: mbp.bias_gradient([1.0, 2.0]),
    ):
        try:
            call()
            print("done")
        except RuntimeError as error:
            print(str(error)[:60], "spawn" in str(error))
    sys.stdout.flush()
    os._exit(0)
"""
LISTS = "(([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]], [0.1, 0.2]),)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize(
    ("params", "lines"),
    [
        (
            f"(jax.devices(), {LISTS})[1]",
            ["this process is a fork of one that had used JAX, and JAX can True"] * 5,
        ),
        (LISTS, ["done"] * 5),
    ],
    ids=["after JAX", "before JAX"],
)
def test_a_fork_is_refused_where_the_parent_had_used_jax(params, lines):
    code = textwrap.dedent(IN_A_FORK).format(params=params, early=params == LISTS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, lines), done.stderr
