"""A simulated run on disk: data files, master file, and the truth beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from hitsieve.errors import OutputError
from hitsieve.filters import register_filters
from hitsieve.testing.images import Simulator, Truth
from hitsieve.testing.master import NOTE, Layout, Master, Series, field, group
from hitsieve.testing.placing import place, scratch_folder
from hitsieve.testing.settings import SimulateSettings
from hitsieve.testing.truth import write_truth
from hitsieve.write.atomic import error_number

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Files of a simulated run."""

    master: Path
    data_files: tuple[Path, ...]
    """Empty for the style `single`."""
    truth: Path
    """Parquet file with a row an image."""
    truth_spots: Path
    """Parquet file with a row a spot."""


def _filter(compression: str) -> Mapping[str, Any]:
    filters: dict[str, Mapping[str, Any]] = {
        "bslz4": hdf5plugin.Bitshuffle(nelems=0, cname="lz4"),
        "bszstd": hdf5plugin.Bitshuffle(nelems=0, cname="zstd", clevel=1),
        "lz4": hdf5plugin.LZ4(),
        "gzip": {"compression": "gzip", "compression_opts": 1},
        "none": {},
    }
    return filters[compression]


def simulate(output: Path, settings: SimulateSettings, *, progress: Progress | None = None) -> Simulated:
    """Simulate a run into the folder `output`, made if absent.

    Parameters
    ----------
    output : Path
        Folder for `<name>_master.h5`, `<name>_data_000001.h5` ..., `<name>_truth.parquet` and
        `<name>_truth_spots.parquet`. They appear when all are complete, or not at all; with `overwrite` they
        replace those of an earlier run of this name, whose other data files go.
    settings : SimulateSettings
        What to simulate.
    progress : callable, optional
        Called with the images done and the images of the run after each image.

    Raises
    ------
    OutputError
        A file exists and `overwrite` is false, or the folder cannot be written.
    SettingsError
        The settings cannot be met together.
    """
    output = Path(output)
    layout = Layout.of(settings)
    made = Simulated(
        master=output / f"{settings.name}_master.h5",
        data_files=() if settings.style == "single" else tuple(output / name for name in layout.names),
        truth=output / f"{settings.name}_truth.parquet",
        truth_spots=output / f"{settings.name}_truth_spots.parquet",
    )
    files = (*made.data_files, made.truth, made.truth_spots, made.master)
    if not settings.overwrite:
        for path in files:
            if path.exists():
                raise OutputError(f"{path} exists", mend="choose another name or folder, or ask to overwrite")
    simulator = Simulator(settings)
    try:
        with scratch_folder(output, settings.name) as scratch:
            _write(scratch, simulator, layout, progress)
            # The master last: with it the run is there.
            place(scratch, files, _stale(output, settings.name, files))
    except (OSError, RuntimeError) as error:
        # Where h5py cannot write it raises the one or the other.
        number = error_number(error)
        if number is None and isinstance(error, RuntimeError):
            raise
        why = os.strerror(number) if number else error
        what = f"cannot write {settings.name} to {output}: {why}"
        raise OutputError(what, mend="check space and permission") from error
    return made


def _stale(output: Path, name: str, files: Sequence[Path]) -> list[Path]:
    """Data files that an overwritten run of this name leaves over; files that were not simulated are not touched."""
    named = re.compile(re.escape(name) + r"_data_[0-9]{6,}\.h5")
    found = [path for path in output.iterdir() if named.fullmatch(path.name) and path not in files]
    return [path for path in found if _is_simulated(path)]


def _is_simulated(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return "entry" in file and file["entry"].attrs.get("note") == NOTE
    except OSError:
        return False


def _write(folder: Path, simulator: Simulator, layout: Layout, progress: Progress | None) -> None:
    settings = simulator.settings
    register_filters()
    writer = _DataWriter(simulator, progress)
    truths: list[Truth] = []
    for name, images in zip(layout.names, layout.images, strict=True):
        with h5py.File(folder / name, "w") as file:
            truths += writer.write(file, images)
    truths.sort(key=lambda truth: truth.image)
    master = Master(settings, simulator.instrument, layout, writer.series, datetime.now(timezone.utc))
    with h5py.File(folder / f"{settings.name}_master.h5", "a" if settings.style == "single" else "w") as file:
        master.write(file)
    write_truth(
        folder / f"{settings.name}_truth.parquet", folder / f"{settings.name}_truth_spots.parquet", truths, settings
    )


class _DataWriter:
    """Writes the images of a run, a data file at a time."""

    def __init__(self, simulator: Simulator, progress: Progress | None) -> None:
        self._simulator = simulator
        self._progress = progress
        self._done = 0
        n = simulator.settings.images
        states = (simulator.pump_state(i) for i in range(n))
        self.series = Series(
            timestamp=np.arange(n) * simulator.instrument.frame_time,
            pump=tuple(state for state in states if state is not None),
        )

    def write(self, file: h5py.File, images: tuple[int, ...]) -> list[Truth]:
        """Draw and store images; their per-image arrays lie beside them."""
        simulator = self._simulator
        entry = group(file, "entry", "NXentry")
        entry.attrs["note"] = NOTE
        shape = simulator.instrument.detector.shape
        data = group(entry, "data", "NXdata")
        data.attrs["signal"] = "data"
        stored = data.create_dataset(
            "data",
            (len(images), *shape),
            simulator.instrument.dtype,
            chunks=(1, *shape),
            **_filter(simulator.settings.compression),
        )
        truths = []
        image = np.empty(shape, dtype=simulator.instrument.dtype)
        for row, number in enumerate(images):
            truths.append(simulator.image(number, image)[1])
            stored[row] = image
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, simulator.settings.images)
        rows = np.array(images)
        detector = group(entry, "detector", "NXcollection")
        field(detector, "timestamp", self.series.timestamp[rows], "s")
        field(detector, "exptime", np.full(len(rows), simulator.instrument.count_time), "s")
        field(detector, "number", rows.astype(np.uint64))
        if self.series.pump:
            xfel = group(entry, "xfel", "NXcollection")
            field(xfel, "eventCode", self.series.event_codes()[0][rows])
        return truths
