"""A run at a glance: one of its hits, and the hit rate along it, in a picture that is small enough for a catalogue."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.picture.canvas import put
from hitsieve.picture.marks import MASK, MINE, NOTHING, THRESHOLD
from hitsieve.picture.scene import Scene

SIZE = (600, 400)
"""Width and height in pixels."""
DPI = 100
CELLS = 360
BRIGHT = 99.5
"""Counts at this percentile, and above, are black."""
SOFTWARE = "hitsieve"


@dataclass(frozen=True, slots=True)
class Along:
    """The hit rate along a run."""

    first: npt.NDArray[np.int64]
    """First image of each bin."""
    rate: npt.NDArray[np.float64]
    """Share of hits in it; NaN where nothing was searched."""
    n_images: int


def draw_glance(scene: Scene, along: Along) -> bytes:
    """Draw a hit with its spots, and the hit rate along the run.

    Returns
    -------
    bytes
        A PNG file of 600 x 400 pixels, some tens of kB.
    """
    from matplotlib.colors import ListedColormap, PowerNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor="white")
    figure.text(0.015, 0.975, scene.title, fontsize=9, va="top")
    hit = figure.add_axes((0.01, 0.02, 0.6, 0.89))
    canvas = put(scene, CELLS)
    known = canvas.counts[np.isfinite(canvas.counts)]
    high = float(np.percentile(known, BRIGHT)) if len(known) else 1.0
    there = np.where(canvas.there, 1, 0)
    hit.imshow(there, extent=canvas.extent, cmap=ListedColormap([NOTHING, MASK]), vmin=0, vmax=1)
    counts = np.ma.masked_invalid(canvas.counts)
    norm = PowerNorm(0.6, 0.0, max(high, 4.0), clip=True)
    hit.imshow(counts, extent=canvas.extent, cmap="gray_r", norm=norm, interpolation="nearest")
    x, y = canvas.places(scene.detector, scene.spots.x, scene.spots.y)
    hit.scatter(x, y, s=22, marker="s", facecolors="none", edgecolors=MINE, linewidths=0.6)
    left, right, bottom, top = canvas.extent
    hit.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    rate = figure.add_axes((0.7, 0.13, 0.28, 0.7))
    ends = np.append(along.first, along.n_images)
    rate.stairs(100 * np.nan_to_num(along.rate), ends, color=THRESHOLD, fill=True, alpha=0.6)
    rate.set_title("hit rate (%) along the run", fontsize=8)
    rate.set_xlabel("image", fontsize=8)
    rate.set_xlim(0, along.n_images)
    rate.set_ylim(bottom=0)
    rate.tick_params(labelsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Title": scene.title, "Software": SOFTWARE})
    return buffer.getvalue()
