"""What people hand in to (net, params, x, y): any form that is certain is taken, everywhere."""

import threading
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp
from helpers import assert_close

NET = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
rng = np.random.default_rng(0)
PARAMS = tuple(
    mbp.Layer(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in ((4, 3), (2, 4))
)
X, LABELS = rng.normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
Y = np.eye(2)[LABELS]
ONE_OUTPUT = mbp.Network((3, 1), ("sigmoid",), "binary_cross_entropy")
ONE_PARAMS = (mbp.Layer(rng.normal(size=(1, 3)), rng.normal(size=1)),)


class Tensor:
    """What a tensor of PyTorch looks like from outside."""

    def __init__(self, array):
        self.array, self.requires_grad = array, False

    def detach(self):
        return self

    def cpu(self):
        return self

    def clone(self):
        return Tensor(self.array.copy())

    def requires_grad_(self, needed):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class DLPack:
    """An array that NumPy can read by DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


FORMS = {
    "lists": lambda array: array.tolist(),
    "tuples": lambda array: tuple(map(tuple, array.tolist())) if array.ndim == 2 else tuple(array),
    "a tensor": Tensor,
    "dlpack": DLPack,
    "big-endian": lambda array: array.astype(">f8"),
    "longdouble": lambda array: array.astype(np.longdouble),
    "columns first": np.asfortranarray,
}


def same(one, other):
    assert_close(jax.tree.map(np.asarray, one), jax.tree.map(np.asarray, other))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_any_form_is_the_same_array(form):
    params = tuple((form(W), form(b)) for W, b in PARAMS)
    call = (params, form(X), form(Y))
    right = mbp.backprop(NET, PARAMS, X, Y)
    same(mbp.backprop(NET, *call), right)
    same(mbp.cost(NET, *call), right.cost)
    same(mbp.autodiff(NET, *call), mbp.autodiff(NET, PARAMS, X, Y))
    same(mbp.summation(NET, *call), mbp.summation(NET, PARAMS, X, Y))
    same(mbp.numerical(NET, *call), mbp.numerical(NET, PARAMS, X, Y))
    same(mbp.predict(NET, params, form(X)), right.a[-1])
    assert mbp.compare(NET, *call).ok
    assert mbp.check(NET, *call, mbp.backprop).ok


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame, labels = pandas.DataFrame(X), pandas.Series(LABELS)
    same(mbp.backprop(NET, PARAMS, frame, labels), mbp.backprop(NET, PARAMS, X, Y))
    with pytest.raises(TypeError, match="y: expected real numbers, got dtype object"):
        mbp.backprop(NET, PARAMS, frame, pandas.Series(list("abbab"), dtype=object))


def test_pytorch():
    torch = pytest.importorskip("torch")
    params = [
        (torch.tensor(W, requires_grad=True), torch.tensor(b, requires_grad=True))
        for W, b in PARAMS
    ]
    call = params, torch.tensor(X), torch.tensor(LABELS)
    same(mbp.backprop(NET, *call), mbp.backprop(NET, PARAMS, X, Y))
    half = [tuple(array.to(torch.bfloat16) for array in layer) for layer in params]
    assert mbp.predict(NET, half, torch.tensor(X)).dtype == jnp.bfloat16


# ── Formats ──────────────────────────────────────────────────────────────────────────────────────


def test_float64_without_the_64_bit_types():
    """And what the caller has set stays as it is, here and in another thread."""
    with jax.enable_x64(False):
        record = mbp.backprop(NET, PARAMS, X, Y)
        assert {array.dtype.name for array in jax.tree.leaves(record)} == {"float64"}
        assert jnp.ones(1).dtype == jnp.float32
        agreement = mbp.compare(NET, PARAMS, X, Y)
        assert agreement.ok
        assert agreement.arithmetic.startswith("float64")
        _, gradients = mbp.value_and_grad(NET)(PARAMS, X, Y)
        after = mbp.update(PARAMS, gradients, 0.1)
        assert after[0].W.dtype == np.float64
        assert_close(after[0].W, PARAMS[0].W - 0.1 * np.asarray(gradients[0].W), 2.0**-50)
        call = {"epochs": 1, "batch_size": 5, "key": jax.random.key(0)}
        for how in ({"learning_rate": 0.1}, {"optimizer": optax.adam(0.1)}):
            trained, _ = mbp.fit(NET, PARAMS, X, Y, **call, **how)
            assert trained[0].W.dtype == np.float64
        assert jnp.ones(1).dtype == jnp.float32


def test_another_thread_keeps_its_own_types():
    seen, inside = [], threading.Event()

    def mine(*call):
        inside.set()
        thread.join()
        return mbp.backprop(*call)

    def other():
        inside.wait()
        seen.append(jnp.ones(1).dtype.name)

    thread = threading.Thread(target=other)
    thread.start()
    expected = jnp.ones(1).dtype.name
    assert mbp.check(NET, PARAMS, X, Y, mine).ok
    assert seen == [expected]


def test_the_data_follow_the_parameters():
    narrow = jax.tree.map(np.float32, PARAMS)
    record = mbp.backprop(NET, narrow, X, Y)
    assert {array.dtype.name for array in jax.tree.leaves(record)} == {"float32"}
    assert mbp.compare(NET, narrow, X, Y).ok  # a⁰ is x, rounded once
    wrong = record._replace(a=(record.a[0] * (1 + 2.0**-21), *record.a[1:]))
    assert mbp.compare(NET, narrow, X, Y, subject=wrong).disagreements[0].layer == 0


def test_whole_numbers_and_truth_values():
    x = np.array([[0, 1, 1], [1, 0, 0]])
    right = mbp.cost(NET, PARAMS, x.astype(float), Y[:2])
    same(mbp.cost(NET, PARAMS, x, [0, 1]), right)
    same(mbp.cost(NET, PARAMS, x > 0, [0, 1]), right)


def test_under_jit():
    narrow = jax.tree.map(np.float32, PARAMS)
    step = jax.jit(lambda x, y: mbp.cost(NET, narrow, x, y))
    assert_close(step(X.astype(np.float32), LABELS), mbp.cost(NET, narrow, X, Y), 1e-6)


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "y",
    [LABELS, LABELS.tolist(), LABELS.astype(np.uint8), LABELS[:, None], LABELS.astype(float)],
    ids=["integers", "a list", "bytes", "a column", "floats"],
)
def test_labels_are_one_hot_rows(y):
    same(mbp.backprop(NET, PARAMS, X, y), mbp.backprop(NET, PARAMS, X, Y))


def test_one_label_of_one_example():
    same(mbp.backprop(NET, PARAMS, X[1], 1), mbp.backprop(NET, PARAMS, X[1], Y[1]))
    same(mbp.backprop(NET, PARAMS, X[:1], Y[0]), mbp.backprop(NET, PARAMS, X[:1], Y[:1]))


@pytest.mark.parametrize("y", [LABELS, LABELS > 0, LABELS.tolist()], ids=["ints", "bools", "list"])
def test_one_output_takes_a_column(y):
    right = mbp.backprop(ONE_OUTPUT, ONE_PARAMS, X, LABELS[:, None].astype(float))
    same(mbp.backprop(ONE_OUTPUT, ONE_PARAMS, X, y), right)


def test_one_input_takes_a_column():
    net = mbp.Network((1, 1), ("identity",), "quadratic")
    params = (([[2.0]], [1.0]),)
    x, y = [0.0, 1.0, 2.0], [1.0, 3.0, 4.0]
    assert np.asarray(mbp.predict(net, params, x)).tolist() == [[1.0], [3.0], [5.0]]
    assert float(mbp.cost(net, params, x, y)) == 1 / 6


QUADRATIC = mbp.Network((3, 4, 2), ("tanh", "sigmoid"), "quadratic")


@pytest.mark.parametrize(
    ("net", "y", "says"),
    [
        (NET, LABELS + 1, r"0 to 1, got 1 to 2; they count from 1: pass y - 1"),
        (NET, LABELS * 3, r"0 to 1, got 0 to 3; give the network 4"),
        (NET, LABELS - 1, r"0 to 1, got -1 to 0; number the classes from 0"),
        (NET, LABELS / 2, r"expected 2 targets for each example, shape \(5, 2\), got \(5,\)"),
        (QUADRATIC, LABELS, r"got \(5,\); if these are the numbers of classes.*one_hot\(y, 2\)"),
    ],
)
def test_what_is_not_certain_is_asked(net, y, says):
    with pytest.raises(ValueError, match=f"^y: .*{says}"):
        mbp.backprop(net, PARAMS, X, y)


# ── Parameters ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_biases_as_columns_and_rows(shape):
    params = [(W, b.reshape(shape)) for W, b in PARAMS]
    same(mbp.backprop(NET, params, X, Y), mbp.backprop(NET, PARAMS, X, Y))
    _, gradients = mbp.value_and_grad(NET)(params, X, Y)
    assert [type(layer) for layer in gradients] == [tuple, tuple]


def test_lists_of_lists_stay_lists():
    params = [[W.tolist(), b.tolist()] for W, b in PARAMS]
    _, gradients = mbp.value_and_grad(NET)(params, X, Y)
    assert isinstance(gradients, list)
    assert [type(layer) for layer in gradients] == [list, list]


def test_an_array_that_found_no_memory_is_not_read(monkeypatch):
    """NumPy would read it as if it were there: the process ends, or there are numbers in it."""
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")
    monkeypatch.setattr(jax, "block_until_ready", Mock(side_effect=error))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        mbp.backprop(NET, PARAMS, X, Y)
