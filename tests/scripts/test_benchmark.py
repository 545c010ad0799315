"""The benchmark runs, compares like with like, and judges by its figures; no time is asserted."""

import json
import os
import sys
from functools import partial

import jax
import numpy as np
import pytest
from running import SCRIPTS, run

sys.path.insert(0, str(SCRIPTS))

import benchmark
import peers
import timing

SPREAD = {"median", "low", "high"}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    files = folder / "result.json", folder / "result.png"
    done = run("benchmark.py", "--quick", "--json", files[0], "--picture", files[1])
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(files[0].read_text("utf-8")), files[1].read_bytes()


def test_quick_result_is_well_formed(quick):
    _, result, _ = quick
    assert result["format"] == benchmark.FORMAT
    assert result["machine"]["platform"] == "cpu"
    assert result["machine"]["cores"] >= 1
    assert {"python", "jax", "jaxlib", "optax", "numpy"} <= set(result["machine"]["versions"])
    for section in ("step", "epoch"):
        for entry in result[section]:
            names = [row["name"] for row in entry["peers"]]
            assert names[:3] == ["by hand", "autodiff", "optax (in, out)"]
            assert entry["rounds"] >= 3
            for row in entry["peers"]:
                assert "target" not in row
                for figure in (row["seconds"], row["by_hand_over_it"]):
                    assert set(figure) == SPREAD
                    assert 0 < figure["low"] <= figure["median"] <= figure["high"]
    assert all(row["of_ceiling"]["median"] > 0 for e in result["step"] for row in e["peers"])
    assert all(row["temporaries"] > 0 for e in result["memory"] for row in e["peers"])
    assert [entry["along"] for entry in result["growth"]] == ["width", "depth", "batch"]
    assert all(np.isfinite(entry["exponent"]) for entry in result["growth"])


def test_quick_result_names_no_host_and_no_path(quick):
    text = json.dumps(quick[1])
    assert os.uname().nodename not in text
    assert str(SCRIPTS.parent) not in text


def test_text_reads_in_a_pipe(quick):
    text, result, _ = quick
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not any(line != line.rstrip() for line in text.splitlines())
    for section in benchmark.SECTIONS:
        assert f"\n{section}: " in text
        assert result[section]
    assert "No target is judged" in text


def test_picture_is_a_png(quick):
    assert quick[2].startswith(b"\x89PNG")


def test_only_runs_what_it_names(tmp_path):
    done = run("benchmark.py", "--quick", "--only", "memory", "--json", tmp_path / "m.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert set(result) == {"format", "machine", "settings", "memory"}


def test_help():
    done = run("benchmark.py", "--help")
    assert done.returncode == 0
    for flag in ("--quick", "--only", "--json", "--picture", "--device", "--dtype", "--seed"):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--quik"], "did you mean '--quick'?"),
        (
            ["--only", "step,speed"],
            f"expected some of {','.join(benchmark.SECTIONS)}, got 'speed'",
        ),
        (["--seconds", "0"], "expected a whole number from 1, got '0'"),
        (["--json", "no/such/folder/x.json"], "--json: no folder no/such/folder"),
        (["--picture", "speed.txt"], "--picture: expected a file name that ends in"),
    ],
    ids=["flag", "section", "seconds", "folder", "ending"],
)
def test_bad_usage_exits_with_2(args, message):
    done = run("benchmark.py", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# ── Statistics ───────────────────────────────────────────────────────────────────────────────────


def test_ratio_is_paired_round_by_round():
    # The machine is ten times slower in the second round: the pairs do not see it, medians would.
    assert timing.ratio([1, 10, 1], [2, 20, 2]) == timing.Spread(0.5, 0.5, 0.5)
    assert timing.ratio([1, 30, 3], [1, 10, 1]).median == 3


def test_ratio_wants_as_many_rounds_of_both():
    with pytest.raises(ValueError, match="shorter"):
        timing.ratio([1, 2], [1])


def test_spread_is_the_10th_50th_and_90th_percentile():
    assert timing.spread(range(11)) == timing.Spread(5, 1, 9)


def test_turns_take_turns():
    calls = []
    runs = {name: lambda n, name=name: calls.append(name) for name in "ABC"}
    times = timing.turns(runs, seconds=0, block=0, least=4)
    assert [len(times[name]) for name in "ABC"] == [4, 4, 4]
    assert "".join(calls).endswith("ABC" * 4)


def test_least_operations_of_a_small_network():
    # 2-3-4, batch 5: forward and BP4 5·(3·2 + 4·3) products each, BP2 only through W² : 5·4·3.
    assert timing.least_operations((2, 3, 4), 5) == 2 * (2 * 5 * (6 + 12) + 5 * 12)


def test_least_operations_are_what_the_compiler_counts():
    # Identity and a wide batch: all but the products is a few operations an element.
    work = peers.Work("wide", (64, 96, 80), "identity", 512)
    value_and_grad = peers.gradient_functions(work)["by hand"]
    x, y = (np.zeros((512, n), np.float32) for n in (64, 80))
    params = work.net.init(jax.random.key(0))
    lowered = jax.jit(value_and_grad).lower(params, x, y)
    counted = lowered.cost_analysis()["flops"]
    elements = 512 * (64 + 96 + 80)
    assert 0 <= counted - work.operations <= 8 * elements


def test_exponent_of_a_power_law():
    sizes = [1, 2, 4, 8, 16]
    assert timing.exponent(sizes, [3e-6 * n**1.5 for n in sizes]) == pytest.approx(1.5, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "reached", "text"),
    [(0.95, True, "≤ 0.95 reached"), (0.951, False, "≤ 0.95 NOT reached")],
)
def test_a_target_is_judged_by_its_median(value, reached, text):
    bench = benchmark.Bench(benchmark.quick_scale(), "float32", 0, 0.0, judged=True, on_cpu=True)
    row = bench.target(timing.Spread(value, 0.5, 2.0), at_most=0.95)
    assert row["target"]["reached"] is reached
    assert benchmark.verdict(row) == text


