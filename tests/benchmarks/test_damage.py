"""Damaged files of every kind are read or refused, and the attack sees what would be a fault."""

import random

import numpy as np
import pytest

import damage
from damage import File, attack, flipped


@pytest.mark.parametrize("mutations", [30, pytest.param(3000, marks=pytest.mark.sweep)])
def test_each_damaged_file_is_read_or_refused_by_one_error(mutations, tmp_path):
    outcomes = list(attack(tmp_path, mutations))
    assert [fault for outcome in outcomes for fault in outcome.faults] == []
    for outcome in outcomes:
        assert outcome.read + outcome.refused == outcome.mutations == mutations
        assert outcome.refused > 0


READERS = {
    "another error": (lambda content: {}["a"], "KeyError"),
    "no name": (lambda content: int("x"), "ValueError"),
    "a warning": (lambda content: np.float64(1) / 0, "RuntimeWarning"),
    "something else": (len, "read as something else"),
}


@pytest.mark.parametrize(("reads", "message"), READERS.values(), ids=READERS)
def test_a_fault_is_seen(reads, message, tmp_path, monkeypatch):
    def read(path):
        content = path.read_bytes()
        return 5 if content == b"whole" else reads(content)

    changes = (lambda *_: b"damaged",)
    monkeypatch.setattr(
        damage, "whole_files", lambda _: [File("a", b"whole", read, *[changes] * 2)]
    )
    (outcome,) = attack(tmp_path, 3)
    assert (outcome.read, outcome.refused, len(outcome.faults)) == (0, 0, 3)
    assert all(message in fault for fault in outcome.faults)


def test_a_change_is_a_change():
    choose = random.Random(0)
    assert all(flipped(b"whole", choose) != b"whole" for _ in range(100))
