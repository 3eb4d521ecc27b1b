"""The page of an image: what the browser asks for when somebody goes from hit to hit through 4M images."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import h5py
import hdf5plugin
import numpy as np

import hitsieve
from benchmarks.bench import Bench
from benchmarks.data import prepare
from benchmarks.table import Row
from hitsieve.pipeline.record import identity
from hitsieve.pipeline.register import enter
from hitsieve.settings import RunSettings, ServeSettings, WriteSettings
from hitsieve.testing import SimulateSettings
from hitsieve.write import read_summary

IMAGES, SMOKE_IMAGES = 60, 12
REACH_MS = 200.0


def viewing(bench: Bench) -> list[Row]:
    """Look at images one after the other; the counts of the first level are held against the file."""
    from starlette.testclient import TestClient

    from hitsieve.serve import create_app

    images = SMOKE_IMAGES if bench.smoke else IMAGES
    detector = "test-256k" if bench.smoke else "jungfrau-4m"
    simulated = prepare(
        bench.work, SimulateSettings(name="viewed", images=images, detector=detector, hit_fraction=0.3, seed=4)
    )
    write = WriteSettings(output=bench.work / "view", overwrite=True)
    outputs = hitsieve.run(simulated.master, settings=RunSettings(write=write)).outputs
    catalogue = bench.work / "view" / "catalogue.sqlite"
    catalogue.unlink(missing_ok=True)
    enter([outputs.summary], catalogue)
    run = identity(read_summary(outputs.summary))
    times: dict[str, list[float]] = {}
    app = create_app(ServeSettings(catalogue=catalogue))
    right, n_bytes = True, []
    with TestClient(app, base_url="http://localhost:8080") as client:
        for number in range(images):
            for what, address in _questions(run, number):
                start = time.perf_counter()
                answer = client.get(address).raise_for_status()
                times.setdefault(what, []).append(1e3 * (time.perf_counter() - start))
                if what == "picture":
                    n_bytes.append(int(answer.headers["content-length"]))
                    told = json.loads(answer.headers["x-picture"])
                    cells = np.frombuffer(answer.content, dtype=told["dtype"]).reshape(told["shape"])
                    right &= _is_largest(cells, told, _counts(simulated.data_files[0], number))
    bench.report.check("what is shown of an image is the largest count of each cell", right, f"{images} images")
    rows = [_row(what, found, detector) for what, found in times.items()]
    size = f"{statistics.median(n_bytes) / 1000:.0f} kB"
    return [*rows, Row(f"first picture of an image, {detector}: bytes", size, numbers={"bytes": n_bytes})]


def _questions(run: str, number: int) -> Iterator[tuple[str, str]]:
    yield "page", f"/runs/{run}/images/{number}"
    yield "facts", f"/api/runs/{run}/images/{number}"
    yield "picture", f"/api/runs/{run}/images/{number}/pixels"
    yield "tile", f"/api/runs/{run}/images/{number}/pixels?level=0&column=0&row=0"
    yield "profile", f"/api/runs/{run}/images/{number}/profile"


def _counts(path: object, row: int) -> np.ndarray:
    hdf5plugin.register(("bshuf",))
    with h5py.File(path) as file:
        return np.asarray(file["entry/data/data"][row])


def _is_largest(cells: np.ndarray, told: dict[str, int], counts: np.ndarray) -> bool:
    """Whether no cell with data holds more than the largest of its pixels, and most hold that."""
    side = 2 ** told["level"]
    pad = [(0, -n % side) for n in counts.shape]
    padded = np.pad(counts.astype(np.int64), pad, constant_values=-1)
    largest = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side).max(axis=(1, 3))
    known = cells != told["no_data"]
    shown = cells.astype(np.int64) - told["offset"]
    # Cells beside masked pixels, whose counts do not matter, may hold less.
    return bool((shown <= largest)[known].all() and (shown == largest)[known].mean() > 0.99)


def _row(what: str, found: list[float], detector: str) -> Row:
    first, rest = found[0], statistics.median(found[1:])
    return Row(
        f"{what} of an image, {detector}: the first of a run, and half of the others",
        f"{first:.0f} ms, {rest:.0f} ms",
        f"{REACH_MS:.0f} ms",
        rest <= REACH_MS,
        {"ms": found},
    )
