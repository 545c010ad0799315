"""What is counted of a compiled step, and what its layout needs."""

import os
import subprocess
import sys

import pytest

import collectives
from collectives import COUNTED, FACTORS, KINDS, LEAST, counted, least
from manual_bp.cli.main import run_app
from running import ENVIRONMENT, ROOT
from table import figure, read, select

RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Those of a run in a process of its own, which has eight devices."""
    file = tmp_path_factory.mktemp("collectives") / "out.json"
    subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "collectives.py", "--json", file],
        check=True, capture_output=True, timeout=600,
        env=os.environ | ENVIRONMENT | {"XLA_FLAGS": collectives.EIGHT},
    )  # fmt: skip
    return read(file, collectives.FORMAT)[1]


@pytest.mark.parametrize("layout", collectives.LAYOUTS)
def test_a_step_moves_what_its_equations_ask_for_and_no_more(rows, layout):
    moved, needed = (figure(rows, network=layout, what=what).median for what in (COUNTED, LEAST))
    assert moved == pytest.approx(needed, abs=64)
    kinds = {row.peer for row in select(rows, network=layout, what=KINDS)}
    assert kinds == (set(FACTORS) if "fully" in layout else {"all-reduce"})


def test_what_a_collective_moves():
    text = """
  %sum = (f32[4,8]{1,0}, f32[]) all-reduce(%a, %b), replica_groups=[2,4]<=[8], to_apply=%add
  %all = bf16[16,2]{1,0} all-gather(%c), replica_groups={{0,1},{2,3}}, dimensions={0}
  %part = f32[2,8]{1,0} reduce-scatter-start(%d), replica_groups=[1,8]<=[8]
  %not = f32[2] add(%x, %y), metadata={op_name="all-reduce"}
"""
    assert list(counted(text)) == [
        ("all-reduce", 4, 2 * (4 * 8 + 1) * 4 * 3 / 4),
        ("all-gather", 2, 16 * 2 * 2 / 2),
        ("reduce-scatter", 8, 8 * 2 * 8 * 4 * 7 / 8),
    ]


def test_the_least_of_one_layer():
    import manual_bp as mbp

    net = mbp.Network((3, 2), ("sigmoid",), "quadratic")
    assert least(net, 10, 4, 1, False, 4) == 2 * 4 * (6 + 2 + 1) * 3 / 4
    assert least(net, 10, 1, 1, False, 4) == 0


def test_committed_page_is_of_the_committed_figures(tmp_path):
    page = tmp_path / "page.md"
    file = RESULTS / "collectives.json"
    run_app(collectives.app, ["--from", str(file), "--markdown", str(page)])
    assert page.read_bytes() == (RESULTS / "collectives.md").read_bytes()
