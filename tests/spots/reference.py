"""The spot finder in plain NumPy, written from docs/reference/spot-finder.md; slow, and meant to be obviously right.

Exact sums are Python integers. NumPy's int64 is used only where the comment beside it says why it cannot overflow;
counts have at most 32 bits and images fewer than 2**30 pixels throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

IntImage = npt.NDArray[np.int64]
BoolImage = npt.NDArray[np.bool_]

UNIT = 4096
SATURATED = 2
MASKED_NEIGHBOUR = 4
EIGHT_CONNECTED = np.ones((3, 3), dtype=np.int64)


@dataclass(frozen=True)
class Params:
    """What is fixed for a run; the names are those of the page and of `hitsieve._core.SpotFinder`."""

    bins: npt.NDArray[np.uint16]
    valid: BoolImage
    background_bins: npt.NDArray[np.bool_]
    underload: int = 0
    saturation: int | None = None
    error_value: int | None = None
    panels: npt.NDArray[np.uint16] | None = None
    algorithm: str = "radial"
    snr: float = 6.0
    min_count: int = 5
    min_pixels: int = 2
    max_pixels: int = 200
    spot_snr: float = 6.0
    ring_width: int = 3
    max_spots: int = 2000


@dataclass(frozen=True)
class Bin:
    """Clipped statistics of the background in one bin; mean, sigma and threshold mean nothing where n is 0."""

    n: int = 0
    sum: int = 0
    mean: float = math.nan
    sigma: float = math.nan
    threshold: float = math.inf


@dataclass(frozen=True)
class Spot:
    """One accepted spot, before rounding."""

    x: float
    y: float
    intensity: float
    spot_background: float
    snr: float
    n_pixels: int
    peak: int
    flags: int


@dataclass(frozen=True)
class Result:
    """Results of one image."""

    n_spots: int
    n_strong: int
    n_saturated: int
    max_count: int
    background: float
    spots: list[Spot] = field(default_factory=list)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The result as a batch of one image; same names and types as `hitsieve._core.Batch`."""
        image: dict[str, npt.NDArray[np.generic]] = {
            "n_spots": np.array([self.n_spots], dtype=np.int32),
            "n_strong": np.array([self.n_strong], dtype=np.int32),
            "n_saturated": np.array([self.n_saturated], dtype=np.int32),
            "max_count": np.array([self.max_count], dtype=np.int64),
            "background": np.array([self.background], dtype=np.float32),
            "offsets": np.array([0, len(self.spots)], dtype=np.int64),
        }
        types = dict.fromkeys(("x", "y", "intensity", "spot_background", "snr", "peak"), "float32")
        types |= {"n_pixels": "int32", "flags": "uint8"}
        return image | {name: np.array([getattr(s, name) for s in self.spots], dtype=t) for name, t in types.items()}


