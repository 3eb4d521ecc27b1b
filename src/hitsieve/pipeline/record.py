"""Makes the one record of a run from its summary and its files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitsieve.catalogue import CELL_FIELDS, FileKind, PumpState, Record, StoredFile
from hitsieve.errors import SourceError
from hitsieve.verdict import WITHOUT_JET
from hitsieve.write import (
    SUMMARY_SUFFIX,
    Described,
    IndexSummary,
    Outputs,
    PumpSummary,
    Summary,
    TimeLine,
    describe,
    digest_of_hits,
)

if TYPE_CHECKING:
    from hitsieve.catalogue.scicat import Facts

_BLOCK = 1 << 20
_KEV_ANGSTROM = 12.398419843320026
"""Photon energy times wavelength: h c."""
_STRETCHES = 32
"""Numbers of the hit rate along the run, at most."""
_SAME = (
    *("date", "program", "version", "verdict_on", "n_images", "n_hits", "n_misses", "n_unreadable", "n_missing"),
    *("hit_rate", "ice_fraction", "saturated_fraction", "source_bytes", "hit_bytes", "miss_bytes", "seconds"),
    *("problems", "overrides", "settings"),
)
"""Fields that the summary has by the same name."""


def record_of(outputs: Outputs, summary: Summary, *, checksums: bool = False) -> Record:
    """Make the record of a finished run.

    Parameters
    ----------
    outputs : Outputs
        Its files; those that are absent, as after a rethink without hits, are left out.
    summary : Summary
    checksums : bool
        Also hash every file: as slow as reading them.

    Raises
    ------
    SourceError
        A file is there but cannot be read.
    """
    described = _described(outputs, summary)
    words: dict[str, Any] = {name: getattr(described, name) for name in Described.__dataclass_fields__}
    words["sample_name"] = summary.overrides.get("sample_name", words["sample_name"])
    same = {name: getattr(summary, name) for name in _SAME}
    told = same | words | _verdict(summary) | _lattices(summary.index) | _conditions(summary)
    return Record(
        id=identity(summary),
        place=str(outputs.summary.resolve()),
        **{name: value for name, value in told.items() if not isinstance(value, float) or math.isfinite(value)},
        source_path=summary.source.path,
        stem=summary.source.stem,
        n_files=summary.source.n_files,
        n_audit=summary.audit.n,
        hits_digest=digest_of_hits(outputs.hits) if outputs.hits.is_file() else None,
        files=_files(outputs, summary, checksums=checksums),
    )


def with_facts(record: Record, facts: Facts) -> Record:
    """The record with what a file of facts says of sample and experiment, which goes before what the source says."""
    told = {"title": facts.title, "experiment": facts.proposal}
    told |= {"sample_name": facts.sample_name, "sample_id": facts.sample_id}
    return record.model_copy(update={name: value for name, value in told.items() if value})


def _verdict(summary: Summary) -> dict[str, Any]:
    """Rule, hit rate and how sure it is."""
    interval, missed = summary.hit_rate_interval, summary.missed
    return {
        "hit_rate_low": interval[0] if interval else None,
        "hit_rate_high": interval[1] if interval else None,
        "hit_rate_line": _along(summary.timeline),
        "rule": summary.rule.rule,
        "min_spots": summary.rule.min_spots,
        "false_hit_rate": summary.blanks.false_hit_rate if summary.blanks else None,
        "lost_share": missed.lost_share if missed else None,
        "lost_share_high": missed.lost_share_interval[1] if missed and missed.lost_share_interval else None,
    }


def _along(timeline: TimeLine) -> tuple[float | None, ...]:
    """Hit rate along the run, in so few numbers that a list of runs can show it."""
    n = len(timeline.first)
    edges = [i * n // min(n, _STRETCHES) for i in range(min(n, _STRETCHES) + 1)] if n else []
    pairs = [(sum(timeline.n_hits[low:high]), sum(timeline.n_searched[low:high])) for low, high in pairwise(edges)]
    return tuple(round(hits / searched, 5) if searched else None for hits, searched in pairs)


def _lattices(index: IndexSummary | None) -> dict[str, Any]:
    """Cell and lattices; nothing where the run is not indexed."""
    if index is None:
        return {}
    interval = index.indexing_rate_interval
    return {
        **dict(zip(CELL_FIELDS, index.cell.parameters, strict=True)),
        "centring": index.cell.centring,
        "cell_origin": index.cell.origin,
        "n_indexed": index.n_indexed,
        "n_lattices": index.n_lattices,
        "indexing_rate": index.indexing_rate,
        "indexing_rate_low": interval[0] if interval else None,
        "indexing_rate_high": interval[1] if interval else None,
        "geometry_residual": index.geometry.residual if index.geometry else None,
    }


def _conditions(summary: Summary) -> dict[str, Any]:
    """What the hits are like, and how they were measured."""
    facts, segments, resolution = summary.facts, summary.segments, summary.resolution_hits
    return {
        "resolution": resolution.p50 if resolution else None,
        "resolution_best": resolution.p10 if resolution else None,
        "n_spots_hits": summary.n_spots_median_hits,
        "background": summary.background_median,
        "n_jet_stops": sum(part.kind in WITHOUT_JET for part in segments.segments) if segments else None,
        "n_without_jet": segments.n_without_jet if segments else None,
        "pump": tuple(state.name for state in summary.pump.states) if summary.pump else None,
        "pump_states": _pump_states(summary.pump),
        "detector": facts.detector,
        "distance": None if facts.distance is None else 1e3 * facts.distance,
        "wavelength": facts.wavelength,
        "photon_energy": _KEV_ANGSTROM / facts.wavelength if facts.wavelength else None,
    }


def identity(summary: Summary) -> str:
    """What tells a run from all others: its source, when it ended, and on what it is another verdict."""
    told = "\n".join((summary.source.path, summary.date.isoformat(), summary.verdict_on or ""))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _described(outputs: Outputs, summary: Summary) -> Described:
    """Words of the source; a rethink without hits has no master of its own to carry them."""
    masters = [outputs.annotated]
    if summary.verdict_on is not None:
        before = Path(summary.verdict_on)
        masters.append(Outputs.of(before.parent, summary.source.stem).annotated)
    return next((describe(master) for master in masters if master.is_file()), Described())


def _pump_states(pump: PumpSummary | None) -> tuple[PumpState, ...]:
    if pump is None:
        return ()
    return tuple(
        PumpState(
            name=state.name,
            n_images=state.n_images,
            n_hits=state.n_hits,
            hit_rate=state.hit_rate,
            hit_rate_low=state.hit_rate_interval[0] if state.hit_rate_interval else None,
            hit_rate_high=state.hit_rate_interval[1] if state.hit_rate_interval else None,
            indexing_rate=state.indexing_rate,
        )
        for state in pump.states
    )


def _files(outputs: Outputs, summary: Summary, *, checksums: bool) -> tuple[StoredFile, ...]:
    folder, states = outputs.summary.parent, summary.pump.states if summary.pump else ()
    stem = outputs.summary.name.removesuffix(SUMMARY_SUFFIX)
    # One of this name may be left of an earlier run.
    misses = Outputs.of(folder, stem, misses=summary.miss_bytes is not None).misses
    paths: list[tuple[FileKind, Path]] = [
        ("hits", outputs.hits),
        ("annotated", outputs.annotated),
        ("images", outputs.images),
        ("summary", outputs.summary),
        *(("pump", folder / state.hits_file) for state in states if state.hits_file),
    ]
    if misses is not None:
        paths.append(("misses", misses))
    return tuple(_file(kind, path, checksums=checksums) for kind, path in paths if path.is_file())


def _file(kind: FileKind, path: Path, *, checksums: bool) -> StoredFile:
    try:
        digest = file_sha256(path) if checksums else None
        return StoredFile(kind=kind, name=path.name, size=path.stat().st_size, sha256=digest)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from error


def file_sha256(path: Path, step: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, hexadecimal; `step` is called with the bytes of each block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if step is not None:
                step(len(block))
    return digest.hexdigest()
