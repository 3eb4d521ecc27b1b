"""Whether the answers are right, and the same whatever the way to them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import hitsieve
from benchmarks.bench import Bench
from benchmarks.jobs import scan, sieve
from benchmarks.reference import disagreements
from benchmarks.table import Row
from hitsieve.pipeline import RunReport
from hitsieve.settings import SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import Searched, build_finder
from hitsieve.testing.score import CLEAR_SPOTS, score

FOUND_REACH, BLANK_REACH, AREA_REACH = 0.995, 0.001, 0.995
Values = npt.NDArray[np.generic]


def column(table: Path, name: str) -> Values:
    """One column of a per-image table."""
    values: Values = np.asarray(pq.read_table(table, columns=[name])[name].to_pylist())
    return values


def area(scores: Values, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive has the higher score, ties counting one half."""
    above = scores[positive][:, None].astype(np.int64) - scores[~positive][None, :].astype(np.int64)
    return float(np.mean((above > 0) + 0.5 * (above == 0))) if above.size else float("nan")


def hits_and_blanks(bench: Bench) -> list[Row]:
    """Clear hits found, and blank images called hits."""
    report = sieve(bench.main.master, bench.folder("answers"))
    found = score(bench.main.truth, report.outputs.images)
    share_found = found.n_clear_found / found.n_clear if found.n_clear else float("nan")
    share_blank = found.n_blank_called_hits / found.n_blank if found.n_blank else float("nan")
    return [
        Row(
            f"hits with {CLEAR_SPOTS} or more spots of snr 6 found",
            f"{found.n_clear_found} of {found.n_clear} ({share_found:.2%})",
            f">= {FOUND_REACH:.1%}",
            share_found >= FOUND_REACH if found.n_clear else None,
        ),
        Row(
            "blank images called hits",
            f"{found.n_blank_called_hits} of {found.n_blank}",
            "<= 1 in 1000",
            share_blank <= BLANK_REACH if found.n_blank else None,
        ),
    ]


def weak_set(bench: Bench) -> list[Row]:
    """Area under the hit/blank curve by spot count."""
    report = sieve(bench.weak.master, bench.folder("weak"))
    hits = bench.weak.hits()
    counts = column(report.outputs.images, "n_spots_counted")
    value = area(counts, hits)
    called = column(report.outputs.images, "state") == "hit"
    measured = (
        f"{value:.5f}; called hits: {(called & hits).sum()} of {hits.sum()} hits, "
        f"{(called & ~hits).sum()} of {(~hits).sum()} blanks"
    )
    what = f"weak set of {len(hits)} images: area under the hit/blank curve by spot count"
    return [Row(what, measured, f"> {AREA_REACH}", value > AREA_REACH, {"area": value})]


def agreement(bench: Bench) -> list[Row]:
    """Nothing to measure: checks only."""
    run = bench.main
    one, again, two = (sieve(run.master, bench.folder(f"agree-{i}"), workers) for i, workers in enumerate((1, 1, 2)))
    for what, other in (("repeated runs", again), ("one and two workers", two)):
        bench.report.check(f"{what}: per-image tables and hits are the same", _same_outputs(one, other))
    with open_run([run.master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        found = [Searched.joined(scan(opened, finder, workers)) for workers in (1, 2)]
        same = all(
            np.array_equal(getattr(found[0], f.name), getattr(found[1], f.name), equal_nan=f.name == "background")
            for f in fields(Searched)
            if f.name != "reasons"
        )
        bench.report.check("one and two workers: every spot is the same", same, f"{len(found[0].x)} spots")
        images = _some(run.hits(), bench.reference_images)
        odd = disagreements(opened, found[0], images)
        bench.report.check(
            "strong pixels and spots are those of a plain NumPy search of unpacked images",
            not odd,
            f"images {', '.join(map(str, images))}" + (f"; {odd}" if odd else ""),
        )
    summary = one.summary
    n_states = summary.n_hits + summary.n_misses + summary.n_unreadable + summary.n_missing
    bench.report.check("every image has one state", n_states == len(run) and summary.n_unreadable == 0)
    proven = hitsieve.verify(one.outputs.hits, run.master)
    bench.report.check(
        "hits and audit sample are the source's chunks, byte by byte",
        proven.ok and proven.n_hits == summary.n_hits,
        f"{proven.n_hits} hits, {proven.n_audit} misses",
    )
    return []


def _same_outputs(a: RunReport, b: RunReport) -> bool:
    tables = [pq.read_table(report.outputs.images) for report in (a, b)]
    if not tables[0].equals(tables[1]):
        return False
    kept = []
    for report in (a, b):
        with h5py.File(report.outputs.hits, "r") as file:
            process = file["/entry/hit_finding"]
            kept.append((process["source_image"][()].tolist(), process["sha256"][()].tolist()))
    return kept[0] == kept[1]


def _some(hits: npt.NDArray[np.bool_], n: int) -> list[int]:
    """Some hits and some blanks."""
    return sorted([*np.flatnonzero(hits)[: n - n // 2].tolist(), *np.flatnonzero(~hits)[: n // 2].tolist()])
