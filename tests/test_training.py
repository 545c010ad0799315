import io
import json
import os
import signal
import zipfile
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp
from helpers import plain_ctrl_c
from manual_bp import training
from manual_bp.checkpoint import load, load_settings, replacing, save
from manual_bp.training import fit, shuffled
from manual_bp.verification import agreement

NET = mbp.Network((3, 5, 4), ("tanh", "softmax"), "cross_entropy", l2=0.01)
M = 23  # 7 does not divide it
KEY = jax.random.key(5)


def case(dtype=jnp.float32, net=NET, seed=0):
    k = jax.random.split(jax.random.key(seed), 3)
    params = tuple(
        mbp.Layer(W, 0.1 * jax.random.normal(jax.random.fold_in(k[0], len(b)), b.shape, dtype))
        for W, b in net.init(k[0], dtype)
    )
    x = jax.random.normal(k[1], (M, net.sizes[0]), dtype)
    classes = jax.random.randint(k[2], (M,), 0, net.sizes[-1])
    return params, x, jax.nn.one_hot(classes, net.sizes[-1], dtype=dtype)


def run(params, x, y, **changes):
    settings = {"epochs": 3, "batch_size": 7, "key": KEY, "learning_rate": 0.3} | changes
    return fit(NET, params, x, y, **settings)


def batches(x, y, epoch, batch_size):
    """The epoch's mini-batches, by NumPy from the 32 random bits of each example."""
    order = np.argsort(jax.random.bits(jax.random.fold_in(KEY, epoch), (len(x),)), kind="stable")
    for i in range(0, len(x), batch_size):
        yield x[order[i : i + batch_size]], y[order[i : i + batch_size]]


def flat(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]


def same(one, other):
    one, other = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(one) == len(other) and all(
        a.dtype == b.dtype and bool((a == b).all()) for a, b in zip(one, other, strict=True)
    )


# ── The numbers ──────────────────────────────────────────────────────────────────────────────────


def by_loop(step, params, state, x, y, epochs, batch_size):
    """A plain loop of `step`, each epoch's cost, and how far rounding can move the end.

    Two computations that round each operation in their own way come apart by at most two roundings
    of each of a step's operations: u·A each, where no intermediate and no derivative of the result
    by one exceeds A. The later steps carry that on, to first order by the product of their
    Jacobians, so the ends are apart by Σₜ ‖J_T ⋯ J_{t+1}‖ 2·operations·u·A².
    """
    u, local, jacobians, costs = np.finfo(np.float64).eps / 2, [], [], []
    start, unflatten = jax.flatten_util.ravel_pytree((params, state))
    jacobian = jax.jit(jax.jacfwd(lambda v, *batch: flat(step(*unflatten(v), *batch)[:2])))
    P = flat(params).size
    for epoch in range(epochs):
        total = 0.0
        for xb, yb in batches(x, y, epoch, batch_size):
            jacobians.append(np.asarray(jacobian(flat((params, state)), xb, yb)))
            record = mbp.autodiff(NET, params, xb, yb)
            A = max(1.0, float(max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(record))))
            # Forward, BP2 and BP4: a product and a sum for each weight and example.
            operations = 6 * len(xb) * P + 20 * len(xb) * sum(NET.sizes) + 20 * P
            local.append(2 * operations * u * A**2)
            params, state, C = step(params, state, xb, yb)
            total += float(C) * len(xb)
        costs.append(total / len(x))
    apart, later = 0.0, np.eye(len(start))
    for J, error in zip(reversed(jacobians), reversed(local), strict=True):
        apart += np.linalg.norm(later, 2) * error
        later = later @ J
    return params, costs, apart


def ours(params, state, x, y):
    C, gradients = mbp.value_and_grad(NET)(params, x, y)
    return mbp.update(params, gradients, 0.3), state, C


def optax_with_autodiff(optimizer):
    def step(params, state, x, y):
        C, gradients = jax.value_and_grad(mbp.cost, argnums=1)(NET, params, x, y)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, C

    return step


OPTIMIZERS = {
    "momentum": optax.sgd(0.1, momentum=0.9),
    # With this under the root the step's derivative stays near 1; else √v is steep at 0.
    "adam": optax.adam(0.05, eps_root=0.1),
}


