"""Panels from NXmx: NXdetector_module groups and their chains of transformations; and arithmetic on panels."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Detector, Panel
from hitsieve.model.detector import Vector, beam_on
from hitsieve.source.fields import ANGLES, LENGTHS, as_text, member

FloatArray = npt.NDArray[np.float64]


def vector(values: npt.ArrayLike) -> Vector:
    """Three numbers as a tuple."""
    x, y, z = (float(v) for v in np.asarray(values).ravel())
    return (x, y, z)


def read_panel(module: h5py.Group, shape: tuple[int, int], default: str | None) -> Panel:
    """One panel from one NXdetector_module; its origin is the outer corner of its first pixel.

    Parameters
    ----------
    module : h5py.Group
        The module.
    shape : tuple of int
        (slow, fast) of the images, which must hold the module.
    default : str, optional
        Path in the file of the transformation that the detector depends on, for modules that do not name one.

    Raises
    ------
    MetadataError
        A field is absent or contradicts the others.
    """
    start, size = (_pixels(module, name) for name in ("data_origin", "data_size"))
    if min(*start, *size) < 0 or any(start[k] + size[k] > shape[k] for k in (0, 1)):
        raise MetadataError(f"{module.name}: pixels {start} + {size} lie outside the image {shape} (slow, fast)")
    fast, slow = (_dataset(module, f"{name}_pixel_direction") for name in ("fast", "slow"))
    to_lab = chain(fast, default)
    return Panel(
        name=str(module.name).rsplit("/", 1)[-1],
        origin=vector(to_lab[:3, 3]),
        fast=vector(to_lab[:3, :3] @ _step(fast)),
        slow=vector(chain(slow, default)[:3, :3] @ _step(slow)),
        first=start,
        shape=size,
    )


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    item = member(group, name)
    if not isinstance(item, h5py.Dataset):
        raise MetadataError(f"{group.name} has no {name}")
    return item


def _pixels(module: h5py.Group, name: str) -> tuple[int, int]:
    values = np.asarray(_dataset(module, name)[()]).ravel()
    if len(values) < 2:
        raise MetadataError(f"{module.name}/{name} is {values}, not (slow, fast)")
    return int(values[-2]), int(values[-1])


def _step(axis: h5py.Dataset) -> FloatArray:
    """Step (m) from pixel to pixel."""
    step = _unit(axis) * _value(axis, LENGTHS)
    if not np.any(step):
        raise MetadataError(f"{axis.name}: the pixel size or its vector is 0")
    return step


def _unit(axis: h5py.Dataset) -> FloatArray:
    values = np.asarray(axis.attrs.get("vector", ()), dtype=np.float64).ravel()
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise MetadataError(f"{axis.name} has no @vector of three numbers")
    length = float(np.linalg.norm(values))
    return values / length if length else values


def _factor(axis: h5py.Dataset, attribute: str, units: dict[str, float]) -> float:
    unit = as_text(axis.attrs.get(attribute)) or ""
    if unit.lower() not in units:
        raise MetadataError(f"{axis.name} has unknown @{attribute} {unit!r}")
    return units[unit.lower()]


def _value(axis: h5py.Dataset, units: dict[str, float]) -> float:
    values = np.asarray(axis[()], dtype=np.float64).ravel()
    if len(values) == 0 or not np.all(np.isfinite(values)) or np.ptp(values) != 0:
        raise MetadataError(f"{axis.name} is not one number (it may vary over the run)")
    return float(values[0]) * _factor(axis, "units", units) if values[0] else 0.0


def matrix(axis: h5py.Dataset) -> FloatArray:
    """4 x 4 matrix (metres) of one transformation: x -> R x + translation + offset.

    Raises
    ------
    MetadataError
        It is neither rotation nor translation, varies, or lacks a direction or a unit that is known.
    """
    out = np.identity(4)
    kind = as_text(axis.attrs.get("transformation_type"))
    if kind == "rotation":
        out[:3, :3] = rotation(_unit(axis), _value(axis, ANGLES))
    elif kind == "translation":
        out[:3, 3] = _unit(axis) * _value(axis, LENGTHS)
    elif np.any(np.asarray(axis[()])):
        raise MetadataError(f"{axis.name} has @transformation_type {kind!r}, not translation or rotation")
    offset = np.asarray(axis.attrs.get("offset", (0.0, 0.0, 0.0)), dtype=np.float64).ravel()
    if np.any(offset):
        # Some writers leave offset_units out and mean the units of the axis.
        name = "offset_units" if "offset_units" in axis.attrs else "units"
        out[:3, 3] += offset * _factor(axis, name, LENGTHS)
    return out


def rotation(axis: FloatArray, angle: float) -> FloatArray:
    """Right-handed rotation by `angle` (rad) about a unit vector (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.identity(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross))


