"""fit: gradient descent, epoch by epoch."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from manual_bp.arrays import cast, in_64_bits
from manual_bp.backprop import backprop
from manual_bp.calls import read_call
from manual_bp.checks import Problems, kind, random_key, real, shown, theirs, whole_number
from manual_bp.lean import Microbatch, check_microbatch
from manual_bp.meshes import moved_to_auto_axes
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel import steps
from manual_bp.parallel.layout import Layout
from manual_bp.record import Backprop
from manual_bp.surroundings import standard_promotion
from manual_bp.training.epoch import (
    Batches,
    Rule,
    copy,
    descend,
    evaluate,
    one_hot,
    one_of_two,
    shuffled,
    until_nonfinite,
)
from manual_bp.training.history import CURVES, History, SavedState, is_key, named
from manual_bp.verdicts import compare

MAX_EPOCHS = 2**31
"""The order of each is drawn from its number, one of 32 bits, and two such add up to no more."""

Trained = tuple[tuple[Layer, ...], History]


def fit(
    net: Network,
    params: Params,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    key: Array,
    learning_rate: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    validation: tuple[Any, Any] | None = None,
    verify_every: int | None = None,
    on_epoch: Callable[[Params, History], object] | None = None,
    start_epoch: int = 0,
    optimizer_state: Any = None,
    microbatch: Microbatch = None,
    mesh: Mesh | None = None,
    fully_sharded: bool = False,
) -> tuple[tuple[Layer, ...], History]:
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
            cross-entropy's targets, one-hot rows of two and more, or of one output 0 and 1 with
            sigmoid, −1 and 1 with hinge.
        verify_every: hold every n-th step of an epoch, from its first, against autodiff.
        on_epoch: called with params and the history so far after each epoch; training stops there
            where it returns False.
        start_epoch: epochs done before, to continue as if never interrupted, with that history's
            `epoch` and `optimizer_state`.
        optimizer_state: see `start_epoch`; by default the optimiser starts afresh.
        microbatch: of each step, so many examples at a time, as in `value_and_grad`.
        mesh: train on all of its devices, as `parallel.value_and_grad` does; each W lies there as
            `parallel.Layout` says. The batches are those of one device, in the same order.
        fully_sharded: see `parallel.value_and_grad`.

    Returns:
        params and a `History`. A cost, weight or bias that turns NaN or Inf ends training with a
        RuntimeWarning and the params before that step. `history.stopped` says so.

    Raises:
        ValueError, TypeError: naming every argument that does not fit, and the fix.
        AssertionError: `verify_every` found a disagreement; with epoch, step and the whole report.

    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 1, eqs. 16-21.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> net = mbp.Network((1, 1), ("identity",), "quadratic")
        >>> x = jnp.linspace(-1, 1, 20)[:, None]
        >>> params, history = mbp.fit(
        ...     net, net.init(jax.random.key(0)), x, 3 * x + 1,
        ...     epochs=40, batch_size=6, key=jax.random.key(1), learning_rate=0.5,
        ... )
        >>> round(float(params[0].W[0, 0]), 3), round(float(params[0].b[0]), 3)
        (3.0, 1.0)
    """
    plan = Plan(
        net=net, params=params, x=x, y=y, epochs=epochs, batch_size=batch_size, key=key,
        learning_rate=learning_rate, optimizer=optimizer, validation=validation,
        verify_every=verify_every, start_epoch=start_epoch, optimizer_state=optimizer_state,
        microbatch=microbatch, mesh=mesh, fully_sharded=fully_sharded,
    )  # fmt: skip
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch: expected a function, got {shown(on_epoch)}")
    for trained, history in plan.run():
        if history.stopped:
            warnings.warn(history.stopped, RuntimeWarning, stacklevel=2)
        elif on_epoch is not None:
            with theirs("on_epoch"):
                goes_on = on_epoch(trained, history) is not False
            if not goes_on:
                done = f"{history.epoch} of {start_epoch + epochs} epochs"
                history = history._replace(stopped=f"stopped by on_epoch after {done}")
                break
    return trained, history