@pytest.mark.parametrize("how", ["update", *OPTIMIZERS])
@pytest.mark.parametrize("batch_size", [7, 40])
def test_fit_is_the_plain_loop_within_rounding(x64, how, batch_size):
    params, x, y = case(jnp.float64)
    if how == "update":
        step, state, given = ours, None, {"learning_rate": 0.3}
    else:
        optimizer = OPTIMIZERS[how]
        step, state = jax.jit(optax_with_autodiff(optimizer)), optimizer.init(params)
        given = {"learning_rate": None, "optimizer": optimizer}
    expected, costs, bound = by_loop(step, params, state, x, y, 2, batch_size)
    got, history = run(params, x, y, epochs=2, batch_size=batch_size, **given)
    assert bound < 1e-7  # a wrong step is off by far more
    assert np.linalg.norm(flat(got) - flat(expected)) <= bound
    # |∂C/∂w| < 10 here, and the mean's own sum rounds less than the steps.
    assert np.abs(history.cost - costs).max() <= 10 * bound
    assert flat(got).dtype == jnp.float64


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_dtype_stays_and_key_decides_bit_for_bit(dtype):
    params, x, y = case(jnp.dtype(dtype))
    one, history = run(params, x, y)
    two, again = run(params, x, y)
    other, _ = run(params, x, y, key=jax.random.key(6))
    assert same(one, two)
    assert (history.cost == again.cost).all()
    assert not same(one, other)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(one)} == {dtype}
    assert history.cost[-1] < history.cost[0]


def test_every_example_is_used_once_an_epoch():
    x = jnp.arange(M, dtype=jnp.float32)[:, None]
    full, rest = shuffled(x, -x, KEY, 7)
    assert (full[0].shape, rest[0].shape) == ((3, 7, 1), (1, 2, 1))
    seen = np.concatenate([full[0].ravel(), rest[0].ravel()])
    assert sorted(seen) == list(range(M))
    assert list(seen) != list(range(M))
    assert (full[1] == -full[0]).all()
    assert not (shuffled(x, x, jax.random.key(6), 7)[0][0] == full[0]).all()


def test_callers_params_stay_usable_and_numpy_is_taken():
    params, x, y = case()
    before = jax.tree.map(np.array, params)
    one, _ = run(params, x, y)
    assert same(params, before)
    two, _ = run(before, np.asarray(x), np.asarray(y))
    assert same(one, two)


def test_validation_by_hand():
    params, x, y = case()
    got, history = run(params, x, y, epochs=1, validation=(x[:9], y[:9]))
    a = np.asarray(mbp.forward(NET, got, x[:9])[1][-1])
    right = sum(row.argmax() == target.argmax() for row, target in zip(a, y[:9], strict=True))
    assert history.validation_accuracy.tolist() == [right / 9]
    C = float(mbp.cost(NET, got, x[:9], y[:9]))
    # Both are sums of some 20 terms of order 1 in float32.
    assert abs(history.validation_cost[0] - C) <= 40 * 2.0**-24 * max(1, C)
    assert all(isinstance(getattr(history, name), np.ndarray) for name in training.CURVES)


def test_training_accuracy_is_that_of_the_steps():
    params, x, y = case()
    right = 0
    for xb, yb in batches(x, y, 0, 7):
        a = mbp.forward(NET, params, xb)[1][-1]
        right += int((a.argmax(-1) == yb.argmax(-1)).sum())
        params = mbp.update(params, mbp.value_and_grad(NET)(params, xb, yb)[1], 0.3)
    assert run(*case(), epochs=1)[1].accuracy.tolist() == [right / M]


def test_no_accuracy_without_classes():
    net = mbp.Network((3, 4), ("tanh",), "quadratic")
    params, x, y = case(net=net)
    settings = {"epochs": 1, "batch_size": 7, "key": KEY, "learning_rate": 0.1}
    assert fit(net, params, x, y, **settings)[1].accuracy is not None  # one-hot rows
    history = fit(net, params, x, y / 2, **settings, validation=(x, y / 2))[1]
    assert history.accuracy is None
    assert history.validation_accuracy is None
    assert history.validation_cost is not None


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("optimizer", [None, OPTIMIZERS["momentum"], optax.adam(0.01)])
def test_continuing_is_as_if_never_interrupted(optimizer):
    params, x, y = case()
    how = {"optimizer": optimizer, "learning_rate": None if optimizer else 0.3}
    whole, history = run(params, x, y, epochs=5, **how)
    half, first = run(params, x, y, epochs=2, **how)
    rest, second = run(
        half,
        x,
        y,
        epochs=3,
        start_epoch=first.epoch,
        optimizer_state=first.optimizer_state,
        **how,
    )
    assert same(whole, rest)
    joined = first.followed_by(second)
    assert joined.epoch == history.epoch == 5
    assert (joined.cost == history.cost).all()


