"""The page of all datasets, with ten thousand of them: as a browser asks a running server for it, part by part."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np

from benchmarks.bench import Bench
from benchmarks.search import QUESTION, RUNS, SMOKE_RUNS, by_hand, fill, record
from benchmarks.table import Row
from hitsieve.catalogue import PumpState, Record, StoredFile
from hitsieve.settings import ServeSettings

REACH_MS = 200.0
STRETCHES = 32


def serving(bench: Bench) -> list[Row]:
    """Time each kind of page, and hold what is found against a plain evaluation of all records."""
    runs = SMOKE_RUNS if bench.smoke else RUNS
    path = bench.work / "serve" / f"{runs}.sqlite"
    records = [_shown(record(number)) for number in range(runs)]
    fill(path, records)
    times: dict[str, list[float]] = {}
    with running(path) as url, httpx.Client(base_url=url, headers={"accept": "text/html"}) as browser:
        for _ in range(2 if bench.smoke else 30):
            for what, address in _questions(runs, records[runs // 2]):
                start = time.perf_counter()
                browser.get(address).raise_for_status()
                times.setdefault(what, []).append(1e3 * (time.perf_counter() - start))
        found = _found(browser)
    wanted = by_hand(records)
    detail = f"{len(wanted):,} of {runs:,} runs"
    bench.report.check("datasets that the page finds are those found by hand", found == wanted, detail)
    return [_row(what, spent, runs) for what, spent in times.items()]


def _questions(runs: int, one: Record) -> Iterator[tuple[str, str]]:
    """Pages, by name."""
    asked: dict[str, dict[str, Any]] = {
        "first page": {},
        "last page": {"page": runs // 50},
        "sorted": {"sort": "-hit_rate", "page": 3},
        "searched": {"q": QUESTION},
    }
    for what, values in asked.items():
        yield what, f"/?{urlencode(values)}"
    yield "facts of one", f"/runs/{one.id}/facts"


def _found(browser: httpx.Client) -> set[str]:
    """Ids of all datasets that the question finds, page by page."""
    found: set[str] = set()
    page, total = 1, 1
    while len(found) < total:
        told = browser.get("/api/datasets", params={"q": QUESTION, "size": 200, "page": page}).raise_for_status().json()
        if not told["datasets"]:
            break
        found |= {one["id"] for one in told["datasets"]}
        page, total = page + 1, told["n_found"]
    return found


@contextmanager
def running(path: Path) -> Iterator[str]:
    """A server of a catalogue, in a thread; its address, with a slash at the end."""
    from hitsieve.serve import Server, create_app

    settings = ServeSettings(catalogue=path, port=0)
    with Server(create_app(settings), settings) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.stop()
            thread.join(10)


def _shown(one: Record) -> Record:
    """The run with all that the page draws of it."""
    rng = np.random.default_rng(int(one.id, 16) + 1)
    rate = one.hit_rate or 0.0
    line = np.clip(rate * (1 + 0.3 * np.cumsum(rng.normal(0, 0.3, STRETCHES))), 0, 1)
    states = one.pump or ()
    return one.model_copy(
        update={
            "hit_rate_low": 0.9 * rate,
            "hit_rate_high": min(1.0, 1.1 * rate),
            "hit_rate_line": tuple(np.round(line, 5).tolist()),
            "pump_states": tuple(PumpState(name=name, n_images=5000, n_hits=1, hit_rate=rate) for name in states),
            "files": (StoredFile(kind="hits", name=f"{one.stem}_hits.h5", size=one.hit_bytes),),
        }
    )


def _row(what: str, spent: list[float], runs: int) -> Row:
    median = statistics.median(spent)
    measured = f"{median:.0f} ms ({min(spent):.0f} to {max(spent):.0f})"
    told = f"page of {runs:,} datasets: {what}"
    return Row(told, measured, f"< {REACH_MS:g} ms", median < REACH_MS, {"milliseconds": spent})
