"""Files of arrays that another program wrote: what is read, and what is refused, and how."""

import io
import json
import os
import pickle
import re
import struct
import zipfile

import jax
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.golden.case import random_case
from manual_bp.golden.read import read_golden, read_record
from manual_bp.golden.write import write
from manual_bp.record import named_places

NET = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy", 0.01)


@pytest.fixture(scope="module")
def case():
    return random_case(NET)  # five examples


@pytest.fixture(scope="module")
def one_example():
    return random_case(NET, batch=1)


def results(case):
    return {name: case.record.at(place) for name, place in named_places(case.net).items()}


def assert_reads(path, case, wanted, **options):
    """The arrays wanted come back as they are, the others as None."""
    record = read_record(path, case, **options)
    got = {name: record.at(place) for name, place in named_places(case.net).items()}
    assert {name for name, array in got.items() if array is not None} == set(wanted)
    for name, array in wanted.items():
        assert got[name].shape == np.shape(array)
        assert np.array_equal(got[name], array)


def save(path, content):
    """Write arrays or whatever stands for them, by the name's ending."""
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".json":
        lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in content.items()}
        path.write_text(json.dumps(lists))
    else:
        np.savez(path, **content)
    return path


# ── What is read ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_all_of_it_and_any_part_of_it(ending, case, tmp_path):
    arrays = results(case)
    path = tmp_path / f"mine.{ending}"
    assert_reads(save(path, arrays), case, arrays)
    for some in (["dW1"], ["delta2", "cost"], ["a0", "db1", "db2"]):
        part = {name: arrays[name] for name in some}
        assert_reads(save(path, part), case, part)


@pytest.mark.parametrize("name", ["golden.npz", "golden.json"])
def test_the_case_itself_is_right(name, case, tmp_path):
    write(tmp_path, case)
    assert_reads(tmp_path / name, case, results(case))


@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("in_out", [False, True], ids=["out_in", "in_out"])
def test_the_binary_is_laid_out_by_the_convention(columns, in_out, case, tmp_path):
    arrays = {
        name: array.T.copy()
        if (columns and name[0] in "zad" and name[1] not in "Wb") or (in_out and name[:2] == "dW")
        else array
        for name, array in results(case).items()
    }
    content = b"".join(array.astype("<f8").tobytes() for array in arrays.values())
    convention = mbp.Convention(
        examples="columns" if columns else "rows", weights="in_out" if in_out else "out_in"
    )
    assert_reads(save(tmp_path / "m.bin", content), case, arrays, convention=convention)


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_shapes_of_every_convention(ending, case, tmp_path):
    arrays = results(case)
    arrays = {name: array.T for name, array in arrays.items()}
    arrays |= {"db1": arrays["db1"][:, None], "db2": arrays["db2"][None]}
    assert_reads(save(tmp_path / f"mine.{ending}", arrays), case, arrays)


def test_a_cost_in_brackets(case, tmp_path):
    for text in ("1.5", "[1.5]", "[[1.5]]"):
        path = save(tmp_path / "mine.json", f'{{"cost": {text}}}')
        assert_reads(path, case, {"cost": 1.5})


def test_one_example_may_be_without_its_axis(one_example, tmp_path):
    arrays = results(one_example)
    arrays["z1"] = arrays["z1"][0]
    assert_reads(save(tmp_path / "mine.json", arrays), one_example, arrays)


def test_numbers_in_hexadecimal_and_whole_ones(case, tmp_path):
    text = '{"db1": ["0x1.8p+1", "-0X.8P-1", 3, -2e0], "db2": ["+0xAp0", "0x1"]}'
    path = save(tmp_path / "mine.json", "\ufeff" + text)  # as some editors begin a file
    assert_reads(path, case, {"db1": [3, -0.25, 3, -2], "db2": [10, 1]})


