"""How near the threshold that a run sets itself is to that of who knows the blanks, in simulated counts.

`python -m benchmarks.thresholds` prints the table of docs/explanation/calibrated-threshold.md and two more.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from hitsieve.verdict import FLOOR, calibrate

Counts = npt.NDArray[np.int64]
MEANS = (0.05, 0.3, 1.0, 3.0, 8.0, 15.0, 30.0)
RATE = 1e-3


def blanks(mean: float, dispersion: float) -> Any:
    """Distribution of the spots of blanks."""
    return stats.poisson(mean) if dispersion == 1.0 else stats.nbinom(mean / (dispersion - 1.0), 1.0 / dispersion)


def crystals(kind: str, rng: np.random.Generator, n: int) -> Counts:
    """Spots of `n` crystals: strong (15 to 200), weak (5 to 15) or any (about 3 to 15, spread by half)."""
    if kind == "weak":
        return rng.integers(5, 16, n)
    if kind == "any":
        return rng.poisson(np.exp(rng.uniform(log(3), log(15), n)) * rng.lognormal(0.0, 0.5, n))
    return np.exp(rng.uniform(log(15), log(200), n)).astype(np.int64)


def run(distribution: Any, kind: str, hits: float, n: int, seed: int) -> tuple[Counts, int]:
    """Counts of a run, its hits first, and their number."""
    rng = np.random.default_rng(seed)
    counts: Counts = distribution.rvs(n, random_state=rng).astype(np.int64)
    n_hits = round(hits * n)
    counts[:n_hits] += crystals(kind, rng, n_hits)
    return counts, n_hits


def _cell(distribution: Any, kind: str, hits: float, n: int, seeds: Iterable[int]) -> str:
    runs = [(counts, n_hits) for counts, n_hits in (run(distribution, kind, hits, n, seed) for seed in seeds)]
    found = [calibrate(counts) for counts, _ in runs]
    least, most = min(one.min_spots for one in found), max(one.min_spots for one in found)
    worst = max(float(distribution.sf(one.min_spots - 1)) for one in found) * 1e3
    told = "" if all(one.origin == "blanks" for one in found) else " default"
    span = f"{least}" if least == most else f"{least} to {most}"
    return f"{span} ({worst:.2f}){told}"


def table(kind: str, shares: tuple[float, ...], n: int = 5000, seeds: range = range(3)) -> str:
    """The thresholds of runs, a row for each variance over mean and share of hits; beside it the oracle's."""
    lines = ["| variance / mean | hits | " + " | ".join(f"mean {mean:g}" for mean in MEANS) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(MEANS))
    for dispersion in (1.0, 1.3, 2.0):
        known = [blanks(mean, dispersion) for mean in MEANS]
        best = [str(max(FLOOR, int(one.isf(RATE)) + 1)) for one in known]
        lines.append(f"| {dispersion:g} | oracle | " + " | ".join(best) + " |")
        for hits in shares:
            cells = [_cell(one, kind, hits, n, seeds) for one in known]
            lines.append(f"| {dispersion:g} | {hits:.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table("strong", (0.0, 0.2, 0.6)))
    print(table("weak", (0.05, 0.3)))
    print(table("any", (0.1, 0.3)))
