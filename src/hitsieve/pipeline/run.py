"""The main job: a stored run in, its hits and what was found out about every image out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hitsieve.errors import SourceError
from hitsieve.index import GeometryCheck, GeometryFit
from hitsieve.model import Problem, Run, SecondLook, State
from hitsieve.pipeline.cardlattices import indexing_on_cards
from hitsieve.pipeline.doubts import another_cell, doubts, unreadable
from hitsieve.pipeline.engine import scanning, searched_elsewhere
from hitsieve.pipeline.fetching import FetchedImages
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.register import register
from hitsieve.pipeline.search import Plan
from hitsieve.pipeline.searcher import Images, Searcher, working
from hitsieve.pipeline.second_look import Step, draw, look_again
from hitsieve.pipeline.summarise import Findings, Work, summarise
from hitsieve.pipeline.survey import Survey, can_index, surveyed_search
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import RunSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import Finder, build_finder
from hitsieve.verdict import check_geometry
from hitsieve.write import Outputs, RunWriter, Summary, choose_audit


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    total: int
    hits: int
    misses: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a finished run leaves."""

    summary: Summary
    outputs: Outputs
    problems: tuple[Problem, ...]
    """What the user should know about the source, and about what of it is carried into the outputs."""


def run(
    paths: Sequence[Path],
    settings: RunSettings,
    *,
    progress: Callable[[Progress], None] | None = None,
    opened: Callable[[Run], None] | None = None,
    known: Known | None = None,
    step: Step = lambda: None,
) -> RunReport:
    """Flag every image of a stored run, write the hits, and enter the run into the local catalogue.

    Parameters
    ----------
    paths : sequence of Path
        A master file, or one or many data files or images.
    settings : RunSettings
    progress : callable, optional
        Called after every batch of images; of those that are looked at first, with none done.
    opened : callable, optional
        Called with the run once it is open, before anything is searched: what it lacks is known by then.
    known : Known, optional
        What was found on images of it when they were received.
    step : callable, optional
        Called whenever progress is, and after each image of the second look; what it raises ends the run.

    Returns
    -------
    RunReport

    Raises
    ------
    SourceError
        The input cannot be read, or none of its images can.
    OutputError
        An output exists, or cannot be written.
    """
    start, known = time.monotonic(), known or Known()
    workers = settings.workers or len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        source = stack.enter_context(known.joined(open_run(paths, settings.source)))
        pool = stack.enter_context(working(workers))
        run = source.run
        if opened is not None:
            opened(run)
        check_geometry(run, settings.verdict)
        finder = build_finder(run, settings.spots)
        scan = stack.enter_context(scanning(run, finder, paths, settings, workers))
        _set_up_meanwhile(pool, finder, run, settings)
        cards = stack.enter_context(indexing_on_cards(run, settings, pool, workers))
        searcher = Searcher(source, finder, scan, pool, known.remembered(), cards)
        tally = Tally.of(len(run))
        geometry = GeometryCheck(run.detector, run.beam) if can_index(run) else None
        tell = _telling(run, tally, (step, progress), start)
        with surveyed_search(searcher, settings, tell) as begun, RunWriter(run, settings) as writer:
            surveyed, batches = begun()
            for results in batches:
                writer.add(results, FetchedImages.of(source, results, writer))
                tally.add(results)
                if geometry is not None:
                    geometry.add(results)
                tell()
            _refuse_unreadable(source, tally)
            _refuse_gone(run, tally)
            fit = pool.submit(_geometry, geometry, surveyed)
            audit, looking = _audit(tally, known, settings)
            look = _look(searcher, tally, (audit, surveyed.plan), looking)
            # Workers look again while the metadata are carried over.
            found = (*unreadable(run, tally), *another_cell(run, surveyed))
            problems = tuple(dict.fromkeys((*run.problems, *surveyed.problems, *found, *writer.carry())))
            stored = (writer.hit_bytes, writer.miss_bytes)
            findings = Findings(tally, surveyed, look(step), fit.result())
            work = Work(len(audit), stored, time.monotonic() - start, workers, problems, known.dropped)
            summary = writer.named(summarise(run, settings, findings, work))
            outputs = writer.finish(summary, FetchedImages(source, audit).items(), findings.look)
    problems += doubts(str(run.path), summary.rule, summary.index, tally)
    return RunReport(summary, outputs, (*problems, *register(outputs, summary, settings.catalogue)))


