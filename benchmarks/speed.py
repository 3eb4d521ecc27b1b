"""How fast: against unpacking alone, two workers against one, and the start of the command."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.data import rearranged
from benchmarks.jobs import ANY_CELL, SPOTS_ONLY, decode, lz4_alone, scan, sieve
from benchmarks.table import Row
from benchmarks.timing import Seconds, clock, faster, take_turns
from hitsieve.settings import SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import build_finder

RUN_REACH, WORKERS_REACH, HELP_REACH, INDEX_REACH = 2.5, 1.9, 0.3, 0.85
LZ4_IMAGES = 100
TIMES = 10


def times(master: Path, output: Path, rounds: int) -> dict[str, list[float]]:
    """Wall times (s) of the whole job, of the finder alone, and of unpacking alone, all with one worker."""
    with open_run([master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        files = [file.path for file in opened.run.files]
        jobs = {
            "run": lambda: sieve(master, output, rooms=SPOTS_ONLY),
            "all": lambda: sieve(master, output),
            "finder": lambda: scan(opened, finder),
            "decode": lambda: decode(files),
        }
        return take_turns(jobs, rounds)


def over_decoding(bench: Bench) -> list[Row]:
    """One worker over unpacking alone: the process as it is, and pinned to one core."""
    run, output = bench.main, bench.folder("speed")
    free = times(run.master, output, bench.rounds)
    core = max(os.sched_getaffinity(0))
    pinned = child.call("pinned", core=core, master=run.master, output=output, rounds=bench.rounds)
    rows = []
    for where, seconds in (("", free), (", process pinned to one core", pinned)):
        rows += [
            _ratio_row(bench, f"whole run, spots only, one worker, over decoding{where}", seconds, "run", RUN_REACH),
            _ratio_row(bench, f"whole run, indexed, one worker, over decoding{where}", seconds, "all"),
            _ratio_row(bench, f"finder alone, one worker, over decoding{where}", seconds, "finder"),
        ]
    bench.own_ms = 1e3 * statistics.median(free["run"]) / len(run)
    return [*rows, *_lz4(bench, statistics.median(free["decode"]) / len(run))]


def _ratio_row(bench: Bench, what: str, seconds: Seconds, job: str, reach: float | None = None) -> Row:
    ratio = faster(seconds, job, "decode")
    own, other = (1e3 * statistics.median(seconds[name]) / len(bench.main) for name in (job, "decode"))
    numbers = {"ratio": ratio.median, "ms": own, "decode_ms": other, "seconds": seconds}
    measured = f"{ratio}; {own:.2f} against {other:.2f} ms an image"
    if reach is None:
        return Row(what, measured, numbers=numbers)
    return Row(what, measured, f">= {reach} (aim 3.3)", ratio.median >= reach, numbers)


def _lz4(bench: Bench, decode_seconds: float) -> list[Row]:
    found = lz4_alone(bench.main.data_files[0], LZ4_IMAGES)
    if found is None:
        return []
    job, empty, images = found
    seconds = take_turns({"lz4": job, "calls": empty}, bench.rounds)
    own = (statistics.median(seconds["lz4"]) - statistics.median(seconds["calls"])) / images
    measured = f"{decode_seconds / own:.2f}; {1e3 * own:.2f} ms an image"
    numbers = {"ratio": decode_seconds / own, "ms": 1e3 * own}
    return [Row("LZ4 alone (liblz4, without calls), over decoding", measured, numbers=numbers)]


def two_workers(bench: Bench) -> list[Row]:
    """Two workers over one."""
    if len(os.sched_getaffinity(0)) < 2:
        return [Row("two workers over one", "not measured: one core", f">= {WORKERS_REACH}")]
    master = bench.main.master
    one, two = bench.folder("one"), bench.folder("two")
    with open_run([master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        jobs = {
            "finder 1": lambda: scan(opened, finder, 1),
            "finder 2": lambda: scan(opened, finder, 2),
            "run 1": lambda: sieve(master, one, 1, SPOTS_ONLY),
            "run 2": lambda: sieve(master, two, 2, SPOTS_ONLY),
        }
        seconds = take_turns(jobs, bench.rounds)
    rows = []
    for name, job in (("finder", "finder"), ("whole run", "run")):
        ratio = faster(seconds, f"{job} 2", f"{job} 1")
        rate = len(bench.main) / statistics.median(seconds[f"{job} 2"])
        numbers = {"ratio": ratio.median, "images_per_second": rate, "seconds": seconds}
        what = f"two workers over one, {name}"
        rows.append(
            Row(what, f"{ratio}; {rate:.0f} images/s", f">= {WORKERS_REACH}", ratio.median >= WORKERS_REACH, numbers)
        )
    return rows


def indexing_too(bench: Bench) -> list[Row]:
    """A run that is indexed over one that only looks for spots, with all cores, as users have it; then a longer one."""
    longer = rearranged(bench.main, "tenfold", [range(len(bench.main))] * TIMES)
    ways: dict[str, Mapping[str, object]] = {"spots": SPOTS_ONLY, "known": {}, "found": ANY_CELL}
    rows = _indexed_over_spots(bench, bench.main.master, ways, bench.rounds)
    del ways["found"]
    return rows + _indexed_over_spots(bench, longer, ways, min(bench.rounds, 3))


def _indexed_over_spots(bench: Bench, master: Path, ways: Mapping[str, Mapping[str, object]], rounds: int) -> list[Row]:
    workers = len(os.sched_getaffinity(0))
    folders = {name: bench.folder(f"index-{name}") for name in ways}
    reports = {}

    def job(name: str) -> Callable[[], None]:
        def go() -> None:
            reports[name] = sieve(master, folders[name], workers, ways[name])

        return go

    seconds = take_turns({name: job(name) for name in ways}, rounds)
    spots = reports["spots"].summary
    rows = []
    for name, what, reach in (("known", "known cell", INDEX_REACH), ("found", "cell found in the run", None)):
        if name not in ways:
            continue
        summary = reports[name].summary
        indexed = summary.index.n_indexed if summary.index else 0
        ratio = faster(seconds, name, "spots")
        measured = f"{ratio}; {indexed} images indexed, {summary.n_hits} hits ({spots.n_hits} by 8 spots alone)"
        met = None if reach is None else ratio.median >= reach
        numbers = {"ratio": ratio.median, "indexed": indexed, "hits": summary.n_hits, "seconds": seconds}
        bound = "" if reach is None else f">= {reach}"
        title = f"speed of a run of {summary.n_images} images with indexing ({what}) over spots only"
        rows.append(Row(title, measured, bound, met, numbers))
    return rows


def help_text(bench: Bench) -> list[Row]:
    """The start of the command."""
    beside = shutil.which("hitsieve", path=Path(sys.executable).parent)
    command = [beside] if beside else [sys.executable, "-c", "from hitsieve.cli import main; main()"]

    def show() -> None:
        subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL)

    show()
    seconds = [clock(show) for _ in range(max(bench.rounds, 10))]
    median = statistics.median(seconds)
    measured = f"{median:.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
    return [Row("hitsieve --help", measured, f"<= {HELP_REACH} s", median <= HELP_REACH, {"seconds": seconds})]
