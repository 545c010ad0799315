"""fit: gradient descent, an epoch as one compiled scan.

The epoch's programs are plain functions, so that they can be timed and read one by one:
`shuffled` makes the mini-batches, `descend` takes a step on each of them.
"""

import importlib
import math
import numbers
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Scalar

from manual_bp.backprop import backprop, batch_cost, cost, forward, update
from manual_bp.network import Layer, Network, Params, Problems, check_call
from manual_bp.verification import agreement

Batches = tuple[Array, Array]
"""Mini-batches of one size, stacked: x is (steps, batch, n_0), y is (steps, batch, n_L)."""


class History(NamedTuple):
    """What `fit` measured, one entry an epoch, as NumPy arrays of float64.

    Attributes:
        cost: C while training: the mean over all examples, each at the step that used it.
        accuracy: the fraction of examples whose class was right at that step; None where the
            targets are no classes.
        validation_cost: C of the validation examples after the epoch, or None.
        validation_accuracy: the fraction of them whose class is right, or None.
        seconds: of training, without validation; the first includes compiling.
        epoch: how many epochs the parameters have behind them: `start_epoch` to continue from.
        optimizer_state: what optax keeps from step to step, to continue from; None without it.
        stopped: why it ended before its last epoch, or "".
        interrupted: whether that was Ctrl-C.
    """

    cost: Float[np.ndarray, " epochs"]
    accuracy: Float[np.ndarray, " epochs"] | None
    validation_cost: Float[np.ndarray, " epochs"] | None
    validation_accuracy: Float[np.ndarray, " epochs"] | None
    seconds: Float[np.ndarray, " epochs"]
    epoch: int
    optimizer_state: Any = None
    stopped: str = ""
    interrupted: bool = False

    def followed_by(self, later: "History") -> "History":
        """One history of both; NaN where only one of them measured something."""
        joined: dict[str, Any] = {}
        for name in CURVES:
            first, second = getattr(self, name), getattr(later, name)
            if first is not None or second is not None:
                first = np.full(len(self.cost), np.nan) if first is None else first
                second = np.full(len(later.cost), np.nan) if second is None else second
                joined[name] = np.concatenate([first, second])
        return later._replace(**joined)


CURVES = ("cost", "accuracy", "validation_cost", "validation_accuracy", "seconds")

# ── An epoch, as compiled programs ───────────────────────────────────────────────────────────────


@partial(jax.jit, static_argnums=3)
def shuffled(
    x: Float[Array, "m n_0"], y: Float[Array, "m n_L"], key: Array, batch_size: int
) -> tuple[Batches, ...]:
    """The examples in random order as mini-batches: all full ones, then what is left, if any."""
    m = len(y)
    # Half the time of jax.random.permutation, which sorts twice lest two of the 32-bit numbers tie.
    order = jnp.argsort(jax.random.bits(key, (m,)))
    full = m - m % batch_size
    groups = [(order[:full], batch_size), (order[full:], m - full)]
    return tuple(
        (x[rows].reshape(-1, size, x.shape[1]), y[rows].reshape(-1, size, y.shape[1]))
        for rows, size in groups
        if len(rows)
    )


@partial(jax.jit, static_argnums=(0, 1, 6), donate_argnums=(2, 3))
def descend(
    net: Network,
    optimizer: optax.GradientTransformation | None,
    params: Params,
    state: Any,
    batches: Batches,
    learning_rate: Scalar | None = None,
    classes: bool = False,
) -> tuple[Params, Any, Array, Array, Array]:
    """A step of gradient descent on each mini-batch in turn; `params` and `state` are used up.

    Gives params, state, C of each step before its update, (steps,), how many classes were right
    (0 where the targets are no `classes`), and whether the parameters are finite.
    """

    def step(carry: tuple[Params, Any], batch: Batches) -> tuple[tuple[Params, Any], Any]:
        (params, state), (x, y) = carry, batch
        carry, (C, a) = _step(net, optimizer, params, state, x, y, learning_rate)
        return carry, (C, a if classes else None)

    (params, state), (C, a) = jax.lax.scan(step, (params, state), batches)
    right = _right(a, batches[1]).sum() if classes else jnp.array(0)
    return params, state, C, right, _all_finite(params)


