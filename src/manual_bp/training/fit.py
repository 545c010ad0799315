"""fit: gradient descent, epoch by epoch."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from manual_bp.arrays import in_64_bits
from manual_bp.checks import real, shown, theirs
from manual_bp.lean import Microbatch
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel import steps
from manual_bp.parallel.hosts import whole
from manual_bp.record import Backprop
from manual_bp.surroundings import standard_promotion
from manual_bp.training.batches import Source, are_classes, segments
from manual_bp.training.epoch import Batches, Rule, copy, descend, evaluate, until_nonfinite
from manual_bp.training.history import CURVES, History
from manual_bp.training.plan import Plan
from manual_bp.verdicts import compare

Trained = tuple[tuple[Layer, ...], History]


def fit(
    net: Network,
    params: Params,
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    batch_size: int | None = None,
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
        x: (m, n_0). Of a memory-mapped array, as of `np.load(file, mmap_mode="r")`, or the
            `MappedRows` of `load(folder, memory_map=True)`, a few batches are read at a time. Or,
            without y, an iterable of batches (x, y) that is gone through once an epoch, such as a
            list or a loader; or a function of the epoch's number, from 0, that gives one.
        y: (m, n_L).
        epochs: how many passes to make.
        batch_size: examples a step; left out where x gives batches.
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
    for trained, history in _each_epoch(plan):
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
    net: Network, params: Params, x: Any, y: Any = None, **settings: Any
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
    return _each_epoch(Plan(net=net, params=params, x=x, y=y, **settings))


def _each_epoch(plan: Plan) -> Iterator[Trained]:
    """Params and the history so far, a pair after each epoch.

    With 64-bit types where training needs them; what the caller does between two is left as it is.
    """
    dtype = plan.params[0][0].dtype
    with in_64_bits(dtype):
        epochs = _train(plan, *plan.start())
    while True:
        with in_64_bits(dtype) as handed_back, standard_promotion():
            if (done := next(epochs, None)) is None:
                return
            params, history = done
            done = handed_back(params), history
        yield done


class _Done(NamedTuple):
    """Where training stands between two epochs. `descend` is never given these arrays."""

    params: tuple[Layer, ...]
    state: Any
    epoch: int


def _train(
    plan: Plan, params: tuple[Layer, ...], state: Any
) -> Iterator[tuple[tuple[Layer, ...], History]]:
    source, validation = plan.source, plan.on_devices(plan.validation)
    classes = source.classes and (validation is None or are_classes(plan.net, validation[1]))
    dtype, eta = params[0][0].dtype, None
    if plan.learning_rate is not None:
        eta = jnp.asarray(real(plan.learning_rate), dtype)
    measured = ["cost", "seconds", *["accuracy"] * classes]
    if validation is not None:
        measured += ["validation_cost", *["validation_accuracy"] * classes]
    done, curves = _Done(params, state, int(plan.start_epoch)), _Curves(tuple(measured))
    for epoch in range(plan.start_epoch, plan.start_epoch + plan.epochs):
        started = time.perf_counter()
        passed = _Epoch(plan, source, done, eta, classes)
        passed.run()
        if passed.stopped:
            done = done._replace(params=passed.params, state=passed.state)
            yield plan.placed(done.params), curves.history(done, passed.stopped)
            return
        m, seconds = passed.examples, time.perf_counter() - started
        row = {"cost": passed.cost / m, "accuracy": passed.right / m, "seconds": seconds}
        if validation is not None:
            C, right = jax.device_get(evaluate(plan.net, passed.params, *validation))
            row |= {"validation_cost": C, "validation_accuracy": right / len(validation[1])}
        done = _Done(passed.params, passed.state, epoch + 1)
        curves.append(row)
        yield plan.placed(passed.params), curves.history(done)


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


class _Segment(NamedTuple):
    """Steps that are under way: what they started from, and what comes of them."""

    params: tuple[Layer, ...]
    state: Any
    first: int
    batches: Batches
    results: tuple[Array, Array, Array]


@dataclass
class _Epoch:
    """One pass over the examples. While the device goes through a segment, the next one is read."""

    plan: Plan
    source: Source
    start: _Done
    eta: Array | None
    classes: bool
    cost: float = 0.0
    right: int = 0
    examples: int = 0
    stopped: str = ""

    def __post_init__(self) -> None:
        self.params, self.state = self.start.params, self.start.state

    def run(self) -> None:
        """Go through it, or up to where a number is no longer finite."""
        plan, rule = self.plan, self.plan.rule
        under_way: _Segment | None = None
        groups = self.source.epoch(self.start.epoch, plan.key)
        for first, batches in segments(groups, plan.verify_every):
            if plan.verify_every and first % plan.verify_every == 0:
                if under_way and not self._is_finite(under_way):
                    return
                under_way = None
                _verify(rule, self.params, batches, self.start.epoch, first)
            before = self.params, self.state
            self.params, self.state, *results = descend(
                rule, *copy(before), batches, self.eta, self.classes
            )
            if under_way and not self._is_finite(under_way):
                return
            C, right, finite = results
            under_way = _Segment(*before, first, batches, (C, right, finite))
        if under_way:
            self._is_finite(under_way)

    def _is_finite(self, segment: _Segment) -> bool:
        """Wait for a segment and count what it gives; else stop before its step that went wrong."""
        C, right, finite = jax.device_get(segment.results)
        count, size = segment.batches[1].shape[:2]
        self.cost += size * float(C.astype(np.float64).sum())
        self.right += int(right)
        self.examples += count * size
        if finite and math.isfinite(self.cost):
            return True
        self.params, self.state, taken, last = until_nonfinite(
            self.plan.rule, segment.params, segment.state, segment.batches, self.eta
        )
        what = (
            "a weight or bias is no longer finite" if jnp.isfinite(last) else f"the cost is {last}"
        )
        step, steps = segment.first + int(taken) + 1, self.source.steps
        of = f" of {steps}" if steps else ""
        self.stopped = (
            f"stopped in epoch {self.start.epoch + 1} at step {min(step, steps or step)}{of}: "
            f"{what}; the parameters returned are those before it. Try a smaller learning rate, "
            f"inputs scaled to about [-1, 1], or optax.clip_by_global_norm before the optimiser"
        )
        return False


def _verify(rule: Rule, params: Params, batches: Batches, epoch: int, step: int) -> None:
    """Hold the step that comes next against autodiff."""
    x, y = batches[0][0], batches[1][0]
    if rule.layout is None:
        found = compare.compare(rule.net, params, x, y)
    else:
        record = whole(steps.program(rule.layout, steps.whole)(params, x, y))
        params, x, y = whole((params, x, y))
        found = compare.compare(rule.net, params, x, y, subject=Backprop(*record))
    try:
        found.raise_if_disagrees()
    except AssertionError as error:
        raise AssertionError(
            f"epoch {epoch + 1}, step {step + 1}: the step by hand disagrees with autodiff; "
            f"training stops before it: {error}"
        ) from error