@pytest.mark.parametrize(
    "dtype", [np.float32, ">f8", np.int64, np.uint8, np.longdouble], ids=lambda d: np.dtype(d).str
)
def test_any_real_dtype_fine_enough(dtype, case, tmp_path):
    array = np.arange(4).astype(dtype)
    got = read_record(save(tmp_path / "mine.npz", {"db1": array}), case).db[0]
    assert got.dtype == (np.float32 if dtype is np.float32 else np.float64)
    assert got.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_inputs_may_stand_there_if_they_are_ours(ending, case, tmp_path):
    values = case.values()
    given = {"W1": values["W1"].T, "b2": values["b2"][:, None], "x": values["x"]}
    wanted = {"dW1": values["dW1"]}
    path = tmp_path / f"mine.{ending}"
    assert_reads(save(path, given | wanted), case, wanted)
    stepped = values["W1"] - 0.1 * values["dW1"]
    with pytest.raises(ValueError, match=r"W1: expected the case's own W1.* before an update"):
        read_record(save(path, {"W1": stepped} | wanted), case)


# ── What is refused ──────────────────────────────────────────────────────────────────────────────

ROW = np.ones(4)
NAN, INF = ROW.copy(), np.ones((4, 3))
NAN[2], INF[3, 1] = np.nan, -np.inf


def npy(array, shape=None):
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header | ({"shape": shape} if shape else {}))
    return file.getvalue() + array.tobytes()