@partial(jax.jit, static_argnums=(0, 1))
def _until_nonfinite(
    net: Network,
    optimizer: optax.GradientTransformation | None,
    params: Params,
    state: Any,
    batches: Batches,
    learning_rate: Scalar | None,
) -> tuple[Params, Any, Array, Array]:
    """`descend` up to the first step whose cost or update is not finite, that step, and its C."""

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        now, i, _, _ = carry
        x, y = batches[0][i], batches[1][i]
        new, (C, _) = _step(net, optimizer, now[0], now[1], x, y, learning_rate)
        finite = jnp.isfinite(C) & _all_finite(new[0])
        kept = jax.tree.map(partial(jnp.where, finite), new, now)
        return kept, i + finite, C, finite

    zero = jnp.zeros((), params[0].W.dtype)
    start = ((params, state), jnp.array(0), zero, jnp.array(True))
    (params, state), i, C, _ = jax.lax.while_loop(
        lambda carry: carry[-1] & (carry[1] < len(batches[0])), step, start
    )
    return params, state, i, C


def _step(
    net: Network,
    optimizer: optax.GradientTransformation | None,
    params: Params,
    state: Any,
    x: Array,
    y: Array,
    learning_rate: Scalar | None,
) -> tuple[tuple[Params, Any], tuple[Array, Array]]:
    """One step: (params, state) after it, C and aᴸ before it."""
    record = backprop(net, params, x, y)
    gradients = tuple(map(Layer, record.dW, record.db))
    if optimizer is None:
        assert learning_rate is not None  # fit has seen to it
        return (update(params, gradients, learning_rate), state), (record.cost, record.a[-1])
    updates, state = optax.with_extra_args_support(optimizer).update(
        gradients,
        state,
        params,
        value=record.cost,  # line searches and the like ask for these three
        grad=gradients,
        value_fn=lambda params: cost(net, params, x, y),
    )
    return (optax.apply_updates(params, updates), state), (record.cost, record.a[-1])


@partial(jax.jit, static_argnums=0)
def _evaluate(net: Network, params: Params, x: Array, y: Array) -> tuple[Array, Array]:
    """C, and how many classes are right."""
    z, a = forward(net, params, x)
    return batch_cost(net, params, z[-1], a[-1], y), _right(a[-1], y).sum()


def _right(a: Array, y: Array) -> Array:
    return a.argmax(axis=-1) == y.argmax(axis=-1)


def _all_finite(params: Params) -> Array:
    return jnp.stack([jnp.isfinite(array).all() for array in jax.tree.leaves(params)]).all()


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


@jax.jit
def _one_hot(y: Array) -> Array:
    return (((y == 0) | (y == 1)).all(axis=-1) & (y.sum(axis=-1) == 1)).all()


# ── fit ──────────────────────────────────────────────────────────────────────────────────────────