def test_every_network_has_the_targets_it_should():
    scale = benchmark.full_scale(on_cpu=True)
    for work in scale.step:
        assert benchmark.most("step", work, "autodiff", on_cpu=True) <= 1.03
    assert {w.name for w in scale.step if benchmark.least_of_ceiling(w, on_cpu=True)} == {
        "1024x4",
        "2048x4",
    }
    for work in scale.memory:
        assert benchmark.most("memory", work, "autodiff", on_cpu=True) <= 1
    epochs = [w for w in scale.epoch if benchmark.most("epoch", w, "PyTorch, eager", on_cpu=True)]
    assert [w.name for w in epochs] == ["784-30-10"]


# ── Like with like ───────────────────────────────────────────────────────────────────────────────

WORKS = (
    peers.Work("sigmoid", (3, 5, 4), "sigmoid", 6, "sigmoid"),
    peers.Work("relu", (3, 5, 7, 4), "relu", 6, "softmax", "cross_entropy"),
    peers.Work("tanh", (3, 5, 7, 4), "tanh", 6),
    peers.Work("gelu", (3, 5, 4), "gelu", 6),
    peers.Work("silu", (3, 5, 4), "silu", 6),
    peers.Work("elu", (3, 5, 4), "elu", 6),
)


@pytest.mark.parametrize(
    ("make_peers", "work"),
    [
        *((partial(peers.step_peers, checkpoint=True), work) for work in WORKS),
        *((peers.epoch_peers, work) for work in WORKS[:2]),
    ],
    ids=[*(f"step-{work.name}" for work in WORKS), *(f"epoch-{work.name}" for work in WORKS[:2])],
)
def test_peers_reach_the_same_parameters(make_peers, work, x64):
    """Three batches in float64, a learning rate at which they matter."""
    found = make_peers(setup := peers.Setup(work, 3, "float64", learning_rate=0.3, seed=1))
    assert found[0].name == "by hand"
    assert len(found) >= 4
    start = [(np.array(W), np.array(b)) for W, b in setup.params]
    for peer in found:
        peer.run(1)
    by_hand = found[0].params()
    for (W, b), (W_0, b_0) in zip(by_hand, start, strict=True):
        assert np.abs(W - W_0).max() > 1e-3
        assert np.abs(b - b_0).max() > 1e-3
    # Sums of at most seven terms and three steps lose far fewer than 2^13 unit roundoffs.
    bound = 2.0**-40
    for peer in found[1:]:
        for pair, ours in zip(peer.params(), by_hand, strict=True):
            for theirs, own in zip(pair, ours, strict=True):
                np.testing.assert_allclose(theirs, own, rtol=0, atol=bound, err_msg=peer.name)


@pytest.mark.parametrize("sigma", sorted(set(peers.SIGMA) - {"softmax"}))
def test_costs_of_all_peers_are_ours(sigma, x64):
    work = peers.Work(sigma, (3, 5, 4), sigma, 6)
    setup = peers.Setup(work, dtype="float64")
    x, y = (array[0] for array in setup.batches)
    C = {
        name: float(f(setup.params, x, y)[0]) for name, f in peers.gradient_functions(work).items()
    }
    assert list(C) == ["by hand", "autodiff", "jax.checkpoint", "jax.checkpoint, z kept"]
    for name, value in C.items():
        assert value == pytest.approx(C["by hand"], rel=2.0**-40), name
