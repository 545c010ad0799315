"""How the benchmark measures; no time is asserted."""

import pytest

import timing


def test_ratio_is_paired_round_by_round():
    # The machine is ten times slower in the second round: the pairs do not see it, medians would.
    assert timing.ratio([1, 10, 1], [2, 20, 2]) == {"low": 0.5, "median": 0.5, "high": 0.5}
    assert timing.ratio([1, 30, 3], [1, 10, 1])["median"] == 3
    assert timing.ratio([1, 10, 1], [2, 20, 2], factor=3)["median"] == 1.5


def test_ratio_wants_as_many_rounds_of_both():
    with pytest.raises(ValueError, match="shorter"):
        timing.ratio([1, 2], [1])


def test_spread_is_the_10th_50th_and_90th_percentile():
    assert timing.spread(range(11)) == {"low": 1, "median": 5, "high": 9}


def test_turns_take_turns():
    calls = []
    runs = {name: lambda n, name=name: calls.append(name) for name in "ABC"}
    times = timing.turns(runs, seconds=0, block=0, least=4)
    assert [len(times[name]) for name in "ABC"] == [4, 4, 4]
    assert "".join(calls).endswith("ABC" * 4)


def test_exponent_of_a_power_law():
    sizes = [1, 2, 4, 8, 16]
    assert timing.exponent(sizes, [3e-6 * n**1.5 for n in sizes]) == pytest.approx(1.5, rel=1e-12)
