"""The unit cell that images of a run agree on, in its conventional setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.index.bravais import BravaisCandidate, bravais_candidates
from hitsieve.index.support import Support
from hitsieve.index.unknown import ConsensusCell, consensus_cell, index_unknown
from hitsieve.model import CellParameters, Lattice, UnitCell
from hitsieve.settings import IndexSettings

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""`map`, or that of a pool of threads: indexing leaves the interpreter free."""

FEWEST_AGREEING = 5
"""Images that agree on a cell that is believed."""
SHARE = 0.25
"""Least share of the images with a lattice that agree on it."""
OTHERS = 0.1
"""Least share of them that makes another group worth telling."""
MOST_GROUPS = 5
TOLERANCE = (0.02, 1.5)
"""Within which the consensus is compared with symmetric cells: a share of lengths, and degrees."""


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A cell that images agree on."""

    cell: UnitCell
    """The conventional cell of the highest symmetry that the images support."""
    bravais: BravaisCandidate
    """The same, with its deviation from the symmetry."""
    candidates: tuple[BravaisCandidate, ...]
    """All conventional cells near the primitive one, highest symmetry first, supported or not."""
    primitive: CellParameters
    """Median of the images, by shortest vectors."""
    images: npt.NDArray[np.int64]
    """Positions of the images that agree, ascending."""
    parameters: npt.NDArray[np.float64]
    """Their cells on the axes of `cell`, without its symmetry, shape (images, 6)."""
    n_indexed: int
    """Images with a lattice."""
    n_tried: int

    @property
    def believed(self) -> bool:
        """Whether enough images agree: 5, and a quarter of those with a lattice."""
        return len(self.images) >= max(FEWEST_AGREEING, SHARE * self.n_indexed)


def find_cell(
    qs: Sequence[npt.ArrayLike], settings: IndexSettings | None = None, *, map: Map = map
) -> FoundCell | None:
    """The cell that images of unknown cell agree on; None where too few do.

    Parameters
    ----------
    qs : sequence of arrays, shape (n, 3) each
        Reciprocal vectors (1/angstrom) of the spots of each image.
    settings : IndexSettings, optional
        When a lattice is accepted, and which cell lengths are looked for.
    map : callable
        `map`, or that of a thread pool.
    """
    groups = find_cells(qs, settings, map=map)
    return groups[0] if groups and groups[0].believed else None


def find_cells(
    qs: Sequence[npt.ArrayLike], settings: IndexSettings | None = None, *, map: Map = map
) -> tuple[FoundCell, ...]:
    """Groups of images that agree on a cell, the largest first.

    All of at least two images, and of a tenth of those with a lattice. Parameters are those of `find_cell`.
    """
    found: list[Lattice | None] = list(map(partial(index_unknown, settings=settings), list(qs)))
    left = [(i, lattice) for i, lattice in enumerate(found) if lattice is not None]
    beam = _beam(qs)
    n_indexed = len(left)
    groups: list[FoundCell] = []
    while len(left) >= 2 and len(groups) < MOST_GROUPS:
        shared = consensus_cell([lattice.cell for _, lattice in left])
        if shared is None or len(shared.members) < max(2.0, OTHERS * n_indexed):
            break
        images = np.array([left[member][0] for member in shared.members], dtype=np.int64)
        support = Support(shared.cells, [left[member][1].direct for member in shared.members], beam)
        groups.append(_conventional(shared, support, images, (n_indexed, len(found))))
        members = set(shared.members.tolist())
        left = [entry for i, entry in enumerate(left) if i not in members]
    return tuple(groups)


def _beam(qs: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """Direction of the beam, up to its sign: spots of stills are near the Ewald sphere, so q is shortest along it."""
    square = np.zeros((3, 3))
    for q in qs:
        vectors = np.asarray(q, dtype=np.float64).reshape(-1, 3)
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        square += vectors.T @ vectors
    axis: npt.NDArray[np.float64] = np.linalg.eigh(square)[1][:, 0]
    return axis


def _conventional(
    shared: ConsensusCell, support: Support, images: npt.NDArray[np.int64], counts: tuple[int, int]
) -> FoundCell:
    """The shared cell in the setting of the highest symmetry that its members support."""
    length, angle = TOLERANCE
    candidates = bravais_candidates(shared.cell, length_tolerance=length, angle_tolerance=angle)
    chosen = next(found for found in candidates if support.of(found))
    n_indexed, n_tried = counts
    agree = f"{len(images)} of {n_tried} images tried agree"
    return FoundCell(
        cell=UnitCell(_rounded(chosen.cell), chosen.centring, f"found in the run: {agree} ({chosen.type})"),
        bravais=chosen,
        candidates=candidates,
        primitive=shared.cell,
        images=images,
        parameters=support.on_axes(chosen),
        n_indexed=n_indexed,
        n_tried=n_tried,
    )


def _rounded(cell: CellParameters) -> CellParameters:
    """To a thousandth, far below what images tell."""
    a, b, c, alpha, beta, gamma = (round(value, 3) for value in cell)
    return a, b, c, alpha, beta, gamma
