"""Images with known lattices on a tilted detector of several panels, to be exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hitsieve.model import Detector, ImageResults, Lattice, Lattices, Panel, Spots, State, UnitCell
from hitsieve.testing.crystals import random_rotation, reciprocal_matrix
from hitsieve.write.export import Experiment, Images

CELL = UnitCell((61.4, 79.0, 96.0, 90.0, 101.0, 90.0), "C", "tests")
WAVELENGTHS = (1.30, 1.31)
PIXEL = (75e-6, 75e-6)


def detector() -> Detector:
    """Four panels of 200 x 240 pixels, stacked in the image, tilted and at different distances."""
    random = np.random.default_rng(3)
    panels = []
    for i, (left, top) in enumerate([(1, 1), (-0.06, 1), (1, -0.04), (-0.06, -0.04)]):
        tilt = np.linalg.qr(np.eye(3) + random.normal(0, 0.02, (3, 3)))[0]
        tilt = tilt @ np.diag(np.sign(np.diag(tilt)))
        fast, slow = tilt @ [-PIXEL[0], 0, 0], tilt @ [0, -PIXEL[1], 0]
        origin = (240 * PIXEL[0] * left, 200 * PIXEL[1] * top, 0.05 + 0.001 * i)
        panels.append(Panel(f"m{i}", origin, tuple(fast), tuple(slow), (200 * i, 0), (200, 240)))
    return Detector(shape=(800, 240), panels=tuple(panels), saturation_value=10_000, distance=0.05)


def experiment(file: Path) -> Experiment:
    """What the images share."""
    return Experiment(file=file, dataset="/entry/data/data", detector=detector(), dtype=np.dtype("u2"), cell=CELL)


def on_detector(place: Detector, s1: np.ndarray) -> np.ndarray:
    """Where rays along s1 meet the detector (pixels); NaN where they miss."""
    found = np.full((len(s1), 2), np.nan)
    for panel in place.panels:
        # origin + u fast + v slow = t s1
        for i, ray in enumerate(s1):
            u, v, t = np.linalg.solve(np.column_stack([panel.fast, panel.slow, -ray]), -np.asarray(panel.origin))
            if t > 0 and 0 <= u < panel.shape[1] and 0 <= v < panel.shape[0]:
                found[i] = u + panel.first[1], v + panel.first[0]
    return found


def lattice_spots(random: np.random.Generator, wavelength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix of a random orientation, indices of reflections near the Ewald sphere, and where they are seen."""
    A = random_rotation(random) @ reciprocal_matrix(CELL.parameters)
    h, k, l = (grid.ravel() for grid in np.mgrid[-20:21, -25:26, -30:31])
    hkl = np.stack([h, k, l], 1)[((h + k) % 2 == 0) & (h * h + k * k + l * l > 0)]
    q = hkl @ A.T
    s0 = np.array([0, 0, 1 / wavelength])
    off = np.linalg.norm(q + s0, axis=1) - 1 / wavelength
    near = (np.abs(off) < 2e-4) & (np.linalg.norm(q, axis=1) < 0.35)
    seen = on_detector(detector(), q[near] + s0)
    inside = np.isfinite(seen[:, 0])
    return A, hkl[near][inside], seen[inside]


def images(n: int = 6, seed: int = 1) -> Images:
    """Image i has i % 3 lattices, five spots of none, and one between the panels of the image array's edge."""
    random = np.random.default_rng(seed)
    wavelength = np.array([WAVELENGTHS[i % 2] for i in range(n)])
    rows, lattices, offsets, lattice_offsets = [], [], [0], [0]
    for i in range(n):
        own = [lattice_spots(random, wavelength[i]) for _ in range(i % 3)]
        here = []
        for number, (A, hkl, seen) in enumerate(own):
            start = sum(len(part) for part in here)
            here.append(np.column_stack([seen, np.full(len(seen), number), hkl]))
            spots = np.arange(start, start + len(seen))
            lattices.append(Lattice(A, CELL.parameters, spots, hkl.astype(np.int32), 1e-4, 1e-9))
        here.append(np.column_stack([random.uniform((0, 0), (240, 800), (5, 2)), np.tile([-1, 0, 0, 0], (5, 1))]))
        rows.append(np.concatenate(here))
        offsets.append(offsets[-1] + len(rows[-1]))
        lattice_offsets.append(lattice_offsets[-1] + len(own))
    table = np.concatenate(rows)
    lengths = np.diff(offsets)
    return Images(
        results=ImageResults(
            image=np.arange(n) * 10,
            state=np.full(n, State.HIT, np.uint8),
            n_spots=lengths.astype(np.int32),
            n_spots_counted=lengths.astype(np.int32),
            n_spots_ice=np.zeros(n, np.int32),
            n_strong=lengths.astype(np.int32),
            n_saturated=np.zeros(n, np.int32),
            max_count=np.full(n, 100),
            background=np.ones(n, np.float32),
            resolution=np.full(n, 3, np.float32),
            n_lattices=np.diff(lattice_offsets).astype(np.int32),
            n_indexed=np.zeros(n, np.int32),
            pump=np.full(n, -1, np.int16),
            reasons={},
            offsets=np.array(offsets),
            spots=_spots(random, table),
            lattice_offsets=np.array(lattice_offsets),
            lattices=Lattices.of(lattices),
        ),
        row=np.arange(n)[::-1].copy(),
        wavelength=wavelength,
    )


def _spots(random: np.random.Generator, table: np.ndarray) -> Spots:
    n = len(table)
    return Spots(
        x=table[:, 0].astype(np.float32),
        y=table[:, 1].astype(np.float32),
        intensity=random.uniform(50, 500, n).astype(np.float32),
        background=np.full(n, 2, np.float32),
        snr=np.full(n, 9, np.float32),
        n_pixels=np.full(n, 7, np.int32),
        peak=random.uniform(20, 100, n).astype(np.float32),
        resolution=np.full(n, 3, np.float32),
        flags=np.zeros(n, np.uint8),
        lattice=table[:, 2].astype(np.int8),
        h=table[:, 3].astype(np.int16),
        k=table[:, 4].astype(np.int16),
        l=table[:, 5].astype(np.int16),
    )
