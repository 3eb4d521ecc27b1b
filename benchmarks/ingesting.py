"""A run with thousands of source files, brought to an imitated SciCat, and what is there afterwards."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import hitsieve
from benchmarks.bench import Bench
from benchmarks.data import SimulatedRun, prepare
from benchmarks.table import Row
from hitsieve.catalogue.scicat import Credentials, Errand, Facts, Outbox
from hitsieve.pipeline.ingest import Connection, errand_of, ingest
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.testing import SimulateSettings
from hitsieve.testing.scicat import FakeSciCat

FILES, SMOKE_FILES = 3745, 30
USER = Credentials(user="user", password=SecretStr("secret"))
FACTS = Facts(owner="A. Person", owner_group="p12345", contact_email="a.person@example.org", beam="synchrotron")


@dataclass(frozen=True, slots=True)
class _Times:
    """One server that held nothing, and two ingestions."""

    first: float
    again: float
    n_first: int
    n_again: int
    faults: tuple[str, ...]
    """What is not on the server as it should be."""


def ingesting(bench: Bench) -> list[Row]:
    """Bring the run there twice, to each version of the backend, and look at what is there."""
    run = _run(bench)
    results = bench.folder("ingested")
    write = WriteSettings.model_validate({"output": results, "overwrite": True})
    hitsieve.run(run.master, settings=RunSettings(write=write, workers=len(os.sched_getaffinity(0))))
    rows, faults = [], set()
    for version in ("v5", "v4"):
        rounds = [_once(version, run, results, bench.work / "outbox.sqlite") for _ in range(bench.rounds)]
        faults |= {f"{version}: {fault}" for one in rounds for fault in one.faults}
        first, again = ([getattr(one, name) for one in rounds] for name in ("first", "again"))
        told = rounds[0]
        measured = (
            f"{_seconds(first)}, {told.n_first} requests; again, which changes nothing: "
            f"{_seconds(again)}, {told.n_again} requests"
        )
        what = f"ingestion of a run of {len(run.data_files) + 1:,} files, backend {version}"
        rows.append(Row(what, measured, numbers={"seconds": first, "seconds_again": again}))
    shutil.rmtree(results)
    detail = "; ".join(sorted(faults)) or f"{len(run.data_files) + 1:,} files of raw data"
    bench.report.check(
        "each file of an ingested run is in SciCat once, and a second time changes nothing", not faults, detail
    )
    return rows


def _run(bench: Bench) -> SimulatedRun:
    """A run whose every image has a file of its own."""
    n = SMOKE_FILES if bench.smoke else FILES
    settings = SimulateSettings(
        name="files", images=n, images_per_file=1, detector="test-256k", dtype="i16", hit_fraction=0.1
    )
    return prepare(bench.work, settings)


def _once(version: Any, run: SimulatedRun, results: Path, outbox: Path) -> _Times:
    outbox.unlink(missing_ok=True)
    with FakeSciCat(version) as fake, Outbox(outbox) as box:
        errand = errand_of(results, Errand(server=fake.url, run="", place="", facts=FACTS))
        connection = Connection(USER, 10.0)
        times, states, counts = [], [], []
        for _ in range(2):
            start = time.perf_counter()
            ingest(errand, box, connection)
            times.append(time.perf_counter() - start)
            states.append(fake.state())
            counts.append(len(fake.requests))
        faults = _faults(fake, run, results)
        if states[0] != states[1]:
            faults.append("the second ingestion changed something")
        if any(seen.method != "GET" and "login" not in seen.path for seen in fake.requests[counts[0] :]):
            faults.append("the second ingestion sent something")
    return _Times(times[0], times[1], counts[0], counts[1] - counts[0], tuple(faults))


def _faults(fake: FakeSciCat, run: SimulatedRun, results: Path) -> list[str]:
    """Compare the server with the disk."""
    faults = []
    wanted = {"raw": [run.master, *run.data_files], "derived": [path for path in results.iterdir() if path.is_file()]}
    datasets = list(fake.store.datasets.values())
    if sorted(one["type"] for one in datasets) != ["derived", "raw"]:
        faults.append(f"{len(datasets)} data sets")
    for dataset in datasets:
        files = {path.name: path.stat().st_size for path in wanted[dataset["type"]]}
        listed = [
            (file["path"], file["size"])
            for block in fake.store.of_dataset(fake.store.blocks, dataset["pid"])
            for file in block["dataFileList"]
        ]
        if sorted(listed) != sorted(files.items()):
            faults.append(f"{dataset['type']}: {len(listed)} files listed of {len(files)}")
        if (dataset["numberOfFiles"], dataset["size"]) != (len(files), sum(files.values())):
            faults.append(f"{dataset['type']}: {dataset['numberOfFiles']} files of {dataset['size']} bytes counted")
    return faults


def _seconds(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
