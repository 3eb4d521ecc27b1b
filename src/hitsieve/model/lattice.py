"""Lattices: the orientation and cell of a crystal in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CellParameters = tuple[float, float, float, float, float, float]
"""a, b, c (angstrom), alpha, beta, gamma (degrees)."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """One crystal's lattice.

    A reflection (h, k, l) has q = A (h, k, l), in the frame and units of the spots' q: with those of
    `reciprocal_vectors`, q = s1 - s0 (1/angstrom, no 2 pi) in the laboratory frame of the model. A describes the
    conventional cell and is right-handed.
    """

    A: npt.NDArray[np.float64]
    """Shape (3, 3); its columns are a*, b*, c* (1/angstrom)."""
    cell: CellParameters
    """Found conventional cell; restrained to the known one where there is one."""
    spots: npt.NDArray[np.int64]
    """Positions in the spot list of the spots indexed, ascending."""
    hkl: npt.NDArray[np.int32]
    """Miller indices of those spots, shape (n, 3)."""
    residual: float
    """Median distance of the spots indexed to their lattice points (1/angstrom)."""
    chance: float
    """Probability that as many random spots would let some lattice of this cell fit as well."""

    @property
    def direct(self) -> npt.NDArray[np.float64]:
        """Direct vectors a, b, c (angstrom) as rows, shape (3, 3): hkl = direct q."""
        return np.asarray(np.linalg.inv(self.A), dtype=np.float64)
