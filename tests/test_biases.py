"""Layers without biases, everywhere; and a penalty on the biases too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp
from helpers import assert_close, random_case
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.planting import backprop_with
from planting import DECAYED, at, found

NET = mbp.Network((3, 5, 4, 2), ("tanh", "relu", "softmax"), "cross_entropy", 0.1)


def case(without=(1, 2, 3), net=NET):
    """A case whose layers of these numbers have no biases."""
    params, x, y = random_case(net, 7, 4, "float32")
    params = tuple(
        mbp.Layer(W, None if l in without else b) for l, (W, b) in enumerate(params, start=1)
    )
    return params, x, y


CASES = pytest.mark.parametrize("without", [(1, 2, 3), (2,)], ids=["none at all", "none in one"])


def test_init():
    params = NET.init(jax.random.key(0), bias=False)
    assert [b for _, b in params] == [None] * 3
    assert_close(params[0].W, NET.init(jax.random.key(0))[0].W)
    assert mbp.Layer(np.ones((2, 3))).b is None
    assert "b:" not in repr(params[0])


@CASES
def test_it_is_what_zero_biases_give(without):
    params, x, y = case(without)
    zero = tuple(mbp.Layer(W, jnp.zeros(len(W)) if b is None else b) for W, b in params)
    with_zeros = mbp.backprop(NET, zero, x, y)
    for function in (mbp.backprop, mbp.autodiff, mbp.summation, mbp.numerical):
        record = function(NET, params, x, y)
        assert [db is None for db in record.db] == [l in without for l in NET.layers]
        for name in ("cost", "z", "a", "delta", "dW"):
            arrays = jax.tree.map(lambda a: np.asarray(a, np.float32), getattr(record, name))
            assert_close(arrays, getattr(with_zeros, name), 2.0**-19)
    assert "not given" not in str(mbp.backprop(NET, params, x, y))


@CASES
def test_value_and_grad_update_and_optax(without):
    params, x, y = case(without)
    C, gradients = mbp.value_and_grad(NET)(params, x, y)
    assert jax.tree.structure(gradients) == jax.tree.structure(params)
    right = jax.grad(lambda params: mbp.cost(NET, params, x, y))(params)
    assert_close(gradients, right, 2.0**-20)
    after = mbp.update(params, gradients, 0.1)
    assert [b is None for _, b in after] == [b is None for _, b in params]
    adam = optax.adam(0.1)
    updates, _ = adam.update(gradients, adam.init(params), params)
    assert mbp.cost(NET, optax.apply_updates(params, updates), x, y) < C


def test_fit_save_and_load(tmp_path):
    params, x, y = case()
    how = {"batch_size": 7, "key": jax.random.key(0), "learning_rate": 0.1}
    trained, history = mbp.fit(NET, params, x, y, epochs=30, **how)
    assert history.cost[-1] < history.cost[0]
    assert [b for _, b in trained] == [None] * 3
    mbp.save(tmp_path / "net", NET, trained, history)
    net, again, _ = mbp.load(tmp_path / "net")
    assert net == NET
    assert_close(again, trained)
    mbp.save(tmp_path / "decayed", DECAYED, case((2,), DECAYED)[0])
    net, again, _ = mbp.load(tmp_path / "decayed")
    assert net == DECAYED
    assert [b is None for _, b in again] == [False, True]


@CASES
def test_compare_and_check(without):
    params, x, y = case(without)
    for witness in (mbp.autodiff, mbp.summation, mbp.numerical):
        agreement = mbp.compare(NET, params, x, y, witness=witness)
        assert agreement.ok, str(agreement)
        rows = [row.layer for row in agreement.rows if row.quantity == "db"]
        assert sorted(rows) == [l for l in NET.layers if l not in without]
    diagnosis = mbp.check(NET, params, x, y, mbp.backprop)
    assert diagnosis.ok
    assert "biases" not in str(diagnosis)
    where = {at(NET, "BP2", 1): CATALOGUE["no_hidden_derivative"]}
    wrong = backprop_with(NET, params, x, y, where)
    assert found(mbp.check(NET, params, x, y, wrong)) == [("BP2", 1, "no_hidden_derivative")]


def test_a_gradient_of_biases_that_are_not_there():
    params, x, y = case((2,))
    record = mbp.backprop(NET, params, x, y)
    zero = record._replace(db=(record.db[0], np.zeros(4, np.float32), record.db[2]))
    assert mbp.check(NET, params, x, y, zero).ok
    more = record._replace(db=(record.db[0], np.ones(4, np.float32), record.db[2]))
    (finding,) = mbp.check(NET, params, x, y, more).findings
    assert "layer 2 has no biases" in finding.explanation
    assert finding.fix == "Leave it out."


# ── A penalty on the biases ──────────────────────────────────────────────────────────────────────


def test_what_it_adds():
    params, x, y = case((), DECAYED)
    plain = mbp.Network(DECAYED.sizes, DECAYED.activations, DECAYED.cost, 0.1)
    without, with_them = (mbp.backprop(net, params, x, y) for net in (plain, DECAYED))
    squares = sum(float((b**2).sum()) for _, b in params)
    assert float(with_them.cost) == pytest.approx(float(without.cost) + 0.05 * squares, rel=1e-6)
    for got, unpenalised, (_, b) in zip(with_them.db, without.db, params, strict=True):
        assert_close(got, unpenalised + 0.1 * b, 2.0**-20)
    assert_close(with_them.dW, without.dW)


@pytest.mark.parametrize("witness", [mbp.autodiff, mbp.summation, mbp.numerical])
@pytest.mark.parametrize("without", [(), (1,)], ids=["biases", "one without"])
def test_every_witness_has_it(witness, without):
    params, x, y = case(without, DECAYED)
    agreement = mbp.compare(DECAYED, params, x, y, witness=witness)
    assert agreement.ok, str(agreement)
    _, gradients = mbp.value_and_grad(DECAYED)(params, x, y)
    right = jax.grad(lambda params: mbp.cost(DECAYED, params, x, y))(params)
    assert_close(gradients, right, 2.0**-20)


def test_its_names():
    assert str(DECAYED).endswith("+ 0.1/2·(‖W‖² + ‖b‖²)")
    assert eval(repr(DECAYED), {"Network": mbp.Network}) == DECAYED
    with pytest.raises(TypeError, match="l2_biases: expected True or False, got 1"):
        mbp.Network((2, 1), ("tanh",), "quadratic", 0.1, l2_biases=1)
