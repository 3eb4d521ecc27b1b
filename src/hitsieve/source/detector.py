"""Detector and beam from the names that NXmx, DECTRIS and Jungfraujoch files use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Beam, Detector, Panel, Problem, UnitCell
from hitsieve.model.detector import beam_on
from hitsieve.source.fields import ENERGIES, HC, LENGTHS, Fields, as_text, groups_of_class, member
from hitsieve.source.geometry import completed, read_panel
from hitsieve.source.nxmx import entry_of
from hitsieve.source.sample import read_sample_cell

METRES_TO_ANGSTROM = 1e10
NAMED = 5
"""Images that a problem names one by one; of more it gives the number."""
WAVELENGTHS = {unit: factor * METRES_TO_ANGSTROM for unit, factor in LENGTHS.items()}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a source says about the experiment."""

    detector: Detector
    beam: Beam
    problems: tuple[Problem, ...] = ()
    sample_cell: UnitCell | None = None


@dataclass(frozen=True, slots=True)
class _Groups:
    instrument: h5py.Group | None
    detector: h5py.Group | None
    specific: h5py.Group | None
    beams: list[h5py.Group]


def read_metadata(file: h5py.File, path: Path, shape: tuple[int, int], n: int, dtype: np.dtype[np.generic]) -> Metadata:
    """Detector and beam of a master file for n images of shape (slow, fast) and type dtype.

    Raises
    ------
    MetadataError
        The pixel mask does not fit the images.
    """
    fields = Fields(path)
    groups = _groups(file, shape, fields)
    beam = _beam(fields, groups, n)
    detector = _within(fields, _stated(fields, groups, shape), dtype)
    panels = _panels(fields, groups.detector, shape)
    if _contradicted(fields, detector, panels, beam):
        detector = replace(detector, beam_center=None, distance=None)
    detector = completed(replace(detector, panels=panels), beam.direction)
    cell = read_sample_cell(file, fields)
    return Metadata(detector, beam, tuple(fields.problems), cell)


def _groups(file: h5py.File, shape: tuple[int, int], fields: Fields) -> _Groups:
    entry = entry_of(file)
    instruments = groups_of_class(entry, "NXinstrument")
    instrument = instruments[0] if instruments else member(entry, "instrument")
    detectors = groups_of_class(instrument, "NXdetector")
    detector = _fitting(detectors, shape, fields) if detectors else member(instrument, "detector")
    beams = groups_of_class(instrument, "NXbeam")
    beams += groups_of_class(member(entry, "sample"), "NXbeam")
    named = member(instrument, "beam")
    if isinstance(named, h5py.Group) and named not in beams:
        beams.append(named)
    specific = member(detector, "detectorSpecific")
    return _Groups(instrument, detector, specific if isinstance(specific, h5py.Group) else None, beams)


def _fitting(detectors: list[h5py.Group], shape: tuple[int, int], fields: Fields) -> h5py.Group:
    """The detector that has images of this shape."""
    if len(detectors) == 1:
        return detectors[0]
    for detector in detectors:
        for name in ("data", "pixel_mask"):
            item = member(detector, name)
            if isinstance(item, h5py.Dataset) and item.shape is not None and tuple(item.shape[-2:]) == shape:
                return detector
    fields.report(f"has {len(detectors)} detectors; {detectors[0].name} is taken")
    return detectors[0]


def _beam(fields: Fields, groups: _Groups, n: int) -> Beam:
    places = [(beam, name) for beam in groups.beams for name in ("incident_wavelength", "wavelength")]
    for group, name in [*places, (groups.instrument, "incident_wavelength"), (groups.detector, "incident_wavelength")]:
        values = fields.each(group, name, WAVELENGTHS, "angstrom")
        if values is not None:
            return _beam_of(fields, values, n)
    energies = [(b, name) for b in groups.beams for name in ("incident_energy", "total_energy", "photon_energy")]
    for group in (groups.detector, groups.specific):
        energies += [(group, "photon_energy"), (group, "incident_energy")]
    for group, name in energies:
        values = fields.each(group, name, ENERGIES, "eV")
        if values is not None:
            return _beam_of(fields, HC / values, n)
    return Beam()


