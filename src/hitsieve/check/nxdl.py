"""Rules for hit information, from its NeXus definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any
from xml.etree.ElementTree import Element, fromstring

_SPACE = "{http://definition.nexusformat.org/nxdl/3.1}"
_TYPES = {
    "NX_CHAR": "text",
    "NX_DATE_TIME": "date",
    "NX_BOOLEAN": "bool",
    "NX_INT": "int",
    "NX_UINT": "int",
    "NX_FLOAT": "float",
    "NX_NUMBER": "number",
    "NX_BINARY": "number",
}
_UNITS = {"NX_LENGTH": "place", "NX_ANGLE": "angle", "NX_WAVENUMBER": "per_length", "NX_COUNT": "count"}


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of a class of groups, and what an application asks of it."""

    base: Element
    application: Element
    """The group in the application definition."""


def definition_of_hits() -> Definition:
    """Read NXhit_finding, and the addition to NXmx that has it."""
    # Data of the package, read as such: nothing of the room that writes them is imported.
    folder = resources.files("hitsieve") / "write"
    base, addition = (
        fromstring((folder / name).read_text(encoding="utf-8"))  # noqa: S314 - of the package itself
        for name in ("NXhit_finding.nxdl.xml", "NXmx_addition.nxdl.xml")
    )
    found = addition.find(f"{_SPACE}group/{_SPACE}group[@type='NXhit_finding']")
    if found is None:
        raise LookupError("NXmx_addition.nxdl.xml has no group of class NXhit_finding")
    return Definition(base, found)


def rows_of(definition: Definition, place: str, rows: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Places of a definition, as rows of a table of rules.

    Parameters
    ----------
    definition : Definition
    place : str
        Place of the group.
    rows : dict of str
        By symbol of the definition: what has as many rows.
    """
    needs = dict(_needs(definition.application, place))
    for found, where in _walk(definition.base, place):
        row = _row(found, where, rows)
        # Below a group that need not be there nothing is asked for.
        yield {**row, "need": needs.get(where, "optional")}


def _walk(parent: Element, place: str) -> Iterator[tuple[Element, str]]:
    for child in parent:
        kind, name = child.tag.removeprefix(_SPACE), child.get("name")
        if name is None or kind not in ("group", "field", "attribute"):
            continue
        where = f"{place}@{name}" if kind == "attribute" else f"{place}/{name}"
        yield child, where
        if kind != "attribute":
            yield from _walk(child, where)


def _needs(parent: Element, place: str) -> Iterator[tuple[str, str]]:
    """What an application asks for, by place."""
    for child in parent:
        kind, name = child.tag.removeprefix(_SPACE), child.get("name")
        if name is None or kind not in ("group", "field", "attribute"):
            continue
        where = f"{place}@{name}" if kind == "attribute" else f"{place}/{name}"
        optional = child.get("optional") == "true" or child.get("minOccurs") == "0"
        yield where, "recommended" if child.get("recommended") == "true" else "optional" if optional else "required"
        yield from _needs(child, where)


def _row(found: Element, where: str, rows: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"place": where, "what": _first_sentence(found.findtext(f"{_SPACE}doc"))}
    if found.tag == f"{_SPACE}group":
        return row
    row["type"] = _TYPES[found.get("type", "NX_CHAR")]
    kind = _UNITS.get(found.get("units", ""))
    if kind is not None:
        row["units"] = kind
    dims = [dim.get("value", "") for dim in found.iterfind(f"{_SPACE}dimensions/{_SPACE}dim")]
    if dims:
        row["rank"] = [len(dims)]
        if dims[0] in rows:
            row["rows"] = rows[dims[0]]
        elif len(dims) == 1 and dims[0].isdecimal():
            row["size"] = [int(dims[0])]
    listed = found.find(f"{_SPACE}enumeration")
    if listed is not None and listed.get("open") != "true" and row["type"] == "text":
        row["values"] = [item.get("value", "") for item in listed.iterfind(f"{_SPACE}item")]
    return row


def _first_sentence(text: str | None) -> str:
    words = " ".join((text or "").split()).replace("``", "")
    sentence = words.partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]
