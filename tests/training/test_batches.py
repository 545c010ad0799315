"""Examples from files and from iterators: the same training as from arrays in memory."""

import re
import resource

import jax
import numpy as np
import optax
import pytest

import manual_bp as mbp
from manual_bp.training import batches as module
from manual_bp.training.batches import segments
from training_case import KEY, NET, case, same


def arrays():
    params, x, y = case()
    return params, np.asarray(x), np.asarray(y)


def mapped(folder, name, array):
    np.save(folder / name, array)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


@pytest.fixture
def files(tmp_path):
    params, x, y = arrays()
    return params, mapped(tmp_path, "x", x), mapped(tmp_path, "y", y)


HOW = {"epochs": 3, "batch_size": 4, "key": KEY, "optimizer": optax.adam(0.01)}


@pytest.mark.parametrize("at_once", [1, 1 << 20], ids=["a batch", "all"])
def test_memory_mapped_arrays_train_bit_for_bit_as_those_in_memory(monkeypatch, files, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    params, x, y = arrays()
    expected, right = mbp.fit(NET, params, x, y, **HOW)
    got, history = mbp.fit(*(NET, *files), **HOW)
    assert same(got, expected)
    np.testing.assert_array_equal(history.accuracy, right.accuracy)
    np.testing.assert_allclose(history.cost, right.cost, rtol=1e-12)


def test_targets_in_memory_and_class_numbers_will_do_and_verifying_changes_nothing(files):
    params, x, y = files
    expected, _ = mbp.fit(NET, *arrays(), **HOW)
    labels = np.asarray(y).argmax(1)
    assert same(mbp.fit(NET, params, x, labels, **HOW, verify_every=5)[0], expected)


def epoch_of(x, y, size, number):
    order = np.random.default_rng(number).permutation(len(x))
    return [(x[rows], y[rows]) for rows in np.split(order, range(size, len(x), size))]


def test_an_iterators_batches_are_its_own_steps():
    params, x, y = arrays()
    how = {"key": KEY, "learning_rate": 0.5}
    ours, one = params, []
    for number in range(2):
        cost = 0.0
        for rows, targets in epoch_of(x, y, 4, number):
            C, gradients = mbp.value_and_grad(NET)(ours, rows, targets)
            ours, cost = mbp.update(ours, gradients, 0.5), cost + len(rows) * float(C)
        one.append(cost / len(x))
    got, history = mbp.fit(NET, params, lambda number: epoch_of(x, y, 4, number), epochs=2, **how)
    for layer, expected in zip(got, ours, strict=True):
        np.testing.assert_allclose(layer.W, expected.W, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history.cost, one, rtol=1e-5)

    listed, _ = mbp.fit(NET, params, epoch_of(x, y, 4, 0), epochs=1, **how)
    made, _ = mbp.fit(NET, params, iter(epoch_of(x, y, 4, 0)), epochs=1, **how)
    assert same(listed, made)


def test_one_batch_of_all_is_the_step_of_arrays():
    params, x, y = arrays()
    how = {"epochs": 3, "key": KEY, "learning_rate": 0.5}
    order = np.asarray(module.order_of(jax.random.fold_in(KEY, 0), len(x)))
    got, _ = mbp.fit(NET, params, [(x[order], y[order])], **how | {"epochs": 1})
    expected, _ = mbp.fit(NET, params, x, y, batch_size=len(x), **how | {"epochs": 1})
    assert same(got, expected)


PAIR = arrays()[1][:4], arrays()[2][:4]


@pytest.mark.parametrize(
    ("x", "more", "message"),
    [
        (lambda: iter([PAIR]), {}, r"x: expected a batch at least, got none in epoch 2"),
        (list, {}, r"x: expected a batch at least, got none in epoch 1"),
        (lambda: [PAIR, PAIR[0]], {}, r"x: batch 2 of epoch 1: expected a pair \(x, y\)"),
        (lambda: [PAIR, (PAIR[0][:, :2], PAIR[1])], {},
         r"x: batch 2 of epoch 1: x: expected shape \(m, 3\)"),
        (lambda: [(PAIR[0] * np.nan, PAIR[1])], {}, r"x: batch 1 of epoch 1: x: expected finite"),
        (lambda: [(PAIR[0][0], PAIR[1][0])], {}, r"x: batch 1 of epoch 1: expected rows"),
        (lambda: [PAIR], {"batch_size": 4}, r"batch_size: x gives batches of its own"),
        (lambda: PAIR[0], {"batch_size": 4}, r"y: "),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused_by_its_number(x, more, message):
    how = {"epochs": 2, "key": KEY, "learning_rate": 0.1} | more
    with pytest.raises((ValueError, TypeError), match=message):
        mbp.fit(NET, arrays()[0], x(), **how)


def test_a_file_with_a_wrong_number_or_another_length_is_refused(tmp_path):
    params, x, y = arrays()
    wrong = x.copy()
    wrong[7] = np.inf
    with pytest.raises(ValueError, match=r"x, y: among rows \d+ to \d+: x: expected finite"):
        mbp.fit(NET, params, mapped(tmp_path, "wrong", wrong), y, **HOW)
    with pytest.raises(ValueError, match=re.escape("x, y: expected as many examples in both")):
        mbp.fit(NET, params, mapped(tmp_path, "short", x[:-1]), y, **HOW)


def test_a_cost_that_turns_infinite_stops_where_it_did():
    params, x, y = arrays()
    net = mbp.Network((3, 5, 4), ("relu", "identity"), "quadratic")
    pairs = epoch_of(x, y, 4, 0)
    with pytest.warns(RuntimeWarning, match="stopped in epoch 1 at step"):
        _, history = mbp.fit(net, params, pairs, epochs=2, key=KEY, learning_rate=1e30)
    assert " of " not in history.stopped.split(":")[0].split("step")[1]  # nobody knows how many


@pytest.mark.parametrize("every", [None, 1, 3, 4, 50])
def test_segments_are_cut_before_each_step_that_is_verified(every):
    groups = [(np.arange(10), np.arange(10)), (np.arange(10, 15), np.arange(10, 15))]
    found = list(segments(iter(groups), every))
    np.testing.assert_array_equal(np.concatenate([x for _, (x, _) in found]), np.arange(15))
    assert [first for first, (x, _) in found] == [x[0] for _, (x, _) in found]
    if every:
        starts = {first for first, _ in found}
        assert starts >= set(range(0, 15, every))


@pytest.mark.sweep
def test_memory_does_not_grow_with_the_file(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (100_000, 1000))
    for start in range(0, len(x), 10_000):
        x[start : start + 10_000] = np.random.default_rng(start).random((10_000, 1000))
    x.flush()
    del x
    mapped_x = np.load(tmp_path / "x.npy", mmap_mode="r")
    net = mbp.Network((1000, 8, 2), ("relu", "softmax"), "cross_entropy")
    how = {"epochs": 1, "batch_size": 64, "key": KEY, "learning_rate": 0.1}
    y = np.arange(100_000) % 2
    mbp.fit(net, net.init(KEY), mapped_x[:1000], y[:1000], **how)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mbp.fit(net, net.init(KEY), mapped_x, y, **how)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    mapped_pages = 400_000  # of the file itself, which the system may take back
    assert grown < mapped_pages + 200_000
