"""What the job finds out about each image."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

from hitsieve.model.lattice import Lattices

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


class Looked(IntEnum):
    """What a second, more sensitive look says of an image."""

    OUTSIDE = 0
    """Not among the misses without a lattice, from which images were drawn."""
    NOT_DRAWN = 1
    NOTHING = 2
    """Looked at; shows no lattice."""
    LATTICE = 3
    """Looked at; shows a lattice."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What a second look at some misses of a run found."""

    looked: npt.NDArray[np.uint8]
    """Looked of each image of the run, shape (images,)."""
    how: str
    """In words."""


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
    lattice: npt.NDArray[np.int8]
    """Which of the image's lattices indexes the spot, from 0; -1: none."""
    h: npt.NDArray[np.int16]
    """Miller index in that lattice; 0 where there is none. Likewise k and l."""
    k: npt.NDArray[np.int16]
    l: npt.NDArray[np.int16]  # noqa: E741 - its name

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Spots:
        """The chosen spots."""
        return Spots(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class ImageResults:
    """Results of n images as columns; the spots of image i are offsets[i] to offsets[i + 1].

    Its lattices, best first, are lattice_offsets[i] to lattice_offsets[i + 1].
    """

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
    n_lattices: IntColumn
    """Lattices found; 0 also with too few spots to try; -1 where not searched or the run is not indexed."""
    n_indexed: IntColumn
    """Spots indexed, of all lattices; -1 as n_lattices."""
    pump: npt.NDArray[np.int16]
    """Pump state, as index in Run.pump.names; -1 where it is unknown."""
    reasons: dict[int, str]
    """Why an image is unreadable or missing, by index in the run."""
    offsets: npt.NDArray[np.int64]
    """Shape (n + 1,)."""
    spots: Spots
    lattice_offsets: npt.NDArray[np.int64]
    """Shape (n + 1,)."""
    lattices: Lattices

    def __len__(self) -> int:
        return len(self.image)

    def lattices_of(self, i: int) -> Lattices:
        """Lattices of the i-th image of this batch."""
        return self.lattices.take(slice(int(self.lattice_offsets[i]), int(self.lattice_offsets[i + 1])))

    def spots_of(self, i: int) -> Spots:
        """Spots of the i-th image of this batch."""
        return self.spots.take(slice(int(self.offsets[i]), int(self.offsets[i + 1])))
