"""The layers in the uses that models have of them: compiled, mapped, mixed, within each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradients import plain
from gradients.cases import LAYERS, case
from helpers import assert_close, unit_roundoff, widened
from manual_bp import layers


@pytest.mark.parametrize("layer", LAYERS)
def test_jit_and_vmap_change_nothing(layer):
    """Compiled, a sum may be added up in another order: sums of fewer than 64 terms, twice."""
    one = case(layer)
    gradients = one.gradients(one.by_hand)
    u = unit_roundoff("float32")
    bound = tuple(np.full(g.shape, 64 * u * np.abs(g).max()) for g in gradients)
    compiled = one.gradients(jax.jit(one.by_hand))
    assert_close(compiled, gradients, bound)

    def pull_back(cotangent):
        return jax.vjp(one.by_hand, *one.args.values())[1](cotangent)

    twice = jax.tree.map(lambda g: jnp.stack([g, -g]), one.cotangent)
    both = jax.jit(jax.vmap(pull_back))(twice)
    for place, sign in ((0, 1), (1, -1)):
        assert_close(tuple(sign * g[place] for g in both), gradients, bound)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_have_the_format_of_their_arguments(layer):
    """The first array in bfloat16, the others in float32, as in mixed precision."""
    one = case(layer)
    first = next(iter(one.args))
    mixed = one._replace(args=one.args | {first: one.args[first].astype("bfloat16")})

    def gradients(*args):
        output, pull_back = jax.vjp(mixed.by_hand, *args)
        return pull_back(output)

    found = jax.eval_shape(gradients, *mixed.args.values())
    assert [(g.dtype, g.shape) for g in found] == [(a.dtype, a.shape) for a in mixed.args.values()]


def test_a_small_transformer(x64):
    """Layers within each other, one of them used twice; all in float64, by hand and plainly."""
    random = np.random.default_rng(0)
    shapes = {"E": (11, 8), "gamma": (8,), "W": (12, 8), "V": (12, 8), "down": (8, 12)}
    params = {name: jnp.asarray(random.normal(size=shape)) for name, shape in shapes.items()}
    ids = jnp.asarray(random.integers(11, size=(3, 9)))
    labels = jnp.asarray(random.integers(11, size=(3, 9)))

    def cost(of, params):
        h = of.embedding(params["E"], ids)
        q = of.rmsnorm(h, params["gamma"])
        h = h + of.attention(q, q, q, block=4)
        q = of.rmsnorm(h, params["gamma"])
        h = h + of.swiglu(q, params["W"], params["V"]) @ params["down"].T
        return of.softmax_cross_entropy(h @ params["E"].T, labels).mean()

    found, expected = (jax.jit(jax.grad(partial(cost, of)))(params) for of in (layers, plain))
    # Some thousand operations, each off by a roundoff of numbers up to the largest gradient's size.
    assert_close(found, expected, jax.tree.map(lambda g: 1e-12 * np.abs(g).max(), expected))


def test_second_derivatives_go_through_the_way_back(x64):
    one = case("layernorm", dtype="float64")

    def slope(function, x):
        output = partial(function, gamma=one.args["gamma"], beta=one.args["beta"])
        return (jax.grad(lambda x: (output(x) ** 3).sum())(x) ** 2).sum()

    x = one.args["x"]
    found, expected = (jax.grad(partial(slope, f))(x) for f in (layers.layernorm, plain.layernorm))
    assert_close(found, expected, 1e-9 * np.abs(expected).max())  # sums of cancelling large terms


def test_a_key_draws_one_mask_in_every_format():
    key, x = jax.random.key(3), jnp.ones(2000)
    masks = [layers.dropout(x.astype(dtype), key, 0.3) != 0 for dtype in ("float32", "bfloat16")]
    with jax.enable_x64(True):
        masks.append(layers.dropout(widened(x), key, 0.3) != 0)
    assert all((mask == masks[0]).all() for mask in masks)
    # The mean of 2000 such numbers is off by 0.0102 at one standard deviation.
    assert abs(masks[0].mean() - 0.7) < 0.05
    assert (layers.dropout(x, key, 0.0) == x).all()


def test_large_scores_stay_finite():
    z = jnp.array([[1e4, -1e4, 0.0], [-jnp.inf, 0.0, 0.0]])
    C, pull_back = jax.vjp(lambda z: layers.softmax_cross_entropy(z, jnp.array([1, 1])), z)
    assert_close(C, jnp.array([2e4, np.log(2)], "float32"), 1e-6)
    (dz,) = pull_back(jnp.ones(2))
    assert_close(dz, jnp.array([[1.0, -1.0, 0.0], [0.0, -0.5, 0.5]]), 1e-6)
    q = 1e3 * jnp.ones((5, 4))
    gradients = jax.grad(lambda q: layers.attention(q, q, q, block=2).sum())(q)
    assert jnp.isfinite(gradients).all()


@pytest.mark.parametrize("bad", [-1, 5])
def test_numbers_out_of_range_give_nan_where_they_are_not_known(bad):
    table, ids = jnp.ones((5, 2)), jnp.array([0, bad])
    rows = jax.jit(layers.embedding)(table, ids)
    assert jnp.isnan(rows[1]).all()
    assert (rows[0] == 1).all()
    gradient = jax.jit(jax.grad(lambda table, ids: layers.embedding(table, ids)[0].sum()))(
        table, ids
    )
    assert_close(gradient, jnp.zeros((5, 2)).at[0].set(1))
    C = jax.jit(layers.softmax_cross_entropy)(jnp.ones((2, 5)), ids)
    assert jnp.isnan(C).tolist() == [False, True]
