"""Units that a query may use, and spans of time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

UNITS: dict[str, dict[str, float]] = {
    "share": {"%": 0.01},
    "angstrom": {"angstrom": 1.0, "A": 1.0, "Å": 1.0, "nm": 10.0, "pm": 0.01},
    "mm": {"mm": 1.0, "cm": 10.0, "m": 1000.0},
    "degrees": {"degrees": 1.0, "deg": 1.0, "°": 1.0},
    "keV": {"keV": 1.0, "eV": 1e-3},
    "bytes": {"bytes": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    "s": {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0},
    "pixels": {"pixels": 1.0, "px": 1.0},
    "counts/pixel": {"counts/pixel": 1.0, "counts": 1.0},
}
"""By the unit of a field: what a number of each unit is multiplied with."""
_DATE = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:T(\d\d?):(\d\d)(?::(\d\d))?)?)?)?Z?")
_STEPS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))


def span(text: str) -> tuple[datetime, datetime]:
    """First instant of a year, month, day, minute or second, and the first after it; without a time zone.

    Raises
    ------
    ValueError
        It is none of these: 2026, 2026-11, 2026-11-26, 2026-11-26T14:30 or 2026-11-26T14:30:05.
    """
    found = _DATE.fullmatch(text.strip().replace(" ", "T"))
    if found is None:
        raise ValueError(f"{text} is no date")
    given = [int(part) for part in found.groups() if part is not None]
    first = datetime(*(*given, *(1, 1)[len(given) - 1 :]))  # type: ignore[arg-type]
    if len(given) == 1:
        return first, first.replace(year=first.year + 1)
    if len(given) == 2:
        return first, (first + timedelta(days=32)).replace(day=1)
    return first, first + _STEPS[max(0, len(given) - 3)]
