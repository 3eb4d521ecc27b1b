"""What is asked of the local catalogue, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from hitsieve.catalogue.query import FIELDS
from hitsieve.catalogue.record import Record
from hitsieve.catalogue.sql import SEPARATOR
from hitsieve.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a record that was given to the catalogue."""

    what: Literal["added", "updated", "skipped"]
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """A run that a query finds."""

    facts: Mapping[str, Any]
    """Value of each field that can be searched by; None where it is not known."""
    strain: float | None
    """Distance of its lattice from the first cell of the query, as a share of lengths."""


@dataclass(frozen=True, slots=True)
class Order:
    """By what runs are sorted: those of which it is not known come last, equal ones latest first."""

    field: str = ""
    """A field that can be searched by; empty: those nearest to the first cell of the query first, else latest first."""
    down: bool = True
    """Largest first."""

    def sql(self, *, near: bool) -> str:
        """Text behind ORDER BY.

        Raises
        ------
        SettingsError
            There is no such field.
        """
        latest = "date DESC, key DESC"
        if not self.field:
            nearest = "(SELECT strain FROM temp.near0 WHERE near0.key = facts.key)"
            return f"{nearest} IS NULL, {nearest}, {latest}" if near else latest
        if self.field not in FIELDS:
            raise SettingsError(f"{self.field[:40]!r} is no field to sort by", mend="sort by a field of the search")
        name = f'facts."{self.field}"'
        return f"{name} IS NULL, {name} COLLATE NOCASE {'DESC' if self.down else 'ASC'}, {latest}"


LATEST = Order()


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the runs that a query finds."""

    records: tuple[tuple[Record, float | None], ...]
    """Each with the distance of its lattice from the first cell of the query, as a share of lengths, if it has one."""
    n_found: int
    """How many the query finds in all."""


_CODED = tuple(name for name, home in FIELDS.items() if home.kind in ("names", "time"))
"""Fields whose columns are not their values."""


def facts_of(values: tuple[Any, ...]) -> dict[str, Any]:
    """Values of all fields, from the columns that hold them."""
    facts = dict(zip(FIELDS, values, strict=True))
    for name in _CODED:
        if facts[name] is not None:
            facts[name] = _read(name, facts[name])
    return facts


def _read(name: str, text: str) -> Any:
    if FIELDS[name].kind == "names":
        return tuple(text.split(SEPARATOR)[1:-1])
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
