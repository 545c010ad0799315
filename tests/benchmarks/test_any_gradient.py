"""The benchmark of any gradient: what it plants, what it calls it, and what it counts."""

import jax

import any_gradient
import layers as cost_of_layers
from any_gradient import OURS, by_others, planted, pullback, shares, told
from gradients.cases import LAYERS, case
from gradients.mistakes import MISTAKES
from gradients.ways import WAYS
from manual_bp.cli.main import run_app
from running import ROOT
from table import BYTES, Figure


def test_every_layer_has_mistakes_and_ways_and_every_mistake_names_that_tell_it():
    assert {mistake.layer for mistake in MISTAKES} == {way.layer for way in WAYS} == set(LAYERS)
    assert len(MISTAKES) >= 60
    names = {name for mistake in MISTAKES for name in told(mistake)}
    groups = any_gradient.LEFT_OUT, any_gradient.TWICE, any_gradient.COTANGENT
    assert names <= set().union(*groups, any_gradient.EXCHANGED) | {
        "mask_inverted",
        "rows_missing", "rows_scaled", "epsilon_outside_root", "constant_changed", "overwritten",
        "kernel_not_flipped", "operand_transposed", "index_off_by_one", "mask_off_by_one",
        "term_negated", "sign_swapped", "gradient_negated",
    }  # fmt: skip


def test_a_mistake_is_found_by_some_and_named_by_one():
    (mistake,) = (m for m in MISTAKES if (m.layer, m.name) == ("swiglu", "dx of the gate alone"))
    rows = list(planted(mistake, "float32"))
    assert [row.what for row in rows] == ["found", "named"]
    drawn = case("swiglu", 1)
    with jax.enable_x64(False):
        assert not any(by_others(drawn, pullback(mistake, drawn)).values())


def test_committed_page_is_of_the_committed_counts(tmp_path):
    """docs/results/any_gradient.md is what the script makes of the JSON, to the letter."""
    results, page = ROOT / "docs" / "results", tmp_path / "page.md"
    file = results / "any_gradient.json"
    assert run_app(any_gradient.app, ["--from", str(file), "--markdown", str(page)]) == 0
    assert page.read_bytes() == (results / "any_gradient.md").read_bytes()


def test_the_tables():
    rows = [
        Figure("mistakes", "rnn", sigma="float32", peer=OURS, what="found", median=3),
        Figure("mistakes", "rnn", sigma="float32", peer=OURS, what="missed", median=1),
    ]
    cells = shares(rows, "mistakes", "found", any_gradient.with_format)
    assert cells["rnn", f"{OURS}, float32"] == cells["all", f"{OURS}, float32"] == "3/4"


def test_what_layers_cost(monkeypatch):
    monkeypatch.setattr(cost_of_layers, "SHAPES", {"layernorm": ((8, 4), (4,), (4,))})
    monkeypatch.setattr(cost_of_layers, "ATTENTION", (16,))
    rows = list(cost_of_layers.measured(0.01))
    cells = cost_of_layers.table_of(rows)
    assert {line for line, _ in cells} == {"layernorm", "attention, T = 16"}
    assert all(row.median >= 0 for row in rows)
    assert {row.unit for row in rows if row.what == BYTES} == {"B"}
