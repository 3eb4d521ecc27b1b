"""Times and time zones of ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime

_ZONE = r"Z|[+-]\d\d(?::?\d\d)?"
_MOMENT = re.compile(rf"(\d{{4}}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*({_ZONE})?")


def moment_of(text: str) -> datetime | None:
    """Read a time with any number of digits of a second; None where it is none."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    day, clock, digits, zone = found.groups()
    seconds = "" if clock.count(":") == 2 else ":00"
    part = f".{(digits or '0')[:6]:0<6}"
    try:
        return datetime.fromisoformat(f"{day}T{clock}{seconds}{part}{_written_out(zone or '')}")
    except ValueError:
        return None


def why_no_time(kind: str, text: str) -> str:
    """Why a text is no time (kind date), or no time zone (kind zone); nothing where it is."""
    if kind == "date":
        return "" if moment_of(text) is not None else "which is no time of ISO 8601"
    moment = moment_of(text)
    if re.fullmatch(_ZONE, text.strip()) or (moment is not None and moment.tzinfo is not None):
        return ""
    return "which is no offset from UTC of ISO 8601 (such as +01:00)"


def _written_out(zone: str) -> str:
    """A zone as Python has it: +01:00."""
    if zone == "Z":
        return "+00:00"
    digits = zone[1:].replace(":", "")
    return f"{zone[0]}{digits[:2]}:{digits[2:] or '00'}" if zone else ""