def fit(
    net: Network,
    params: Params,
    x: Float[Array, "m n_0"],
    y: Float[Array, "m n_L"],
    *,
    epochs: int,
    batch_size: int,
    key: Array,
    learning_rate: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    validation: tuple[Array, Array] | None = None,
    verify_every: int | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[Params, History], object] | None = None,
    start_epoch: int = 0,
    optimizer_state: Any = None,
) -> tuple[Params, History]:
    """Train by mini-batch gradient descent: W ← W − η ∂C/∂W, b ← b − η ∂C/∂b, or by optax.

    Each epoch passes once over all examples in an order drawn from `key`; a last batch that is
    short is a step like the others, with the mean over its own examples. Same key, same result, bit
    for bit on the same machine. The caller's own params stay as they are.

    Args:
        net: the network.
        params: a `Layer(W, b)` for each layer, to start from.
        x: (m, n_0).
        y: (m, n_L).
        epochs: how many passes to make.
        batch_size: examples a step.
        key: `jax.random.key(seed)`; fixes every epoch's order.
        learning_rate: η of the course's update rule; this or `optimizer`.
        optimizer: any `optax.GradientTransformation`.
        validation: (x, y) to measure after each epoch: cost, and accuracy for classes, which are
            cross-entropy's targets, or one-hot rows of two and more.
        verify_every: hold every n-th step of an epoch, from its first, against autodiff.
        progress: a bar on stderr, by rich or tqdm: None for "on a terminal", True, False. Its
            accuracy is that of `validation` where there is one.
        on_epoch: called with params and the history so far after each epoch.
        start_epoch: epochs done before, to continue as if never interrupted, with that history's
            `epoch` and `optimizer_state`.
        optimizer_state: see `start_epoch`; by default the optimiser starts afresh.

    Returns:
        params and a `History`. Ctrl-C ends training with those of the last whole epoch; it waits
        until `on_epoch` is done, a second one does not. A cost, weight or bias that turns NaN or
        Inf ends it with a RuntimeWarning and those before that step. `history.stopped` says so.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and the fix.
        AssertionError: `verify_every` found a disagreement; with epoch, step and the whole report.

    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 1, eqs. 16-21.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> from manual_bp.training import fit
        >>> net = mbp.Network((1, 1), ("identity",), "quadratic")
        >>> x = jnp.linspace(-1, 1, 20)[:, None]
        >>> params, history = fit(
        ...     net, net.init(jax.random.key(0)), x, 3 * x + 1,
        ...     epochs=40, batch_size=6, key=jax.random.key(1), learning_rate=0.5,
        ... )
        >>> round(float(params[0].W[0, 0]), 3), round(float(params[0].b[0]), 3)
        (3.0, 1.0)
    """
    _check_fit(
        net, params, x, y, epochs, batch_size, key, learning_rate, optimizer, validation,
        verify_every, progress, start_epoch, optimizer_state,
    )  # fmt: skip
    x, y, validation = jax.tree.map(jnp.asarray, (x, y, validation))
    classes = _are_classes(net, y) and (validation is None or _are_classes(net, validation[1]))
    params = _copy(tuple(Layer(*layer) for layer in params))
    eta = None if learning_rate is None else jnp.asarray(learning_rate, params[0].W.dtype)
    state = optimizer_state
    if optimizer is not None and state is None:
        state = optimizer.init(params)

    last, stopped, interrupted = start_epoch + epochs, "", False
    # What is returned. It is replaced as one, so that Ctrl-C finds it whole, and never donated.
    done = _Done(params, state, start_epoch, ())
    try:
        with (
            _held_interrupts() as interrupt_here,
            _bar(start_epoch, last, len(y), batch_size, progress) as show,
        ):
            while done.epoch < last:
                started = time.perf_counter()
                groups = shuffled(x, y, jax.random.fold_in(key, done.epoch), batch_size)
                params, state, C, right, finite = _epoch(
                    net, optimizer, done, groups, eta, classes, verify_every, interrupt_here
                )
                if not finite:
                    done, stopped = _before_nonfinite(net, optimizer, done, groups, eta)
                    break
                seconds = time.perf_counter() - started
                row = _Row(C / len(y), right / len(y), seconds=seconds)
                if validation is not None:
                    C, right = jax.device_get(_evaluate(net, params, *validation))
                    row = row._replace(
                        validation_cost=float(C), validation_accuracy=right / len(validation[1])
                    )
                if not classes:
                    row = row._replace(accuracy=None, validation_accuracy=None)
                done = _Done(params, state, done.epoch + 1, (*done.rows, row))
                show(row)
                if on_epoch is not None:
                    on_epoch(params, done.history())
                interrupt_here()
    except KeyboardInterrupt:
        stopped, interrupted = f"interrupted after {done.epoch} of {last} epochs", True
    if stopped and not interrupted:
        warnings.warn(stopped, RuntimeWarning, stacklevel=2)
    return done.params, done.history(stopped, interrupted)


class _Row(NamedTuple):
    """An epoch's entry of each curve."""

    cost: float
    accuracy: float | None
    validation_cost: float | None = None
    validation_accuracy: float | None = None
    seconds: float = 0.0


class _Done(NamedTuple):
    """Where training stands between two epochs."""

    params: Params
    state: Any
    epoch: int
    rows: tuple[_Row, ...]

    def history(self, stopped: str = "", interrupted: bool = False) -> History:
        def curve(name: str) -> Any:
            values = [getattr(row, name) for row in self.rows]
            return None if None in values else np.array(values, np.float64)

        curves = map(curve, CURVES)
        return History._make([*curves, self.epoch, self.state, stopped, interrupted])


