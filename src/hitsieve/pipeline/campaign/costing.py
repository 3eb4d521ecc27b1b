"""How much work an archive is, before any of it is done."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hitsieve.catalogue import Catalogue
from hitsieve.errors import HitsieveError, NoClusterError
from hitsieve.pipeline.archive import ScanRequest, results_of, runs_in
from hitsieve.pipeline.engine import check_cluster, check_engine, lasting, scanning
from hitsieve.pipeline.searcher import Searcher, working
from hitsieve.settings import RunSettings
from hitsieve.source import Master, OpenedRun, open_run
from hitsieve.spots import build_finder

TRIED = 5
"""Runs of which some images are searched, spread over the archive."""
SAMPLE = 256
"""Images that are searched of each."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What is to be sieved, and how long that takes."""

    n_runs: int
    """Runs without results."""
    n_files: int
    """Files with their images."""
    n_images: int
    bytes: int
    """Stored bytes of their images, where these are known without reading them."""
    n_done: int
    """Runs that have results; they are not among those above."""
    bad: tuple[tuple[Path, str], ...]
    """Files that cannot be read, with the reason."""
    n_tried: int
    """Images that were searched to learn the rate."""
    images_per_second: float | None
    """Rate for images as large as the mean of the archive's; None where none could be searched."""
    seconds: float | None
    """Time to open all runs and search all images; writing comes on top."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What one run is."""

    master: Master
    n_files: int
    n_images: int
    n_pixels: int
    bytes: int
    seconds: float
    """Time to open it."""


def cost_of(request: ScanRequest, *, step: Callable[[int, int], None], looking: Callable[[int], None]) -> Cost:
    """Open all runs of an archive that have no results, and search some images of some of them.

    Parameters
    ----------
    request : ScanRequest
    step : callable
        Called with the number of runs looked at and of all.
    looking : callable
        Called with the number of files looked at, before.

    Raises
    ------
    SourceError
        A folder does not exist.
    SettingsError
        No graphics card, or no cluster, can be used that is asked for.
    ServerError
        The cluster does not answer.
    """
    check_engine(request.settings)
    bad: list[tuple[Path, str]] = []
    masters = runs_in(request, lambda path, why: bad.append((path, why)), looking)
    known = _known(request.catalogue)
    opened: list[_Opened] = []
    n_done, is_looked_for = 0, False
    for n, master in enumerate(masters, start=1):
        if results_of(master, request, known) is not None:
            n_done += 1
        else:
            if not is_looked_for:
                # Thousands of files are opened before the first image is searched.
                check_cluster(request.settings)
                is_looked_for = True
            try:
                opened.append(_open(master, request.settings))
            except HitsieveError as error:
                bad.append((master.path, str(error)))
        step(n, len(masters))
    chosen = (
        [opened[i] for i in np.unique(np.linspace(0, len(opened) - 1, TRIED).round().astype(int))] if opened else []
    )
    tried = _tried(chosen, request.settings)
    n_images, n_pixels = sum(one.n_images for one in opened), sum(one.n_images * one.n_pixels for one in opened)
    # A median: one run on a disk that has to wake up, or with its files in memory still, does not speak for the others.
    pace = statistics.median(seconds / pixels for _, pixels, seconds in tried) if tried else None
    searching = None if pace is None else pace * n_pixels
    return Cost(
        n_runs=len(opened),
        n_files=sum(one.n_files for one in opened),
        n_images=n_images,
        bytes=sum(one.bytes for one in opened),
        n_done=n_done,
        bad=tuple(bad),
        n_tried=sum(n for n, _, _ in tried),
        images_per_second=n_images / searching if searching else None,
        seconds=None if searching is None else searching + sum(one.seconds for one in opened),
    )


def _known(place: Path) -> dict[str, list[str]]:
    if not place.exists():
        return {}
    with Catalogue(place) as catalogue:
        return catalogue.places_by_source()


def _open(master: Master, settings: RunSettings) -> _Opened:
    start = time.monotonic()
    with open_run([master.path], settings.source) as source:
        run = source.run
        slow, fast = run.detector.shape
        stored = int(run.images.size.sum())
        return _Opened(master, len(run.files), len(run), slow * fast, stored, time.monotonic() - start)


def _tried(chosen: Sequence[_Opened], settings: RunSettings) -> list[tuple[int, int, float]]:
    if not chosen:
        return []
    with lasting(settings) as joined:
        return [found for one in chosen if (found := _try(one, joined)) is not None]


def _try(one: _Opened, settings: RunSettings) -> tuple[int, int, float] | None:
    """Images searched, their pixels, and the time it took; None where none could be read."""
    workers = settings.workers or len(os.sched_getaffinity(0))
    # Nothing is to be left behind.
    settings = settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"resume": False})})
    paths = [one.master.path]
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_run(paths, settings.source))
            pool = stack.enter_context(working(workers))
            finder = build_finder(source.run, settings.spots)
            scan = stack.enter_context(scanning(source.run, finder, paths, settings, workers))
            searcher = Searcher(source, finder, scan, pool)
            images = _some(source)
            start = time.monotonic()
            with searcher.searching(images) as batches:
                n = sum(len(these) - len(searched.reasons) for these, searched in batches)
            seconds = time.monotonic() - start
    except NoClusterError:
        raise
    except HitsieveError:
        return None
    return (n, n * one.n_pixels, seconds) if n else None


def _some(source: OpenedRun) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    there = np.ones(len(source.run), dtype=np.bool_)
    there[[*source.run.images.missing, *source.run.images.unreadable]] = False
    images = np.flatnonzero(there).astype(np.int64)
    return images[np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(int))] if len(images) else images
