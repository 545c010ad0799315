"""Wrong arguments to every public name: one ValueError or TypeError that names the argument.

Each call is right but for one or two of its arguments, which are replaced by something odd. It may
be taken all the same; no other error, and no warning, may come.
"""

import atexit
import contextlib
import re
import tempfile
import warnings
from collections import deque
from fractions import Fraction
from functools import partial
from inspect import unwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manual_bp as mbp
from manual_bp.golden.case import case_from, random_case
from manual_bp.training.fit import epochs

NET = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
rng = np.random.default_rng(0)
PARAMS = tuple(
    mbp.Layer(rng.normal(size=shape).astype("f"), rng.normal(size=shape[0]).astype("f"))
    for shape in ((4, 3), (2, 4))
)
X = rng.normal(size=(5, 3)).astype("f")
Y = np.eye(2, dtype="f")[[0, 1, 1, 0, 1]]
KEY = jax.random.key(0)
RECORD = jax.tree.map(np.asarray, mbp.backprop(NET, PARAMS, X, Y))
GRADIENTS = tuple(map(mbp.Layer, RECORD.dW, RECORD.db))
CALL = {"net": NET, "params": PARAMS, "x": X, "y": Y}
TRAINING = CALL | {"epochs": 1, "batch_size": 5, "key": KEY, "learning_rate": 0.1}
FOLDER = tempfile.TemporaryDirectory()
atexit.register(FOLDER.cleanup)
SAVED = Path(FOLDER.name, "saved")
_, TRAINED = mbp.fit(**TRAINING)
mbp.save(SAVED, NET, PARAMS)
CHECKPOINTS = FOLDER.name + "/checkpoints"
mbp.save_checkpoint(CHECKPOINTS, NET, PARAMS)


def saved_at(path):
    """In the folder, whatever the path."""
    if isinstance(path, str) and not path.startswith(FOLDER.name):
        path = path and f"{FOLDER.name}/{path.replace('..', '')}"
    with contextlib.chdir(FOLDER.name):
        mbp.save(path, NET, PARAMS)


