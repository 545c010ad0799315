"""The README's figures are those of the committed runs."""

import re

import kill_matrix
import robustness
from benchmark import FORMAT
from running import ROOT
from table import BYTES, OVER, figure, read, select

README = " ".join((ROOT / "README.md").read_text().split())
RESULTS = ROOT / "docs" / "results"
NOT_RIGHT = (robustness.NEAR, robustness.FILES)


def test_the_kill_matrix_in_words():
    about, rows = read(RESULTS / "kill_matrix.json", kill_matrix.FORMAT)
    cells = kill_matrix.matrix(rows)
    assert about["failures"] == []
    all_of = {
        by: cells["all mistakes", by].split("/")
        for by in ("float32", "float64", "check_grads", "chex", "check")
    }
    right = cells["right networks", "float32"], cells["right networks", "float64"]
    right = [*right, cells["right networks", "bfloat16"]]
    accepted, judged = (
        sum(int(cell.split("/")[i].replace(",", "")) for cell in right) for i in (0, 1)
    )
    assert accepted == judged
    spared, tried = cells["right code", "check_grads"].split("/")
    for words in (
        "`compare` finds {} of {} in float32".format(*all_of["float32"]),
        "{} of {} in float64".format(*all_of["float64"]),
        "`check` names {} of {}".format(*all_of["check"]),
        "`check_grads` finds {} of {}".format(*all_of["check_grads"]),
        f"rejects right code {int(tried) - int(spared)} times of {tried}",
        "chex's `assert_numerical_grads` finds {}".format(all_of["chex"][0]),
        f"`compare` rejects none of {judged:,} right networks",
    ):
        assert words in README, words


def test_the_right_computations_in_words():
    about, rows = read(RESULTS / "robustness.json", robustness.FORMAT)
    assert about["failures"] == []
    right = [row for row in rows if row.what == "accepted" and row.network not in NOT_RIGHT]
    total = sum(int(row.median) for row in right)
    assert not select(rows, what="rejected")
    assert f"and none of {total:,} right computations by other ways" in README


def test_the_table_of_time_and_memory():
    _, rows = read(RESULTS / "cpu.json", FORMAT)
    table = re.search(r"\| network \|.*?(?=\n\n)", (ROOT / "README.md").read_text(), re.S)[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert 5 <= len(lines[2:]) <= 10
    for name, *cells in lines[2:]:
        network, sigma, batch = re.fullmatch(r"(\S+) (\w+), batch ([\d,]+)", name).groups()
        work = {"section": "step", "network": network, "sigma": sigma}
        work["batch"] = int(batch.replace(",", ""))
        over = [figure(rows, what=OVER, peer=by, **work) for by in ("autodiff", "PyTorch, eager")]
        memory = [figure(rows, what=BYTES, peer=by, **work) for by in ("by hand", "autodiff")]
        assert cells == [
            *(f"{row.median:.2f}" for row in over),
            f"{memory[0].median / memory[1].median:.2f}",
        ]