def _telling(run: Run, tally: Tally, whom: tuple[Step, Callable[[Progress], None] | None], start: float) -> Step:
    """Give what tells how far a run is."""
    step, progress = whom

    def tell() -> None:
        step()
        if progress is not None:
            misses, hits = (int(n) for n in tally.counts[: State.HIT + 1])
            progress(Progress(tally.done, len(run), hits, misses, time.monotonic() - start))

    return tell


def _geometry(geometry: GeometryCheck | None, surveyed: Survey) -> GeometryFit | None:
    """What the lattices say about the geometry."""
    lattices = surveyed.plan.lattices
    if geometry is None or lattices is None:
        return None
    return geometry.fit(lattices.cell, cell_known=surveyed.cell_is_given)


def _audit(tally: Tally, known: Known, settings: RunSettings) -> tuple[Images, RunSettings]:
    """The random sample of misses that is kept, and settings for the second look."""
    misses = tally.images(State.MISS)
    written = known.dropped.audit(misses)
    if written is None:
        return choose_audit(misses, settings.write), settings
    # Of others the images are gone: only those of the sample can be looked at again.
    update = {"verdict": settings.verdict.model_copy(update={"second_look_fraction": 0.0})}
    return written, settings.model_copy(update=update)


def _look(
    searcher: Searcher, tally: Tally, known: tuple[Images, Plan], settings: RunSettings
) -> Callable[[Step], SecondLook | None]:
    """Begin to look again at some of the misses, where lattices can be found in them."""
    audit, plan = known
    # Of a miss with a lattice it is known what it holds.
    misses = np.flatnonzero((tally.state == State.MISS) & (tally.n_lattices <= 0))
    drawn = draw(misses, np.intersect1d(audit, misses), settings)
    if not len(drawn) or not _may_look(searcher.opened.run, settings):
        return lambda _: None
    cell = None if plan.lattices is None else plan.lattices.cell
    return look_again(searcher, misses, drawn, cell, settings)


def _set_up_meanwhile(pool: ThreadPoolExecutor, finder: Finder, run: Run, settings: RunSettings) -> None:
    """Set the finder up while others search: here it is needed at the end, when all would wait for it."""
    if searched_elsewhere(settings) and _may_look(run, settings):
        pool.submit(finder.set_up)


def _may_look(run: Run, settings: RunSettings) -> bool:
    """Whether lattices can be looked for in misses."""
    return settings.verdict.second_look > 0 and settings.index.indexing != "off" and can_index(run)


def _refuse_unreadable(opened: OpenedRun, tally: Tally) -> None:
    """A run of which nothing could be searched has failed: it must not look like a run without hits."""
    if not tally.images(State.HIT).size and not tally.images(State.MISS).size:
        raise SourceError(
            f"{opened.run.path}: none of its {len(opened.run)} images could be read; {tally.first_reason}",
            mend="check that the data files are complete and beside the master",
        )


def _refuse_gone(run: Run, tally: Tally) -> None:
    """A file that has gone since, with its disk or share, says nothing of its images: they are not unreadable."""
    spoiled = np.setdiff1d(tally.images(State.UNREADABLE), np.fromiter(run.images.unreadable, dtype=np.int64))
    numbers = np.unique(run.images.file[spoiled])
    for path in (run.files[number].path for number in numbers[numbers >= 0].tolist()):
        try:
            path.open("rb").close()
        except OSError as error:
            raise SourceError(
                f"{path}: was there when the run was opened, and cannot be read any more: {error.strerror}",
                mend="see that its disk or share is there, and start again",
            ) from None
