"""What the job finds out about each image."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

FloatColumn = npt.NDArray[np.float32]
IntColumn = npt.NDArray[np.int32]


class State(IntEnum):
    """The one state in which every image of a run ends."""

    MISS = 0
    HIT = 1
    UNREADABLE = 2
    """The bytes are there but cannot be decoded; the reason is recorded."""
    MISSING = 3
    """Announced by the run but not there."""


class SpotFlag(IntFlag):
    """What is special about a spot; 0 is an ordinary spot."""

    ICE = 1
    """Its resolution lies in an ice band."""
    SATURATED = 2
    """Holds a saturated pixel."""
    MASKED_NEIGHBOUR = 4
    """Touches a masked pixel or the edge of a panel: its intensity may be cut."""
    OUT_OF_RANGE = 8
    """Its resolution lies outside the range that counts for the verdict."""


SPOT_FLAGS = {flag.name.lower(): flag.value for flag in SpotFlag if flag.name}


@dataclass(frozen=True, slots=True)
class Spots:
    """Spots as columns of equal length n."""

    x: FloatColumn
    """Centroid along the fast axis (pixels; pixel 0 has its centre at 0.5)."""
    y: FloatColumn
    """Centroid along the slow axis (pixels)."""
    intensity: FloatColumn
    """Counts above background, summed over the spot's pixels."""
    background: FloatColumn
    """Local background (counts a pixel)."""
    snr: FloatColumn
    """Intensity over the background's standard deviation on the spot's pixels."""
    n_pixels: IntColumn
    peak: FloatColumn
    """Counts of the brightest pixel."""
    resolution: FloatColumn
    """d (angstrom); NaN where the geometry is unknown."""
    flags: npt.NDArray[np.uint8]
    """Bits of SpotFlag."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Spots:
        """The chosen spots."""
        return Spots(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class ImageResults:
    """Results of n consecutive images as columns; the spots of image i are offsets[i] to offsets[i + 1]."""

    image: npt.NDArray[np.int64]
    """Index in the run."""
    state: npt.NDArray[np.uint8]
    """Values of State."""
    n_spots: IntColumn
    """All spots of the image; -1 where it could not be searched."""
    n_spots_counted: IntColumn
    """Spots that count for the verdict: in the resolution range and outside ice bands; -1 where not searched."""
    n_spots_ice: IntColumn
    n_strong: IntColumn
    """Strong pixels; -1 where not searched."""
    n_saturated: IntColumn
    max_count: npt.NDArray[np.int64]
    """Largest count of a good pixel; -1 where not searched or where no pixel is good."""
    background: FloatColumn
    """Mean counts a pixel in the background ring; NaN where not searched."""
    resolution: FloatColumn
    """Resolution estimate d (angstrom); NaN without enough spots or geometry."""
    reasons: dict[int, str]
    """Why an image is unreadable or missing, by index in the run."""
    offsets: npt.NDArray[np.int64]
    """Shape (n + 1,)."""
    spots: Spots

    def __len__(self) -> int:
        return len(self.image)

    def spots_of(self, i: int) -> Spots:
        """Spots of the i-th image of this batch."""
        return self.spots.take(slice(int(self.offsets[i]), int(self.offsets[i + 1])))
