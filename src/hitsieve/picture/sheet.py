"""The image itself: counts, mask, spots, resolution rings and ice bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.picture.canvas import Canvas, put, resolution_map
from hitsieve.picture.marks import ICE, MASK, NOTHING, RING, marks_of, round_d
from hitsieve.picture.scene import Scene

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CELLS = 740
"""Most cells a side: no more than the page has pixels for them, or spots would be lost in drawing."""
N_RINGS = 5
BRIGHT = 99.7
"""Counts at this percentile, and above, are black ..."""
CLEARLY = 3.0
"""... but none below this many times the threshold."""


def draw_sheet(axes: Axes, scene: Scene) -> list[Artist]:
    """Draw the image with its marks; gives what explains them in a legend."""
    from matplotlib.colors import ListedColormap, PowerNorm
    from matplotlib.ticker import MaxNLocator

    canvas = put(scene, CELLS)
    low, high = _range(canvas.counts, scene)
    axes.imshow(
        np.where(canvas.there, 1, 0), extent=canvas.extent, cmap=ListedColormap([NOTHING, MASK]), vmin=0, vmax=1
    )
    shown = axes.imshow(
        np.ma.masked_invalid(canvas.counts),
        extent=canvas.extent,
        cmap="gray_r",
        norm=PowerNorm(0.6, low, high, clip=True),
        interpolation="nearest",
    )
    bar = axes.figure.colorbar(shown, ax=axes, ticks=MaxNLocator(5), fraction=0.025, pad=0.01, aspect=50)
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_xlabel("counts", fontsize=8)
    if scene.detector.panels and scene.beam.wavelength is not None:
        _draw_rings(axes, canvas, scene, scene.beam.wavelength)
    explained = [*_draw_spots(axes, canvas, scene), *_patches(scene)]
    left, right, bottom, top = canvas.extent
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.tick_params(labelsize=8)
    axes.set_xlabel(_label(canvas), fontsize=9)
    return explained


def _range(counts: npt.NDArray[np.float32], scene: Scene) -> tuple[float, float]:
    """Counts drawn as white and as black: what passes for strong stands out of the background."""
    known = counts[np.isfinite(counts)]
    if not len(known):
        return 0.0, 1.0
    low, bright = (float(value) for value in np.percentile(known, [1, BRIGHT]))
    low = min(low, 0.0) if low < 0 else low * 0.5
    strong = scene.curve.threshold[np.isfinite(scene.curve.threshold)]
    if len(strong):
        bright = max(bright, CLEARLY * float(np.median(strong)))
    return low, max(bright, low + 4.0)


def _label(canvas: Canvas) -> str:
    if canvas.assembled:
        return "assembled by geometry, seen along the beam (mm); each dot is the largest count of its pixels"
    stored = "as stored: fast axis to the right, slow axis down (pixels)"
    step = f"{canvas.step:.0f}"
    return stored if canvas.step == 1 else f"{stored}; each dot is the largest count of {step} x {step} pixels"


def _draw_rings(axes: Axes, canvas: Canvas, scene: Scene, wavelength: float) -> None:
    across, down, q = resolution_map(canvas, scene, wavelength)
    q_max = float(np.nanmax(q))
    if scene.ice is not None:
        for middle in scene.ice.q[scene.ice.q < q_max]:
            band = (float(middle) - scene.ice.half_width, float(middle) + scene.ice.half_width)
            axes.contourf(across, down, q, levels=band, colors=[ICE], alpha=0.16)
    ds = round_d(q_max, N_RINGS)
    if ds:
        levels = sorted(1.0 / d for d in ds)
        rings = axes.contour(across, down, q, levels=levels, colors=RING, linewidths=1.0, linestyles="--")
        labels = axes.clabel(rings, fmt={level: f"{1 / level:.3g} Å" for level in levels}, fontsize=9)
        for label in labels:
            label.set_bbox({"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5})
    row, column = np.unravel_index(int(np.nanargmin(q)), q.shape)
    if 0 < row < len(down) - 1 and 0 < column < len(across) - 1:
        axes.plot(across[column], down[row], "+", color=RING, markersize=12, markeredgewidth=1.2)


def _draw_spots(axes: Axes, canvas: Canvas, scene: Scene) -> list[Artist]:
    handles: list[Artist] = []
    size = 70 if len(scene.spots) < 300 else 36
    for mark in marks_of(scene):
        x, y = canvas.places(scene.detector, scene.spots.x[mark.which], scene.spots.y[mark.which])
        label = f"{mark.label} ({int(mark.which.sum())})"
        handles.append(
            axes.scatter(x, y, s=size, marker=mark.shape, facecolors="none", edgecolors=mark.colour, label=label)
        )
    return handles


def _patches(scene: Scene) -> list[Artist]:
    from matplotlib.patches import Patch

    patches: list[Artist] = [Patch(facecolor=MASK, label="masked, or no data")]
    if scene.has_geometry and scene.ice is not None:
        what = "ice band" if scene.ice.left_out else "ice band (spots in it count)"
        patches.append(Patch(facecolor=ICE, alpha=0.3, label=what))
    return patches
