"""The summary of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from hitsieve.model import Problem, Run, State
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import RunSettings
from hitsieve.verdict import hit_rate, wilson_interval
from hitsieve.write import AuditSummary, Facts, Percentiles, SourceSummary, Summary


@dataclass(frozen=True, slots=True)
class Work:
    """How a run was done."""

    n_audit: int
    hit_bytes: int
    seconds: float
    workers: int
    problems: tuple[Problem, ...]


def summarise(run: Run, settings: RunSettings, tally: Tally, work: Work) -> Summary:
    """Sum up a run whose images are all searched."""
    hits = tally.images(State.HIT)
    n_misses, n_hits, n_unreadable, n_missing = (int(n) for n in tally.counts)
    lost = run.images.missing.keys() | run.images.unreadable.keys()
    directly = all(image in lost for image in np.flatnonzero(run.images.offset < 0).tolist())
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
        n_images=len(run),
        n_hits=n_hits,
        n_misses=n_misses,
        n_unreadable=n_unreadable,
        n_missing=n_missing,
        hit_rate=hit_rate(n_hits, n_misses),
        hit_rate_interval=wilson_interval(n_hits, n_hits + n_misses),
        n_spots_median_hits=_median(tally.n_spots[hits].astype(np.float32)),
        resolution_hits=_percentiles(tally.resolution[hits]),
        background_median=_median(tally.background),
        n_saturated_images=tally.n_saturated_images,
        audit=AuditSummary(n=work.n_audit, seed=settings.write.audit_seed, fraction=settings.write.audit_fraction),
        seconds=work.seconds,
        images_per_second=len(run) / work.seconds if work.seconds > 0 else 0.0,
        workers=work.workers,
        source_bytes=int(run.images.size.sum()) if directly else None,
        hit_bytes=work.hit_bytes,
        facts=_facts(run),
        problems=tuple(str(problem) for problem in work.problems),
        overrides=run.overrides,
    )


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


def _median(values: npt.NDArray[np.float32]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _percentiles(values: npt.NDArray[np.float32]) -> Percentiles | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    p10, p25, p50, p75, p90 = (float(value) for value in np.percentile(known, [10, 25, 50, 75, 90]))
    return Percentiles(p10=p10, p25=p25, p50=p50, p75=p75, p90=p90)
