"""manual-bp train on a CSV file, up to a prediction; early stopping, and hints."""

import re

import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.files.data import load
from manual_bp.files.split import split
from manual_bp.training.checkpoint import load_encoding
from running import call
from trained_files import assert_same


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with kinds.csv, three kinds by two inputs of far sizes, and prices.csv, numbers."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(1)
    y, noise = np.arange(90) % 3, rng.normal(size=(90, 2))
    x = [1000, 0.5] + [300, 0.1] * (noise / 4 + np.array([[1, 1], [-1, 1], [0, -1]])[y])
    kinds = np.array(["cat", "cow", "dog"])[y]
    rows = [f"{a:.3f},{b:.5f},7,{kind}" for (a, b), kind in zip(x, kinds, strict=True)]
    (folder / "kinds.csv").write_text("\n".join(["weight,size,same,kind", *rows]))
    turned = [",".join(row.split(",")[::-1]) for row in rows]
    (folder / "turned.csv").write_text("\n".join(["kind,same,size,weight", *turned]))
    rows = [f"{a:.3f},{b:.5f},{1e5 + 50 * a + 4e4 * b:.2f}" for a, b in x]
    (folder / "prices.csv").write_text("\n".join(["weight,size,price", *rows]))
    return folder


KINDS = ("--data", "kinds.csv", "--epochs", 30)


def train(folder, *flags):
    return call("train", *flags, folder=folder)


def accuracy(out):
    return float(re.search(r"accuracy ([\d.]+)%", out.splitlines()[-1])[1])


def test_three_commands_from_a_csv_file_to_a_prediction(table):
    code, out, err = train(table, *KINDS, "--save", "a.safetensors")
    assert (code, err) == (0, "")
    told = out.splitlines()
    assert told[0].endswith(
        "72 examples of kinds.csv, 18 held out (drawn by --seed 0, classes not balanced)"
    )
    assert told[1] == "inputs: weight, size and same, standardized"
    assert told[2] == "target: kind, 3 classes: cat, cow and dog"
    assert accuracy(out) == 100
    code, out, err = call("predict", "a.safetensors", "kinds.csv", folder=table)
    assert (code, err) == (0, "90 of 90 right, 100.00%\n")
    assert out.split() == ["cat", "cow", "dog"] * 30
    # Columns are found by name, in any order.
    assert call("predict", "a.safetensors", "turned.csv", folder=table) == (code, out, err)


def test_without_scaling_it_learns_less(table):
    scaled, raw = (train(table, *KINDS, *flags)[1] for flags in ((), ("--no-standardize",)))
    assert "standardized" not in raw
    assert accuracy(raw) < accuracy(scaled) == 100


def test_the_scaling_is_that_of_the_training_part(table):
    train(table, *KINDS[:3], 1, "--save", "b.safetensors")
    encoding = load_encoding(table / "b.safetensors")
    parts = split(load(table / "kinds.csv", "float64"))
    np.testing.assert_allclose(encoding.mean, parts.x.mean(axis=0))
    np.testing.assert_allclose(encoding.deviation, [*parts.x.std(axis=0)[:2], 1])  # one is constant


def test_numbers_are_learnt_in_their_units(table):
    flags = ("--data", "prices.csv", "--epochs", 60, "--learning-rate", 0.01)
    code, out, err = train(table, *flags, "--save", "c.safetensors")
    assert (code, err) == (0, "")
    assert "2-128-1 relu/identity/quadratic" in out
    assert "target: price, a number, standardized" in out
    code, out, err = call("predict", "c.safetensors", "prices.csv", folder=table)
    said = np.array([float(line) for line in out.split()])
    prices = load(table / "prices.csv", "float64").y[:, 0]
    error = float(np.sqrt(((said - prices) ** 2).mean()))
    assert error < 0.1 * prices.std()
    assert err == f"root mean squared error {error:.4g}\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--sizes", "2-16-1"),
        ("--sizes", "2-16-1", "--cost", "hinge"),
        ("--cost", "binary_cross_entropy"),
    ],
    ids=" ".join,
)
def test_two_classes_with_every_head(table, flags):
    lines = (table / "kinds.csv").read_text().splitlines()
    (table / "two.csv").write_text("\n".join(line for line in lines if "cow" not in line))
    how = ("--data", "two.csv", "--ignore", "same", "--epochs", 40, "--learning-rate", 0.02)
    code, out, _ = train(table, *how, *flags, "--save", "two.safetensors")
    assert (code, accuracy(out)) == (0, 100)
    code, out, err = call("predict", "two.safetensors", "two.csv", folder=table)
    assert out.split() == ["cat", "dog"] * 30
    assert "60 of 60 right" in err
    assert "left out, for the network has no such input: same" in err


