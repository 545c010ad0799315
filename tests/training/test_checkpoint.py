import io
import json
import os
import pathlib
import pickle
import random
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from safetensors import safe_open
from safetensors.numpy import save as serialized

import manual_bp as mbp
from manual_bp.files.encoding import Encoding
from manual_bp.training import checkpoint
from manual_bp.training.checkpoint import load, load_encoding, load_settings, save
from manual_bp.training.history import CURVES, named
from manual_bp.training.plan import taken_up
from training_case import KEY, NET, OPTIMIZERS, case, run, same

OLD = pathlib.Path(__file__).with_name("trained_0_1_0.npz")
NOT_OURS = "expected a whole file of manual_bp.save, got another or a damaged one"


@pytest.fixture(scope="module")
def trained():
    params, x, y = case()
    adam = OPTIMIZERS["adam"]
    return run(params, x, y, epochs=3, optimizer=adam, learning_rate=None)


# ── Saved and loaded ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("optimizer", [None, OPTIMIZERS["adam"]], ids=["update", "adam"])
def test_saved_is_loaded(tmp_path, dtype, optimizer):
    params, x, y = case(jnp.dtype(dtype))
    how = {"optimizer": optimizer, "learning_rate": None if optimizer else 0.3}
    got, history = run(params, x, y, **how, validation=(x, y))
    save(tmp_path / "a", NET, got, history, settings={"seed": "0", "δ": "½"})
    net, again, read = load(tmp_path / "a")
    assert net == NET
    assert same(again, got)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(again)} == {dtype}
    assert same(read.optimizer_state.arrays, named(history.optimizer_state))
    assert all((getattr(read, name) == getattr(history, name)).all() for name in CURVES)
    assert {getattr(read, name).dtype for name in CURVES} == {np.dtype(np.float64)}
    assert (read.epoch, read.stopped) == (3, "")
    assert load_settings(tmp_path / "a") == {"seed": "0", "δ": "½"}
    assert os.listdir(tmp_path) == ["a"]
    # On from there as if never interrupted, and once more through a file.
    expected, _ = run(got, x, y, **how, start_epoch=3, optimizer_state=history.optimizer_state)
    on, _ = run(again, x, y, **how, start_epoch=3, optimizer_state=read.optimizer_state)
    assert same(on, expected)
    save(tmp_path / "b", net, again, read, settings={"seed": "0", "δ": "½"})
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_float64(tmp_path, x64):
    params, *_ = case(jnp.float64)
    save(tmp_path / "a", NET, params)
    assert same(load(tmp_path / "a")[1], params)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"a: .*64-bit types"):
        load(tmp_path / "a")


def test_without_history_and_settings(tmp_path):
    params, *_ = case()
    save(tmp_path / "a", NET, params)
    assert load(tmp_path / "a")[2] is None
    assert load_settings(tmp_path / "a") == {}
    # NumPy's arrays, in whatever order and byte order, are the same numbers.
    odd = [(np.asfortranarray(W).astype(">f4"), np.asarray(b)[::-1][::-1]) for W, b in params]
    save(tmp_path / "b", NET, odd)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_history_without_some_curves(tmp_path):
    params, x, y = case()
    _, history = run(params, x, y, epochs=1)
    save(tmp_path / "a", NET, params, history._replace(accuracy=None, stopped="here"))
    read = load(tmp_path / "a")[2]
    assert read.accuracy is read.validation_cost is read.validation_accuracy is None
    assert read.stopped == "here"


def test_another_program_reads_it(tmp_path):
    params, x, y = case()
    adam = OPTIMIZERS["adam"]
    got, history = run(params, x, y, epochs=1, optimizer=adam, learning_rate=None)
    save(tmp_path / "a", NET, got, history)
    with safe_open(tmp_path / "a", framework="np") as file:
        assert {"W1", "b1", "W2", "b2", "cost", "state[0].count", "state[0].mu[1].W"} < {
            *file.keys()
        }
        np.testing.assert_array_equal(file.get_tensor("W2"), got[1].W)
        about = json.loads(file.metadata()["manual_bp"])
    assert about["network"] == {
        "sizes": [3, 5, 4],
        "activations": ["tanh", "softmax"],
        "cost": "cross_entropy",
        "l2": 0.01,
        "l2_biases": False,
    }
    assert about["biases"] == [True, True]


