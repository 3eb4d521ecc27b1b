"""Another verdict over the stored results of a run: no image is searched again, and none is touched without need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from hitsieve.errors import MetadataError, SettingsError, SourceError
from hitsieve.model import ImageResults, Problem, SpotFlag, State
from hitsieve.pipeline.content import Context, content, indexing_rates
from hitsieve.pipeline.doubts import of_threshold, unsure_threshold
from hitsieve.pipeline.fetching import FetchedImages
from hitsieve.pipeline.register import register
from hitsieve.pipeline.reopen import reopen
from hitsieve.pipeline.second_look import missed_hits
from hitsieve.pipeline.tally import COLUMNS, Tally
from hitsieve.settings import CatalogueSettings, RunSettings, VerdictSettings
from hitsieve.source import OpenedRun
from hitsieve.verdict import HitRule, Rated, calibrate, rate_resolutions
from hitsieve.write import (
    AuditSummary,
    HitRuleSummary,
    IndexSummary,
    KeptImages,
    MissedSummary,
    Outputs,
    RunWriter,
    StoredResults,
    Summary,
    choose_audit,
    open_results,
    rewrite,
)

BLOCK = 32768
"""Images whose spots are counted again at a time."""
HITS_BLOCK = 2048
"""Images whose results are copied at a time."""
_COUNTING = ("d_min", "d_max", "ice", "ice_half_width")
"""Settings that say which spots count."""
_FLAGS = np.uint8(SpotFlag.ICE | SpotFlag.OUT_OF_RANGE)
Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RethinkRequest:
    """What is wanted of a rethink."""

    verdict: VerdictSettings
    """Those settings that were set replace the run's. A min_spots that the run found from blanks is found again where
    other spots count; any is, where false_hit_rate is set, or min_spots set to None."""
    output: Path
    """Folder for the files; made if absent."""
    hits: bool = False
    """Also write hit-only and annotated files, with chunks copied from the original run."""
    overwrite: bool = False
    """Replace files that exist."""
    source: tuple[Path, ...] = ()
    """Where the original run is, if it has moved; of a run whose misses are kept, or a series restored from it."""
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    """Where the verdict is entered; those settings that were set replace the run's."""


@dataclass(frozen=True, slots=True)
class RethinkReport:
    """What a rethink leaves."""

    summary: Summary
    before: Summary
    """That of the run."""
    files: tuple[Path, ...]
    """All files written."""
    problems: tuple[Problem, ...]
    """What the user should know besides what the run said."""