def test_a_csv_run_goes_on_as_if_never_interrupted(table):
    flags = (*KINDS[:2], "--target", "kind", "--ignore", "same", "--test", 0.3, "--quiet")
    train(table, *flags, "--epochs", 4, "--save", "whole.safetensors")
    train(table, *flags, "--epochs", 2, "--save", "part.safetensors")
    again = ("--load", "part.safetensors", "--epochs", 4, "--save", "part.safetensors", "--quiet")
    assert train(table, *again)[0] == 0
    assert_same(table / "part.safetensors", table / "whole.safetensors")
    assert load_encoding(table / "part.safetensors") == load_encoding(table / "whole.safetensors")
    # Other rows are scaled as those were, and have to be of the same classes.
    other = (table / "kinds.csv").read_text().replace("cow", "emu")
    (table / "other.csv").write_text(other)
    code, _, err = train(table, *again[:3], 9, "--data", "other.csv")
    assert (code, "got 'emu'" in err) == (2, True)


def test_no_part_held_out(table):
    code, out, err = train(table, *KINDS, "--test", 0, "--picture", "all.png")
    assert (code, err) == (0, "")
    assert "90 examples of kinds.csv, 0 held out\n" in out
    assert re.match(r"after 30 epochs: cost \S+, accuracy 100.00%; ", out.splitlines()[-1])


# ── Early stopping and hints ─────────────────────────────────────────────────────────────────────


def test_patience_keeps_the_best_epoch(table):
    rng = np.random.default_rng(0)  # noise, which is learnt by heart
    np.savez(table / "noise.npz", x=rng.normal(size=(60, 5)), y=rng.integers(0, 2, 60))
    flags = ("--data", "noise.npz", "--batch", 8, "--learning-rate", 0.02, "--epochs", 50)
    train(table, *flags, "--save", "all.safetensors")
    costs = mbp.load(table / "all.safetensors")[2].validation_cost
    waits = np.array([i - int(costs[: i + 1].argmin()) for i in range(50)])
    stop, best = int((waits == 4).argmax()) + 1, int((waits == 4).argmax()) - 3
    assert 4 < stop < 50
    code, out, err = train(table, *flags, "--patience", 4, "--save", "best.safetensors")
    assert (code, err) == (0, "")
    last = out.splitlines()[-1]
    assert last.startswith(f"held out after {best} epochs: cost {costs[best - 1]:.4g}, ")
    assert f"; stopped after {stop}, for the held-out cost did not fall for 4; saved to" in last
    train(table, *flags[:-1], best, "--save", "short.safetensors")
    assert_same(table / "best.safetensors", table / "short.safetensors")
    # Going on starts at the best epoch, with the same patience, and finds no better one.
    code, out, _ = train(table, "--load", "best.safetensors", "--save", "on.safetensors")
    assert (code, f"held out after {best} epochs" in out) == (0, True)
    assert_same(table / "on.safetensors", table / "best.safetensors")


def test_a_cost_that_does_not_fall_has_a_hint(table):
    slow = (*KINDS, "--learning-rate", "1e-7")
    code, _, err = train(table, *slow)
    assert code == 0
    assert re.match("hint: the cost fell by less than 1 % in 30 epochs: .*; try 1e-06\n$", err)
    assert train(table, *slow, "--quiet")[2] == ""
    fast = ("--optimizer", "sgd", "--learning-rate", "1e30", "--no-standardize")
    code, _, err = train(table, *KINDS, *fast)
    assert code == 1
    assert "may be too large; try 1e+29, or scale the inputs with --standardize\n" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "none.csv"], "none.csv: expected a CSV file, got no such file"),
        (["--data", "none"], '--data: expected "digits", a .csv or .npz file'),
        (["--target", "kinds"], "--target: expected a column of kinds.csv, got 'kinds'; did you"),
        (["--ignore", "sizes"], "--ignore: expected a column of kinds.csv, got 'sizes'; did you"),
        (["--target", "size"], "column 'kind', row 2 and in 89 more. Leave the column out (--ign"),
        (["--task", "regression"], "got 'cat' in row 2"),
        (["--task", "classes"], 'Invalid value "classes" for --task'),
        (["--test", "1.5"], "--test: expected 0 < fraction < 1, got 1.5"),
        (["--test", "0", "--patience", "3"], "--patience: it needs held-out examples"),
        (["--patience", "0"], "expected a whole number from 1"),
        (["--sizes", "3-9-2"], "--sizes: kinds.csv has 3 inputs and 3 outputs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_csv_usage_is_one_error_and_2(table, flags, message):
    data = () if "--data" in flags else KINDS[:2]
    code, out, err = train(table, *data, *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err


def test_a_file_keeps_its_scaling(table):
    train(table, *KINDS[:2], "--epochs", 1, "--save", "d.safetensors", "--quiet")
    again = ("--load", "d.safetensors", "--epochs", 2, "--save", "d.safetensors")
    code, _, err = train(table, *again, "--no-standardize")
    assert code == 2
    assert "--no-standardize: the inputs of the file of --load were standardized; leave" in err
    before = load_encoding(table / "d.safetensors")
    assert train(table, *again, "--standardize", "--test", 0.5)[0] == 0
    assert load_encoding(table / "d.safetensors") == before  # though the training part is another
