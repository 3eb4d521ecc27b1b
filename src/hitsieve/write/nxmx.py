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
    if run.headers is not None and run.headers.start_time is not None:
        entry["start_time"] = run.headers.start_time
    sample = _group(entry, "sample", "NXsample")
    sample["depends_on"] = "."
    if "sample_name" in run.overrides:
        sample["name"] = run.overrides["sample_name"]
    instrument = _group(entry, "instrument", "NXinstrument")
    beam = _group(instrument, "beam", "NXbeam")
    if run.beam.wavelengths is None:
        _number(beam, "incident_wavelength", run.beam.wavelength, "angstrom")
    _detector(_group(instrument, "detector", "NXdetector"), run.detector)


def describe_images(run: Run, output: h5py.Group, images: npt.NDArray[np.int64] | None) -> list[str]:
    """Write what each image has of its own, for the images that the output holds (None: all).

    Returns
    -------
    list of str
        Paths in a file of the arrays that have a row an image.
    """
    which = slice(None) if images is None else images
    rows = []
    if run.beam.wavelengths is not None:
        beam = output.require_group("entry/instrument/beam")
        _number(beam, "incident_wavelength", run.beam.wavelengths[which], "angstrom")
        rows.append("/entry/instrument/beam/incident_wavelength")
    if run.headers is None:
        return rows
    detector = output.require_group(_DETECTOR.strip("/"))
    for name, unit in (("count_time", "s"), ("frame_time", "s"), ("threshold_energy", "eV")):
        values: npt.NDArray[np.float64] = getattr(run.headers, name)
        if np.isfinite(values).any():
            same = bool(np.all(values == values[0]))
            _number(detector, name, values[0] if same else values[which], unit)
            rows += [] if same else [f"{_DETECTOR}/{name}"]
    texts = np.array(run.headers.text, dtype=object)[which]
    specific = _group(detector, "detectorSpecific", "NXcollection")
    rows.append(f"{_DETECTOR}/detectorSpecific/source_header")
    header = specific.create_dataset("source_header", data=texts, dtype=h5py.string_dtype())
    header.attrs["description"] = "text header of each image, as it stands in the source"
    return rows


def describe_wavelengths(run: Run, output: h5py.File, images: npt.NDArray[np.int64] | None) -> list[str]:
    """Replace the one wavelength that was carried from one of several files by that of each image; gives its places."""
    wavelengths = run.beam.wavelengths
    if run.style != "files" or wavelengths is None:
        return []
    places: list[h5py.Dataset] = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and name.endswith("/incident_wavelength") and item.shape in ((), (1,)):
            places.append(item)

    output.visititems(visit)
    groups = [item.parent.name for item in places]
    for group in (output[name] for name in groups):
        del group["incident_wavelength"]
        _number(group, "incident_wavelength", wavelengths if images is None else wavelengths[images], "angstrom")
    return [f"{item}/incident_wavelength" for item in groups]


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
    if detector.panels:
        write_modules(group, detector)


def write_modules(group: h5py.Group, detector: Detector, origin: str = "") -> None:
    """Write the panels of a detector as modules and transformations into a group that has no modules.

    Parameters
    ----------
    group : h5py.Group
        The NXdetector.
    detector : Detector
        Has panels.
    origin : str
        Who gave the geometry: attribute `source` of the groups.
    """
    z = detector.panels[0].origin[2]
    name = "transformations"
    while name in group:
        name += "_user"
    transformations = _group(group, name, "NXtransformations")
    _axis(transformations, "det_z", (0.0, 0.0, z), ".", default=(0.0, 0.0, 1.0))
    det_z = f"{transformations.name}/det_z"
    if "depends_on" not in group:
        group["depends_on"] = det_z
    made = [transformations]
    for number, panel in enumerate(detector.panels):
        name = "module" if len(detector.panels) == 1 else f"module_{number:02d}"
        while name in group:
            name += "_user"
        made.append(_group(group, name, "NXdetector_module"))
        _module(made[-1], panel, z, det_z)
    if origin:
        for item in made:
            item.attrs["source"] = origin


def _module(group: h5py.Group, panel: Panel, z: float, det_z: str) -> None:
    group["data_origin"] = np.asarray(panel.first, dtype=np.int64)
    group["data_size"] = np.asarray(panel.shape, dtype=np.int64)
    x, y, own_z = panel.origin
    offset = f"{group.name}/module_offset"
    _axis(group, "module_offset", (x, y, own_z - z), det_z, default=(0.0, 0.0, 1.0))
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
