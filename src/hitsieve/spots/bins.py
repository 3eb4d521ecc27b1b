"""Bins of pixels that should see the same background: rings around the beam, or tiles where the geometry is unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector, Panel

TILE = 64
"""Side (pixels) of a tile."""
BACKGROUND_RING = (4.0, 3.0)
"""Resolution limits d (angstrom) of the ring whose mean counts are an image's background level: the water peak."""
MAX_BINS = 8_000
"""More would cost more to clear for each image than they tell apart."""
ROWS = 32
"""Rows taken at a time: what is worked out for them stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Bins:
    """A bin for each pixel."""

    number: npt.NDArray[np.uint16]
    """Bin of each pixel, shape (slow, fast)."""
    background: npt.NDArray[np.bool_]
    """Which bins give the background level, shape (bins,)."""
    ring: tuple[float, float] | None
    """Resolution limits (angstrom) of the background ring; None where it is the whole image."""
    angle: npt.NDArray[np.float64] | None
    """Scattering angle 2 theta (rad) in the middle of each ring; None of tiles."""


def rings(detector: Detector, beam: Beam, width: float, valid: npt.NDArray[np.bool_] | None = None) -> Bins:
    """Bins of equal scattering angle, `width` pixels wide near the beam centre.

    The background ring must hold `valid` pixels (all, where none are told apart), else it is the whole image.
    """
    distances = [np.abs(np.dot(panel.lab(*_centre(panel)), beam.direction)) for panel in detector.panels]
    pixel = float(np.mean([np.linalg.norm(panel.fast) for panel in detector.panels]))
    # On curved detectors some panels face the beam sideways: the farthest along the beam sets the scale.
    wanted = float(np.max(distances)) / pixel / width
    number, widest = _numbers(detector, beam, wanted)
    per_angle = min(wanted, MAX_BINS / max(widest, 1e-9))
    if per_angle < wanted:
        number, _ = _numbers(detector, beam, per_angle)
    n_bins = int(number.max()) + 1
    middle = ((np.arange(n_bins) + 0.5) / per_angle).astype(np.float64)
    background = np.zeros(n_bins, dtype=np.bool_)
    if beam.wavelength is not None:
        d = beam.wavelength / (2.0 * np.sin(middle / 2.0))
        background = (d <= BACKGROUND_RING[0]) & (d >= BACKGROUND_RING[1])
    if _held(number, background, valid):
        return Bins(number, background, BACKGROUND_RING, middle)
    return Bins(number, np.ones(n_bins, dtype=np.bool_), None, middle)


def _numbers(detector: Detector, beam: Beam, per_angle: float) -> tuple[npt.NDArray[np.uint16], float]:
    """Ring of each pixel, of so many rings a radian; and the widest angle (rad). Pixels of no panel are in the first.

    Angles are not kept: memory that is touched for the first time costs more than they do.
    """
    number = np.zeros(detector.shape, dtype=np.uint16)
    widest = 0.0
    for panel in detector.panels:
        (s, f), (slow, fast) = panel.first, panel.shape
        for start in range(0, slow, ROWS):
            stop = min(start + ROWS, slow)
            angles = scattering_angles(panel, beam, slice(start, stop))
            widest = max(widest, float(angles.max(initial=0.0)))
            angles *= per_angle
            # Too many rings a radian are more than fit the type: whoever asked takes fewer.
            with np.errstate(invalid="ignore"):
                number[s + start : s + stop, f : f + fast] = angles
    return number, widest


def _held(number: npt.NDArray[np.uint16], bins: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_] | None) -> bool:
    """Whether one of some bins, shape (bins,), holds a valid pixel."""
    if not bins.any():
        return False
    for start in range(0, len(number), ROWS):
        here = bins[number[start : start + ROWS]]
        if valid is not None:
            here &= valid[start : start + ROWS]
        if here.any():
            return True
    return False


def tiles(detector: Detector) -> Bins:
    """Square tiles, for a detector whose geometry is unknown."""
    slow, fast = detector.shape
    side = TILE
    while -(-slow // side) * -(-fast // side) > MAX_BINS:
        side *= 2
    across = -(-fast // side)
    number = (np.arange(slow) // side * across)[:, None] + np.arange(fast) // side
    return Bins(number.astype(np.uint16), np.ones(int(number.max()) + 1, dtype=np.bool_), None, None)


def scattering_angles(panel: Panel, beam: Beam, rows: slice) -> npt.NDArray[np.float32]:
    """Angle 2 theta (rad) between the beam and the line from the sample to each pixel centre of some rows of a panel.

    Positions are linear in the pixel numbers, so that their parts along and across the beam are sums of a row and a
    column; the positions themselves are never made.
    """
    beam_direction = np.asarray(beam.direction)
    fast, slow = np.asarray(panel.fast), np.asarray(panel.slow)
    u = np.arange(panel.shape[1]) + 0.5
    v = np.arange(rows.start, rows.stop)[:, None] + 0.5
    starts = np.asarray(panel.origin) + v * slow
    along = starts @ beam_direction
    across = starts - along[:, None] * beam_direction
    fast_along = float(fast @ beam_direction)
    fast_across = fast - fast_along * beam_direction
    # |across + u fast_across|^2, a parabola in u for each row; one piece of memory for all steps.
    square = 2.0 * (across @ fast_across)[:, None] * u
    square += (across**2).sum(axis=1)[:, None]
    square += (fast_across**2).sum() * u**2
    np.maximum(square, 0.0, out=square)
    sideways = np.sqrt(square, out=square).astype(np.float32)
    whole = np.add(along[:, None], fast_along * u, out=square)
    angles: npt.NDArray[np.float32] = np.arctan2(sideways, whole.astype(np.float32), out=sideways)
    return angles


def _centre(panel: Panel) -> tuple[float, float]:
    (s, f), (slow, fast) = panel.first, panel.shape
    return f + fast / 2, s + slow / 2
