"""A series as it is received, kept as an NXmx master with data files until its outputs are whole."""

from __future__ import annotations

import errno
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from hitsieve.errors import OutputError
from hitsieve.filters import register_filters
from hitsieve.model import DROPPED_FIELD, Codec, Detector, PackedImage, SeriesStart
from hitsieve.model.detector import Panel
from hitsieve.write.atomic import writing
from hitsieve.write.streamvalues import IMAGE_VALUES, StreamValues
from hitsieve.write.virtual import absent_value

IMAGES_PER_FILE = 1000
"""A file that is full is closed, and whole whatever happens later."""
MOST_OPEN = 4
"""Data files open at a time: images may come out of order."""
RESERVE = 2 << 20
"""Bytes held free on the disk of a series: once it is full, what has been kept can still be closed and told."""
MOST_CELLS = 1 << 20
"""Values of images that are written while a series is received: the master file is written anew each time."""
_PLACE = "/entry/instrument/detector/transformations/translation"


@dataclass(frozen=True, slots=True)
class Part:
    """Images of a series that is still received, none of which is to come."""

    master: Path
    first: int
    """Number of the first image."""
    n: int


class ReceivedSeries:
    """Writes the images of one series, in any order, each once; not to be shared between threads.

    Parameters
    ----------
    folder : Path
        Folder of this series alone, which is made if absent.
    name : str
        Prefix of the file names.
    first : PackedImage
        An image of the series: shape, type and compression are those of all.
    start : SeriesStart, optional
        What is stated in the master file; None: nothing is known.

    Raises
    ------
    OutputError
        No space or permission, or the folder holds something.
    """

    def __init__(self, folder: Path, name: str, first: PackedImage, start: SeriesStart | None) -> None:
        register_filters()
        self.folder = folder
        self.master = folder / f"{name}_master.h5"
        self.shape, self.dtype, self.codec = first.shape, first.dtype, first.codec
        self._name = name
        self._start = start
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self._datasets: dict[int, h5py.Dataset] = {}
        """Those of the open files: to look one up for each image takes its time."""
        self._files: dict[int, Path] = {}
        self._rows: dict[int, int] = {}
        self._last = -1
        self._known = 0
        self._mastered: tuple[int, ...] = ()
        self.n_bytes = 0
        """Bytes of the images that were kept."""
        self.values = StreamValues()
        """What images bring along; written in the end, and with each data file that is begun while it is little."""
        self._finished = False
        self.dropping = ""
        """By which rule images are dropped before they come here, in words; stated in the master file."""
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._reserve = folder / ".reserve"
            _hold(self._reserve)

    def why_not(self, packed: PackedImage) -> str:
        """Why an image does not fit the others of its series; empty where it does."""
        if (packed.shape, packed.dtype, packed.codec) == (self.shape, self.dtype, self.codec):
            return ""
        mine, other = (f"{x.dtype.name} {x.shape}, {x.codec or 'not packed'}" for x in (self, packed))
        return f"received, but it is {other}; the series is {mine}"

    def add(self, number: int, packed: PackedImage) -> None:
        """Keep image `number`.

        Raises
        ------
        OutputError
            No space or permission.
        """
        part, row = divmod(number, IMAGES_PER_FILE)
        with writing(self.folder):
            self._dataset(part).id.write_direct_chunk((row, 0, 0), packed.data)
        self.n_bytes += len(packed.data)
        self._last = max(self._last, number)

    def flush(self) -> None:
        """Let others, and whoever comes after a crash, see the images so far.

        Raises
        ------
        OutputError
            No space or permission.
        """
        with writing(self.folder):
            for file in self._open.values():
                file.flush()
        if self._stated() != self._mastered:
            self._write_master()

    def _stated(self) -> tuple[int, ...]:
        """What the master file must be written anew for: data files, and images beyond those that were announced."""
        return len(self), *self._files

    def restate(self, start: SeriesStart) -> None:
        """Have what is known now stated in the master file, from the next flush on."""
        self._start, self._mastered = start, ()

    def finish(self, n_images: int = 0) -> None:
        """Close all files and write the master file over all of them.

        Parameters
        ----------
        n_images : int
            Images that are known of, kept or not; more may be announced.

        Raises
        ------
        OutputError
            No space or permission.
        """
        self._known, self._finished = max(self._known, n_images), True
        n = len(self)
        with writing(self.folder):
            self._reserve.unlink(missing_ok=True)
            last = self._last // IMAGES_PER_FILE
            if (last + 1) * IMAGES_PER_FILE > n:
                self._rows[last] = n - last * IMAGES_PER_FILE
                self._dataset(last).resize(self._rows[last], axis=0)
            self._datasets.clear()
            while self._open:
                self._open.popitem()[1].close()
        self._write_master()

    @staticmethod
    def part_of(number: int) -> tuple[int, int]:
        """Data file that an image lies in, from 0, and how many have room there."""
        return number // IMAGES_PER_FILE, IMAGES_PER_FILE

    def part(self, part: int) -> Part | None:
        """Close a data file all images of which have come, and write a master file over it alone.

        None where nothing of it could be kept. No more may be added to it.

        Raises
        ------
        OutputError
            No space or permission.
        """
        if part not in self._files:
            return None
        master = self.folder / f"{self._name}_part_{part + 1:06d}_master.h5"
        self._datasets.pop(part, None)
        try:
            with writing(master):
                # Who has it open for writing would be in the way of those who read it.
                if (opened := self._open.pop(part, None)) is not None:
                    self._close(opened)
                with h5py.File(master, "w") as file:
                    self._state(file, part)
        except OutputError:
            master.unlink(missing_ok=True)
            raise
        return Part(master, part * IMAGES_PER_FILE, IMAGES_PER_FILE)

    def _path(self, part: int) -> Path:
        return self.folder / f"{self._name}_data_{part + 1:06d}.h5"

    def _dataset(self, part: int) -> h5py.Dataset:
        if part in self._open:
            self._open.move_to_end(part)
        if part not in self._datasets:
            self._datasets[part] = self._opened(part)
        return self._datasets[part]

    def _opened(self, part: int) -> h5py.Dataset:
        if part in self._open:
            return self._open[part]["entry/data/data"]
        while len(self._open) >= MOST_OPEN:
            other, file = self._open.popitem(last=False)
            self._datasets.pop(other, None)
            self._close(file)
        if part in self._files:
            self._open[part] = h5py.File(self._files[part], "r+")
            return self._open[part]["entry/data/data"]
        path = self._path(part)
        file = h5py.File(path, "x")
        self._open[part], self._files[part], self._rows[part] = file, path, IMAGES_PER_FILE
        data = _group(_group(file, "entry", "NXentry"), "data", "NXdata")
        data.attrs["signal"] = "data"
        shape = (IMAGES_PER_FILE, *self.shape)
        packing = _filters(self.codec)
        fill = absent_value(self.dtype)
        return data.create_dataset(
            "data", shape, self.dtype, chunks=(1, *self.shape), maxshape=shape, fillvalue=fill, **packing
        )

    def _close(self, file: h5py.File) -> None:
        """Close a data file; what it still has to write finds room on a full disk too."""
        self._reserve.unlink(missing_ok=True)
        file.close()
        if not self._finished:
            with suppress(OSError):
                _hold(self._reserve)

    def __len__(self) -> int:
        """Images of the series, as far as is known."""
        return max((self._start.n_images if self._start else None) or 0, self._last + 1, self._known)

    def _write_master(self) -> None:
        temporary = self.master.with_name(f".{self.master.name}.tmp")
        try:
            with writing(self.master):
                with h5py.File(temporary, "w") as file:
                    self._state(file)
                temporary.replace(self.master)
        except OutputError:
            temporary.unlink(missing_ok=True)
            raise
        self._mastered = self._stated()

    def _state(self, file: h5py.File, part: int | None = None) -> None:
        """Write a master file, over all data files or over one."""
        n = len(self) if part is None else IMAGES_PER_FILE
        file.attrs["default"] = "entry"
        entry = _group(file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        _field(entry, "definition", "NXmx")
        instrument = _group(entry, "instrument", "NXinstrument")
        detector = _group(instrument, "detector", "NXdetector")
        if self._start is not None:
            _write_start(entry, self._start, self.shape)
        _field(_specific(detector), "nimages", n)
        if self.dropping:
            _field(_specific(detector), DROPPED_FIELD, self.dropping)
        self._link(entry, n, part)
        if part is None and len(self.values) and (self._finished or len(self) * len(self.values) <= MOST_CELLS):
            self.values.write(_group(_specific(detector), IMAGE_VALUES, "NXcollection"), len(self))

    def _link(self, entry: h5py.Group, n: int, only: int | None) -> None:
        data = _group(entry, "data", "NXdata")
        data.attrs["signal"] = "data"
        virtual = h5py.VirtualLayout((n, *self.shape), self.dtype)
        files = self._files if only is None else {only: self._files[only]}
        for part, path in sorted(files.items()):
            first, rows = (part - (only or 0)) * IMAGES_PER_FILE, self._rows[part]
            count = min(rows, n - first)
            source = h5py.VirtualSource(path.name, "/entry/data/data", (rows, *self.shape), self.dtype)
            virtual[first : first + count] = source[:count]
        data.create_virtual_dataset("data", virtual, fillvalue=absent_value(self.dtype))


def _hold(path: Path) -> None:
    """Take up room on the disk, or leave nothing."""
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, RESERVE)
        except OSError:
            path.unlink()
            raise


