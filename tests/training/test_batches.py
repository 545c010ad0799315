"""Examples from files and from iterators: the same training as from arrays in memory."""

import pathlib
import re

import jax
import numpy as np
import optax
import pytest

import manual_bp as mbp
from manual_bp.training import batches as module
from manual_bp.training.batches import segments
from manual_bp.training.plan import Plan
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
    assert same(mbp.fit(NET, params, x, labels.tolist(), **HOW)[0], expected)
    assert same(mbp.fit(NET, params, np.asarray(x).tolist(), y, **HOW)[0], expected)


def test_one_number_an_example_may_be_mapped_as_it_is(tmp_path):
    net, x = mbp.Network((1, 3, 1), ("tanh", "identity"), "quadratic"), np.linspace(-1, 1, 9)
    params, how = net.init(KEY), HOW | {"epochs": 1}  # the last batch is one row
    expected, _ = mbp.fit(net, params, x, x**2, **how)
    got, _ = mbp.fit(net, params, mapped(tmp_path, "x", x), mapped(tmp_path, "y", x**2), **how)
    assert same(got, expected)


def test_of_several_processes_none_reads_a_file_or_an_iterable(monkeypatch, files):
    monkeypatch.setattr(mbp.parallel.Layout, "hosts", 2)
    mesh = jax.make_mesh((1,), ("data",))
    how = {"epochs": 1, "key": KEY, "learning_rate": 0.1, "mesh": mesh}
    for x in (files[1:], ([PAIR], None)):
        with pytest.raises(ValueError, match="x, mesh: expected arrays in memory where the mesh"):
            mbp.fit(NET, files[0], *x, **how, batch_size=None if x[1] is None else 4)


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


def of_its_own():
    """Bytes of this process's own, without the pages of files, which the system takes back."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


@pytest.mark.sweep
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="Linux tells it")
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    rows, width = 100_000, 1000
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (rows, width))  # 400 MB
    x[:] = np.linspace(-1, 1, width, dtype=np.float32)
    x.flush()
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(rows) % 2
    net = mbp.Network((width, 8, 2), ("relu", "softmax"), "cross_entropy")
    how = {"batch_size": 64, "key": KEY, "learning_rate": 0.1}
    mbp.fit(net, net.init(KEY), x[:1000], y[:1000], epochs=1, **how)
    before, seen, read = of_its_own(), [], Plan.read

    def watched(*arguments):
        batches = read(*arguments)
        seen.append(of_its_own())
        return batches

    monkeypatch.setattr(Plan, "read", watched)
    mbp.fit(net, net.init(KEY), x, y, epochs=2, **how)
    print(len(seen), (max(seen) - before) / 1e6)
    assert len(seen) > 20
    assert max(seen) - before < 100e6
