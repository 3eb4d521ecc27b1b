"""Work is handed out by ranges of images of one data file; and what tells two runs apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from hitsieve.model import Run
from hitsieve.pipeline.searcher import Images

SIZE = 256
"""Most images of a unit: about a second of work for four megapixels; no more is done again where a worker dies."""
LEAST = 64
"""Fewest images that a unit of a long file is cut down to: to hand one out, and to write what comes back, costs as much
as to search some ten."""
SHARE = 2
"""Of what is left to each of those who search, the next unit is a part of so many."""


def units(run: Run, images: Images, size: int = SIZE) -> list[slice]:
    """Cut images, in their order, into ranges of at most `size` of one file each.

    Parameters
    ----------
    run : Run
    images : int64, shape (n,)
        Indices in the run; negative ones, which nobody searches, are of no file and cut nothing.
    size : int

    Returns
    -------
    list of slice
        Positions in `images`, without gaps or overlaps.
    """
    if not len(images):
        return []
    file = run.images.file[np.maximum(images, 0)]
    asked = np.flatnonzero(images >= 0)
    changes = asked[1:][np.diff(file[asked]) != 0]
    edges = [0, *changes.tolist(), len(images)]
    return [slice(first, min(first + size, end)) for start, end in pairwise(edges) for first in range(start, end, size)]


def dwindling(run: Run, images: Images, takers: Callable[[], int]) -> Iterator[slice]:
    """Cut images as `units` does, ever smaller towards the end, so that all who search end at nearly the same time.

    Parameters
    ----------
    run : Run
    images : int64, shape (n,)
        As for `units`.
    takers : callable
        How many search, one at least; it is asked anew for each unit, when that is cut.

    Returns
    -------
    iterator of slice
        Positions in `images`, without gaps or overlaps.
    """
    for stretch in units(run, images, max(1, len(images))):
        first = stretch.start
        while first < stretch.stop:
            fair = (len(images) - first) // (SHARE * takers())
            end = min(first + min(max(fair, LEAST), SIZE), stretch.stop)
            yield slice(first, end)
            first = end


def fingerprint(run: Run) -> str:
    """What tells a run, as it was opened, from others; hexadecimal.

    It is all that the search hangs on: where each image's bytes are, of what type, and what the detector is like.
    """
    table = run.images
    digest = hashlib.sha256(f"{run.dtype.str} {run.detector.shape} {len(table)}".encode())
    for column in (table.file, table.row, table.offset, table.size):
        digest.update(np.ascontiguousarray(column).tobytes())
    for known in (table.missing, table.unreadable):
        digest.update(np.array(sorted(known), dtype=np.int64).tobytes())
    digest.update("\n".join(f"{file.path.name} {file.dataset} {file.codec}" for file in run.files).encode())
    detector = run.detector
    limits = (detector.saturation_value, detector.underload_value, detector.error_value)
    digest.update(" ".join(map(str, limits)).encode())
    if detector.pixel_mask is not None:
        digest.update(np.ascontiguousarray(detector.pixel_mask != 0).tobytes())
    for panel in detector.panels:
        digest.update(_rounded(*panel.first, *panel.shape, *panel.origin, *panel.fast, *panel.slow))
    digest.update(_rounded(*run.beam.direction, -1.0 if run.beam.wavelength is None else run.beam.wavelength))
    return digest.hexdigest()


def _rounded(*values: float) -> bytes:
    """Numbers (m, or angstrom) as bytes; processors differ in the last digits of what they work out."""
    return (np.array(values, dtype=np.float64).round(12) + 0.0).tobytes()
