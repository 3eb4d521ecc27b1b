"""Puts the pixels of an image on a canvas that is no larger than its place on the page.

Where several pixels share a cell of the canvas the largest is kept: an average would wash spots of two pixels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector, Panel
from hitsieve.model.detector import inverse_d
from hitsieve.picture.scene import Scene

FloatArray = npt.NDArray[np.float64]
MILLIMETRES = 1e3
FLAT = 0.02
ROWS = 256
"""Rows of a panel that are placed at a time."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image as it is drawn, and where its places are on it."""

    counts: npt.NDArray[np.float32]
    """Largest count of the used pixels of each cell; NaN without any."""
    there: npt.NDArray[np.bool_]
    """Whether a cell holds pixels at all, used or not."""
    left: float
    """Coordinate of the left edge, in `unit`; coordinates grow to the right and down."""
    top: float
    step: float
    """Size of a cell."""
    unit: str
    assembled: bool
    """Panels are drawn where they stand, as seen along the beam; else the image is drawn as it is stored."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top)."""
        slow, fast = self.counts.shape
        return self.left, self.left + fast * self.step, self.top + slow * self.step, self.top

    def places(self, detector: Detector, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Coordinates on the canvas of image coordinates (x, y) in pixels."""
        if not self.assembled:
            return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        positions = detector.lab(x, y) * MILLIMETRES
        return -positions[..., 0], -positions[..., 1]


def put(scene: Scene, cells: int) -> Canvas:
    """Put an image on a canvas of at most `cells` cells a side.

    Panels are assembled where they face the beam in one plane; those of a curved detector would hide each other.
    """
    panels = scene.detector.panels
    if len(panels) > 1 and not on_one_grid(scene.detector) and in_one_plane(panels):
        return _assembled(scene, cells)
    return _as_stored(scene, cells)


def on_one_grid(detector: Detector) -> bool:
    """Whether all panels lie, to half a pixel, where one flat panel as large as the image has its pixels."""
    first = detector.panels[0]
    whole = Panel("", first.origin, first.fast, first.slow, first.first, detector.shape)
    pixel = float(np.linalg.norm(first.fast))
    for panel in detector.panels:
        (slow, fast), (n_slow, n_fast) = panel.first, panel.shape
        x = fast + np.array([0, n_fast, 0, n_fast])
        y = slow + np.array([0, 0, n_slow, n_slow])
        if float(np.abs(panel.lab(x, y) - whole.lab(x, y)).max()) > pixel / 2:
            return False
    return True


def in_one_plane(panels: Sequence[Panel]) -> bool:
    """Whether panels lie, to a fiftieth of their distance, in one plane across the beam."""
    depths = np.concatenate([panel.lab(*_corners(panel))[:, 2] for panel in panels])
    return bool(np.ptp(depths) < FLAT * np.abs(depths).mean())


def resolution_map(
    canvas: Canvas, scene: Scene, wavelength: float, points: int = 220
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """q = 1/d (1/angstrom) on a grid over the canvas: coordinates across, coordinates down, q of shape (down, across).

    Panels that are assembled are taken at their mean distance. NaN between panels that are not of one grid.
    """
    left, right, bottom, top = canvas.extent
    across, down = np.linspace(left, right, points), np.linspace(top, bottom, points)
    columns, rows = np.meshgrid(across, down)
    if canvas.assembled:
        depth = np.mean([panel.lab(*_middle(panel))[..., 2] for panel in scene.detector.panels])
        flat = Panel("", (0.0, 0.0, float(depth)), (-1e-3, 0.0, 0.0), (0.0, -1e-3, 0.0), (0, 0), (1, 1))
    elif not on_one_grid(scene.detector):
        beam = Beam(wavelength=wavelength, direction=scene.beam.direction)
        q = inverse_d(scene.detector, beam, columns.ravel(), rows.ravel()).reshape(columns.shape)
        return across, down, q
    else:
        first = scene.detector.panels[0]
        flat = Panel("", first.origin, first.fast, first.slow, first.first, scene.detector.shape)
    positions = flat.lab(columns, rows)
    cosine = positions @ np.asarray(scene.beam.direction) / np.linalg.norm(positions, axis=-1)
    q = np.sqrt(np.clip(2.0 * (1.0 - cosine), 0.0, None)) / wavelength
    return across, down, q


def _as_stored(scene: Scene, cells: int) -> Canvas:
    slow, fast = scene.image.shape
    step = -(-max(slow, fast) // cells)
    padded = np.full((-(-slow // step) * step, -(-fast // step) * step), -np.inf, dtype=np.float32)
    np.copyto(padded[:slow, :fast], scene.image, casting="unsafe", where=scene.used)
    binned = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step).max(axis=(1, 3))
    binned[np.isneginf(binned)] = np.nan
    return Canvas(binned, np.ones(binned.shape, dtype=np.bool_), 0.0, 0.0, float(step), "pixels", assembled=False)


def _assembled(scene: Scene, cells: int) -> Canvas:
    panels = scene.detector.panels
    corners = np.concatenate([-panel.lab(*_corners(panel))[:, :2] for panel in panels]) * MILLIMETRES
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    pixel = float(np.linalg.norm(panels[0].fast)) * MILLIMETRES
    step = max(float(max(right - left, bottom - top)) / cells, pixel)
    shape = (int((bottom - top) / step) + 1, int((right - left) / step) + 1)
    counts = np.full(shape, -np.inf, dtype=np.float32)
    there = np.zeros(shape, dtype=np.bool_)
    # Where a cell is hardly larger than a pixel, a turned panel must be sampled more finely or it shows holes.
    parts = (0.25, 0.75) if step < 1.5 * pixel else (0.5,)
    for panel in panels:
        (slow, fast), (n_slow, n_fast) = panel.first, panel.shape
        for start in range(0, n_slow, ROWS):
            rows = np.arange(slow + start, slow + min(start + ROWS, n_slow))
            here = np.s_[rows[0] : rows[-1] + 1, fast : fast + n_fast]
            used = scene.used[here]
            values = np.where(used, scene.image[here], -np.inf).astype(np.float32).ravel()
            for down in parts:
                for along in parts:
                    x, y = np.meshgrid(fast + np.arange(n_fast) + along, rows + down)
                    positions = -panel.lab(x, y)[..., :2].reshape(-1, 2) * MILLIMETRES
                    column = ((positions[:, 0] - left) / step).astype(np.int64)
                    row = ((positions[:, 1] - top) / step).astype(np.int64)
                    cell = np.clip(row, 0, shape[0] - 1) * shape[1] + np.clip(column, 0, shape[1] - 1)
                    np.maximum.at(counts.ravel(), cell, values)
                    there.ravel()[cell] = True
    counts[np.isneginf(counts)] = np.nan
    return Canvas(counts, there, float(left), float(top), step, "mm", assembled=True)


def _corners(panel: Panel) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    (slow, fast), (n_slow, n_fast) = panel.first, panel.shape
    return fast + np.array([0, n_fast, 0, n_fast]), slow + np.array([0, 0, n_slow, n_slow])


def _middle(panel: Panel) -> tuple[float, float]:
    (slow, fast), (n_slow, n_fast) = panel.first, panel.shape
    return fast + n_fast / 2, slow + n_slow / 2
