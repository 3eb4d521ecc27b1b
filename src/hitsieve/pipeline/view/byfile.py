"""The images of a run by the file that holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hitsieve.model import State
from hitsieve.pipeline.view.overview import Overview

MOST = 500
"""Rows, at most: of more files, neighbours share a row."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file of a run, or several side by side."""

    name: str
    """Of the file, without its folder; of several, the first and the last."""
    n_files: int
    first: int
    """First image of the run in it; -1 where it has none."""
    n_images: int
    n_hits: int
    n_misses: int
    n_unreadable: int
    n_missing: int

    @property
    def hit_rate(self) -> float | None:
        """None where nothing was searched."""
        searched = self.n_hits + self.n_misses
        return self.n_hits / searched if searched else None


def by_file(overview: Overview) -> tuple[FileRow, ...]:
    """Count the images of each file; those that lie in no known file come last."""
    n, known = len(overview.files), overview.file >= 0
    each = max(-(-n // MOST), 1)
    rows = -(-n // each)
    place = np.where(known, overview.file // each, rows).astype(np.int64)
    counts = np.bincount(place * len(State) + overview.state, minlength=(rows + 1) * len(State))
    table = counts.reshape(rows + 1, len(State)).tolist()
    first = np.full(rows + 1, len(overview))
    np.minimum.at(first, place, np.arange(len(overview)))
    found = []
    for k, of in enumerate(table):
        files = overview.files[k * each : (k + 1) * each]
        if not files and not sum(of):
            continue
        name = "in no known file"
        if files:
            name = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
        found.append(
            FileRow(
                name=name,
                n_files=len(files),
                first=int(first[k]) if sum(of) else -1,
                n_images=sum(of),
                n_hits=of[State.HIT],
                n_misses=of[State.MISS],
                n_unreadable=of[State.UNREADABLE],
                n_missing=of[State.MISSING],
            )
        )
    return tuple(found)