def _epoch(
    net: Network,
    optimizer: optax.GradientTransformation | None,
    start: _Done,
    groups: tuple[Batches, ...],
    eta: Array | None,
    classes: bool,
    verify_every: int | None,
    interrupt_here: Callable[[], None],
) -> tuple[Params, Any, float, int, bool]:
    """params, state, Σ C over the examples, how many classes were right, and if all is finite."""
    params, state = _copy((start.params, start.state))
    results: list[Any] = []
    for step, batches in _segments(groups, verify_every):
        interrupt_here()
        if verify_every and step % verify_every == 0:
            if results and not results[-1][-1]:
                break
            _verify(net, params, batches, start.epoch, step)
        params, state, *result = descend(net, optimizer, params, state, batches, eta, classes)
        results.append((batches[1].shape[1], *result))
    # Until here nothing has waited for the device, unless to verify.
    total, right, finite = 0.0, 0, True
    for size, C, hits, ok in jax.device_get(results):
        total += size * float(C.astype(np.float64).sum())
        right += int(hits)
        finite &= bool(ok)
    return params, state, total, right, finite and math.isfinite(total)


def _segments(groups: tuple[Batches, ...], every: int | None) -> Iterator[tuple[int, Batches]]:
    """The mini-batches with the number of their first step, cut before each `every`-th step."""
    first = 0
    for batches in groups:
        steps = len(batches[0])
        if every is None or every >= steps:
            yield first, batches
        else:
            for i in range(0, steps, every):
                yield first + i, (batches[0][i : i + every], batches[1][i : i + every])
        first += steps


def _verify(net: Network, params: Params, batches: Batches, epoch: int, step: int) -> None:
    """Hold the step that comes next against autodiff."""
    found = agreement.compare(net, params, batches[0][0], batches[1][0])
    try:
        found.raise_if_disagrees()
    except AssertionError as error:
        raise AssertionError(
            f"epoch {epoch + 1}, step {step + 1}: the step by hand disagrees with autodiff; "
            f"training stops before it: {error}"
        ) from error


def _before_nonfinite(
    net: Network,
    optimizer: optax.GradientTransformation | None,
    start: _Done,
    groups: tuple[Batches, ...],
    eta: Array | None,
) -> tuple[_Done, str]:
    """The last finite parameters of an epoch that went wrong, found by going through it again."""
    params, state, step = start.params, start.state, 0
    for batches in groups:
        params, state, taken, C = _until_nonfinite(net, optimizer, params, state, batches, eta)
        step += int(taken)
        if taken < len(batches[0]):
            break
    what = "a weight or bias is no longer finite" if jnp.isfinite(C) else f"the cost is {C}"
    steps = sum(len(batches[0]) for batches in groups)
    return start._replace(params=params, state=state), (
        f"stopped in epoch {start.epoch + 1} at step {min(step + 1, steps)} of {steps}: {what}; "
        f"the parameters returned are those before it. Try a smaller learning rate, inputs scaled "
        f"to about [-1, 1], or optax.clip_by_global_norm before the optimiser"
    )


def _are_classes(net: Network, y: Array) -> bool:
    return y.shape[1] > 1 and (net.cost.name == "cross_entropy" or bool(_one_hot(y)))


def _check_fit(
    net: Network,
    params: Any,
    x: Any,
    y: Any,
    epochs: Any,
    batch_size: Any,
    key: Any,
    learning_rate: Any,
    optimizer: Any,
    validation: Any,
    verify_every: Any,
    progress: Any,
    start_epoch: Any,
    optimizer_state: Any,
) -> None:
    """Raise one error that names all that does not fit."""
    check_call(net, params, x, y)
    problems = Problems()
    if x.ndim != 2:
        problems.value(f"x: expected a batch of rows, (m, {net.sizes[0]}), got {x.shape}")
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            problems.type("validation: expected a pair (x, y)")
        else:
            try:
                check_call(net, params, *validation)
                if validation[0].ndim != 2:
                    problems.value("validation: expected rows, got one example without its axis")
            except (TypeError, ValueError) as error:
                (problems.type if isinstance(error, TypeError) else problems.value)(
                    f"validation: {error}"
                )
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("start_epoch", start_epoch, 0),
        *([] if verify_every is None else [("verify_every", verify_every, 1)]),
    ):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            problems.type(f"{name}: expected a whole number ≥ {least}, got {value!r}")
        elif value < least:
            problems.value(f"{name}: expected a whole number ≥ {least}, got {value}")
    if (learning_rate is None) == (optimizer is None):
        got = "neither" if optimizer is None else "both"
        problems.value(f"learning_rate, optimizer: expected exactly one of them, got {got}")
    if learning_rate is not None:
        _check_learning_rate(learning_rate, params[0][0].dtype, problems)
    if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
        problems.type(
            f"optimizer: expected an optax.GradientTransformation such as optax.adam(1e-3), "
            f"got {optimizer!r}"
        )
    elif optimizer is None and optimizer_state is not None:
        problems.value("optimizer_state: it goes with optimizer, which is not given; leave it out")
    if not (progress is None or isinstance(progress, bool)):
        problems.type(f"progress: expected None, True or False, got {progress!r}")
    try:
        if jnp.shape(jax.random.fold_in(key, 0)) != jnp.shape(key):
            raise TypeError
    except (TypeError, ValueError):
        problems.type(f"key: expected one such as jax.random.key(0), got {key!r}")
    problems.raise_all()


