"""Background and threshold of each bin of an image, as the search takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.settings import SpotSettings
from hitsieve.spots.finder import Finder

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """Columns over the bins: rings around the beam, or tiles in reading order where the geometry is unknown."""

    angle: FloatArray | None
    """Scattering angle 2 theta (rad) in the middle of each ring; None of tiles."""
    n: npt.NDArray[np.int64]
    """Pixels, after clipping, of the sample that the background is taken from."""
    mean: FloatArray
    """Counts a pixel; NaN without pixels, and likewise below."""
    sigma: FloatArray
    """Standard deviation of these counts."""
    threshold: FloatArray
    """A pixel above it is strong. With the local test (dispersion) thresholds play no part, and all are NaN."""
    number: npt.NDArray[np.uint16]
    """Bin of each pixel, shape (slow, fast)."""


def background_profile(finder: Finder, settings: SpotSettings, image: npt.NDArray[np.generic]) -> Profile:
    """Background and thresholds of one image.

    Parameters
    ----------
    finder : Finder
        Built for the run of the image with those settings: the numbers are its own.
    settings : SpotSettings
    image : array, shape (slow, fast)
        Unpacked counts, in the run's type.
    """
    n, mean, sigma, threshold = finder.core.profile(image)
    empty = n == 0
    absent = empty | (settings.algorithm == "dispersion")
    return Profile(
        angle=finder.bins.angle,
        n=n.astype(np.int64),
        mean=np.where(empty, np.nan, mean),
        sigma=np.where(empty, np.nan, sigma),
        threshold=np.where(absent, np.nan, threshold.astype(np.float64)),
        number=finder.bins.number,
    )
