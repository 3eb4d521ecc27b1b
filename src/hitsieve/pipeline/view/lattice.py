"""Where the lattices of an image should show reflections; the numbers of a file may be any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.index import Predicted, predict, reach_of, resolution_within, why_not_predicted
from hitsieve.index.predict import MOST
from hitsieve.model import Beam, Detector, ImageResults, Spots

MOST_PREDICTED = 20_000
"""Reflections of an image that are given at most, of each lattice those nearest to the Ewald sphere."""
MOST_LATTICES = 16
"""Lattices of an image whose reflections are looked for, the first."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Reflections of one lattice."""

    reflections: Predicted
    reach: float | None = None
    """Distance (1/angstrom) from the Ewald sphere up to which they are predicted; None where they are not."""
    why_not: str = ""
    """Why there are none; empty where they were looked for."""


def predictions(results: ImageResults, detector: Detector, beam: Beam, centring: str) -> tuple[Prediction, ...]:
    """Reflections of each lattice of an image, up to the resolution of the spots that it indexes.

    However many lattices there are, and whatever their numbers, no more points are looked at than for one large cell.

    Parameters
    ----------
    results : ImageResults
        Of one image.
    detector : Detector
    beam : Beam
        Of the image.
    centring : str
        Of the cell of its lattices.

    Returns
    -------
    tuple of Prediction
        One a lattice; none where geometry or wavelength is unknown.
    """
    lattices, spots = results.lattices, results.spots
    if not detector.panels or beam.wavelength is None:
        return ()
    n = max(min(len(lattices), MOST_LATTICES), 1)
    found = []
    for number in range(len(lattices)):
        if number >= MOST_LATTICES:
            # Said once, of the first that is left out.
            why_not = f"those of {MOST_LATTICES} lattices of an image are, at most" if number == MOST_LATTICES else ""
            found.append(Prediction(Predicted.none(), why_not=why_not))
            continue
        own = spots.take(spots.lattice == number)
        found.append(_prediction(lattices.A[number], own, detector, beam, (centring, n)))
    return tuple(found)


def _prediction(
    A: npt.NDArray[np.float64], own: Spots, detector: Detector, beam: Beam, of: tuple[str, int]
) -> Prediction:
    """Reflections of a lattice with its spots; `of` is its centring, and the lattices that share in what is allowed."""
    centring, n = of
    d = own.resolution[np.isfinite(own.resolution) & (own.resolution > 0)]
    if not len(d):
        return Prediction(Predicted.none(), why_not="none of its spots is among those that were kept")
    with np.errstate(all="ignore"):
        reach = reach_of(A, np.stack([own.h, own.k, own.l], axis=1), beam)
    d_min = float(d.min())
    why_not = why_not_predicted(A, beam, reach=reach, d_min=d_min)
    if why_not:
        return Prediction(Predicted.none(), why_not=why_not)
    d_min = resolution_within(A, beam, d_min, MOST // n)
    made = predict(A, detector, beam, reach=reach, d_min=d_min, centring=centring)
    if len(made) > MOST_PREDICTED // n:
        made = made.take(np.argsort(np.abs(made.excitation))[: MOST_PREDICTED // n])
    return Prediction(made, reach)