def chain(axis: h5py.Dataset, default: str | None = None) -> FloatArray:
    """4 x 4 matrix (metres) from the frame in which `axis` is stated to the laboratory: all that it depends on.

    Raises
    ------
    MetadataError
        What it depends on is not there, is no transformation, or depends on itself.
    """
    out = np.identity(4)
    seen: set[str] = set()
    current = axis
    while (name := as_text(current.attrs.get("depends_on")) or (default if current is axis else None) or ".") != ".":
        parent = member(current.parent, name) if not name.startswith("/") else member(current.file, name)
        if isinstance(parent, h5py.Group):
            following = as_text(member(parent, "depends_on")[()]) if "depends_on" in parent else None
            raise MetadataError(f"{current.name} depends on the group {name} ({following}), not on a transformation")
        if not isinstance(parent, h5py.Dataset):
            raise MetadataError(f"{current.name} depends on {name}, which is not there")
        if parent.name in seen:
            raise MetadataError(f"{current.name} depends on itself through {name}")
        seen.add(str(parent.name))
        out = matrix(parent) @ out
        current = parent
    return out


def flat_panel(
    shape: tuple[int, int], center: tuple[float, float], distance: float, pixel: tuple[float, float]
) -> Panel:
    """A panel normal to the beam, fast along -x and slow along -y, as detectors are written in NXmx.

    Parameters
    ----------
    shape : tuple of int
        (slow, fast) pixels.
    center : tuple of float
        Beam centre (x, y) in pixels.
    distance : float
        Metres.
    pixel : tuple of float
        (fast, slow) pixel size in metres.
    """
    return Panel(
        name="flat",
        origin=(center[0] * pixel[0], center[1] * pixel[1], distance),
        fast=(-pixel[0], 0.0, 0.0),
        slow=(0.0, -pixel[1], 0.0),
        first=(0, 0),
        shape=shape,
    )


def shifted(panels: tuple[Panel, ...], by: npt.ArrayLike) -> tuple[Panel, ...]:
    """All panels moved by a vector (m)."""
    return tuple(replace(p, origin=vector(np.asarray(p.origin) + np.asarray(by))) for p in panels)


def completed(detector: Detector, direction: Vector = (0.0, 0.0, 1.0)) -> Detector:
    """Fill in what follows from the rest: a flat panel, or beam centre, distance and pixel size from the panels."""
    center, distance, pixel = detector.beam_center, detector.distance, detector.pixel_size
    if not detector.panels:
        if center is None or distance is None or pixel is None:
            return detector
        return replace(detector, panels=(flat_panel(detector.shape, center, distance, pixel),))
    meets = beam_on(detector.panels, direction)
    if meets is not None:
        center = center or meets[:2]
        distance = distance or meets[2]
    first = detector.panels[0]
    pixel = pixel or (float(np.linalg.norm(first.fast)), float(np.linalg.norm(first.slow)))
    return replace(detector, beam_center=center, distance=distance, pixel_size=pixel)
