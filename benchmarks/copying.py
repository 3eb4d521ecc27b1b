"""Copying hits into the hit-only file, beside `cp` of the same bytes."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

import hitsieve
from benchmarks.bench import Bench
from benchmarks.jobs import scan, sieve
from benchmarks.table import Row
from benchmarks.timing import faster
from hitsieve.model import ImageResults, Lattices, Spots, State
from hitsieve.settings import RunSettings, SpotSettings, WriteSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import build_finder
from hitsieve.write import RunWriter, Summary

REACH = 0.8


def copied(bench: Bench) -> list[Row]:
    """Every image of the run is called a hit, and goes through the writer; the spots are found before."""
    run = bench.main
    ours, theirs = bench.folder("copied"), bench.folder("cp")
    judged = sieve(run.master, ours, len(os.sched_getaffinity(0))).summary
    everything = {"n_hits": len(run), "n_misses": 0, "hit_rate": 1.0}
    settings = RunSettings(write=WriteSettings(output=ours, overwrite=True, audit_min=0, audit_fraction=0))
    seconds: dict[str, list[float]] = {"write": [], "write+fsync": [], "cp": [], "cp+fsync": []}
    with open_run([run.master]) as opened:
        results = _all_hits(opened)
        summary = judged.model_copy(update=everything)
        for _ in range(bench.rounds + 1):
            empty(ours)
            written, finished, hit_bytes = _write(opened, results, settings, summary)
            seconds["write"].append(written)
            seconds["write+fsync"].append(finished)
            empty(theirs)
            for name, taken in zip(("cp", "cp+fsync"), cp(run.data_files, theirs), strict=True):
                seconds[name].append(taken)
    shutil.rmtree(theirs)
    for times in seconds.values():
        del times[0]  # warming up
    proven = hitsieve.verify(ours / f"{run.settings.name}_hits.h5", run.master)
    bench.report.check(
        "chunks of the hit-only file are those of the source, byte by byte",
        proven.ok and proven.n_hits == len(run),
        f"{proven.n_hits} hits",
    )
    shutil.rmtree(ours)
    work = hit_bytes / run.stored_bytes
    rows = []
    for what, suffix in (("without fsync", ""), ("whole output, with fsync", "+fsync")):
        own, other = f"write{suffix}", f"cp{suffix}"
        ratio = faster(seconds, own, other, work=work)
        rates = [1e-9 * hit_bytes / statistics.median(seconds[name]) for name in (own, other)]
        measured = f"{ratio}; {rates[0]:.2f} against {rates[1]:.2f} GB/s"
        numbers = {"ratio": ratio.median, "bytes": hit_bytes, "seconds": seconds}
        rows.append(
            Row(f"copying hits over cp, {what}", measured, f">= {REACH}", ratio.median >= REACH, numbers),
        )
    return rows


class _Stored(Mapping[int, bytes]):
    """Chunks of consecutive images, read when they are asked for, as `hitsieve run` does it."""

    def __init__(self, opened: OpenedRun, images: npt.NDArray[np.int64]) -> None:
        self._opened = opened
        self._images = range(int(images[0]), int(images[-1]) + 1)

    def __getitem__(self, image: int) -> bytes:
        return self._opened.stored(image)

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def _all_hits(opened: OpenedRun) -> list[ImageResults]:
    """Spots as found, and every image a hit."""
    batches, first = [], 0
    for found in scan(opened, build_finder(opened.run, SpotSettings()), len(os.sched_getaffinity(0))):
        unknown = np.full(len(found.x), np.nan, dtype=np.float32)
        spots = {f.name: getattr(found, f.name) for f in fields(Spots) if hasattr(found, f.name)}
        spots |= {"background": found.spot_background, "resolution": unknown}
        spots["lattice"] = np.full(len(found.x), -1, dtype=np.int8)
        spots |= {name: np.zeros(len(found.x), dtype=np.int16) for name in "hkl"}
        columns = {f.name: getattr(found, f.name) for f in fields(ImageResults) if hasattr(found, f.name)}
        columns |= {
            "image": np.arange(first, first + len(found)),
            "state": np.full(len(found), State.HIT, dtype=np.uint8),
            "n_spots_counted": found.n_spots,
            "n_spots_ice": np.zeros_like(found.n_spots),
            "resolution": np.full(len(found), np.nan, dtype=np.float32),
            "n_lattices": np.full(len(found), -1, dtype=np.int32),
            "n_indexed": np.full(len(found), -1, dtype=np.int32),
            "pump": np.full(len(found), -1, dtype=np.int16),
            "spots": Spots(**spots),
            "lattice_offsets": np.zeros(len(found) + 1, dtype=np.int64),
            "lattices": Lattices.of([]),
        }
        batches.append(ImageResults(**columns))
        first += len(found)
    return batches


def _write(
    opened: OpenedRun, results: Sequence[ImageResults], settings: RunSettings, summary: Summary
) -> tuple[float, float, int]:
    """Seconds until all hits are written (and read, and hashed), seconds until all is on the disk, bytes of hits."""
    start = time.perf_counter()
    with RunWriter(opened.run, settings) as writer:
        for batch in results:
            writer.add(batch, _Stored(opened, batch.image))
        written = time.perf_counter() - start
        writer.finish(summary.model_copy(update={"hit_bytes": writer.hit_bytes}), ())
    return written, time.perf_counter() - start, writer.hit_bytes


def cp(files: Sequence[Path], folder: Path) -> tuple[float, float]:
    """Seconds until `cp` is done, seconds until its copies are on the disk."""
    start = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", *map(str, files), str(folder)], check=True)  # noqa: S607
    copied = time.perf_counter() - start
    for file in files:
        handle = os.open(folder / file.name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return copied, time.perf_counter() - start


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