@pytest.mark.parametrize("where", ["on_epoch", "descend"])
def test_ctrl_c_returns_the_last_whole_epoch(monkeypatch, where):
    params, x, y = case()
    expected, _ = run(params, x, y, epochs=2)
    changes = {}
    if where == "on_epoch":

        def on_epoch(params, history):
            if history.epoch == 2:
                raise KeyboardInterrupt

        changes["on_epoch"] = on_epoch
    else:
        calls, descend = [], training.descend

        def interrupted(*args):
            result = descend(*args)  # the arrays that it was given are gone
            calls.append(1)
            if len(calls) == 6:  # two steps of programs an epoch: in the third, after both
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(training, "descend", interrupted)
    got, history = run(params, x, y, **changes, epochs=9)
    assert same(got, expected)
    assert (history.epoch, len(history.cost), history.interrupted) == (2, 2, True)
    assert history.stopped == "interrupted after 2 of 9 epochs"


@pytest.mark.parametrize("presses", [1, 2])
@plain_ctrl_c()
def test_ctrl_c_waits_for_on_epoch_but_not_a_second_time(presses):
    params, x, y = case()
    lines = []

    def on_epoch(params, history):
        if history.epoch == 2:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
            lines.append("a file is saved whole")

    _, history = run(params, x, y, epochs=9, on_epoch=on_epoch)
    assert (history.epoch, history.interrupted, len(lines)) == (2, True, presses == 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@plain_ctrl_c()
def test_ctrl_c_is_heard_between_the_steps_that_are_verified(monkeypatch):
    params, x, y = case()
    verified = []

    def verify(*args):
        verified.append(args[-1])
        if len(verified) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "_verify", verify)
    _, history = run(params, x, y, verify_every=1)
    assert (history.epoch, history.interrupted, verified) == (0, True, [0, 1])


@plain_ctrl_c()
def test_the_callers_own_handler_and_other_threads_are_left_alone():
    params, x, y = case()
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    _, history = run(params, x, y, on_epoch=lambda *_: signal.raise_signal(signal.SIGINT))
    assert (history.epoch, history.interrupted, len(pressed)) == (3, False, 3)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ThreadPoolExecutor() as threads:
        _, history = threads.submit(run, params, x, y).result()
    assert (history.epoch, history.interrupted) == (3, False)


def test_nonfinite_cost_stops_with_the_last_finite_parameters():
    net = mbp.Network((3, 4), ("identity",), "quadratic")
    params, x, y = case(net=net)
    settings = {"epochs": 50, "batch_size": 7, "key": KEY, "learning_rate": 1e4}
    with pytest.warns(RuntimeWarning, match=r"epoch \d+ at step \d of 4: .*smaller learning rate"):
        got, history = fit(net, params, x, y, **settings)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(got))
    assert np.isfinite(history.cost).all()
    assert "stopped in epoch" in history.stopped
    # By hand: the steps of that epoch one by one.
    epoch, taken, params = 0, 0, params
    while True:
        for xb, yb in batches(x, y, epoch, 7):
            C, gradients = mbp.value_and_grad(net)(params, xb, yb)
            new = mbp.update(params, gradients, 1e4)
            if not jnp.isfinite(C) or not all(
                bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(new)
            ):
                break
            params, taken = new, taken + 1
        else:
            epoch += 1
            continue
        break
    assert history.epoch == epoch
    assert f"epoch {epoch + 1} at step {taken - 4 * epoch + 1} of 4" in history.stopped
    # Growth by ~10⁴ a step hides the last digits: 10 roundings of 24 terms a step.
    ratio = np.asarray(flat(got)) / np.asarray(flat(params))
    assert np.abs(ratio - 1).max() < 1e-3


