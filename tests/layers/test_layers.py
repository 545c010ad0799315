"""The layers by hand: each way back judged by rounding alone, in every format and shape."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradients import plain
from gradients.cases import LAYERS, SIZES, case
from manual_bp import layers
from manual_bp.subjects.gradients import obtained_from, read_reference
from manual_bp.surroundings import judging
from manual_bp.verdicts.gradients import Standard, arithmetic_for, judge_gradients

KEY = jax.random.key(0)


def judged(layer, size, dtype, wrap=lambda function: function):
    """The verdict on each output and each gradient of a layer, by name."""
    with jax.enable_x64(dtype == "float64"):
        drawn = case(layer, size, 0, dtype)
    args = tuple(drawn.args.values())
    with judging():
        reference = read_reference(drawn.plain, args, drawn.cotangent, None, KEY, drawn=True)
        standard = Standard.of(reference, arithmetic_for(reference, None), KEY)
        rows = judge_gradients(standard, obtained_from(reference, wrap(drawn.by_hand)))
    return {row.place.symbol: row for _, row in rows}


SHORT_TO_COMPILE = ("layernorm", "softmax_cross_entropy", "dropout", "embedding", "swiglu")


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        pytest.param(
            layer,
            dtype,
            marks=[pytest.mark.sweep] * (dtype != "float32" and layer not in SHORT_TO_COMPILE),
        )
        for layer in LAYERS
        for dtype in ("float32", "bfloat16", "float64")
    ],
)
def test_forward_and_back_are_right_in_every_format(layer, dtype):
    size = ["float32", "bfloat16", "float64"].index(dtype)
    rows = judged(layer, size, dtype)
    assert {row.verdict for row in rows.values()} <= {"agrees", "undecided"}, rows
    assert any(row.verdict == "agrees" for row in rows.values()), rows
    if dtype != "bfloat16":
        assert max(row.bound_ratio for row in rows.values()) < 0.6


@pytest.mark.sweep
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_shape_in_every_format(layer, size, dtype):
    rows = judged(layer, size, dtype)
    assert {row.verdict for row in rows.values()} <= {"agrees", "undecided"}, rows


@pytest.mark.parametrize("layer", ["layernorm", "attention"])
def test_compiled_it_is_as_right(layer):
    rows = judged(layer, 0, "float32", jax.jit)
    assert {row.verdict for row in rows.values()} == {"agrees"}, rows


def test_every_layer_has_a_plain_form_and_cases():
    assert set(layers.__all__) == set(LAYERS) == set(SIZES)
    assert all(callable(getattr(plain, name)) for name in LAYERS)


def test_they_train_a_model_of_jax():
    """A layernorm, a SwiGLU and a cross-entropy in one model, through `jax.grad` and `vmap`."""
    x, labels = jax.random.normal(KEY, (16, 8)), jnp.arange(16) % 3
    params = {
        "gamma": jnp.ones(8),
        "beta": jnp.zeros(8),
        "W": jax.random.normal(jax.random.key(1), (12, 8)) / 3,
        "V": jax.random.normal(jax.random.key(2), (12, 8)) / 3,
        "out": jax.random.normal(jax.random.key(3), (12, 3)) / 3,
    }

    def cost(norm, glu, loss, params):
        h = jax.vmap(partial(norm, gamma=params["gamma"], beta=params["beta"]))(x[:, None])[:, 0]
        return loss(glu(h, params["W"], params["V"]) @ params["out"], labels).mean()

    names = ("layernorm", "swiglu", "softmax_cross_entropy")
    ours, theirs = (
        jax.grad(partial(cost, *(getattr(room, name) for name in names)))(params)
        for room in (layers, plain)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6), ours, theirs)


def test_attention_keeps_no_array_of_all_pairs():
    def temporaries(function, T):
        array = jax.ShapeDtypeStruct((T, 16), jnp.float32)
        total = lambda q, k, v: function(q, k, v).sum()  # noqa: E731
        program = jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(array, array, array)
        return program.compile().memory_analysis().temp_size_in_bytes

    by_hand = partial(layers.attention, block=64)
    short, long = (temporaries(by_hand, T) for T in (1024, 4096))
    assert 0 < long < 6 * short  # four times as many rows
    assert long < temporaries(plain.attention, 4096) / 20
