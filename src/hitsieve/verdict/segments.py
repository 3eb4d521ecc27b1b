"""Cuts a run into stretches of one condition: jet running or stopped, beam off, ice.

Conditions are known beforehand, so this is not a search for arbitrary change points: the beam and ice are yes or no for
each image, and the path with fewest contradictions is found exactly; the jet shows as steps of the background, which
neither a drift nor odd images can feign, and in the hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hitsieve.model import State
from hitsieve.verdict.content import with_ice
from hitsieve.verdict.jet import LOWER, RUNNING, STOPPED, UNKNOWN, jet
from hitsieve.verdict.steps import SHORTEST

Kind = Literal["jet running", "jet stopped", "beam off", "ice", "unknown"]
WITHOUT_JET: tuple[Kind, ...] = ("jet stopped", "beam off")
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

FALSE_RATE = 0.003
"""Share of the blanks that may be taken for hits, where the run does not say."""

_ICE, _OFF = 4, 5
_KINDS: dict[int, Kind] = {
    RUNNING: "jet running",
    STOPPED: "jet stopped",
    UNKNOWN: "unknown",
    LOWER: "unknown",
    _ICE: "ice",
    _OFF: "beam off",
}
_DARKEST, _DARK, _DARK_SHARE = 1e-4, 1e-3, 0.01
"""An image is dark up to this share of the run's level, but at least and at most so many counts a pixel."""
_DARK_MAX = 20
"""Largest count of a dark image."""
_AGAINST_DARK = 3.0
_LEAST_RATE = 3e-4
"""Blanks are not trusted to be false hits more rarely than this: the unforeseen is in no distribution."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a run in one condition."""

    kind: Kind
    first: int
    """First image, from 0."""
    last: int
    """Last image."""
    lower: bool = False
    """Of an unknown stretch: whether its background is as far below that of others as without a jet."""


@dataclass(frozen=True, slots=True)
class HitTrust:
    """How far the hits of a run are to be trusted."""

    certain: Bools
    """Images with a lattice, shape (n,)."""
    false_rate: float | None
    """Share of the blanks that the spot rule takes for hits, at most; None where it is not known."""


def find_segments(
    background: npt.NDArray[np.floating[Any]],
    n_counted: npt.NDArray[np.integer[Any]],
    n_ice: npt.NDArray[np.integer[Any]],
    state: npt.NDArray[np.integer[Any]],
    max_count: npt.NDArray[np.integer[Any]],
    trust: HitTrust | None = None,
) -> tuple[Segment, ...]:
    """Cut a run into stretches of one condition.

    Parameters
    ----------
    background, n_counted, n_ice, state, max_count : arrays, shape (n,)
        Of all images of the run, as the columns of ImageResults (n_counted: n_spots_counted).
    trust : HitTrust, optional
        Without it no hit is certain, and up to 0.3 % of the blanks may be hits.

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
    kinds = np.full(len(searched), UNKNOWN, dtype=np.int8)
    if len(seen):
        certain = np.zeros(len(searched), dtype=np.bool_) if trust is None else hit & trust.certain[searched]
        rate = FALSE_RATE if trust is None or trust.false_rate is None else max(trust.false_rate, _LEAST_RATE)
        logs = np.log(np.maximum(level[seen], 1e-4 * max(float(np.median(level[seen])), 1e-9)))
        after = np.minimum(np.searchsorted(seen, np.arange(len(searched))), len(seen) - 1)
        kinds[:] = jet(logs, hit[seen], certain[seen], rate)[after]
    kinds[persistent(icy) & (kinds != STOPPED)] = _ICE
    kinds[off] = _OFF
    return _stretches(kinds, searched, len(background))


def files_without_jet(
    segments: Sequence[Segment], file_of_image: npt.NDArray[np.integer[Any]], *, doubtful: bool = False
) -> list[int]:
    """Files all of whose images lie in stretches with the jet stopped or the beam off.

    Parameters
    ----------
    segments : sequence of Segment
    file_of_image : array of int, shape (n,)
        Number of the file that holds each image; negative where there is none.
    doubtful : bool
        Take unknown stretches of lower background for such as well.
    """
    without = np.zeros(len(file_of_image), dtype=np.bool_)
    for segment in segments:
        gone = segment.kind in WITHOUT_JET or (doubtful and segment.lower)
        without[segment.first : segment.last + 1] = gone
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


def _stretches(kinds: npt.NDArray[np.int8], places: Places, n: int) -> tuple[Segment, ...]:
    starts = np.flatnonzero(np.diff(kinds, prepend=-1))
    first = places[starts]
    first[0] = 0
    last = np.append(first[1:] - 1, n - 1)
    return tuple(
        Segment(_KINDS[int(kind)], int(a), int(b), lower=int(kind) == LOWER)
        for kind, a, b in zip(kinds[starts], first, last, strict=True)
    )