def _beam_of(fields: Fields, values: npt.NDArray[np.float64], n: int) -> Beam:
    if len(values) == 1:
        return Beam(float(values[0]))
    if len(values) == n:
        unset = np.flatnonzero(np.isnan(values))
        if len(unset):
            named = ", ".join(map(str, unset[:NAMED])) + (", ..." if len(unset) > NAMED else "")
            fields.report(
                f"states no wavelength for {len(unset)} of {n} images ({named}); "
                "they are not indexed, and their resolution is unknown",
                "mend the file, or give all images one with --set wavelength=ANGSTROM",
            )
        return Beam(float(np.nanmean(values)), values)
    fields.report(f"states {len(values)} wavelengths for {n} images; they are not used", "--set wavelength=ANGSTROM")
    return Beam()


def _stated(fields: Fields, groups: _Groups, shape: tuple[int, int]) -> Detector:
    """The detector as its fields state it, without panels."""
    detector, specific = groups.detector, groups.specific
    both = (detector, specific)
    size = [fields.first([(g, f"{axis}_pixel_size") for g in both], LENGTHS, "m") for axis in ("x", "y")]
    distance = fields.first([(g, name) for name in ("distance", "detector_distance") for g in both], LENGTHS, "m")
    thickness = fields.first([(g, "sensor_thickness") for g in both], LENGTHS, "m")
    saturation = fields.first(
        [(g, name) for name in ("saturation_value", "countrate_correction_count_cutoff") for g in both]
    )
    if saturation is not None and saturation < 1:
        fields.report(f"states the saturation value {saturation:g}, which means not set", "--set saturation_value=...")
        saturation = None
    underload, error_value = (fields.first([(g, name) for g in both]) for name in ("underload_value", "error_value"))
    return Detector(
        shape=shape,
        pixel_mask=_pixel_mask(fields, groups, shape),
        saturation_value=None if saturation is None else int(saturation),
        underload_value=None if underload is None else int(underload),
        error_value=None if error_value is None else int(error_value),
        description=fields.text(detector, "description"),
        distance=distance,
        beam_center=_beam_center(fields, groups),
        pixel_size=(size[0], size[1]) if size[0] is not None and size[1] is not None else None,
        sensor_material=fields.text(detector, "sensor_material"),
        sensor_thickness=thickness,
    )


def _within(fields: Fields, stated: Detector, dtype: np.dtype[np.generic]) -> Detector:
    """Without limits that no pixel of this type can reach; they are often the largest number of another type."""
    bounds = np.iinfo(dtype.name)
    low, high = max(int(bounds.min), -(2**63)), min(int(bounds.max), 2**63 - 1)
    saturation, underload, error_value = stated.saturation_value, stated.underload_value, stated.error_value
    if saturation is not None and saturation > high:
        fields.report(f"states the saturation value {saturation}, which {dtype} pixels never reach: none is saturated")
        saturation = None
    if underload is not None and underload > high:
        fields.report(
            f"states the underload value {underload}, which {dtype} pixels never reach; it is not used",
            "--set underload_value=...",
        )
        underload = None
    if error_value is not None and not low <= error_value <= high:
        fields.report(f"states the error value {error_value}, which no {dtype} pixel can have; it is not used")
        error_value = None
    underload = None if underload is None else max(underload, low)
    return replace(stated, saturation_value=saturation, underload_value=underload, error_value=error_value)


def _beam_center(fields: Fields, groups: _Groups) -> tuple[float, float] | None:
    both = (groups.detector, groups.specific)
    x, y = (fields.first([(g, f"beam_center_{axis}") for g in both]) for axis in ("x", "y"))
    if x is None or y is None:
        return None
    for axis in ("x", "y"):
        item = member(groups.detector, f"beam_center_{axis}")
        unit = as_text(item.attrs.get("units")) if isinstance(item, h5py.Dataset) else None
        if unit is not None and unit.lower() in LENGTHS:
            fields.report(f"{item.name} is in {unit}, not in pixels; it is not used", "--set beam_center_x=... ")
            return None
    if x == 0 and y == 0:
        fields.report("states the beam centre (0, 0), which means not set")
        return None
    return x, y