def test_a_key_in_an_optimisers_state(tmp_path, trained):
    noisy = optax.add_noise(0.1, 0.5, 3)
    params, history = trained
    save(tmp_path / "a", NET, params, history._replace(optimizer_state=noisy.init(params)))
    state = taken_up(noisy, params, load(tmp_path / "a")[2].optimizer_state)
    assert state.rng_key.dtype == jax.random.key(0).dtype
    assert jax.random.bits(state.rng_key) == jax.random.bits(jax.random.key(3))


ENCODING = Encoding(("a", "b", "c"), "y", ("k", "l", "m", "½"), (0.1, 1 / 3, -2.0), (1.0, 2.5, 3.0))


def test_an_encoding_goes_along(tmp_path):
    params, *_ = case()
    save(tmp_path / "a", NET, params, encoding=ENCODING)
    assert load_encoding(tmp_path / "a") == ENCODING
    assert same(load(tmp_path / "a")[1], params)
    # Without one, nothing is written of it: such files are those of before.
    save(tmp_path / "b", NET, params, encoding=Encoding())
    save(tmp_path / "c", NET, params)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    assert load_encoding(tmp_path / "c") == load_encoding(OLD) == Encoding()


@pytest.mark.parametrize(
    "wrong", [{"columns": ("a",)}, {"deviation": (0.0, 1.0, 1.0)}, {"mean": (np.nan, 0.0, 0.0)}]
)
def test_an_encoding_of_another_network_is_refused(tmp_path, wrong):
    save(tmp_path / "a", NET, case()[0], encoding=ENCODING._replace(**wrong))
    with pytest.raises(ValueError, match=f"a: {NOT_OURS}"):
        load_encoding(tmp_path / "a")


def test_what_is_no_encoding_is_refused(tmp_path):
    with pytest.raises(
        TypeError, match=r"encoding: expected that of manual_bp\.files\.data, got {}"
    ):
        save(tmp_path / "a", NET, case()[0], encoding={})
    with pytest.raises(TypeError, match="path: expected the path of a file, got None"):
        load_encoding(None)


def test_settings_that_are_no_words_are_refused(tmp_path):
    with pytest.raises(TypeError, match="settings: expected words"):
        save(tmp_path / "a", NET, case()[0], settings={"seed": 1})
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    params, *_ = case()
    save(tmp_path / "a", NET, params)
    content = (tmp_path / "a").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "a", NET, jax.tree.map(lambda array: 2 * array, params))
    assert (tmp_path / "a").read_bytes() == content
    assert os.listdir(tmp_path) == ["a"]


# ── Functions of one's own ───────────────────────────────────────────────────────────────────────

CUBE = mbp.Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
NAMESAKE = mbp.Activation("tanh", lambda z: z**3, lambda z: 3 * z**2)
QUARTIC = mbp.Cost(
    "quartic", lambda a, y: ((a - y) ** 4).sum(axis=-1), lambda a, y: 4 * (a - y) ** 3
)


@pytest.mark.parametrize(
    ("sigma", "cost", "names"),
    [
        (CUBE, "quadratic", "cube"),
        (NAMESAKE, "quadratic", "tanh"),
        ("tanh", QUARTIC, "quartic"),
        (CUBE, QUARTIC, "cube, quartic"),
    ],
)
def test_functions_of_ones_own_need_the_network(tmp_path, sigma, cost, names):
    net = mbp.Network((3, 5, 4), (sigma, "identity"), cost)
    params, *_ = case(net=net)
    save(tmp_path / "a", net, params)
    with pytest.raises(ValueError, match=f"a: expected net=, for {names} of its network is not"):
        load(tmp_path / "a")
    assert load(tmp_path / "a", net)[0] is net
    assert same(load(tmp_path / "a", net)[1], params)
    other = mbp.Network((3, 5, 4), ("tanh", "identity"), "quadratic")
    with pytest.raises(ValueError, match=r"expected Network\(\(3, 5, 4\), \('tanh',.*got Network"):
        load(tmp_path / "a", other)


