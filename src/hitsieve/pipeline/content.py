"""What the images of a run hold, from a few numbers of each: the part of the summary that hangs on the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import PumpStates, State, UnitCell
from hitsieve.pipeline.tally import Tally
from hitsieve.verdict import (
    WITHOUT_JET,
    HitTrust,
    bias_report,
    false_hits,
    files_without_jet,
    find_segments,
    hit_rate,
    ice_share,
    rate_interval,
    rates_by_state,
    saturated_share,
    timeline,
)
from hitsieve.write import (
    BiasTest,
    BlanksSummary,
    CellSummary,
    GeometrySummary,
    HitRuleSummary,
    IndexSummary,
    Percentiles,
    PumpStateSummary,
    PumpSummary,
    SegmentsSummary,
    SegmentSummary,
    TimeLine,
)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a run besides its images."""

    rule: HitRuleSummary
    pump: PumpStates | None
    file: npt.NDArray[np.int32]
    """File of each image, as index in files; -1 where none is known."""
    files: tuple[str, ...]


def content(tally: Tally, context: Context) -> dict[str, Any]:
    """Fields of the summary that hang on the state of each image, by name."""
    hits = tally.images(State.HIT)
    state = tally.state[: tally.done]
    n_misses, n_hits, n_unreadable, n_missing = (int(n) for n in tally.counts)
    blanks = _blanks(tally, context.rule.min_spots)
    segments = _segments(tally, context, blanks)
    jet = np.ones(tally.done, dtype=np.bool_)
    for segment in segments.segments if segments else ():
        jet[segment.first : segment.last + 1] = segment.kind not in WITHOUT_JET
    return {
        "n_images": tally.done,
        "n_hits": n_hits,
        "n_misses": n_misses,
        "n_unreadable": n_unreadable,
        "n_missing": n_missing,
        "hit_rate": hit_rate(n_hits, n_misses),
        "hit_rate_interval": rate_interval(state[(state == State.HIT) | (state == State.MISS)] == State.HIT),
        "rule": context.rule,
        "blanks": blanks,
        "segments": segments,
        "pump": _pump(tally, context.pump),
        "bias": _bias(tally, context.pump, jet),
        "timeline": TimeLine(**asdict(timeline(tally.state, tally.n_lattices, tally.background))),
        "n_spots_median_hits": median(tally.n_spots[hits].astype(np.float32)),
        "resolution_hits": percentiles(tally.resolution[hits]),
        "background_median": median(tally.background),
        "n_saturated_images": int((tally.n_saturated > 0).sum()),
        "saturated_fraction": saturated_share(tally.n_saturated),
        "ice_fraction": ice_share(tally.n_spots_ice, tally.n_spots_counted, tally.resolution),
    }


def index_content(tally: Tally, cell: UnitCell, geometry: GeometrySummary | None, min_indexed: int) -> IndexSummary:
    """What the lattices of a run say."""
    indexed = tally.n_lattices > 0
    n_indexed, n_multi = int(indexed.sum()), int((tally.n_lattices > 1).sum())
    cells = np.concatenate(tally.cells) if tally.cells else np.zeros((0, 6))
    residuals = np.concatenate(tally.residuals) if tally.residuals else np.zeros(0)
    share = tally.n_indexed[indexed] / np.maximum(tally.n_spots_counted[indexed], 1)
    return IndexSummary(
        cell=CellSummary(parameters=cell.parameters, centring=cell.centring, origin=cell.origin),
        n_tried=int((tally.n_spots_counted >= min_indexed).sum()),
        n_indexed=n_indexed,
        **indexing_rates(tally),
        n_lattices=int(tally.n_lattices[indexed].sum()),
        multi_lattice_fraction=n_multi / n_indexed if n_indexed else None,
        cell_mean=_six(cells.mean(axis=0)) if len(cells) else None,
        cell_std=_six(cells.std(axis=0, ddof=1)) if len(cells) > 1 else None,
        residual_median=median(residuals),
        spots_indexed_median=median(share),
        geometry=geometry,
    )


