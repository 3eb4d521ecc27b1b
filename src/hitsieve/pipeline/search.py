"""Searches every image of a run, indexes those that may hold a crystal, and gives each its state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hitsieve.model import ImageResults, Run, Spots, State
from hitsieve.pipeline.lattices import Indexed, LatticeSearch
from hitsieve.pipeline.searcher import Images, Searcher
from hitsieve.settings import VerdictSettings
from hitsieve.spots import Searched
from hitsieve.verdict import HitRule, Rated, rate_spots

AHEAD = 4
"""Batches whose lattices are being looked for while the spots of the next ones are found."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with the spots of an image."""

    verdict: VerdictSettings
    rule: HitRule
    lattices: LatticeSearch | None
    """None: the run is not indexed."""


@contextmanager
def search(searcher: Searcher) -> Iterator[Callable[[Plan], Iterator[ImageResults]]]:
    """Search all images of a run; what is given makes results of what is found, in batches, in order.

    Every image has its state. The search starts at once, before it is known what is done with the spots; leaving
    stops it.
    """
    run = searcher.opened.run
    with searcher.searching(np.arange(len(run), dtype=np.int64)) as batches:
        yield lambda plan: _decided(run, plan, batches)


def _decided(run: Run, plan: Plan, batches: Iterator[tuple[Images, Searched]]) -> Iterator[ImageResults]:
    waiting: deque[Callable[[], ImageResults]] = deque()
    for images, searched in batches:
        waiting.append(_start(run, plan, images, searched))
        if len(waiting) > AHEAD:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _start(run: Run, plan: Plan, images: Images, searched: Searched) -> Callable[[], ImageResults]:
    centroids = (searched.x, searched.y)
    rated = rate_spots(images, searched.offsets, centroids, (run.detector, run.beam), plan.verdict)
    if plan.lattices is None:
        indexed = Indexed.none(len(images), len(searched.x), tried=False)
        return lambda: _results(run, plan.rule, (images, searched, rated, indexed))
    wait = plan.lattices.start(images, searched, rated)
    return lambda: _results(run, plan.rule, (images, searched, rated, wait()))


def _results(run: Run, rule: HitRule, found: tuple[Images, Searched, Rated, Indexed]) -> ImageResults:
    images, searched, rated, indexed = found
    state = rule.decide(rated.n_spots_counted, indexed.n_lattices)
    reasons = {}
    for i, why in searched.reasons.items():
        image = int(images[i])
        state[i] = State.MISSING if image in run.images.missing else State.UNREADABLE
        for numbers in (rated.n_spots_counted, rated.n_spots_ice, indexed.n_lattices, indexed.n_indexed):
            numbers[i] = -1
        reasons[image] = run.images.missing.get(image) or run.images.unreadable.get(image) or why
    spots = Spots(
        x=searched.x,
        y=searched.y,
        intensity=searched.intensity,
        background=searched.spot_background,
        snr=searched.snr,
        n_pixels=searched.n_pixels,
        peak=searched.peak,
        resolution=rated.spot_resolution,
        flags=searched.flags | rated.spot_flags,
        lattice=indexed.spot_lattice,
        h=indexed.hkl[:, 0],
        k=indexed.hkl[:, 1],
        l=indexed.hkl[:, 2],
    )
    return ImageResults(
        image=images,
        state=state,
        n_spots=searched.n_spots,
        n_spots_counted=rated.n_spots_counted,
        n_spots_ice=rated.n_spots_ice,
        n_strong=searched.n_strong,
        n_saturated=searched.n_saturated,
        max_count=searched.max_count,
        background=searched.background,
        resolution=rated.resolution,
        n_lattices=indexed.n_lattices,
        n_indexed=indexed.n_indexed,
        pump=np.full(len(images), -1, dtype=np.int16) if run.pump is None else run.pump.code[images],
        reasons=reasons,
        offsets=searched.offsets,
        spots=spots,
        lattice_offsets=indexed.offsets,
        lattices=indexed.lattices,
    )