# ── Files that do not fit ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def saved(tmp_path, trained):
    path = tmp_path / "a"
    save(path, NET, *trained, settings={"seed": "0"})
    return path


LEFT_OUT = object()


def rewrite(path, **changes):
    """The file with arrays replaced, or left out where None; about's entries by name."""
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        about = json.loads(file.metadata()["manual_bp"])
    about |= {name: value for name, value in changes.items() if name in about}
    about = {name: value for name, value in about.items() if value is not LEFT_OUT}
    arrays |= {name: value for name, value in changes.items() if name not in about}
    arrays = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    del about["crc32"]
    about["crc32"] = checkpoint.checksum(about, arrays)
    path.write_bytes(serialized(arrays, {"manual_bp": json.dumps(about)}))


def described(**changes):
    network = {"sizes": [3, 5, 4], "activations": ["tanh", "softmax"], "cost": "cross_entropy"}
    return {"network": network | {"l2": 0.01} | changes}


MISFITS = {
    "no W1": ({"W1": None}, NOT_OURS),
    "no b2": ({"b2": None}, NOT_OURS),
    "transposed": ({"W1": np.zeros((3, 5), np.float32)}, r"W1: expected float32 of shape \(5, 3\)"),
    "wider": ({"W1": np.zeros((5, 3))}, "W1: expected float32"),
    "nan": ({"W1": np.full((5, 3), np.nan, np.float32)}, "expected finite parameters"),
    "no cost": ({"cost": None}, "curves of one length"),
    "no seconds": ({"seconds": None}, "curves of one length"),
    "shorter": ({"cost": np.zeros(2)}, "curves of one length"),
    "square": ({"cost": np.zeros((3, 1))}, "cost: expected float64"),
    "float32 curve": ({"cost": np.zeros(3, np.float32)}, "cost: expected float64"),
    "no history": ({"history": 3}, NOT_OURS),
    **{
        f"{name} left out": ({name: LEFT_OUT}, NOT_OURS)
        for name in ("network", "dtype", "settings", "history")
    },
    "epoch -1": ({"history": {"epoch": -1, "stopped": ""}}, NOT_OURS),
    "epoch '3'": ({"history": {"epoch": "3", "stopped": ""}}, NOT_OURS),
    "epoch true": ({"history": {"epoch": True, "stopped": ""}}, NOT_OURS),
    "stopped": ({"history": {"epoch": 3, "stopped": None}}, NOT_OURS),
    "settings": ({"settings": {"seed": 1}}, NOT_OURS),
    "no settings": ({"settings": None}, NOT_OURS),
    "float99": ({"dtype": "float99"}, NOT_OURS),
    "int32": ({"dtype": "int32"}, NOT_OURS),
    "float64": ({"dtype": "float64"}, "64-bit types"),
    "no network": ({"network": "tanh"}, NOT_OURS),
    "no sizes": (described(sizes=None), NOT_OURS),
    "true": (described(sizes=[3, True, 4]), NOT_OURS),
    "no σ": (described(activations=["tnah", "softmax"]), NOT_OURS),
    "half a σ": (described(activations=[{}, "softmax"]), NOT_OURS),
    "σ of a list": (described(activations=[["own"], "softmax"]), NOT_OURS),
    "one σ": (described(activations=["softmax"]), NOT_OURS),
    "no list": (described(activations=3), NOT_OURS),
    "no C": (described(cost=[]), NOT_OURS),
    "no l2": (described(l2="0"), NOT_OURS),
    "vast l2": (described(l2=10**400), NOT_OURS),
    "other sizes": (described(sizes=[3, 6, 4]), r"W1: expected float32 of shape \(6, 3\)"),
}


@pytest.mark.parametrize(("changes", "message"), MISFITS.values(), ids=MISFITS)
def test_a_file_that_does_not_fit_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load(saved)
    assert str(error.value).startswith(str(saved))


