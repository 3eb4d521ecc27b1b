"""Records of runs that never were."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from hitsieve.catalogue import Record

FIRST = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CELLS = [
    ((79.0, 79.0, 38.0, 90.0, 90.0, 90.0), "P"),
    ((58.0, 58.0, 151.0, 90.0, 90.0, 120.0), "P"),
    ((94.0, 94.0, 131.0, 90.0, 90.0, 120.0), "R"),
    ((61.0, 72.0, 95.0, 90.0, 101.0, 90.0), "C"),
]


def record(number: int, **facts: Any) -> Record:
    """A run with little known of it."""
    values = {
        "id": f"{number:032x}",
        "place": f"/data/run_{number}/run_{number}_summary.json",
        "date": FIRST + timedelta(hours=number),
        "program": "hitsieve",
        "version": "0.1.0",
        "source_path": f"/raw/run_{number}_master.h5",
        "stem": f"run_{number}",
        "n_files": 1,
        "n_images": 100,
        "n_hits": 10,
        "n_misses": 90,
        "n_unreadable": 0,
        "n_missing": 0,
        "rule": "either",
        "min_spots": 8,
        "hit_bytes": 1000,
        "n_audit": 20,
        "seconds": 1.0,
    }
    return Record.model_validate(values | facts)


def with_cell(number: int, cell: tuple[float, ...], centring: str = "P", **facts: Any) -> Record:
    """A run that was indexed."""
    names = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
    return record(number, **dict(zip(names, cell, strict=True)), centring=centring, **facts)


def many(n: int, seed: int = 0) -> list[Record]:
    """Runs of all kinds, some with little known of them."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(n):
        hits = int(rng.integers(0, 1000))
        facts: dict[str, Any] = {"n_images": 1000, "n_hits": hits, "n_misses": 1000 - hits}
        if rng.random() < 0.9:
            facts |= {"hit_rate": hits / 1000, "resolution": float(rng.uniform(1, 4))}
        if rng.random() < 0.5:
            facts["pump"] = (("dark", "light"), ("dark",), ("Light", "late"))[int(rng.integers(3))]
        if rng.random() < 0.7:
            facts["sample_name"] = ("lysozyme", "Thaumatin batch_2", "photosystem II")[int(rng.integers(3))]
            facts |= {"title": f"serial run {number}", "sample_id": f"HEIDI-{number % 7}"}
        if rng.random() < 0.8:
            cell, centring = CELLS[int(rng.integers(len(CELLS)))]
            cell = (*(x * (1 + rng.normal(0, 0.01)) for x in cell[:3]), *cell[3:])
            out.append(with_cell(number, cell, centring, **facts))
        else:
            out.append(record(number, **facts))
    return out
