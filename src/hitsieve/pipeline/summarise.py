"""The summary of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np

from hitsieve.index import GeometryFit
from hitsieve.model import Problem, Run, SecondLook
from hitsieve.pipeline.content import Context, content, index_content
from hitsieve.pipeline.doubts import doubts
from hitsieve.pipeline.facts import facts_of
from hitsieve.pipeline.second_look import missed_hits
from hitsieve.pipeline.survey import Survey
from hitsieve.pipeline.tally import Tally
from hitsieve.pipeline.veto import Dropped
from hitsieve.settings import RunSettings
from hitsieve.write import (
    AuditSummary,
    GeometrySummary,
    HitRuleSummary,
    IndexSummary,
    SourceSummary,
    Summary,
)


@dataclass(frozen=True, slots=True)
class Work:
    """How a run was done."""

    n_audit: int
    stored_bytes: tuple[int, int | None]
    """Of hits, and of misses where they are kept."""
    seconds: float
    workers: int
    problems: tuple[Problem, ...]
    dropped: Dropped


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run's search found."""

    tally: Tally
    surveyed: Survey
    look: SecondLook | None
    geometry: GeometryFit | None


def summarise(run: Run, settings: RunSettings, findings: Findings, work: Work) -> Summary:
    """Sum up a run whose images are all searched."""
    plan, threshold = findings.surveyed.plan, findings.surveyed.threshold
    rule = HitRuleSummary(
        rule=plan.rule.kind, min_spots=threshold.min_spots, origin=threshold.origin, reason=threshold.reason
    )
    context = Context(rule, run.pump, run.images.file, tuple(str(file.path) for file in run.files))
    lost = run.images.missing.keys() | run.images.unreadable.keys() | set(work.dropped.images.tolist())
    directly = all(image in lost for image in np.flatnonzero(run.images.offset < 0).tolist())
    index = _index(settings, findings)
    doubted = doubts(str(run.path), rule, index, findings.tally)
    dropped, fraction, found = work.dropped, settings.write.audit_fraction, content(findings.tally, context)
    return Summary(
        version=version("hitsieve"),
        date=datetime.now(timezone.utc),
        settings=settings.model_dump(mode="json"),
        source=SourceSummary(
            path=str(run.path.resolve()),
            stem=run.stem,
            style=run.style,
            n_files=len(run.files),
            image_shape=run.detector.shape,
            dtype=run.dtype.name,
        ),
        **found,
        missed=None if findings.look is None else missed_hits(findings.look, findings.tally),
        index=index,
        audit=AuditSummary(
            n=work.n_audit,
            seed=settings.write.audit_seed,
            fraction=fraction if dropped.veto is None else dropped.veto.fraction,
        ),
        veto=dropped.summary(),
        n_dropped=dropped.count(found["n_misses"], work.n_audit, found["n_unreadable"]),
        seconds=work.seconds,
        images_per_second=len(run) / work.seconds if work.seconds > 0 else 0.0,
        workers=work.workers,
        source_bytes=int(run.images.size.sum()) if directly else None,
        hit_bytes=work.stored_bytes[0],
        miss_bytes=work.stored_bytes[1],
        facts=facts_of(run),
        problems=tuple(str(problem) for problem in (*work.problems, *doubted)),
        overrides=run.overrides,
    )


def _index(settings: RunSettings, findings: Findings) -> IndexSummary | None:
    lattices = findings.surveyed.plan.lattices
    if lattices is None:
        return None
    geometry = None if findings.geometry is None else GeometrySummary(**asdict(findings.geometry))
    return index_content(findings.tally, lattices.cell, geometry, settings.index.min_indexed)
