"""From places on the detector to reciprocal vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Beam, Detector

Vectors = npt.NDArray[np.float64]
"""Reciprocal vectors (1/angstrom), shape (n, 3)."""


def reciprocal_vectors(
    detector: Detector, beam: Beam, x: npt.ArrayLike, y: npt.ArrayLike, *, image: int | None = None
) -> npt.NDArray[np.float64]:
    """Reciprocal vectors q = s1 - s0 (1/angstrom), shape (n, 3), laboratory frame, of spots at (x, y) in pixels.

    |s0| = |s1| = 1 / wavelength; the wavelength is that of `image` where the beam has one an image. Spots outside every
    panel get NaN, and so do all of an image that lacks the wavelength that others have.

    Raises
    ------
    MetadataError
        The geometry or the wavelength is unknown.
    """
    wavelength, lacking = beam.wavelength, False
    if image is not None and beam.wavelengths is not None:
        wavelength = float(beam.wavelengths[image])
        lacking = bool(np.isnan(wavelength))
    if not detector.panels:
        raise MetadataError("the detector's geometry is unknown, and with it q", mend="give a geometry or a distance")
    if wavelength is None or not (lacking or 0 < wavelength < np.inf):
        raise MetadataError("the wavelength is unknown, and with it q", mend="set the wavelength")
    positions = detector.lab(x, y)
    directions = positions / np.linalg.norm(positions, axis=-1, keepdims=True)
    q: npt.NDArray[np.float64] = (directions - np.asarray(beam.direction)) / wavelength
    return q
