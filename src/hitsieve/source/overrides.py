"""Metadata that the user sets: NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hitsieve.errors import SettingsError
from hitsieve.model import Beam, Detector
from hitsieve.model.detector import beam_on, position
from hitsieve.source.geometry import completed, shifted, vector

POSITIVE = ("distance", "wavelength", "pixel_size", "sensor_thickness")
NUMBERS = (*POSITIVE, "beam_center_x", "beam_center_y")
COUNTS = ("saturation_value", "underload_value")
TEXTS = ("sample_name", "sensor_material")
NAMES = (*NUMBERS, *COUNTS, *TEXTS)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The settings as given, and their numbers."""

    given: dict[str, str]
    numbers: dict[str, float]


def parse_overrides(items: Sequence[str]) -> Overrides:
    """Parse NAME=VALUE items; SettingsError for an unknown name or a value that makes no sense."""
    given: dict[str, str] = {}
    numbers: dict[str, float] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise SettingsError(f"--set {item}: is not NAME=VALUE", mend="for example --set distance=0.15")
        if name not in NAMES:
            raise SettingsError(f"--set {item}: unknown name {name!r}", mend=f"one of {', '.join(NAMES)}")
        given[name] = value
        if name not in TEXTS:
            numbers[name] = _number(item, name, value)
    return Overrides(given, numbers)


def _number(item: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise SettingsError(f"--set {item}: {value!r} is not a number", mend="give a plain number") from None
    if not np.isfinite(number):
        raise SettingsError(f"--set {item}: must be finite", mend="give a plain number")
    if name in POSITIVE and number <= 0:
        raise SettingsError(f"--set {item}: must be above 0", mend="lengths in m, wavelength in angstrom")
    if name in COUNTS and number != int(number):
        raise SettingsError(f"--set {item}: must be a whole number of counts", mend="give an integer")
    if name in COUNTS and not -(2**63) <= number < 2**63:
        raise SettingsError(f"--set {item}: is beyond all counts", mend="leave it out where nothing is saturated")
    return number


def apply_overrides(detector: Detector, beam: Beam, overrides: Overrides) -> tuple[Detector, Beam]:
    """Detector and beam with the user's values.

    Where there are panels, distance and beam centre move all of them rigidly; otherwise a flat panel is built once
    everything is known.
    """
    numbers = overrides.numbers
    if "wavelength" in numbers:
        beam = replace(beam, wavelength=numbers["wavelength"], wavelengths=None)
    if "saturation_value" in numbers:
        detector = replace(detector, saturation_value=int(numbers["saturation_value"]))
    if "underload_value" in numbers:
        detector = replace(detector, underload_value=int(numbers["underload_value"]))
    if "sensor_material" in overrides.given:
        detector = replace(detector, sensor_material=overrides.given["sensor_material"])
    if "sensor_thickness" in numbers:
        detector = replace(detector, sensor_thickness=numbers["sensor_thickness"])
    if "pixel_size" in numbers:
        detector = _with_pixel_size(detector, beam, numbers["pixel_size"])
    if "distance" in numbers:
        detector = _with_distance(detector, beam, numbers["distance"])
    if "beam_center_x" in numbers or "beam_center_y" in numbers:
        detector = _with_center(detector, beam, numbers)
    return completed(detector, beam.direction), beam


def _with_pixel_size(detector: Detector, beam: Beam, size: float) -> Detector:
    if len(detector.panels) > 1:
        raise SettingsError(
            "--set pixel_size: the detector has several panels, each with its own pixel size", mend="use --geometry"
        )
    panels = detector.panels
    if panels:
        panel = panels[0]
        fast, slow = (np.asarray(a) * (size / np.linalg.norm(a)) for a in (panel.fast, panel.slow))
        meets = beam_on(panels, beam.direction)
        origin = np.asarray(panel.origin)
        if meets is not None:
            x, y = meets[0] - panel.first[1], meets[1] - panel.first[0]
            origin = np.asarray(beam.direction) * meets[2] - x * fast - y * slow
        panels = (replace(panel, origin=vector(origin), fast=vector(fast), slow=vector(slow)),)
    return replace(detector, pixel_size=(size, size), panels=panels)


def _with_distance(detector: Detector, beam: Beam, distance: float) -> Detector:
    panels = detector.panels
    if panels:
        meets = beam_on(panels, beam.direction)
        # The panels, not the stated distance, say where the detector is.
        heights = [float(np.asarray(p.origin) @ np.asarray(beam.direction)) for p in panels]
        now = meets[2] if meets is not None else float(np.mean(heights))
        panels = shifted(panels, np.asarray(beam.direction) * (distance - now))
    return replace(detector, distance=distance, panels=panels)


def _with_center(detector: Detector, beam: Beam, numbers: dict[str, float]) -> Detector:
    # The panels, not the stated beam centre, say where the detector is.
    meets = beam_on(detector.panels, beam.direction)
    known = detector.beam_center if meets is None else meets[:2]
    if known is None and not {"beam_center_x", "beam_center_y"} <= numbers.keys():
        raise SettingsError(
            "--set beam_center: the input states no beam centre, so both coordinates are needed",
            mend="--set beam_center_x=... --set beam_center_y=...",
        )
    now = known or (0.0, 0.0)
    x, y = numbers.get("beam_center_x", now[0]), numbers.get("beam_center_y", now[1])
    panels = detector.panels
    if panels:
        place = position(panels, x, y)
        direction = np.asarray(beam.direction)
        panels = shifted(panels, -(place - (place @ direction) * direction))
    return replace(detector, beam_center=(x, y), panels=panels)
