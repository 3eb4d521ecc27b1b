"""Reading single values from NeXus groups: text, numbers with units, classes. What is unset comes back as None."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hitsieve.model import Problem

LENGTHS = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("cm", "centimetre", "centimeter"), 1e-2),
    **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometre", "micrometer", "micrometers"), 1e-6),
    **dict.fromkeys(("nm", "nanometre", "nanometer", "nanometers"), 1e-9),
    **dict.fromkeys(("angstrom", "angstroms", "a", "å", "ångström"), 1e-10),
    **dict.fromkeys(("pm", "picometre", "picometer"), 1e-12),
}
"""Lower-case units of length, in metres."""
ANGLES = {
    **dict.fromkeys(("deg", "degree", "degrees", "°"), np.pi / 180),
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    **dict.fromkeys(("mrad", "milliradian", "milliradians"), 1e-3),
}
"""Lower-case units of angle, in radians."""
ENERGIES = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / 1.602176634e-19}
"""Lower-case units of energy, in electronvolts."""
HC = 12398.419843320026
"""Planck constant times speed of light (eV angstrom)."""


def as_text(value: Any) -> str | None:
    """Text of an HDF5 attribute or scalar dataset value, however it was stored."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip("\0 ") if isinstance(value, str) else None


def nx_class(item: Any) -> str | None:
    """The NeXus class of a group."""
    return as_text(item.attrs.get("NX_class"))


def member(group: h5py.Group | None, name: str) -> Any:
    """The group's member, or None where there is none or its link leads nowhere."""
    if group is None:
        return None
    try:
        return group.get(name)
    except (OSError, RuntimeError, KeyError):
        return None


def names_in(group: h5py.Group) -> list[str]:
    """Names of a group's members; h5py cannot ask for those that are not UTF-8, which it gives as bytes."""
    return [name for name in group if isinstance(name, str)]


def groups_of_class(group: h5py.Group | None, wanted: str) -> list[h5py.Group]:
    """Subgroups of a NeXus class, in the order of their names."""
    if group is None:
        return []
    members = (member(group, name) for name in names_in(group) if _is_group(group, name))
    return [m for m in members if isinstance(m, h5py.Group) and nx_class(m) == wanted]


def _is_group(group: h5py.Group, name: str) -> bool:
    """Whether a member is a group, without opening it: a large virtual dataset takes HDF5 seconds to open."""
    try:
        return group.get(name, getclass=True) is h5py.Group
    except (OSError, RuntimeError, KeyError):
        return False


def _numeric(group: h5py.Group | None, name: str) -> h5py.Dataset | None:
    """A field of numbers that is not empty."""
    item = member(group, name)
    there = isinstance(item, h5py.Dataset) and item.size not in (None, 0) and item.dtype.kind in "iuf"
    return item if there else None


@dataclass(slots=True)
class Fields:
    """Reads the fields of one file and keeps what is wrong with them."""

    path: Path
    problems: list[Problem] = field(default_factory=list)

    def report(self, what: str, mend: str = "") -> None:
        """Note a problem, once."""
        problem = Problem(str(self.path), what, mend)
        if problem not in self.problems:
            self.problems.append(problem)

    def text(self, group: h5py.Group | None, name: str) -> str | None:
        """A text field; None where absent or empty."""
        item = member(group, name)
        return (as_text(item[()]) or None) if isinstance(item, h5py.Dataset) else None

    def values(
        self, group: h5py.Group | None, name: str, units: dict[str, float] | None = None, default: str = ""
    ) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A numeric field as a flat array, converted to the units whose factor is 1; None where it says nothing.

        Zero, negative and non-finite values of a field with units say nothing: writers use them for "not set".
        """
        item = _numeric(group, name)
        if item is None:
            return None
        values = np.asarray(item[()], dtype=np.float64).ravel()
        if not np.all(np.isfinite(values)):
            return None
        if units is None:
            return values
        factor = self._factor(item, units, default)
        if factor is None:
            return None
        if np.any(values <= 0):
            self.report(f"{item.name} is {values.min():g}, which means not set")
            return None
        return values * factor

    def each(
        self, group: h5py.Group | None, name: str, units: dict[str, float], default: str
    ) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The same for a field with a value an image: those that say nothing are NaN, where any says something."""
        item = _numeric(group, name)
        values = np.zeros(0) if item is None else np.asarray(item[()], dtype=np.float64).ravel()
        good = np.isfinite(values) & (values > 0)
        if item is None or good.all() or not good.any():
            return self.values(group, name, units, default)
        factor = self._factor(item, units, default)
        return None if factor is None else np.where(good, values, np.nan) * factor

    def _factor(self, item: h5py.Dataset, units: dict[str, float], default: str) -> float | None:
        unit = as_text(item.attrs.get("units")) or default
        factor = units.get(unit.lower())
        if factor is None:
            self.report(f"{item.name} has unknown units {unit!r}; it is not used", "mend its units attribute")
        return factor

    def number(
        self, group: h5py.Group | None, name: str, units: dict[str, float] | None = None, default: str = ""
    ) -> float | None:
        """A numeric field of one value (or of equal values); None where absent, not set or varying."""
        values = self.values(group, name, units, default)
        if values is None:
            return None
        if np.ptp(values) != 0:
            self.report(f"{name} varies over the run ({values.min():g} to {values.max():g}); it is not used")
            return None
        return float(values[0])

    def first(
        self,
        places: list[tuple[h5py.Group | None, str]],
        units: dict[str, float] | None = None,
        default: str = "",
    ) -> float | None:
        """The first of several fields that says something."""
        for group, name in places:
            if (value := self.number(group, name, units, default)) is not None:
                return value
        return None
