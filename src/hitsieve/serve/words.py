"""Numbers as people read them; used in templates as filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
NOTHING = "–"  # noqa: RUF001 - an en dash stands for what is not known


def count(value: float | None) -> str:
    """1234567 as 1,234,567."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """0.0523 as 5.23 %, with three digits that count."""
    return NOTHING if share is None else f"{_three(100 * share)} %"


def size(n_bytes: float | None) -> str:
    """1.5e9 as 1.5 GB."""
    if n_bytes is None:
        return NOTHING
    value, unit = float(n_bytes), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_three(value) if unit else int(n_bytes)} {_SIZES[unit]}"


def date(time: datetime | None) -> str:
    """A time to the minute."""
    return NOTHING if time is None else f"{time:%Y-%m-%d %H:%M}"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits that count."""
    return NOTHING if value is None else f"{value:.{digits}g}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """A number with so many decimals."""
    return NOTHING if value is None else f"{value:.{decimals}f}"


def _three(value: float) -> str:
    """Three digits that count, so that a column of such numbers is even."""
    if value == 0:
        return "0"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3g}"


FILTERS: dict[str, Callable[..., Any]] = {
    "count": count,
    "percent": percent,
    "size": size,
    "date": date,
    "number": number,
    "fixed": fixed,
}
