"""The arguments of `fit`, read and held to each other."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from manual_bp.arrays import cast, read_array
from manual_bp.calls import read_call, read_params
from manual_bp.checks import Problems, kind, random_key, real, shown, theirs, whole_number
from manual_bp.files.mapped import MappedRows
from manual_bp.lean import Microbatch, check_microbatch
from manual_bp.meshes import moved_to_auto_axes
from manual_bp.network import Layer, Network, Params
from manual_bp.parallel.layout import Layout
from manual_bp.training.batches import FromAnIterable, InFiles, InMemory, Source
from manual_bp.training.epoch import Batches, Rule, copy
from manual_bp.training.history import SavedState, is_key, named

MAX_EPOCHS = 2**31
"""The order of each is drawn from its number, one of 32 bits, and two such add up to no more."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to train and how: the arguments of `fit`, which fit together."""

    net: Network
    params: Params
    x: Any
    y: Any
    epochs: int
    key: Array
    batch_size: int | None = None
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
        problems = Problems()
        self._read_examples(problems)
        check_microbatch(self.microbatch)
        self._check_validation(problems)
        whole_number("epochs", self.epochs, 1, problems, most=MAX_EPOCHS)
        if not self.gives_batches:
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
        layout = self.rule.layout  # which says what does not fit its devices
        if layout is not None and layout.hosts > 1 and (self.gives_batches or self.is_mapped):
            raise ValueError(
                "x, mesh: expected arrays in memory where the mesh has devices of several "
                "processes; hand in each process's own part as np.array(x)"
            )

    def _read_examples(self, problems: Problems) -> None:
        """params as arrays, and x and y, unless they are read batch by batch."""
        if self.gives_batches:
            object.__setattr__(self, "params", read_params(self.net, self.params))
            if self.batch_size is not None:
                problems.value("batch_size: x gives batches of its own; leave it out")
            return
        x, y = self.x, self.y
        if is_mapped := self.is_mapped:
            x, y = _with_rows("x", x), _with_rows("y", y)
            if x.shape[1:] == () and self.net.sizes[0] == 1:
                x = x[:, None]  # one number an example
            object.__setattr__(self, "x", x)
            object.__setattr__(self, "y", y)
            if x.shape[:1] != y.shape[:1]:
                raise ValueError(
                    f"x, y: expected as many examples in both, got shapes {x.shape} and {y.shape}"
                )
            x, y = x[:1], y[:1]
        call = read_call(self.net, self.params, x, y).in_one_dtype()
        object.__setattr__(self, "params", call.params)
        if not is_mapped:
            object.__setattr__(self, "x", call.x)
            object.__setattr__(self, "y", call.y)
        if call.x.ndim != 2:
            expected = f"expected a batch of rows, (m, {self.net.sizes[0]})"
            problems.value(f"x: {expected}, got {call.x.shape}")

    @property
    def gives_batches(self) -> bool:
        """Whether x is an iterable of batches, or a function that gives one."""
        is_array = hasattr(self.x, "shape") or hasattr(self.x, "__array__")
        return (
            self.y is None and not is_array and (callable(self.x) or isinstance(self.x, Iterable))
        )

    @property
    def is_mapped(self) -> bool:
        """Whether the examples are read from files while they are used."""
        return any(isinstance(array, (np.memmap, MappedRows)) for array in (self.x, self.y))

    @property
    def source(self) -> Source:
        """Where an epoch's batches come from."""
        if self.gives_batches:
            return FromAnIterable(self.net, self.read, self.x)
        assert self.batch_size is not None  # `_read_examples` has seen to it
        if self.is_mapped:
            return InFiles(self.net, self.read, self.x, self.y, self.batch_size)
        x, y, rows = self.x, self.y, None
        if self.rule.layout is not None and self.rule.layout.hosts > 1:
            x, y, rows = self.rule.layout.put_rows(x, y)
        else:
            x, y = self.on_devices((x, y))
        return InMemory(self.net, x, y, self.batch_size, rows)

    def read(self, x: Any, y: Any) -> Batches:
        """Examples that fit the network, as arrays of the parameters' format on the devices."""
        call = read_call(self.net, self.params, x, y).in_one_dtype()
        placed: Batches = self.on_devices((call.x, call.y))
        return placed

    def on_devices(self, arrays: Any) -> Any:
        """The arrays as JAX's; on a mesh, whole on each of its devices."""
        placed = moved_to_auto_axes(jax.tree.map(jnp.asarray, arrays))
        return placed if self.rule.layout is None else self.rule.layout.put_everywhere(placed)

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

    def start(self) -> tuple[tuple[Layer, ...], Any]:
        """The parameters and the optimiser's state that training starts from, the caller's kept."""
        params = copy(moved_to_auto_axes(tuple(Layer(*layer) for layer in self.params)))
        if self.rule.layout is not None:
            params = self.rule.layout.put_params(params)
        state = taken_up(self.optimizer, params, self.optimizer_state)
        return params, moved_to_auto_axes(state)


def _with_rows(argument: str, array: Any) -> Any:
    """What stands for an array beside a memory-mapped one, of which rows can be taken by number."""
    if isinstance(array, (np.memmap, MappedRows)):
        return array
    problems = Problems()
    read = read_array(argument, array, problems)
    problems.raise_all()
    assert read is not None
    return read.array


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