def _pixel_mask(fields: Fields, groups: _Groups, shape: tuple[int, int]) -> npt.NDArray[np.uint32] | None:
    for group in (groups.detector, groups.specific):
        if group is None or group.get("pixel_mask", getlink=True) is None:
            continue
        item = member(group, "pixel_mask")
        if not isinstance(item, h5py.Dataset):
            fields.report(f"{group.name}/pixel_mask leads nowhere", "--mask FILE:/path")
            continue
        return checked_mask(np.asarray(item[()]), shape, f"{fields.path}: {item.name}")
    return None


def checked_mask(values: npt.NDArray[np.generic], shape: tuple[int, int], where: str) -> npt.NDArray[np.uint32]:
    """A pixel mask as uint32 (slow, fast); MetadataError naming both shapes where it does not fit."""
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.shape != shape:
        raise MetadataError(
            f"{where} has shape {values.shape}, the images have {shape} (slow, fast)",
            mend="give the mask of this detector mode",
        )
    if values.dtype.kind not in "iub":
        raise MetadataError(f"{where} holds {values.dtype}; integers are needed", mend="store it as unsigned integers")
    return values.astype(np.uint32)


def _panels(fields: Fields, detector: h5py.Group | None, shape: tuple[int, int]) -> tuple[Panel, ...]:
    modules = groups_of_class(detector, "NXdetector_module")
    depends = fields.text(detector, "depends_on")
    if detector is not None and depends is not None and depends != "." and not depends.startswith("/"):
        # A relative path counts from the group that states it, here the detector, not the module.
        depends = f"{detector.name}/{depends}"
    try:
        return tuple(read_panel(module, shape, depends) for module in modules)
    except MetadataError as error:
        why = error.what
    except (ValueError, TypeError, OverflowError) as error:
        # Text, or no finite number, where numbers are to be.
        why = f"the modules of {'' if detector is None else detector.name}: {error}"
    fields.report(f"the geometry cannot be read: {why}", "--geometry FILE.geom, or mend the master")
    return ()


def _contradicted(fields: Fields, stated: Detector, panels: tuple[Panel, ...], beam: Beam) -> bool:
    """Whether the panels contradict the stated beam centre or distance, which is reported; the panels are used."""
    meets = beam_on(panels, beam.direction)
    if meets is None:
        return False
    contradicted = False
    if stated.beam_center is not None:
        (x, y), (px, py) = stated.beam_center, meets[:2]
        if np.hypot(x - px, y - py) > 2:
            fields.report(
                f"states the beam centre ({x:.1f}, {y:.1f}), its modules give ({px:.1f}, {py:.1f}); "
                "the modules are used",
                "--set beam_center_x=... --set beam_center_y=... if the modules are wrong",
            )
            contradicted = True
    if stated.distance is not None:
        normal = _normal_distance(panels, meets)
        if all(abs(stated.distance - d) > 0.01 * d for d in (meets[2], normal)):
            fields.report(
                f"states the distance {stated.distance:.6g} m, its modules give {meets[2]:.6g} m; the modules are used",
                "--set distance=... if the modules are wrong",
            )
            contradicted = True
    return contradicted


def _normal_distance(panels: tuple[Panel, ...], meets: tuple[float, float, float]) -> float:
    """Distance of the sample from the plane of the panel that the beam meets, along its normal."""
    panel = min(panels, key=lambda p: abs(p.first[0] + p.shape[0] / 2 - meets[1]))
    normal = np.cross(panel.fast, panel.slow)
    return float(abs(np.asarray(panel.origin) @ normal) / np.linalg.norm(normal))
