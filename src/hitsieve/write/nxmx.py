"""NXmx metadata from the nouns of the model, for sources that are not HDF5. What is unknown stays absent."""

from __future__ import annotations

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import Detector, Panel, Run
from hitsieve.model.detector import Vector

_DETECTOR = "/entry/instrument/detector"


def describe_run(run: Run, output: h5py.File) -> None:
    """Write entry, instrument, beam, detector and modules as far as the source gives them."""
    entry = _group(output, "entry", "NXentry")
    entry["definition"] = "NXmx"
    sample = _group(entry, "sample", "NXsample")
    sample["depends_on"] = "."
    if "sample_name" in run.overrides:
        sample["name"] = run.overrides["sample_name"]
    instrument = _group(entry, "instrument", "NXinstrument")
    beam = _group(instrument, "beam", "NXbeam")
    if run.beam.wavelengths is None:
        _number(beam, "incident_wavelength", run.beam.wavelength, "angstrom")
    _detector(_group(instrument, "detector", "NXdetector"), run.detector)


def describe_images(run: Run, output: h5py.File, images: npt.NDArray[np.int64] | None) -> None:
    """Write what each image has of its own, for the images that the output holds (None: all)."""
    if run.beam.wavelengths is not None:
        values = run.beam.wavelengths if images is None else run.beam.wavelengths[images]
        _number(output["/entry/instrument/beam"], "incident_wavelength", values, "angstrom")


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _number(group: h5py.Group, name: str, value: object, units: str | None = None) -> None:
    if value is None:
        return
    dataset = group.create_dataset(name, data=value)
    if units is not None:
        dataset.attrs["units"] = units


def _detector(group: h5py.Group, detector: Detector) -> None:
    for name in ("description", "sensor_material", "saturation_value", "underload_value"):
        _number(group, name, getattr(detector, name))
    for name in ("distance", "sensor_thickness"):
        _number(group, name, getattr(detector, name), "m")
    if detector.beam_center is not None:
        _number(group, "beam_center_x", detector.beam_center[0], "pixels")
        _number(group, "beam_center_y", detector.beam_center[1], "pixels")
    if detector.pixel_size is not None:
        _number(group, "x_pixel_size", detector.pixel_size[0], "m")
        _number(group, "y_pixel_size", detector.pixel_size[1], "m")
    if detector.pixel_mask is not None:
        group.create_dataset("pixel_mask", data=detector.pixel_mask, compression="gzip", shuffle=True)
    if not detector.panels:
        return
    group["depends_on"] = f"{_DETECTOR}/transformations/det_z"
    z = detector.panels[0].origin[2]
    transformations = _group(group, "transformations", "NXtransformations")
    _axis(transformations, "det_z", (0.0, 0.0, z), ".", default=(0.0, 0.0, 1.0))
    for number, panel in enumerate(detector.panels):
        name = "module" if len(detector.panels) == 1 else f"module_{number:02d}"
        _module(_group(group, name, "NXdetector_module"), panel, z)


def _module(group: h5py.Group, panel: Panel, z: float) -> None:
    group["data_origin"] = np.asarray(panel.first, dtype=np.int64)
    group["data_size"] = np.asarray(panel.shape, dtype=np.int64)
    x, y, own_z = panel.origin
    offset = f"{group.name}/module_offset"
    _axis(group, "module_offset", (x, y, own_z - z), f"{_DETECTOR}/transformations/det_z", default=(0.0, 0.0, 1.0))
    _axis(group, "fast_pixel_direction", panel.fast, offset, default=(-1.0, 0.0, 0.0))
    _axis(group, "slow_pixel_direction", panel.slow, offset, default=(0.0, -1.0, 0.0))


def _axis(group: h5py.Group, name: str, step: Vector, depends_on: str, *, default: Vector) -> None:
    """A translation by `step` (m); `default` is the direction written for a step of length 0."""
    length = float(np.linalg.norm(step))
    axis = group.create_dataset(name, data=[length])
    axis.attrs["transformation_type"] = "translation"
    axis.attrs["vector"] = np.asarray(step) / length if length else np.asarray(default)
    axis.attrs["offset"] = np.zeros(3)
    axis.attrs["offset_units"] = "m"
    axis.attrs["units"] = "m"
    axis.attrs["depends_on"] = depends_on
