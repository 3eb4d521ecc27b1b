"""The unit cell that the user names: six numbers, or a PDB, CIF or CrystFEL cell file."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.errors import SettingsError
from hitsieve.index.known import CellIndexer
from hitsieve.model import UnitCell
from hitsieve.model.cells import centring_of, centring_on, seems_small, why_impossible

if TYPE_CHECKING:
    import gemmi

UNKNOWN = "unknown"
CRYSTFEL_NAMES = ("a", "b", "c", "al", "be", "ga")
CRYSTFEL_UNITS = {"a": 1.0, "nm": 10.0, "deg": 1.0, "rad": 180 / math.pi}
"""Lower-case units of a CrystFEL cell file, in angstrom and degrees."""
CRYSTFEL_ALIKE = (0.01, 0.5)
"""A share and degrees, within which lengths and angles of a CrystFEL cell are what its lattice type asks."""
GIVE_NUMBERS = "give a,b,c,alpha,beta,gamma in angstrom and degrees"


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a file says."""

    cell: tuple[float, ...]
    centring: str | None
    by: str
    """What of the file says so."""
    group: str = ""
    """Name of a space group that says no centring."""


def read_cell(text: str, centring: str | None = None) -> UnitCell | None:
    """The unit cell that a text names.

    Parameters
    ----------
    text : str
        a,b,c,alpha,beta,gamma (angstrom, degrees; commas or spaces), a PDB, mmCIF, CIF or CrystFEL cell file (PDB and
        CIF also gzipped), or `unknown`.
    centring : str, optional
        P, A, B, C, I, F or R (hexagonal axes); by default what the file says, else P.

    Returns
    -------
    UnitCell, or None
        None for `unknown`.

    Raises
    ------
    SettingsError
        There is no such file, it states no cell or another centring, or the cell is impossible.
    """
    text = text.strip()
    if text.lower() == UNKNOWN:
        if centring is not None:
            raise SettingsError(f"centring {centring} is given with an unknown cell", mend="give it with a cell only")
        return None
    if not text:
        raise SettingsError("the cell is empty", mend=GIVE_NUMBERS)
    numbers = _numbers(text)
    if numbers is not None:
        origin = "given by the user" + ("" if centring else "; no centring given, P taken")
        return _checked(_Stated(numbers, centring, ""), "", origin)
    path = Path(text)
    stated = _read(path)
    said = stated.centring
    if centring is not None and said is not None and centring not in (said, centring_on(stated.cell, said)):
        raise SettingsError(f"{path}: {stated.by} says centring {said}, not {centring}", mend="leave the centring out")
    if stated.group and centring is None:
        raise SettingsError(
            f"{path}: {stated.by}: the space group {stated.group!r} says no centring", mend="give --centring"
        )
    noted = "" if said or centring else "; it states no centring, P taken"
    return _checked(_Stated(stated.cell, said or centring, stated.by), f"{path}: ", f"{path}, {stated.by}{noted}")


def _checked(stated: _Stated, where: str, origin: str) -> UnitCell:
    """The cell, if a crystal may have it; SettingsError where not."""
    if len(stated.cell) == 6 and (wrong := why_impossible(stated.cell)):
        raise SettingsError(f"{where}{wrong}", mend=GIVE_NUMBERS)
    try:
        parameters = CellIndexer(stated.cell, stated.centring or "P").cell
    except SettingsError as error:
        raise SettingsError(f"{where}{error.what}", mend=error.mend) from None
    centring = centring_on(parameters, stated.centring or "P")
    if centring is None:
        raise SettingsError(
            f"{where}centring R is on hexagonal axes, with a = b, 90, 90 and 120 degrees, "
            "or on rhombohedral ones, with a = b = c and equal angles",
            mend="give such a cell, or its true centring",
        )
    if centring != (stated.centring or "P"):
        origin += "; R on rhombohedral axes is P"
    doubt = seems_small(parameters)
    return UnitCell(parameters, centring, f"{origin}; {doubt}" if doubt else origin)


