"""The kill matrix: what it counts as found, as named, as the same; and runs of it."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import kill_matrix
import manual_bp as mbp
import proof
from manual_bp.cli.main import run_app
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.planting import backprop_with
from manual_bp.record import Place
from table import Figure, figure, read, select

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COST = Place("cost", "cost", 2)
DW_1, DW_2 = Place("BP4", "dW", 1), Place("BP4", "dW", 2)
BP1 = Place("BP1", "delta", 2)
DB_1, DB_2 = Place("BP3", "db", 1), Place("BP3", "db", 2)


@pytest.fixture(scope="module")
def case():
    net = mbp.Network((3, 5, 2), ("tanh", "softmax"), "cross_entropy", 0.1)
    return net, *kill_matrix.numbers(net, 7, "float32", np.random.default_rng(0), 1.0)


# ── Its parts ────────────────────────────────────────────────────────────────────────────────────


def test_same_numbers(case):
    same_numbers = kill_matrix.same_numbers
    right = backprop_with(*case, {})
    assert same_numbers(right, right, DW_1, "float32")
    top = float(abs(right.dW[0]).max())

    def moved(by):
        return right._replace(dW=(right.dW[0].at[0, 0].add(by), right.dW[1]))

    assert same_numbers(right, moved(8 * 2.0**-24 * top), DW_1, "float32")
    assert not same_numbers(right, moved(32 * 2.0**-24 * top), DW_1, "float32")
    assert same_numbers(right, moved(32 * 2.0**-24 * top), DW_1, "bfloat16")
    assert same_numbers(right, moved(1), DW_2, "float32")  # another array
    assert not same_numbers(right, right._replace(cost=2 * right.cost), COST, "float32")


def test_judge(case):
    judge = kill_matrix.judge
    wrong = backprop_with(*case, {DB_1: CATALOGUE["bias_averaged"]})
    agreement = mbp.compare(*case, subject=wrong)
    assert judge(agreement, [DB_1]) == "found"
    assert judge(agreement, [DB_2]) == "misplaced"
    assert judge(agreement, [DB_1, DW_1]) == "agrees"  # one of two is missed
    assert judge(mbp.compare(*case), [Place("forward", "z", 1)]) == "agrees"
    untested = mbp.compare(*case, subject=mbp.Backprop())
    assert judge(untested, [Place("forward", "a", 1)]) == "untested"


def test_named(case):
    named = kill_matrix.named
    it, other = CATALOGUE["bias_averaged"], CATALOGUE["bias_missing"]
    found = mbp.check(*case, backprop_with(*case, {DB_1: it})).findings
    assert named(found, {DB_1: it}) == "named"
    assert named(found, {DB_1: other}) == "misnamed"
    assert named(found, {DB_2: it}) == "misnamed"
    assert named(found, {DB_1: it, DB_2: it}) == "misplaced"

    def called(*ways):
        edits, alternatives = (ways[0], ways[1:]) if ways else ((), ())
        return [replace(found[0], edits=edits, alternatives=alternatives)]

    assert named(called(("bias_missing",), ("bias_averaged",)), {DB_1: it}) == "named"
    assert named(called(), {DB_1: it}) == "unnamed"
    both = ("bias_averaged", "bias_wrong_axis")
    pair = (CATALOGUE["bias_wrong_axis"], it)
    assert named(called(both), {DB_1: pair}) == "named"
    assert named(called(both[:1]), {DB_1: pair}) == "misnamed"
    assert named(called(("bias_averaged",)), {DB_1: CATALOGUE["factor"]}) == "named"
    told = [replace(found[0], equation="convention", layer=0, edits=("convention",))]
    assert named(told, {DB_1: other}) == "misnamed"
    assert named(told, {DW_1: CATALOGUE["gradient_transposed"]}) == "named"
    assert named(told, {BP1: CATALOGUE["ascent_sign"]}) == "named"


def test_right_code_is_accepted_in_every_form():
    with jax.enable_x64(True):
        rows = list(kill_matrix.hand_over(0, 3, 10))
    assert {row.what for row in rows} == {"accepted"}, [row.note for row in rows]
    assert {row.network for row in rows} <= {f"right code as {f}" for f in kill_matrix.FORMS}
    net, params, x, y = kill_matrix.small_case(0, 1, "float32")
    record = mbp.backprop(net, params, x, y)
    wrong = record._replace(dW=(2 * record.dW[0], *record.dW[1:]))
    for form in set(kill_matrix.FORMS) - {"an update"}:
        subject = kill_matrix.formed(form, params, wrong, mbp.Convention(), 1.0)
        assert mbp.check(net, params, x, y, subject).findings


def test_the_cells_of_the_table():
    row = Figure("mistake", "it", peer="float32", what="found", median=3)
    rows = [row, row._replace(what="undecided", median=1)]
    rows += [row._replace(peer="chex", what="missed", median=2)]
    rows += [row._replace(section="right", network="right code", peer="chex", what="accepted")]
    cells = kill_matrix.matrix(rows)
    assert cells["it", "float32"] == cells["all mistakes", "float32"] == "3/4?1"
    assert cells["it", "chex"] == "0/2"
    assert ("it", "float64") not in cells
    assert cells["right code", "chex"] == "3/3"


def test_counts_of_the_same_outcome_are_one_row():
    row = Figure("right", "right networks", peer="float32", what="accepted")
    worst = row._replace(peer=kill_matrix.WORST, what=kill_matrix.WORST)
    trials = [row, row._replace(note="never mind"), worst._replace(median=0.5), worst]
    assert proof.summed(trials) == [row._replace(median=2), worst._replace(median=0.5)]


def test_one_pair_in_twenty_may_be_missed():
    pair = Figure("right", kill_matrix.PAIRS, peer="float32", what="found")
    missed = pair._replace(what="undecided")
    assert kill_matrix.failures([pair] * 19 + [missed]) == []
    assert kill_matrix.failures([pair] * 18 + [missed]) == ["two mistakes at once: 18 of 19 found"]


# ── Whole runs ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def few(monkeypatch):
    """Two mistakes, one network, no right one: what a run costs is compiling."""
    mistakes = {name: CATALOGUE[name] for name in ("ascent_sign", "bias_missing")}
    monkeypatch.setattr(kill_matrix, "CATALOGUE", mistakes)
    monkeypatch.setattr(kill_matrix, "CONVENTIONS", [mbp.Convention(reduction="sum")] * 16)
    flags = ["--networks", "1", "--right", "0", "--wrong", "8", "--dtypes", "float32"]
    return lambda *more: run_app(kill_matrix.app, [*flags, *map(str, more)])


def test_a_small_run(few, capsys, tmp_path):
    file, page = tmp_path / "out.json", tmp_path / "out.md"
    assert few("--json", file, "--markdown", page) == 0
    out = capsys.readouterr().out
    assert "seed 0: mistakes in 1 networks" in out
    words = [line.replace("|", " ").split() for line in out.splitlines()]
    lines = {line[0]: line[1:] for line in words if line}
    assert lines["float32"] == ["check_grads", "chex", "check"]
    assert lines["ascent_sign"] == ["1/1"] * 4
    assert lines["all"][:2] == ["mistakes", "2/2"]
    assert "NOT AS IT MUST BE" not in out
    json.loads(file.read_text("utf-8"), parse_constant=pytest.fail)
    about, rows = read(file, kill_matrix.FORMAT)
    assert (about["seed"], about["networks"], about["failures"]) == (0, 1, [])
    assert figure(rows, network="ascent_sign", peer="float32", what="found").median == 1
    assert {row.what for row in select(rows, section="mistake", peer="check")} == {"named"}
    declared = select(rows, network="right code in a declared convention")
    assert [(row.what, row.median) for row in declared] == [("accepted", 16)]
    assert (
        run_app(kill_matrix.app, ["--from", str(file), "--markdown", str(tmp_path / "x.md")]) == 0
    )
    assert (tmp_path / "x.md").read_bytes() == page.read_bytes()


def test_a_mistake_that_is_missed_ends_with_1(few, capsys, monkeypatch):
    """A checker that finds nothing, and a diagnosis that names the wrong thing."""
    right = mbp.compare
    blind = lambda net, params, x, y, *, subject=None: right(net, params, x, y)  # noqa: E731
    monkeypatch.setattr(mbp, "compare", blind)
    assert few() == 1
    out = capsys.readouterr().out
    assert "NOT AS IT MUST BE: ascent_sign at BP1, layer 1: agrees in float32" in out


@pytest.mark.sweep
def test_quick(tmp_path):
    file = tmp_path / "out.json"
    assert run_app(kill_matrix.app, ["--quick", "--json", str(file)]) == 0
    about, rows = read(file, kill_matrix.FORMAT)
    assert about["failures"] == []
    mistakes = select(rows, section="mistake")
    assert {row.what for row in select(mistakes, peer="check")} == {"named"}
    right = select(rows, network="right networks")
    assert sum(row.median for row in select(right, what="accepted")) == 20
    assert not select(right, what="rejected")
    names = {row.network for row in mistakes}
    assert names <= set(CATALOGUE)
    assert len(names) > 25
    # What this sample has always given.
    cells = kill_matrix.matrix(rows)
    columns = ("float32", "bfloat16", "check_grads", "chex", "check", "same")
    total = [cells["all mistakes", by] for by in columns]
    assert total == ["45/45", "38/38", "43/45", "30/45", "45/45", "10"]


def test_committed_page_is_of_the_committed_counts(tmp_path):
    """docs/results/kill_matrix.md is what the script makes of the JSON, to the letter."""
    page = tmp_path / "page.md"
    run_app(kill_matrix.app, ["--from", str(RESULTS / "kill_matrix.json"), "--markdown", str(page)])
    assert page.read_bytes() == (RESULTS / "kill_matrix.md").read_bytes()


def test_bad_usage(capsys):
    assert run_app(kill_matrix.app, ["--network", "3"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean --networks?" in error
    assert len(error.splitlines()) == 1
