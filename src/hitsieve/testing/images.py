"""One simulated image at a time, with what is true about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve._core import ImagePainter
from hitsieve.errors import SettingsError
from hitsieve.model.detector import FloatArray
from hitsieve.settings import pump_pattern
from hitsieve.testing.background import BLIND, ICE, Background
from hitsieve.testing.crystals import Reflections, Structure, random_rotation
from hitsieve.testing.detectors import Instrument, instrument
from hitsieve.testing.settings import SimulateSettings, jet_stop

SPOT_AREA = 9.0
"""Pixels of a spot's profile in its snr = I / sqrt(I + SPOT_AREA * background)."""
STRONG = 6.0
"""Least snr of the spots counted in n_spots_snr6."""
_FAINTEST = 3.0
"""Fewest expected photons of a reflection that is drawn."""


@dataclass(frozen=True, slots=True)
class TrueSpots:
    """Spots of one image, as columns of equal length."""

    x: FloatArray
    """Predicted centre along the fast axis (pixels; pixel 0 has its centre at 0.5)."""
    y: FloatArray
    photons: FloatArray
    """Expected photons."""
    landed: npt.NDArray[np.uint32]
    """Photons that fell on sensitive pixels."""
    snr: FloatArray
    """photons / sqrt(photons + 9 * background), the background being that of the spot's pixel."""
    hkl: npt.NDArray[np.int16]
    lattice: npt.NDArray[np.int8]
    """Number of the lattice in the image."""
    d: FloatArray
    """Resolution (angstrom)."""

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true about one image."""

    image: int
    hit: bool
    jet: bool
    """The jet runs."""
    jet_thickness: float
    """Relative to the run's mean; 0 when it does not run."""
    background: float
    """Mean counts of the good pixels without spots, flickers and hot pixels."""
    a_matrices: tuple[FloatArray, ...]
    """One 3 x 3 matrix a lattice: columns a*, b*, c* (1/angstrom) in the laboratory frame."""
    spots: TrueSpots
    n_ice_spots: int
    ice: bool
    n_flickers: int
    pump: str | None
    """State of the pump; None without a pattern."""

    @property
    def n_spots_snr6(self) -> int:
        """Spots with an snr of 6 or more."""
        return int((self.spots.snr >= STRONG).sum())


@dataclass(slots=True)
class _Scene:
    """An image in the making."""

    random: np.random.Generator
    means: FloatArray
    crystals: list[tuple[FloatArray, Reflections, FloatArray]]


