"""Where the image stands among those of its run, by its counted spots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hitsieve.picture.marks import MINE, THRESHOLD
from hitsieve.picture.scene import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
FINE = 12
"""Counts below this have a bar each; above, bars widen in proportion."""


def draw_spread(axes: Axes, scene: Scene) -> None:
    """Draw how many images of the run have how many counted spots, the threshold, and this image."""
    counts = scene.counts
    most = max(int(counts.counted.max(initial=0)), counts.mine, counts.enough or 0) + 1
    edges = np.arange(min(FINE, most) + 1)
    if most > FINE:
        edges = np.unique(np.concatenate([edges, np.ceil(np.geomspace(FINE, most + 1, 24)).astype(np.int64)]))
    heights, _ = np.histogram(counts.counted, bins=edges)
    # 0 has a place too: the axis is the logarithm of count + 1.
    places = np.log(edges + 1.0)
    axes.bar(
        places[:-1], heights, width=np.diff(places), align="edge", color="#B8B8B8", edgecolor="white", linewidth=0.5
    )
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(0, 3 * max(int(heights.max(initial=1)), 1))
    axes.set_xlim(float(places[0]), float(places[-1]))
    if counts.enough is not None:
        at = float(np.log(counts.enough + 1.0))
        axes.axvline(at, color=THRESHOLD, linewidth=1.8, linestyle="--", label=f"enough: {counts.enough}")
    mine = int(np.searchsorted(edges, counts.mine, side="right")) - 1
    middle = float(places[mine] + places[mine + 1]) / 2
    axes.axvline(middle, color=MINE, linewidth=2.4, label=f"this image: {counts.mine}")
    ticks = [tick for tick in TICKS if tick < most]
    # A count below FINE has its bar to the right of its place.
    axes.set_xticks(
        [float(np.log(tick + 1.5)) if tick < FINE else float(np.log(tick + 1.0)) for tick in ticks],
        [str(tick) for tick in ticks],
    )
    axes.tick_params(labelsize=8)
    axes.set_xlabel("spots that count", fontsize=9)
    axes.set_ylabel("images", fontsize=9)
    axes.set_title(f"This image among the {len(counts.counted):,} searched of the run", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=2, frameon=False, borderaxespad=0.2)
