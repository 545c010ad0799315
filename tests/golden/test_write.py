"""Golden vectors as they are written: the three files, whole, and exactly the case's numbers."""

import inspect
import json
import re
import struct
import zlib
from pathlib import Path

import jax
import jsonschema
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.costs import COSTS
from manual_bp.golden.case import FILES, MAX_LAYERS, MAX_VALUES, random_case
from manual_bp.golden.document import MAX_ITEMS
from manual_bp.golden.read import read_golden
from manual_bp.golden.untrusted import MAX_BYTES
from manual_bp.golden.write import COST_CODES, SIGMA_CODES, checksum, write

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "golden.schema.json").read_text())
DOCS = (ROOT / "docs" / "golden.md").read_text()
NET = mbp.Network((2, 1), ("identity",), "quadratic", 1e-3)


def rounded(array, dtype):
    return array.astype(jax.numpy.dtype(dtype)).astype(np.float64)


def assert_same(actual, desired):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    assert np.array_equal(actual, desired)


def test_round_trip_is_exact(written):
    case, folder = written
    again = read_golden(folder)
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
        {"version": 3},
        {"seed": -1},
        {"more": 0},
        {"values": document["hex"]},
        {"hex": document["values"]},
        {"checksum": -1},
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
        "checksum": checksum(case),
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


MORE = mbp.Network(
    (4, 5, 3), ("leaky_relu(0.2)", "softmax"), "cross_entropy(smoothing=0.1)", 0.1, True
)


def test_version_2_says_what_version_1_has_no_word_for(tmp_path):
    for net, bias, cost in (
        (MORE, True, [1, 0.1]),
        (
            mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy(weights=(1, 2, 3))"),
            False,
            [4, 0, 1, 2, 3],
        ),
        (mbp.Network((4, 3, 3), ("swish(2)", "tanh"), "huber(0.5)"), False, [1, 0.5]),
        (mbp.Network((4, 3, 3), ("tanh", "tanh"), "quadratic"), False, [0]),
    ):
        case = random_case(net, bias=bias, seed=1)
        write(tmp_path, case)
        again = read_golden(tmp_path)
        assert (again.net, again.biases) == (net, [bias] * 2)
        jsonschema.validate(json.loads((tmp_path / "golden.json").read_text()), SCHEMA)
        numbers = np.frombuffer((tmp_path / "golden.bin").read_bytes()).tolist()
        sigma = 0.2 if net is MORE else 2 if "swish" in str(net) else 0
        header = [float(net.l2_biases), bias, bias, sigma, 0, *cost]
        assert numbers[0] == case.version == 2
        assert numbers[10 : 10 + len(header)] == header
        assert numbers[10 + len(header) :][: case.x.size] == case.x.ravel().tolist()
        diagnosis = mbp.check(net, case.params, case.x, case.y, case.record)
        assert diagnosis.ok, str(diagnosis)


def test_the_checksum_is_that_of_the_binary_before_the_cost(written, tmp_path):
    """As the docs have it, so that any language can compute it."""
    case, folder = written
    record = case.record
    results = sum(np.size(array) for array in jax.tree.leaves(record))
    content = (folder / "golden.bin").read_bytes()
    document = json.loads((folder / "golden.json").read_text())
    assert document["checksum"] == zlib.crc32(content[: -8 * results])
    with np.load(folder / "golden.npz") as archive:
        assert archive["checksum"] == document["checksum"]


def test_every_built_in_name_has_a_code_and_keeps_it():
    for codes, known in ((SIGMA_CODES, [*ACTIVATIONS, "swish"]), (COST_CODES, COSTS)):
        assert codes == tuple(known)
        text = ", ".join(f"{i} {name}" for i, name in enumerate(codes))
        assert text in DOCS.replace("\n", " ")


def test_the_limits_are_those_of_the_docs():
    for limit in (MAX_VALUES, MAX_ITEMS):
        assert f"{limit:,} " in DOCS.replace("\n", " ")
    assert f"{MAX_LAYERS} layers" in DOCS
    assert f"{MAX_BYTES // 2**20} MiB" in DOCS


@pytest.mark.parametrize(
    ("sizes", "batch"), [((784, 134, 10), 4), ((1, 1), 36000)], ids=["wide", "narrow"]
)
def test_the_largest_cases_can_be_read_back(sizes, batch, tmp_path):
    net = mbp.Network(sizes, ("tanh",) * (len(sizes) - 2) + ("sigmoid",), "quadratic")
    case = random_case(net, batch=batch)
    assert sum(array.size for array in case.values().values()) > 0.8 * MAX_VALUES
    write(tmp_path, case)
    again = read_golden(tmp_path).values()
    for name, array in case.values().items():
        assert_same(again[name], array)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    case = random_case(NET)
    write(tmp_path, case)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(file, golden):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(inspect.getmodule(write), "_write_json", full)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path, case)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_told_of_the_file(name, tmp_path):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as refusal:
        write(tmp_path, random_case(NET))
    assert refusal.value.filename == str(tmp_path / name)
