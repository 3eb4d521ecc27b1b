"""Lattices: the orientation and cell of a crystal in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

CellParameters = tuple[float, float, float, float, float, float]
"""a, b, c (angstrom), alpha, beta, gamma (degrees)."""


@dataclass(frozen=True, slots=True)
class UnitCell:
    """The conventional cell of a crystal, and where it is known from."""

    parameters: CellParameters
    centring: str = "P"
    """P, A, B, C, I, F or R (obverse, on hexagonal axes)."""
    origin: str = ""
    """In words: who says so."""

    def __str__(self) -> str:
        return " ".join(f"{value:.2f}" for value in self.parameters) + f" {self.centring}"


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


@dataclass(frozen=True, slots=True)
class Lattices:
    """Lattices of many images as columns of equal length m; which spots are theirs is told by `Spots`."""

    A: npt.NDArray[np.float64]
    """Shape (m, 3, 3); columns a*, b*, c* (1/angstrom), as in `Lattice`."""
    cell: npt.NDArray[np.float64]
    """Shape (m, 6): a, b, c (angstrom), alpha, beta, gamma (degrees)."""
    n_indexed: npt.NDArray[np.int32]
    """Spots indexed."""
    residual: npt.NDArray[np.float64]
    """Median distance of the spots indexed to their lattice points (1/angstrom)."""
    chance: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n_indexed)

    def take(self, which: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Lattices:
        """The chosen lattices."""
        return Lattices(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @classmethod
    def of(cls, found: Sequence[Lattice]) -> Lattices:
        """Lattices as columns."""
        m = len(found)
        return cls(
            A=np.array([lattice.A for lattice in found], dtype=np.float64).reshape(m, 3, 3),
            cell=np.array([lattice.cell for lattice in found], dtype=np.float64).reshape(m, 6),
            n_indexed=np.array([len(lattice.spots) for lattice in found], dtype=np.int32),
            residual=np.array([lattice.residual for lattice in found], dtype=np.float64),
            chance=np.array([lattice.chance for lattice in found], dtype=np.float64),
        )
