"""Close-ups of a few pixels, with their counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.picture.marks import MASK, THRESHOLD
from hitsieve.picture.scene import Scene, SpotKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HALF = 7
"""A close-up has 2 HALF + 1 pixels a side."""
SIZES = {1: 8.0, 2: 7.5, 3: 5.6, 4: 4.4}
"""Of letters, by the number of digits that a pixel has to hold."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look closely."""

    x: float
    y: float
    label: str


def places_of(scene: Scene) -> tuple[Place, ...]:
    """Two places: the strongest and the weakest spot that counts, else the beam centre and the brightest pixel."""
    spots, counted = scene.spots, np.flatnonzero(scene.kinds != SpotKind.NOT_COUNTED)
    among = counted if len(counted) else np.arange(len(spots))
    order = among[np.argsort(-spots.snr[among], kind="stable")]
    names = ("strongest spot", "weakest spot") if len(counted) else ("strongest, not counted", "weakest, not counted")
    picked = list(zip(names, order[[0, -1]] if len(order) > 1 else order, strict=False))
    found = [
        Place(float(spots.x[i]), float(spots.y[i]), f"{name}: snr {spots.snr[i]:.3g}{_resolution(scene, int(i))}")
        for name, i in picked
    ]
    for place in _elsewhere(scene):
        if len(found) < 2 and all(max(abs(place.x - seen.x), abs(place.y - seen.y)) > HALF for seen in found):
            found.append(place)
    return tuple(found)


def draw_zoom(axes: Axes, scene: Scene, place: Place) -> None:
    """Draw the pixels around a place, each with its count, and outline the strong ones."""
    from matplotlib.colors import PowerNorm

    slow, fast = scene.image.shape
    row, column = (int(np.clip(value, 0, n - 1)) for value, n in ((place.y, slow), (place.x, fast)))
    rows = slice(max(row - HALF, 0), min(row + HALF + 1, slow))
    columns = slice(max(column - HALF, 0), min(column + HALF + 1, fast))
    counts, used = scene.image[rows, columns].astype(np.float64), scene.used[rows, columns]
    low = min(float(counts[used].min(initial=0)), 0.0)
    high = max(float(counts[used].max(initial=0)), low + 4)
    axes.set_facecolor(MASK)
    axes.imshow(
        np.ma.masked_array(counts, ~used),
        extent=(columns.start, columns.stop, rows.stop, rows.start),
        cmap="gray_r",
        norm=PowerNorm(0.5, low, high, clip=True),
        interpolation="nearest",
    )
    _write_counts(axes, counts, used, (rows.start, columns.start), high)
    if not scene.curve.local:
        strong = used & (counts > scene.curve.threshold[scene.curve.bins[rows, columns]])
        _outline(axes, strong, (rows.start, columns.start))
    axes.set(xlim=(columns.start, columns.stop), ylim=(rows.stop, rows.start))
    axes.tick_params(labelsize=7)
    axes.set_title(place.label, fontsize=9)


def _write_counts(
    axes: Axes, counts: npt.NDArray[np.float64], used: npt.NDArray[np.bool_], first: tuple[int, int], high: float
) -> None:
    for row, column in zip(*np.nonzero(used & (counts != 0)), strict=True):
        value = counts[row, column]
        size = SIZES.get(len(f"{value:.0f}"), 3.4)
        colour = "white" if value > 0.3 * high else "black"
        axes.text(
            first[1] + column + 0.5, first[0] + row + 0.5, f"{value:.0f}", fontsize=size, color=colour, ha="center",
            va="center_baseline", clip_on=True,
        )  # fmt: skip


def _outline(axes: Axes, strong: npt.NDArray[np.bool_], first: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    for row, column in zip(*np.nonzero(strong), strict=True):
        corner = (first[1] + int(column), first[0] + int(row))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=THRESHOLD, linewidth=1.2))


def _resolution(scene: Scene, spot: int) -> str:
    d = float(scene.spots.resolution[spot])
    return f", {d:.2f} Å" if np.isfinite(d) else ""


def _n_counts(n: int) -> str:
    return "1 count" if n == 1 else f"{n:,} counts"


def _elsewhere(scene: Scene) -> list[Place]:
    places = []
    if scene.used.any():
        values = np.where(scene.used, scene.image, np.iinfo(np.int64).min)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        places.append(Place(column + 0.5, row + 0.5, f"brightest pixel: {_n_counts(int(values[row, column]))}"))
    slow, fast = scene.image.shape
    centre = scene.detector.beam_center
    if centre is not None and 0 <= centre[0] < fast and 0 <= centre[1] < slow and not _seen_elsewhere(scene, centre):
        places.append(Place(*centre, "beam centre"))
    else:
        places.append(Place(fast / 2, slow / 2, "middle of the image"))
    return places


def _seen_elsewhere(scene: Scene, centre: tuple[float, float]) -> bool:
    """Whether pixels there are of a panel off the beam: it passes between panels."""
    panels = scene.detector.panels
    if not panels:
        return False
    off = np.linalg.norm(np.cross(scene.detector.lab(*centre)[0], scene.beam.direction))
    # Between panels it is NaN, and not greater.
    return bool(off > 2 * np.linalg.norm(panels[0].fast))