def members(*pairs, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in pairs:
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


BAD_JSON = {
    "empty": ("", r"expected JSON, .* \(the file ends there\)"),
    "no JSON": ("z1 = 3", "expected JSON, got Expecting value at line 1, column 1"),
    "truncated": ('{"db1": [1, 2', r"line 1, column \d+ \(the file ends there\)"),
    "two objects": ("{}{}", "Extra data"),
    "bytes": (b'{"db1": "\xff"}', "UTF-8, got byte 9"),
    "UTF-16": ('{"cost": 1}'.encode("utf-16"), "UTF-8"),
    "a list": ("[1, 2]", "expected an object of arrays by name, got a list"),
    "a number": ("3", "expected an object of arrays by name, got a float"),
    "nothing": ("{}", r"expected at least one of cost, z1, z2, a0, .*, got none"),
    "inputs alone": ('{"b1": null}', "b1: expected shape"),
    "unknown name": ('{"detla1": 0}', "detla1.*did you mean 'delta1'"),
    "name of another net": ('{"dW3": [[1]]}', "'dW3': expected names of the case's arrays"),
    "control characters": ('{"\\u001b[2J": 0}', r"'\\x1b\[2J'"),
    "long name": (f'{{"{"z" * 10**6}": 0}}', "'z{40}': expected names"),
    "twice": ('{"db1": [1,1,1,1], "db1": [2,2,2,2]}', "'db1': expected a name once"),
    "shape": ('{"db1": [1, 2, 3]}', r"db1: expected shape \(4,\) or \(4, 1\) .*, got \(3,\)"),
    "wrong rows": (
        '{"dW2": [[1, 2]]}',
        r"dW2: expected shape \(2, 4\) or \(4, 2\) or .*, got \(1, 2\)",
    ),
    "no rows": ('{"dW2": []}', r"got \(0,\)"),
    "empty rows": ('{"dW2": [[], []]}', r"got \(2, 0\)"),
    "ragged": ('{"dW2": [[1,2,3,4], [1,2,3]]}', r"dW2\[1\]: expected 4 numbers, .*, got 3"),
    "half a row": ('{"dW2": [[1,2,3,4], 5]}', r"dW2\[1\]: expected 4 numbers, .*, got 5"),
    "object in a row": ('{"dW2": [[1,2,3,4], {"a": 1}]}', r"dW2\[1\]: expected 4 numbers"),
    "scalar": ('{"dW2": 3}', r"dW2: expected shape \(2, 4\) or \(4, 2\) or .*, got 3"),
    "too deep": ('{"dW2": [[[1]]]}', "dW2: expected at most 2 levels of lists"),
    "far too deep": (f'{{"dW2": {"[" * 10**5}', "at most 2 levels of lists, got hundreds"),
    "text": ('{"db1": [1, "2", 3, 4]}', r"db1\[1\]: expected a number, got '2'; write it as"),
    "bad hex": ('{"db1": [1, "0x.p1", 3, 4]}', r"db1\[1\]: expected a number"),
    "hex and more": ('{"cost": "0x1p1 2"}', "cost: expected a number, got '0x1p1 2'"),
    "code": ('{"db1": [1, "__import__(0)", 3, 4]}', r"db1\[1\]: expected a number"),
    "null": ('{"db1": [1, null, 3, 4]}', r"db1\[1\]: expected a number, got None"),
    "bool": ('{"cost": true}', "cost: expected a number, got True"),
    "NaN": ('{"db1": [1, NaN, 3, 4]}', r"db1\[1\]: expected a finite number, got nan"),
    "Infinity": ('{"cost": -Infinity}', "cost: expected a finite number, got -inf"),
    "overflow": ('{"cost": 1e999}', "cost: expected a finite number, got inf"),
    "hex overflow": ('{"cost": "0x1p99999999999"}', "cost: expected a finite number, got inf"),
    "endless integer": (f'{{"cost": {"9" * 5000}}}', "cost: expected a finite number, got inf"),
    "commas": ("[" + "0," * 2**22 + "0]", "at most 4,194,304 commas and brackets"),
}
BAD_NPZ = {
    "empty": (b"", "expected a .npz file intact"),
    "no zip": (b"hello", "expected a .npz file intact"),
    "pickle": (pickle.dumps({"db1": [1.0] * 4}), "expected a .npz file intact"),
    "nothing": ({}, "expected at least one of cost"),
    "unknown name": ({"dw1": ROW}, "'dw1': .* did you mean 'dW1'"),
    "shape": ({"db1": ROW[:3]}, r"db1: expected shape \(4,\) or .*, got \(3,\)"),
    "three axes": ({"dW1": np.ones((1, 4, 3))}, r"dW1: expected shape .*, got \(1, 4, 3\)"),
    "square": ({"dW1": np.ones((5, 5))}, r"dW1: expected shape \(4, 3\) or \(3, 4\)"),
    "objects": ({"db1": np.array([1, None, 2, 3])}, "db1 to hold real .* pickled"),
    "text": ({"db1": np.array(["a"] * 4)}, "got dtype <U1"),
    "complex": ({"db1": ROW + 0j}, "got dtype complex128"),
    "bool": ({"db1": ROW > 0}, "got dtype bool"),
    "narrow": ({"db1": ROW.astype(np.float16)}, "as fine as float32, got float16"),
    "NaN": ({"db1": NAN}, r"db1\[2\]: expected a finite number, got nan"),
    "Inf": ({"dW1": INF}, r"dW1\[3, 1\]: expected a finite number, got -inf"),
    "beyond float64": (
        {"db1": np.array([1, 2, 3, "1e400"], np.longdouble)},
        r"db1\[3\]: expected a finite number, got inf",
    ),
    "twice": (
        members(("db1", npy(ROW)), ("dbX", npy(2 * ROW))).replace(b"dbX", b"db1"),
        "member 'db1.npy': expected one whose .*, got it twice",
    ),
    "claims less": (members(("db1", npy(np.ones(5), (4,)))), "160 bytes of db1 .* got 168"),
    "claims more": (members(("db1", npy(ROW[:3], (4,)))), "160 bytes of db1 .* got 152"),
    "negative": (members(("dW1", npy(np.ones(12), (-4, -3)))), "dW1: expected shape"),
    "4 TB": (members(("db1", npy(ROW, (2**39,)))), r"db1: expected shape .*, got \(549755813888,"),
    "bomb": (
        members(("db1", npy(np.zeros(10**7))), compression=zipfile.ZIP_DEFLATED),
        r"db1: expected at most 4,259,840 bytes, got 80,000,128",
    ),
}
BAD_BIN = {
    "empty": (b"", "expected 1,056 bytes: cost, z1, z2, a0, a1, a2, .* as float64, got 0;"),
    "short": (bytes(1055), "got 1,055; write every result and nothing else"),
    "long": (bytes(1064), "expected 1,056 bytes"),
    "NaN": (struct.pack("<132d", *[0.0] * 131, np.nan), r"db2\[1\]: expected a finite number"),
}
ALL_BAD = {
    f"{ending}, {name}": (ending, *bad)
    for ending, table in (("json", BAD_JSON), ("npz", BAD_NPZ), ("bin", BAD_BIN))
    for name, bad in table.items()
}


@pytest.mark.parametrize(("ending", "content", "message"), ALL_BAD.values(), ids=ALL_BAD)
def test_a_bad_file_is_refused_with_one_line(ending, content, message, case, tmp_path):
    path = save(tmp_path / f"mine.{ending}", content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_record(path, case)
    text = str(refusal.value)
    assert text.startswith(f"{path}: ")
    assert re.search(r": expected .*, got .*; ", text)
    assert text.isprintable()
    assert len(text) < len(str(path)) + 400


def test_a_path_that_is_no_such_file_is_refused(case, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    os.symlink("/dev/zero", tmp_path / "zero.json")
    for name, message in (
        ("none.npz", "expected a file, got nothing there; check the path"),
        ("folder.npz", "expected a file, got something else"),
        ("zero.json", "expected a file, got something else"),
        ("mine.txt", "expected a .npz, .json or .bin file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_record(tmp_path / name, case)


@pytest.mark.parametrize("name", ["mine.json", "mine.npz", "mine.bin", "golden.json"])
def test_a_huge_file_is_not_even_read(name, case, tmp_path):
    path = tmp_path / name
    with open(path, "wb") as file:
        file.truncate(2**40)  # holes, which take no room
    read = read_golden if name == "golden.json" else read_record
    arguments = (tmp_path,) if name == "golden.json" else (path, case)
    with pytest.raises(ValueError, match="expected at most 33,554,432 bytes, got 1,099,511,627,77"):
        read(*arguments)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_is_executed(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.array([Bomb()] * 4)
    save(tmp_path / "objects.npz", {"db1": array})
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "member.npz").write_bytes(members(("db1", pickle.dumps(Bomb()))))
    for name in ("objects.npz", "pickle.npz", "member.npz"):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            read_record(tmp_path / name, case)
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "executed").exists()  # as it would


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_file_cut_off_anywhere_is_refused(ending, case, tmp_path):
    path = save(tmp_path / f"mine.{ending}", {"db1": ROW, "cost": np.array(1.5)})
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"mine\.{ending}: .*expected"):
            read_record(path, case)


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_damaged_file_is_refused_or_gives_finite_arrays_in_shape(ending, case, tmp_path):
    path = save(tmp_path / f"mine.{ending}", {"db1": ROW, "cost": np.array(1.5)})
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x13]) + content[at + 1 :])
        try:
            record = read_record(path, case)
        except ValueError as refusal:
            assert f"mine.{ending}: " in str(refusal)  # noqa: PT017
            continue
        arrays = jax.tree.leaves(record)
        assert all(array.shape in ((4,), ()) and np.isfinite(array).all() for array in arrays)


