"""Simulated spot lists of stills, with their true orientation, and comparison of lattices.

Reciprocal vectors only; images are the business of `hitsieve.testing.simulate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from hitsieve.testing.crystals import random_rotation, reciprocal_matrix

Floats = npt.NDArray[np.float64]

WAVELENGTH = 1.2
D_MIN = 2.5


@dataclass(frozen=True)
class Crystal:
    """A cell with its centring."""

    cell: tuple[float, float, float, float, float, float]
    centring: str = "P"

    def allowed(self, hkl: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which reflections the centring leaves."""
        h, k, l = hkl.T
        if self.centring == "R":
            return np.asarray((-h + k + l) % 3 == 0)
        if self.centring == "F":
            return np.asarray(((h + k) % 2 == 0) & ((k + l) % 2 == 0))
        sums = {"P": h * 0, "C": h + k, "I": h + k + l}
        return np.asarray(sums[self.centring] % 2 == 0)


CRYSTALS = {
    "tetragonal": Crystal((79, 79, 38, 90, 90, 90)),
    "orthorhombic": Crystal((61, 83, 99, 90, 90, 90)),
    "long-axis": Crystal((58, 58, 150, 90, 90, 90)),
    "centred-C": Crystal((61.4, 122.6, 168, 90, 90, 90), "C"),
    "centred-I": Crystal((104.9, 104.9, 104.9, 90, 90, 90), "I"),
    "cubic": Crystal((96.4, 96.4, 96.4, 90, 90, 90)),
    "monoclinic": Crystal((50, 70, 90, 90, 105, 90)),
    "triclinic": Crystal((45, 60, 75, 80, 95, 105)),
    "hexagonal": Crystal((93, 93, 130, 90, 90, 120)),
}


def on_sphere(q: Floats) -> Floats:
    """The points of the Ewald sphere in the directions of s0 + q."""
    beam = np.array([0, 0, 1 / WAVELENGTH])
    s1 = q + beam
    out: Floats = s1 / np.linalg.norm(s1, axis=1, keepdims=True) / WAVELENGTH - beam
    return out


@cache
def reflections(crystal: Crystal) -> npt.NDArray[np.int64]:
    """Miller indices from 25 angstrom to D_MIN."""
    ranges = [np.arange(-int(length / D_MIN) - 1, int(length / D_MIN) + 2) for length in crystal.cell[:3]]
    hkl = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[crystal.allowed(hkl)]
    length = np.linalg.norm(hkl @ reciprocal_matrix(crystal.cell).T, axis=1)
    out: npt.NDArray[np.int64] = hkl[(length < 1 / D_MIN) & (length > 1 / 25)]
    return out


def still(
    random: np.random.Generator, crystal: Crystal, n: int, *, strained: float = 0.002, err: float = 5e-4
) -> tuple[Floats, Floats]:
    """A matrix (columns a*, b*, c*) of a random orientation and a cell strained by a share, and its n strongest spots.

    Spots lie on the Ewald sphere, as a detector sees them, and err by so many 1/angstrom.
    """
    strain = np.eye(3) + random.normal(0, strained, (3, 3))
    A = random_rotation(random) @ reciprocal_matrix(crystal.cell) @ strain
    q = reflections(crystal) @ A.T
    off = np.linalg.norm(q + np.array([0, 0, 1 / WAVELENGTH]), axis=1) - 1 / WAVELENGTH
    q, off = q[np.abs(off) < 0.004], off[np.abs(off) < 0.004]
    strength = random.exponential(1, len(q)) * np.exp(-10 * (q**2).sum(1) - 0.5 * (off / 0.00125) ** 2)
    seen = on_sphere(q[np.argsort(-strength)[:n]])
    return A, on_sphere(seen + random.normal(0, err, seen.shape))


