"""Writing of the NXmx master file of a simulated run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import h5py
import numpy as np

from hitsieve.testing.detectors import Instrument
from hitsieve.testing.settings import SimulateSettings

NOTE = "Simulated by hitsieve: these are no measured data."


@dataclass(frozen=True, slots=True)
class Layout:
    """Which images lie in which data file, in order."""

    names: tuple[str, ...]
    """File names; one, that of the master itself, for the style `single`."""
    images: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(settings: SimulateSettings) -> Layout:
        """Arrange the images as the settings ask."""
        n = settings.images
        if settings.style == "single":
            return Layout((f"{settings.name}_master.h5",), (tuple(range(n)),))
        files = -(-n // settings.images_per_file)
        names = tuple(f"{settings.name}_data_{number + 1:06d}.h5" for number in range(files))
        if settings.style == "vds-strided":
            return Layout(names, tuple(tuple(range(number, n, files)) for number in range(files)))
        size = settings.images_per_file
        return Layout(names, tuple(tuple(range(k * size, min(n, (k + 1) * size))) for k in range(files)))


@dataclass(frozen=True, slots=True)
class Series:
    """Per-image arrays of the run, shape (images,)."""

    timestamp: np.ndarray[Any, Any]
    """Start of the exposure (s) after the start of the run."""
    pump: tuple[str, ...]
    """State of the pump by image; empty without a pattern."""

    def event_codes(self) -> tuple[np.ndarray[Any, Any], list[str]]:
        """Number of the state of each image, and the names by number."""
        names = list(dict.fromkeys(self.pump))
        return np.array([names.index(state) for state in self.pump], dtype=np.uint32), names


def group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """Make a NeXus group."""
    made = parent.create_group(name)
    made.attrs["NX_class"] = nx_class
    return made


def field(parent: h5py.Group, name: str, value: Any, units: str | None = None, **attributes: Any) -> h5py.Dataset:
    """Make a field with its units and attributes."""
    made = parent.create_dataset(name, data=value)
    if units is not None:
        attributes["units"] = units
    for key, attribute in attributes.items():
        made.attrs[key] = attribute
    return made


@dataclass(frozen=True, slots=True)
class Master:
    """All that the master file tells."""

    settings: SimulateSettings
    instrument: Instrument
    layout: Layout
    series: Series
    start: datetime

    def write(self, file: h5py.File) -> None:
        """Fill an open file; it names the data files as if they lay beside it."""
        file.attrs["default"] = "entry"
        entry = file.require_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry.attrs["default"] = "data"
        self._entry(entry)
        self._sample(group(entry, "sample", "NXsample"))
        source = group(entry, "source", "NXsource")
        field(source, "name", "hitsieve simulator", short_name="simulated")
        field(source, "type", "Free-Electron Laser")
        field(source, "probe", "x-ray")
        instrument = group(entry, "instrument", "NXinstrument")
        field(instrument, "name", "hitsieve simulator", short_name="simulated")
        field(instrument, "time_zone", "+00:00")
        self._beam(group(instrument, "beam", "NXbeam"))
        self._detector(group(instrument, "detector", "NXdetector"))
        detectors = group(instrument, "detector_group", "NXdetector_group")
        field(detectors, "group_names", np.array([b"detector"]))
        field(detectors, "group_index", np.array([1], dtype=np.int32))
        field(detectors, "group_parent", np.array([-1], dtype=np.int32))
        self._data(entry)
        self._pump(entry)

    def _entry(self, entry: h5py.Group) -> None:
        s = self.settings
        end = self.start + timedelta(seconds=s.images * self.instrument.frame_time)
        field(entry, "definition", "NXmx", version="2024.02")
        field(entry, "title", f"{s.name} (simulated)")
        field(entry, "start_time", self.start.isoformat(timespec="milliseconds"))
        field(entry, "end_time", end.isoformat(timespec="milliseconds"))
        field(entry, "end_time_estimated", end.isoformat(timespec="milliseconds"))
        note = group(entry, "simulation", "NXnote")
        field(note, "type", "application/json")
        field(note, "description", NOTE)
        field(note, "data", s.model_dump_json())

    def _sample(self, sample: h5py.Group) -> None:
        field(sample, "name", self.settings.name)
        field(sample, "depends_on", ".")
        field(sample, "unit_cell", np.array([self.settings.cell], dtype=np.float32))
        # Reflections have no symmetry; the letter is that of the lattice.
        field(sample, "space_group", f"{self.settings.centering} 1")
        field(sample, "temperature", 293.0, "K")

    def _beam(self, beam: h5py.Group) -> None:
        s = self.settings
        field(beam, "incident_wavelength", s.wavelength, "angstrom")
        field(beam, "incident_wavelength_spread", s.wavelength * s.bandwidth, "angstrom")
        field(beam, "incident_beam_size", np.array([5e-6, 5e-6]), "m")
        field(beam, "profile", "Gaussian")
        field(beam, "incident_polarization_stokes", np.array([1.0, 0.0, 0.0, 0.0]))
        field(beam, "total_flux", 1e12, "Hz")

    def _detector(self, group_: h5py.Group) -> None:
        detector, s = self.instrument.detector, self.settings
        place, mask = self.instrument, self.instrument.mask
        field(group_, "description", detector.description)
        field(group_, "type", "Pixel")
        field(group_, "depends_on", "/entry/instrument/detector/transformations/translation")
        field(group_, "sensor_material", detector.sensor_material)
        field(group_, "sensor_thickness", detector.sensor_thickness, "m")
        field(group_, "distance", place.distance, "m")
        field(group_, "distance_derived", True)
        field(group_, "beam_center_x", place.centre[0], "pixel")
        field(group_, "beam_center_y", place.centre[1], "pixel")
        field(group_, "x_pixel_size", place.pixel_size, "m")
        field(group_, "y_pixel_size", place.pixel_size, "m")
        field(group_, "count_time", place.count_time, "s")
        field(group_, "frame_time", place.frame_time, "s")
        # Counts end one above: NXmx calls the saturation value itself valid.
        field(group_, "saturation_value", np.int64(place.most - 1))
        field(group_, "underload_value", np.int64(detector.underload_value or 0))
        field(group_, "bit_depth_readout", np.int32(place.dtype.itemsize * 8))
        field(group_, "bit_depth_image", np.int32(place.dtype.itemsize * 8))
        packed = group_.create_dataset(
            "pixel_mask", data=mask, compression="gzip", compression_opts=1, chunks=mask.shape
        )
        specific = group(group_, "detectorSpecific", "NXcollection")
        specific["pixel_mask"] = packed
        field(specific, "nimages", np.int64(s.images))
        field(specific, "ntrigger", np.int64(1))
        field(specific, "x_pixels_in_detector", np.int64(mask.shape[1]))
        field(specific, "y_pixels_in_detector", np.int64(mask.shape[0]))
        field(specific, "software_version", "hitsieve simulator")
        self._geometry(group_)

    def _geometry(self, group_: h5py.Group) -> None:
        """Translation along the beam, then from the beam's foot to the corner of the first pixel."""
        detector = self.instrument.detector
        panel = detector.panels[0]
        moves = group(group_, "transformations", "NXtransformations")
        field(
            moves,
            "translation",
            np.array([panel.origin[2]]),
            "m",
            transformation_type="translation",
            vector=np.array([0.0, 0.0, 1.0]),
            offset=np.zeros(3),
            offset_units="m",
            depends_on=".",
        )
        height, width = detector.shape
        if not self.settings.modules:
            self._module(group(group_, "module", "NXdetector_module"), (0, 0, height, width))
            return
        for number, place in enumerate(self.instrument.modules, start=1):
            self._module(group(group_, f"module_{number:02d}", "NXdetector_module"), place)

    def _module(self, module: h5py.Group, place: tuple[int, int, int, int]) -> None:
        """A rectangle of the image: first pixel (slow, fast) and shape, and the way to its corner."""
        panel = self.instrument.detector.panels[0]
        field(module, "data_origin", np.array(place[:2], dtype=np.int32))
        field(module, "data_size", np.array(place[2:], dtype=np.int32))
        corner = panel.lab(place[1], place[0]) * (1.0, 1.0, 0.0)
        length = float(np.linalg.norm(corner))
        field(
            module,
            "module_offset",
            np.array([length]),
            "m",
            transformation_type="translation",
            vector=corner / length if length else np.array([1.0, 0.0, 0.0]),
            offset=np.zeros(3),
            offset_units="m",
            depends_on="/entry/instrument/detector/transformations/translation",
        )
        for name, step in (("fast", panel.fast), ("slow", panel.slow)):
            pitch = float(np.linalg.norm(step))
            field(
                module,
                f"{name}_pixel_direction",
                np.array([pitch]),
                "m",
                transformation_type="translation",
                vector=np.array(step) / pitch,
                offset=np.zeros(3),
                offset_units="m",
                depends_on=f"{module.name}/module_offset",
            )

    def _data(self, entry: h5py.Group) -> None:
        data = entry.require_group("data")
        data.attrs["NX_class"] = "NXdata"
        data.attrs["signal"] = "data"
        shape = (self.settings.images, *self.instrument.detector.shape)
        if self.settings.style == "external":
            data.attrs["signal"] = "data_000001"
            for number, name in enumerate(self.layout.names, start=1):
                data[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        elif self.settings.style in ("vds", "vds-strided"):
            virtual = h5py.VirtualLayout(shape, self.instrument.dtype)
            for name, images in zip(self.layout.names, self.layout.images, strict=True):
                source = h5py.VirtualSource(name, "/entry/data/data", (len(images), *shape[1:]), self.instrument.dtype)
                step = images[1] - images[0] if len(images) > 1 else 1
                virtual[images[0] : images[-1] + 1 : step] = source
            data.create_virtual_dataset("data", virtual, fillvalue=self.instrument.blind_value)
        if self.settings.style != "external":
            entry["instrument/detector/data"] = h5py.SoftLink("/entry/data/data")

    def _pump(self, entry: h5py.Group) -> None:
        if self.series.pump:
            codes, names = self.series.event_codes()
            xfel = entry.require_group("xfel")
            xfel.attrs["NX_class"] = "NXcollection"
            if "eventCode" not in xfel:
                field(xfel, "eventCode", codes)
            field(xfel, "pump_states", np.array([name.encode() for name in names]))
            field(xfel, "pump_pattern", self.settings.pump)