def epochs(
    net: Network, params: Params, x: Any, y: Any, **settings: Any
) -> Iterator[tuple[tuple[Layer, ...], History]]:
    """Train as `fit` does, with its arguments but `on_epoch`; the loop over the epochs is yours.

    Returns:
        An iterator of params and the history so far, a pair after each epoch. Where a cost, weight
        or bias turns NaN or Inf, one more pair, the last: the params before that step, and a
        history whose `stopped` says so.

    Raises:
        ValueError, TypeError, AssertionError: as `fit`.

    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), ch. 1, eqs. 16-21.

    Example:
        >>> import jax, jax.numpy as jnp, manual_bp as mbp
        >>> from manual_bp.training.fit import epochs
        >>> net = mbp.Network((1, 1), ("identity",), "quadratic")
        >>> x, how = jnp.linspace(-1, 1, 20)[:, None], {"batch_size": 6, "learning_rate": 0.5}
        >>> for params, history in epochs(
        ...     net, net.init(jax.random.key(0)), x, 3 * x + 1,
        ...     epochs=1000, key=jax.random.key(1), **how,
        ... ):
        ...     if history.cost[-1] < 1e-6:
        ...         break
        >>> history.epoch < 100
        True
    """
    return Plan(net=net, params=params, x=x, y=y, **settings).run()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to train and how: the arguments of `fit`, which fit together."""

    net: Network
    params: Params
    x: Any
    y: Any
    epochs: int
    batch_size: int
    key: Array
    learning_rate: float | None = None
    optimizer: optax.GradientTransformation | None = None
    validation: tuple[Any, Any] | None = None
    verify_every: int | None = None
    start_epoch: int = 0
    optimizer_state: Any = None
    microbatch: Microbatch = None
    mesh: Mesh | None = None
    fully_sharded: bool = False

    @cached_property
    def rule(self) -> Rule:
        """How each step is taken."""
        layout = None
        if self.mesh is not None:
            layout = Layout(self.net, self.mesh, self.fully_sharded)
        return Rule(self.net, self.optimizer, self.microbatch, layout)

    def __post_init__(self) -> None:
        """Raise one error that names all that does not fit."""
        call = read_call(self.net, self.params, self.x, self.y).in_one_dtype()
        for name in ("params", "x", "y"):
            object.__setattr__(self, name, getattr(call, name))
        check_microbatch(self.microbatch)
        problems = Problems()
        if self.x.ndim != 2:
            expected = f"expected a batch of rows, (m, {self.net.sizes[0]})"
            problems.value(f"x: {expected}, got {self.x.shape}")
        self._check_validation(problems)
        whole_number("epochs", self.epochs, 1, problems, most=MAX_EPOCHS)
        whole_number("batch_size", self.batch_size, 1, problems)
        whole_number("start_epoch", self.start_epoch, 0, problems, most=MAX_EPOCHS)
        if self.verify_every is not None:
            whole_number("verify_every", self.verify_every, 1, problems)
        if (self.learning_rate is None) == (self.optimizer is None):
            got = "neither" if self.optimizer is None else "both"
            problems.value(f"learning_rate, optimizer: expected exactly one of them, got {got}")
        if self.learning_rate is not None:
            _check_learning_rate(self.learning_rate, self.params[0][0].dtype, problems)
        parts = self.optimizer if isinstance(self.optimizer, tuple) else ()
        if not isinstance(self.optimizer, optax.GradientTransformation | None) or not all(
            map(callable, parts)
        ):
            problems.type(
                f"optimizer: expected an optax.GradientTransformation such as optax.adam(1e-3), "
                f"got {shown(self.optimizer)}"
            )
        elif self.optimizer is None and not isinstance(self.optimizer_state, SavedState | None):
            problems.value(
                "optimizer_state: it goes with optimizer, which is not given; leave it out"
            )
        random_key("key", self.key, problems)
        if self.mesh is None and self.fully_sharded:
            problems.value("fully_sharded: it goes with mesh, which is not given; leave it out")
        if self.mesh is not None and self.microbatch is not None:
            problems.value("microbatch, mesh: expected one of them alone, got both")
        problems.raise_all()
        _ = self.rule  # whose layout says what does not fit its devices

    def _check_validation(self, problems: Problems) -> None:
        if self.validation is None:
            return
        if not isinstance(self.validation, (tuple, list)) or len(self.validation) != 2:
            problems.type(f"validation: expected a pair (x, y), got {shown(self.validation)}")
            return
        try:
            call = read_call(self.net, self.params, *self.validation).in_one_dtype()
            object.__setattr__(self, "validation", (call.x, call.y))
            if call.x.ndim != 2:
                problems.value("validation: expected rows, got one example without its axis")
        except TypeError as error:
            problems.type(f"validation: {error}")
        except ValueError as error:
            problems.value(f"validation: {error}")

    def placed(self, params: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The parameters on the caller's own mesh, whose axes may be Explicit."""
        layout = self.rule.layout
        if layout is None or layout.is_auto:
            return params
        placed: tuple[Layer, ...] = layout.put(params, layout.params(params), layout.mesh)
        return placed

    def run(self) -> Iterator[tuple[tuple[Layer, ...], History]]:
        """Train: params and the history so far, a pair after each epoch."""
        dtype = self.params[0][0].dtype
        with in_64_bits(dtype):
            params = copy(moved_to_auto_axes(tuple(Layer(*layer) for layer in self.params)))
            if self.rule.layout is not None:
                params = self.rule.layout.put_params(params)
            state = taken_up(self.optimizer, params, self.optimizer_state)
        return _in_64_bits(dtype, _train(self, params, state))