def _check_learning_rate(eta: Any, dtype: Any, problems: Problems) -> None:
    number = isinstance(eta, (numbers.Real, np.ndarray, jax.Array)) and not isinstance(eta, bool)
    if not number or np.ndim(eta) or not jnp.issubdtype(jnp.result_type(eta), np.number):
        problems.type(f"learning_rate: expected a positive number, got {eta!r}")
    elif not 0 < eta < math.inf:
        problems.value(f"learning_rate: expected a finite number > 0, got {eta}")
    elif not 0 < jnp.asarray(eta, dtype) < math.inf:
        problems.value(f"learning_rate: {eta} is outside the range of {dtype}")


@contextmanager
def _held_interrupts() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for a call of the function that this gives; a second one does not wait.

    An exception that can come at any line can be lost, or come out as another: a destructor drops
    it, and zipfile, left in the middle of a write, raises a ValueError in its place.
    A caller's own handler is left in force, and so is every other thread than the main one.
    """
    pressed = False

    def hold(number: int, frame: Any) -> None:
        nonlocal pressed
        interrupt_here()
        pressed = True

    def interrupt_here() -> None:
        if pressed:
            raise KeyboardInterrupt

    plain = signal.default_int_handler
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is plain
    )
    if ours:
        signal.signal(signal.SIGINT, hold)
    try:
        yield interrupt_here
    finally:
        if ours:
            signal.signal(signal.SIGINT, plain)


@contextmanager
def _bar(
    start: int, last: int, m: int, batch_size: int, shown: bool | None
) -> Iterator[Callable[[_Row], None]]:
    """A progress bar on stderr: a function to call with each epoch's row."""
    if shown is None:
        shown = sys.stderr is not None and sys.stderr.isatty()
    library = next(filter(_installed, ("rich.progress", "tqdm")), None) if shown else None
    steps = f"{-(-m // batch_size)} steps"

    def words(row: _Row) -> str:
        held_out = row.validation_accuracy is not None
        accuracy = row.validation_accuracy if held_out else row.accuracy
        parts = [steps, f"cost {row.cost:.4g}"]
        if accuracy is not None:
            parts.append(f"accuracy {accuracy:.2%}")
        return ", ".join([*parts, f"{m / row.seconds:,.0f} examples/s"])

    if library == "tqdm":
        tqdm = importlib.import_module("tqdm").tqdm
        with tqdm(total=last, initial=start, desc="epoch", file=sys.stderr) as bar:

            def show(row: _Row) -> None:
                bar.set_postfix_str(words(row), refresh=False)
                bar.update()

            yield show
    elif library is not None:
        rich, console = importlib.import_module(library), importlib.import_module("rich.console")
        # All in one column, of which a narrow terminal cuts the end.
        columns = (
            rich.TextColumn("epoch {task.completed:.0f}/{task.total:.0f}, {task.description}"),
            rich.BarColumn(5),
        )
        with rich.Progress(*columns, console=console.Console(stderr=True)) as progress:
            task = progress.add_task(steps, total=last, completed=start)
            yield lambda row: progress.update(task, advance=1, description=words(row))
    else:
        yield lambda row: None


def _installed(module: str) -> bool:
    try:
        return importlib.import_module(module) is not None
    except ImportError:
        return False