def test_an_update_that_overflows_after_a_finite_cost_stops_too():
    net = mbp.Network((1, 1), ("identity",), "quadratic")
    params = (mbp.Layer(jnp.ones((1, 1)), jnp.zeros(1)),)
    x, y = jnp.full((4, 1), 1e15), jnp.zeros((4, 1))
    with pytest.warns(RuntimeWarning, match="epoch 1 at step 1 of 1: a weight or bias is no lon"):
        got, history = fit(net, params, x, y, epochs=2, batch_size=4, key=KEY, learning_rate=1e30)
    assert same(got, params)
    assert (history.epoch, len(history.cost)) == (0, 0)


# ── verify_every ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("every", [1, 3])
def test_verifying_changes_no_number(monkeypatch, every):
    params, x, y = case()
    expected, history = run(params, x, y)
    seen, compare = [], agreement.compare

    def noted(net, params, x, y):
        seen.append(x.shape[0])
        return compare(net, params, x, y)

    monkeypatch.setattr(agreement, "compare", noted)
    got, verified = run(params, x, y, verify_every=every)
    assert same(got, expected)
    assert (history.cost == verified.cost).all()
    assert seen == {1: [7, 7, 7, 2], 3: [7, 2]}[every] * 3


def test_a_planted_mistake_stops_training():
    wrong = mbp.Activation("wrong", jnp.tanh, lambda z: 1 - jnp.tanh(z))  # for 1 − tanh²
    net = mbp.Network((3, 5, 4), (wrong, "softmax"), "cross_entropy")
    params, x, y = case(net=net)
    settings = {"epochs": 1, "batch_size": 7, "key": KEY, "learning_rate": 0.1}
    fit(net, params, x, y, **settings)  # unnoticed without
    with pytest.raises(AssertionError, match=r"(?s)epoch 1, step 1: .*disagrees.*BP2"):
        fit(net, params, x, y, **settings, verify_every=2)


def test_a_mistake_that_shows_late_is_named_with_its_step(monkeypatch):
    params, x, y = case()
    calls, compare = [], agreement.compare

    def late(net, params, x, y):
        calls.append(1)
        subject = mbp.backprop
        if len(calls) == 4:

            def subject(*args):
                record = mbp.backprop(*args)
                return record._replace(db=tuple(2 * db for db in record.db))

        return compare(net, params, x, y, subject=subject)

    monkeypatch.setattr(agreement, "compare", late)
    with pytest.raises(AssertionError, match=r"epoch 2, step 3:"):
        run(params, x, y, verify_every=2)


