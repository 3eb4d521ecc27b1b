"""What goes to a peer, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Subset:
    """Images that a peer searches."""

    master: Path
    """NXmx master over the images."""
    few: Path
    """NXmx master over the first `n_few` of them."""
    n: int
    n_few: int
    folder: Path
    """Where a peer may leave its files."""

    def ms(self, seconds: float, seconds_few: float) -> float:
        """Milliseconds an image, without those of the start, from the times of both masters."""
        return 1e3 * (seconds - seconds_few) / (self.n - self.n_few)


@dataclass(frozen=True, slots=True)
class Found:
    """A peer's answer."""

    ms: float
    """Milliseconds an image on one core."""
    n_spots: npt.NDArray[np.int64]
    """Spots of each image."""
    how: str
    """Settings, and what the time holds."""


@dataclass(frozen=True, slots=True)
class Peakfinder8:
    """Settings of peakfinder8; it has no default threshold for photon counts."""

    threshold: float = 5
    snr: float = 5
    min_pixels: int = 2
    max_pixels: int = 200
    background_radius: int = 3
    max_radius: int = 3000
    max_peaks: int = 2048


PEAKFINDER8 = Peakfinder8()
