"""What an agreement looks like: 100 columns, no control characters, a sentence a mistake, JSON."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest

from helpers import random_case
from manual_bp import Activation, Agreement, Network, Row, backprop, compare
from manual_bp.verdicts import report
from manual_bp.verdicts.rows import VERDICTS, Worst

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "agreement.schema.json").read_text())
NET = Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
CASE = random_case(NET, 7, seed=0, dtype="float32")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def row(equation="BP2", quantity="delta", layer=3, **changes):
    right = Row(
        equation=equation,
        quantity=quantity,
        layer=layer,
        shape=(32, 16),
        verdict="agrees",
        bound_ratio=0.25,
        worst=Worst((4, 0), 0.0125, 0.0125),
        max_abs=1e-7,
        max_rel=1e-6,
        max_ulp=3.0,
        values=512,
    )
    return replace(right, **changes)


def agreement_of(*rows, network="3-4-2 tanh/softmax/cross_entropy"):
    return Agreement(rows, network, "backprop", "autodiff", "float32")


@pytest.fixture(scope="module")
def agreements():
    """One that is right, and one with each kind of trouble."""
    right = compare(NET, *CASE)
    record = jax.tree.map(np.asarray, backprop(NET, *CASE))
    dW = record.dW[0].copy()
    dW[2, 1] *= 3
    delta = record.delta[0].copy()
    delta[6, 3] = np.nan
    bad = record._replace(
        z=(None, record.z[1]),
        delta=(delta, record.delta[1]),
        dW=(dW, record.dW[1].T),
        db=(record.db[0], np.float32([np.inf, 1])),
    )
    return right, compare(NET, *CASE, subject=bad)


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────


def deep():
    """Twelve layers of 1024, 1,797 examples, and numbers as wide as they come."""
    rows = []
    for l in range(12, 0, -1):
        big = {"max_abs": 1.2e-101, "max_rel": 1.2e-101, "max_ulp": 1.2e101, "bound_ratio": 1.2e101}
        at = Worst((1796, 1023), -1.23e-101, -1.23e-101)
        common = {**big, "worst": at, "verdict": "disagrees", "values": 1024 * 1797, "wrong": 1024}
        for equation, quantity, shape in (
            ("forward", "z", (1797, 1024)),
            ("BP2", "delta", (1797, 1024)),
            ("BP4", "dW", (1024, 1024)),
        ):
            rows.append(row(equation, quantity, l, shape=shape, **common))
    names = ["tanh", "leaky_relu"] * 6
    net = Network((784,) + (1024,) * 12, names, "quadratic", 0.001)
    return agreement_of(*rows, network=str(net))


def test_deep_and_wide_fits_100_columns():
    assert max(map(len, str(deep()).splitlines())) <= 100


def test_a_table_line_a_row(agreements):
    for agreement in agreements:
        lines = str(agreement).splitlines()
        assert max(map(len, lines)) <= 100
        first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("shape"))
        for line, told in zip(lines[first + 1 :], agreement.rows, strict=False):
            assert told.place.symbol in line
            assert line.endswith(told.verdict)
        assert lines[0] == f"{agreement.network}: {agreement.subject} against {agreement.witness}"
        assert agreement.arithmetic in lines[1]


def test_no_control_characters_without_colour(agreements):
    for agreement in (*agreements, deep()):
        assert not CONTROL.search(str(agreement))
        assert not CONTROL.search(agreement._repr_html_())


def test_colour_where_asked_for_and_of_verdicts_alone(agreements):
    for agreement in agreements:
        coloured = agreement.text(colour=True)
        found = re.findall(r"\x1b\[([\d;]+)m(\w+)\x1b\[0m", coloured)
        assert [verdict for _, verdict in found] == [r.verdict for r in agreement.rows]
        assert re.sub(r"\x1b\[[\d;]+m", "", coloured) == str(agreement)
    assert len(set(report.COLOURS.values())) == len(VERDICTS) == len(report.COLOURS)


def test_a_sentence_for_each_disagreement(agreements):
    _, bad = agreements
    said = " ".join(str(bad).split("\n\n", 2)[2].split())
    found = {(r.quantity, r.layer): r for r in bad.rows}
    wrong = found["dW", 1]
    assert wrong.wrong > 0
    assert "BP4 at layer 2: ∂C/∂W² disagrees: expected shape (2, 4), got (4, 2)." in said
    assert "BP3 at layer 2: ∂C/∂b²[0] is inf, expected" in said
    assert "BP2 at layer 1: δ¹[6, 3] is nan, expected" in said
    assert "z1 not given" in said
    assert "compared, " in said
    assert "nonfinite" in said.rsplit("Rows:", 1)[1]


def test_the_sentence_tells_equation_layer_index_got_expected_and_bounds():
    told = row(
        worst=Worst((4, 0), 0.5, 0.012500001), bound_ratio=1234.5, verdict="disagrees", wrong=3
    )
    assert report.sentence(told) == (
        "BP2 at layer 3: δ³[4, 0] is 0.5, expected 0.012500001 from its own inputs. They differ by "
        "1,234 times what rounding allows (3 of 512 values are wrong)."
    )
    cost = row(
        "cost", "cost", 2, shape=(), worst=Worst((), 2.0, 1.0), bound_ratio=1.5,
        verdict="disagrees", values=1, wrong=1,
    )  # fmt: skip
    assert report.sentence(cost).startswith(
        "the cost: C is 2, expected 1 from its own inputs. They differ by 1.5 times what"
    )
    nan = row(worst=Worst((4, 0), np.nan, 1.0), bound_ratio=np.nan, verdict="nonfinite", wrong=1)
    assert report.sentence(nan) == "BP2 at layer 3: δ³[4, 0] is nan, expected 1: NaN or Inf."
    end = row(verdict="disagrees", note="follows from its inputs, yet is far", end_ratio=9.0)
    assert report.sentence(end) == "BP2 at layer 3: δ³ follows from its inputs, yet is far."


def test_totals():
    one = agreement_of(
        row(), row(verdict="disagrees", wrong=12, bound_ratio=99.0), row(undecided=2)
    )
    assert report.totals(one.rows) == (
        "1,536 values compared, 1,524 within their bound, 2 of them too small beside rounding to "
        "decide. The worst one differs by 99 times what rounding allows. Rows: agrees 2, "
        "disagrees 1."
    )


def test_notes_that_say_the_same_are_told_once():
    told = str(agreement_of(row(note="z3 not given"), row(layer=2, note="z3 not given")))
    assert "δ³, δ²: z3 not given." in told


# ── Notebook ─────────────────────────────────────────────────────────────────────────────────────


def test_html_is_a_table_of_the_rows_and_escapes_names(agreements):
    script = Activation("<script>&", lambda z: z, jnp.ones_like)
    named = agreement_of(
        row(verdict="disagrees", wrong=1), network=str(Network((2, 1), (script,), "quadratic"))
    )
    opened, cells = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            opened.append(tag)

        def handle_data(self, data):
            cells.append(data)

    Reader().feed(named._repr_html_())
    assert set(opened) == {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    assert any("<script>&" in cell for cell in cells)
    for agreement in agreements:
        html = agreement._repr_html_()
        assert html.count("<tr>") == len(agreement.rows) + 1
        assert html.count("<p>") == 1 + sum(r.verdict in report.WRONG for r in agreement.rows)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_round_trip(agreements):
    check = jsonschema.Draft202012Validator(SCHEMA)
    everything = agreement_of(
        row(max_abs=np.nan, max_rel=np.inf, bound_ratio=np.inf, worst=Worst((1,), -np.inf, np.nan)),
        row(max_abs=None, worst=None, note="not given"),
        *(row(verdict=verdict) for verdict in VERDICTS),
    )
    for agreement in (*agreements, everything, deep()):
        written = json.dumps(agreement.to_dict(), allow_nan=False)
        check.validate(json.loads(written))
        assert json.loads(written) == agreement.to_dict()
    first = everything.to_dict()["rows"][0]
    assert [
        first["max_abs"],
        first["max_rel"],
        first["worst"]["got"],
        first["worst"]["expected"],
    ] == [
        "NaN",
        "Infinity",
        "-Infinity",
        "NaN",
    ]


def test_json_holds_every_field_of_every_row(agreements):
    for agreement in agreements:
        for told, written in zip(agreement.rows, agreement.to_dict()["rows"], strict=True):
            assert set(written) == set(told.__dataclass_fields__)
            assert written["verdict"] == told.verdict
            assert written["shape"] == list(told.shape)
        assert agreement.to_dict()["ok"] is agreement.ok


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"ok": "yes"},
        {"rows": []},
        {"more": 1},
        {"rows": [{}]},
    ],
)
def test_the_schema_refuses_what_is_no_agreement(agreements, change):
    check = jsonschema.Draft202012Validator(SCHEMA)
    assert not check.is_valid({**agreements[0].to_dict(), **change})
    rows = agreements[0].to_dict()["rows"]
    for wrong in ({"verdict": "fine"}, {"max_abs": "nan"}, {"layer": -1}, {"equation": "BP5"}):
        assert not check.is_valid({**agreements[0].to_dict(), "rows": [{**rows[0], **wrong}]})