def spurious(random: np.random.Generator, n: int) -> Floats:
    """Spots spread evenly over a flat detector."""
    widest = np.tan(2 * np.arcsin(WAVELENGTH / 2 / D_MIN))
    radius, angle = np.sqrt(random.uniform(0.02, 1, n)) * widest, random.uniform(0, 2 * np.pi, n)
    return on_sphere(
        np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(n)], 1) / WAVELENGTH - [0, 0, 1 / WAVELENGTH]
    )


def on_rings(random: np.random.Generator, n: int) -> Floats:
    """Spots on three powder rings at a resolution of 12 to 2.7 angstrom, and a fifth of them spread evenly."""
    rings = random.choice(random.uniform(1 / 12, 1 / 2.7, 3), n - n // 5)
    widest = np.tan(2 * np.arcsin(WAVELENGTH * random.normal(rings, 0.0005) / 2))
    angle = random.uniform(0, 2 * np.pi, len(rings))
    rays = np.stack([widest * np.cos(angle), widest * np.sin(angle), np.ones(len(rings))], 1) / WAVELENGTH
    return np.vstack([on_sphere(rays - [0, 0, 1 / WAVELENGTH]), spurious(random, n // 5)])


def ringed(q: Floats, azimuth: Floats, wavelength: float = WAVELENGTH) -> Floats:
    """Spots at these |q| (1/angstrom) and azimuths (radians) about the beam."""
    angle = 2 * np.arcsin(wavelength * q / 2)
    rays = [np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle) - 1]
    out: Floats = np.stack(rays, 1) / wavelength
    return out


def _even(d_min: float, wavelength: float = WAVELENGTH) -> Callable[[np.random.Generator, int], Floats]:
    """Spots spread evenly from 50 angstrom."""

    def spots(random: np.random.Generator, n: int) -> Floats:
        q = np.sqrt(random.uniform(1 / 50**2, 1 / d_min**2, n))
        return ringed(q, random.uniform(0, 2 * np.pi, n), wavelength)

    return spots


def _falling_off(random: np.random.Generator, n: int) -> Floats:
    q = np.minimum(0.02 + random.exponential(0.06, n), 0.4)
    return ringed(q, random.uniform(0, 2 * np.pi, n))


def _streak(random: np.random.Generator, n: int) -> Floats:
    side = np.where(random.random(n) < 0.5, 0, np.pi)
    return ringed(random.uniform(0.02, 0.3, n), 0.3 + side + random.normal(0, 0.03, n))


NOISE: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "evenly to 10 A": _even(10),
    "evenly to 6.7 A": _even(6.7),
    "evenly to 4 A": _even(4),
    "evenly to 2.2 A, electrons": _even(2.2, 0.0251),
    "falling off from the beam": _falling_off,
    "on a streak through the beam": _streak,
}
"""Lists of n spots of no lattice, by how they are spread."""


def deviation(reference: npt.ArrayLike, found: npt.ArrayLike) -> tuple[float, float]:
    """Angle (degrees) and largest relative difference of the cell lengths between two A matrices of one lattice.

    They describe one lattice where A_reference^-1 A_found is nearly a whole unimodular matrix; infinite where not.
    """
    ref, A = np.asarray(reference, dtype=float), np.asarray(found, dtype=float)
    change = np.linalg.inv(ref) @ A
    whole = np.round(change)
    if np.abs(change - whole).max() > 0.15 or abs(round(np.linalg.det(whole))) != 1:
        return np.inf, np.inf
    ref = ref @ whole
    u, _, vt = np.linalg.svd(A @ np.linalg.inv(ref))
    angle = np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1)))
    lengths = [np.linalg.norm(np.linalg.inv(m), axis=1) for m in (ref, A)]
    return float(angle), float(np.abs(lengths[1] / lengths[0] - 1).max())


def agrees(reference: npt.ArrayLike, found: npt.ArrayLike) -> bool:
    """Within 1.5 degrees and 3 %."""
    angle, share = deviation(reference, found)
    return angle < 1.5 and share < 0.03
