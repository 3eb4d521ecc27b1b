"""A run searched by worker processes, beside one by threads of one process."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Set
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hitsieve
from benchmarks.answers import column
from benchmarks.bench import Bench
from benchmarks.data import rearranged
from benchmarks.table import Row
from benchmarks.timing import faster, take_turns
from hitsieve.settings import ClusterSettings, RunSettings, WriteSettings

REACH_SCALING, REACH_OVERHEAD = 1.9, 0.1
REPEATED, REPEATED_LONG = 4, 10
"""Times that the images come in one run: workers take a while to warm up, and opening and closing a run takes as long
for few images as for many."""
COUNTS = (1, 2)
HERE, THERE = "threads", "a cluster"


def cluster(bench: Bench) -> list[Row]:
    """One and two workers, and one and two threads, take turns; starting workers is not timed."""
    rows = _more_workers(bench, REPEATED)
    for times in (REPEATED, REPEATED_LONG) if bench.long else (REPEATED,):
        rows += _more_cores(bench, times)
    return rows


def _more_workers(bench: Bench, times: int) -> list[Row]:
    """All may use all cores: what is not searched, the second core does beside one worker."""
    name, n_images = f"for-workers-{times}", len(bench.main) * times
    master = rearranged(bench.main, name, [range(len(bench.main))] * times)
    seconds: dict[str, list[float]] = {}
    counts = COUNTS[:1] if bench.smoke else COUNTS
    folders = {where: bench.folder(f"cluster-{where.replace(' ', '-')}") for where in (HERE, THERE)}
    for count in counts:
        with _pinned(os.sched_getaffinity(0)) as other, _begun(other, count) as address:
            jobs = {
                f"{where} {count}": partial(_run, master, folders[where], count, scheduler)
                for where, scheduler in ((HERE, None), (THERE, address))
            }
            seconds |= take_turns(jobs, bench.rounds)
    _check(bench, f"a cluster gives each of {n_images:,} images the state that threads give it", folders)
    return [] if bench.smoke else _rows(seconds, n_images)


def _more_cores(bench: Bench, times: int) -> list[Row]:
    """Everything, main process and scheduler as well, on one core with one worker, and on two cores with two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(COUNTS):
        return []
    name, n_images = f"for-workers-{times}", len(bench.main) * times
    master = rearranged(bench.main, name, [range(len(bench.main))] * times)
    folders = {
        f"{where} {count}": bench.folder(f"cores-{where}-{count}") for where in (HERE, THERE) for count in COUNTS
    }
    with ExitStack() as stack:
        jobs = {}
        for count in COUNTS:
            mine, other = (stack.enter_context(_pinned({*cores[:count]})) for _ in range(2))
            address = stack.enter_context(_begun(other, count))
            for where, scheduler in ((HERE, None), (THERE, address)):
                job = f"{where} {count}"
                jobs[job] = partial(_elsewhere, mine, master, folders[job], count, scheduler)
        seconds = take_turns(jobs, min(bench.rounds, 3))
    _check(bench, f"so do threads and a cluster on one core and on two, {n_images:,} images", folders)
    return [_scaled(where, seconds, n_images) for where in (HERE, THERE)]


def _scaled(where: str, seconds: dict[str, list[float]], n_images: int) -> Row:
    ratio = faster(seconds, f"{where} 2", f"{where} 1")
    rates = [n_images / statistics.median(seconds[f"{where} {count}"]) for count in COUNTS]
    measured = f"{ratio}; {rates[0]:.0f} and {rates[1]:.0f} images/s"
    numbers = {"ratio": ratio.median, "images_per_second": rates, "seconds": seconds}
    what = f"{where}, all on two cores over all on one, {n_images:,} images"
    return Row(what, measured, f">= {REACH_SCALING}", ratio.median >= REACH_SCALING, numbers)


@contextmanager
def _pinned(cores: Set[int]) -> Iterator[ProcessPoolExecutor]:
    """Give a process that, with all that it starts, has these cores."""
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, cores)) as pool:
        yield pool


_made: list[Any] = []


@contextmanager
def _begun(process: ProcessPoolExecutor, n_workers: int) -> Iterator[str]:
    """Give the address of a cluster whose scheduler is in a process of its own, as it is for users."""
    try:
        yield process.submit(_begin, n_workers).result()
    finally:
        process.submit(_end).result()


def _begin(n_workers: int) -> str:
    from distributed import LocalCluster

    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    _made.append(LocalCluster(**options, silence_logs=50))
    return str(_made[-1].scheduler_address)


def _end() -> None:
    while _made:
        _made.pop().close()


def _elsewhere(process: ProcessPoolExecutor, master: Path, output: Path, workers: int, scheduler: str | None) -> None:
    process.submit(_run, master, output, workers, scheduler).result()


def _run(master: Path, output: Path, workers: int, scheduler: str | None) -> None:
    write = WriteSettings(output=output, overwrite=True)
    settings = RunSettings(write=write, cluster=ClusterSettings(scheduler=scheduler), workers=workers)
    hitsieve.run(master, settings=settings)


def _check(bench: Bench, what: str, folders: dict[str, Path]) -> None:
    states = [column(next(folder.glob("*_images.parquet")), "state").tolist() for folder in folders.values()]
    bench.report.check(what, all(one == states[0] for one in states))


def _rows(seconds: dict[str, list[float]], n_images: int) -> list[Row]:
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    scaling, threads = (middle[f"{where} 1"] / middle[f"{where} 2"] for where in (THERE, HERE))
    overhead = middle[f"{THERE} 2"] / middle[f"{HERE} 2"] - 1.0
    rates = [n_images / middle[f"{THERE} {count}"] for count in COUNTS]
    measured = f"{scaling:.2f} (threads {threads:.2f}); {rates[0]:.0f} and {rates[1]:.0f} images/s"
    took = f"{middle[f'{THERE} 2']:.1f} against {middle[f'{HERE} 2']:.1f} s"
    return [
        Row(
            "two workers of a cluster over one",
            measured,
            f">= {REACH_SCALING}",
            scaling >= REACH_SCALING,
            {"s": seconds},
        ),
        Row(
            "a cluster of two workers over two threads",
            f"{overhead:+.1%} ({took})",
            f"<= {REACH_OVERHEAD:+.0%}",
            overhead <= REACH_OVERHEAD,
            {"overhead": overhead},
        ),
    ]
