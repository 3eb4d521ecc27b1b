"""Whether images support a symmetry that their common cell nearly has.

Two kinds of error part a symmetric lattice from its symmetry. Errors of single images scatter. Errors of the geometry
strain all lattices alike in the frame of the laboratory: in crystals of all orientations that is scatter too, in
crystals of like orientation it is the same deviation in all of them, and nothing tells it from a lower symmetry.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from hitsieve.index.bravais import BravaisCandidate, cell_of, metric_of

Floats = npt.NDArray[np.float64]

SHARED = (0.008, 0.8)
"""Deviations (share of a length, degrees) that the geometry may cause where all crystals are oriented alike."""
SPREADS = (2.0, 3.0)
"""A symmetry is supported within so many spreads of single images (of lengths, of angles), and the errors below.

They allow for the choice of axes: of two axes that are equal one comes out the shorter in all images, so that the
median of many images, too, is about one spread away from equality (two for angles of cubic cells).
"""
ERRORS = 3.0
"""Standard errors of the median on top."""
STEPS = np.array([v for v in product((-1, 0, 1), repeat=3) if any(v)])
"""Indices of the axes that agreeing cells are compared on."""


class Support:
    """What a group of images that agree on a cell says about symmetry.

    Parameters
    ----------
    cells : array of float, shape (n, 6)
        Primitive cells of the images, all on corresponding axes.
    direct : sequence of arrays, shape (3, 3) each
        Rows: some axes (angstrom) of each of the same lattices, in the frame of the laboratory.
    beam : array of float, shape (3,)
        Unit vector along the beam in that frame; its sign does not matter.
    """

    def __init__(self, cells: Floats, direct: Sequence[Floats], beam: Floats) -> None:
        self._cells: list[list[float]] = cells.tolist()
        self.alike = _alike(cells, direct, beam)
        """0 where the crystals are oriented in all ways, 1 where they are oriented alike."""

    def on_axes(self, candidate: BravaisCandidate) -> Floats:
        """Cells of the images on the axes of a candidate, without its symmetry, shape (n, 6)."""
        metrics = [candidate.change @ metric_of(cell) @ candidate.change.T for cell in self._cells]
        return np.array([cell_of(metric) for metric in metrics])

    def of(self, candidate: BravaisCandidate) -> bool:
        """Whether the deviation of a candidate is no more than images scatter, or share by errors of the geometry."""
        cells = self.on_axes(candidate)
        off = np.median(np.abs(cells - np.median(cells, axis=0)), axis=0)
        off[:3] /= candidate.cell[:3]
        # What the symmetry leaves as it is says nothing of it.
        off[np.abs(np.subtract(candidate.as_found, candidate.cell)) < 1e-9] = 0
        # 1.48 makes a median deviation the standard deviation of normal errors, whose median errs by 1.25 / sqrt(n).
        errors = ERRORS * 1.25 / np.sqrt(len(cells))
        length, angle = (
            max(shared * self.alike, (spreads + errors) * 1.48 * float(spread))
            for shared, spreads, spread in zip(SHARED, SPREADS, (off[:3].max(), off[3:].max()), strict=True)
        )
        return bool(candidate.length_deviation <= length and candidate.angle_deviation <= angle)


def _alike(cells: Floats, direct: Sequence[Floats], beam: Floats) -> float:
    """Size of the mean of u u' - 1/3, with u the beam in the frame of each crystal, against that of one of them."""
    seen = []
    for cell, rows in zip(cells, direct, strict=True):
        metric = metric_of(cell)
        # The same axes in the frame of the crystal are the rows of this triangle.
        along = np.linalg.solve(np.linalg.cholesky(metric), _on_axes(rows, metric) @ beam)
        seen.append(np.outer(along, along) / (along @ along))
    return float(np.linalg.norm(np.mean(seen, axis=0) - np.eye(3) / 3) / np.sqrt(2 / 3))


def _on_axes(rows: Floats, metric: Floats) -> Floats:
    """Axes of a lattice, as sums of the given ones, that have these dot products."""
    vectors = STEPS @ rows
    size = float(np.trace(metric))
    lengths = (vectors**2).sum(axis=1)
    first, second, third = (vectors[np.abs(lengths - square) < 1e-6 * size] for square in np.diag(metric))
    for axes in product(first, second, third):
        found = np.array(axes)
        if np.abs(found @ found.T - metric).max() < 1e-6 * size:
            return found
    return rows
