"""How the benchmark measures: peers in turns, paired ratios with their spread, fitted exponents."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Run = Callable[[int], None]


class Spread(NamedTuple):
    """A median, and the 10th and 90th percentile of what it is the median of."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, 10th and 90th percentile."""
    low, median, high = np.percentile(values, (10, 50, 90))
    return Spread(float(median), float(low), float(high))


def ratio(numerator: Sequence[float], denominator: Sequence[float], factor: float = 1) -> Spread:
    """The spread of the ratios round by round: what slowed a whole round down cancels."""
    return spread([factor * n / d for n, d in zip(numerator, denominator, strict=True)])


def turns(
    runs: Mapping[str, Run], *, seconds: float, block: float = 0.03, least: int = 5
) -> dict[str, list[float]]:
    """Seconds per call of each run, in blocks that take turns, A B C A B C and so on.

    A block is as many calls as take about `block` seconds, at least one; `run(n)` makes n calls
    and returns when their results are there. Rounds go on for `seconds`, at least `least` times.
    """
    calls = {name: _calls(run, block) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < least or time.perf_counter() < end:
        for name, run in runs.items():
            _settle()
            if calls[name] > 1:
                run(1)
            times[name].append(_seconds(run, calls[name]) / calls[name])
        rounds += 1
    return times


def _settle() -> None:
    """Wait for the threads of the peer before, some of which spin on for a while."""
    for _ in range(100):
        busy = time.process_time()
        time.sleep(0.005)
        if time.process_time() - busy < 0.0005:
            return


def _calls(run: Run, block: float) -> int:
    run(1)  # compiles
    once = _seconds(run, 1)
    if once > block / 4:
        return max(1, round(block / once))
    several = max(2, int(block / 4 / once))
    return max(1, round(block * several / _seconds(run, several)))


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """p of the least-squares fit seconds ∝ sizeᵖ, on log axes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
