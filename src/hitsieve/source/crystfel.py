"""CrystFEL geometry files (.geom) as an override of the input's geometry.

CrystFEL's laboratory frame has z along the beam, y up and x completing a right-handed frame, as ours, so vectors are
taken as they are. A panel's corner is the outer corner of its first pixel, in pixels of 1/res metres; x and y of a
bad region are in the same unit. Conventions: crystfel_geometry(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Beam, Detector, Panel, Problem
from hitsieve.source.detector import Metadata
from hitsieve.source.fields import ENERGIES, HC, LENGTHS
from hitsieve.source.geometry import completed, vector

TERM = re.compile(r"([+-]?)\s*(\d*\.?\d*(?:[eE][+-]?\d+)?)\s*([xyz])")
BOUNDS = ("min_fs", "max_fs", "min_ss", "max_ss")
CORNERS = ("corner_x", "corner_y")
REGION = ("min_x", "max_x", "min_y", "max_y", *BOUNDS)


@dataclass(slots=True)
class Geometry:
    """The lines of a .geom file: values at the top, of each panel and of each bad region."""

    path: Path
    top: dict[str, str] = field(default_factory=dict)
    panels: dict[str, dict[str, str]] = field(default_factory=dict)
    bad: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def number(self, values: dict[str, str], name: str, where: str) -> float:
        """A value that must be a number."""
        if name not in values:
            raise MetadataError(f"{self.path}: {where} has no {name}", mend="complete the geometry file")
        try:
            return float(values[name])
        except ValueError:
            raise MetadataError(
                f"{self.path}: {where}/{name} = {values[name]} is not a number", mend="mend the geometry file"
            ) from None


def read_geometry(path: Path) -> Geometry:
    """Parse a .geom file; values stated before a panel's first line are its defaults, as in CrystFEL.

    Raises
    ------
    MetadataError
        The file cannot be read, a line makes no sense, or there is no panel.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MetadataError(f"{path}: cannot be read: {error.strerror}", mend="check --geometry") from None
    geometry = Geometry(path)
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split(";", 1)[0].strip()
        if not line:
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise MetadataError(f"{path}: line {number} is not NAME = VALUE: {line}", mend="mend the geometry file")
        owner, slash, key = name.rpartition("/")
        if not slash:
            if not key.startswith(("rigid_group", "group")):
                geometry.top[key] = value
        elif owner.startswith("bad"):
            geometry.bad.setdefault(owner, {})[key] = value
        else:
            geometry.panels.setdefault(owner, dict(geometry.top))[key] = value
    if not geometry.panels:
        raise MetadataError(f"{path}: describes no panel", mend="name a CrystFEL geometry file")
    return geometry


def apply_geometry(path: Path, metadata: Metadata) -> Metadata:
    """Replace panels, and wavelength where the file states one; bad regions are added to the mask.

    Raises
    ------
    MetadataError
        The file cannot be read, is incomplete, or does not fit the images.
    """
    geometry = read_geometry(path)
    old = metadata.detector
    panels = tuple(_panel(geometry, name, values, old) for name, values in geometry.panels.items())
    bad = _bad_pixels(geometry, panels, old.shape)
    beam = _beam(geometry, metadata.beam)
    mask = old.pixel_mask
    if bad.any():
        mask = (np.zeros(old.shape, np.uint32) if mask is None else mask) | bad.astype(np.uint32)
    if any("mask" in name and "mask_" not in name for values in geometry.panels.values() for name in values):
        geometry.problems.append(Problem(str(path), "its mask files are not used", "--mask FILE:/path"))
    detector = replace(old, panels=panels, beam_center=None, distance=None, pixel_size=None, pixel_mask=mask)
    detector = completed(detector, beam.direction)
    return replace(metadata, detector=detector, beam=beam, problems=(*metadata.problems, *geometry.problems))


def _panel(geometry: Geometry, name: str, values: dict[str, str], detector: Detector) -> Panel:
    planes = [v for key, v in values.items() if re.fullmatch(r"dim\d+", key) and v.isdigit()]
    if planes:
        raise MetadataError(
            f"{geometry.path}: panel {name} is a plane of a higher-dimensional array", mend="use a 2-D layout"
        )
    lo_f, hi_f, lo_s, hi_s = (int(geometry.number(values, key, name)) for key in BOUNDS)
    shape = (hi_s - lo_s + 1, hi_f - lo_f + 1)
    if lo_f < 0 or lo_s < 0 or min(shape) < 1 or hi_s >= detector.shape[0] or hi_f >= detector.shape[1]:
        raise MetadataError(
            f"{geometry.path}: panel {name} (fs {lo_f}-{hi_f}, ss {lo_s}-{hi_s}) does not fit images of "
            f"{detector.shape} (slow, fast)",
            mend="use the geometry file of this detector",
        )
    pixel = 1.0 / geometry.number(values, "res", name)
    corner = [geometry.number(values, key, name) * pixel for key in CORNERS]
    offset = geometry.number(values, "coffset", name) if "coffset" in values else 0.0
    return Panel(
        name=name,
        origin=(corner[0], corner[1], _camera_length(geometry, name, values, detector) + offset),
        fast=vector(_direction(geometry, name, values.get("fs", "+1.0x")) * pixel),
        slow=vector(_direction(geometry, name, values.get("ss", "+1.0y")) * pixel),
        first=(lo_s, lo_f),
        shape=shape,
    )