def _in_64_bits(dtype: Any, epochs: Iterator[Trained]) -> Iterator[Trained]:
    """Each epoch with 64-bit types where it needs them, and what the caller does between as is."""
    while True:
        with in_64_bits(dtype) as handed_back, standard_promotion():
            if (done := next(epochs, None)) is None:
                return
            params, history = done
            done = handed_back(params), history
        yield done


def _check_learning_rate(eta: Any, dtype: Any, problems: Problems) -> None:
    number = real(eta)
    if number is None:
        problems.type(f"learning_rate: expected a positive number, got {shown(eta)}")
    elif not 0 < number < math.inf:
        problems.value(f"learning_rate: expected a finite number > 0, got {shown(eta)}")
    elif not 0 < cast(np.asarray(number), dtype) < math.inf:
        problems.value(f"learning_rate: {shown(eta)} is outside the range of {dtype}")


def taken_up(
    optimizer: optax.GradientTransformation | None, params: Params, state: Any = None
) -> Any:
    """The optimiser's state to go on from: a fresh one, or this one, which must be its own."""
    with theirs("optimizer"):
        fresh = optimizer and optimizer.init(params)
    if state is None:
        return fresh
    expected, got = _arrays(fresh), _arrays(state)
    if len(expected) == len(got) and all(name.isdecimal() for name in got):
        # A file of 0.1.0, which tells their order alone.
        got = dict(zip(expected, (got[i] for i in sorted(got, key=int)), strict=True))
    wrong = [
        f"{name or 'the whole'}: expected {_kind(expected.get(name))}, got {_kind(got.get(name))}"
        for name in sorted({*expected, *got})
        if _kind(expected.get(name)) != _kind(got.get(name))
    ]
    if wrong:
        raise ValueError(
            f"optimizer_state: expected the state of this optimiser, {len(expected)} arrays, got "
            f"{len(got)}; {wrong[0]}; pass the optimiser it was trained with"
        )
    leaves, structure = jax.tree.flatten(fresh)
    arrays = [jnp.asarray(got[name]) for name in expected]
    arrays = [
        jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array
        for leaf, array in zip(leaves, arrays, strict=True)
    ]
    return jax.tree.unflatten(structure, arrays)


def _arrays(state: Any) -> dict[str, Any]:
    try:
        return named(state)
    except Exception as error:  # whatever it may raise that is no tree of JAX's
        raise TypeError(
            f"optimizer_state: expected that of a history, got {shown(state)}"
        ) from error


def _kind(array: Any) -> str:
    if array is None:
        return "none"
    if isinstance(array, (np.ndarray, np.generic, jax.Array)) and not isinstance(
        array, jax.core.Tracer
    ):
        return f"{array.dtype} of shape {array.shape}"
    return f"a {kind(array)}"


class _Done(NamedTuple):
    """Where training stands between two epochs. `descend` is never given these arrays."""

    params: tuple[Layer, ...]
    state: Any
    epoch: int


