"""Times of several jobs that take turns, so that a noisy machine is equally unfair to all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Job = Callable[[], object]
Seconds = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much faster one job is than another: median and range over the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def clock(job: Job) -> float:
    """Wall time (s) of a job."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def take_turns(jobs: Mapping[str, Job], rounds: int, *, warm: bool = True) -> dict[str, list[float]]:
    """Run all jobs in turn (A B C, A B C, ...); gives the wall times (s) of each.

    Parameters
    ----------
    jobs : mapping of str to callable
    rounds : int
    warm : bool
        Run each once before, unmeasured.
    """
    if warm:
        for job in jobs.values():
            job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            seconds[name].append(clock(job))
    return seconds


def faster(seconds: Seconds, job: str, than: str, *, work: float = 1.0) -> Ratio:
    """Speed of `job` over that of `than`, round by round; `work` is the work of `job` in units of that of `than`."""
    ratios = [work * other / own for own, other in zip(seconds[job], seconds[than], strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))
