"""hitsieve and DIALS index the same images: how many each, how far apart their orientations are, and how long it takes.

Each finds its own spots, with its own settings. The cell is known to both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import hdf5plugin
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import hitsieve
from benchmarks.bench import Bench
from benchmarks.data import prepare
from benchmarks.table import Row
from hitsieve.index import CellIndexer, reciprocal_vectors
from hitsieve.settings import IndexSettings, RunSettings, WriteSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings
from hitsieve.write import open_results

Floats = npt.NDArray[np.float64]
Found = Mapping[int, list[Floats]]
"""A matrices by image."""

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HITS = 30
"""Simulated."""
MAX_LATTICES = 3
SAME = 1.5
"""Degrees within which two answers are one lattice."""
FRAME = np.diag([-1.0, 1.0, -1.0])
"""From DIALS' laboratory frame to ours."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images that both index."""

    name: str
    path: Path
    cell: tuple[float, float, float, float, float, float]
    space_group: str
    dials: tuple[str, ...] = ()
    """Settings of dials.find_spots; none: its defaults."""
    truth: Path | None = None
    """Table of the simulator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Lattices that one program found."""

    lattices: Found
    n_tried: int
    ms: float
    """CPU time of indexing an image that was tried (ms)."""


def indexing(bench: Bench) -> list[Row]:
    """One row a set of images; none but a reason where DIALS is not installed."""
    if shutil.which("dials.import") is None:
        return [Row("indexing beside DIALS", "not measured: DIALS is not installed")]
    rows = []
    for images in _sets(bench):
        folder = bench.folder(f"indexing-{images.path.stem}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rows.append(_row(bench, images, own(images, folder), dials(images, folder)))
    return rows


def _sets(bench: Bench) -> Iterable[ImageSet]:
    settings = SimulateSettings(name="indexed", images=HITS, detector="jungfrau-1m", hit_fraction=1.0)
    simulated = prepare(bench.work, settings)
    name = f"{len(simulated)} simulated hits, JUNGFRAU 1M"
    yield ImageSet(name, simulated.master, settings.cell, "P4", truth=simulated.truth)
    images = Path(os.environ.get("HITSIEVE_DATA", DATA)) / "images"
    thaumatin = (58.0, 58.0, 150.3, 90.0, 90.0, 90.0)
    thermolysin = (92.9, 92.9, 130.4, 90.0, 90.0, 120.0)
    counts = ("gain=25", "global_threshold=100", "min_spot_size=2")
    for measured in (
        ImageSet("12 of thaumatin, PILATUS3 6M", images / "i24_thaumatin_pilatus3_6m.h5", thaumatin, "P41212"),
        ImageSet("3 of thermolysin, CSPAD", images / "lcls_cxi_thermolysin_cspad.h5", thermolysin, "P6122", counts),
        ImageSet("1 of thaumatin, EIGER2", images / "dls_thaumatin_eiger2_4mroi.h5", thaumatin, "P41212"),
    ):
        if measured.path.exists():
            yield measured


def own(images: ImageSet, folder: Path) -> Answer:
    """Run hitsieve; its indexing is timed by itself, on the spots that the run found."""
    settings = RunSettings(
        index=IndexSettings(cell=",".join(map(str, images.cell)), max_lattices=MAX_LATTICES),
        write=WriteSettings(output=folder / "own"),
    )
    hitsieve.run(images.path, settings=settings)
    with open_results(folder / "own") as stored, open_run([images.path]) as opened:
        results = stored.read(np.arange(len(stored)))
        run = opened.run
    lattices = {i: list(results.lattices_of(i).A) for i in range(len(results)) if results.n_lattices[i] > 0}
    indexer = CellIndexer(images.cell, "P", settings.index)
    tried = np.flatnonzero(results.n_spots_counted >= settings.index.min_indexed)
    spots = [(int(i), results.spots_of(int(i))) for i in tried]
    vectors = [reciprocal_vectors(run.detector, run.beam, found.x, found.y, image=i) for i, found in spots]
    start = time.process_time()
    for q in vectors:
        indexer.index(q)
    seconds = time.process_time() - start
    return Answer(lattices, len(tried), 1e3 * seconds / max(len(tried), 1))


def dials(images: ImageSet, folder: Path) -> Answer:
    """Run DIALS on the images as stills, in one process."""
    stills = "convert_sequences_to_stills=True"
    _dials(folder, "dials.import", str(images.path), stills, "output.experiments=imported.expt")
    _dials(folder, "dials.find_spots", "imported.expt", "nproc=1", *images.dials)
    python = Path(shutil.which("dials.import") or "").read_text().splitlines()[0].removeprefix("#!").strip()
    cell = ",".join(map(str, images.cell))
    told = _dials(
        folder,
        python,
        # Not by its path: the folder that it is in has a dials.py of its own.
        *("-c", Path(__file__).with_name("dials_ssx.py").read_text()),
        *("imported.expt", "strong.refl", "nproc=1", f"max_lattices={MAX_LATTICES}"),
        *(f"unit_cell={cell}", f"space_group={images.space_group}"),
    )
    found = json.loads((folder / "indexed.expt").read_text())
    lattices: dict[int, list[Floats]] = defaultdict(list)
    for one in found["experiment"]:
        (row,) = found["imageset"][one["imageset"]]["single_file_indices"]
        crystal = found["crystal"][one["crystal"]]
        direct = np.array([crystal[f"real_space_{axis}"] for axis in "abc"])
        lattices[row].append(FRAME @ np.linalg.inv(direct))
    n_images = len(json.loads((folder / "imported.expt").read_text())["experiment"])
    skipped = _filtered(told)
    n_tried = n_images - skipped
    return Answer(lattices, n_tried, 1e3 * float(told.split()[-1]) / max(n_tried, 1))


def _filtered(told: str) -> int:
    """Images that DIALS did not try, for lack of spots."""
    lines = [line.split() for line in told.splitlines() if line.startswith("Filtered ")]
    return sum(int(words[1]) for words in lines)


def _dials(folder: Path, *command: str) -> str:
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH, "OMP_NUM_THREADS": "1"}
    # DIALS runs on its own Python, to which this one's settings mean nothing.
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def apart(reference: Floats, other: Floats) -> float:
    """Angle (degrees) between two A matrices of one lattice; infinite where they are of different lattices.

    They are of one lattice where the one's inverse times the other is nearly whole, with determinant 1 or -1: that
    covers the symmetry of the lattice.
    """
    change = np.linalg.inv(reference) @ other
    whole = np.round(change)
    if np.abs(change - whole).max() > 0.2 or abs(round(np.linalg.det(whole))) != 1:
        return float("inf")
    u, _, vt = np.linalg.svd(other @ np.linalg.inv(reference @ whole))
    return float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))