@dataclass(frozen=True, slots=True)
class _Thought:
    """The new verdict."""

    settings: RunSettings
    rule: HitRuleSummary
    recounted: bool
    tally: Tally
    missed: MissedSummary | None

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns that may have changed."""
        names = ("state", "n_spots_counted", "n_spots_ice", "resolution") if self.recounted else ("state",)
        return {name: getattr(self.tally, name) for name in names}


def rethink(results: str | Path, request: RethinkRequest, *, progress: Step | None = None) -> RethinkReport:
    """Apply another rule to a finished run, and enter the verdict into the local catalogue.

    Spots and lattices stay as they were found. Where limits of resolution or ice change, the spots that count are
    counted again from the stored ones, by their stored resolution (32 bits).

    Parameters
    ----------
    results : str or Path
        An output of the run, or a folder that holds those of one run.
    request : RethinkRequest
    progress : callable, optional
        Called with the number of images done and of all, after every block.

    Returns
    -------
    RethinkReport

    Raises
    ------
    SourceError
        The results cannot be opened or, where hits are to be written, the original run; or its images have changed.
    MetadataError
        The rule needs lattices or resolutions that the run does not have.
    SettingsError
        The settings make no sense together.
    OutputError
        A file exists or cannot be written; then none is left.
    """
    start = time.monotonic()
    with open_results(results) as stored:
        if stored.pump_state is not None:
            raise SourceError(
                f"{results}: holds the hits of pump state {stored.pump_state} alone, and a rule is for all images",
                mend=f"name the run, such as {stored.outputs.summary}",
            )
        thought = _think(stored, request, progress)
        if request.hits:
            with reopen(stored, request.source, restored=_holds_all(stored)) as source:
                report = _write_all(stored, source, thought, start, progress)
        else:
            doubted = _doubted(stored, thought)
            summary = _summary(stored, thought, start, problems=doubted)
            files = rewrite(stored, thought.settings, thought.columns, summary)
            report = RethinkReport(summary, stored.summary, files, doubted)
    outputs = Outputs.of(request.output, report.summary.source.stem)
    entered = register(outputs, report.summary, thought.settings.catalogue)
    return replace(report, problems=(*report.problems, *entered))


def _holds_all(stored: StoredResults) -> bool:
    """Whether hits and misses of the run are both there: then each image is proven, and need not lie where it did."""
    outputs = stored.outputs
    return stored.settings.write.misses == "keep" and outputs.misses is not None and outputs.hits.is_file()


def _settings(stored: StoredResults, request: RethinkRequest) -> RunSettings:
    before = stored.settings.model_dump()
    wanted = request.verdict.model_dump(exclude_unset=True)
    if "false_hit_rate" in wanted:
        wanted = {"min_spots": None} | wanted
    before["verdict"] |= wanted
    entered = request.catalogue.model_dump(exclude_unset=True)
    # Who names a catalogue wants the verdict in it, though the run was entered into none.
    before["catalogue"] |= ({"no_catalogue": False} if "catalogue" in entered else {}) | entered
    before["write"] |= {"output": request.output, "overwrite": request.overwrite}
    try:
        settings = RunSettings.model_validate(before)
    except ValidationError as error:
        why = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise SettingsError(f"{stored.outputs.summary}: with the settings of this run, {why}") from error
    verdict, summary = settings.verdict, stored.summary
    if summary.index is None and verdict.rule in ("indexed", "both"):
        what = f"{stored.outputs.summary}: the rule {verdict.rule} needs lattices, and the run is not indexed"
        raise MetadataError(what, mend="use --rule spots, or run hitsieve run with a cell")
    unknown = summary.facts.n_panels == 0 or summary.facts.wavelength is None
    if unknown and (verdict.d_min is not None or verdict.d_max is not None):
        what = f"{stored.outputs.summary}: resolution limits need the detector geometry and the wavelength"
        raise MetadataError(what, mend="leave out --d-min and --d-max, or run hitsieve run with --set or --geometry")
    return settings


def _think(stored: StoredResults, request: RethinkRequest, progress: Step | None) -> _Thought:
    settings = _settings(stored, request)
    verdict, before = settings.verdict, stored.settings.verdict
    columns = {name: stored.column(name) for name in COLUMNS}
    recounted = any(getattr(verdict, name) != getattr(before, name) for name in _COUNTING)
    searched = columns["state"] <= State.HIT
    if recounted:
        columns |= _recounted(stored, verdict, searched, progress)
    asked = bool({"min_spots", "false_hit_rate"} & request.verdict.model_fields_set)
    rule = _rule(stored, verdict, columns, searched) if recounted or asked else _kept(stored, verdict)
    decided = HitRule(rule.rule, rule.min_spots).decide(columns["n_spots_counted"], columns["n_lattices"])
    columns["state"] = np.where(searched, decided, columns["state"]).astype(np.uint8)
    tally = Tally.of(len(stored))
    for name, values in columns.items():
        setattr(tally, name, values)
    tally.done, tally.counts = len(stored), np.bincount(tally.state, minlength=len(State))
    look = stored.second_look
    return _Thought(settings, rule, recounted, tally, None if look is None else missed_hits(look, tally))


def _kept(stored: StoredResults, verdict: VerdictSettings) -> HitRuleSummary:
    """The threshold of the run, and its reason."""
    kind = "spots" if stored.summary.index is None else verdict.rule
    return stored.summary.rule.model_copy(update={"rule": kind})


def _rule(
    stored: StoredResults,
    verdict: VerdictSettings,
    columns: dict[str, npt.NDArray[Any]],
    searched: npt.NDArray[np.bool_],
) -> HitRuleSummary:
    kind = "spots" if stored.summary.index is None else verdict.rule
    if verdict.min_spots is not None:
        return HitRuleSummary(rule=kind, min_spots=verdict.min_spots, origin="given", reason="set by the user")
    found = calibrate(
        columns["n_spots_counted"][searched],
        indexed=columns["n_lattices"][searched] > 0,
        background=columns["background"][searched],
        false_hit_rate=verdict.false_hit_rate,
    )
    return HitRuleSummary(rule=kind, min_spots=found.min_spots, origin=found.origin, reason=found.reason)


def _recounted(
    stored: StoredResults, verdict: VerdictSettings, searched: npt.NDArray[np.bool_], progress: Step | None
) -> dict[str, npt.NDArray[Any]]:
    """Counted spots, spots in ice bands, and resolution estimate of every image, from the stored spots."""
    counted = np.full(len(stored), -1, dtype=np.int32)
    ice, resolution = counted.copy(), np.full(len(stored), np.nan, dtype=np.float32)
    for first, stop in _blocks(len(stored), BLOCK):
        offsets, spots = stored.spots_between(first, stop, ("resolution",))
        rated = _rated(spots["resolution"], offsets, verdict)
        here = searched[first:stop]
        counted[first:stop][here] = rated.n_spots_counted[here]
        ice[first:stop][here] = rated.n_spots_ice[here]
        resolution[first:stop][here] = rated.resolution[here]
        if progress is not None:
            progress(stop, len(stored))
    return {"n_spots_counted": counted, "n_spots_ice": ice, "resolution": resolution}


def _rated(resolution: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64], verdict: VerdictSettings) -> Rated:
    n = len(offsets) - 1
    owner = np.repeat(np.arange(n), np.diff(offsets))
    return rate_resolutions(1.0 / resolution.astype(np.float64), owner, n, verdict)


def _blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + size, n)) for first in range(0, n, size))


def _doubted(stored: StoredResults, thought: _Thought) -> tuple[Problem, ...]:
    """What is to be doubted of the threshold."""
    return unsure_threshold(str(stored.outputs.summary), thought.rule, thought.tally)


def _summary(
    stored: StoredResults,
    thought: _Thought,
    start: float,
    *,
    n_audit: int = 0,
    stored_bytes: tuple[int, int | None] = (0, None),
    problems: tuple[Problem, ...] = (),
) -> Summary:
    before, tally, settings = stored.summary, thought.tally, thought.settings
    files = tuple(str(path) for path in stored.source_files)
    context = Context(thought.rule, stored.pump, stored.column("source_file"), files)
    audit = AuditSummary(n=n_audit, seed=settings.write.audit_seed, fraction=settings.write.audit_fraction)
    found = content(tally, context)
    seconds = time.monotonic() - start
    said = Problem(
        str(stored.outputs.summary),
        f"another verdict on the run of {before.date:%Y-%m-%d %H:%M:%S %Z}: spots and lattices are those found then",
    )
    kept = (problem for problem in before.problems if not of_threshold(problem))
    changed = {
        **{name: getattr(before, name) for name in Summary.model_fields},
        **found,
        "version": version("hitsieve"),
        "date": datetime.now(timezone.utc),
        "verdict_on": str(stored.outputs.summary.resolve()),
        "settings": settings.model_dump(mode="json"),
        "missed": thought.missed,
        "index": None if before.index is None else _index(before.index, tally),
        "audit": audit,
        "seconds": seconds,
        "images_per_second": len(stored) / seconds if seconds > 0 else 0.0,
        "workers": 1,
        "hit_bytes": stored_bytes[0],
        "miss_bytes": stored_bytes[1],
        "problems": tuple(dict.fromkeys((*kept, str(said), *map(str, problems)))),
    }
    return Summary(**changed)


def _index(before: IndexSummary, tally: Tally) -> IndexSummary:
    """The lattices stay; the share of the hits that have one does not."""
    return before.model_copy(update=indexing_rates(tally))


def _write_all(
    stored: StoredResults, source: OpenedRun, thought: _Thought, start: float, progress: Step | None
) -> RethinkReport:
    """Write all outputs anew, with the hits' chunks from the original run."""
    settings, tally = thought.settings, thought.tally
    with KeptImages(stored.outputs.hits, stored.outputs.misses) as kept, RunWriter(source.run, settings) as writer:
        for first, stop in _blocks(len(stored), HITS_BLOCK):
            results = _again(stored.read(np.arange(first, stop)), thought)
            writer.add(results, FetchedImages.of(source, results, writer, kept))
            if progress is not None:
                progress(stop, len(stored))
        audit = choose_audit(tally.images(State.MISS), settings.write)
        problems = tuple(dict.fromkeys((*source.run.problems, *writer.carry(), *_doubted(stored, thought))))
        stored_bytes = (writer.hit_bytes, writer.miss_bytes)
        summed = _summary(stored, thought, start, n_audit=len(audit), stored_bytes=stored_bytes, problems=problems)
        summary = writer.named(summed)
        outputs = writer.finish(summary, FetchedImages(source, audit, kept).items(), stored.second_look)
    return RethinkReport(summary, stored.summary, tuple(outputs), problems)


def _again(results: ImageResults, thought: _Thought) -> ImageResults:
    """Stored results with the new verdict."""
    here = slice(int(results.image[0]), int(results.image[-1]) + 1)
    changed: dict[str, Any] = {name: values[here] for name, values in thought.columns.items()}
    if thought.recounted:
        rated = _rated(results.spots.resolution, results.offsets, thought.settings.verdict)
        changed["spots"] = replace(results.spots, flags=(results.spots.flags & ~_FLAGS) | rated.spot_flags)
    return replace(results, **changed)
