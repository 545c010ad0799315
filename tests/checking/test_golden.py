"""Golden vectors as they are made and written: the numbers, the three files, and what is refused.

What reads them back, or what strangers computed, is in test_received.py.
"""

import json
import re
import struct
from pathlib import Path

import jax
import jsonschema
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.checking import golden, received
from manual_bp.costs import COSTS

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "golden.schema.json").read_text())
DOCS = (ROOT / "docs" / "golden.md").read_text()
NETWORKS = {
    "softmax": mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy", 0.01),
    "sigmoid": mbp.Network((3, 6, 2), ("relu", "sigmoid"), "binary_cross_entropy"),
    "one layer": mbp.Network((2, 1), ("identity",), "quadratic", 1e-3),
}
CASES = {
    f"{name}, {dtype}": (net, dtype)
    for (name, net), dtype in zip(
        [*NETWORKS.items(), ("softmax", NETWORKS["softmax"])],
        ("float32", "float16", "float64", "bfloat16"),
        strict=True,
    )
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def written(request, tmp_path_factory):
    """A case and the folder it was written to."""
    net, dtype = request.param
    case = golden.make(net, dtype=dtype, seed=4)
    folder = tmp_path_factory.mktemp("golden")
    assert golden.write(folder, case) == [folder / name for name in golden.FILES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(golden.FILES)
    return case, folder


def rounded(array, dtype):
    return array.astype(jax.numpy.dtype(dtype)).astype(np.float64)


def assert_same(actual, desired):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    assert np.array_equal(actual, desired)


# ── The case ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_the_values_are_those_of_the_sums_of_index_notation(net, x64):
    case = golden.make(net, dtype="float64", seed=1)
    witness = mbp.summation(net, case.params, case.x, case.y)
    for got, want in zip(jax.tree.leaves(case.record), jax.tree.leaves(witness), strict=True):
        assert got.shape == want.shape
        # Numbers of order 1, and fewer than 100 roundings on the way to any of them.
        assert np.all(np.abs(got - want) <= 100 * 2.0**-53 * np.maximum(1, np.abs(want)))


def test_both_precisions_have_the_same_inputs(written):
    case, _ = written
    for name, array in case.values().items():
        if name[0] in "xyWb":
            assert_same(rounded(array, case.dtype), array)
    assert {np.asarray(w).dtype.name for layer in case.params for w in layer} == {case.dtype}
    assert {v.dtype.name for v in jax.tree.leaves(case.record)} == {"float64"}


def test_no_number_hides_a_mistake(written):
    case, _ = written
    assert len(case.x) not in case.net.sizes
    for layer in case.params:
        assert np.all(np.abs(np.asarray(layer.b, np.float64)) > 0.1)
        assert np.all(np.asarray(layer.W) != 0)
    if case.net.cost.name != "quadratic":
        assert set(case.y.ravel().tolist()) == {0, 1}
    if case.net.cost.name == "cross_entropy":
        assert_same(np.sum(case.y, axis=1, dtype=float), np.ones(len(case.y)))


def test_a_seed_fixes_the_case():
    net = NETWORKS["one layer"]
    first, again, other = (golden.make(net, seed=seed).values() for seed in (3, 3, 4))
    for name in first:
        assert_same(first[name], again[name])
    assert not np.array_equal(first["W1"], other["W1"])
    assert not np.array_equal(first["x"], other["x"])


def test_a_batch_that_is_asked_for():
    assert golden.make(NETWORKS["one layer"], batch=2).x.shape == (2, 2)


def test_a_wider_dtype_holds_the_inputs_and_a_narrower_one_does_not(written):
    case, _ = written
    wide = case.in_dtype("float64")
    assert wide.x.dtype == np.float64
    for name, array in wide.values().items():
        assert_same(array, case.values()[name])
    if case.dtype not in ("float16", "bfloat16"):
        with pytest.raises(ValueError, match=r"dtype: .*float16, which changes x, .*W1"):
            case.in_dtype("float16")


LOUD = mbp.Activation("loud", lambda z: 2 * z, lambda a: 2 + 0 * a)
BAD = {
    "no examples": ({"batch": 0}, "batch: expected a whole number from 1, got 0"),
    "half an example": ({"batch": 1.5}, "batch: .* got 1.5"),
    "negative seed": ({"seed": -1}, "seed: expected a whole number from 0, got -1"),
    "no seed": ({"seed": None}, "seed: .* got None"),
    "both": ({"seed": -1, "batch": True}, "2 things do not fit"),
    "dtype": ({"dtype": "float23"}, "unknown name 'float23'; did you mean 'float32'"),
    "too many": ({"batch": 10**5}, "at most 262,144 numbers, got 800,007"),
    "own activation": ({"net": mbp.Network((2, 1), (LOUD,), "quadratic")}, "activations.0..*loud"),
    "vast": ({"net": mbp.Network((10**6, 10**6), ("tanh",), "quadratic")}, "at most 262,144"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_a_case_that_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        golden.make(**{"net": NETWORKS["one layer"]} | arguments)


def test_inputs_that_do_not_fit_are_refused():
    net, params = NETWORKS["one layer"], [([[2.0, -1.0]], [0.5])]
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\)"):
        golden.of(net, params, [[1.0, 2.0, 3.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"x: expected shape \(m, 2\), got \(2,\)"):
        golden.of(net, params, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="cost: expected numbers within the range of float16"):
        golden.of(net, [([[6e4, 6e4]], [1.0])], [[1.0, 1.0]], [[1.0]], dtype="float16")


# ── The files ────────────────────────────────────────────────────────────────────────────────────


def test_round_trip_is_exact(written):
    case, folder = written
    again = received.read_golden(folder)
    assert (again.net, again.dtype, again.seed) == (case.net, case.dtype, case.seed)
    assert jax.tree.structure(again.params) == jax.tree.structure(case.params)
    for one, other in zip(jax.tree.leaves(again[1:5]), jax.tree.leaves(case[1:5]), strict=True):
        assert one.dtype == other.dtype
        assert_same(one, other)


def test_the_json_is_what_its_schema_says(written):
    case, folder = written
    document = json.loads((folder / "golden.json").read_text())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)
    assert document["network"]["sizes"] == list(case.net.sizes)
    for change in (
        {"version": 2},
        {"seed": -1},
        {"more": 0},
        {"values": document["hex"]},
        {"hex": document["values"]},
        {"rounded": document["rounded"] | {"c1": [1]}},
        {"network": document["network"] | {"cost": "quartic"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | change, SCHEMA)


def test_decimal_and_hexadecimal_are_the_very_numbers(written):
    case, folder = written
    text = (folder / "golden.json").read_text()
    decimals = json.loads(text, parse_float=str, parse_int=str)
    digits = re.compile(r"[0-9]")
    for name, array in case.values().items():
        for suffix, wanted in (("values", array), ("rounded", rounded(array, case.dtype))):
            hexes = decimals[{"values": "hex", "rounded": "rounded_hex"}[suffix]][name]
            for index, value in np.ndenumerate(wanted):
                decimal, hexadecimal = decimals[suffix][name], hexes
                for i in index:
                    decimal, hexadecimal = decimal[i], hexadecimal[i]
                assert float(decimal) == float.fromhex(hexadecimal) == value
                assert decimal == f"{value:.17g}"
                assert len(digits.findall(decimal.partition("e")[0].lstrip("-0."))) <= 17


def test_the_npz_has_every_array_twice_and_says_what_it_is(written):
    case, folder = written
    with np.load(folder / "golden.npz", allow_pickle=False) as npz:
        arrays = dict(npz)
    for name, array in case.values().items():
        assert arrays[name].dtype == np.float64
        assert_same(arrays.pop(name), array)
        narrow = arrays.pop(f"{name}_{case.dtype}")
        assert narrow.dtype.name == case.dtype.replace("bfloat16", "float32")
        assert_same(narrow.astype(float), rounded(array, case.dtype))
    told = {name: array.tolist() for name, array in arrays.items()}
    assert told == {
        "format": "manual_bp.golden",
        "version": 1,
        "sizes": list(case.net.sizes),
        "activations": [sigma.name for sigma in case.net.activations],
        "cost_name": case.net.cost.name,
        "l2": case.net.l2,
        "dtype": case.dtype,
        "seed": 4,
    }


def test_the_binary_has_the_order_of_the_docs(written):
    case, folder = written
    content = (folder / "golden.bin").read_bytes()
    numbers = list(struct.unpack(f"<{len(content) // 8}d", content))
    take = lambda n: [numbers.pop(0) for _ in range(n)]  # noqa: E731
    sizes, record = case.net.sizes, case.record
    L, m = len(sizes) - 1, len(case.x)
    codes = re.search(r"Costs: (.*)\. Activations: (.*?)\.", DOCS.replace("\n", " ")).groups()
    costs, sigmas = (dict(part.split()[::-1] for part in code.split(", ")) for code in codes)
    assert take(5) == [1, L, m, int(costs[case.net.cost.name]), case.net.l2]
    assert take(L + 1) == list(sizes)
    assert take(L) == [int(sigmas[sigma.name]) for sigma in case.net.activations]
    for array in (
        *(case.x, case.y),
        *(array for layer in case.params for array in layer),
        *(record.cost, *record.z, *record.a, *record.delta, *record.dW, *record.db),
    ):
        assert take(array.size) == np.asarray(array, np.float64).ravel().tolist()
    assert not numbers


def test_every_built_in_name_has_a_code_and_keeps_it():
    for codes, known in ((golden.SIGMA_CODES, ACTIVATIONS), (golden.COST_CODES, COSTS)):
        assert codes == tuple(known)
        text = ", ".join(f"{i} {name}" for i, name in enumerate(codes))
        assert text in DOCS.replace("\n", " ")


def test_the_limits_are_those_of_the_docs():
    for limit in (golden.MAX_VALUES, received._MAX_ITEMS):
        assert f"{limit:,} " in DOCS.replace("\n", " ")
    assert f"{received.MAX_BYTES // 2**20} MiB" in DOCS


@pytest.mark.parametrize(
    ("sizes", "batch"), [((784, 134, 10), 4), ((1, 1), 36000)], ids=["wide", "narrow"]
)
def test_the_largest_cases_can_be_read_back(sizes, batch, tmp_path):
    net = mbp.Network(sizes, ("tanh",) * (len(sizes) - 2) + ("sigmoid",), "quadratic")
    case = golden.make(net, batch=batch)
    assert sum(array.size for array in case.values().values()) > 0.8 * golden.MAX_VALUES
    golden.write(tmp_path, case)
    again = received.read_golden(tmp_path).values()
    for name, array in case.values().items():
        assert_same(again[name], array)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    case = golden.make(NETWORKS["one layer"])
    golden.write(tmp_path, case)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(file, golden):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(golden, "_write_json", full)
    with pytest.raises(OSError, match="no space left"):
        golden.write(tmp_path, case)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