def _true(truth: Path, answer: Answer) -> str:
    """How many of the true lattices were found, and how far off they are."""
    table = pq.read_table(truth, columns=["image", "a_matrices"]).to_pydict()
    off = [
        min((apart(A, found) for found in answer.lattices.get(image, ())), default=float("inf"))
        for image, values in zip(table["image"], table["a_matrices"], strict=True)
        for A in np.reshape(values, (-1, 3, 3))
    ]
    near = [angle for angle in off if angle < SAME]
    return f"{len(near)} of {len(off)} true ones, off by {np.median(near):.3f} degrees (median)"


def _row(bench: Bench, images: ImageSet, ours: Answer, theirs: Answer) -> Row:
    both = sorted(set(ours.lattices) & set(theirs.lattices))
    # The nearest pair of each image: with several lattices, the order in which they are found differs.
    angles = [min(apart(a, b) for a in ours.lattices[i] for b in theirs.lattices[i]) for i in both]
    agree = [angle for angle in angles if angle < SAME]
    bench.report.check(
        f"{images.name}: where hitsieve and DIALS index an image, they find one lattice",
        len(agree) == len(both),
        f"{len(agree)} of {len(both)}",
    )
    counts = []
    for name, answer in (("hitsieve", ours), ("DIALS", theirs)):
        true = f" ({_true(images.truth, answer)})" if images.truth else ""
        n_lattices = sum(map(len, answer.lattices.values()))
        counts.append(f"{name} {len(answer.lattices)} images, {n_lattices} lattices{true}")
    differ = (
        f"apart by {np.median(agree):.2f} degrees (median), {max(agree):.2f} at most" if agree else "none in common"
    )
    measured = (
        f"{'; '.join(counts)}; {len(both)} images by both, {differ}; CPU an image tried "
        f"{ours.ms:.1f} and {theirs.ms:.0f} ms"
    )
    numbers = {"angles": angles, "images": both, "own_ms": ours.ms, "dials_ms": theirs.ms}
    return Row(f"indexed, {images.name}", measured, numbers=numbers)
