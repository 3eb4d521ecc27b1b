"""A stretch of a run in bins: the whole run, or what one zooms into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError
from hitsieve.model import State
from hitsieve.pipeline.view.overview import UNKNOWN, Binned, Overview
from hitsieve.verdict import wilson_interval
from hitsieve.write import SegmentSummary

MOST_BINS = 2000
MOST_STATES = 8
"""Pump states that are counted along the run, at most: those with most images."""
PUMP_BINS, PER_PUMP_BIN = 100, 50
"""Most bins along the run of each pump state, and fewest images of all states in one: rates of few say nothing."""
MOST_SEGMENTS = 300

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many images, or lattices, lie in each bin of one number."""

    edges: Floats
    """Shape (bins + 1,)."""
    hits: Counts
    """Of hits; of a cell, lattices of any image."""
    misses: Counts | None


@dataclass(frozen=True, slots=True)
class OfState:
    """One pump state along the stretch."""

    name: str
    number: int
    """Its place among the states that are counted, by which it is coloured, whatever the stretch."""
    n_hits: Counts
    n_searched: Counts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Images first to last of a run, in bins of (nearly) equally many; arrays have shape (bins,) but where told."""

    first: int
    last: int
    edges: Counts
    """First image of each bin, and the one after the last; shape (bins + 1,)."""
    n_hits: Counts
    n_misses: Counts
    n_unreadable: Counts
    n_missing: Counts
    low: Floats
    """95 % interval of the hit rate, as wide as bursts of hits make it; NaN where nothing was searched."""
    high: Floats
    first_hit: Counts
    """First hit of each bin; -1 where it has none."""
    most_spots: Counts
    """Most spots that count of an image; -1 where nothing was searched."""
    background: Floats
    """10 %, 50 % and 90 % quantile over images (counts a pixel), shape (3, bins); NaN where nothing was searched."""
    spots: Histogram
    resolution: Histogram
    cell: tuple[Histogram, ...]
    """a, b, c (angstrom), alpha, beta, gamma (degrees); empty where the run has no lattice."""
    n_lattices: int
    pump_edges: Counts
    """As `edges`, for the pump states; shape (pump bins + 1,)."""
    pump: tuple[OfState, ...]
    pump_of_image: Counts | None
    """Where each bin is one image, its state as place in `pump`; -1 where it is unknown or another. Else None."""
    segments: tuple[SegmentSummary, ...]
    """Those that are not simply a running jet, the longest if there are many; in order."""
    n_segments: int
    """All such."""


def stretch(overview: Overview, first: int = 0, last: int | None = None, bins: int = 500) -> Stretch:
    """Count a stretch of a run.

    Parameters
    ----------
    overview : Overview
    first, last : int
        Its first and its last image; by default the whole run. Numbers beyond the run are those of its ends.
    bins : int
        Bins wanted; no more than images, and 2000 at most.

    Returns
    -------
    Stretch

    Raises
    ------
    SettingsError
        `last` lies before `first`, the run has no such images, or `bins` is no number from 1.
    """
    n = len(overview)
    if bins < 1:
        raise SettingsError(f"bins {bins}: is no number of bins", mend=f"ask for 1 to {MOST_BINS}")
    last = n - 1 if last is None else min(last, n - 1)
    first = max(first, 0)
    if first > last:
        raise SettingsError(f"images {first} to {last}: there are none such", mend=f"the run has images 0 to {n - 1}")
    here = slice(first, last + 1)
    state, length = overview.state[here], last + 1 - first
    starts = _starts(length, min(bins, length, MOST_BINS))
    edges = first + np.append(starts, length)
    counts = [np.add.reduceat(state == one, starts, dtype=np.int64) for one in State]
    n_misses, n_hits, n_unreadable, n_missing = counts
    low, high = _intervals(n_hits, n_hits + n_misses, overview.apart)
    segments = _segments(overview, first, last)
    pump_starts = _starts(length, max(1, min(PUMP_BINS, len(starts), length // PER_PUMP_BIN)))
    shown = _shown_states(overview)
    cells = slice(int(overview.lattices[first]), int(overview.lattices[last + 1]))
    return Stretch(
        first=first,
        last=last,
        edges=edges,
        n_hits=n_hits,
        n_misses=n_misses,
        n_unreadable=n_unreadable,
        n_missing=n_missing,
        low=low,
        high=high,
        first_hit=_first_hits(first + np.flatnonzero(state == State.HIT), edges),
        most_spots=np.where(
            n_hits + n_misses > 0, np.maximum.reduceat(overview.counted[here], starts).astype(np.int64), -1
        ),
        background=_quantiles(overview.background[here], starts),
        spots=_by_verdict(overview.spots, here, state),
        resolution=_by_verdict(overview.resolution, here, state),
        cell=tuple(Histogram(one.edges, _levels(one, one.place[cells]), None) for one in overview.cell),
        n_lattices=cells.stop - cells.start,
        pump_edges=first + np.append(pump_starts, length),
        pump=_pump(overview, here, shown, pump_starts),
        pump_of_image=_states_of(overview, here, shown) if len(starts) == length else None,
        segments=segments[0],
        n_segments=segments[1],
    )


def _starts(length: int, bins: int) -> Counts:
    return np.arange(bins, dtype=np.int64) * length // bins


def _intervals(hits: Counts, searched: Counts, apart: float) -> tuple[Floats, Floats]:
    found = [
        wilson_interval(k / apart, n / apart) or (np.nan, np.nan)
        for k, n in zip(hits.tolist(), searched.tolist(), strict=True)
    ]
    both = np.array(found, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _first_hits(hits: Counts, edges: Counts) -> Counts:
    """First of the hits in each bin."""
    place = np.searchsorted(hits, edges[:-1])
    found = np.append(hits, edges[-1])[place]
    return np.where(found < edges[1:], found, -1)


def _quantiles(values: npt.NDArray[np.float32], starts: Counts) -> Floats:
    """Quantiles of the finite values of each bin."""
    lengths = np.diff(np.append(starts, len(values)))
    width = int(lengths.max())
    padded = np.append(values, np.float32(np.nan))
    places = starts[:, None] + np.arange(width)
    # Bins differ by one image at most: NaN takes the place of the one that a bin lacks.
    places[:, -1] = np.where(lengths < width, len(values), places[:, -1])
    rows = padded[places]
    rows[~np.isfinite(rows)] = np.nan
    rows.sort(axis=1)
    known = np.isfinite(rows).sum(axis=1)
    at = np.rint(np.array([[0.1], [0.5], [0.9]]) * np.maximum(known - 1, 0)).astype(np.int64)
    return np.asarray(rows[np.arange(len(starts)), at], dtype=np.float64)


def _levels(one: Binned, place: npt.NDArray[np.uint8]) -> Counts:
    counts = np.bincount(place, minlength=UNKNOWN + 1)
    return counts[: len(one.edges) - 1]


def _by_verdict(one: Binned, here: slice, state: npt.NDArray[np.uint8]) -> Histogram:
    place = one.place[here]
    hits, misses = (_levels(one, place[state == wanted]) for wanted in (State.HIT, State.MISS))
    return Histogram(one.edges, hits, misses)


def _shown_states(overview: Overview) -> list[int]:
    """The pump states with most images, in their order."""
    if overview.pump is None:
        return []
    images = np.bincount(overview.pump[overview.pump >= 0], minlength=len(overview.pump_names))
    return sorted(np.argsort(-images, kind="stable")[:MOST_STATES].tolist())


def _pump(overview: Overview, here: slice, shown: list[int], starts: Counts) -> tuple[OfState, ...]:
    """Hits and searched images of each state in each bin."""
    if overview.pump is None:
        return ()
    n_states, bins = len(overview.pump_names), len(starts)
    code, state = overview.pump[here].astype(np.int64), overview.state[here]
    which = np.repeat(np.arange(bins), np.diff(np.append(starts, len(state))))
    hit = (state == State.HIT) & (code >= 0)
    searched = hit | ((state == State.MISS) & (code >= 0))
    key = code * bins + which
    of = [np.bincount(key[chosen], minlength=n_states * bins).reshape(n_states, bins) for chosen in (hit, searched)]
    return tuple(OfState(overview.pump_names[k], rank, of[0][k], of[1][k]) for rank, k in enumerate(shown))


def _states_of(overview: Overview, here: slice, shown: list[int]) -> Counts | None:
    """Pump state of each image, as place among those shown."""
    if overview.pump is None:
        return None
    # The last place is that of an unknown state, -1.
    place = np.full(len(overview.pump_names) + 1, -1, dtype=np.int64)
    place[shown] = np.arange(len(shown))
    return place[overview.pump[here]]


def _segments(overview: Overview, first: int, last: int) -> tuple[tuple[SegmentSummary, ...], int]:
    if overview.summary.segments is None:
        return (), 0
    parts = overview.summary.segments.segments
    found = [
        part
        for part in parts
        if (part.kind != "unknown" or len(parts) > 1)
        and part.kind != "jet running"
        and part.first <= last
        and part.last >= first
    ]
    longest = sorted(found, key=lambda part: part.first - part.last)[:MOST_SEGMENTS]
    return tuple(sorted(longest, key=lambda part: part.first)), len(found)
