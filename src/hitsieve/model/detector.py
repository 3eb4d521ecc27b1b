"""Detector and beam: where each pixel is, and which resolution it sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One flat rectangle of pixels (a module, an ASIC, or a whole detector)."""

    name: str
    origin: Vector
    """Laboratory position (m) of the outer corner of the panel's first pixel."""
    fast: Vector
    """Step (m) in the laboratory frame from one pixel to the next along the fast axis."""
    slow: Vector
    """Step (m) along the slow axis."""
    first: tuple[int, int]
    """(slow, fast) index of the panel's first pixel in the image array."""
    shape: tuple[int, int]
    """(slow, fast) number of pixels."""

    def lab(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Laboratory positions (m), shape (..., 3), of image coordinates (x, y) in pixels."""
        u = np.asarray(x, dtype=np.float64)[..., None] - self.first[1]
        v = np.asarray(y, dtype=np.float64)[..., None] - self.first[0]
        positions: FloatArray = np.asarray(self.origin) + u * np.asarray(self.fast) + v * np.asarray(self.slow)
        return positions

    def meets(self, directions: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Where rays from the sample meet the plane of the panel: (x, y) in pixels, also beyond its edges.

        Parameters
        ----------
        directions : array of float, shape (..., 3)
            Laboratory frame; their length does not matter. Rays that do not meet the plane get NaN.
        """
        rays, origin = np.asarray(directions, dtype=np.float64), np.asarray(self.origin)
        steps = np.array([self.fast, self.slow], dtype=np.float64)
        normal = np.cross(*steps)
        toward = rays @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.where(toward == 0, np.nan, (origin @ normal) / toward)
        along = np.where(along > 0, along, np.nan)
        uv = (along[..., None] * rays - origin) @ np.linalg.pinv(steps)
        return uv[..., 0] + self.first[1], uv[..., 1] + self.first[0]

    def holds(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether image coordinates (x, y) in pixels lie on the panel."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        (s, f), (ns, nf) = self.first, self.shape
        return np.asarray((xs >= f) & (xs < f + nf) & (ys >= s) & (ys < s + ns))


@dataclass(frozen=True, slots=True)
class Detector:
    """The detector as the source describes it; what the source does not say is None or empty."""

    shape: tuple[int, int]
    """(slow, fast) number of pixels of an image."""
    panels: tuple[Panel, ...] = ()
    """Geometry; empty when the source gives none."""
    pixel_mask: npt.NDArray[np.uint32] | None = None
    """NXmx pixel_mask, shape (slow, fast): 0 is a good pixel."""
    saturation_value: int | None = None
    """Counts above this are saturated."""
    underload_value: int | None = None
    """Counts below this are not data."""
    error_value: int | None = None
    """Pixels with exactly this count are no data."""
    description: str | None = None
    distance: float | None = None
    """Sample to detector along the beam (m), as stated by the source."""
    beam_center: tuple[float, float] | None = None
    """(x, y) in pixels, as stated by the source or found from the panels."""
    pixel_size: tuple[float, float] | None = None
    """(fast, slow) pixel size (m)."""
    sensor_material: str | None = None
    sensor_thickness: float | None = None
    """Sensor thickness (m)."""

    def same(self, other: Detector | None) -> bool:
        """Whether all of another one is the same, its mask too, which == cannot compare."""
        if other is None:
            return False
        mine, its = self.pixel_mask, other.pixel_mask
        masks = mine is its or (mine is not None and its is not None and np.array_equal(mine, its))
        return masks and replace(self, pixel_mask=None) == replace(other, pixel_mask=None)

    def panel_map(self) -> npt.NDArray[np.uint16]:
        """Panel number of each pixel, shape (slow, fast); pixels in no panel get the number of panels."""
        panels = np.full(self.shape, len(self.panels), dtype=np.uint16)
        for number, panel in enumerate(self.panels):
            (s, f), (ns, nf) = panel.first, panel.shape
            panels[s : s + ns, f : f + nf] = number
        return panels

    def panel_of(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Panel of each place (pixels); the number of panels outside all of them."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        numbers = np.full(xs.shape, len(self.panels), dtype=np.int64)
        for number, panel in enumerate(self.panels):
            numbers[panel.holds(xs, ys)] = number
        return numbers

    def lab(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Laboratory positions (m), shape (n, 3), of image coordinates; NaN outside every panel."""
        xs = np.atleast_1d(np.asarray(x, dtype=np.float64))
        ys = np.atleast_1d(np.asarray(y, dtype=np.float64))
        out = np.full((*xs.shape, 3), np.nan)
        numbers = self.panel_of(xs, ys)
        for number in np.unique(numbers[numbers < len(self.panels)]).tolist():
            inside = numbers == number
            out[inside] = self.panels[number].lab(xs[inside], ys[inside])
        return out

    def meets(self, directions: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Where rays from the sample, shape (..., 3), meet the detector: (x, y) in pixels; NaN where they miss it."""
        rays = np.asarray(directions, dtype=np.float64)
        x, y = np.full(rays.shape[:-1], np.nan), np.full(rays.shape[:-1], np.nan)
        for panel in self.panels:
            across, down = panel.meets(rays)
            here = np.isnan(x) & panel.holds(across, down)
            x[here], y[here] = across[here], down[here]
        return x, y


@dataclass(frozen=True, slots=True)
class Beam:
    """The X-ray (or electron) beam."""

    wavelength: float | None = None
    """Incident wavelength (angstrom); the mean where each image has its own."""
    wavelengths: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    """Wavelength of each image (angstrom), shape (images,), where the source gives one an image; NaN where it gives
    none."""
    direction: Vector = (0.0, 0.0, 1.0)
    """Unit vector of the beam in the laboratory frame."""

    def known(self, images: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether the wavelength of each of these images is known."""
        if self.wavelengths is None:
            return np.full(images.shape, self.wavelength is not None)
        return np.asarray(np.isfinite(self.wavelengths[images]))

    def of(self, image: int) -> Beam:
        """The beam of one image: with its own wavelength, where each image has one."""
        if self.wavelengths is None:
            return self
        own = float(self.wavelengths[image])
        return replace(self, wavelength=own if np.isfinite(own) else None, wavelengths=None)


def inverse_d(detector: Detector, beam: Beam, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
    """q = 1/d (1/angstrom) at image coordinates (x, y); NaN where geometry or wavelength is unknown.

    Bragg's law: 1/d = 2 sin(theta) / wavelength, with 2 theta the angle between the beam and the line from the
    sample to the pixel.
    """
    positions = detector.lab(x, y)
    if beam.wavelength is None or not detector.panels:
        return np.full(positions.shape[:-1], np.nan)
    cosine = positions @ np.asarray(beam.direction) / np.linalg.norm(positions, axis=-1)
    q: FloatArray = np.sqrt(np.clip(2.0 * (1.0 - cosine), 0.0, None)) / beam.wavelength
    return q


def beam_on(panels: tuple[Panel, ...], direction: Vector) -> tuple[float, float, float] | None:
    """Where the beam meets the detector: (x, y) in pixels and the distance (m); None where it does not.

    Where it passes between panels, the plane of the nearest one is taken.
    """
    best: tuple[float, tuple[float, float, float]] | None = None
    for panel in panels:
        equations = np.column_stack([panel.fast, panel.slow, -np.asarray(direction)])
        if abs(np.linalg.det(equations)) < 1e-12 * np.linalg.norm(panel.fast) * np.linalg.norm(panel.slow):
            continue
        u, v, along = np.linalg.solve(equations, -np.asarray(panel.origin))
        if along <= 0:
            continue
        gaps = (u - np.clip(u, 0, panel.shape[1]), v - np.clip(v, 0, panel.shape[0]))
        outside = float(np.hypot(*gaps) * np.linalg.norm(panel.fast))
        if best is None or outside < best[0]:
            best = (outside, (float(u) + panel.first[1], float(v) + panel.first[0], float(along)))
    return best[1] if best else None


def position(panels: tuple[Panel, ...], x: float, y: float) -> FloatArray:
    """Laboratory position (m) of image coordinates; outside every panel, on the plane of the nearest one."""

    def outside(panel: Panel) -> float:
        (s, f), (ns, nf) = panel.first, panel.shape
        return float(np.hypot(x - np.clip(x, f, f + nf), y - np.clip(y, s, s + ns)))

    return min(panels, key=outside).lab(x, y)