# Of some, the tests check the annotations first (see conftest.py): unwrap leads past that.
CALLS = {
    "Network": (
        mbp.Network,
        {
            **{"sizes": (3, 2), "activations": ("tanh",), "cost": "quadratic"},
            **{"l2": 0.1, "l2_biases": True},
        },
    ),
    "Network.init": (NET.init, {"key": KEY, "dtype": "float32", "bias": True}),
    "Activation": (
        lambda **given: mbp.Network((3, 2), (mbp.Activation(**given),), "quadratic"),
        {
            **{"name": "cube", "sigma": lambda z: z**3, "sigma_prime": lambda z: 3 * z**2},
            **{"of": "z", "init": "he", "rounding": None, "kinks": ()},
        },
    ),
    "Cost": (
        lambda **given: mbp.Network((3, 2), ("tanh",), mbp.Cost(**given)),
        {
            **{"name": "half", "value": lambda a, y: ((a - y) ** 2).sum(axis=-1) / 2},
            **{"gradient": lambda a, y: a - y, "delta": None, "of": "a", "output": None},
            "targets": (-1.0, 1.0),
        },
    ),
    **{
        name: (getattr(mbp, name), CALL)
        for name in ("cost", "backprop", "autodiff", "numerical", "summation")
    },
    "forward": (mbp.forward, {"net": NET, "params": PARAMS, "x": X}),
    "predict": (unwrap(mbp.predict), {"net": NET, "params": PARAMS, "x": X, "classes": True}),
    "value_and_grad": (
        lambda net, **batch: unwrap(mbp.value_and_grad)(net)(*batch.values()),
        CALL,
    ),
    "weighted_input": (
        mbp.weighted_input,
        {"W": PARAMS[0].W, "b": PARAMS[0].b, "a_prev": X},
    ),
    "output_delta": (
        mbp.output_delta,
        {"net": NET, "z": RECORD.z[1], "a": RECORD.a[2], "y": Y, "m": 5},
    ),
    "hidden_delta": (
        mbp.hidden_delta,
        {"W_next": PARAMS[1].W, "delta_next": RECORD.delta[1], "sigma_prime": RECORD.a[1]},
    ),
    "bias_gradient": (mbp.bias_gradient, {"delta": RECORD.delta[0]}),
    "weight_gradient": (mbp.weight_gradient, {"delta": RECORD.delta[0], "a_prev": X}),
    "update": (
        mbp.update,
        {"params": PARAMS, "gradients": GRADIENTS, "learning_rate": 0.1},
    ),
    "fit": (
        mbp.fit,
        TRAINING
        | {"optimizer": None, "validation": (X, Y), "verify_every": 1}
        | {"on_epoch": lambda *_: False}
        | {"start_epoch": 0, "optimizer_state": None},
    ),
    "fit by optax": (
        mbp.fit,
        TRAINING
        | {"learning_rate": None, "optimizer": optax.sgd(0.1), "optimizer_state": None}
        | {"on_epoch": lambda *_: False},
    ),
    "epochs": (lambda **given: next(epochs(**given)), TRAINING),
    "compare": (
        mbp.compare,
        CALL | {"subject": RECORD, "witness": mbp.autodiff, "precision": "highest", "decimals": 7},
    ),
    "check": (
        mbp.check,
        CALL
        | {"subject": RECORD, "convention": mbp.Convention(), "precision": None, "decimals": None},
    ),
    "Convention": (
        mbp.Convention,
        {
            **{"examples": "rows", "weights": "out_in", "reduction": "mean", "delta": "batch"},
            **{"sign": "descent", "scale": 1.0, "bias": "separate"},
        },
    ),
    "Update": (
        lambda params, learning_rate, sign: mbp.compare(
            **CALL, subject=mbp.Update(params, learning_rate, sign)
        ),
        {"params": PARAMS, "learning_rate": 0.1, "sign": "descent"},
    ),
    "Backprop": (
        lambda **given: mbp.compare(**CALL, subject=mbp.Backprop(**given)),
        RECORD._asdict(),
    ),
    "suggest_case": (
        lambda **given: mbp.suggest_case(mbp.Network((2, 1), ("tanh",), "quadratic"), **given),
        {"key": KEY, "dtype": "float32", "attempts": 1},
    ),
    "suggest_case, its net": (partial(mbp.suggest_case, key=KEY, attempts=1), {"net": NET}),
    "save": (
        lambda **given: mbp.save(SAVED.with_name("again"), **given),
        {"net": NET, "params": PARAMS, "history": TRAINED, "settings": {"data": "digits"}},
    ),
    "save, its path": (saved_at, {"path": str(SAVED)}),
    "load": (mbp.load, {"path": str(SAVED), "net": NET}),
    "save_checkpoint": (
        lambda **given: mbp.save_checkpoint(FOLDER.name + "/others", **given),
        {"net": NET, "params": PARAMS, "history": TRAINED},
    ),
    "load_checkpoint": (mbp.load_checkpoint, {"folder": CHECKPOINTS, "net": NET}),
    "golden of your own": (case_from, CALL | {"dtype": "float32", "seed": None}),
    "golden": (
        random_case,
        {"net": NET, "batch": 5, "dtype": "float32", "seed": 0, "bias": True},
    ),
}

# What calls of theirs give: they are not made by hand.
RESULTS = {"Agreement", "Row", "Diagnosis", "Finding", "History", "Vjp"}
IN_OTHERS = {"Layer", "plot", "layers", "explorer", "parallel"}  # params; rooms with their tests
IN_OTHERS |= {"check_vjp"}  # of any function's arguments: tests/subjects/test_gradients.py


def test_every_public_name_is_called():
    assert set(mbp.__all__) - RESULTS - IN_OTHERS <= set(CALLS)


# ── What is odd ──────────────────────────────────────────────────────────────────────────────────