def _numbers(text: str) -> tuple[float, ...] | None:
    """The numbers of a text that holds nothing else."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    try:
        return tuple(float(word) for word in words) if words else None
    except ValueError:
        return None


def _read(path: Path) -> _Stated:
    text = _text(path)
    if text.lstrip().startswith("CrystFEL unit cell file"):
        return _crystfel(text, path)
    if re.search(r"^CRYST1", text, re.MULTILINE):
        return _pdb(text, path)
    if re.search(r"^\s*data_", text, re.MULTILINE | re.IGNORECASE):
        return _cif(text, path)
    raise SettingsError(
        f"{path}: states no unit cell", mend=f"name a PDB, CIF or CrystFEL cell file, or {GIVE_NUMBERS}"
    )


def _text(path: Path) -> str:
    try:
        data = _bytes(path)
    except FileNotFoundError:
        raise SettingsError(f"cell {path}: neither numbers nor a file", mend=GIVE_NUMBERS) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(f"cell file {path} cannot be read: {_line(error)}", mend=GIVE_NUMBERS) from None
    return data.decode("utf-8", "replace")


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            return packed.read()
    if b"\0" in start:
        raise SettingsError(f"{path}: is not a text file", mend="name a PDB, CIF or CrystFEL cell file")
    return path.read_bytes()


def _pdb(text: str, path: Path) -> _Stated:
    import gemmi

    record = next(line for line in text.splitlines() if line.startswith("CRYST1"))
    try:
        structure = gemmi.read_pdb_string(record + "\n")
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"{path}: its CRYST1 record cannot be read: {_line(error)}", mend=GIVE_NUMBERS) from None
    cell = structure.cell.parameters
    if cell == (1.0, 1.0, 1.0, 90.0, 90.0, 90.0):
        raise SettingsError(
            f"{path}: its CRYST1 record is the dummy 1 1 1 of a model that is no crystal", mend=GIVE_NUMBERS
        )
    return _with_group(cell, [name] if (name := structure.spacegroup_hm.strip()) else [], "CRYST1 record")


def _cif(text: str, path: Path) -> _Stated:
    import gemmi

    try:
        blocks = list(gemmi.cif.read_string(text))
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"{path}: is no valid CIF: {_line(error)}", mend=GIVE_NUMBERS) from None
    for block in blocks:
        for macromolecule in (True, False):
            parts = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
            dot = "." if macromolecule else "_"
            cell = tuple(gemmi.cif.as_number(block.find_value(f"_cell{dot}{part}") or "?") for part in parts)
            if not any(math.isnan(value) for value in cell):
                return _with_group(cell, _groups(block), f"block {block.name}")
    raise SettingsError(f"{path}: states no unit cell", mend=GIVE_NUMBERS)


def _groups(block: gemmi.cif.Block) -> list[str]:
    """Names of the space group in a CIF block, by all of the tags in use, symbols before numbers."""
    import gemmi

    names = ("name_H-M_alt", "name_H-M_full", "name_H-M", "name_Hall", "number", "IT_number")
    tags = [f"_space_group{dot}{name}" for dot in "._" for name in names]
    tags += [f"_symmetry{dot}space_group_{name}" for dot in "._" for name in names]
    tags += [f"_symmetry{dot}Int_Tables_number" for dot in "._"]
    tags.sort(key=lambda tag: tag.endswith("number"))
    said = [str(gemmi.cif.as_string(value)).strip() for tag in tags if (value := block.find_value(tag))]
    return [name for name in said if name not in ("", "?", ".")]


def _with_group(cell: tuple[float, ...], names: Sequence[str], by: str) -> _Stated:
    for name in names:
        letter = centring_of(name)
        if letter is not None:
            return _Stated(tuple(cell), letter, f"{by} (space group {name})")
    return _Stated(tuple(cell), None, by, names[0] if names else "")


def _crystfel(text: str, path: Path) -> _Stated:
    values: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        name, equals, value = line.split(";")[0].partition("=")
        if equals:
            values[name.strip()] = value.strip()
    missing = [name for name in CRYSTFEL_NAMES if name not in values]
    if missing:
        raise SettingsError(f"{path}: states no {', '.join(missing)}", mend="complete it, or " + GIVE_NUMBERS)
    cell = tuple(_quantity(values[name], name, path) for name in CRYSTFEL_NAMES)
    letter = values.get("centering")
    if letter == "R" and abs(cell[5] - 120) < 2 and abs(cell[3] - 90) < 2:
        raise SettingsError(
            f"{path}: centering R is on rhombohedral axes in CrystFEL, the cell on hexagonal ones",
            mend="hexagonal axes are centering = H there",
        )
    _check_lattice(cell, values, path)
    if letter == "H":
        return _Stated(cell, "R", "centering H (rhombohedral on hexagonal axes)")
    if letter == "R":
        return _Stated(cell, "P", "centering R (rhombohedral axes, a primitive cell)")
    return _Stated(cell, letter, "centering " + letter if letter else "CrystFEL cell file")


def _check_lattice(cell: tuple[float, ...], values: dict[str, str], path: Path) -> None:
    """Refuse a cell that is not of the lattice type, or not about the unique axis, that its file states."""
    kind, axis = values.get("lattice_type", "").lower(), values.get("unique_axis", "").lower()
    if kind == "rhombohedral" and values.get("centering") == "H":
        kind = "hexagonal"
    axes = axis if axis in ("a", "b", "c") else "abc"
    if any(_is_of(cell, kind, "abc".index(one)) for one in axes):
        return
    about = f" about {axis}" if axes == axis and kind in ("monoclinic", "tetragonal", "hexagonal") else ""
    named = ", ".join(f"{value:g}" for value in cell)
    mend = "correct the one or the other, or " + GIVE_NUMBERS
    raise SettingsError(f"{path}: its lattice_type is {kind}{about}, and its cell {named} is not", mend=mend)


def _is_of(cell: tuple[float, ...], kind: str, unique: int) -> bool:
    """Whether a cell is of a lattice type, with that unique axis where it has one; yes for what is no type."""
    lengths, angles = cell[:3], cell[3:]
    others = [k for k in range(3) if k != unique]

    def equal(*which: int) -> bool:
        chosen = [lengths[k] for k in which]
        return max(chosen) - min(chosen) <= CRYSTFEL_ALIKE[0] * max(chosen)

    def turned(wanted: float, *which: int) -> bool:
        return all(abs(angles[k] - wanted) <= CRYSTFEL_ALIKE[1] for k in which)

    shapes = {
        "monoclinic": lambda: turned(90, *others),
        "orthorhombic": lambda: turned(90, 0, 1, 2),
        "tetragonal": lambda: turned(90, 0, 1, 2) and equal(*others),
        "rhombohedral": lambda: equal(0, 1, 2) and turned(angles[0], 1, 2),
        "hexagonal": lambda: equal(*others) and turned(120, unique) and turned(90, *others),
        "cubic": lambda: equal(0, 1, 2) and turned(90, 0, 1, 2),
    }
    return kind not in shapes or shapes[kind]()


def _quantity(text: str, name: str, path: Path) -> float:
    """A number with its unit, in angstrom or degrees."""
    number, unit = (*text.split(None, 1), "", "")[:2]
    unit = unit.strip().lower()
    wanted = ("a", "nm") if len(name) == 1 else ("deg", "rad")
    value = _numbers(number)
    if value is None or len(value) != 1 or unit not in wanted:
        units = "A or nm" if len(name) == 1 else "deg or rad"
        raise SettingsError(f"{path}: {name} = {text!r} is not a number with unit {units}", mend="write it so")
    return value[0] * CRYSTFEL_UNITS[unit]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
