"""The page of a run of a million images: what the browser asks for, over the whole run, zoomed in and as a grid."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx

import hitsieve
from benchmarks.bench import Bench
from benchmarks.data import prepare
from benchmarks.serving import running
from benchmarks.table import Row
from hitsieve.pipeline.record import identity
from hitsieve.pipeline.register import enter
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.testing import SimulateSettings
from hitsieve.testing.lengthen import lengthen
from hitsieve.write import Outputs, read_summary

IMAGES, SMOKE_IMAGES = 1_000_000, 5_000
SHORT, SMOKE_SHORT = 600, 60
"""Images of the run that is repeated."""
REACH_MS = 200.0
LARGEST = 200_000
"""Bytes of an answer that a chart is drawn from, at most."""


def pages(bench: Bench) -> list[Row]:
    """Ask for the page, and for what its charts are drawn from, as a browser does when somebody zooms."""
    n = SMOKE_IMAGES if bench.smoke else IMAGES
    outputs = _long_run(bench, n)
    catalogue = bench.work / "pages" / "catalogue.sqlite"
    catalogue.unlink(missing_ok=True)
    enter([outputs.summary], catalogue)
    rounds = 2 if bench.smoke else 10
    times: dict[str, list[float]] = {}
    largest, wrong = 0, []
    run = identity(read_summary(outputs.summary))
    for number in range(rounds):
        # Anew each time: the first answer is from a server that has read nothing.
        with running(catalogue) as url, httpx.Client(base_url=url, timeout=60) as client:
            for what, address in _questions(run, n, random.Random(number)):  # noqa: S311 - places to look at
                start = time.perf_counter()
                answer = client.get(address)
                times.setdefault(what, []).append(1e3 * (time.perf_counter() - start))
                if answer.status_code != 200:
                    wrong.append(f"{address}: {answer.status_code}")
                elif address.startswith("/api/"):
                    largest = max(largest, len(answer.content))
                    wrong += _miscounted(address, answer.json(), n)
    detail = "; ".join(wrong[:3]) or f"largest answer {largest / 1000:.0f} kB"
    bench.report.check(
        "what a page of a long run shows adds up, in short answers", not wrong and largest <= LARGEST, detail
    )
    return [_row(what, found, n) for what, found in times.items()]


def _long_run(bench: Bench, n: int) -> Outputs:
    """A sieved run, repeated until it is long; made once."""
    folder = bench.work / "pages"
    made = Outputs.of(folder / str(n), "pumped")
    if made.summary.is_file():
        return made
    short = SMOKE_SHORT if bench.smoke else SHORT
    settings = SimulateSettings(
        name="pumped", images=short, detector="test-256k", dtype="i16", hit_fraction=0.1, pump="dark:1,light:2"
    )
    write = WriteSettings(output=folder / "short", overwrite=True)
    told = RunSettings.model_validate({"write": write, "source": {"pump": settings.pump}})
    sieved = hitsieve.run(prepare(bench.work, settings).master, settings=told).outputs
    stops = [(first, first + n // 200) for first in range(n // 100, n - n // 100, n // 50)]
    return lengthen(sieved, made.summary.parent, n, stops=stops)


def _questions(run: str, n: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """What is asked for, and its address."""
    api = f"/api/runs/{run}"
    yield "page, first time", f"/runs/{run}"
    yield "page", f"/runs/{run}"
    yield "whole run in 400 bins", f"{api}/overview"
    yield "whole run in 2000 bins", f"{api}/overview?bins=2000"
    for share in (2, 10, 100, 1000):
        length = n // share
        first = rng.randrange(n - length)
        yield "a part, zoomed in", f"{api}/overview?first={first}&last={first + length - 1}"
    columns = round(n**0.5)
    yield "grid", f"{api}/grid?grid={columns}x{-(-n // columns)},snake"


def _miscounted(address: str, told: dict[str, Any], images: int) -> list[str]:
    """What does not add up in an answer."""
    if "columns" in told:
        n, wanted = sum(map(sum, told["images"])), images - told["outside"]
    else:
        n = sum(sum(told[state]) for state in ("hits", "misses", "unreadable", "missing"))
        wanted = told["last"] - told["first"] + 1
    return [] if n == wanted else [f"{address}: counts {n} images of {wanted}"]


def _row(what: str, found: list[float], n: int) -> Row:
    median = statistics.median(found)
    measured = f"{median:.0f} ms ({min(found):.0f} to {max(found):.0f})"
    told = f"run of {n:,} images: {what}"
    return Row(told, measured, f"< {REACH_MS:g} ms", median < REACH_MS, {"milliseconds": found})
