"""How the benchmark measures: peers in turns, paired ratios with their spread, fitted exponents."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from timeit import timeit
from typing import Any

import numpy as np

Run = Callable[[int], None]
Times = dict[str, list[float]]  # seconds per call in each round, by who is called


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, 10th and 90th percentile."""
    low, median, high = np.percentile(values, (10, 50, 90)).tolist()
    return {"median": median, "low": low, "high": high}


def ratio(above: Sequence[float], below: Sequence[float], factor: float = 1) -> dict[str, Any]:
    """The spread of the ratios round by round: what slowed a whole round down cancels."""
    return spread([factor * n / d for n, d in zip(above, below, strict=True)])


def turns(runs: Mapping[str, Run], *, seconds: float, block: float, least: int) -> Times:
    """Seconds per call of each run, in blocks that take turns, A B C A B C and so on.

    A block is as many calls as take about `block` seconds, at least one; `run(n)` makes n calls
    and returns when their results are there. Rounds go on for `seconds`, at least `least` times.
    """
    calls = {name: _calls(run, block) for name, run in runs.items()}
    times: Times = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while min(map(len, times.values())) < least or time.perf_counter() < end:
        for name, run in runs.items():
            _settle()
            if calls[name] > 1:
                run(1)
            times[name].append(timeit(partial(run, calls[name]), number=1) / calls[name])
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
    calls = 1
    while (took := timeit(partial(run, calls), number=1)) < block / 4:
        calls *= 2
    return max(1, round(block * calls / took))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """p of the least-squares fit seconds ∝ sizeᵖ, on log axes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
