"""A look at some images of a run before the rest: how many spots blanks have, and which cell the crystals have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError, SettingsError
from hitsieve.index import FEWEST_AGREEING, FoundCell, Vectors, another_cell, find_cell, read_cell
from hitsieve.model import ImageResults, Problem, Run, UnitCell
from hitsieve.pipeline.lattices import LatticeSearch, candidates
from hitsieve.pipeline.search import Plan, search
from hitsieve.pipeline.searcher import Images, Searcher
from hitsieve.settings import IndexSettings, RunSettings
from hitsieve.spots import Searched
from hitsieve.verdict import HitRule, calibrate, rate_spots

PILOT = (256, 1024)
"""Fewest and most images that are looked at first, evenly spread over the run; between them, a quarter of the run."""
MOST = 8192
"""Images that are looked at if the first hold too few hits to tell their cell."""
WANTED = 40
"""Hits from which the cell is found."""
COMPARED = 6
"""Hits of which the cell is found to be held against the one that is given."""
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
    another: Future[FoundCell | None] | None = None
    """Will be the cell that hits agree on, if it is not the one given."""


@contextmanager
def surveyed_search(
    searcher: Searcher, settings: RunSettings, step: Callable[[], None]
) -> Iterator[Callable[[], tuple[Survey, Iterator[ImageResults]]]]:
    """Start to search a run; what is given waits for what has to be known before images can be decided on.

    If the threshold or the cell has to be found, some images are searched first, and the searcher remembers what was
    found on them; `step` is called after every batch of them. Workers start at once in any case; leaving stops them.

    Raises
    ------
    SettingsError, MetadataError
        The cell that the user names is impossible or cannot be used.
    """
    run, verdict = searcher.opened.run, settings.verdict
    cell, wanted = known_cell(run, settings)
    with ExitStack() as stack:
        if verdict.min_spots is not None and not wanted:
            lattices = _lattices(searcher, settings, cell)
            surveyed = _decided(searcher, settings, lattices, _given(verdict.min_spots), given=cell is not None)
            decided = stack.enter_context(search(searcher))
            yield lambda: (surveyed, decided(surveyed.plan))
            return
        pilot = stack.enter_context(_Pilot.started(searcher, settings, step))

        def finish() -> tuple[Survey, Iterator[ImageResults]]:
            pilot.take()
            found = _found_cell(pilot, settings.index) if wanted else cell
            # Workers go on with the rest while it is found out how many spots are enough.
            decided = stack.enter_context(search(searcher))
            lattices = _lattices(searcher, settings, found)
            threshold = _threshold(pilot, lattices, settings)
            surveyed = _decided(searcher, settings, lattices, threshold, given=cell is not None)
            if surveyed.cell_is_given:
                surveyed = replace(surveyed, another=_compared(pilot, settings, surveyed))
            return surveyed, decided(surveyed.plan)

        yield finish


def _lattices(
    searcher: Searcher, settings: RunSettings, cell: UnitCell | Problem | None
) -> LatticeSearch | Problem | None:
    """The search for lattices of a cell; or, where there is no cell, the reason, if the user should hear it."""
    run = searcher.opened.run
    if isinstance(cell, UnitCell):
        return LatticeSearch(run, cell, settings.index, searcher.pool, searcher.cards)
    return cell or _why_not(run, settings)


def _decided(
    searcher: Searcher,
    settings: RunSettings,
    lattices: LatticeSearch | Problem | None,
    threshold: Threshold,
    *,
    given: bool,
) -> Survey:
    run, rule = searcher.opened.run, settings.verdict.rule
    if rule != "indexed" and threshold.min_spots > settings.spots.max_spots:
        kept, wanted = settings.spots.max_spots, threshold.min_spots
        raise SettingsError(
            f"{run.path}: no image could have spots enough: {kept} are kept, {wanted} are wanted ({threshold.reason})",
            mend=f"give --max-spots {wanted} or more, or --min-spots",
        )
    if not isinstance(lattices, LatticeSearch):
        if rule in ("indexed", "both"):
            why, mend = (lattices.what, lattices.mend) if lattices else ("it is not indexed", "")
            mend = f"{mend}, or use --rule spots" if mend else "use --rule spots"
            raise MetadataError(f"{run.path}: the rule {rule} needs lattices: {why}", mend=mend)
        plan = Plan(settings.verdict, HitRule("spots", threshold.min_spots), None)
        return Survey(plan, threshold, False, (lattices,) if lattices else ())
    plan = Plan(settings.verdict, HitRule(rule, threshold.min_spots), lattices)
    return Survey(plan, threshold, given, ())


def _threshold(pilot: _Pilot, lattices: LatticeSearch | Problem | None, settings: RunSettings) -> Threshold:
    """How many spots are enough, by the images looked at first, unless the user says it."""
    verdict = settings.verdict
    if verdict.min_spots is not None:
        return _given(verdict.min_spots)
    indexed = pilot.indexed(lattices) if isinstance(lattices, LatticeSearch) else None
    counts, background = pilot.counts
    found = calibrate(counts, indexed=indexed, background=background, false_hit_rate=verdict.false_hit_rate)
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
        if chosen.cell is not None:
            raise SettingsError("a cell is given, but indexing is off", mend="leave out --indexing off or --cell")
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

    def __init__(self, searcher: Searcher, settings: RunSettings, step: Callable[[], None]) -> None:
        self.searcher = searcher
        self._step = step
        self._verdict = settings.verdict
        self._min_indexed = settings.index.min_indexed
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
        self._taken: list[Images] = [np.zeros(0, dtype=np.int64)]
        self._readable: list[Images] = []
        self._candidates: dict[int, Vectors] = {}
        """q of the counted spots of each image with enough to be indexed."""

    @classmethod
    @contextmanager
    def started(cls, searcher: Searcher, settings: RunSettings, step: Callable[[], None]) -> Iterator[_Pilot]:
        """Begin with the first images."""
        pilot = cls(searcher, settings, step)
        with searcher.searching(pilot._images(pilot.size)) as batches:
            pilot._first = batches
            yield pilot

    @property
    def counts(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Counted spots and background of each image that could be searched."""
        none = (np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        counts, backgrounds = zip(none, *self._counts, strict=True)
        return np.concatenate(counts), np.concatenate(backgrounds)

    @property
    def hits(self) -> list[Vectors]:
        """q of the counted spots of each image with enough to tell a cell."""
        return [q for q in self._candidates.values() if len(q) >= MIN_SPOTS]

    def indexed(self, lattices: LatticeSearch) -> npt.NDArray[np.bool_]:
        """Which of the images of `counts` have a lattice."""
        tried = {image: q for image, q in self._candidates.items() if len(q) >= self._min_indexed}
        found = [image for image, lattices_of in lattices.begin(tried).items() if lattices_of()]
        return np.isin(np.concatenate([np.zeros(0, dtype=np.int64), *self._readable]), found)

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
        return np.setdiff1d(chosen, np.concatenate(self._taken))

    def _take(self, batches: Iterator[tuple[Images, Searched]]) -> None:
        run = self.searcher.opened.run
        for images, searched in batches:
            centroids = (searched.x, searched.y)
            rated = rate_spots(images, searched.offsets, centroids, (run.detector, run.beam), self._verdict)
            readable = np.ones(len(images), dtype=np.bool_)
            readable[list(searched.reasons)] = False
            self._counts.append((rated.n_spots_counted[readable], searched.background[readable]))
            self._readable.append(images[readable])
            if can_index(run):
                chosen = candidates(run, images, searched, rated, min(self._min_indexed, MIN_SPOTS))
                self._candidates |= zip(images[chosen.positions].tolist(), chosen.q, strict=True)
            self.searcher.found.add(images, searched)
            self._taken.append(images)
            self.n += len(images)
            self._step()


def _spread(n: int, wanted: int) -> Images:
    """About `wanted` of n places, evenly spread but in step with no pattern; a larger number has those of a smaller."""
    if n <= wanted:
        return np.arange(n, dtype=np.int64)
    return np.unique((np.arange(wanted) * GOLDEN % 1 * n).astype(np.int64))


def _compared(pilot: _Pilot, settings: RunSettings, surveyed: Survey) -> Future[FoundCell | None] | None:
    """Begin to hold the cell that is given against some hits."""
    lattices = surveyed.plan.lattices
    if lattices is None or len(pilot.hits) < FEWEST_AGREEING:
        return None
    best = sorted(pilot.hits, key=len, reverse=True)[:COMPARED]
    return pilot.searcher.pool.submit(another_cell, best, lattices.cell, settings.index)


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
    enough = len(pilot.hits) >= FEWEST_AGREEING
    agree = ", and they do not agree on a unit cell" if enough else f"; a unit cell needs {FEWEST_AGREEING} that agree"
    return Problem(str(searcher.opened.run.path), what + agree, "give --cell")


def _why_not(run: Run, settings: RunSettings) -> Problem | None:
    """Say why a run is not indexed, where the user did not ask for that."""
    if settings.index.indexing == "off":
        return None
    lacks = "detector geometry" if not run.detector.panels else "wavelength"
    return Problem(str(run.path), f"not indexed: the {lacks} is unknown", "give it with --set or --geometry")
