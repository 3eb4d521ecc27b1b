"""Background, thresholds and peaks of the image, over resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.picture.marks import ICE, MEAN, THRESHOLD, marks_of, round_d
from hitsieve.picture.scene import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_TICKS = 8


def draw_curve(axes: Axes, scene: Scene) -> None:
    """Draw mean and threshold of each bin, and the peak of each spot where it lies."""
    curve = scene.curve
    at, label = _positions(scene)
    axes.plot(at, curve.mean, color=MEAN, linewidth=1.2, label="background (mean)")
    if not curve.local:
        axes.plot(at, curve.threshold, color=THRESHOLD, linewidth=1.4, drawstyle="steps-mid", label="threshold")
    bins = curve.bins[_rows(scene), _columns(scene)].astype(np.int64)
    for mark in marks_of(scene):
        peaks = scene.spots.peak[mark.which]
        axes.scatter(at[bins[mark.which]], peaks, s=26, marker=mark.shape, facecolors="none", edgecolors=mark.colour)
    known = np.concatenate([curve.mean, curve.threshold, scene.spots.peak])
    known = known[np.isfinite(known)]
    lowest = float(known[known > 0].min(initial=1.0))
    axes.set_yscale("symlog", linthresh=max(min(lowest, 1.0), 1e-2))
    axes.set_ylim(min(float(known.min(initial=0.0)), 0.0), 2 * max(float(known.max(initial=1.0)), 1.0))
    axes.set_xlim(float(at[0]), float(at[-1]) if len(at) > 1 else float(at[0]) + 1)
    if scene.has_geometry and curve.angle is not None:
        _mark_resolution(axes, scene, float(at[-1]))
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("counts a pixel", fontsize=9)
    axes.tick_params(labelsize=8)
    title = "Background and peaks (thresholds are local: dispersion)" if curve.local else "Background, threshold, peaks"
    axes.set_title(title, fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=2, frameon=False, borderaxespad=0.2)


def _positions(scene: Scene) -> tuple[npt.NDArray[np.float64], str]:
    curve, wavelength = scene.curve, scene.beam.wavelength
    if curve.angle is None:
        return np.arange(len(curve.mean), dtype=np.float64), "tile of the image, in reading order (no geometry)"
    if wavelength is None:
        return np.degrees(curve.angle), "scattering angle 2 theta (degrees; the wavelength is unknown)"
    return 2.0 * np.sin(curve.angle / 2.0) / wavelength, "resolution d (Å), evenly in 1/d"


def _mark_resolution(axes: Axes, scene: Scene, q_max: float) -> None:
    if scene.ice is not None:
        width = scene.ice.half_width
        for middle in scene.ice.q[scene.ice.q - width < q_max]:
            axes.axvspan(middle - width, middle + width, color=ICE, alpha=0.2, linewidth=0)
    ds = round_d(q_max, N_TICKS)
    axes.set_xticks([1.0 / d for d in ds], [f"{d:.3g}" for d in ds])


def _rows(scene: Scene) -> npt.NDArray[np.int64]:
    return np.clip(scene.spots.y.astype(np.int64), 0, scene.image.shape[0] - 1)


def _columns(scene: Scene) -> npt.NDArray[np.int64]:
    return np.clip(scene.spots.x.astype(np.int64), 0, scene.image.shape[1] - 1)
