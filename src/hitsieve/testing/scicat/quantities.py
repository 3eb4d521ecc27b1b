"""Quantities of scientificMetadata in SI units, as the server adds them."""

from __future__ import annotations

from typing import Any

ELECTRON_VOLT = 1.602176634e-19
_ENERGY = "(kg m^2) / s^2"
_UNITS: dict[str, tuple[float, float, str]] = {
    "keV": (1e3 * ELECTRON_VOLT, 0.0, _ENERGY),
    "eV": (ELECTRON_VOLT, 0.0, _ENERGY),
    "angstrom": (1e-10, 0.0, "m"),
    "Å": (1e-10, 0.0, "m"),
    "nm": (1e-9, 0.0, "m"),
    "mm": (1e-3, 0.0, "m"),
    "cm": (1e-2, 0.0, "m"),
    "ms": (1e-3, 0.0, "s"),
    "K": (1.0, 0.0, "K"),
    "degC": (1.0, 273.15, "K"),
    "Hz": (1.0, 0.0, "1 / s"),
}
"""Factor, offset and SI unit of each unit that the server converts."""


def to_si(value: Any, unit: str) -> tuple[Any, str]:
    """A value in SI units; unchanged where the server does not convert."""
    factor, offset, si = _UNITS.get(unit, (None, 0.0, unit))
    if factor is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value, unit
    return value * factor + offset, si


def with_si(table: Any) -> Any:
    """Add valueSI and unitSI to every quantity of a table.

    A key that begins with u is taken for the unit and one that begins with v for the value, whatever they are called:
    {version, uuid} is a quantity as well.
    """
    if not isinstance(table, dict):
        return table
    return {key: _quantity(item) for key, item in table.items()}


def _quantity(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    value: Any = None
    unit: Any = None
    for key, inner in item.items():
        if not key.endswith("SI"):
            value = inner if key.startswith("v") else value
            unit = inner if key.startswith("u") else unit
    if value is not None and isinstance(unit, str) and unit:
        value_si, unit_si = to_si(value, unit)
        return {**item, "valueSI": value_si, "unitSI": unit_si}
    return item if "unit" in item or "u" in item else with_si(item)
