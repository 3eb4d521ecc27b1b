"""What an export is made of: an experiment that all images share, and the images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Detector, ImageResults, UnitCell
from hitsieve.model.detector import Vector

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
HC = 12398.419843320026
"""Planck's constant times the speed of light (eV angstrom)."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What all images of an export share."""

    file: Path
    """HDF5 file of the images, absolute."""
    dataset: str
    """Their dataset in it."""
    detector: Detector
    """With its panels in the order in which the file has them."""
    dtype: np.dtype[np.generic]
    """Of a pixel."""
    direction: Vector = (0.0, 0.0, 1.0)
    """Of the beam, laboratory frame."""
    cell: UnitCell | None = None
    """Cell that the lattices were looked for with."""
    mask: str | None = None
    """Dataset of the file with the pixel mask; None: it has none."""
    peaks: str | None = None
    """Group of the file with peak lists; None: it has none."""

    def need_geometry(self) -> None:
        """Raise MetadataError where the geometry is unknown."""
        if not self.detector.panels:
            raise MetadataError(
                f"{self.file}: the detector's geometry is unknown, without which no lattice can be described",
                mend="run hitsieve with --geometry, or --set distance=... and so on",
            )


@dataclass(frozen=True, slots=True)
class Images:
    """A batch of the images of an export."""

    results: ImageResults
    row: Index
    """Row of each image in the experiment's dataset."""
    wavelength: Floats
    """Of each image (angstrom)."""

    def __len__(self) -> int:
        return len(self.results)

    def spot_image(self) -> Index:
        """The image (place in the batch) of each spot."""
        return np.repeat(np.arange(len(self)), np.diff(self.results.offsets))

    def lattice_image(self) -> Index:
        """The image (place in the batch) of each lattice."""
        return np.repeat(np.arange(len(self)), np.diff(self.results.lattice_offsets))

    def spot_lattice(self) -> Index:
        """The lattice (place in the batch) that indexes each spot; -1: none."""
        own = self.results.spots.lattice.astype(np.int64)
        return np.where(own >= 0, self.results.lattice_offsets[self.spot_image()] + own, -1)

    def waves(self, experiment: Experiment) -> tuple[Floats, Floats]:
        """Wave vectors s1 and s0 (1/angstrom) of the spots, laboratory frame, shape (n, 3); NaN off the panels."""
        spots = self.results.spots
        places = experiment.detector.lab(spots.x, spots.y).reshape(-1, 3)
        wavelength = self.wavelength[self.spot_image()][:, None]
        s1: Floats = places / np.linalg.norm(places, axis=1, keepdims=True) / wavelength
        s0: Floats = np.asarray(experiment.direction) / wavelength
        return s1, s0

    def need_wavelength(self, file: Path) -> None:
        """Raise MetadataError where the wavelength of an image is unknown."""
        bad = np.flatnonzero(~(np.isfinite(self.wavelength) & (self.wavelength > 0)))
        if len(bad):
            image = int(self.results.image[bad[0]])
            raise MetadataError(
                f"{file}: no lattice can be described: the wavelength of image {image} of the run is unknown",
                mend="run hitsieve with --set wavelength=...",
            )


def steps(offsets: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last place of each stretch between offsets."""
    return pairwise(offsets.tolist())