def test_a_file_of_another_network_is_refused(saved):
    with pytest.raises(ValueError, match=r"expected Network\(\(3, 4\).*got Network\(\(3, 5, 4\)"):
        load(saved, mbp.Network((3, 4), ("softmax",), "cross_entropy"))
    with pytest.raises(ValueError, match=r"a: net: expected Network\(\(3, 5, 4\).*got Network"):
        load(saved, mbp.Network((3, 5, 4), ("tanh", "softmax"), "cross_entropy"))  # without l2


def test_the_state_of_another_optimiser_is_refused(saved):
    _, params, history = load(saved)
    _, x, y = case()
    with pytest.raises(ValueError, match="state of this optimiser, 0 arrays, got 9"):
        run(params, x, y, optimizer_state=history.optimizer_state)


def mutants(content, n, seed=0):
    """Truncated, lengthened, and with one bit changed: n of each."""
    choose = random.Random(seed)
    for _ in range(n):
        yield content[: choose.randrange(len(content))]
        yield content + choose.randbytes(choose.randrange(1, 30))
        at = choose.randrange(len(content))
        yield content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :]


@pytest.mark.parametrize("n", [60, pytest.param(10**4, marks=pytest.mark.sweep)])
def test_a_damaged_file_is_refused_or_read_the_same(saved, trained, n):
    content = saved.read_bytes()
    changed, refused = bytearray(content), 0
    changed[-1] ^= 1  # within an array: the checksum tells
    later = content.replace(b'\\"epoch\\": 3', b'\\"epoch\\": 7')  # and here as well
    for damaged in (b"", b"no file", content[:-30], changed, later, *mutants(content, n)):
        saved.write_bytes(damaged)
        try:
            net, params, history = load(saved)
        except ValueError as error:
            assert str(error) == f"{saved}: {NOT_OURS}"  # noqa: PT017
            refused += 1
        else:  # a change of the spaces that fill up the header
            assert net == NET
            assert same(params, trained[0])
            assert (history.cost == trained[1].cost).all()
            assert (history.epoch, history.stopped) == (3, "")
            assert load_settings(saved) == {"seed": "0"}
    assert refused >= 5 + 2 * n + n // 2


def test_other_files_are_refused(saved, tmp_path, monkeypatch):
    foreign = {
        "safetensors": serialized({"W1": np.zeros(3)}, {"format": "np"}),
        "bare": serialized({"W1": np.zeros(3)}),
        "pickle": pickle.dumps(print),
        "nested": b"\xff" * 8 + b"[" * 10**5,
        "zip": zipped({}),
    }
    for name, content in foreign.items():
        path = tmp_path / name
        path.write_bytes(content)
        for read in (load, load_settings):
            with pytest.raises(ValueError, match=NOT_OURS) as error:
                read(path)
            assert str(error.value).startswith(str(path))
    for path in (tmp_path, tmp_path / "none", os.devnull):
        with pytest.raises(ValueError, match="no such file") as error:
            load(path)
        assert str(error.value).startswith(str(path))
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="a: expected at most 10 bytes, got"):
        load(saved)


# ── Files of 0.1.0 ───────────────────────────────────────────────────────────────────────────────


def zipped(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def packed(content, comment):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.comment = comment
    return file.getvalue()


@pytest.fixture(scope="module")
def old():
    with np.load(OLD) as archive:
        return dict(archive)


def test_a_file_of_0_1_0_goes_on_as_it_would_have(tmp_path):
    x = np.sin(np.arange(23 * 3, dtype=np.float32)).reshape(23, 3)
    y = np.eye(4, dtype=np.float32)[np.arange(23) % 4]
    net, params, history = load(OLD)
    assert net == NET
    assert (history.epoch, history.stopped, len(history.cost)) == (2, "", 2)
    settings = load_settings(OLD)
    assert settings["optimizer"] == "adam"
    adam = optax.adam(0.01)
    state = history.optimizer_state
    how = {"batch_size": 7, "key": KEY, "optimizer": adam, "validation": (x, y), "epochs": 3}
    got, later = mbp.fit(net, params, x, y, **how, start_epoch=2, optimizer_state=state)
    # What 0.1.0 itself came to. Some 12 steps of 0.01 at most, which another order of rounding
    # changes in their last digits: 1e-5 is far less than Adam without its state would differ by.
    expected = np.frombuffer(bytes.fromhex(settings["after_5_epochs"]), "<f4")
    costs = np.frombuffer(bytes.fromhex(settings["costs"]), "<f8")
    off = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(got)]) - expected
    assert np.abs(off).max() <= 1e-5
    assert np.abs(later.cost - costs).max() <= 1e-5
    fresh, _ = mbp.fit(net, params, x, y, **how, start_epoch=2)
    lost = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(fresh)]) - expected
    assert np.abs(lost).max() > 1e-3
    # It may be kept in a file of today, and go on from there.
    save(tmp_path / "a", net, params, history)
    _, params, history = load(tmp_path / "a")
    state = history.optimizer_state
    assert same(mbp.fit(net, params, x, y, **how, start_epoch=2, optimizer_state=state)[0], got)


