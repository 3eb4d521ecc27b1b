"""A run searched by worker processes, beside one by threads of one process."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hitsieve
from benchmarks.answers import column
from benchmarks.bench import Bench
from benchmarks.data import rearranged
from benchmarks.jobs import scan
from benchmarks.table import Row
from benchmarks.timing import faster, take_turns
from hitsieve.settings import ClusterSettings, RunSettings, SpotSettings, WriteSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import Finder, build_finder

REACH_SCALING, REACH_OVERHEAD = 1.9, 0.1
REPEATED, REPEATED_LONG = 4, 10
"""Times that the images come in one run: workers take a while to warm up, and opening and closing a run takes as long
for few images as for many."""
COUNTS = (1, 2)
HERE, THERE, ALONE = "threads", "a cluster", "the search alone"
Times = dict[str, list[float]]


def cluster(bench: Bench) -> list[Row]:
    """One and two workers, and one and two threads, take turns; starting workers is not timed."""
    rows = _more_workers(bench, REPEATED)
    found = [_more_cores(bench, times) for times in ((REPEATED, REPEATED_LONG) if bench.long else (REPEATED,))]
    rows += [row for several, _ in found for row in several]
    if len(found) > 1 and found[0][1]:
        rows += [_between(where, found[0][1], found[1][1]) for where in (HERE, THERE)]
    return rows


def _more_workers(bench: Bench, times: int) -> list[Row]:
    """All may use all cores: what is not searched, the second core does beside one worker."""
    name, n_images = f"for-workers-{times}", len(bench.main) * times
    master = rearranged(bench.main, name, [range(len(bench.main))] * times)
    seconds: Times = {}
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


def _more_cores(bench: Bench, times: int) -> tuple[list[Row], Times]:
    """Everything, main process and scheduler as well, on one core with one worker, and on two cores with two.

    What the search alone gains from the second core is what the machine has to give.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(COUNTS):
        return [], {}
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
                jobs[job] = partial(_elsewhere, mine, _run, master, folders[job], count, scheduler)
            jobs[f"{ALONE} {count}"] = partial(_elsewhere, mine, _search, master, count)
        seconds = take_turns(jobs, min(bench.rounds, 3))
    _check(bench, f"so do threads and a cluster on one core and on two, {n_images:,} images", folders)
    return [_scaled(where, seconds, n_images) for where in (HERE, THERE, ALONE)], seconds


def _scaled(where: str, seconds: Times, n_images: int) -> Row:
    ratio = faster(seconds, f"{where} 2", f"{where} 1")
    rates = [n_images / statistics.median(seconds[f"{where} {count}"]) for count in COUNTS]
    measured = f"{ratio}; {rates[0]:.0f} and {rates[1]:.0f} images/s"
    numbers = {"ratio": ratio.median, "images_per_second": rates, "seconds": seconds}
    what = f"{where}, all on two cores over all on one, {n_images:,} images"
    if where == ALONE:
        return Row(what, measured, numbers=numbers)
    return Row(what, measured, f">= {REACH_SCALING}", ratio.median >= REACH_SCALING, numbers)


def _between(where: str, short: Times, long: Times) -> Row:
    """What an image more takes on one core and on two, without what every run takes, however long it is."""
    ends = [[statistics.median(took[f"{where} {count}"]) for count in COUNTS] for took in (short, long)]
    more = [longer - shorter for shorter, longer in zip(*ends, strict=True)]
    what = f"{where}, the same of what the longer run takes more than the shorter"
    return Row(what, f"{more[0] / more[1]:.2f}", numbers={"ratio": more[0] / more[1]})


@contextmanager
def _pinned(cores: Set[int]) -> Iterator[ProcessPoolExecutor]:
    """Give a process that, with all that it starts, has these cores."""
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, cores)) as pool:
        yield pool


_made: list[Any] = []
_open = ExitStack()


@contextmanager
def _begun(process: ProcessPoolExecutor, n_workers: int) -> Iterator[str]:
    """Give the address of a cluster whose scheduler is in a process of its own, as it is for users."""
    try:
        yield process.submit(_begin, n_workers).result()
    finally:
        process.submit(_end).result()


def _begin(n_workers: int) -> str:
    from hitsieve.pipeline.cluster.starting import local

    _made.append(local(n_workers))
    return str(_made[-1].scheduler_address)


def _end() -> None:
    while _made:
        _made.pop().close()


def _elsewhere(process: ProcessPoolExecutor, job: Callable[..., object], *arguments: object) -> None:
    process.submit(job, *arguments).result()


@cache
def _opened(master: Path) -> tuple[OpenedRun, Finder]:
    """A run that stays open, and its finder, set up."""
    opened = _open.enter_context(open_run([master]))
    finder = build_finder(opened.run, SpotSettings())
    finder.set_up()
    return opened, finder


def _search(master: Path, workers: int) -> None:
    scan(*_opened(master), workers)


def _run(master: Path, output: Path, workers: int, scheduler: str | None) -> None:
    write = WriteSettings(output=output, overwrite=True)
    settings = RunSettings(write=write, cluster=ClusterSettings(scheduler=scheduler), workers=workers)
    hitsieve.run(master, settings=settings)


def _check(bench: Bench, what: str, folders: dict[str, Path]) -> None:
    states = [column(next(folder.glob("*_images.parquet")), "state").tolist() for folder in folders.values()]
    bench.report.check(what, all(one == states[0] for one in states))


def _rows(seconds: Times, n_images: int) -> list[Row]:
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
