"""Background: the jet's water ring, air scatter, the beamstop's shadow and ice, as a mean per level of pixels.

A level is a ring of equal q. The mean of an image is a sum of fixed profiles with a scale of its own for each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsieve.model.detector import inverse_d
from hitsieve.testing.detectors import GAP, Instrument
from hitsieve.testing.settings import SimulateSettings

Floats = npt.NDArray[np.float64]

RINGS = 1024
DARK = RINGS
"""Level of dead and hot pixels, which see no background."""
BLIND = 65535
"""Level of gaps."""

ICE = {
    3.90: 1.0,
    3.67: 0.75,
    3.44: 0.6,
    2.67: 0.2,
    2.25: 0.4,
    2.07: 0.35,
    1.95: 0.1,
    1.92: 0.3,
    1.88: 0.15,
    1.72: 0.05,
}
"""Powder rings of hexagonal ice: d (angstrom) and strength relative to the first."""

_AIR_SHARE = 0.08


class Background:
    """The levels of a detector's pixels and their means."""

    def __init__(self, settings: SimulateSettings, instrument: Instrument) -> None:
        self._counts = settings.background
        self._flat = settings.background_shape == "flat"
        self.levels, centres = _rings(instrument)
        weights = np.bincount(self.levels[instrument.good], minlength=RINGS)[:RINGS]
        self._ice = sum(
            (strength * np.exp(-0.5 * ((centres - 1.0 / d) / 0.0012) ** 2) for d, strength in ICE.items()),
            start=np.zeros(RINGS),
        )
        if self._flat:
            self._water, self._air = np.ones(RINGS), np.zeros(RINGS)
            return
        distance, wavelength = instrument.distance, settings.wavelength
        two_theta = 2.0 * np.arcsin(np.clip(wavelength * centres / 2.0, 0.0, 1.0))
        open_beam = _shadow(np.tan(np.minimum(two_theta, 1.5)) * distance, settings.beamstop)
        # Maxima of liquid water near 3.2 and 2.1 angstrom, over incoherent scattering; cos^3 is the solid angle.
        water = (
            0.3 + np.exp(-0.5 * ((centres - 0.312) / 0.055) ** 2) + 0.3 * np.exp(-0.5 * ((centres - 0.47) / 0.07) ** 2)
        )
        water *= np.cos(two_theta) ** 3 * open_beam
        air = open_beam / (0.02 + centres)
        self._water = water * (1.0 - _AIR_SHARE) / np.average(water, weights=weights)
        self._air = air * _AIR_SHARE / np.average(air, weights=weights)

    def means(self, jet: float, ice: float) -> Floats:
        """Counts a pixel of each level, for a jet of relative thickness `jet` (0: stopped) and ice of height `ice`.

        Without a jet a third of the air scatter is left: its gas and the path through it.
        """
        if self._flat:
            counts = self._counts if jet > 0 else self._counts * _AIR_SHARE / 3.0
            return np.append(counts + ice * self._ice, 0.0)
        air = self._air if jet > 0 else self._air / 3.0
        return np.append(self._counts * (jet * self._water + air) + ice * self._ice, 0.0)

    def at(self, x: Floats, y: Floats, means: Floats) -> Floats:
        """Mean counts of the pixels that hold (x, y)."""
        return np.asarray(means[np.minimum(self.levels[y.astype(int), x.astype(int)], DARK)])


def _rings(instrument: Instrument) -> tuple[npt.NDArray[np.uint16], Floats]:
    """Level of each pixel, and q (1/angstrom) in the middle of each ring."""
    detector = instrument.detector
    height, width = detector.shape
    x = np.arange(width) + 0.5
    q = np.empty(detector.shape, dtype=np.float32)
    for row in range(height):
        q[row] = inverse_d(detector, instrument.beam, x, np.full(width, row + 0.5))
    step = float(q.max()) * (1 + 1e-6) / RINGS
    levels = (q / step).astype(np.uint16)
    bad = instrument.bad
    levels.flat[np.concatenate([bad.dead, bad.hot, bad.unmasked])] = DARK
    levels[instrument.mask == GAP] = BLIND
    return levels, np.asarray((np.arange(RINGS) + 0.5) * step, dtype=np.float64)


def _shadow(radius: Floats, beamstop: float) -> Floats:
    """Transmission at a distance (m) from the beam: soft edge of 0.1 mm, and 2 % scattered behind the stop."""
    if beamstop == 0:
        return np.ones_like(radius)
    return np.asarray(0.02 + 0.98 / (1.0 + np.exp(-np.clip((radius - beamstop) / 1e-4, -50, 50))))
