"""The robustness benchmark: its ways are right, what it counts, and runs of it."""

import json

import jax
import numpy as np
import pytest

import manual_bp as mbp
import robustness
from helpers import random_case
from manual_bp.activations import activation
from manual_bp.cli.main import run_app
from running import ROOT
from table import Figure, figure, read, select
from ways import ORDERS, ROUTES, Formats, dot, record_by

# ── Its ways are right ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_adds_up_the_same_terms(order):
    random = np.random.default_rng(0)
    A, B, plus = random.normal(size=(3, 7)), random.normal(size=(7, 2)), random.normal(size=2)
    assert dot(A, B, order, plus) == pytest.approx(A @ B + plus, rel=1e-13)
    short = dot(A.astype(np.float32), B.astype(np.float32), order, sums="float16")
    assert short.dtype == np.float32
    assert (short == short.astype(np.float16)).all()


@pytest.mark.parametrize("name", ROUTES)
def test_every_formula_is_of_the_same_function(name):
    sigma, z = activation(name), np.linspace(-15, 15, 3000)
    with jax.enable_x64(True):
        a = np.asarray(sigma(z))
        prime = np.asarray(sigma.prime(z, a))
    of_z, of_z_and_a = ROUTES[name]
    for formula in of_z:
        assert formula(z, np.float64) == pytest.approx(a, rel=1e-9, abs=1e-13)
    for formula in of_z_and_a:
        assert formula(z, a, np.float64) == pytest.approx(prime, rel=4e-8, abs=1e-12)


@pytest.mark.parametrize(
    ("output", "cost"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("softmax", "quadratic")],
)
def test_every_way_gives_the_same_record(output, cost):
    net = mbp.Network((3, 5, 2), ("tanh", output), cost, 0.1)
    case = jax.tree.map(np.asarray, random_case(net, 7, 0, "float32"))
    wide = jax.tree.map(lambda array: array.astype(np.float64), case)
    right = jax.device_get(mbp.backprop(net, *wide))
    for route, order in enumerate(ORDERS):
        found = record_by(net, wide, "float64", order, route)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True):
            assert one == pytest.approx(np.asarray(other), rel=1e-9, abs=1e-12)
    mixed = record_by(net, case, Formats("bfloat16", "bfloat16", *["float32"] * 3), "forward")
    kept = {name: {array.dtype.name for array in getattr(mixed, name)} for name in ("z", "dW")}
    assert kept == {"z": {"bfloat16"}, "dW": {"float32"}}


# ── What it counts ───────────────────────────────────────────────────────────────────────────────


def test_what_is_handed_over():
    record = mbp.Backprop(*"czadWb")
    assert robustness.seen(record, "all") == record
    assert robustness.seen(record, "no δ") == record._replace(delta=None)
    assert robustness.seen(record, "gradients alone") == mbp.Backprop(dW="W", db="b")


def test_the_cells_of_the_table():
    row = Figure("right", "edges", peer="z at 0", what="accepted", median=3)
    rows = [row, row._replace(what="rejected", median=1), row._replace(peer="y is a")]
    rows += [row._replace(peer=robustness.WORST, what=robustness.WORST, median=0.25)]
    cells = robustness.accepted(rows)
    assert cells["edges: z at 0", "accepted"] == "3/4"
    assert cells["edges, all", "accepted"] == "6/7"
    assert cells["edges, all", robustness.WORST] == "0.25"


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def few(monkeypatch):
    """One section, one small network: what a run costs is compiling."""
    monkeypatch.setattr(robustness, "SIZES", ((3, 2),))
    sections = {robustness.FORMULAS: robustness.by_other_formulas}
    monkeypatch.setattr(robustness, "SECTIONS", sections)
    flags = ["--groups", "1", "--draws", "6"]
    return lambda *more: run_app(robustness.app, [*flags, *map(str, more)])


def test_a_small_run(few, capsys, tmp_path):
    file, page = tmp_path / "out.json", tmp_path / "out.md"
    assert few("--json", file, "--markdown", page) == 0
    out = capsys.readouterr().out
    assert "seed 0: of 6 right computations 0 rejected" in out
    assert "NOT AS IT MUST BE" not in out
    json.loads(file.read_text("utf-8"), parse_constant=pytest.fail)
    about, rows = read(file, robustness.FORMAT)
    assert (about["seed"], about["groups"], about["failures"]) == (0, 1, [])
    assert figure(rows, peer="float32", what="accepted").median == 6
    assert 0 < figure(rows, peer=robustness.WORST).median <= 1
    other = tmp_path / "x.md"
    assert run_app(robustness.app, ["--from", str(file), "--markdown", str(other)]) == 0
    assert other.read_bytes() == page.read_bytes()


def test_a_rejection_ends_with_1(few, capsys, monkeypatch):
    by_hand = robustness.record_by

    def wrong(*way):
        record = by_hand(*way)
        return record._replace(db=tuple(2 * db for db in record.db))

    monkeypatch.setattr(robustness, "record_by", wrong)
    assert few() == 1
    out = capsys.readouterr().out
    assert "NOT AS IT MUST BE: 3-2 " in out
    assert "0/6" in out


@pytest.mark.sweep
def test_quick(tmp_path):
    file = tmp_path / "out.json"
    assert run_app(robustness.app, ["--quick", "--json", str(file)]) == 0
    about, rows = read(file, robustness.FORMAT)
    assert about["failures"] == []
    assert not select(rows, what="rejected")
    sections = {robustness.FORMULAS, robustness.MIXED, robustness.EDGES}
    assert {row.network for row in rows} >= sections


def test_committed_page_is_of_the_committed_counts(tmp_path):
    """docs/results/robustness.md is what the script makes of the JSON, to the letter."""
    results, page = ROOT / "docs" / "results", tmp_path / "page.md"
    run_app(robustness.app, ["--from", str(results / "robustness.json"), "--markdown", str(page)])
    assert page.read_bytes() == (results / "robustness.md").read_bytes()


def test_bad_usage(capsys):
    assert run_app(robustness.app, ["--group", "3"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean --groups?" in error
    assert len(error.splitlines()) == 1
