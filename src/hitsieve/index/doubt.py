"""Whether a cell that is given is that of the crystals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from hitsieve.index.consensus import FoundCell, find_cell
from hitsieve.index.unknown import consensus_cell
from hitsieve.model import CellParameters, UnitCell
from hitsieve.settings import IndexSettings


def another_cell(
    qs: Sequence[npt.ArrayLike], cell: UnitCell, settings: IndexSettings | None = None
) -> FoundCell | None:
    """The cell that images agree on by themselves, where it is of another lattice than the one given.

    A wrong cell can index as well as the right one: spots of planes or rows that both share suffice for a lattice, and
    a cell of several true ones fits all spots. That is not chance, so no test against chance shows it.

    Parameters
    ----------
    qs : sequence of arrays, shape (n, 3) each
        Reciprocal vectors (1/angstrom) of the spots of each image.
    cell : UnitCell
        As given.
    settings : IndexSettings, optional
        Which cell lengths are looked for.

    Returns
    -------
    FoundCell or None
        None also where too few images agree.
    """
    found = find_cell(qs, settings)
    return None if found is None or same_lattice(cell, found.primitive) else found


def same_lattice(cell: UnitCell, primitive: CellParameters) -> bool:
    """Whether the lattice of a conventional cell and that of a primitive one agree within 3 % and 2 degrees."""
    import gemmi

    vector = gemmi.GruberVector(gemmi.UnitCell(*cell.parameters), cell.centring)
    vector.niggli_reduce()
    a, b, c, alpha, beta, gamma = vector.cell_parameters()
    shared = consensus_cell([(a, b, c, alpha, beta, gamma), primitive])
    return shared is not None and len(shared.members) == 2
