"""A stream on this machine, sender included: which rate it keeps up, how soon verdicts come, and what it takes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any, Literal

import numpy as np

from benchmarks.answers import column
from benchmarks.bench import Bench
from benchmarks.jobs import SPOTS_ONLY, sieve
from benchmarks.table import Row
from benchmarks.timing import clock
from hitsieve.model import SeriesKey
from hitsieve.pipeline.live import Ended, Load, Verdict, receive
from hitsieve.settings import LiveSettings, RunSettings
from hitsieve.testing import StreamSettings

RATE_REACH, LATENCY_REACH, GROWTH_REACH = 300, 0.05, 0.1
SECONDS, LONG_SECONDS = 10, 60
PART = 1000
"""Images of a series: while one is received, the one before is sieved and its images go."""
LONG_IMAGES = 20_000
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, as the how-to advises for a fast detector


@dataclass
class Watch:
    """A Watcher that takes times."""

    seconds: list[float] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    ends: list[Ended] = field(default_factory=list)
    rss: list[tuple[int, int]] = field(default_factory=list)
    """Bytes in memory of those who receive and of those who sieve, at the end of each series."""
    cpu: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """CPU time (s) of those who send, receive and sieve."""
    behind: float = 0.0
    """From the last verdict until all outputs were whole and proven (s)."""
    sender: int = 0
    first: float = 0.0
    last: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        self.first = self.first or time.monotonic()

    def arrived(self, size: int) -> None:
        pass

    def judged(self, verdict: Verdict) -> None:
        with self.lock:
            self.states[verdict.state] = self.states.get(verdict.state, 0) + 1
            self.seconds.append(verdict.seconds)
            self.last = time.monotonic()

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)
        children = [child.pid for child in multiprocessing.active_children()]
        sieving = sum(_rss(pid) for pid in children if pid is not None and pid != self.sender)
        self.rss.append((_rss(os.getpid()), sieving))
        # Twenty thousand images are as many as many a disk has room for.
        for path in ended.outputs:
            if path.name.endswith(("_hits.h5", "_misses.h5")):
                path.unlink()

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        self.states[kind] = self.states.get(kind, 0) + 1

    def load(self, load: Load) -> None:
        pass


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def send(master: Path, series: list[tuple[int, int]], rate: float, told: Queue[Any]) -> None:
    """Send series (number, images), in a process of its own."""
    from hitsieve.source import open_run
    from hitsieve.testing.stream import StreamedSeries, StreamSender

    with open_run(master) as opened:
        made = [StreamedSeries.of(opened, number, n) for number, n in series[:1]]
    pieces = made[0].pieces
    with StreamSender(["tcp://127.0.0.1:*"]) as sender:
        told.put(sender.addresses)
        before = _cpu(resource.RUSAGE_SELF)
        for number, n in series:
            start = made[0].start | {"series_id": number, "number_of_images": n}
            sender.send(StreamedSeries(start, pieces, n), StreamSettings(rate=rate))
    told.put((_cpu(resource.RUSAGE_SELF) - before, _cpu(resource.RUSAGE_SELF)))


def stream(bench: Bench, name: str, images: int, rate: float) -> Watch:
    """Send images at a rate (0: as fast as they are taken) and receive them; series of a thousand."""
    output = bench.folder(name)
    shutil.rmtree(output, ignore_errors=True)
    spool = MEMORY / f"hitsieve-benchmark-{os.getpid()}" if MEMORY.is_dir() else output / "received"
    series = [(number, min(PART, images - first)) for number, first in enumerate(range(0, images, PART))]
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    sender = context.Process(target=send, args=(bench.main.master, series, rate, told))
    before = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    sender.start()
    watch = Watch(sender=sender.pid or 0)
    settings = RunSettings.model_validate(
        {**SPOTS_ONLY, "write": {"output": output}, "catalogue": {"no_catalogue": True}}
    )
    try:
        receive(told.get(), settings, LiveSettings(series=len(series), spool=spool), watchers=[watch])
        watch.behind = time.monotonic() - watch.last
        sending, sent = told.get()
    finally:
        sender.join()
        shutil.rmtree(spool, ignore_errors=True)
    received, sieved = _cpu(resource.RUSAGE_SELF) - before[0], _cpu(resource.RUSAGE_CHILDREN) - before[1] - sent
    watch.cpu = (sending, received, sieved)
    return watch


def live(bench: Bench) -> list[Row]:
    """Rates, latencies and memory of a stream; its answers are those of the files."""
    files = bench.folder("live-files")
    seconds = statistics.median(
        clock(lambda: sieve(bench.main.master, files, len(os.sched_getaffinity(0)), SPOTS_ONLY))
        for _ in range(min(bench.rounds, 3))
    )
    by_file = len(bench.main) / seconds
    wanted = column(files / f"{bench.main.settings.name}_images.parquet", "state")
    n = len(bench.main) if bench.smoke else RATE_REACH * (LONG_SECONDS if bench.long else SECONDS)
    rows = [
        _kept_up(bench, n, wanted, by_file),
        _fastest(bench, min(n, 2 * PART), by_file),
        _latency(bench, min(n, PART)),
    ]
    return [*rows, _memory(bench)] if bench.long else rows


def _kept_up(bench: Bench, n: int, wanted: np.ndarray[Any, Any], by_file: float) -> Row:
    watch = stream(bench, "live-kept-up", n, RATE_REACH)
    found = [column(ended.outputs[1], "state") for ended in watch.ends]
    agrees = np.array_equal(
        np.concatenate(found), np.concatenate([np.resize(wanted, min(PART, n - i)) for i in range(0, n, PART)])
    )
    bench.report.check("states of images that were streamed are those of the files", agrees, f"{n} images")
    lost = n - watch.states.get("hit", 0) - watch.states.get("miss", 0)
    rate, seconds = n / (watch.last - watch.first), watch.last - watch.first
    cpu = [1e3 * used / n for used in watch.cpu]
    measured = (
        f"{rate:.0f} images/s for {seconds:.0f} s, {lost} lost or late, outputs {watch.behind:.0f} s later; "
        f"CPU {cpu[0]:.1f} + {cpu[1]:.1f} + {cpu[2]:.1f} ms an image (sender, receiver, sieving); "
        f"files {by_file:.0f} images/s"
    )
    met = lost == 0 and rate > 0.98 * RATE_REACH
    numbers = {
        "rate": rate,
        "lost": lost,
        "by_file": by_file,
        "p99": float(np.quantile(watch.seconds, 0.99)),
        "behind": watch.behind,
        "cpu_ms": cpu,
    }
    return Row(f"live, sent at {RATE_REACH} images/s", measured, "none lost or late", met, numbers)


def _fastest(bench: Bench, n: int, by_file: float) -> Row:
    watch = stream(bench, "live-fastest", n, 0.0)
    rate = n / (watch.last - watch.first)
    later = watch.states.get("later", 0)
    measured = f"{rate:.0f} images/s, {later} judged later; files {by_file:.0f}"
    return Row(
        "live, sent as fast as it is taken",
        measured,
        f">= {RATE_REACH}",
        rate >= RATE_REACH and not later,
        {"rate": rate, "later": later},
    )


def _latency(bench: Bench, n: int) -> Row:
    # The first images of all wait until the search is set up for the detector.
    first = 0 if bench.smoke else PART
    watch = stream(bench, "live-latency", first + n, 100.0)
    p50, p99 = (float(np.quantile(watch.seconds[first:], share)) for share in (0.5, 0.99))
    measured = f"{1e3 * p50:.1f} ms, {1e3 * p99:.1f} ms"
    reach = f"<= {1e3 * LATENCY_REACH:.0f} ms (99 %)"
    what = "live, message to verdict at 100 images/s (50 %, 99 %)"
    return Row(what, measured, reach, p99 <= LATENCY_REACH, {"p50": p50, "p99": p99})


def _memory(bench: Bench) -> Row:
    watch = stream(bench, "live-memory", LONG_IMAGES, 250.0)
    early, late = (1e-6 * np.max(part, axis=0) for part in (watch.rss[1:5], watch.rss[-4:]))
    growth = late / early - 1
    measured = "; ".join(
        f"{who} {early[i]:.0f} to {late[i]:.0f} MB ({growth[i]:+.1%})" for i, who in enumerate(("receiver", "sieving"))
    )
    what = f"live, memory over {LONG_IMAGES} images"
    reach = f"equal within {GROWTH_REACH:.0%}"
    numbers = {"mb": [[1e-6 * value for value in pair] for pair in watch.rss]}
    return Row(what, measured, reach, bool((growth <= GROWTH_REACH).all()), numbers)
