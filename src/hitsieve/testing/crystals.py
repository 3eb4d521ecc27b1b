"""Crystals: which reflections a randomly oriented one shows, and how strongly.

The A matrix has the reciprocal axes a*, b*, c* as columns, in 1/angstrom (no 2 pi) and in the laboratory frame;
a reflection h has q = A h, and q = (s1 - s0) with |s0| = |s1| = 1 / wavelength.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError
from hitsieve.testing.detectors import Instrument
from hitsieve.testing.settings import SimulateSettings

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_REACH = 3.0
"""Reflections farther than this many widths from the Ewald sphere are left out."""


@dataclass(frozen=True, slots=True)
class Reflections:
    """Reflections of one crystal on the detector, as columns of equal length."""

    x: Floats
    y: Floats
    hkl: npt.NDArray[np.int16]
    """Shape (n, 3)."""
    d: Floats
    relative: Floats
    """Intensity on the scale of the crystal: Wilson times B factor times partiality."""

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Reflections:
        """The chosen reflections."""
        return Reflections(self.x[which], self.y[which], self.hkl[which], self.d[which], self.relative[which])


def reciprocal_matrix(cell: tuple[float, ...]) -> Floats:
    """Reciprocal axes (columns, 1/angstrom) of a cell in its standard setting: a along x, b in the xy plane."""
    a, b, c = cell[:3]
    cosines = np.cos(np.radians(cell[3:]))
    sine = np.sin(np.radians(cell[5]))
    cx, cy = c * cosines[1], c * (cosines[0] - cosines[1] * cosines[2]) / sine
    height = c * c - cx * cx - cy * cy
    if sine < 1e-6 or height <= 0:
        raise SettingsError(f"no cell has the axes and angles {cell}", mend="check the angles")
    axes = np.array([[a, 0, 0], [b * cosines[2], b * sine, 0], [cx, cy, np.sqrt(height)]])
    return np.asarray(np.linalg.inv(axes), dtype=np.float64)


def random_rotation(random: np.random.Generator) -> Floats:
    """Uniformly distributed rotation, from a uniform quaternion."""
    w, x, y, z = (v := random.normal(size=4)) / np.linalg.norm(v)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


_CENTERING: dict[str, Callable[[Integers, Integers, Integers], npt.NDArray[np.bool_]]] = {
    "P": lambda h, k, m: np.ones(h.shape, dtype=np.bool_),
    "A": lambda h, k, m: (k + m) % 2 == 0,
    "B": lambda h, k, m: (h + m) % 2 == 0,
    "C": lambda h, k, m: (h + k) % 2 == 0,
    "I": lambda h, k, m: (h + k + m) % 2 == 0,
    "F": lambda h, k, m: ((h + k) % 2 == 0) & ((k + m) % 2 == 0),
}


class Structure:
    """One crystal structure: its reflections to the resolution limit and their intensities, fixed by the seed."""

    def __init__(self, settings: SimulateSettings) -> None:
        self._settings = settings
        self.reciprocal = reciprocal_matrix(settings.cell)
        q_max = 1.0 / settings.d_min
        # |h| <= |a| q_max, as h = a . q.
        most = np.floor(np.linalg.norm(np.linalg.inv(self.reciprocal), axis=1) * q_max).astype(int)
        if np.prod(2.0 * most + 1) > 2e7:
            raise SettingsError(
                f"the cell {settings.cell} has too many reflections to {settings.d_min} angstrom", mend="raise d_min"
            )
        h, k, m = (v.ravel() for v in np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"))
        hkl = np.stack([h, k, m], axis=1)
        q = np.linalg.norm(hkl @ self.reciprocal.T, axis=1)
        keep = (q > 0) & (q <= q_max) & _CENTERING[settings.centering](h, k, m)
        if not keep.any():
            raise SettingsError(f"the cell {settings.cell} has no reflection to {settings.d_min} angstrom")
        # Friedel mates are equal: the grid is symmetric about its middle, the origin.
        half = np.random.default_rng([settings.seed, 2]).exponential(size=len(hkl) // 2)
        wilson = np.concatenate([half, [0.0], half[::-1]])
        self._hkl = hkl[keep].astype(np.float64)
        self._q = q[keep]
        self._q_squared = self._q**2
        self._q_max = q_max
        self._strength = wilson[keep] * np.exp(-0.5 * settings.b_factor * self._q**2)

    def reflections(self, orientation: Floats, place: Instrument) -> Reflections:
        """Reflections that a crystal with the A matrix `orientation` shows on the good pixels of the detector.

        Partiality is exp(-e^2 / 2 w^2) with e the distance of the point from the Ewald sphere and w the root of the
        summed squares of rlp_size, mosaicity * q, divergence * q_perpendicular and bandwidth * wavelength * q^2 / 2.
        """
        s = self._settings
        near = self._near(orientation)
        q, length = self._hkl[near] @ orientation.T, self._q[near]
        along = q[:, 2] + 1.0 / s.wavelength
        excitation = np.sqrt(length**2 + 2.0 * q[:, 2] / s.wavelength + s.wavelength**-2) - 1.0 / s.wavelength
        width2 = self._width2(length, q[:, 0] ** 2 + q[:, 1] ** 2)
        close = (excitation**2 < _REACH**2 * width2) & (along > 1e-3 / s.wavelength)
        near, q, along, excitation, width2 = (v[close] for v in (near, q, along, excitation, width2))
        panel, mask = place.detector.panels[0], place.mask
        # The detector faces the beam: scale the diffracted ray to its plane.
        foot = q[:, :2] * (panel.origin[2] / along)[:, None]
        x = (foot[:, 0] - panel.origin[0]) / panel.fast[0]
        y = (foot[:, 1] - panel.origin[1]) / panel.slow[1]
        inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
        inside[inside] = mask[y[inside].astype(int), x[inside].astype(int)] == 0
        near, x, y = near[inside], x[inside], y[inside]
        partiality = np.exp(-0.5 * excitation[inside] ** 2 / width2[inside])
        return Reflections(
            x=x,
            y=y,
            hkl=self._hkl[near].astype(np.int16),
            d=1.0 / self._q[near],
            relative=self._strength[near] * partiality,
        )

    def _near(self, orientation: Floats) -> npt.NDArray[np.intp]:
        """Reflections that can lie within reach of the Ewald sphere, by the cheapest sufficient test."""
        wavelength = self._settings.wavelength
        reach = _REACH * np.sqrt(self._width2(self._q_max, self._q_max**2))
        off = self._hkl @ orientation[2]
        off *= 2.0 / wavelength
        off += self._q_squared
        # |s|^2 - k^2 = (|s| - k) (|s| + k)
        return np.flatnonzero(np.abs(off) < reach * (2.0 / wavelength + reach))

    def _width2(self, length: Floats | float, across2: Floats | float) -> Any:
        s = self._settings
        return (
            s.rlp_size**2
            + (np.radians(s.mosaicity) * length) ** 2
            + np.radians(s.divergence) ** 2 * across2
            + (s.bandwidth * s.wavelength * length**2 / 2.0) ** 2
        )