def sample_units(valid: BoolImage, bins: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint32]:
    """Numbers of the units that the background is taken from, ascending."""
    units = -(-valid.size // UNIT)
    n_bins = int(bins.max()) + 1
    chosen = set()
    start = min(units, max(16, -(-units // 64)))
    for i in range(start):
        chosen.add(i * units // start)
    flat_valid = valid.ravel()
    unit = np.arange(valid.size, dtype=np.int64) // UNIT
    key = unit * n_bins + bins.ravel()
    counts = np.bincount(key[flat_valid], minlength=units * n_bins).reshape(units, n_bins)
    for number in range(n_bins):
        column = counts[:, number]
        wanted = min(100, int(column.sum()))
        while sum(int(column[u]) for u in chosen) < wanted:
            rest = [u for u in range(units) if u not in chosen]
            chosen.add(max(rest, key=lambda u: (int(column[u]), -u)))
    return np.array(sorted(chosen), dtype=np.uint32)


def sums(values: IntImage) -> tuple[int, int, int]:
    """Number, sum and sum of squares, exact."""
    # v = 65536 high + low: every product below has at most 33 bits, so that 2**30 of them fit into int64
    # (the square itself of a 32-bit count does not).
    high, low = values >> 16, values & 0xFFFF
    hh, hl, ll = (int((p * q).sum()) for p, q in ((high, high), (high, low), (low, low)))
    return len(values), int(values.sum()), (hh << 32) + (hl << 17) + ll


def mean_sigma(n: int, s1: int, s2: int) -> tuple[float, float]:
    """Mean and standard deviation: exact integers turned into doubles, then double arithmetic."""
    return float(s1) / float(n), math.sqrt(float(n * s2 - s1 * s1)) / float(n)


def bin_statistics(values: IntImage, p: Params) -> Bin:
    """Clip, and find the threshold, from the sampled values of a bin."""
    n, s1, s2 = sums(values)
    for _ in range(5):
        if n == 0:
            break
        mean, sigma = mean_sigma(n, s1, s2)
        limit = float(np.floor(mean + p.snr * sigma))
        before = n
        n, s1, s2 = sums(values[values <= limit])
        if n == before:
            break
    if n == 0:
        return Bin()
    mean, sigma = mean_sigma(n, s1, s2)
    s = max(sigma, math.sqrt(max(mean, 0.0)))
    threshold = max(float(np.floor(mean + p.snr * s)), float(p.min_count - 1))
    if p.saturation is not None:
        threshold = min(threshold, float(p.saturation - 1))
    return Bin(n, s1, mean, sigma, threshold)


def statistics(image: IntImage, good: BoolImage, saturated: BoolImage, p: Params) -> list[Bin]:
    """Statistics of every bin."""
    sampled = np.zeros(image.size, dtype=np.bool_)
    for unit in sample_units(p.valid, p.bins):
        sampled[int(unit) * UNIT : (int(unit) + 1) * UNIT] = True
    use = sampled & (good & ~saturated).ravel()
    values, number = image.ravel()[use], p.bins.ravel()[use]
    order = np.argsort(number, kind="stable")
    values, number = values[order], number[order]
    first = np.searchsorted(number, np.arange(len(p.background_bins) + 1))
    return [bin_statistics(values[a:b], p) for a, b in pairwise(first)]


def box_sum(image: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sum over the 7 x 7 window around each pixel, cut at the edges."""
    height, width = image.shape
    padded = np.zeros((height + 6, width + 6), dtype=image.dtype)
    padded[3:-3, 3:-3] = image
    rows, total = np.zeros((height, width + 6), dtype=image.dtype), np.zeros_like(image)
    for k in range(7):
        rows += padded[k : k + height]
    for k in range(7):
        total += rows[:, k : k + width]
    return total


def dispersion(image: IntImage, good: BoolImage, saturated: BoolImage) -> BoolImage:
    """Strong pixels of one panel by local variance."""
    use = good & ~saturated
    v = np.where(good, image, 0)
    # |m y| and x * x are at most 49 * 49 * v**2 < 2**62 for |v| < 2**25; Python integers beyond.
    exact = v.astype(object) if np.abs(v).max(initial=0) >= 2**25 else v
    used = np.where(use, exact, 0)
    m, x, y = box_sum(use.astype(np.int64)), box_sum(used), box_sum(used * used)
    a = m * y - x * x - x * (m - 1)
    b = m * exact - x
    # x has at most 38 bits and x * m at most 44: exact as doubles.
    positive = np.maximum(x, 0).astype(np.float64)
    many = m.astype(np.float64)
    c = positive * 6.0 * np.sqrt(2.0 * np.maximum(many - 1.0, 0.0))
    d = 3.0 * np.sqrt(positive * many)
    strong: BoolImage = good & (m >= 2) & (v > 0) & (a > c).astype(np.bool_) & (b > d).astype(np.bool_)
    return strong


def panel_parts(panels: npt.NDArray[np.uint16]) -> Iterator[tuple[tuple[slice, slice], BoolImage]]:
    """For each panel its bounding box and which pixels in the box are its own."""
    for number, box in enumerate(ndimage.find_objects(panels.astype(np.int64) + 1)):
        if box is not None:
            yield box, panels[box] == number


def strong_pixels(image: IntImage, good: BoolImage, saturated: BoolImage, bins: list[Bin], p: Params) -> BoolImage:
    """Strong pixels by either algorithm."""
    if p.algorithm == "radial":
        threshold = np.array([b.threshold for b in bins])
        return good & (image > threshold[p.bins])
    strong = np.zeros(image.shape, dtype=np.bool_)
    for box, own in panel_parts(panel_map(p)):
        strong[box] |= dispersion(image[box], good[box] & own, saturated[box])
    return strong


def panel_map(p: Params) -> npt.NDArray[np.uint16]:
    """Panel number of each pixel."""
    return np.zeros(p.bins.shape, dtype=np.uint16) if p.panels is None else p.panels


def components(strong: BoolImage, panels: npt.NDArray[np.uint16]) -> list[list[tuple[int, int]]]:
    """Connected sets of strong pixels, as (slow, fast) in raster order, in raster order of their first pixel."""
    found = []
    for (rows, cols), own in panel_parts(panels):
        labels, _ = ndimage.label(strong[rows, cols] & own, EIGHT_CONNECTED)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            slow, fast = np.nonzero(labels[box] == number)
            slow += rows.start + box[0].start
            fast += cols.start + box[1].start
            found.append(list(zip(slow.tolist(), fast.tolist(), strict=True)))
    return sorted(found, key=lambda pixels: pixels[0])


@dataclass(frozen=True)
class Searched:
    """An image with its pixels sorted out."""

    image: IntImage
    good: BoolImage
    saturated: BoolImage
    strong: BoolImage
    panels: npt.NDArray[np.uint16]
    bins: list[Bin]


def frame_sums(s: Searched, pixels: list[tuple[int, int]], width: int) -> tuple[int, int, int]:
    """Number, sum and sum of squares of the frame around a spot."""
    slow, fast = [q[0] for q in pixels], [q[1] for q in pixels]
    top, left = max(min(slow) - 1 - width, 0), max(min(fast) - 1 - width, 0)
    box = np.s_[top : max(slow) + 2 + width, left : max(fast) + 2 + width]
    use = s.good[box] & ~s.saturated[box] & ~s.strong[box] & (s.panels[box] == s.panels[pixels[0]])
    rows, cols = np.ogrid[box]
    rows, cols = rows[: use.shape[0]], cols[:, : use.shape[1]]
    inner_rows = (rows >= min(slow) - 1) & (rows <= max(slow) + 1)
    inner_cols = (cols >= min(fast) - 1) & (cols <= max(fast) + 1)
    return sums(s.image[box][use & ~(inner_rows & inner_cols)])


def spot_flags(s: Searched, pixels: list[tuple[int, int]]) -> int:
    """Saturated pixels, and neighbours that are no data."""
    flags = 0
    (height, width), panel = s.image.shape, s.panels[pixels[0]]
    for py, px in pixels:
        if s.saturated[py, px]:
            flags |= SATURATED
        for qy in (py - 1, py, py + 1):
            for qx in (px - 1, px, px + 1):
                inside = 0 <= qy < height and 0 <= qx < width
                if not inside or s.panels[qy, qx] != panel or not s.good[qy, qx]:
                    flags |= MASKED_NEIGHBOUR
    return flags


def measure(s: Searched, pixels: list[tuple[int, int]], p: Params) -> Spot | None:
    """A spot's numbers; None when it is rejected."""
    n = len(pixels)
    if not p.min_pixels <= n <= p.max_pixels:
        return None
    counts = [int(s.image[q]) for q in pixels]
    m, f1, f2 = frame_sums(s, pixels, p.ring_width)
    if m >= 8:
        b, sd = mean_sigma(m, f1, f2)
    else:
        brightest = s.bins[p.bins[pixels[counts.index(max(counts))]]]
        if brightest.n == 0:
            return None
        b, sd, m = brightest.mean, brightest.sigma, brightest.n
    intensity = float(sum(counts)) - float(n) * b
    if not intensity > 0.0:
        return None
    snr = intensity / (math.sqrt(max(sd * sd, b, 1.0 / float(m))) * math.sqrt(float(n)))
    if not snr >= p.spot_snr:
        return None

    def centroid(axis: int) -> float:
        twice = [2 * q[axis] + 1 for q in pixels]
        weighted = sum(v * t for v, t in zip(counts, twice, strict=True))
        centre = (0.5 * float(weighted) - b * (0.5 * float(sum(twice)))) / intensity
        return min(max(centre, min(twice) / 2), max(twice) / 2)

    return Spot(centroid(1), centroid(0), intensity, b, snr, n, max(counts), spot_flags(s, pixels))


def find(image: npt.NDArray[np.generic], p: Params) -> Result:
    """Search one image."""
    v = image.astype(np.int64)
    good = p.valid & (v >= p.underload)
    if p.error_value is not None:
        good &= v != p.error_value
    saturated = good & (v >= p.saturation) if p.saturation is not None else np.zeros(v.shape, dtype=np.bool_)
    bins = statistics(v, good, saturated, p)
    strong = strong_pixels(v, good, saturated, bins, p)
    searched = Searched(v, good, saturated, strong, panel_map(p), bins)
    spots = [s for pixels in components(strong, searched.panels) if (s := measure(searched, pixels, p)) is not None]
    ring = [b for b, wanted in zip(bins, p.background_bins, strict=True) if wanted]
    n_ring = sum(b.n for b in ring)
    strongest = sorted(range(len(spots)), key=lambda i: -spots[i].intensity)[: p.max_spots]
    return Result(
        n_spots=len(spots),
        n_strong=int(strong.sum()),
        n_saturated=int(saturated.sum()),
        max_count=int(v[good & (v >= 0)].max(initial=-1)),
        background=float(sum(b.sum for b in ring)) / float(n_ring) if n_ring else math.nan,
        spots=[spots[i] for i in sorted(strongest)],
    )
