"""All that a picture of one image shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector, Spots

FloatArray = npt.NDArray[np.float64]


class SpotKind(IntEnum):
    """How a spot is marked."""

    NOT_COUNTED = 0
    """In an ice band or out of the resolution range."""
    COUNTED = 1
    INDEXED = 2


@dataclass(frozen=True, slots=True)
class IceBands:
    """Where powder rings of ice would be."""

    q: FloatArray
    """Their middles, 1/d (1/angstrom), ascending."""
    half_width: float
    """1/angstrom."""
    left_out: bool
    """Spots in them do not count."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Background and threshold of the image, bin by bin; NaN where a bin has none."""

    angle: FloatArray | None
    """Scattering angle 2 theta (rad) of each bin; None where bins are tiles of the image, in reading order."""
    mean: FloatArray
    """Counts a pixel."""
    threshold: FloatArray
    """A pixel above it is strong."""
    bins: npt.NDArray[np.uint16]
    """Bin of each pixel, shape (slow, fast)."""
    local: bool
    """Thresholds were local, of each pixel's surroundings, and not of bins."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The counted spots of all searched images of the run."""

    counted: npt.NDArray[np.int32]
    mine: int
    """Counted spots of the image drawn."""
    enough: int | None
    """Fewest that are enough for a hit; None where the rule does not ask for spots."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, what was found on it, and where it stands in its run."""

    title: str
    lines: tuple[str, ...]
    """What the picture says below its title."""
    image: npt.NDArray[np.generic]
    """Counts, shape (slow, fast)."""
    used: npt.NDArray[np.bool_]
    """Pixels that the search uses, of the same shape."""
    detector: Detector
    beam: Beam
    """With the wavelength of this very image."""
    spots: Spots
    kinds: npt.NDArray[np.uint8]
    """SpotKind of each spot."""
    curve: Curve
    counts: RunCounts
    ice: IceBands | None = None
    """None where no resolution is known."""

    @property
    def has_geometry(self) -> bool:
        """Whether resolutions are known."""
        return bool(self.detector.panels) and self.beam.wavelength is not None
