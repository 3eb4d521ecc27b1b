"""The unit cell of the sample, as NXmx states it."""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import CellParameters, UnitCell
from hitsieve.source.fields import ANGLES, LENGTHS, Fields, as_text, groups_of_class, member
from hitsieve.source.nxmx import entry_of

Cells = npt.NDArray[np.float64]

DUMMY = (1, 1, 1, 90, 90, 90)
"""What some programs write where they know no cell."""
SPREAD = 2e-3
"""Cells of the images that differ by no more than this share, and 0.2 degrees, are one."""
SYMBOL = re.compile(r"-?([PABCIFRH])[\s_]*[-\d(abcdemn]")
"""Start of the Hermann-Mauguin (or Hall) symbol of a space group: its centring."""
CENTRED = {
    "A": (range(38, 42),),
    "C": ((5, 8, 9, 12, 15, 20, 21), range(35, 38), range(63, 69)),
    "F": ((22, 42, 43, 69, 70, 196, 202, 203, 209, 210, 216, 219), range(225, 229)),
    "I": (
        (23, 24, *range(44, 47), *range(71, 75), 79, 80, 82, 87, 88, 97, 98, *range(107, 111), *range(119, 123)),
        (*range(139, 143), 197, 199, 204, 206, 211, 214, 217, 220, 229, 230),
    ),
    "R": ((146, 148, 155, 160, 161, 166, 167),),
}
"""Numbers of the space groups (International Tables, standard setting) that are not primitive."""


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
    if not _possible(middle):
        named = ", ".join(f"{value:g}" for value in middle)
        fields.report(f"{where} is {named}, which no crystal has; it is not used", "give --cell")
        return None
    apart = np.abs(cells - middle).max(axis=0)
    if (apart[:3] > SPREAD * middle[:3]).any() or (apart[3:] > 0.2).any():
        fields.report(f"{where} varies over the run; it is not used", "give --cell")
        return None
    # float32 is good to 7 digits: 79.0999985 is 79.1.
    a, b, c, alpha, beta, gamma = (float(f"{value:.6g}") for value in middle)
    return (a, b, c, alpha, beta, gamma)


def _possible(cell: npt.NDArray[np.float64]) -> bool:
    """Whether the angles leave a volume, no axis is below 2 angstrom and no angle below 10 degrees."""
    if (cell[:3] < 2).any() or (cell[3:] < 10).any() or (cell[3:] >= 180).any():
        return False
    alpha, beta, gamma = np.cos(np.radians(cell[3:]))
    squared = 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma
    return bool(squared > 1e-4 * (1 - gamma**2))


def _centred(sample: h5py.Group, name: str, cell: CellParameters, fields: Fields) -> UnitCell | None:
    """The cell with the centring of the space group, P where none is stated."""
    origin = f"{fields.path}, {sample.name}/{name}"
    for group in ("space_group", "unit_cell_group"):
        symbol = _text(sample, group)
        letter = _centring(symbol, is_number=group == "space_group")
        if letter is None:
            continue
        if letter == "R" and not _near(cell, (cell[0], cell[0], cell[2], 90, 90, 120)):
            if not _near(cell, (cell[0],) * 3 + (cell[3],) * 3):
                fields.report(
                    f"{sample.name}/{group} is {symbol}, which the cell cannot have; neither is used", "give --cell"
                )
                return None
            letter = "P"
        return UnitCell(cell, letter, f"{origin} (space group {symbol})")
    return UnitCell(cell, "P", f"{origin}; it states no centring, P taken")


def _text(sample: h5py.Group, name: str) -> str:
    """A field of text, or of one whole number; several that are alike count as one."""
    item: Any = member(sample, name)
    if not isinstance(item, h5py.Dataset) or not item.size:
        return ""
    values = {as_text(value) or str(value) for value in np.atleast_1d(item[()]).flat}
    return values.pop().strip() if len(values) == 1 else ""


def _centring(symbol: str, *, is_number: bool) -> str | None:
    """Letter of the centring; None where the symbol says none, as that of a point group does."""
    if is_number and symbol.isdecimal():
        if not 1 <= int(symbol) <= 230:
            return None
        return next((letter for letter, ranges in CENTRED.items() if any(int(symbol) in r for r in ranges)), "P")
    match = SYMBOL.match(symbol)
    if match is None:
        return None
    return "R" if match[1] == "H" else match[1]


def _near(cell: CellParameters, other: tuple[float, ...]) -> bool:
    lengths = all(abs(x / y - 1) < 0.02 for x, y in zip(cell[:3], other[:3], strict=True))
    return lengths and all(abs(x - y) < 2 for x, y in zip(cell[3:], other[3:], strict=True))