def _camera_length(geometry: Geometry, name: str, values: dict[str, str], detector: Detector) -> float:
    """Camera length (m): stated as a number, or the input's distance where the file refers to the input."""
    parts = values.get("clen", "").split()
    if parts:
        try:
            unit = parts[1].lower() if len(parts) > 1 else "m"
            if unit not in LENGTHS:
                raise MetadataError(
                    f"{geometry.path}: {name}/clen has unknown units {parts[1]!r}", mend="give metres or mm"
                )
            return float(parts[0]) * LENGTHS[unit]
        except ValueError:
            pass
    if detector.distance is None:
        raise MetadataError(
            f"{geometry.path}: {name}/clen is {values.get('clen', 'absent')}, and the input states no distance",
            mend="give clen in metres",
        )
    problem = Problem(str(geometry.path), "clen is no number; the distance of the input is used")
    if problem not in geometry.problems:
        geometry.problems.append(problem)
    return detector.distance


def _direction(geometry: Geometry, name: str, text: str) -> npt.NDArray[np.float64]:
    """A vector such as `-0.99x +0.01y`, in pixels."""
    out = np.zeros(3)
    if TERM.sub("", text).strip():
        raise MetadataError(f"{geometry.path}: panel {name}: {text!r} is not a vector", mend="mend the geometry file")
    for sign, digits, axis in TERM.findall(text):
        out["xyz".index(axis)] += float(digits or 1) * (-1 if sign == "-" else 1)
    if not np.any(out):
        raise MetadataError(f"{geometry.path}: panel {name}: {text!r} is no direction", mend="mend the geometry file")
    return out


def _beam(geometry: Geometry, beam: Beam) -> Beam:
    for name, units, default in (("wavelength", LENGTHS, "m"), ("photon_energy", ENERGIES, "ev")):
        parts = geometry.top.get(name, "").split()
        try:
            value = float(parts[0]) if parts else 0.0
        except ValueError:
            continue
        unit = parts[1].lower() if len(parts) > 1 else default
        if unit not in units:
            raise MetadataError(f"{geometry.path}: {name} has unknown units {unit!r}", mend="mend the geometry file")
        if value > 0:
            angstrom = value * units[unit] * 1e10 if name == "wavelength" else HC / (value * units[unit])
            return replace(beam, wavelength=angstrom, wavelengths=None)
    return beam


def _bad_pixels(geometry: Geometry, panels: tuple[Panel, ...], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    bad = np.zeros(shape, dtype=bool)
    for panel in panels:
        if geometry.panels[panel.name].get("no_index", "0") not in ("0", "false"):
            _cut(bad, panel)[:] = True
    for name, values in geometry.bad.items():
        bounds = {key: geometry.number(values, key, name) for key in values if key in REGION}
        chosen = [p for p in panels if values.get("panel") in (None, p.name)]
        if not chosen:
            raise MetadataError(
                f"{geometry.path}: {name} names panel {values.get('panel')!r}, which is not there",
                mend="mend the geometry file",
            )
        for panel in chosen:
            _cut(bad, panel)[_in_region(geometry, name, bounds, panel)] = True
    return bad


def _cut(image: npt.NDArray[np.bool_], panel: Panel) -> npt.NDArray[np.bool_]:
    (s, f), (ns, nf) = panel.first, panel.shape
    return image[s : s + ns, f : f + nf]


def _in_region(geometry: Geometry, name: str, bounds: dict[str, float], panel: Panel) -> npt.NDArray[np.bool_]:
    """Pixels of a panel in a bad region, given in image pixels (inclusive) or in laboratory x and y."""
    (s, f), (ns, nf) = panel.first, panel.shape
    ss, fs = np.mgrid[s : s + ns, f : f + nf]
    if all(key in bounds for key in BOUNDS):
        inside = (fs >= bounds["min_fs"]) & (fs <= bounds["max_fs"])
        return np.asarray(inside & (ss >= bounds["min_ss"]) & (ss <= bounds["max_ss"]))
    if all(key in bounds for key in REGION[:4]):
        res = geometry.number(geometry.panels[panel.name], "res", panel.name)
        x, y = np.moveaxis(panel.lab(fs + 0.5, ss + 0.5)[..., :2] * res, -1, 0)
        inside = (x > bounds["min_x"]) & (x < bounds["max_x"])
        return np.asarray(inside & (y > bounds["min_y"]) & (y < bounds["max_y"]))
    raise MetadataError(
        f"{geometry.path}: {name} states neither min/max of fs and ss nor of x and y", mend="mend the geometry file"
    )
