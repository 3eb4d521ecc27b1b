"""Searches every image of a run, whatever its form, and gives each its state."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model import ImageResults, Run, Spots, State
from hitsieve.settings import VerdictSettings
from hitsieve.source import OpenedRun
from hitsieve.spots import Finder, Searched
from hitsieve.verdict import judge

BATCH = 64
"""Images handed on at a time."""


@contextmanager
def search(
    opened: OpenedRun, finder: Finder, settings: VerdictSettings, workers: int
) -> Iterator[Iterator[ImageResults]]:
    """Give the results of all images of a run, in batches, in order; every image has its state.

    The search starts at once, so that workers are busy while the outputs are being set up; leaving stops it.
    """
    with closing(finder.scan(opened.run, workers, BATCH)) as scan, ThreadPoolExecutor(workers) as pool:
        yield _judged(opened, finder, settings, scan, pool)


def _judged(
    opened: OpenedRun, finder: Finder, settings: VerdictSettings, scan: Iterator[Searched], pool: ThreadPoolExecutor
) -> Iterator[ImageResults]:
    run = opened.run
    known = {**run.images.missing, **run.images.unreadable}
    first = 0
    for searched in scan:
        images = np.arange(first, first + len(searched), dtype=np.int64)
        first += len(searched)
        by_library = [i for i in searched.reasons if not searched.reasons[i] and int(images[i]) not in known]
        whole = _fill(searched, by_library, images, opened, finder, pool) if by_library else searched
        yield _results(run, images, whole, settings)


def _fill(
    searched: Searched,
    positions: list[int],
    images: np.ndarray[tuple[int], np.dtype[np.int64]],
    opened: OpenedRun,
    finder: Finder,
    pool: ThreadPoolExecutor,
) -> Searched:
    """Search the images that the core cannot read by itself from their pixels."""

    def find(i: int) -> Searched:
        try:
            return finder.find(opened.pixels(int(images[i])))
        except SourceError as error:
            return Searched.failed(str(error))

    found = dict(zip(positions, pool.map(find, positions), strict=True))
    return Searched.joined([found[i] if i in found else searched.one(i) for i in range(len(images))])


def _results(
    run: Run, images: np.ndarray[tuple[int], np.dtype[np.int64]], searched: Searched, settings: VerdictSettings
) -> ImageResults:
    judged = judge(images, searched.offsets, (searched.x, searched.y), (run.detector, run.beam), settings)
    state, counted, ice = judged.state, judged.n_spots_counted, judged.n_spots_ice
    reasons = {}
    for i, why in searched.reasons.items():
        image = int(images[i])
        state[i] = State.MISSING if image in run.images.missing else State.UNREADABLE
        counted[i] = ice[i] = -1
        reasons[image] = run.images.missing.get(image) or run.images.unreadable.get(image) or why
    spots = Spots(
        x=searched.x,
        y=searched.y,
        intensity=searched.intensity,
        background=searched.spot_background,
        snr=searched.snr,
        n_pixels=searched.n_pixels,
        peak=searched.peak,
        resolution=judged.spot_resolution,
        flags=searched.flags | judged.spot_flags,
    )
    return ImageResults(
        image=images,
        state=state,
        n_spots=searched.n_spots,
        n_spots_counted=counted,
        n_spots_ice=ice,
        n_strong=searched.n_strong,
        n_saturated=searched.n_saturated,
        max_count=searched.max_count,
        background=searched.background,
        resolution=judged.resolution,
        reasons=reasons,
        offsets=searched.offsets,
        spots=spots,
    )
