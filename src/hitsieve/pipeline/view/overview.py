"""A finished run as its page shows it: a few bytes an image, from which any stretch is counted anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import State
from hitsieve.pipeline.view.grid import Grid, recorded_grid
from hitsieve.verdict import scatter
from hitsieve.write import StoredResults, Summary

LEVELS = 60
"""Bins of a histogram with bins of equal width."""
UNKNOWN = 255
"""Bin of what is not known."""
FINE = 12
"""Spot counts below this have a bin each; above, bins widen in proportion."""
_MOST_SPOTS = 65535
_LOOKED_AT = 100_000
"""Values that say where a histogram begins and ends, at most."""
_CELL = ("a", "b", "c", "alpha", "beta", "gamma")

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Binned:
    """One number of many images or lattices, as the bin that each lies in."""

    edges: Floats
    """Shape (bins + 1,)."""
    place: Bytes
    """Bin of each; UNKNOWN where there is no value. What lies outside the edges is in the first or the last bin."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page of a run needs of its images; about 20 bytes an image, and 6 a lattice."""

    summary: Summary
    state: Bytes
    """Values of State, shape (images,)."""
    counted: npt.NDArray[np.uint16]
    """Spots that count for the verdict, 65535 at most; 0 where not searched."""
    spots: Binned
    """Those, in bins."""
    resolution: Binned
    """Resolution estimate (angstrom)."""
    background: npt.NDArray[np.float32]
    """Counts a pixel; NaN where not searched."""
    pump: npt.NDArray[np.int16] | None
    """Index in `pump_names`; -1 where unknown. None: no states are known."""
    pump_names: tuple[str, ...]
    file: npt.NDArray[np.int32]
    """Index in `files`; -1 where none is known."""
    files: tuple[Path, ...]
    lattices: npt.NDArray[np.int64]
    """Those of image i are rows lattices[i] to lattices[i + 1], shape (images + 1,)."""
    cell: tuple[Binned, ...]
    """a, b, c (angstrom), alpha, beta, gamma (degrees) of each lattice; empty where there is none."""
    grid: Grid | None
    """Where the sample was; None where the run's master does not say, or it was no grid."""
    apart: float
    """How much more the rates of neighbouring parts differ than by chance: intervals are as wide as that makes them."""

    def __len__(self) -> int:
        return len(self.state)


def read_overview(stored: StoredResults) -> Overview:
    """Read what the page of a run shows.

    Parameters
    ----------
    stored : StoredResults
        The run; it may be closed afterwards.

    Returns
    -------
    Overview

    Raises
    ------
    SourceError
        The annotated master cannot be read, or contradicts itself.
    """
    state, file, pump = stored.column("state"), stored.column("source_file"), stored.pump
    resolution, background = stored.column("resolution"), stored.column("background")
    counted = np.clip(stored.column("n_spots_counted"), 0, _MOST_SPOTS).astype(np.uint16)
    offsets, cells = stored.cells()
    if offsets[0] < 0 or (np.diff(offsets) < 0).any() or offsets[-1] > len(cells):
        mend = "copy it again, or write it again with hitsieve run"
        raise SourceError(f"{stored.outputs.annotated}: is damaged: lattices have offsets that lead nowhere", mend=mend)
    searched = (state == State.HIT) | (state == State.MISS)
    return Overview(
        summary=stored.summary,
        state=state,
        counted=counted,
        spots=_spots(counted, searched),
        resolution=binned(resolution),
        background=background,
        pump=None if pump is None else pump.code,
        pump_names=() if pump is None else pump.names,
        file=file,
        files=stored.source_files,
        lattices=offsets,
        cell=tuple(binned(cells[:, i]) for i in range(len(_CELL))) if len(cells) else (),
        grid=recorded_grid(stored.positions()),
        apart=scatter(state[searched] == State.HIT),
    )


def binned(values: npt.NDArray[Any]) -> Binned:
    """Values in LEVELS bins of equal width, from the 0.5 to the 99.5 % quantile; NaN is unknown.

    Parameters
    ----------
    values : array of float, shape (n,)
    """
    known = np.isfinite(values)
    some = values[known]
    if not len(some):
        return Binned(np.array([0.0, 1.0]), np.full(len(values), UNKNOWN, dtype=np.uint8))
    low, high = (float(x) for x in np.quantile(some[:: -(-len(some) // _LOOKED_AT)], (0.005, 0.995)))
    least = max(1e-3 * abs(high), 1e-6)
    if high - low < least:
        low, high = low - least, high + least
    scaled = (values - low) * (LEVELS / (high - low))
    with np.errstate(invalid="ignore"):
        place = np.clip(scaled, 0, LEVELS - 1).astype(np.uint8)
    place[~known] = UNKNOWN
    return Binned(np.linspace(low, high, LEVELS + 1), place)


def _spots(counted: npt.NDArray[np.uint16], searched: npt.NDArray[np.bool_]) -> Binned:
    """Spot counts: a bin each for few, bins that widen in proportion for many."""
    most = int(counted.max(initial=0)) + 1
    edges = np.arange(min(FINE, most) + 1)
    if most > FINE:
        edges = np.unique(np.concatenate([edges, np.ceil(np.geomspace(FINE, most, 28)).astype(np.int64)]))
    of_count = (np.searchsorted(edges, np.arange(most), side="right") - 1).astype(np.uint8)
    place = of_count[counted]
    place[~searched] = UNKNOWN
    return Binned(edges.astype(np.float64), place)
