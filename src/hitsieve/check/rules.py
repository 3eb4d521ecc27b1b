"""The rules, as they stand in the tables of the package."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from hitsieve.check.findings import Severity
from hitsieve.check.nxdl import definition_of_hits, rows_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RULE_SETS = ("nxmx", "gold", "hits")
"""Names of the rule sets, in order."""
TYPES = {
    "text": "text",
    "date": "a time, as text",
    "zone": "an offset from UTC, as text",
    "bool": "true or false",
    "int": "whole numbers",
    "float": "numbers",
    "number": "numbers",
}
"""Types of fields, in words."""
WORDS = frozenset({"text", "date", "zone"})
"""Types that are stored as text."""
_NEEDS = {"required": Severity.ERROR, "recommended": Severity.WARNING, "optional": None}
_IN_WORDS = {"required_then": "required in 2020"}
_LISTS = ("values", "size", "rank", "instead", "elsewhere")
_GOLD = {"required": Severity.ERROR, "required_then": Severity.WARNING, "recommended": Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Place:
    """A group, field or attribute, and what is asked of it."""

    place: str
    """With the usual names of groups: entry/instrument/detector/distance, or entry/instrument/name@short_name."""
    what: str
    absent: dict[str, Severity | None]
    """By rule set that has it: how bad it is where it is not there."""
    need: dict[str, str]
    """By rule set: required, recommended or optional, in words."""
    mend: str
    type: str = ""
    """A key of TYPES; nothing for a group."""
    units: str = ""
    """Kind of its units, or nothing."""
    values: tuple[str, ...] = ()
    """The only values allowed; all where empty."""
    positive: bool = False
    """Zero, negative numbers and NaN mean that it is not set."""
    size: tuple[int, ...] = ()
    """Numbers of values that it may have; any where empty."""
    rank: tuple[int, ...] = ()
    """Numbers of dimensions that it may have; any where empty."""
    instead: tuple[str, ...] = ()
    """Patterns of other names in its group that say the same."""
    elsewhere: tuple[str, ...] = ()
    """Other places where files have it."""
    example: Any = None
    """A value that a template shows; None for what no template can give."""
    rows: str = ""
    """Group of rules of the hits: what has as many rows as it."""

    @property
    def owner(self) -> str:
        """Place of the group, or of the field of an attribute."""
        return self.place.rpartition("@" if "@" in self.place else "/")[0]

    @property
    def name(self) -> str:
        """Name in its owner."""
        return self.place.rpartition("@" if "@" in self.place else "/")[2]

    @property
    def is_group(self) -> bool:
        """Whether it is a group."""
        return not self.type

    def severity(self, sets: Collection[str]) -> Severity | None:
        """How bad it is for some of the rule sets where it is not there; None where it need not be."""
        found = [severity for name in sets if (severity := self.absent.get(name)) is not None]
        return max(found, default=None)

    def sets(self, chosen: Collection[str], *, asking: bool = False) -> tuple[str, ...]:
        """Rule sets that have it; those that ask for it, where `asking`."""
        return tuple(
            name
            for name in RULE_SETS
            if name in chosen and name in self.absent and not (asking and self.absent[name] is None)
        )


@dataclass(frozen=True, slots=True)
class Check:
    """A check of several places together."""

    id: str
    rules: str
    """The rule set."""
    severity: Severity
    what: str
    """What must hold."""
    mend: str
    source: str


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules."""

    classes: dict[str, str]
    """NeXus class of a group by its usual name."""
    places: dict[str, Place]
    checks: dict[str, Check]
    titles: dict[str, str]
    """Of the rule sets."""
    sources: dict[str, str]
    offsets: dict[str, dict[str, str]]
    """Groups of hit information with lists one after the other: what they are lists of, and what has their rows."""

    def of(self, sets: Collection[str]) -> Iterator[Place]:
        """Places of some rule sets, groups before what is in them."""
        return (place for place in self.places.values() if place.sets(sets))

    def below(self, group: str) -> Iterator[Place]:
        """Places in a group, directly."""
        return (place for place in self.places.values() if place.owner == group)


@cache
def rule_book() -> RuleBook:
    """Read all tables."""
    nxmx, gold, hits = (_table(name) for name in RULE_SETS)
    places: dict[str, Place] = {}
    checks: dict[str, Check] = {}
    for name, table in (("nxmx", nxmx), ("hits", hits)):
        for place in (made for row in _rows_of(table) for made in _places(row, name)):
            places.setdefault(place.place, place)
        for row in table["check"]:
            checks[row["id"]] = _check(row, name, table["source"])
    for need, severity in _GOLD.items():
        for asked in (name for text in gold[need] for name in _expanded(text)):
            places[asked].absent["gold"] = severity
            places[asked].need["gold"] = _IN_WORDS.get(need, need)
    tables = {"nxmx": nxmx, "gold": gold, "hits": hits}
    return RuleBook(
        classes=nxmx["classes"],
        places=places,
        checks=checks,
        titles={name: table["title"] for name, table in tables.items()},
        sources={name: table["source"] for name, table in tables.items()},
        offsets=hits["offsets"],
    )


@cache
def units() -> dict[str, dict[str, float]]:
    """Units by what they measure, lower case, with the factor to the first of them."""
    table: dict[str, dict[str, float]] = {kind: names for kind, names in _table("units").items() if kind != "usual"}
    table["place"] = table["place"] | table["length"]
    table["wavelength"] = table["length"]
    return table


@cache
def usual_unit(kind: str) -> str:
    """The unit that a template proposes."""
    return str(_table("units")["usual"][kind])


def _table(name: str) -> dict[str, Any]:
    file = resources.files("hitsieve.check") / "rules" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _rows_of(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a table, and those of the definition that it names."""
    yield from table["place"]
    if "defined" in table:
        defined = table["defined"]
        for row in rows_of(definition_of_hits(), defined["place"], defined["rows"]):
            yield {"mend": defined["mend"], **row}


def _places(row: dict[str, Any], name: str) -> Iterator[Place]:
    row = dict(row)
    need, absent = row.pop("need"), row.pop("absent", None)
    severity = _NEEDS[need] if absent is None else Severity[absent.upper()]
    lists: dict[str, Any] = {key: tuple(row.pop(key)) for key in _LISTS if key in row}
    mend = row.pop("mend", None) or _mend(row)
    for place in _expanded(row.pop("place")):
        yield Place(place=place, absent={name: severity}, need={name: need}, mend=mend, **row, **lists)


def _mend(row: dict[str, Any]) -> str:
    if row.get("example") is not None or "type" not in row:
        return "give it in a template (hitsieve check --template, --fix), or have the writer record it"
    return "have the writer record it"


def _check(row: dict[str, Any], name: str, source: str) -> Check:
    severity = Severity[row["severity"].upper()]
    return Check(row["id"], name, severity, row["what"], row["mend"], row.get("source", source))


def _expanded(text: str) -> list[str]:
    """Write a place with {a,b} in it once for each."""
    found = re.search(r"\{(.*?)\}", text)
    return [text] if found is None else [text.replace(found[0], name) for name in found[1].split(",")]
