"""Keeping all misses, and giving the series back, beside `cp` of the same files."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import hitsieve
from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.copying import cp, empty
from benchmarks.data import rearranged
from benchmarks.table import Row
from benchmarks.timing import clock, faster
from hitsieve.pipeline.restore import RestoreRequest, restore
from hitsieve.settings import RunSettings, WriteSettings

REACH_MB, REACH_SHARE = 400, 0.1
TIMES = 3


def kept(bench: Bench) -> list[Row]:
    """The whole run with and without all misses, the series restored, and `cp`: they take turns."""
    run, out = bench.main, bench.folder("kept")
    back, theirs, sample = bench.folder("restored"), bench.folder("cp"), bench.folder("sample")
    seconds: dict[str, list[float]] = {"keep": [], "sample": [], "restore": [], "cp": []}
    for _ in range(bench.rounds + 1):
        for folder in (out, back, theirs, sample):
            empty(folder)
        seconds["keep"].append(clock(partial(_run, run.master, out, "keep")))
        seconds["sample"].append(clock(partial(_run, run.master, sample, "sample")))
        request = RestoreRequest(*_files(out, run.settings.name), back / "back.h5")
        seconds["restore"].append(clock(partial(restore, request)))
        seconds["cp"].append(cp(run.data_files, theirs)[1])
    for times in seconds.values():
        del times[0]  # warming up
    compared = restore(
        RestoreRequest(*_files(out, run.settings.name), back / "back.h5", overwrite=True, source=(run.master,))
    )
    bench.report.check(
        "the restored series is the source: every chunk, array and attribute",
        compared.differences == () and compared.restored.n_verbatim == len(run),
        f"{compared.restored.n_verbatim} chunks",
    )
    both = sum(path.stat().st_size for path in _files(out, run.settings.name))
    rows = [*_speeds(seconds, run.stored_bytes), _size(both, run.stored_bytes + run.master.stat().st_size)]
    for folder in (out, back, theirs, sample):
        shutil.rmtree(folder)
    return [*rows, _memory(bench)]


def _run(master: Path, output: Path, misses: str) -> None:
    write = WriteSettings.model_validate({"output": output, "misses": misses})
    hitsieve.run(master, settings=RunSettings(write=write, workers=len(os.sched_getaffinity(0))))


def _files(folder: Path, stem: str) -> tuple[Path, Path]:
    return folder / f"{stem}_hits.h5", folder / f"{stem}_misses.h5"


def _speeds(seconds: Mapping[str, list[float]], stored_bytes: int) -> list[Row]:
    rows = []
    for what, own, other in (
        ("whole run that keeps all misses over one that keeps a sample", "keep", "sample"),
        ("whole run that keeps all misses over cp, with fsync", "keep", "cp"),
        ("restoring the series over cp, with fsync", "restore", "cp"),
    ):
        ratio = faster(seconds, own, other)
        times = [statistics.median(seconds[name]) for name in (own, other)]
        rates = [1e-9 * stored_bytes / time for time in times]
        measured = f"{ratio}; {times[0]:.2f} against {times[1]:.2f} s, {rates[0]:.2f} GB/s of images"
        rows.append(Row(what, measured, numbers={"ratio": ratio.median, "seconds": dict(seconds)}))
    return rows


def _size(both: int, source: int) -> Row:
    """The hit-only file has its sample of the misses too, and peaks."""
    measured = f"{100 * (both / source - 1):+.2f} % ({1e-6 * both:.0f} against {1e-6 * source:.0f} MB)"
    return Row("size of hits and misses over the source", measured, numbers={"bytes": both, "source_bytes": source})


def _memory(bench: Bench) -> Row:
    run = bench.main
    longer = rearranged(run, "threefold", [range(len(run))] * TIMES)
    peaks = []
    for master in (run.master, longer):
        folder = bench.folder("memory")
        answer = child.call("memory", master=master, output=folder, flags=["--misses", "keep"])
        peaks.append(1e-6 * float(answer["bytes"]))
        shutil.rmtree(folder)
    growth = peaks[1] / peaks[0] - 1.0
    measured = f"{peaks[0]:.0f} and {peaks[1]:.0f} MB ({growth:+.1%})"
    met = max(peaks) <= REACH_MB and abs(growth) <= REACH_SHARE
    what = f"peak memory that keeps all misses, {len(run)} and {TIMES * len(run)} images"
    reach = f"<= {REACH_MB} MB, equal within {REACH_SHARE:.0%}"
    return Row(what, measured, reach, met, {"mb": peaks[0], "mb_threefold": peaks[1]})
