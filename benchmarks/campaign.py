"""An archive in the shape of a real experiment, with small images: sieved, killed on the way, and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.copying import empty
from benchmarks.table import Row
from hitsieve.catalogue import Catalogue
from hitsieve.testing import SimulateSettings, simulate

HITSIEVE = Path(sys.executable).with_name("hitsieve")
REACH_MB, REACH_SHARE = 400, 0.1
KILLED_AFTER = 1 / 3
"""Share of the runs that are done when it is killed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many runs, files and images."""

    n_runs: int
    n_files: int
    images_per_file: int

    def files_of(self, run: int) -> int:
        """Files of one run: as equal as can be."""
        return self.n_files // self.n_runs + (run < self.n_files % self.n_runs)


REAL = Shape(73, 3745, 268)
"""A real experiment at SwissFEL, with a million images in place of thirty."""
SMALL = Shape(8, 44, 40)
SMOKE = Shape(3, 5, 6)


@dataclass(frozen=True, slots=True)
class _Done:
    """One call of the command."""

    seconds: float
    peak_mb: float
    code: int


def campaign(bench: Bench) -> list[Row]:
    """Sieve the archive, killed once; and a tenth of it, to see that memory does not grow."""
    shape = REAL if bench.long else SMOKE if bench.smoke else SMALL
    archive, made = bench.work / "archive" / str(shape.n_files), _made(bench, shape)
    _lay_out(archive, made, shape)
    out, place = bench.folder("campaign"), bench.work / "campaign.sqlite"
    empty(out)
    place.unlink(missing_ok=True)
    few = bench.folder("campaign-few")
    empty(few)
    tenth = _call([archive / f"run{i:03d}" for i in range(max(shape.n_runs // 10, 1))], few, few / "few.sqlite")
    wanted = round(KILLED_AFTER * shape.n_runs)
    killed = _call([archive], out, place, kill_at=wanted)
    before = len(list(out.rglob("*_summary.json")))
    gone_on = _call([archive], out, place)
    once_more = _call([archive], out, place)
    _check(bench, shape, (out, place))
    summaries = [json.loads(path.read_text()) for path in out.rglob("*_summary.json")]
    rows = _rows(shape, (killed, gone_on), (before, summaries), (once_more, tenth))
    for folder in (out, few, archive):
        shutil.rmtree(folder)
    return rows


def _made(bench: Bench, shape: Shape) -> list[Path]:
    """Folders of two simulated runs, with as many files as runs of the archive have."""
    made = []
    for n in sorted({shape.files_of(0), shape.files_of(shape.n_runs - 1)}):
        about: dict[str, Any] = {
            "name": "run",
            "detector": "test-256k",
            "images": n * shape.images_per_file,
            "images_per_file": shape.images_per_file,
            "hit_fraction": 0.3 if bench.smoke else 0.05,
            "seed": n,
        }
        folder = bench.work / "campaign" / f"{n}x{shape.images_per_file}"
        if not (folder / "run_truth.parquet").exists():
            simulate(folder, SimulateSettings.model_validate(about))
        made.append(folder)
    return made


def _lay_out(archive: Path, made: list[Path], shape: Shape) -> None:
    """Give every run a folder of its own, in which its files have further names."""
    if archive.exists():
        shutil.rmtree(archive)
    by_files = {len(list(folder.glob("run_data_*.h5"))): folder for folder in made}
    for run in range(shape.n_runs):
        folder = archive / f"run{run:03d}"
        folder.mkdir(parents=True)
        for path in by_files[shape.files_of(run)].glob("run_*.h5"):
            (folder / path.name).hardlink_to(path)


def _call(folders: list[Path], out: Path, place: Path, *, kill_at: int | None = None) -> _Done:
    command = list(map(str, [HITSIEVE, "campaign", *folders, "-o", out, "--catalogue", place, "--quiet"]))
    start = time.monotonic()
    process = subprocess.Popen(command)
    while kill_at is not None and process.returncode is None:
        if len(list(out.rglob("*_summary.json"))) >= kill_at:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.05)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return _Done(time.monotonic() - start, used.ru_maxrss * 1024e-6, process.returncode)


def _check(bench: Bench, shape: Shape, where: tuple[Path, Path]) -> None:
    out, place = where
    whole = json.loads((out / "campaign.json").read_text())
    n_images = shape.n_files * shape.images_per_file
    totals = whole["totals"]
    counted = (totals["n_runs"], totals["n_files"], totals["n_images"], len(whole["files"]))
    alike = {(run["n_images"], run["n_hits"]) for run in whole["runs"]}
    with Catalogue(place) as catalogue:
        entered = len(catalogue)
    left = [path for path in out.rglob(".*") if path.is_file()]
    bench.report.check(
        "an archive that was killed on the way is sieved whole, each run once",
        counted == (shape.n_runs, shape.n_files, n_images, shape.n_files)
        and len(alike) <= 2
        and entered == shape.n_runs
        and not left,
        f"{counted[0]} runs, {counted[1]:,} files, {counted[2]:,} images",
    )


def _rows(
    shape: Shape, calls: tuple[_Done, _Done], done: tuple[int, list[dict[str, Any]]], others: tuple[_Done, _Done]
) -> list[Row]:
    (killed, gone_on), (before, summaries), (once_more, tenth) = calls, done, others
    n_images = shape.n_files * shape.images_per_file
    seconds = killed.seconds + gone_on.seconds
    inside = sum(summary["seconds"] for summary in summaries)
    what = f"campaign, {shape.n_runs} runs, {shape.n_files:,} files, {n_images:,} images of 0.27 megapixels"
    went = (
        f"{inside:.0f} s in runs; opening, entering, looking for runs and what the kill undid {seconds - inside:.0f} s"
    )
    measured = f"{seconds:.0f} s, {n_images / seconds:,.0f} images/s; {went}; killed after {before} runs"
    again = f"{once_more.seconds:.1f} s"
    peak, few = max(killed.peak_mb, gone_on.peak_mb), tenth.peak_mb
    met = peak <= REACH_MB and peak / few - 1.0 <= REACH_SHARE
    memory = f"{few:.0f} and {peak:.0f} MB ({peak / few - 1.0:+.1%})"
    reach = f"<= {REACH_MB} MB, equal within {REACH_SHARE:.0%}"
    return [
        Row(what, measured, numbers={"seconds": seconds, "in_runs": inside, "images": n_images}),
        Row("the same again, with nothing to do", again, numbers={"seconds": once_more.seconds}),
        Row("peak memory, a tenth and all of the archive", memory, reach, met, {"mb_tenth": few, "mb": peak}),
    ]