# ── A folder that was tampered with ──────────────────────────────────────────────────────────────


def changed(**changes):
    return lambda document: document | changes


def within(key, **changes):
    return lambda document: document | {key: document[key] | changes}


def in_all_forms(document, rounded, **values):
    """The document with one array changed in all of its forms, consistently."""
    ((name, numbers),) = values.items()
    forms = {"values": numbers, "rounded": rounded}
    forms |= {"hex": [*map(float.hex, numbers)], "rounded_hex": [*map(float.hex, rounded)]}
    return document | {key: document[key] | {name: form} for key, form in forms.items()}


BAD_GOLDEN = {
    "a list": (lambda document: [document], "expected an object, got a list"),
    "another format": (changed(format="onnx"), "format: expected 'manual_bp.golden', got 'onnx'"),
    "no version": (
        lambda d: {k: d[k] for k in d if k != "version"},
        "version: expected 1 or 2, got",
    ),
    "version 3": (changed(version=3), "version: expected 1 or 2, got 3"),
    "version true": (changed(version=True), "version: expected 1 or 2, got True"),
    "another key": (changed(extra=1), "expected the keys format, .*extra"),
    "network": (changed(network=3), "network: expected the keys sizes, .*, got a float"),
    "sizes": (within("network", sizes=[3, 4.5, 2]), "network.sizes: expected a list of whole"),
    "size 0": (within("network", sizes=[3, 0, 2]), "network: .*sizes.1.: expected a positive"),
    "vast sizes": (
        within("network", sizes=[3, 10**9, 2]),
        "values: expected a case of at most 262,144 numbers",
    ),
    "no such σ": (within("network", activations=["tanh", "max"]), "unknown name 'max'"),
    "two costs": (within("network", cost=["quadratic"]), "network: .*cost: expected a name"),
    "dtype": (changed(dtype="float23"), "dtype: expected one of float16"),
    "seed": (changed(seed=1.5), "seed: expected a whole number or null"),
    "values": (changed(values=[1]), "values: expected every array of 2 layers, got a list"),
    "a name more": (within("values", q=1), "values: expected the arrays x, y, .*"),
    "x": (within("values", x=3), r"x: expected shape \(0, 3\), got 3"),
    "bias": (within("values", b1=[1, 2]), r"b1: expected shape \(4,\), got \(2,\)"),
    "column": (within("values", b1=[[1]] * 4), r"b1: expected shape \(4,\), got \(4, 1\)"),
    "finer input": (
        lambda d: in_all_forms(d, b1=[0.1] * 4, rounded=[float(np.float32(0.1))] * 4),
        "inputs that float32 holds exactly.*b1",
    ),
    "a value": (within("values", cost=0.5), r"hex.cost: expected 0.5, by the .*, got \d.*; write"),
    "a hex": (
        within("hex", b1=["0x1p0"] * 4),
        r"hex.b1\[0\]: expected .*, by the same number .*, got 1",
    ),
    "rounded": (within("rounded", b1=[1] * 4), r"rounded.b1\[0\]: expected .*, got 1.0; write"),
    "no hex": (within("rounded_hex", b1=3), r"rounded_hex.b1: expected shape \(4,\), got 3"),
    "another hex": (changed(hex={"x": 1}), "hex: expected the arrays x, y, .*, got the keys 'x'"),
    "dtype of another": (changed(dtype="float64"), r"rounded.cost: expected"),
    "l2": (within("network", l2=0.02), r"checksum: expected \d+, that of the network, x, .*, got"),
    "σ": (within("network", activations=["relu", "softmax"]), "checksum: expected"),
    "C": (within("network", cost="quadratic"), "checksum: expected"),
    "an input": (
        lambda d: in_all_forms(d, b1=[0.5] * 4, rounded=[0.5] * 4),
        "checksum: expected",
    ),
    "checksum": (changed(checksum="a"), "checksum: expected .* got 'a'"),
    "no list of σ": (
        within("network", activations="tanh"),
        "activations: expected a name for each",
    ),
    "many σ": (within("network", activations=["tanh"] * 10**5), "activations: expected a name for"),
    "deep": (
        within("network", sizes=[1] * 34, activations=["tanh"] * 33),
        "at most 32 layers, got 33",
    ),
    "many layers": (
        within("network", sizes=[1] * 10**5, activations=["tanh"] * (10**5 - 1), cost="quadratic"),
        "network.sizes: expected at most 32 layers, got 99,999",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_GOLDEN.values(), ids=BAD_GOLDEN)
def test_a_golden_json_that_does_not_hold_together_is_refused(change, message, case, tmp_path):
    write(tmp_path, case)
    path = tmp_path / "golden.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message) as refusal:
        read_golden(tmp_path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_a_folder_without_a_case(tmp_path):
    with pytest.raises(ValueError, match=r"golden\.json: expected a file, got nothing there"):
        read_golden(tmp_path)


def test_a_case_without_a_checksum_is_read(case, tmp_path):
    write(tmp_path, case)
    path = tmp_path / "golden.json"
    document = json.loads(path.read_text())
    del document["checksum"]
    document = in_all_forms(document, b1=[0.5] * 4, rounded=[0.5] * 4)
    path.write_text(json.dumps(document))
    assert read_golden(tmp_path).params[0].b.tolist() == [0.5] * 4


# ── Numbers that a file has twice ────────────────────────────────────────────────────────────────


def test_a_copy_of_golden_json_with_numbers_of_ones_own(case, tmp_path):
    write(tmp_path, case)
    path = tmp_path / "golden.json"
    document = json.loads(path.read_text())
    mine = tmp_path / "mine.json"
    document["values"]["db1"] = [1, 2, 3, 4]
    for left, message in (
        ((), r"hex\.db1\[0\]: expected 1\.0, by the same number .*; leave it out where you"),
        (("hex",), r"rounded\.db1\[0\]: expected 1\.0"),
        (("hex", "rounded"), r"rounded_hex\.db1\[0\]: expected 1\.0"),
    ):
        save(mine, json.dumps({k: v for k, v in document.items() if k not in left}))
        with pytest.raises(ValueError, match=message):
            read_record(mine, case)
    left = ("hex", "rounded", "rounded_hex")
    document = {key: value for key, value in document.items() if key not in left}
    assert read_record(save(mine, json.dumps(document)), case).db[0].tolist() == [1, 2, 3, 4]
    del document["values"]["db1"]
    rest = document | {"hex": {"db1": ["0x1p0"] * 4}}
    with pytest.raises(ValueError, match=r"hex: expected the arrays x, y, .* got the keys 'db1'"):
        read_record(save(mine, json.dumps(rest)), case)
    for changes, message in (
        ({"checksum": 1}, "checksum: expected .* got 1.0; compute from this case's inputs"),
        ({"dtype": ["float32"]}, "dtype: expected one of float16"),
    ):
        with pytest.raises(ValueError, match=message):
            read_record(save(mine, json.dumps(document | changes)), case)


def test_a_copy_of_golden_npz_with_numbers_of_ones_own(case, tmp_path):
    write(tmp_path, case)
    path = tmp_path / "golden.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    for changes, message in (
        ({"db1": ROW}, r"db1_float32\[0\]: expected 1\.0, .*; leave db1_float32 out"),
        ({"db1_float32": ROW}, r"db1_float32\[0\]: expected .*, got 1\.0; leave"),
        ({"db1_float32": ROW[:3]}, r"db1_float32: expected shape \(4,\), got \(3,\)"),
        ({"checksum": np.uint32(1)}, "checksum: expected .*, got array.1.*; compute from"),
        ({"checksum": ROW}, r"checksum: expected shape \(\), got \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            read_record(save(path, arrays | changes), case)
    with pytest.raises(ValueError, match="db1_float64: expected db1 beside it, got it alone; name"):
        read_record(save(path, {"db2": ROW[:2], "db1_float64": ROW}), case)
    both = {"db1": ROW / 3, "db1_float16": (ROW / 3).astype(np.float16)}
    assert_reads(save(path, both), case, {"db1": ROW / 3})
    # And where the case is judged in a wider format than it was written in.
    assert_reads(save(path, arrays), case.in_dtype("float64"), results(case))


@pytest.mark.parametrize("name", ["dW1", "dW1.NPY", "readme", "a/", "dW1.npy.bak"])
def test_a_member_that_numpy_would_not_read_is_refused(name, case, tmp_path):
    path = save(tmp_path / "mine.npz", results(case))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, npy(2 * case.record.dW[0]))
    message = (
        rf"member '{name}': expected one whose name is that of an array and \.npy, got another"
    )
    with pytest.raises(ValueError, match=message):
        read_record(path, case)
