"""The local catalogue: one question over ten thousand runs, answered as plain Python answers it."""

from __future__ import annotations

import math
import statistics
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.bench import Bench
from benchmarks.table import Row
from hitsieve.catalogue import CELL_FIELDS, Catalogue, Record

QUESTION = "hit_rate > 0.05 and cell ~ 79,79,38,90,90,90 and resolution < 2.0 and pump = light"
RUNS, SMOKE_RUNS = 10_000, 300
REACH_MS = 50.0
TOLERANCE = 0.02
CELLS: list[tuple[tuple[float, ...], str]] = [
    ((79.0, 79.0, 38.0, 90.0, 90.0, 90.0), "P"),
    ((38.0, 79.0, 79.0, 90.0, 90.0, 90.0), "P"),
    ((58.0, 58.0, 151.0, 90.0, 90.0, 120.0), "P"),
    ((94.0, 94.0, 131.0, 90.0, 90.0, 120.0), "R"),
    ((61.0, 72.0, 95.0, 90.0, 101.0, 90.0), "C"),
    ((128.0, 128.0, 128.0, 90.0, 90.0, 90.0), "I"),
    ((67.0, 81.0, 112.0, 90.0, 90.0, 90.0), "P"),
]
CENTRES = {"P": 1, "I": 2, "C": 2, "R": 3}
Floats = npt.NDArray[np.float64]


def search(bench: Bench) -> list[Row]:
    """Time the question, and hold its answer against a plain evaluation of all records."""
    runs = SMOKE_RUNS if bench.smoke else RUNS
    path = bench.work / "search" / f"{runs}.sqlite"
    records = [record(number) for number in range(runs)]
    fill(path, records)
    whole: list[float] = []
    answer: set[str] = set()
    for _ in range(2 if bench.smoke else 50):
        start = time.perf_counter()
        with Catalogue(path) as catalogue:
            answer = {found.facts["id"] for found in catalogue.search(QUESTION)}
        whole.append(1e3 * (time.perf_counter() - start))
    median = statistics.median(whole)
    wanted = by_hand(records)
    detail = f"{len(wanted):,} of {runs:,} runs"
    bench.report.check("runs that a search finds are those found by hand", bool(wanted) and answer == wanted, detail)
    measured = f"{median:.1f} ms ({min(whole):.1f} to {max(whole):.1f}), {detail}"
    what = f"search of {runs:,} runs, opening included"
    return [Row(what, measured, f"< {REACH_MS:g} ms", median < REACH_MS, {"milliseconds": whole})]


def record(number: int) -> Record:
    """A run, by its number; the question is true of some in a hundred."""
    rng = np.random.default_rng(number)
    cell, centring = CELLS[int(rng.integers(len(CELLS)))]
    cell = (*(length * (1 + rng.normal(0, 0.008)) for length in cell[:3]), *cell[3:])
    indexed, pumped = rng.random() < 0.85, rng.random() < 0.5
    hits = int(rng.integers(0, 2000))
    facts: dict[str, Any] = {
        "id": f"{number:032x}",
        "place": f"/data/visitor/p{number % 97:05d}/run_{number:05d}/run_{number:05d}_summary.json",
        "date": datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=13 * number),
        "program": "hitsieve",
        "version": "0.1.0",
        "title": f"serial crystallography of sample {number % 53}",
        "sample_name": f"protein {number % 53}",
        "source_path": f"/data/visitor/p{number % 97:05d}/raw/run_{number:05d}_master.h5",
        "stem": f"run_{number:05d}",
        "n_files": 10,
        "n_images": 10_000,
        "n_hits": hits,
        "n_misses": 10_000 - hits,
        "n_unreadable": 0,
        "n_missing": 0,
        "hit_rate": hits / 10_000,
        "rule": "either",
        "min_spots": 12,
        "resolution": float(rng.uniform(1.2, 4.0)) if hits else None,
        "pump": ("dark", "light") if pumped else None,
        "hit_bytes": hits * 1_000_000,
        "n_audit": 100,
        "seconds": 12.5,
        "settings": {"filler": "x" * 1500},
    }
    if indexed:
        facts |= {**dict(zip(CELL_FIELDS, cell, strict=True)), "centring": centring, "indexing_rate": 0.5}
    return Record.model_validate(facts)


def fill(path: Path, records: list[Record]) -> None:
    """Make the catalogue anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    with Catalogue(path, create=True) as catalogue:
        catalogue.add_all(records)


def by_hand(records: list[Record]) -> set[str]:
    """Runs for which the question is true, without SQL, and with a search for the lattice of its own.

    The reduced axes of the cell that is asked for are at right angles, and of far lengths but for a = b: a near lattice
    has one reduced basis, but for signs and the order of the two long axes.
    """
    found = set()
    for one in records:
        told = one.hit_rate is not None and one.resolution is not None and one.cell is not None
        if told and (one.hit_rate or 0) > 0.05 and (one.resolution or 9) < 2.0 and "light" in (one.pump or ()):
            assert one.cell is not None
            if one.centring == "P" and strain(one.cell) <= TOLERANCE:
                found.add(one.id)
    return found


def strain(cell: tuple[float, ...]) -> float:
    """By how much lengths change, at most, from the cell that is asked for; infinite for cells that are not like it."""
    order = sorted(range(3), key=lambda axis: cell[axis])
    lengths = np.array([cell[axis] for axis in order])
    if max(abs(angle - 90) for angle in cell[3:]) > 5 or np.abs(lengths / (38, 79, 79) - 1).max() > 0.1:
        return math.inf
    angles = np.array([cell[3 + axis] for axis in order])
    cosines = np.cos(np.radians(angles))
    metric = np.array(
        [[1, cosines[2], cosines[1]], [cosines[2], 1, cosines[0]], [cosines[1], cosines[0], 1]]
    ) * np.outer(lengths, lengths)
    asked = np.array([38.0, 79.0, 79.0])
    factors: Floats = np.sqrt(np.linalg.eigvalsh(metric / np.outer(asked, asked)))
    return float(max(factors.max(), 1 / factors.min()) - 1)
