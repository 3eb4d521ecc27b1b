"""The lattices of images, as both HDF5 outputs hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Lattices
from hitsieve.write.columns import CELL_ANGLES, CELL_LENGTHS, Column, GrowingColumns, plottable

LATTICE_COLUMNS: tuple[Column, ...] = (
    Column(
        "reciprocal_basis",
        "f8",
        "A, the orientation: columns a*, b*, c*, so that A (h, k, l) = q = s1 - s0, without 2 pi, in the laboratory "
        "frame (z along the beam, y up)",
        "1/angstrom",
        (3, 3),
    ),
    replace(CELL_LENGTHS, shape=(3,)),
    replace(CELL_ANGLES, shape=(3,)),
    Column("n_indexed", "i4", "spots indexed"),
    Column("residual", "f8", "median distance of the spots indexed to their lattice points", "1/angstrom"),
    Column("chance", "f8", "probability that as many random spots would let some lattice fit as well"),
)
OFFSETS = Column("offsets", "i8", "first row of each image, and the end")
_BLOCK = 1024


class LatticeColumns:
    """The group `lattices`: offsets, and one row a lattice.

    Parameters
    ----------
    process : h5py.Group
        /entry/hit_finding.
    images : str
        In words: which images the offsets count.
    """

    def __init__(self, process: h5py.Group, images: str) -> None:
        group = process.create_group("lattices")
        plottable(group, "n_indexed")
        group.attrs["description"] = f"lattices of {images}, best first; those of i are rows offsets[i] to offsets[i+1]"
        self._offsets = GrowingColumns(group, (OFFSETS,))
        self._offsets.add(1, {"offsets": np.zeros(1, np.int64)})
        self._rows = GrowingColumns(group, LATTICE_COLUMNS, block=_BLOCK)

    def add(self, results: ImageResults, which: npt.NDArray[np.bool_] | None = None) -> None:
        """Append the lattices of the images of a batch, or of those chosen."""
        lengths = np.diff(results.lattice_offsets)
        chosen = np.ones(len(results), dtype=np.bool_) if which is None else which
        start, stop = int(results.lattice_offsets[0]), int(results.lattice_offsets[-1])
        rows = results.lattices.take(slice(start, stop)).take(np.repeat(chosen, lengths))
        ends = len(self._rows) + np.cumsum(lengths[chosen])
        self._offsets.add(len(ends), {"offsets": ends})
        self._rows.add(
            len(rows),
            {
                "reciprocal_basis": rows.A,
                CELL_LENGTHS.name: rows.cell[:, :3],
                CELL_ANGLES.name: rows.cell[:, 3:],
                "n_indexed": rows.n_indexed,
                "residual": rows.residual,
                "chance": rows.chance,
            },
        )

    def flush(self) -> None:
        """Write everything that waits."""
        self._offsets.flush()
        self._rows.flush()


def lattices_of(rows: Mapping[str, npt.NDArray[Any]]) -> Lattices:
    """Lattices from rows of the columns of the group."""
    return Lattices(
        A=rows["reciprocal_basis"],
        cell=np.hstack([rows[CELL_LENGTHS.name], rows[CELL_ANGLES.name]]),
        n_indexed=rows["n_indexed"],
        residual=rows["residual"],
        chance=rows["chance"],
    )