def _train(
    plan: Plan, params: tuple[Layer, ...], state: Any
) -> Iterator[tuple[tuple[Layer, ...], History]]:
    net = plan.net
    given = jax.tree.map(jnp.asarray, (plan.x, plan.y, plan.validation))
    x, y, validation = moved_to_auto_axes(given)
    if plan.rule.layout is not None:
        x, y, validation = plan.rule.layout.put_everywhere((x, y, validation))
    classes = _are_classes(net, y) and (validation is None or _are_classes(net, validation[1]))
    dtype, eta = params[0][0].dtype, None
    if plan.learning_rate is not None:
        eta = jnp.asarray(real(plan.learning_rate), dtype)
    measured = ["cost", "seconds", *["accuracy"] * classes]
    if validation is not None:
        measured += ["validation_cost", *["validation_accuracy"] * classes]
    done, curves = _Done(params, state, int(plan.start_epoch)), _Curves(tuple(measured))
    for epoch in range(plan.start_epoch, plan.start_epoch + plan.epochs):
        started = time.perf_counter()
        groups = shuffled(x, y, jax.random.fold_in(plan.key, epoch), plan.batch_size)
        params, state, C, right, finite = _epoch(plan, done, groups, eta, classes)
        if not finite:
            done, stopped = _before_nonfinite(plan, done, groups, eta)
            yield plan.placed(done.params), curves.history(done, stopped)
            return
        seconds = time.perf_counter() - started
        row = {"cost": C / len(y), "accuracy": right / len(y), "seconds": seconds}
        if validation is not None:
            C, right = jax.device_get(evaluate(net, params, *validation))
            row |= {"validation_cost": C, "validation_accuracy": right / len(validation[1])}
        done = _Done(params, state, epoch + 1)
        curves.append(row)
        yield plan.placed(params), curves.history(done)


class _Curves:
    """What was measured so far; each epoch's history is a view of it, not a copy."""

    def __init__(self, measured: tuple[str, ...]) -> None:
        self.measured, self.length = measured, 0
        self.values = np.empty((len(CURVES), 16))

    def append(self, row: dict[str, float]) -> None:
        if self.length == self.values.shape[1]:
            self.values = np.concatenate([self.values, np.empty_like(self.values)], axis=1)
        self.values[:, self.length] = [row.get(name, np.nan) for name in CURVES]
        self.length += 1

    def history(self, done: _Done, stopped: str = "") -> History:
        values = self.values[:, : self.length]
        values.flags.writeable = False  # or a change to one history would be in all later ones
        curves = [
            curve if name in self.measured else None
            for name, curve in zip(CURVES, values, strict=True)
        ]
        return History._make([*curves, done.epoch, done.state, stopped])


def _epoch(
    plan: Plan, start: _Done, groups: tuple[Batches, ...], eta: Array | None, classes: bool
) -> tuple[tuple[Layer, ...], Any, float, int, bool]:
    """params, state, Σ C over the examples, how many classes were right, and if all is finite."""
    params, state = copy((start.params, start.state))
    results: list[Any] = []
    for step, batches in _segments(groups, plan.verify_every):
        if plan.verify_every and step % plan.verify_every == 0:
            if results and not results[-1][-1]:
                break
            _verify(plan.rule, params, batches, start.epoch, step)
        params, state, *result = descend(plan.rule, params, state, batches, eta, classes)
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


def _verify(rule: Rule, params: Params, batches: Batches, epoch: int, step: int) -> None:
    """Hold the step that comes next against autodiff."""
    x, y = batches[0][0], batches[1][0]
    ours: Any = backprop
    if rule.layout is not None:
        params, x, y = jax.device_get((params, x, y))
        record = steps.program(rule.layout, steps.whole)(params, x, y)
        ours = Backprop(*jax.device_get(record))
    found = compare.compare(rule.net, params, x, y, subject=ours)
    try:
        found.raise_if_disagrees()
    except AssertionError as error:
        raise AssertionError(
            f"epoch {epoch + 1}, step {step + 1}: the step by hand disagrees with autodiff; "
            f"training stops before it: {error}"
        ) from error


def _before_nonfinite(
    plan: Plan, start: _Done, groups: tuple[Batches, ...], eta: Array | None
) -> tuple[_Done, str]:
    """The last finite parameters of an epoch that went wrong, found by going through it again."""
    params, state, step = start.params, start.state, 0
    for batches in groups:
        params, state, taken, C = until_nonfinite(plan.rule, params, state, batches, eta)
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
    if y.shape[1] == 1:
        of_two = net.cost.family == "hinge" or net.activations[-1].name == "sigmoid"
        return of_two and bool(one_of_two(net, y))
    return net.cost.family == "cross_entropy" or bool(one_hot(y))
