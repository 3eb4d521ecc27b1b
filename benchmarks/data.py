"""The simulated runs that the benchmarks read: made once, kept, and brought into the page cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from hitsieve.testing import Simulated, SimulateSettings, simulate

IMAGES = "/entry/data/data"
BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A simulated run on disk."""

    settings: SimulateSettings
    folder: Path

    @property
    def master(self) -> Path:
        """The master file, of the style `vds`."""
        return self.folder / f"{self.settings.name}_master.h5"

    @property
    def data_files(self) -> list[Path]:
        """Data files in the order of their images."""
        return sorted(self.folder.glob(f"{self.settings.name}_data_*.h5"))

    @property
    def truth(self) -> Path:
        """What is true about each image."""
        return self.folder / f"{self.settings.name}_truth.parquet"

    @property
    def stored_bytes(self) -> int:
        """Size of all data files."""
        return sum(path.stat().st_size for path in self.data_files)

    def __len__(self) -> int:
        return self.settings.images

    def hits(self) -> npt.NDArray[np.bool_]:
        """Which images hold a crystal."""
        states = pq.read_table(self.truth, columns=["image", "state"]).sort_by("image")["state"]
        hits: npt.NDArray[np.bool_] = np.array(states.to_pylist()) == "hit"
        return hits

    def strong_spots(self) -> npt.NDArray[np.int64]:
        """True spots of snr 6 or more of each image."""
        table = pq.read_table(self.truth, columns=["image", "n_spots_snr6"]).sort_by("image")
        return np.asarray(table["n_spots_snr6"].to_numpy(), dtype=np.int64)

    def warm(self) -> None:
        """Bring the files into the page cache."""
        for path in (self.master, *self.data_files):
            with path.open("rb", buffering=0) as file:
                while file.read(BLOCK):
                    pass


def prepare(work: Path, settings: SimulateSettings) -> SimulatedRun:
    """Give the simulated run of these settings, from the last time where there is one.

    Its folder is named after the settings, so that other settings never pass for these.
    """
    print_name = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
    run = SimulatedRun(settings, work / "data" / f"{settings.name}-{print_name}")
    if not run.master.exists():
        made = simulate(run.folder, settings, progress=_progress)
        print(file=sys.stderr)
        assert_same_names(run, made)
    run.warm()
    return run


def assert_same_names(run: SimulatedRun, made: Simulated) -> None:
    """The simulator's files are where this run expects them."""
    assert (run.master, run.data_files, run.truth) == (made.master, sorted(made.data_files), made.truth)


def rearranged(run: SimulatedRun, name: str, images: Sequence[range]) -> Path:
    """Make a master file over ranges of a run's images, in the order given; images may come more than once."""
    target = run.folder / f"{name}_master.h5"
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    shutil.copyfile(run.master, scratch)
    per_file = run.settings.images_per_file
    with h5py.File(scratch, "r+") as file:
        stack = file[IMAGES]
        shape, dtype, attributes = stack.shape, stack.dtype, dict(stack.attrs)
        del file[IMAGES]
        total = sum(len(part) for part in images)
        layout = h5py.VirtualLayout((total, *shape[1:]), dtype)
        place = 0
        for part in images:
            for number, path in enumerate(run.data_files):
                first, last = max(part.start, number * per_file), min(part.stop, (number + 1) * per_file)
                if first >= last:
                    continue
                stored = min(per_file, len(run) - number * per_file)
                source = h5py.VirtualSource(path.name, IMAGES, (stored, *shape[1:]), dtype)
                layout[place : place + last - first] = source[first - number * per_file : last - number * per_file]
                place += last - first
        file.create_virtual_dataset(IMAGES, layout).attrs.update(attributes)
        specific = file["/entry/instrument/detector/detectorSpecific"]
        specific["nimages"][...] = total
        specific["ntrigger"][...] = 1
    scratch.replace(target)
    return target


def _progress(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"\rsimulating {done}/{total} images", end="", file=sys.stderr, flush=True)