# ── What is handed in ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number ≥ 1, got 0"),
        ({"epochs": 1.0}, "epochs: expected a whole number"),
        ({"batch_size": True}, "batch_size: expected a whole number"),
        ({"verify_every": 0}, "verify_every: expected a whole number ≥ 1"),
        ({"start_epoch": -1}, "start_epoch: expected a whole number ≥ 0"),
        ({"learning_rate": None}, "expected exactly one of them, got neither"),
        ({"optimizer": optax.sgd(0.1)}, "expected exactly one of them, got both"),
        ({"learning_rate": None, "optimizer": optax.sgd}, "an optax.GradientTransformation"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number > 0"),
        ({"learning_rate": "0.1"}, "learning_rate: expected a positive number"),
        ({"learning_rate": 1e-60}, "learning_rate: 1e-60 is outside the range of float32"),
        ({"key": 0}, "key: expected one such as jax.random.key"),
        ({"key": jax.random.split(KEY)}, "key: expected one such as jax.random.key"),
        ({"progress": "yes"}, "progress: expected None, True or False"),
        ({"optimizer_state": ()}, "optimizer_state: it goes with optimizer"),
        ({"validation": 3}, r"validation: expected a pair \(x, y\)"),
        ({"validation": (np.ones((2, 3)), np.ones((2, 4)))}, "validation: .*float64"),
        ({"validation": (np.ones(3, "f4"), np.ones(4, "f4"))}, "validation: expected rows"),
        ({"epochs": 0, "batch_size": 0}, "(?s)2 things do not fit.*epochs.*batch_size"),
    ],
)
def test_one_error_names_what_does_not_fit(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        run(*case(), **changes)


def test_one_example_without_its_axis_is_refused():
    params, x, y = case()
    with pytest.raises(ValueError, match="expected a batch of rows"):
        run(params, x[0], y[0])


# ── The progress bar ─────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("library", ["rich.progress", "tqdm", None])
def test_progress_on_a_terminal(monkeypatch, library):
    if library:
        pytest.importorskip(library)
    monkeypatch.setattr(training, "_installed", lambda module: module == library)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.stderr", Terminal())
    params, x, y = case()
    run(params, x, y, validation=(x, y))
    shown = training.sys.stderr.getvalue()
    if library is None:
        assert shown == ""
    else:
        for word in ("epoch", "3/3", "4 steps", "cost ", "accuracy", "examples/s"):
            assert word in shown, word


def test_silence_in_a_pipe(capfd):
    run(*case())
    assert capfd.readouterr() == ("", "")


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("optimizer", [None, optax.adam(0.01)])
def test_saved_is_loaded(tmp_path, dtype, optimizer):
    params, x, y = case(jnp.dtype(dtype))
    how = {"optimizer": optimizer, "learning_rate": None if optimizer else 0.3}
    got, history = run(params, x, y, **how, validation=(x, y))
    save(tmp_path / "a.npz", NET, got, history, {"seed": "0"})
    again, read, settings = load(tmp_path / "a.npz", NET, optimizer)
    assert same(again, got)
    assert same(read.optimizer_state, history.optimizer_state)
    assert all((getattr(read, name) == getattr(history, name)).all() for name in training.CURVES)
    assert (read.epoch, read.stopped, read.interrupted) == (3, "", False)
    assert settings == load_settings(tmp_path / "a.npz") == {"seed": "0"}
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.fixture
def saved(tmp_path):
    got, history = run(*case())
    path = tmp_path / "a.npz"
    save(path, NET, got, history, {"seed": "0"})
    return path


def rewrite(path, **changes):
    """The file with arrays replaced, or left out where None; about's entries by name."""
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["about"]))
    about |= {name: value for name, value in changes.items() if name in about}
    arrays |= {name: value for name, value in changes.items() if name not in about}
    arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W1": None}, "expected a whole file"),
        ({"W1": np.zeros((3, 5), np.float32)}, r"W1: expected float32 of shape \(5, 3\)"),
        ({"W1": np.zeros((5, 3))}, "W1: expected float32"),
        ({"W1": np.full((5, 3), np.nan, np.float32)}, "expected finite parameters"),
        ({"cost": None}, "curves of one length"),
        ({"cost": np.zeros(2)}, "curves of one length"),
        ({"cost": np.zeros((3, 1))}, "cost: expected float64"),
        ({"state0": np.zeros(3)}, "state of this optimiser, 0 arrays, got 1"),
        ({"epoch": -1}, "expected a whole file"),
        ({"epoch": "3"}, "expected a whole file"),
        ({"settings": {"seed": 1}}, "expected a whole file"),
        ({"dtype": "float99"}, "expected a whole file"),
        ({"dtype": "float64"}, "64-bit types"),
        ({"network": "Network((3, 4))"}, r"expected Network\(\(3, 5, 4\).*got Network\(\(3, 4\)\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load(saved, NET)
    assert str(error.value).startswith(str(saved))


def test_a_damaged_file_is_refused(saved):
    content = saved.read_bytes()
    for damaged in (b"", b"no zip", content[:-30], content[: len(content) // 2]):
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match="expected a whole file"):
            load(saved, NET)
    changed = bytearray(content)
    changed[content.index(b"W1.npy") + 140] ^= 1  # within the array: the checksum tells
    saved.write_bytes(changed)
    with pytest.raises(ValueError, match="expected a whole file"):
        load(saved, NET)
    saved.unlink()
    with pytest.raises(ValueError, match="no such file"):
        load(saved, NET)


def test_neither_pickle_nor_packed_arrays_are_read(saved, tmp_path):
    packed = tmp_path / "packed.npz"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="expected a whole file"):
        load(packed, NET)
    rewrite(saved, W1=np.array([[print]], dtype=object))
    with pytest.raises(ValueError, match="expected a whole file"):
        load(saved, NET)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.write(b"half" + None)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
