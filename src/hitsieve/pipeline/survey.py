"""A look at some images of a run before the rest: how many spots blanks have, and which cell the crystals have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError, SettingsError
from hitsieve.index import find_cell, read_cell
from hitsieve.model import ImageResults, Problem, Run, UnitCell
from hitsieve.pipeline.lattices import LatticeSearch, Vectors, candidates
from hitsieve.pipeline.search import Plan, search
from hitsieve.pipeline.searcher import Images, Searcher
from hitsieve.settings import IndexSettings, RunSettings, VerdictSettings
from hitsieve.spots import Searched
from hitsieve.verdict import HitRule, calibrate, rate_spots

PILOT = (256, 1024)
"""Fewest and most images that are looked at first, evenly spread over the run; between them, a quarter of the run."""
MOST = 8192
"""Images that are looked at if the first hold too few hits to tell their cell."""
WANTED = 40
"""Hits from which the cell is found."""
MIN_SPOTS = 15
"""Fewest counted spots of such a hit."""
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many spots are enough, and why."""

    min_spots: int
    origin: Literal["given", "blanks", "default"]
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What is decided before a run is searched."""

    plan: Plan
    threshold: Threshold
    cell_is_given: bool
    """The cell is the user's or the source's, not found in the run."""
    problems: tuple[Problem, ...]


@contextmanager
def surveyed_search(
    searcher: Searcher, settings: RunSettings
) -> Iterator[Callable[[], tuple[Survey, Iterator[ImageResults]]]]:
    """Start to search a run; what is given waits for what has to be known before images can be decided on.

    If the threshold or the cell has to be found, some images are searched first, and the searcher remembers what was
    found on them. Workers start at once in any case; leaving stops them.

    Raises
    ------
    SettingsError, MetadataError
        The cell that the user names is impossible or cannot be used.
    """
    run, verdict = searcher.opened.run, settings.verdict
    cell, wanted = known_cell(run, settings)
    with ExitStack() as stack:
        if verdict.min_spots is not None and not wanted:
            surveyed = _decided(searcher, settings, cell, _given(verdict.min_spots))
            batches = stack.enter_context(search(searcher, surveyed.plan))
            yield lambda: (surveyed, batches)
            return
        pilot = stack.enter_context(_Pilot.started(searcher, verdict))

        def finish() -> tuple[Survey, Iterator[ImageResults]]:
            pilot.take()
            given = verdict.min_spots
            threshold = find_threshold(*pilot.counts, verdict) if given is None else _given(given)
            found = _found_cell(pilot, settings.index) if wanted else cell
            surveyed = _decided(searcher, settings, found, threshold)
            return surveyed, stack.enter_context(search(searcher, surveyed.plan))

        yield finish


def _decided(
    searcher: Searcher, settings: RunSettings, cell: UnitCell | Problem | None, threshold: Threshold
) -> Survey:
    run, rule = searcher.opened.run, settings.verdict.rule
    problem = cell if isinstance(cell, Problem) else _why_not(run, settings) if cell is None else None
    if not isinstance(cell, UnitCell):
        if rule in ("indexed", "both"):
            why = problem.what if problem else "it is not indexed"
            raise MetadataError(f"{run.path}: the rule {rule} needs lattices: {why}", mend="use --rule spots")
        plan = Plan(settings.verdict, HitRule("spots", threshold.min_spots), None)
        return Survey(plan, threshold, False, (problem,) if problem else ())
    lattices = LatticeSearch(run, cell, settings.index, searcher.pool)
    plan = Plan(settings.verdict, HitRule(rule, threshold.min_spots), lattices)
    given = known_cell(run, settings)[0] is not None
    return Survey(plan, threshold, given, ())


def find_threshold(
    n_spots_counted: npt.NDArray[np.int32], background: npt.NDArray[np.float32], settings: VerdictSettings
) -> Threshold:
    """Find how many spots are enough from the counted spots and the background of searched images."""
    found = calibrate(n_spots_counted, background=background, false_hit_rate=settings.false_hit_rate)
    return Threshold(found.min_spots, found.origin, found.reason)


def _given(min_spots: int) -> Threshold:
    return Threshold(min_spots, "given", "set by the user")


def known_cell(run: Run, settings: RunSettings) -> tuple[UnitCell | None, bool]:
    """The cell that the user or the source names, and whether one is to be found.

    Raises
    ------
    SettingsError
        The cell is impossible, or the rule needs lattices that are not looked for.
    MetadataError
        A cell is given, but not what indexing needs besides.
    """
    chosen = settings.index
    if chosen.indexing == "off":
        if settings.verdict.rule in ("indexed", "both"):
            raise SettingsError(f"the rule {settings.verdict.rule} needs lattices", mend="leave out --indexing off")
        return None, False
    if chosen.cell is None and chosen.centring is not None:
        raise SettingsError("a centring is given without a cell", mend="give --cell too")
    named = read_cell(chosen.cell, chosen.centring) if chosen.cell is not None else None
    if not can_index(run):
        if named is not None:
            raise MetadataError(
                f"{run.path}: indexing needs the detector geometry and the wavelength",
                mend="give them with --set or --geometry, or leave out --cell",
            )
        return None, False
    cell = named or (run.sample_cell if chosen.cell is None else None)
    return cell, cell is None


def can_index(run: Run) -> bool:
    """Whether spots of the run have places in reciprocal space."""
    return bool(run.detector.panels) and run.beam.wavelength is not None


class _Pilot:
    """Images of a run that are searched before the others."""

    def __init__(self, searcher: Searcher, verdict: VerdictSettings) -> None:
        self.searcher = searcher
        self._verdict = verdict
        run = searcher.opened.run
        there = np.ones(len(run), dtype=np.bool_)
        there[[*run.images.missing, *run.images.unreadable]] = False
        self._there = np.flatnonzero(there)
        self.size = min(max(len(self._there) // 4, PILOT[0]), PILOT[1])
        """Images to begin with."""
        self._counts: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]] = []
        self._first: Iterator[tuple[Images, Searched]] = iter(())
        self.n = 0
        """Images looked at."""
        self.hits: list[Vectors] = []
        """q of the counted spots of each image with enough to tell a cell."""

    @classmethod
    @contextmanager
    def started(cls, searcher: Searcher, verdict: VerdictSettings) -> Iterator[_Pilot]:
        """Begin with the first images."""
        pilot = cls(searcher, verdict)
        with searcher.searching(pilot._images(pilot.size)) as batches:
            pilot._first = batches
            yield pilot

    @property
    def counts(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Counted spots and background of each image that could be searched."""
        none = (np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        counts, backgrounds = zip(none, *self._counts, strict=True)
        return np.concatenate(counts), np.concatenate(backgrounds)

    def take(self) -> None:
        """Wait for the first images."""
        self._take(self._first)

    def grow(self, n: int) -> bool:
        """Search up to n images, those already searched among them; False where there are no more."""
        images = self._images(n)
        with self.searcher.searching(images) as batches:
            self._take(batches)
        return len(images) > 0

    def _images(self, n: int) -> Images:
        chosen = self._there[_spread(len(self._there), n)]
        return np.setdiff1d(chosen, np.fromiter(self.searcher.found, dtype=np.int64))

    def _take(self, batches: Iterator[tuple[Images, Searched]]) -> None:
        run = self.searcher.opened.run
        for images, searched in batches:
            centroids = (searched.x, searched.y)
            rated = rate_spots(images, searched.offsets, centroids, (run.detector, run.beam), self._verdict)
            readable = np.ones(len(images), dtype=np.bool_)
            readable[list(searched.reasons)] = False
            self._counts.append((rated.n_spots_counted[readable], searched.background[readable]))
            if can_index(run):
                self.hits += candidates(run, images, searched, rated, MIN_SPOTS).q
            for i, image in enumerate(images.tolist()):
                self.searcher.found[image] = searched.one(i)
            self.n += len(images)


def _spread(n: int, wanted: int) -> Images:
    """About `wanted` of n places, evenly spread but in step with no pattern; a larger number has those of a smaller."""
    if n <= wanted:
        return np.arange(n, dtype=np.int64)
    return np.unique((np.arange(wanted) * GOLDEN % 1 * n).astype(np.int64))


def _found_cell(pilot: _Pilot, settings: IndexSettings) -> UnitCell | Problem:
    """The cell that hits of the pilot agree on, or why there is none."""
    n = pilot.size
    while len(pilot.hits) < WANTED and n < MOST:
        n *= 2
        if not pilot.grow(n):
            break
    searcher = pilot.searcher
    best = sorted(pilot.hits, key=len, reverse=True)[:WANTED]
    found = find_cell(best, settings, map=searcher.pool.map)
    if found is not None:
        return found.cell
    what = f"not indexed: {len(pilot.hits)} of {pilot.n} images looked at have {MIN_SPOTS} spots or more"
    agree = ", and they do not agree on a unit cell" if pilot.hits else ""
    return Problem(str(searcher.opened.run.path), what + agree, "give --cell")


def _why_not(run: Run, settings: RunSettings) -> Problem | None:
    """Say why a run is not indexed, where the user did not ask for that."""
    if settings.index.indexing == "off":
        return None
    lacks = "detector geometry" if not run.detector.panels else "wavelength"
    return Problem(str(run.path), f"not indexed: the {lacks} is unknown", "give it with --set or --geometry")