class Hostile:
    """Which nothing can be asked."""

    def __getattr__(self, name):
        raise RuntimeError("no attributes here")

    def __repr__(self):
        raise RuntimeError("no name here")


SHAPES = [(), (0,), (1,), (2,), (3,), (5,), (0, 3), (5, 3), (5, 2), (4, 3), (3, 4), (2, 4), (1, 3)]
SHAPES += [(1, 2), (7, 3), (2, 5, 3), (1, 1), (5, 0), (1, 1, 1, 1)]
DTYPES = ["f2", "f4", "f8", ">f4", ">f8", "g", "i4", "u1", "i8", "?", "c8", "c16", "O", "U3", "S2"]
DTYPES += ["M8[s]", "m8[s]", [("W", "f4")], ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
WORDS = [
    "",
    " ",
    "tanh",
    "tahn",
    "softmax",
    "quadratic",
    "cross_entropy",
    "huber(0)",
    "huber(1e999)",
]
WORDS += [
    "columns",
    "row",
    "hihgest",
    "default",
    "float32",
    "float64",
    "int8",
    "Z",
    "xavier",
    "4-5-3",
]
WORDS += [
    "leaky_relu(",
    "a" * 100_000,
    "1",
    "nan",
    "δ",
    "\0",
    "../nowhere/at/all",
    "/dev/null",
    ".",
]
HUGE = [2**31, 2**32, 2**63, 2**64, -(2**63), 10**40, -(10**400), 10**5000]
FUNCTIONS = [
    lambda *_: None,
    lambda *given: given,
    lambda z, *_: z[0],
    lambda z, *_: np.asarray(z),
    lambda z, *_: str(z),
    lambda z, *_: z > 0,
    lambda: 0,
    int,
    jnp.tanh,
    np.sin,
]


def filled(shape, dtype, kind):
    """An array of this shape and dtype."""
    values = {"ones": 1, "NaN": np.nan, "infinite": -np.inf, "large": 1e30, "negative": -3}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.full(shape, values).astype(np.dtype(dtype))
        except (TypeError, ValueError):
            return np.zeros(shape, np.dtype(dtype))


def as_dtype(dtype, array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return array.astype(np.dtype(dtype))
        except (TypeError, ValueError):
            return array


def in_jax(array):
    try:
        return jnp.asarray(array)
    except (TypeError, ValueError):
        return array


scalars = st.one_of(
    st.sampled_from([None, True, False, ..., NotImplemented, Fraction(1, 3), b"tanh", range(3)]),
    st.sampled_from(HUGE),
    st.integers(-3, 8),
    st.floats(),
    st.floats(-2, 2),
    st.complex_numbers(max_magnitude=1e3),
    st.sampled_from(WORDS),
    st.text(max_size=5),
    st.sampled_from([np.float32(0.5), np.int8(-1), np.bool_(True), np.complex64(1j), np.str_("z")]),
    st.sampled_from([np.datetime64("2020"), np.float64("nan"), np.uint64(2**63)]),
)
arrays = st.builds(
    filled,
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPES),
    st.sampled_from(["ones", "NaN", "infinite", "large", "negative"]),
)
things = st.sampled_from(
    [
        *(NET, PARAMS, PARAMS[0], RECORD, GRADIENTS, KEY, X, Y, TRAINED, optax.adam(1e-3)),
        *(mbp.Convention(), mbp.Update(PARAMS, 0.1), Hostile(), object(), object, mbp.Network),
        *(
            mbp.Network((3, 2), ("tanh",), "quadratic"),
            jnp.float32,
            np.dtype("f8"),
            Path("nowhere"),
        ),
        *(jax.random.split(KEY), jax.random.PRNGKey(0), jax.random.key_data(KEY)),
        *(
            np.ma.masked_array(X, X > 0),
            X.view(np.matrix),
            optax.sgd(1e-3).init(PARAMS),
            deque([X, Y]),
        ),
        *(jax.ShapeDtypeStruct((5, 3), "float32"), memoryview(b"12"), bytearray(3), frozenset({1})),
        *({"dW1": RECORD.dW[0]}, {"nonsense": 3}, {1: 2}, {"dW": RECORD.dW}, {}),
        *FUNCTIONS,
    ]
)
leaves = st.one_of(scalars, arrays, arrays.map(in_jax), things)
odd = st.one_of(
    leaves,
    st.lists(leaves, max_size=4),
    st.lists(leaves, max_size=3).map(tuple),
    st.lists(st.lists(scalars, max_size=3), max_size=5),
    st.lists(st.lists(leaves, max_size=3).map(tuple), min_size=1, max_size=2).map(tuple),
    st.dictionaries(st.sampled_from([*WORDS, "dW1", "db2", "z1", "cost", "a"]), leaves, max_size=2),
)


NEAR = [
    *(
        np.ndarray.tolist,
        np.transpose,
        np.asfortranarray,
        np.ravel,
        in_jax,
        lambda a: a.view(np.matrix),
    ),
    *(partial(as_dtype, dtype) for dtype in DTYPES),
    *(lambda a: a[None], lambda a: a[:1], lambda a: a[0], lambda a: a[::-1], lambda a: a[..., :1]),
    *(lambda a: a * np.nan, lambda a: a * np.float32(1e30), lambda a: a > 0, lambda a: 0 * a),
    *(lambda a: np.where(a == a.max(), np.inf, a), lambda a: np.ma.masked_array(a, a > 0)),
    *(np.ma.masked_array, lambda a: in_jax(a).astype("bfloat16"), lambda a: list(map(in_jax, a))),
]


@st.composite
def spoilt(draw, right):
    """A part of a right argument is odd: a layer, an array, a number of it; or an array is near."""
    if isinstance(right, np.ndarray) and right.ndim and draw(st.booleans()):
        return draw(st.sampled_from(NEAR))(right)
    if not isinstance(right, (tuple, list)) or not right or draw(st.booleans()):
        return draw(odd)
    at = draw(st.integers(0, len(right) - 1))
    parts = list(right)
    parts[at] = draw(spoilt(right[at]))
    return type(right)(*parts) if hasattr(right, "_fields") else type(right)(parts)


# How messages call what they are about, where that is not the argument's name alone.
ALSO = {"sigma": "σ", "sigma_prime": "σ′", "net": "params|x|y|z|a|key|validation|subject|history"}


def is_refusal(error, replaced):
    """Whether an error names an argument that was replaced, or is the caller's own function's."""
    words = "\n".join([str(error), *getattr(error, "__notes__", ())])
    kinds = (TypeError, ValueError, *[OSError] * ("path" in replaced))
    names = "|".join([*replaced, *(ALSO[name] for name in replaced if name in ALSO)])
    named = re.search(rf"(?<!\w)({names})\d?(?!\w)", words)
    if "path" in replaced and str(FOLDER.name) in words:  # the path itself
        return type(error) in kinds or isinstance(error, OSError)
    return bool(named) and (type(error) in kinds or "your function" in words)


def judged(name, data):
    """Make one call with odd arguments."""
    function, right = CALLS[name]
    replaced = data.draw(
        st.lists(st.sampled_from(list(right)), min_size=1, max_size=2, unique=True)
    )
    odd_ones = {argument: data.draw(spoilt(right[argument])) for argument in replaced}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "stopped in epoch", RuntimeWarning)
        try:
            function(**right | odd_ones)
        except Exception as error:
            if not is_refusal(error, replaced):
                raise


