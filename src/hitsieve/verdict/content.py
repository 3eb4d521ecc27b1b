"""What the images of a run hold, from a few numbers of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import State

Integers = npt.NDArray[np.integer[Any]]

ICE_SPOTS = 5
"""Fewest spots in ice bands of an image with ice."""


@dataclass(frozen=True, slots=True)
class Line:
    """The run in bins of consecutive images; each field holds one value a bin."""

    first: tuple[int, ...]
    """First image of the bin."""
    n_searched: tuple[int, ...]
    """Hits and misses."""
    n_hits: tuple[int, ...]
    n_indexed: tuple[int, ...]
    """Hits with a lattice."""
    background: tuple[float | None, ...]
    """Median of the known values (counts a pixel); None without any."""


def timeline(state: Integers, n_lattices: Integers, background: npt.NDArray[np.floating[Any]], bins: int = 100) -> Line:
    """Cut the run into `bins` bins (fewer for fewer images) that differ by at most one image.

    Parameters
    ----------
    state, n_lattices, background : arrays, shape (n,)
        Of all images of the run, as the columns of ImageResults.
    """
    n = len(state)
    bins = min(bins, n)
    if not bins:
        return Line((), (), (), (), ())
    edges = np.arange(bins + 1) * n // bins
    hit = np.asarray(state) == State.HIT
    searched = hit | (np.asarray(state) == State.MISS)
    counts = [
        np.add.reduceat(which.astype(np.int64), edges[:-1])
        for which in (searched, hit, hit & (np.asarray(n_lattices) > 0))
    ]
    medians = []
    for a, b in pairwise(edges):
        known = background[a:b][np.isfinite(background[a:b])]
        medians.append(float(np.median(known)) if len(known) else None)
    n_searched, n_hits, n_indexed = (tuple(int(value) for value in column) for column in counts)
    return Line(tuple(int(edge) for edge in edges[:-1]), n_searched, n_hits, n_indexed, tuple(medians))


def with_ice(n_ice: Integers, n_counted: Integers) -> npt.NDArray[np.bool_]:
    """Images with at least five spots in ice bands, and at least as many there as spots that count.

    Of the spots of a crystal, about one in eight lies in an ice band by chance.
    """
    return np.asarray((n_ice >= ICE_SPOTS) & (n_ice >= n_counted))


def ice_share(n_ice: Integers, n_counted: Integers, resolution: npt.NDArray[np.floating[Any]]) -> float | None:
    """Share of the searched images with ice; None where none was searched or no resolution is known.

    Parameters
    ----------
    n_ice, n_counted, resolution : arrays, shape (n,)
        Of all images of the run, as the columns of ImageResults.
    """
    searched = np.asarray(n_counted) >= 0
    if not searched.any() or not (np.isfinite(resolution).any() or (n_ice[searched] > 0).any()):
        return None
    return float(with_ice(n_ice[searched], n_counted[searched]).mean())


def saturated_share(n_saturated: Integers) -> float | None:
    """Share of the searched images with a saturated good pixel; None where none was searched."""
    searched = n_saturated[n_saturated >= 0]
    return float((searched > 0).mean()) if len(searched) else None
