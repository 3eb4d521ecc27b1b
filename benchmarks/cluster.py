"""A run searched by worker processes, beside one by threads of one process."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

import hitsieve
from benchmarks.answers import column
from benchmarks.bench import Bench
from benchmarks.copying import empty
from benchmarks.table import Row
from benchmarks.timing import clock
from hitsieve.settings import ClusterSettings, RunSettings, WriteSettings

REACH_SCALING, REACH_OVERHEAD = 1.9, 0.1
REPEATED = 4
"""Times that the images come in one run: workers take a while to warm up."""


def cluster(bench: Bench) -> list[Row]:
    """One and two workers, and one and two threads of this process, take turns; starting workers is not timed."""
    from distributed import LocalCluster

    from benchmarks.data import rearranged

    run = bench.main
    n = 1 if bench.smoke else REPEATED
    master = rearranged(run, "for-workers", [range(len(run))] * n)
    seconds: dict[str, list[float]] = {}
    counts = (1,) if bench.smoke else (1, 2)
    folders = {name: bench.folder(f"cluster-{name}") for name in ("here", "there")}
    for count in counts:
        options = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        with LocalCluster(**options, silence_logs=50) as made:
            for _ in range(bench.rounds + 1):
                for name, address in (("here", None), ("there", made.scheduler_address)):
                    empty(folders[name])
                    took = clock(partial(_run, master, folders[name], count, address))
                    seconds.setdefault(f"{name} {count}", []).append(took)
    for times in seconds.values():
        del times[0]  # warming up
    states = [column(folder / "for-workers_images.parquet", "state").tolist() for folder in folders.values()]
    bench.report.check("a cluster gives each image the state that threads give it", states[0] == states[1])
    return [] if bench.smoke else _rows(seconds, len(run) * n)


def _run(master: Path, output: Path, workers: int, scheduler: str | None) -> None:
    settings = RunSettings(
        write=WriteSettings(output=output), cluster=ClusterSettings(scheduler=scheduler), workers=workers
    )
    hitsieve.run(master, settings=settings)


def _rows(seconds: dict[str, list[float]], n_images: int) -> list[Row]:
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    scaling, threads = middle["there 1"] / middle["there 2"], middle["here 1"] / middle["here 2"]
    overhead = middle["there 2"] / middle["here 2"] - 1.0
    rates = {name: n_images / time for name, time in middle.items()}
    measured = f"{scaling:.2f} (threads {threads:.2f}); {rates['there 1']:.0f} and {rates['there 2']:.0f} images/s"
    took = f"{middle['there 2']:.1f} against {middle['here 2']:.1f} s"
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
