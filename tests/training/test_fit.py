import signal
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manual_bp as mbp
from helpers import plain_ctrl_c
from manual_bp.training import fit as fit_module
from manual_bp.training.fit import epochs, fit
from manual_bp.training.history import CURVES, SavedState, named
from manual_bp.verdicts import compare as agreement
from planting import with_sigmas
from training_case import KEY, NET, OPTIMIZERS, M, batches, case, run, same


def flat(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]


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
            A = max(1.0, float(max(np.abs(leaf).max() for leaf in jax.tree.leaves(record))))
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


@pytest.mark.parametrize(
    ("how", "batch_size"),
    [
        *(("update", 7), ("momentum", 7), ("adam", 7), ("update", 40)),
        # How many examples a step takes is no matter of the optimiser's.
        pytest.param("momentum", 40, marks=pytest.mark.sweep),
        pytest.param("adam", 40, marks=pytest.mark.sweep),
    ],
)
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


def test_microbatches_change_roundings_alone(x64):
    params, x, y = case(jnp.float64)
    whole, history = run(params, x, y, batch_size=7)
    parts, again = run(params, x, y, batch_size=7, microbatch=3)
    np.testing.assert_allclose(flat(parts), flat(whole), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(again.cost, history.cost, rtol=1e-12)
    assert (flat(parts) != flat(whole)).any()
    if history.accuracy is not None:
        np.testing.assert_array_equal(again.accuracy, history.accuracy)


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
    assert all(isinstance(getattr(history, name), np.ndarray) for name in CURVES)


def test_training_accuracy_is_that_of_the_steps():
    params, x, y = case()
    right = 0
    for xb, yb in batches(x, y, 0, 7):
        a = mbp.forward(NET, params, xb)[1][-1]
        right += int((a.argmax(-1) == yb.argmax(-1)).sum())
        params = mbp.update(params, mbp.value_and_grad(NET)(params, xb, yb)[1], 0.3)
    assert run(*case(), epochs=1)[1].accuracy.tolist() == [right / M]


@pytest.mark.parametrize(
    ("output", "cost", "low", "middle"),
    [
        ("sigmoid", "binary_cross_entropy", 0, 0.5),
        ("sigmoid", "quadratic", 0, 0.5),
        ("identity", "hinge", -1, 0),
    ],
)
def test_accuracy_of_one_output(output, cost, low, middle):
    net = mbp.Network((3, 1), (output,), cost)
    params, x = net.init(KEY), np.asarray(case()[1])
    y = np.where(np.arange(M) % 3 == 0, 1.0, low)[:, None].astype(np.float32)
    settings = {"epochs": 1, "batch_size": M, "key": KEY, "learning_rate": 0.1}
    got, history = fit(net, params, x, y, **settings, validation=(x[:9], y[:9]))
    for curve, of, m in (("accuracy", params, M), ("validation_accuracy", got, 9)):
        a = np.asarray(mbp.forward(net, of, x[:m])[1][-1])
        right = int(((a >= middle) == (y[:m] == 1)).sum())
        assert 0 < right < m
        assert getattr(history, curve).tolist() == [right / m]
    if low == 0:  # targets between the two are no classes
        assert fit(net, params, x, y / 2, **settings)[1].accuracy is None


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


@pytest.mark.parametrize("optimizer", [None, *OPTIMIZERS.values()])
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


def test_on_epoch_that_returns_false_stops_training_there():
    params, x, y = case()
    expected, _ = run(params, x, y, epochs=2)
    seen = []

    def on_epoch(params, history):
        seen.append((params, history))
        return False if history.epoch == 2 else None if history.epoch else 0

    got, history = run(params, x, y, epochs=9, on_epoch=on_epoch)
    assert same(got, expected)
    assert (history.epoch, len(history.cost)) == (2, 2)
    assert history.stopped == "stopped by on_epoch after 2 of 9 epochs"
    assert [(h.epoch, len(h.cost), h.stopped) for _, h in seen] == [(1, 1, ""), (2, 2, "")]
    assert same(seen[-1][0], got)


@pytest.mark.parametrize("value", [0, None, np.False_, ()], ids=repr)
def test_nothing_but_false_stops_training(value):
    history = run(*case(), on_epoch=lambda *_: value)[1]
    assert (history.epoch, history.stopped) == (3, "")


def test_epochs_gives_what_fit_gives():
    params, x, y = case()
    expected, history = run(params, x, y, validation=(x, y))
    settings = {"epochs": 3, "batch_size": 7, "key": KEY, "learning_rate": 0.3}
    pairs = list(epochs(NET, params, x, y, **settings, validation=(x, y)))
    assert [h.epoch for _, h in pairs] == [len(h.cost) for _, h in pairs] == [1, 2, 3]
    assert same(pairs[-1][0], expected)
    # An earlier pair is still what it was.
    assert same(pairs[0][0], run(params, x, y, epochs=1)[0])
    for name in set(CURVES) - {"seconds"}:
        assert (getattr(pairs[-1][1], name) == getattr(history, name)).all(), name
        assert (getattr(pairs[0][1], name) == getattr(history, name)[:1]).all(), name
    with pytest.raises(ValueError, match="batch_size"):
        epochs(NET, params, x, y, **settings | {"batch_size": 0})  # before the first pair


def test_a_history_is_not_changed_by_another():
    params, x, y = case()
    first, *_, last = (
        history
        for _, history in epochs(
            NET, params, x, y, epochs=20, batch_size=7, key=KEY, learning_rate=0.3
        )
    )
    assert (len(first.cost), len(last.cost)) == (1, 20)
    assert np.isfinite(last.cost).all()
    assert first.cost[0] == last.cost[0]
    with pytest.raises(ValueError, match="read-only"):
        first.cost[0] = 0


@pytest.mark.parametrize("where", ["on_epoch", "descend"])
def test_an_interrupt_leaves_the_last_whole_epoch(monkeypatch, where):
    params, x, y = case()
    expected, _ = run(params, x, y, epochs=2)
    if where == "descend":
        calls, descend = [], fit_module.descend

        def interrupted(*args):
            result = descend(*args)  # the arrays that it was given are gone
            calls.append(1)
            if len(calls) == 6:  # two steps of programs an epoch: in the third, after both
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(fit_module, "descend", interrupted)
    kept = []

    def on_epoch(params, history):
        kept[:] = params, history
        if where == "on_epoch" and history.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(params, x, y, epochs=9, on_epoch=on_epoch)
    got, history = kept
    assert same(got, expected)
    assert (history.epoch, len(history.cost), history.stopped) == (2, 2, "")


@plain_ctrl_c()
def test_the_callers_own_handler_and_other_threads_are_left_alone():
    params, x, y = case()
    pressed = []
    signal.signal(signal.SIGINT, handler := lambda *_: pressed.append(1))
    _, history = run(params, x, y, on_epoch=lambda *_: signal.raise_signal(signal.SIGINT))
    assert (history.epoch, history.stopped, len(pressed)) == (3, "", 3)
    assert signal.getsignal(signal.SIGINT) is handler
    with ThreadPoolExecutor() as threads:
        _, history = threads.submit(run, params, x, y).result()
    assert (history.epoch, history.stopped) == (3, "")


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


def test_the_last_pair_of_epochs_says_that_it_stopped():
    net = mbp.Network((3, 4), ("identity",), "quadratic")
    params, x, y = case(net=net)
    settings = {"epochs": 50, "batch_size": 7, "key": KEY, "learning_rate": 1e4}
    with pytest.warns(RuntimeWarning):
        expected, stopped = fit(net, params, x, y, **settings)
    *before, (got, history) = epochs(net, params, x, y, **settings)  # a warning would be an error
    assert same(got, expected)
    assert history.stopped == stopped.stopped != ""
    assert history.epoch == before[-1][1].epoch == len(history.cost)
    assert not any(earlier.stopped for _, earlier in before)


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
    net = mbp.Network((3, 5, 4), ("tanh", "softmax"), "cross_entropy")
    net = with_sigmas(net, wrong, net.activations[1])
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


def test_silence(capfd):
    run(*case())
    assert capfd.readouterr() == ("", "")


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
        ({"key": 0}, "key: expected a key such as jax.random.key"),
        ({"key": jax.random.split(KEY)}, "key: expected a key such as jax.random.key"),
        ({"optimizer_state": ()}, "optimizer_state: it goes with optimizer"),
        ({"validation": 3}, r"validation: expected a pair \(x, y\)"),
        ({"validation": (np.ones((2, 3)), np.ones((2, 3)))}, "validation: y: expected shape"),
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


ADAM, MOMENTUM = OPTIMIZERS["adam"], OPTIMIZERS["momentum"]


@pytest.mark.parametrize(
    ("trained_with", "given", "message"),
    [
        (MOMENTUM, {"optimizer": ADAM, "learning_rate": None}, "9 arrays, got 4; "),
        (ADAM, {"optimizer": optax.adam(0.05, mu_dtype="bfloat16"), "learning_rate": None},
         r"9 arrays, got 9; \[0\].mu\[0\].W: expected bfloat16 of shape \(5, 3\), got float32 of"),
        (None, {"optimizer": ADAM, "learning_rate": None}, "9 arrays, got 0; "),
        (ADAM, {}, r"0 arrays, got 9; .*expected none, got int32 of shape \(\)"),
    ],
    ids=["another", "another dtype", "none", "learning_rate"],
)  # fmt: skip
def test_the_state_of_another_optimiser_is_refused(trained_with, given, message):
    params, x, y = case()
    fresh = trained_with and trained_with.init(params)
    state = SavedState(named(fresh))
    with pytest.raises(
        ValueError, match="optimizer_state: expected the state of this opt.*" + message
    ):
        run(params, x, y, **given, optimizer_state=state)
    if trained_with is not None and given:
        with pytest.raises(ValueError, match=message):
            run(params, x, y, **given, optimizer_state=fresh)
