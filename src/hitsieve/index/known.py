"""Lattices of a known cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hitsieve import _core
from hitsieve.errors import SettingsError
from hitsieve.model import CellParameters, Lattice
from hitsieve.settings import IndexSettings


class CellIndexer:
    """Finds lattices of one cell; immutable, safe to share between threads.

    Parameters
    ----------
    cell : sequence of float
        a, b, c (angstrom), alpha, beta, gamma (degrees) of the conventional cell.
    centring : str
        P, A, B, C, I, F or R (obverse, on hexagonal axes).
    settings : IndexSettings, optional
        When a lattice is accepted.

    Raises
    ------
    SettingsError
        The cell is impossible or the centring unknown.
    """

    def __init__(self, cell: Sequence[float], centring: str = "P", settings: IndexSettings | None = None) -> None:
        chosen = settings or IndexSettings()
        named = ", ".join(f"{value:g}" for value in cell)
        if len(cell) != 6:
            raise SettingsError(f"a cell has six numbers, not {len(cell)}: {named}", mend="give a,b,c,alpha,beta,gamma")
        if centring not in tuple("PABCIFR"):
            raise SettingsError(f"centring {centring!r} is not known", mend="one of P, A, B, C, I, F, R")
        a, b, c, alpha, beta, gamma = (float(value) for value in cell)
        self.cell: CellParameters = (a, b, c, alpha, beta, gamma)
        try:
            self._indexer = _core.CellIndexer(
                self.cell,
                centring,
                min_spots=chosen.min_indexed,
                min_fraction=chosen.min_fraction,
                max_chance=chosen.max_chance,
                max_lattices=chosen.max_lattices,
                length_tolerance=chosen.length_tolerance,
                angle_tolerance=chosen.angle_tolerance,
            )
        except ValueError as error:
            raise SettingsError(f"no crystal has the cell {named}", mend="check its lengths and angles") from error

    def index(self, q: npt.ArrayLike) -> tuple[Lattice, ...]:
        """Lattices in the spots of one image, the best first; the interpreter is free meanwhile.

        Parameters
        ----------
        q : array of float, shape (n, 3)
            Reciprocal vectors (1/angstrom, no 2 pi) in any fixed frame; those that are not finite are passed over.
        """
        return _lattices(self._indexer.index(contiguous(q)))

    def begin(self, q: Iterable[npt.ArrayLike]) -> _core.CellSearches:
        """Begin the searches of many images, as `index` does each, whose trials are made by whoever goes on with them.

        Parameters
        ----------
        q : iterable of float arrays, shape (n, 3)
            Reciprocal vectors of each image.
        """
        return self._indexer.begin([contiguous(each) for each in q])

    @staticmethod
    def ended(searches: _core.CellSearches) -> list[tuple[Lattice, ...]]:
        """Lattices of each image of searches that ended."""
        return [_lattices(found) for found in searches.found()]


def _lattices(found: Iterable[_core.FoundLattice]) -> tuple[Lattice, ...]:
    return tuple(lattice_of(each) for each in found)


def contiguous(q: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Reciprocal vectors as the core takes them, shape (n, 3)."""
    return np.ascontiguousarray(q, dtype=np.float64).reshape(-1, 3)


def lattice_of(found: _core.FoundLattice) -> Lattice:
    """A lattice as the core gives it."""
    return Lattice(found.reciprocal, found.cell, found.spots, found.hkl, found.residual, found.chance)


def index_known(
    q: npt.ArrayLike, cell: Sequence[float], settings: IndexSettings | None = None, *, centring: str = "P"
) -> tuple[Lattice, ...]:
    """Lattices of a known cell in the spots of one image; for many images make a CellIndexer once."""
    return CellIndexer(cell, centring, settings).index(q)