def _filters(codec: Codec | None) -> Mapping[str, Any]:
    if codec is None:
        return {}
    made: dict[Codec, Mapping[str, Any]] = {
        "bslz4": hdf5plugin.Bitshuffle(nelems=0, cname="lz4"),
        "bszstd": hdf5plugin.Bitshuffle(nelems=0, cname="zstd"),
        "lz4": hdf5plugin.LZ4(),
    }
    return made[codec]


def _write_start(entry: h5py.Group, start: SeriesStart, shape: tuple[int, int]) -> None:
    """All that the start of a series states; what it does not is absent."""
    instrument = entry["instrument"]
    detector = instrument["detector"]
    if start.wavelength is not None:
        beam = _group(instrument, "beam", "NXbeam")
        _field(beam, "incident_wavelength", start.wavelength, "angstrom")
    if start.cell is not None:
        sample = _group(entry, "sample", "NXsample")
        _field(sample, "unit_cell", np.array(start.cell))
        if start.space_group is not None:
            _field(sample, "space_group", start.space_group)
    for name, unit in (("count_time", "s"), ("frame_time", "s")):
        value = start.stated.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _field(detector, name, float(value), unit)
    if isinstance(started := start.stated.get("arm_date"), str) and "\0" not in started:
        _field(entry, "start_time", started)
    kept = _specific(detector)
    _field(kept, "series_id", start.key.number)
    if start.key.unique:
        _field(kept, "series_unique_id", start.key.unique)
    _field(kept, "start_message", json.dumps(start.stated))
    # A detector of another size than its images is not theirs.
    if start.detector is not None and start.detector.shape == shape:
        _write_detector(detector, start.detector)


