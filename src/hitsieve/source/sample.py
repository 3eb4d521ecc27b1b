"""The unit cell of the sample, as NXmx states it."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import CellParameters, UnitCell
from hitsieve.model.cells import centring_of, centring_on, seems_small, why_impossible
from hitsieve.source.fields import ANGLES, LENGTHS, Fields, as_text, groups_of_class, member
from hitsieve.source.nxmx import entry_of

Cells = npt.NDArray[np.float64]

DUMMY = (1, 1, 1, 90, 90, 90)
"""What some programs write where they know no cell."""
SPREAD = 2e-3
"""Cells of the images that differ by no more than this share, and 0.2 degrees, are one."""


def read_sample_cell(file: h5py.File, fields: Fields) -> UnitCell | None:
    """The unit cell of the sample; None where none is stated, or none that can be used, which is reported."""
    entry = entry_of(file)
    for sample in groups_of_class(entry, "NXsample") or [member(entry, "sample")]:
        if not isinstance(sample, h5py.Group):
            continue
        try:
            name, cells = _cells(sample, fields)
            cell = _one(cells, f"{sample.name}/{name}", fields)
            if cell is not None:
                return _centred(sample, name, cell, fields)
        except (OSError, RuntimeError) as error:
            fields.report(
                f"the unit cell in {sample.name} cannot be read: {' '.join(str(error).split())}", "give --cell"
            )
    return None


def _cells(sample: h5py.Group, fields: Fields) -> tuple[str, Cells]:
    """Cells of angstrom and degrees, shape (n, 6), that say something, and the field that states them."""
    both = _rows(sample, "unit_cell", 6)
    if both is not None:
        unit = as_text(sample["unit_cell"].attrs.get("units")) or ""
        # One unit for lengths and angles: only a unit of length can be meant, and of the lengths.
        both[:, :3] *= LENGTHS.get(unit.lower(), 1e-10) / 1e-10
    if both is not None and len(both := _stated(both)):
        return "unit_cell", both
    lengths, angles = _rows(sample, "unit_cell_abc", 3), _rows(sample, "unit_cell_alphabetagamma", 3)
    if lengths is None or angles is None or len(lengths) != len(angles):
        return "unit_cell", np.empty((0, 6))
    to_angstrom = _factor(sample["unit_cell_abc"], LENGTHS, "angstrom", fields)
    to_degrees = _factor(sample["unit_cell_alphabetagamma"], ANGLES, "degree", fields)
    if to_angstrom is None or to_degrees is None:
        return "unit_cell_abc", np.empty((0, 6))
    return "unit_cell_abc", _stated(np.hstack([lengths * to_angstrom, angles * to_degrees]))


def _factor(item: h5py.Dataset, units: dict[str, float], wanted: str, fields: Fields) -> float | None:
    unit = as_text(item.attrs.get("units")) or wanted
    factor = units.get(unit.lower())
    if factor is None:
        fields.report(f"{item.name} has unknown units {unit!r}; it is not used", "mend its units attribute")
        return None
    return factor / units[wanted]


def _rows(sample: h5py.Group, name: str, width: int) -> Cells | None:
    """A numeric field as rows; None where it is not there or has another shape."""
    item: Any = member(sample, name)
    if (
        not isinstance(item, h5py.Dataset)
        or item.dtype.kind not in "iuf"
        or not item.size
        or item.shape[-1:] != (width,)
    ):
        return None
    return np.asarray(item[()], dtype=np.float64).reshape(-1, width)


def _stated(cells: Cells) -> Cells:
    """The rows that are no mark of an unknown cell: zero, NaN, or the cube of 1 angstrom."""
    unset = ~np.isfinite(cells).all(axis=1) | (cells == 0).any(axis=1) | (cells == DUMMY).all(axis=1)
    stated: Cells = cells[~unset]
    return stated


def _one(cells: Cells, where: str, fields: Fields) -> CellParameters | None:
    """The cell that all rows have in common."""
    if not len(cells):
        return None
    middle = np.median(cells, axis=0)
    if wrong := why_impossible(middle.tolist()):
        fields.report(f"{where} is not used: {wrong}", "give --cell")
        return None
    apart = np.abs(cells - middle).max(axis=0)
    if (apart[:3] > SPREAD * middle[:3]).any() or (apart[3:] > 0.2).any():
        fields.report(f"{where} varies over the run; it is not used", "give --cell")
        return None
    # float32 is good to 7 digits: 79.0999985 is 79.1.
    a, b, c, alpha, beta, gamma = (float(f"{value:.6g}") for value in middle)
    return (a, b, c, alpha, beta, gamma)


def _centred(sample: h5py.Group, name: str, cell: CellParameters, fields: Fields) -> UnitCell | None:
    """The cell with the centring of the space group, P where none is stated."""
    origin = f"{fields.path}, {sample.name}/{name}"
    if doubt := seems_small(cell):
        fields.report(f"{sample.name}/{name}: {doubt}", "give --cell")
    for group in ("space_group", "unit_cell_group"):
        symbol = _text(sample, group)
        letter = centring_of(symbol)
        # A point group, as unit_cell_group may be, has a number for a name.
        if letter is None or (group == "unit_cell_group" and symbol.isdecimal()):
            continue
        on_axes = centring_on(cell, letter)
        if on_axes is None:
            fields.report(
                f"{sample.name}/{group} is {symbol}, which the cell cannot have; neither is used", "give --cell"
            )
            return None
        return UnitCell(cell, on_axes, f"{origin} (space group {symbol})")
    return UnitCell(cell, "P", f"{origin}; it states no centring, P taken")


def _text(sample: h5py.Group, name: str) -> str:
    """A field of text, or of one whole number; several that are alike count as one."""
    item: Any = member(sample, name)
    if not isinstance(item, h5py.Dataset) or not item.size:
        return ""
    values = {as_text(value) or str(value) for value in np.atleast_1d(item[()]).flat}
    return values.pop().strip() if len(values) == 1 else ""
