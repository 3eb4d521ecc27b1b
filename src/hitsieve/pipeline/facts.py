"""What is known of detector and beam, and whether two runs agree in it."""

from __future__ import annotations

import math

import numpy as np

from hitsieve.model import Run
from hitsieve.write import Facts

_GEOMETRY = {
    "wavelength": "angstrom",
    "n_panels": "",
    "distance": "m",
    "beam_center_x": "pixels",
    "beam_center_y": "pixels",
    "pixel_size_fast": "m",
    "pixel_size_slow": "m",
}
"""Facts on which it hangs what a spot means, with their units."""
_ROUNDING = 1e-6
"""Relative difference that is none: some facts are worked out from others."""


def facts_of(run: Run) -> Facts:
    """Detector and beam of a run as its source, and the user, give them."""
    detector = run.detector
    centre, pixel = detector.beam_center or (None, None), detector.pixel_size or (None, None)
    return Facts(
        detector=detector.description,
        n_panels=len(detector.panels),
        n_masked=None if detector.pixel_mask is None else int(np.count_nonzero(detector.pixel_mask)),
        distance=detector.distance,
        beam_center_x=centre[0],
        beam_center_y=centre[1],
        pixel_size_fast=pixel[0],
        pixel_size_slow=pixel[1],
        sensor_material=detector.sensor_material,
        sensor_thickness=detector.sensor_thickness,
        saturation_value=detector.saturation_value,
        underload_value=detector.underload_value,
        wavelength=run.beam.wavelength,
    )


def disagreements(now: Facts, then: Facts) -> tuple[str, ...]:
    """In words: each fact of geometry and beam that is not as it was."""
    said = []
    for name, unit in _GEOMETRY.items():
        a, b = getattr(now, name), getattr(then, name)
        if a != b and (a is None or b is None or not math.isclose(a, b, rel_tol=_ROUNDING)):
            said.append(f"{name} {_value(a, unit)} now, {_value(b, unit)} recorded")
    return tuple(said)


def _value(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.7g} {unit}".rstrip()