def indexing_rates(tally: Tally) -> dict[str, Any]:
    """Share of the hits that have a lattice, and its interval, by their names in the summary."""
    indexed = tally.n_lattices[tally.state == State.HIT] > 0
    n_indexed = int(indexed.sum())
    return {
        "indexing_rate": hit_rate(n_indexed, len(indexed) - n_indexed),
        "indexing_rate_interval": rate_interval(indexed),
    }


def _six(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    a, b, c, alpha, beta, gamma = (float(value) for value in values)
    return a, b, c, alpha, beta, gamma


def _blanks(tally: Tally, min_spots: int) -> BlanksSummary | None:
    searched = (tally.state == State.HIT) | (tally.state == State.MISS)
    found = false_hits(
        tally.n_spots_counted[searched],
        min_spots,
        indexed=tally.n_lattices[searched] > 0,
        background=tally.background[searched],
    )
    if found is None:
        return None
    without = tally.n_spots_counted[searched & (tally.n_lattices == 0)]
    return BlanksSummary(
        n=found.n,
        mean=found.mean,
        false_hit_rate=found.rate,
        false_hit_rate_interval=found.interval,
        at_most=float((without >= min_spots).mean()) if len(without) else None,
    )


def _segments(tally: Tally, context: Context, blanks: BlanksSummary | None) -> SegmentsSummary | None:
    trust = HitTrust(tally.n_lattices > 0, blanks.false_hit_rate_interval[1] if blanks else None)
    found = find_segments(
        tally.background, tally.n_spots_counted, tally.n_spots_ice, tally.state, tally.max_count, trust
    )
    if not found:
        return None
    parts = []
    for segment in found:
        states = tally.state[segment.first : segment.last + 1]
        n_hits, n_misses = int((states == State.HIT).sum()), int((states == State.MISS).sum())
        parts.append(
            SegmentSummary(
                kind=segment.kind,
                first=segment.first,
                last=segment.last,
                hit_rate=hit_rate(n_hits, n_misses),
                background=median(tally.background[segment.first : segment.last + 1]),
            )
        )
    without = files_without_jet(found, context.file)
    in_doubt = [n for n in files_without_jet(found, context.file, doubtful=True) if n not in without]
    return SegmentsSummary(
        segments=tuple(parts),
        n_without_jet=sum(part.last - part.first + 1 for part in parts if part.kind in WITHOUT_JET),
        files_without_jet=tuple(context.files[number] for number in without),
        files_in_doubt=tuple(context.files[number] for number in in_doubt),
    )


def _pump(tally: Tally, pump: PumpStates | None) -> PumpSummary | None:
    if pump is None:
        return None
    rates = rates_by_state(pump, tally.state, tally.n_lattices, tally.n_spots, tally.resolution)
    return PumpSummary(
        origin=pump.origin,
        n_unknown=int((pump.code < 0).sum()),
        states=tuple(PumpStateSummary(**asdict(state)) for state in rates),
    )


def _bias(tally: Tally, pump: PumpStates | None, jet: npt.NDArray[np.bool_]) -> tuple[BiasTest, ...]:
    found = bias_report(pump, tally.state, tally.n_lattices, tally.n_spots, tally.resolution, jet)
    return tuple(BiasTest(**asdict(finding)) for finding in found)


def median(values: npt.NDArray[Any]) -> float | None:
    """Median of the finite values; None without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def percentiles(values: npt.NDArray[np.float32]) -> Percentiles | None:
    """Percentiles of the finite values; None without any."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    p10, p25, p50, p75, p90 = (float(value) for value in np.percentile(known, [10, 25, 50, 75, 90]))
    return Percentiles(p10=p10, p25=p25, p50=p50, p75=p75, p90=p90)