def test_the_state_of_0_1_0_is_of_one_optimiser(old):
    _, params, history = load(OLD)
    assert [*history.optimizer_state.arrays] == list("012345678")
    _, x, y = case()
    with pytest.raises(ValueError, match="state of this optimiser, 4 arrays, got 9"):
        run(
            params,
            x,
            y,
            learning_rate=None,
            optimizer=OPTIMIZERS["momentum"],
            optimizer_state=history.optimizer_state,
        )


def test_bfloat16_and_functions_of_ones_own_in_0_1_0(tmp_path, old):
    network = repr(mbp.Network((3, 5, 4), (CUBE, "softmax"), "cross_entropy"))
    about = json.loads(str(old["about"])) | {"dtype": "bfloat16", "network": network}
    narrow = {
        name: array.astype(ml_dtypes.bfloat16).view(np.uint16)
        for name, array in old.items()
        if name[0] in "Wb"
    }
    path = tmp_path / "a.npz"
    path.write_bytes(zipped(old | narrow | {"about": np.array(json.dumps(about))}))
    with pytest.raises(ValueError, match="expected net=, for cube"):
        load(path)
    net = mbp.Network((3, 5, 4), (CUBE, "softmax"), "cross_entropy")
    _, params, _ = load(path, net)
    assert same(params[1].W, jnp.asarray(old["W2"].astype(ml_dtypes.bfloat16)))


OLD_MISFITS = {
    "no W1": ({"W1": None}, NOT_OURS),
    "transposed": ({"W1": np.zeros((3, 5), np.float32)}, r"W1: expected float32 of shape \(5, 3\)"),
    "pickle": ({"W1": np.array([[print]], dtype=object)}, NOT_OURS),
    "no about": ({"about": None}, NOT_OURS),
    "about": ({"about": np.zeros(3)}, NOT_OURS),
    "code": ({"network": "print('run')"}, NOT_OURS),
    "calls": ({"network": "Network((3, 5, print('run')), (), 'quadratic')"}, NOT_OURS),
    "no call": ({"network": "3"}, NOT_OURS),
    "nested": ({"network": "(" * 10**4}, NOT_OURS),
    "epoch": ({"epoch": "3"}, NOT_OURS),
}


@pytest.mark.parametrize(("changes", "message"), OLD_MISFITS.values(), ids=OLD_MISFITS)
def test_a_file_of_0_1_0_that_does_not_fit_is_refused(tmp_path, old, capsys, changes, message):
    about = json.loads(str(old["about"]))
    about |= {name: value for name, value in changes.items() if name in about}
    arrays = old | {"about": np.array(json.dumps(about))}
    arrays |= {name: value for name, value in changes.items() if name not in about}
    path = tmp_path / "a.npz"
    path.write_bytes(zipped({k: array for k, array in arrays.items() if array is not None}))
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert capsys.readouterr().out == ""


def test_neither_packed_nor_damaged_arrays_of_0_1_0_are_read(tmp_path):
    path, content = tmp_path / "a.npz", OLD.read_bytes()
    changed = bytearray(content)
    changed[content.index(b"W1.npy") + 140] ^= 1  # within the array: the checksum tells
    small = packed(content, bytes(2**15))  # the file is larger than its arrays unpacked
    for damaged in (small, packed(content, b""), content[:-30], content[:2000], changed):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=NOT_OURS):
            load(path)