def _write_detector(group: h5py.Group, detector: Detector) -> None:
    centre, size = detector.beam_center or (None, None), detector.pixel_size or (None, None)
    for name, value, unit in (
        ("description", detector.description, None),
        ("sensor_material", detector.sensor_material, None),
        ("sensor_thickness", detector.sensor_thickness, "m"),
        ("distance", detector.distance, "m"),
        ("beam_center_x", centre[0], "pixel"),
        ("beam_center_y", centre[1], "pixel"),
        ("x_pixel_size", size[0], "m"),
        ("y_pixel_size", size[1], "m"),
        ("saturation_value", detector.saturation_value, None),
        ("underload_value", detector.underload_value, None),
        ("error_value", detector.error_value, None),
    ):
        if value is not None:
            _field(group, name, value, unit)
    if detector.pixel_mask is not None:
        mask = detector.pixel_mask
        # Images wait for it, and gzip takes its time.
        group.create_dataset("pixel_mask", data=mask, chunks=mask.shape, **hdf5plugin.Bitshuffle(cname="lz4"))
        _specific(group)["pixel_mask"] = group["pixel_mask"]
    if detector.panels:
        _write_panel(group, detector.panels[0])


def _write_panel(group: h5py.Group, panel: Panel) -> None:
    """The one flat panel as a module, with the chain of moves that places it."""
    x, y, z = panel.origin
    _field(group, "depends_on", _PLACE)
    moves = _group(group, "transformations", "NXtransformations")
    _move(moves, "translation", z, (0.0, 0.0, 1.0), ".")
    module = _group(group, "module", "NXdetector_module")
    _field(module, "data_origin", np.array(panel.first, dtype=np.int64))
    _field(module, "data_size", np.array(panel.shape, dtype=np.int64))
    corner = float(np.hypot(x, y))
    vector = (x / corner, y / corner, 0.0) if corner else (1.0, 0.0, 0.0)
    _move(module, "module_offset", corner, vector, _PLACE)
    for name, step in (("fast", panel.fast), ("slow", panel.slow)):
        length = float(np.linalg.norm(step))
        along = (step[0] / length, step[1] / length, step[2] / length)
        _move(module, f"{name}_pixel_direction", length, along, f"{module.name}/module_offset")


def _move(group: h5py.Group, name: str, value: float, vector: tuple[float, float, float], depends_on: str) -> None:
    made = _field(group, name, value, "m")
    made.attrs["transformation_type"] = "translation"
    made.attrs["vector"] = np.array(vector)
    made.attrs["depends_on"] = depends_on


def _specific(detector: h5py.Group) -> h5py.Group:
    made = detector.require_group("detectorSpecific")
    made.attrs["NX_class"] = "NXcollection"
    return made


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    made = parent.create_group(name)
    made.attrs["NX_class"] = nx_class
    return made


def _field(parent: h5py.Group, name: str, value: Any, unit: str | None = None) -> h5py.Dataset:
    made = parent.create_dataset(name, data=value)
    if unit is not None:
        made.attrs["units"] = unit
    return made
