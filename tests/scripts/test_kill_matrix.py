"""scripts/kill_matrix.py: what it counts as found, as named, as the same; and a run of it."""

import json
import sys
from dataclasses import replace

import jax
import pytest
from running import SCRIPTS, run

import manual_bp as mbp
from manual_bp.checking.mistakes import CATALOGUE, backprop_with


@pytest.fixture(scope="module")
def script():
    """The script as a module, which finds its neighbours as it does when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import kill_matrix

        yield kill_matrix


@pytest.fixture(scope="module")
def case(script):
    net = mbp.Network((3, 5, 2), ("tanh", "softmax"), "cross_entropy", 0.1)
    return net, *script.numbers(net, 7, "float32", script.np.random.default_rng(0), 1.0)


def planted(case, *where):
    return backprop_with(*case, {(place, l): CATALOGUE[name] for name, place, l in where})


# ── Its parts ────────────────────────────────────────────────────────────────────────────────────


def test_same_numbers(script, case):
    right = planted(case)
    assert script.same_numbers(right, right, "BP4", 1, "float32")
    top = float(abs(right.dW[0]).max())

    def moved(by):
        return right._replace(dW=(right.dW[0].at[0, 0].add(by), right.dW[1]))

    assert script.same_numbers(right, moved(8 * 2.0**-24 * top), "BP4", 1, "float32")
    assert not script.same_numbers(right, moved(32 * 2.0**-24 * top), "BP4", 1, "float32")
    assert script.same_numbers(right, moved(32 * 2.0**-24 * top), "BP4", 1, "bfloat16")
    assert script.same_numbers(right, moved(1), "BP4", 2, "float32")  # another array
    assert not script.same_numbers(right, right._replace(cost=2 * right.cost), "cost", 2, "float32")


def test_judge(script, case):
    agreement = mbp.compare(*case, subject=planted(case, ("bias_averaged", "BP3", 1)))
    assert script.judge(agreement, [("BP3", 1)]) == "found"
    assert script.judge(agreement, [("BP3", 2)]) == "misplaced"
    assert script.judge(agreement, [("BP3", 1), ("BP4", 1)]) == "agrees"  # one of two is missed
    assert script.judge(mbp.compare(*case), [("z", 1)]) == "agrees"
    untested = mbp.compare(*case, subject=mbp.Backprop(*[None] * 6))
    assert script.judge(untested, [("a", 1)]) == "untested"


def test_named(script, case):
    where = ("bias_averaged", "BP3", 1)
    diagnosis = mbp.check(*case, planted(case, where))
    it, other = CATALOGUE["bias_averaged"], CATALOGUE["bias_missing"]
    assert script.named(diagnosis, {("BP3", 1): it}) == "named"
    assert script.named(diagnosis, {("BP3", 1): other}) == "misnamed"
    assert script.named(diagnosis, {("BP3", 2): it}) == "misnamed"
    assert script.named(diagnosis, {("BP3", 1): it, ("BP3", 2): it}) == "misnamed"

    def called(name):
        return replace(diagnosis, findings=(replace(diagnosis.findings[0], mistake=name),))

    assert script.named(called("bias_missing or bias_averaged"), {("BP3", 1): it}) == "named"
    assert script.named(called(None), {("BP3", 1): it}) == "unnamed"
    convention = replace(
        diagnosis.findings[0], equation="convention", layer=0, mistake="convention"
    )
    told = replace(diagnosis, findings=(convention,))
    assert script.named(told, {("BP3", 1): it}) == "misnamed"
    assert script.named(told, {("BP4", 1): CATALOGUE["gradient_transposed"]}) == "named"


def test_the_cells_of_the_table(script):
    found = script.Counter({"float32 found": 3, "float32 undecided": 1, "chex missed": 2})
    assert script.cell(found, "float32").strip() == "3/4?1"
    assert script.cell(found, "chex").strip() == "0/2"
    assert script.cell(found, "float64").strip() == "-"


# ── Whole runs ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def few(script, monkeypatch):
    """Two mistakes, one network, no right one: what a run costs is compiling."""
    names = ("ascent_sign", "bias_missing")
    few = {name: CATALOGUE[name] for name in names}
    monkeypatch.setattr(script, "CATALOGUE", few)
    monkeypatch.setattr(script, "every_convention", lambda: [mbp.Convention(reduction="sum")])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["kill_matrix.py", *map(str, arguments)])
        with jax.enable_x64(jax.config.jax_enable_x64):  # which the script sets for good
            return script.main()

    before = jax.config.jax_enable_x64
    yield run
    jax.config.update("jax_enable_x64", before)


def test_a_small_run(few, capsys, tmp_path):
    file = tmp_path / "out.json"
    arguments = ["--networks", 1, "--right", 0, "--dtypes", "float32", "--json", file]
    assert few(*arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("seed 0: mistakes in 1 networks × float32\n")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["ascent_sign"] == ["1/1", "1/1", "1/1", "0"]
    assert rows["all"][0] == "2/2"
    assert "check: 2 mistakes named, 0 placed but not named, 0 misnamed" in out
    assert "0 of 1 with a finding" in out
    assert "NOT AS IT MUST BE" not in out
    result = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert (result["format"], result["version"]) == ("manual_bp.kill_matrix", 1)
    assert (result["seed"], result["networks"], result["failures"]) == (0, 1, [])
    assert result["mistakes"]["ascent_sign"]["float32 found"] == 1


def test_a_mistake_that_is_missed_ends_with_1(few, script, capsys, monkeypatch):
    """A checker that finds nothing, and a diagnosis that names the wrong thing."""
    right = script.mbp.compare
    blind = lambda net, params, x, y, *, subject=None: right(net, params, x, y)  # noqa: E731
    monkeypatch.setattr(script.mbp, "compare", blind)
    assert few("--networks", 1, "--right", 0, "--dtypes", "float32") == 1
    out = capsys.readouterr().out
    assert "NOT AS IT MUST BE: ascent_sign at BP1, layer 1: agrees in float32" in out


@pytest.mark.sweep
def test_quick(tmp_path):
    file = tmp_path / "out.json"
    done = run("kill_matrix.py", "--quick", "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mistakes named, 0 placed but not named, 0 misnamed" in done.stdout
    result = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert result["failures"] == []
    assert result["right"]["rejected"] == 0
    assert result["right"]["right"] == 20
    assert set(result["mistakes"]) - {"right code"} <= set(CATALOGUE)
    assert len(result["mistakes"]) > 25


def test_bad_usage():
    done = run("kill_matrix.py", "--network", "3")
    assert done.returncode == 2
    assert "did you mean '--networks'?" in done.stderr
    assert "Traceback" not in done.stderr
