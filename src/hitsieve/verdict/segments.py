"""Cuts a run into stretches of one condition: jet running or stopped, beam off, ice.

Conditions are known beforehand, so this is not a search for arbitrary change points: the beam and ice are yes or no for
each image, and the path with fewest contradictions is found exactly; the jet shows as steps between the medians of the
background before and after, which neither a drift nor odd images can feign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hitsieve.model import State
from hitsieve.verdict.content import with_ice

Kind = Literal["jet running", "jet stopped", "beam off", "ice", "unknown"]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

SHORTEST = 100
"""Images of the shortest stretch that is told."""
STOPPED_SHARE = 0.55
"""Largest background without a jet, as a share of that with it."""

_KINDS: tuple[Kind, ...] = ("jet running", "jet stopped", "beam off", "ice", "unknown")
_BLOCK = 10
_WINDOW = 12
"""Blocks before and after a step; more than twice the blocks of a blip."""
_SIGMAS = 6.0
"""Least height of a step over the spread of what noise makes."""
_DARKEST, _DARK, _DARK_SHARE = 1e-4, 1e-3, 0.01
"""An image is dark up to this share of the run's level, but at least and at most so many counts a pixel."""
_DARK_MAX = 20
"""Largest count of a dark image."""
_AGAINST_DARK = 3.0
_SOME = 3
_FALSE_RATE = 0.003
"""Hit rate that blanks may feign."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a run in one condition."""

    kind: Kind
    first: int
    """First image, from 0."""
    last: int
    """Last image."""


def find_segments(
    background: npt.NDArray[np.floating[Any]],
    n_counted: npt.NDArray[np.integer[Any]],
    n_ice: npt.NDArray[np.integer[Any]],
    state: npt.NDArray[np.integer[Any]],
    max_count: npt.NDArray[np.integer[Any]],
) -> tuple[Segment, ...]:
    """Cut a run into stretches of one condition.

    Parameters
    ----------
    background, n_counted, n_ice, state, max_count : arrays, shape (n,)
        Of all images of the run, as the columns of ImageResults (n_counted: n_spots_counted).

    Returns
    -------
    tuple of Segment
        In order, without gaps or overlaps; empty where nothing was searched. Images that could not be searched go with
        those before them.
    """
    hit = np.asarray(state) == State.HIT
    searched = np.flatnonzero((hit | (np.asarray(state) == State.MISS)) & np.isfinite(background))
    if not len(searched):
        return ()
    level, hit = np.asarray(background, dtype=np.float64)[searched], hit[searched]
    dark = _dark(level, np.asarray(max_count)[searched]) & ~hit
    icy = with_ice(np.asarray(n_ice)[searched], np.asarray(n_counted)[searched])
    off = persistent(dark, _AGAINST_DARK)
    # Single dark images between others say nothing about the jet: they go with the image after them.
    seen = np.flatnonzero(~off & ~dark)
    kinds = np.full(len(searched), _KINDS.index("unknown"), dtype=np.int8)
    if len(seen):
        after = np.minimum(np.searchsorted(seen, np.arange(len(searched))), len(seen) - 1)
        kinds[:] = _jet(level[seen], hit[seen])[after]
    kinds[persistent(icy) & (kinds != _KINDS.index("jet stopped"))] = _KINDS.index("ice")
    kinds[off] = _KINDS.index("beam off")
    return _stretches(kinds, searched, len(background))


def files_without_jet(segments: Sequence[Segment], file_of_image: npt.NDArray[np.integer[Any]]) -> list[int]:
    """Files all of whose images lie in stretches with the jet stopped or the beam off.

    Parameters
    ----------
    segments : sequence of Segment
    file_of_image : array of int, shape (n,)
        Number of the file that holds each image; negative where there is none.
    """
    without = np.zeros(len(file_of_image), dtype=np.bool_)
    for segment in segments:
        without[segment.first : segment.last + 1] = segment.kind in ("jet stopped", "beam off")
    known = np.asarray(file_of_image) >= 0
    files = np.asarray(file_of_image)[known]
    total, empty = np.bincount(files), np.bincount(files[without[known]], minlength=files.max(initial=-1) + 1)
    return [int(number) for number in np.flatnonzero((total > 0) & (empty == total))]


def persistent(yes: Bools, against: float = 1.0) -> Bools:
    """The yes-no sequence that fits best, where each change costs as much as half of SHORTEST images.

    An image that is called no but is yes costs 1, one that is called yes but is no costs `against`: a stretch of yes
    has more than SHORTEST images (half of that at an end), and a share of more than against / (1 + against) is yes.
    """
    out = np.zeros(len(yes), dtype=np.bool_)
    if yes.sum() < SHORTEST:
        return out
    starts = np.flatnonzero(np.diff(yes, prepend=~yes[:1]))
    lengths = np.diff(starts, append=len(yes))
    gains = np.where(yes[starts], lengths, -against * lengths)
    # Viterbi's recursion for two states, on the difference of their costs; changes occur only where `yes` changes.
    cost = SHORTEST / 2
    lead, stays = 0.0, []
    for gain in gains.tolist():
        stays.append((lead > -cost, lead < cost))
        lead = min(max(lead, -cost), cost) + gain
    now = lead > 0
    for i in range(len(starts) - 1, -1, -1):
        out[starts[i] : starts[i] + lengths[i]] = now
        from_yes, from_no = stays[i]
        now = from_yes if now else not from_no
    return out


