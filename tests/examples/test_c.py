"""examples/c: the program is right, with a mistake in it that is named, and bad files do no harm.

Built here with the machine's own C compiler; a mistake is planted by replacing one line.
"""

import os
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

import jax
import pytest

import manual_bp as mbp
from manual_bp.golden.case import random_case
from manual_bp.golden.read import read_record
from manual_bp.golden.write import write

HERE = Path(__file__).parents[2] / "examples" / "c"
SOURCE = (HERE / "backprop.c").read_text()
CC = shlex.split(os.environ.get("CC", "cc"))
FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=c99"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
pytestmark = pytest.mark.skipif(shutil.which(CC[0]) is None, reason=f"no C compiler: {CC[0]}")

NETWORKS = {
    "softmax, cross-entropy": mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy", 0.01),
    "sigmoid, binary": mbp.Network((3, 6, 2), ("relu", "sigmoid"), "binary_cross_entropy", 0.1),
    "softmax, quadratic": mbp.Network((3, 4), ("softmax",), "quadratic"),
    "three layers": mbp.Network((2, 3, 4, 1), ("identity", "sigmoid", "tanh"), "quadratic"),
}


def build(folder, source=SOURCE, flags=()):
    program, text = folder / "backprop", folder / "source.c"
    text.write_text(source)
    subprocess.run([*CC, *FLAGS, *flags, "-o", program, text, "-lm"], check=True, timeout=120)
    return program


def run(program, given, made):
    return subprocess.run([program, given, made], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("c"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A case for each network, and the folder with its files."""
    made = {}
    for name, net in NETWORKS.items():
        folder = tmp_path_factory.mktemp("golden")
        made[name] = random_case(net, dtype="float64", seed=2), folder
        write(folder, made[name][0])
    return made


def diagnose(program, case, folder, tmp_path):
    done = run(program, folder / "golden.bin", tmp_path / "mine.bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mine = read_record(tmp_path / "mine.bin", case)
    with jax.enable_x64(True):
        return mbp.check(case.net, case.params, case.x, case.y, mine)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_is_right(name, program, cases, tmp_path):
    diagnosis = diagnose(program, *cases[name], tmp_path)
    assert diagnosis.ok, diagnosis
    assert {row.verdict for row in diagnosis.agreement.rows} == {"agrees"}


def test_the_makefile_builds_it_likewise():
    assert f"CFLAGS = {' '.join(FLAGS)}\n" in (HERE / "Makefile").read_text()


# The line, what stands in its place, and what the diagnosis has to name: equation, layers, mistake.
MISTAKES = {
    "BP1 without the mean": (
        "delta[i][j] = d / m;",
        "delta[i][j] = d;",
        "BP1",
        {2},
        "sum_for_mean",
    ),
    "BP2 without σ′": (
        "delta[i][k] = sum * sigma_prime(sigma, a[i][k]);",
        "delta[i][k] = sum;",
        *("BP2", {1}, "no_hidden_derivative"),
    ),
    "BP4 without l2": (
        "dW[j][k] = l2 * W[j][k];",
        "dW[j][k] = 0;",
        *("BP4", {1, 2}, "penalty_missing"),
    ),
}


@pytest.mark.parametrize(
    ("line", "wrong", "equation", "layers", "mistake"), MISTAKES.values(), ids=MISTAKES
)
def test_a_planted_mistake_is_named(line, wrong, equation, layers, mistake, cases, tmp_path):
    assert SOURCE.count(line) == 1
    flags = ["-Wno-unused-parameter"]
    program = build(tmp_path, SOURCE.replace(line, wrong), flags)
    diagnosis = diagnose(program, *cases["softmax, cross-entropy"], tmp_path)
    assert not diagnosis.ok
    found = diagnosis.findings
    assert {(finding.equation, finding.layer) for finding in found} == {
        (equation, l) for l in layers
    }
    assert {finding.mistake for finding in found} == {mistake}


# ── Bad files ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The program that ends when it reads or writes where it should not."""
    folder = tmp_path_factory.mktemp("guarded")
    try:
        return build(folder, flags=SANITIZE)
    except subprocess.CalledProcessError:
        pytest.skip(f"{CC[0]} has no address sanitizer here")


def is_refused(program, content, tmp_path):
    given = tmp_path / "golden.bin"
    given.write_bytes(content)
    done = run(program, given, tmp_path / "mine.bin")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{given}: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mine.bin").exists()


def test_a_file_of_a_wrong_length_is_refused(guarded, cases, tmp_path):
    content = (cases["three layers"][1] / "golden.bin").read_bytes()
    for size in range(0, len(content), 40):
        is_refused(guarded, content[:size], tmp_path)
    is_refused(guarded, content[:-3], tmp_path)
    is_refused(guarded, content + bytes(8), tmp_path)
    is_refused(guarded, content + bytes(3), tmp_path)


@pytest.mark.parametrize("value", [-1, 0.5, 0, 1e300, 2**40, float("nan"), float("inf"), 11])
def test_a_header_that_lies_is_refused(value, guarded, cases, tmp_path):
    case, folder = cases["three layers"]
    content = (folder / "golden.bin").read_bytes()
    # version L m cost l2, n₀ n₁ n₂ n₃, σ₁ σ₂ σ₃
    header = [1, 3, len(case.x), 0, 0, 2, 3, 4, 1, 0, 1, 2]
    assert struct.unpack_from("<12d", content) == tuple(header)
    for at, right in enumerate(header):
        cost_or_sigma = at in (3, 9, 10, 11)
        if at == 4 or value == right or (cost_or_sigma and value == 0):
            continue  # l2 may be any number, and code 0 is one there is
        changed = content[: 8 * at] + struct.pack("<d", value) + content[8 * at + 8 :]
        is_refused(guarded, changed, tmp_path)


@pytest.mark.parametrize(
    ("net", "bias", "said"),
    [
        (mbp.Network((2, 3, 1), ("selu", "tanh"), "quadratic"), True, "an activation that this"),
        (mbp.Network((2, 3, 1), ("elu(0.5)", "tanh"), "quadratic"), True, "version 2: a parameter"),
        (mbp.Network((2, 3, 2), ("tanh", "tanh"), "huber"), True, "a cost that this program"),
        (mbp.Network((2, 3, 2), ("tanh", "tanh"), "huber(2)"), True, "version 2: a parameter"),
        (mbp.Network((2, 3, 1), ("tanh", "tanh"), "quadratic"), False, "or a penalty on biases"),
    ],
    ids=str,
)
def test_a_network_that_it_does_not_know_is_refused_by_its_reason(
    net, bias, said, guarded, tmp_path
):
    case = random_case(net, dtype="float64", **({} if bias else {"bias": False}))
    write(tmp_path / "golden", case)
    done = run(guarded, tmp_path / "golden" / "golden.bin", tmp_path / "mine.bin")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


def test_what_cannot_be_read_or_written(program, cases, tmp_path):
    folder = cases["three layers"][1]
    assert run(program, tmp_path / "none.bin", tmp_path / "mine.bin").returncode == 2
    assert run(program, folder / "golden.bin", tmp_path / "none" / "mine.bin").returncode == 2
    assert subprocess.run([program], capture_output=True).returncode == 2


def test_the_guarded_program_is_right_too(program, guarded, cases, tmp_path):
    for _, folder in cases.values():
        given = folder / "golden.bin"
        for one, name in ((program, "mine.bin"), (guarded, "guarded.bin")):
            done = run(one, given, tmp_path / name)
            assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "mine.bin").read_bytes() == (tmp_path / "guarded.bin").read_bytes()
