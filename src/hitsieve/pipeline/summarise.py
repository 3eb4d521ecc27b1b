"""The summary of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np

from hitsieve.index import GeometryFit
from hitsieve.model import Problem, Run
from hitsieve.pipeline.content import Context, content, index_content
from hitsieve.pipeline.second_look import SecondLook
from hitsieve.pipeline.survey import Survey
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import RunSettings
from hitsieve.verdict import wilson_interval
from hitsieve.write import (
    AuditSummary,
    Facts,
    GeometrySummary,
    HitRuleSummary,
    IndexSummary,
    MissedSummary,
    SourceSummary,
    Summary,
)

FEW = 20
"""Tried images from which on a low share that is indexed is doubted."""
DOUBTFUL = 0.3


@dataclass(frozen=True, slots=True)
class Work:
    """How a run was done."""

    n_audit: int
    hit_bytes: int
    seconds: float
    workers: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run's search found."""

    tally: Tally
    surveyed: Survey
    missed: SecondLook | None
    geometry: GeometryFit | None


def summarise(run: Run, settings: RunSettings, findings: Findings, work: Work) -> Summary:
    """Sum up a run whose images are all searched."""
    plan, threshold = findings.surveyed.plan, findings.surveyed.threshold
    rule = HitRuleSummary(
        rule=plan.rule.kind, min_spots=threshold.min_spots, origin=threshold.origin, reason=threshold.reason
    )
    context = Context(rule, run.pump, run.images.file, tuple(str(file.path) for file in run.files))
    lost = run.images.missing.keys() | run.images.unreadable.keys()
    directly = all(image in lost for image in np.flatnonzero(run.images.offset < 0).tolist())
    index = _index(run, settings, findings)
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
        **content(findings.tally, context),
        missed=None if findings.missed is None else _missed(findings.missed),
        index=index,
        audit=AuditSummary(n=work.n_audit, seed=settings.write.audit_seed, fraction=settings.write.audit_fraction),
        seconds=work.seconds,
        images_per_second=len(run) / work.seconds if work.seconds > 0 else 0.0,
        workers=work.workers,
        source_bytes=int(run.images.size.sum()) if directly else None,
        hit_bytes=work.hit_bytes,
        facts=_facts(run),
        problems=tuple(str(problem) for problem in (*work.problems, *doubts(str(run.path), index))),
        overrides=run.overrides,
    )


def _index(run: Run, settings: RunSettings, findings: Findings) -> IndexSummary | None:
    lattices = findings.surveyed.plan.lattices
    if lattices is None:
        return None
    geometry = None if findings.geometry is None else GeometrySummary(**asdict(findings.geometry))
    return index_content(findings.tally, lattices.cell, geometry, settings.index.min_indexed)


def _missed(look: SecondLook) -> MissedSummary:
    n_hits = len(look.hits)
    interval = wilson_interval(n_hits, look.n)
    return MissedSummary(n=look.n, n_hits=n_hits, rate=n_hits / look.n, interval=interval or (0.0, 1.0), how=look.how)


def doubts(where: str, index: IndexSummary | None) -> tuple[Problem, ...]:
    """What the lattices say against the cell or the geometry."""
    found = []
    if index is not None and index.geometry is not None and index.geometry.warning:
        found.append(Problem(where, index.geometry.warning, index.geometry.mend))
    if index is not None and index.n_tried >= FEW and index.n_indexed < DOUBTFUL * index.n_tried:
        cell = " ".join(f"{value:g}" for value in index.cell.parameters)
        what = f"only {index.n_indexed} of {index.n_tried} images with enough spots fit the cell {cell}"
        found.append(
            Problem(
                where, f"{what} ({index.cell.origin})", "see which cell `hitsieve cell` finds, and check the geometry"
            )
        )
    return tuple(found)


def _facts(run: Run) -> Facts:
    detector = run.detector
    centre, pixel = detector.beam_center or (None, None), detector.pixel_size or (None, None)
    return Facts(
        detector=detector.description,
        n_panels=len(detector.panels),
        n_masked=None if detector.pixel_mask is None else int(np.count_nonzero(detector.pixel_mask)),
        distance=detector.distance,
        beam_center_x=centre[0],
        beam_center_y=centre[1],
        pixel_size_fast=pixel[0],
        pixel_size_slow=pixel[1],
        sensor_material=detector.sensor_material,
        sensor_thickness=detector.sensor_thickness,
        saturation_value=detector.saturation_value,
        underload_value=detector.underload_value,
        wavelength=run.beam.wavelength,
    )