def fuzzed(examples):
    """The same examples each time, and no assertion about time."""
    every = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: every(given(data=st.data())(test))


@pytest.mark.parametrize("name", CALLS)
@fuzzed(20)
def test_a_wrong_argument_is_named(name, data):
    judged(name, data)


@pytest.mark.sweep
@pytest.mark.parametrize("name", CALLS)
@fuzzed(1400)
def test_many_wrong_arguments_are_named(name, data):
    judged(name, data)


# ── What each says ───────────────────────────────────────────────────────────────────────────────

SAID = [
    ("Network", {"sizes": (3, 4, 2), "activations": ()}, "activations: .* 2 layers .*, got 0"),
    ("Network", {"l2": 10**400}, "l2: expected a finite number ≥ 0, got 1000"),
    ("Network", {"l2": 10**5000}, "l2: expected a finite number ≥ 0, got a value of type int"),
    ("Activation", {"of": "Z"}, "of: unknown 'Z'; .*z, a"),
    ("Activation", {"init": "xavier"}, "init: unknown 'xavier'; .*glorot, he, lecun"),
    ("Activation", {"kinks": 1.0}, r"kinks: expected numbers such as \(-1.0, 1.0\), got 1.0"),
    (
        "Cost",
        {"targets": (1, 0)},
        r"targets: expected the least and the greatest y, .*got \(1, 0\)",
    ),
    ("check", {"convention": "columns"}, r"Convention\(examples='columns'\), got 'columns'"),
    ("check", {"precision": "hihgest"}, "precision: unknown 'hihgest'; did you mean 'highest'"),
    ("compare", {"decimals": 10**9}, "decimals: expected a whole number ≥ 0 up to 300, got 1000"),
    ("golden", {"net": "4-5-3"}, "net: expected a manual_bp.Network, got '4-5-3'"),
    ("golden of your own", {"x": X * 1j}, "x: expected real numbers, got dtype complex"),
    ("golden of your own", {"y": [0, 1]}, "x, y|y: expected"),
    (
        "fit by optax",
        {"optimizer_state": 3},
        "optimizer_state: .*the whole: expected none, got a int",
    ),
    ("Network", {"sizes": np.array([3], "m8[s]")}, r"sizes\[0\]: expected a positive integer"),
    ("cost", {"y": np.full(5, np.inf, "f4")}, "y: "),
    ("cost", {"y": np.full(5, 1e30, "f4")}, "y: expected the numbers of 2 classes, 0 to 1, got 1"),
    ("fit", {"start_epoch": 2**63}, "start_epoch: expected a whole number ≥ 0 up to 2147483648"),
    ("fit", {"on_epoch": 3}, "on_epoch: expected a function, got 3"),
    ("update", {"learning_rate": np.nan}, "learning_rate: expected a finite float32, got nan"),
    (
        "update",
        {"params": (*GRADIENTS[:1], (Y[:2] * np.nan, Y[0]))},
        "params, layer 2, W: .*finite",
    ),
    (
        "output_delta",
        {"y": Y[:1]},
        r"y: expected shape \(m, n\).*a of shape \(5, 2\), got \(1, 2\)",
    ),
    ("output_delta", {"m": 0}, "m: expected a whole number ≥ 1, got 0"),
    ("weighted_input", {"b": X[:, :1]}, r"b: expected shape \(n,\) beside W of .*got \(5, 1\)"),
    ("hidden_delta", {"W_next": PARAMS[1].W.T}, r"delta_next: expected shape \(m, n_next\)"),
    ("weight_gradient", {"a_prev": X[:3]}, r"a_prev: expected shape \(m, n_prev\).*got \(3, 3\)"),
    ("bias_gradient", {"delta": X[None]}, r"delta: expected shape \(m, n\), or \(n,\) for one"),
    ("backprop", {"x": np.ma.masked_array(X, X > 0)}, "x: expected numbers everywhere"),
]


@pytest.mark.parametrize(("name", "odd_ones", "says"), SAID)
def test_what_is_said(name, odd_ones, says):
    function, right = CALLS[name]
    with pytest.raises((TypeError, ValueError), match=says):
        function(**right | odd_ones)


def test_arrays_of_any_byte_order_train():
    swapped = {name: TRAINING[name].astype(">f4") for name in ("x", "y")}
    params, _ = mbp.fit(**TRAINING | swapped)
    right, _ = mbp.fit(**TRAINING)
    assert (np.asarray(params[0].W) == np.asarray(right[0].W)).all()
