"""What the user gave beside the source: recorded, and put in its NXmx place where the source has nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import Run
from hitsieve.write.nxmx import write_modules
from hitsieve.write.places import absolute_names
from hitsieve.write.required import class_of, groups_of

_SET = "user (--set)"
_GEOMETRY = "user (--geometry)"
_OWN = ("hit_finding/", "MX/")
_SHAPING = frozenset({"distance", "beam_center_x", "beam_center_y", "pixel_size"})


@dataclass(frozen=True, slots=True)
class _Field:
    """A metadatum with its NXmx place and, from the run, its value."""

    name: str
    """As in --set."""
    group: str
    field: str
    value: Any
    units: str | None = None


def record_inputs(run: Run, process: h5py.Group) -> None:
    """Record the mask as used, and the text of the geometry file, in hit_finding."""
    mask = run.detector.pixel_mask
    if mask is not None:
        for name, value, description in (
            ("n_masked", np.int64(np.count_nonzero(mask)), "pixels that the mask as used left out"),
            (
                "mask_sha256",
                mask_digest(mask),
                "SHA-256 of the mask as used, that of the source and --mask together: little-endian uint32, row by row",
            ),
        ):
            process.create_dataset(name, data=value).attrs["description"] = description
    if "geometry" in run.overrides:
        path = Path(run.overrides["geometry"])
        note = process.create_group("geometry")
        note.attrs["NX_class"] = "NXnote"
        note["type"] = "text/plain"
        note["file_name"] = absolute_names([path])[0]
        note["description"] = "the geometry file (CrystFEL) that the user gave"
        note["data"] = path.read_text(encoding="utf-8", errors="replace")


def mask_digest(mask: npt.NDArray[np.uint32]) -> str:
    """SHA-256 of a pixel mask: little-endian uint32, row by row."""
    return hashlib.sha256(np.ascontiguousarray(mask, dtype="<u4").reshape(-1).data).hexdigest()


def write_given(run: Run, entry: h5py.Group) -> list[str]:
    """Write what the user gave and the entry lacks, marked with the attribute `source`; nothing else is changed.

    Returns
    -------
    list of str
        Paths of what the entry lacked.
    """
    if not run.overrides:
        return []
    before = _paths(entry)
    _write_given(run, entry)
    return sorted(_paths(entry) - before)


def _paths(entry: h5py.Group) -> set[str]:
    found: list[str] = []
    entry.visit(found.append)
    return {f"{entry.name}/{name}" for name in found if not name.startswith(_OWN)}


def _write_given(run: Run, entry: h5py.Group) -> None:
    fields = [field for field in _fields(run) if field.value is not None and _origin(run, field.name)]
    for field in fields:
        group = _group(entry, field.group)
        # Of formats other than HDF5 the metadata are written from the model, in which the user's values are.
        if field.field in group and not (run.style == "images" and field.name in run.overrides):
            continue
        if field.field not in group:
            group.create_dataset(field.field, data=field.value)
            if field.units is not None:
                group[field.field].attrs["units"] = field.units
        group[field.field].attrs["source"] = _origin(run, field.name)
    if run.detector.panels and run.overrides.keys() & (_SHAPING | {"geometry", "wavelength"}):
        detector = _group(entry, "detector")
        if not groups_of(detector, "NXdetector_module"):
            write_modules(detector, run.detector, _origin_of_panels(run))
    if "definition" not in entry and groups_of(entry, "NXdetector_module"):
        entry["definition"] = "NXmx"


def _fields(run: Run) -> list[_Field]:
    detector = run.detector
    centre, size = detector.beam_center or (None, None), detector.pixel_size or (None, None)
    wavelength = run.beam.wavelength if run.beam.wavelengths is None else None
    return [
        _Field("sample_name", "sample", "name", run.overrides.get("sample_name")),
        _Field("wavelength", "beam", "incident_wavelength", wavelength, "angstrom"),
        _Field("distance", "detector", "distance", detector.distance, "m"),
        _Field("beam_center_x", "detector", "beam_center_x", centre[0], "pixels"),
        _Field("beam_center_y", "detector", "beam_center_y", centre[1], "pixels"),
        _Field("pixel_size", "detector", "x_pixel_size", size[0], "m"),
        _Field("pixel_size", "detector", "y_pixel_size", size[1], "m"),
        _Field("sensor_material", "detector", "sensor_material", detector.sensor_material),
        _Field("sensor_thickness", "detector", "sensor_thickness", detector.sensor_thickness, "m"),
        _Field("saturation_value", "detector", "saturation_value", detector.saturation_value),
        _Field("underload_value", "detector", "underload_value", detector.underload_value),
    ]


def _origin(run: Run, name: str) -> str:
    """Who gave a value; nothing where the user did not."""
    if name in run.overrides:
        return _SET
    from_geometry = _SHAPING | {"wavelength"}
    return _GEOMETRY if "geometry" in run.overrides and name in from_geometry else ""


def _origin_of_panels(run: Run) -> str:
    if "geometry" in run.overrides:
        return _GEOMETRY
    if run.overrides.keys() >= _SHAPING:
        return _SET
    return "distance, beam centre and pixel size, of the source and the user (--set)"


def _group(entry: h5py.Group, name: str) -> h5py.Group:
    """Find the group sample, instrument, beam or detector, by its class or else its name, or make it."""
    nx_class = f"NX{name}"
    parent = entry if name in ("sample", "instrument") else _group(entry, "instrument")
    named = parent.get(name)
    classed = [item for item in parent.values() if isinstance(item, h5py.Group) and class_of(item) == nx_class]
    if classed:
        return named if named in classed else classed[0]
    group = named if isinstance(named, h5py.Group) else parent.create_group(name)
    if "NX_class" not in group.attrs:
        group.attrs["NX_class"] = nx_class
    return group
