"""A grid scan seen from above: each image where the sample was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError
from hitsieve.model import State

if TYPE_CHECKING:
    from hitsieve.pipeline.view.overview import Overview

MOST = 80
"""Squares drawn along each side, at most: of more, neighbours share one."""
_MOST_SIDE = 100_000
_FULL = 0.5
"""Share of the places of a grid that have an image, at least, where the grid is found from positions."""
_SAME = 0.2
"""Positions closer than this share of the largest step are one; steps differ by no more than it."""

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Grid:
    """How the images of a run lie in columns and rows."""

    columns: int
    rows: int
    column: Places
    """Of each image, shape (images,)."""
    row: Places
    """Of each image; one that lies beyond the last row has no place."""
    origin: str
    """In words: who says so."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a grid that is looked at: columns and rows from first to last."""

    first_column: int = 0
    last_column: int = _MOST_SIDE
    first_row: int = 0
    last_row: int = _MOST_SIDE


@dataclass(frozen=True, slots=True)
class GridView:
    """A part of a grid in squares; arrays have shape (squares down, squares across)."""

    column_edges: Counts
    """First column of each square, and the one after the last."""
    row_edges: Counts
    n_images: Counts
    n_hits: Counts
    n_searched: Counts
    most_spots: Counts
    """Most spots that count of an image; -1 where none was searched."""
    image: Counts
    """The first hit in the square, else the first image; -1 where there is none."""
    n_outside: int
    """Images of the run that lie beyond the grid."""


def grid_of(text: str, n_images: int) -> Grid:
    """The grid that somebody states: COLUMNSxROWS, and ,snake where every other row runs back.

    Raises
    ------
    SettingsError
        It is no such statement, or no such grid.
    """
    found = re.fullmatch(r"([0-9]{1,6})[xX]([0-9]{1,6})(,snake)?", text.strip())
    columns, rows = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found or not 0 < columns <= _MOST_SIDE or not 0 < rows <= _MOST_SIDE:
        raise SettingsError(
            f"grid {text[:40]!r}: is no grid", mend="write COLUMNSxROWS, such as 100x50, or 100x50,snake"
        )
    image = np.arange(n_images, dtype=np.int32)
    row, column = np.divmod(image, np.int32(columns))
    if found[3]:
        column = np.where(row % 2 == 1, columns - 1 - column, column)
    return Grid(columns, rows, column, row, "as given, " + ("every other row backwards" if found[3] else "row by row"))


def recorded_grid(positions: Mapping[str, npt.NDArray[np.float64]]) -> Grid | None:
    """The grid that the positions of the sample make up; None where they make none.

    Parameters
    ----------
    positions : mapping of str to array, shape (images,)
        By the axis along which the sample was moved.
    """
    steps = {name: _steps(values) for name, values in positions.items()}
    for one, other in combinations([name for name, at in steps.items() if at is not None], 2):
        across, down = steps[one], steps[other]
        if across is None or down is None:
            continue
        columns, rows = int(across.max()) + 1, int(down.max()) + 1
        places = columns * rows
        if min(columns, rows) < 2 or _FULL * places > len(across):
            continue
        taken = np.count_nonzero(np.bincount(down.astype(np.int64) * columns + across, minlength=places))
        if taken >= _FULL * places:
            return Grid(columns, rows, across, down, f"positions {one} and {other} of the sample")
    return None


def _steps(values: npt.NDArray[np.float64]) -> Places | None:
    """Positions along one axis as numbers of steps; None where they are not on steps of a length."""
    ordered = np.sort(values)
    gaps = np.diff(ordered)
    # Encoders scatter about the steps: small gaps within a position, large ones between two.
    cuts = np.flatnonzero(gaps > _SAME * float(gaps.max()))
    starts = np.append(0, cuts + 1)
    at = np.add.reduceat(ordered, starts) / np.diff(np.append(starts, len(ordered)))
    between = np.diff(at)
    step = float(np.median(between))
    number = np.rint(between / step)
    even = (np.abs(between / step - number) <= _SAME) & (number >= 1)
    if not even.all() or number.sum() >= _MOST_SIDE:
        return None
    group = np.searchsorted((ordered[cuts] + ordered[cuts + 1]) / 2, values)
    return np.append(0, np.cumsum(number)).astype(np.int32)[group]


def view_grid(overview: Overview, grid: Grid, window: Window | None = None) -> GridView:
    """Count a part of a grid in squares.

    Raises
    ------
    SettingsError
        The window holds nothing of the grid.
    """
    seen = window or Window()
    left, top = max(seen.first_column, 0), max(seen.first_row, 0)
    right, bottom = min(seen.last_column, grid.columns - 1), min(seen.last_row, grid.rows - 1)
    if left > right or top > bottom:
        raise SettingsError(
            f"columns {seen.first_column} to {seen.last_column}, rows {seen.first_row} to {seen.last_row}: lie outside",
            mend=f"the grid has {grid.columns} columns and {grid.rows} rows, counted from 0",
        )
    column_edges, row_edges = _edges(left, right + 1), _edges(top, bottom + 1)
    inside = (grid.column >= left) & (grid.column <= right) & (grid.row >= top) & (grid.row <= bottom)
    images = np.flatnonzero(inside)
    across = np.searchsorted(column_edges, grid.column[images], side="right") - 1
    down = np.searchsorted(row_edges, grid.row[images], side="right") - 1
    shape = (len(row_edges) - 1, len(column_edges) - 1)
    place = down * shape[1] + across
    n = shape[0] * shape[1]
    state = overview.state[images]
    hit = state == State.HIT
    searched = hit | (state == State.MISS)
    most = np.full(n, -1, dtype=np.int64)
    np.maximum.at(most, place[searched], overview.counted[images[searched]].astype(np.int64))
    first = np.full(n, -1, dtype=np.int64)
    # Assigned from the last to the first: the first image stays, and a hit comes before all others.
    for some in (~hit, hit):
        first[place[some][::-1]] = images[some][::-1]
    return GridView(
        column_edges=column_edges,
        row_edges=row_edges,
        n_images=np.bincount(place, minlength=n).reshape(shape),
        n_hits=np.bincount(place[hit], minlength=n).reshape(shape),
        n_searched=np.bincount(place[searched], minlength=n).reshape(shape),
        most_spots=most.reshape(shape),
        image=first.reshape(shape),
        n_outside=int(np.count_nonzero((grid.row >= grid.rows) | (grid.column >= grid.columns))),
    )


def _edges(first: int, stop: int) -> Counts:
    """Edges of squares of equal size: zooming in gives finer ones."""
    size = -(-(stop - first) // MOST)
    return np.append(np.arange(first, stop, size, dtype=np.int64), stop)
