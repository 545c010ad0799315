"""The benchmark runs, and says what it measured; no time is asserted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import benchmark
from manual_bp.cli.main import run_app
from table import BYTES, CEILING, OVER, TIME, figure, read, select

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a quick run writes, and its rows."""
    folder = tmp_path_factory.mktemp("benchmark")
    files = [folder / f"result.{ending}" for ending in ("json", "md", "png")]
    flags = zip(("--json", "--markdown", "--picture"), map(str, files), strict=True)
    assert run_app(benchmark.app, ["--quick", *(word for pair in flags for word in pair)]) == 0
    return files, *read(files[0], benchmark.FORMAT)


def test_quick_result_is_well_formed(quick):
    _, about, rows = quick
    assert about["format"] == benchmark.FORMAT
    assert about["machine"]["platform"] == "cpu"
    assert about["machine"]["cores"] >= 1
    assert {"python", "jax", "jaxlib", "optax", "numpy"} <= set(about["machine"])
    assert about["settings"]["quick"] is True
    assert not [row for row in rows if row.target]
    for section in ("step", "epoch"):
        timed = select(rows, section=section, what=TIME)
        for name in {row.name for row in timed}:
            peers = [row.peer for row in timed if row.name == name]
            assert peers[:3] == ["by hand", "autodiff", "optax (in, out)"]
            over = [
                row.peer for row in select(rows, section=section, what=OVER) if row.name == name
            ]
            assert over == peers[1:]
        for row in timed + select(rows, section=section, what=OVER):
            assert row.rounds >= 3
            assert 0 < row.low <= row.median <= row.high
    steps = select(rows, section="step")
    assert len(select(steps, what=CEILING)) == len(select(steps, what=TIME))
    assert all(row.median > 0 for row in select(steps, what=CEILING))
    memory = select(rows, section="memory", what=BYTES)
    assert len(memory) == 8
    assert all(row.median > 0 for row in memory)
    assert figure(rows, section="ceiling", what="rate taken").size == 256
    growth = select(rows, section="growth")
    assert list(dict.fromkeys(row.network for row in growth)) == ["width", "depth", "batch"]
    for along in ("width", "depth", "batch"):
        assert np.isfinite(figure(growth, network=along, what="exponent").median)


def test_quick_result_names_no_host_and_no_path(quick):
    (file, page, _), *_ = quick
    for text in (file.read_text("utf-8"), page.read_text("utf-8")):
        assert os.uname().nodename not in text
        assert str(ROOT) not in text


def test_text_reads_in_a_pipe(quick, capsys):
    """What an earlier run measured is told again; each section has its table."""
    assert run_app(benchmark.app, ["--from", str(quick[0][0])]) == 0
    text = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not any(line != line.rstrip() for line in text.splitlines())
    for section in benchmark.SECTIONS:
        assert f"\n## {section}: " in text
        assert select(quick[2], section=section)
    assert "No target is judged" in text


def test_picture_is_a_png(quick):
    assert quick[0][2].read_bytes().startswith(b"\x89PNG")


def test_page_is_made_again_from_the_figures(quick, tmp_path):
    (file, page, picture), *_ = quick
    again = [str(tmp_path / path.name) for path in (page, picture)]
    flags = ["--from", str(file), "--markdown", again[0], "--picture", again[1]]
    assert run_app(benchmark.app, flags) == 0
    assert Path(again[0]).read_bytes() == page.read_bytes()
    assert "![Ratios and growth](result.png)" in page.read_text("utf-8")


def test_only_runs_what_it_names(tmp_path, capsys):
    file = tmp_path / "m.json"
    assert run_app(benchmark.app, ["--quick", "--only", "memory", "--json", str(file)]) == 0
    assert set(json.loads(file.read_text("utf-8"))) == {"format", "machine", "settings", "figures"}
    assert {row.section for row in read(file, benchmark.FORMAT)[1]} == {"memory"}
    assert "\n## step: " not in capsys.readouterr().out


def test_help(capsys):
    assert run_app(benchmark.app, ["--help"]) == 0
    text = capsys.readouterr().out
    flags = "--quick --only --json --picture --markdown --from --device --dtype --seed --precision"
    for flag in flags.split():
        assert flag in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--quik"], "Did you mean --quick?"),
        (
            ["--only", "step,speed"],
            f"expected some of {','.join(benchmark.SECTIONS)}, got 'speed'",
        ),
        (["--seconds", "0"], "expected a whole number from 1, got '0'"),
        (["--json", "no/such/folder/x.json"], "--json: expected a folder to write to"),
        (["--picture", "speed.txt"], "--picture: expected a file name that ends in"),
        (["--from", str(ROOT / "docs" / "agreement.schema.json")], "expected a file of format"),
    ],
    ids=["flag", "section", "seconds", "folder", "ending", "from"],
)
def test_bad_usage_exits_with_2(args, message, capsys):
    assert run_app(benchmark.app, args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_ctrl_c_exits_with_130(monkeypatch, capsys):
    def interrupted(self, sections):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark.Bench, "measure", interrupted)
    assert run_app(benchmark.app, ["--quick"]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_committed_page_is_of_the_committed_figures(tmp_path):
    """docs/results/cpu.md is what the script makes of docs/results/cpu.json, to the letter."""
    page, picture = tmp_path / "cpu.md", tmp_path / "cpu.png"
    flags = [
        "--from",
        str(RESULTS / "cpu.json"),
        "--markdown",
        str(page),
        "--picture",
        str(picture),
    ]
    assert run_app(benchmark.app, flags) == 0
    assert page.read_bytes() == (RESULTS / "cpu.md").read_bytes()
