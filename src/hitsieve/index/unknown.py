"""Lattices of unknown cell, and the cell that the images of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve import _core
from hitsieve.errors import SettingsError
from hitsieve.index.known import contiguous, lattice_of
from hitsieve.model import CellParameters, Lattice
from hitsieve.settings import IndexSettings


@dataclass(frozen=True, slots=True)
class ConsensusCell:
    """The primitive cell that most images agree on."""

    cell: CellParameters
    """Medians of the members, in the setting of the shortest vectors."""
    members: npt.NDArray[np.int64]
    """Positions of the cells that agree, ascending."""
    cells: npt.NDArray[np.float64]
    """Cells of the members in the setting of `cell`, shape (members, 6)."""
    n_cells: int
    """Cells compared."""


def index_unknown(q: npt.ArrayLike, settings: IndexSettings | None = None) -> Lattice | None:
    """The lattice that explains most spots of one image, in its reduced primitive cell; None where chance does as well.

    Parameters
    ----------
    q : array of float, shape (n, 3)
        Reciprocal vectors (1/angstrom, no 2 pi) in any fixed frame; those that are not finite are passed over.
    settings : IndexSettings, optional
        When a lattice is accepted, and which cell lengths are looked for.
    """
    chosen = settings or IndexSettings()
    found = _core.index_unknown(
        contiguous(q),
        min_spots=chosen.min_indexed,
        min_fraction=chosen.min_fraction,
        max_chance=chosen.max_chance,
        min_length=chosen.min_length,
        max_length=chosen.max_length,
    )
    return None if found is None else lattice_of(found)


def consensus_cell(
    cells: Sequence[CellParameters], *, length_tolerance: float = 0.03, angle_tolerance: float = 2.0
) -> ConsensusCell | None:
    """The cell that most primitive cells agree with; None without cells.

    Cells agree where some choice of axes brings them within a share (lengths) and degrees (angles) of each other, so
    that near-equal axes and angles near 90 degrees do not part what belongs together.

    Raises
    ------
    SettingsError
        A cell is impossible.
    """
    for cell in cells:
        if len(cell) != 6:
            raise SettingsError(f"a cell has six numbers, not {len(cell)}: {cell}", mend="give primitive cells")
    if not cells:
        return None
    found = _core.consensus_cell(list(cells), length_tolerance, angle_tolerance)
    if found is None:
        raise SettingsError("a cell to compare is impossible", mend="check lengths and angles")
    cell, members, alike = found
    return ConsensusCell(cell, np.array(members, dtype=np.int64), np.array(alike), len(cells))