class Simulator:
    """Draws the images of one run; image i depends on the settings and i alone.

    Raises SettingsError for settings that cannot be met together.
    """

    def __init__(self, settings: SimulateSettings) -> None:
        self.settings = settings
        self.instrument: Instrument = instrument(settings)
        self._background = Background(settings, self.instrument)
        self._structure = Structure(settings) if settings.hit_fraction > 0 else None
        self._sensitive = np.flatnonzero(self.instrument.good & (self._background.levels < BLIND))
        self._weights = np.bincount(
            np.minimum(self._background.levels[self.instrument.good], len(self._background.means(1, 0)) - 1),
            minlength=len(self._background.means(1, 0)),
        )
        self._painter = ImagePainter(
            levels=self._background.levels, blind_value=self.instrument.blind_value, most=self.instrument.most
        )
        cycle = pump_pattern(settings.pump) if settings.pump else ()
        self._pump = [state for state, count in cycle for _ in range(count)]
        self.jet = self._jet()
        """Whether the jet runs, by image."""

    def _jet(self) -> npt.NDArray[np.bool_]:
        s = self.settings
        running = np.ones(s.images, dtype=np.bool_)
        random = np.random.default_rng([s.seed, 3])
        for first, last, count in map(jet_stop, s.jet_stops):
            if count is None:
                running[first:last] = False
                continue
            for start in random.integers(0, max(1, s.images - last + 1), count):
                running[start : start + last] = False
        return running

    def pump_state(self, image: int) -> str | None:
        """State of the pump at an image."""
        return self._pump[image % len(self._pump)] if self._pump else None

    def image(self, i: int, out: npt.NDArray[Any] | None = None) -> tuple[npt.NDArray[Any], Truth]:
        """Draw image i, shape (slow, fast), into `out` if given, and tell the truth about it."""
        s = self.settings
        if not 0 <= i < s.images:
            raise SettingsError(f"image {i} is not one of the {s.images} images of {s.name}")
        random = np.random.default_rng([s.seed, 4, i])
        jet = bool(self.jet[i])
        thickness = float(np.exp(random.normal(-0.5 * s.jet_spread**2, s.jet_spread)))
        hit, icy = bool(random.random() < s.hit_fraction and jet), bool(random.random() < s.ice_fraction and jet)
        ice = float(np.exp(random.uniform(np.log(0.5), np.log(8.0)))) if icy else 0.0
        means = self._background.means(thickness if jet else 0.0, ice)
        scene = _Scene(random, means, [])
        if hit and self._structure is not None:
            for _ in range(1 + int(random.random() < s.second_lattice)):
                scene.crystals.append(self._crystal(scene, self._structure))
        ice_spots = self._ice_spots(random) if icy else np.empty((0, 4))
        extra, n_flickers = self._single_pixels(random)
        spots = self._spots(scene)
        drawn = np.column_stack([spots.x, spots.y, np.full(len(spots), s.spot_size), random.poisson(spots.photons)])
        if out is None:
            out = np.empty(self.instrument.detector.shape, dtype=self.instrument.dtype)
        seed = int(random.integers(2**64, dtype=np.uint64))
        landed = self._painter.paint(out, seed, means, np.concatenate([drawn, ice_spots]), extra)
        spots.landed[:] = landed[: len(spots)]
        return out, Truth(
            image=i,
            hit=hit,
            jet=jet,
            jet_thickness=thickness if jet else 0.0,
            background=float(np.average(means, weights=self._weights)),
            a_matrices=tuple(matrix for matrix, _, _ in scene.crystals),
            spots=spots,
            n_ice_spots=len(ice_spots),
            ice=icy,
            n_flickers=n_flickers,
            pump=self.pump_state(i),
        )

    def _crystal(self, scene: _Scene, structure: Structure) -> tuple[FloatArray, Reflections, FloatArray]:
        """A matrix, reflections and expected photons of one crystal."""
        s, random = self.settings, scene.random
        matrix = random_rotation(random) @ structure.reciprocal
        seen = structure.reflections(matrix, self.instrument)
        if s.intensities == "uniform-log":
            wanted = int(random.integers(round(s.spots[0]), round(s.spots[1]) + 1))
            seen = seen.take(np.sort(random.permutation(len(seen.x))[:wanted]))
            return matrix, seen, np.exp(random.uniform(np.log(s.photons[0]), np.log(s.photons[1]), len(seen.x)))
        wanted = round(np.exp(random.uniform(np.log(s.spots[0]), np.log(s.spots[1]))))
        if len(seen.x) == 0:
            return matrix, seen, np.empty(0)
        # Photons that give each reflection an snr of 6: I^2 = 36 (I + 9 b).
        background = self._background.at(seen.x, seen.y, scene.means)
        needed = 18.0 + np.sqrt(324.0 + STRONG**2 * SPOT_AREA * background)
        scales = np.sort(needed / seen.relative)
        scale = s.scale * np.exp(random.normal(0.0, s.scale_spread))
        photons = seen.relative * scales[min(wanted, len(scales)) - 1] * scale
        bright = photons >= _FAINTEST
        return matrix, seen.take(bright), photons[bright]

    def _spots(self, scene: _Scene) -> TrueSpots:
        seen = [reflections for _, reflections, _ in scene.crystals]
        x = np.concatenate([r.x for r in seen] or [np.empty(0)])
        y = np.concatenate([r.y for r in seen] or [np.empty(0)])
        photons = np.concatenate([p for _, _, p in scene.crystals] or [np.empty(0)])
        background = self._background.at(x, y, scene.means)
        return TrueSpots(
            x=x,
            y=y,
            photons=photons,
            landed=np.zeros(len(x), dtype=np.uint32),
            snr=photons / np.sqrt(photons + SPOT_AREA * background),
            hkl=np.concatenate([r.hkl for r in seen] or [np.empty((0, 3), dtype=np.int16)]),
            lattice=np.repeat(np.arange(len(seen), dtype=np.int8), [len(r.x) for r in seen]),
            d=np.concatenate([r.d for r in seen] or [np.empty(0)]),
        )

    def _ice_spots(self, random: np.random.Generator) -> FloatArray:
        """Sharp spots of ice crystallites on the rings: rows (x, y, sigma, photons)."""
        n = int(random.integers(20, 150))
        strengths = np.array(list(ICE.values()))
        d = random.choice(np.array(list(ICE)), n, p=strengths / strengths.sum())
        two_theta = 2.0 * np.arcsin(np.clip(self.settings.wavelength / (2.0 * d), 0.0, 0.99))
        detector = self.instrument.detector
        panel = detector.panels[0]
        radius = np.where(two_theta < 1.5, panel.origin[2] * np.tan(np.minimum(two_theta, 1.5)), np.inf)
        angle = random.uniform(0.0, 2.0 * np.pi, n)
        photons = random.poisson(np.exp(random.uniform(np.log(20.0), np.log(2000.0), n)))
        x = (radius * np.cos(angle) - panel.origin[0]) / panel.fast[0]
        y = (radius * np.sin(angle) - panel.origin[1]) / panel.slow[1]
        inside = (x >= 0) & (x < detector.shape[1]) & (y >= 0) & (y < detector.shape[0])
        return np.column_stack([x, y, np.full(n, 0.7), photons])[inside]

    def _single_pixels(self, random: np.random.Generator) -> tuple[npt.NDArray[np.int64], int]:
        """Flickers and hot pixels: rows (flat pixel number, counts), and the number of flickers."""
        bad = self.instrument.bad
        n = int(random.poisson(self.settings.flickers))
        where = random.choice(self._sensitive, n)
        pixels = np.concatenate([where, bad.hot, bad.unmasked])
        counts = np.concatenate([random.integers(4, 61, n), random.poisson(bad.hot_mean), bad.unmasked_counts])
        return np.column_stack([pixels, counts]).astype(np.int64), n