def _dark(level: Floats, max_count: npt.NDArray[np.integer[Any]]) -> Bools:
    """Images without counts."""
    limit = np.clip(_DARK_SHARE * np.quantile(level, 0.9), _DARKEST, _DARK)
    return np.asarray((level <= limit) & (max_count <= _DARK_MAX))


def _shows_hits(n_hits: int, n: int) -> bool:
    """Whether there are more hits than blanks would feign."""
    return n_hits >= _SOME and n_hits > _FALSE_RATE * n


def _jet(level: Floats, hit: Bools) -> npt.NDArray[np.int8]:
    """Kind of each image with beam, as place in _KINDS."""
    out = np.zeros(len(level), dtype=np.int8)
    if not _shows_hits(int(hit.sum()), len(hit)):
        # A lower background alone may be the beam as well as the jet.
        out[:] = _KINDS.index("unknown")
        return out
    logs = np.log(np.maximum(level, 1e-4 * max(float(np.median(level)), 1e-9)))
    edges = _merged(logs, _edges(logs))
    bounds = list(pairwise(edges))
    levels = [float(np.median(logs[a:b])) for a, b in bounds]
    hits = [int(hit[a:b].sum()) for a, b in bounds]
    sizes = [b - a for a, b in bounds]
    for k, (a, b) in enumerate(bounds):
        higher = [
            j
            for j in (k - 1, k + 1)
            if 0 <= j < len(bounds)
            and levels[k] - levels[j] < np.log(STOPPED_SHARE)
            and (sizes[j] >= 0.05 * len(level) or _shows_hits(hits[j], sizes[j]))
        ]
        if not higher:
            continue
        rate = sum(hits[j] for j in higher) / sum(sizes[j] for j in higher)
        with_hits = hits[k] >= _SOME and hits[k] / sizes[k] > max(2 * _FALSE_RATE, 0.3 * rate)
        if not with_hits:
            out[a:b] = _KINDS.index("jet stopped")
    return out


def _edges(logs: Floats) -> list[int]:
    """Steps of the level, as the first images after them."""
    n = len(logs) // _BLOCK
    if n < 2 * _WINDOW + 1:
        return []
    blocks = np.median(logs[: n * _BLOCK].reshape(n, _BLOCK), axis=1)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(blocks, _WINDOW), axis=1)
    step = medians[_WINDOW:] - medians[:-_WINDOW]
    spread = float(np.median(np.abs(step - np.median(step)))) * 1.4826
    least = max(-0.8 * np.log(STOPPED_SHARE), _SIGMAS * spread)
    sign = np.where(step >= least, 1, np.where(step <= -least, -1, 0))
    starts = np.flatnonzero(np.diff(sign, prepend=0, append=0))
    found = []
    for a, b in pairwise(starts.tolist()):
        if sign[a]:
            block = int(a + np.abs(step[a:b]).argmax())
            found.append(
                _exact(logs, (block + _WINDOW) * _BLOCK, float(medians[block]), float(medians[block + _WINDOW]))
            )
    return sorted(set(found))


def _exact(logs: Floats, near: int, before: float, after: float) -> int:
    """Image at which the level steps from one value to the other."""
    reach = _WINDOW * _BLOCK // 2
    first, last = max(near - reach, 1), min(near + reach, len(logs) - 1)
    part = logs[first:last]
    misfit = np.cumsum(np.abs(part - before) - np.abs(part - after))
    return first + int(np.concatenate([[0.0], misfit]).argmin())


def _merged(logs: Floats, edges: list[int]) -> list[int]:
    """Bounds of stretches, without those that are too short or too like the one before."""
    bounds = [0, *edges, len(logs)]
    while len(bounds) > 2:
        sizes = np.diff(bounds)
        if sizes.min() < SHORTEST:
            short = int(sizes.argmin())
            del bounds[short or 1]
            continue
        levels = np.array([np.median(logs[a:b]) for a, b in pairwise(bounds)])
        near = np.abs(np.diff(levels))
        if near.min() >= -0.6 * np.log(STOPPED_SHARE):
            break
        del bounds[1 + int(near.argmin())]
    return bounds


def _stretches(kinds: npt.NDArray[np.int8], places: Places, n: int) -> tuple[Segment, ...]:
    starts = np.flatnonzero(np.diff(kinds, prepend=-1))
    first = places[starts]
    first[0] = 0
    last = np.append(first[1:] - 1, n - 1)
    return tuple(
        Segment(_KINDS[int(kind)], int(a), int(b)) for kind, a, b in zip(kinds[starts], first, last, strict=True)
    )
