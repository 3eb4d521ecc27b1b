"""Where a group of an HDF5 file and an NXDL definition do not agree; all rules are read from the NXDL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py
import numpy as np

NXDL = "{http://definition.nexusformat.org/nxdl/3.1}"
ELSEWHERE = ("NXcollection", "NXnote")
"""Classes whose members are not described here: nobody's, and NeXus' own."""
COMMON = {"NX_class", "description"}
PLOTTED = {"signal", "axes", "x_indices", "y_indices"}
"""Attributes that NXdata itself has."""
UNITS = {
    "NX_ANGLE": ("degrees",),
    "NX_COUNT": ("counts",),
    "NX_LENGTH": ("angstrom", "pixels"),
    "NX_WAVENUMBER": ("1/angstrom",),
}
UNITLESS = ("NX_ANY", "NX_DIMENSIONLESS", "NX_UNITLESS", None)
CODE = re.compile(r"^\s*\* (\d) ``(\w+)``", re.MULTILINE)
"""A code and its name in a list of the text."""
KINDS = {"NX_BINARY": "u", "NX_BOOLEAN": "b", "NX_FLOAT": "f", "NX_INT": "iu", "NX_NUMBER": "iuf"}


@dataclass
class Seen:
    """What was found of a definition in files."""

    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Paths, below the group, of what the files have."""


def definition(path: Path) -> ET.Element:
    """Top element of an NXDL file."""
    return ET.parse(path).getroot()


def children(element: ET.Element, kind: str) -> dict[str, ET.Element]:
    """Fields, groups or attributes of an element, by name."""
    return {item.attrib["name"]: item for item in element.findall(NXDL + kind)}


def declared(element: ET.Element, below: str = "") -> Iterator[str]:
    """Paths of all fields and groups of a definition."""
    for kind in ("field", "group"):
        for name, item in children(element, kind).items():
            yield below + name
            if kind == "group":
                yield from declared(item, f"{below}{name}/")


def compare(group: h5py.Group, element: ET.Element, n_images: int) -> Seen:
    """Look at every member of a group, and of its groups.

    Parameters
    ----------
    group : h5py.Group
    element : Element
        The definition of its class.
    n_images : int
        Images of the file: the symbol nP.
    """
    seen = Seen()
    _group(group, element, {"nP": n_images}, "", seen)
    return seen


def lacking(group: h5py.Group, element: ET.Element) -> list[str]:
    """What an application definition requires of a group, and the group does not have."""
    lacks = []
    for kind in ("field", "group"):
        for name, item in children(element, kind).items():
            free = item.get("optional") == "true" or item.get("recommended") == "true" or item.get("minOccurs") == "0"
            if not free and name not in group:
                lacks.append(name)
    return lacks


def _group(group: h5py.Group, element: ET.Element, lengths: dict[str, int], below: str, seen: Seen) -> None:
    fields, groups = children(element, "field"), children(element, "group")
    for name, item in group.items():
        path = below + name
        seen.names.add(path)
        if isinstance(item, h5py.Dataset):
            if name not in fields:
                seen.problems.append(f"{path}: no such field")
            else:
                seen.problems += [f"{path}: {what}" for what in _field(item, fields[name], lengths)]
        elif name not in groups:
            seen.problems.append(f"{path}: no such group")
        else:
            kind = groups[name].attrib["type"]
            if item.attrs["NX_class"] != kind:
                seen.problems.append(f"{path}: is of class {item.attrs['NX_class']}, not {kind}")
            allowed = COMMON | (PLOTTED if kind == "NXdata" else set())
            seen.problems += [f"{path}@{name}: no such attribute" for name in set(item.attrs) - allowed]
            if kind == "NXdata":
                seen.problems += [f"{path}: {what}" for what in _signal(item)]
            if kind not in ELSEWHERE:
                _group(item, groups[name], lengths, f"{path}/", seen)


def _signal(group: h5py.Group) -> Iterator[str]:
    """Rules of NXdata: the signal is there, and has as many axes as are told."""
    signal = group.get(group.attrs.get("signal", ""))
    if not isinstance(signal, h5py.Dataset) or len(group.attrs["axes"]) != signal.ndim:
        yield "NXdata without a signal, or with other axes"


def _field(item: h5py.Dataset, element: ET.Element, lengths: dict[str, int]) -> Iterator[str]:
    kind = element.attrib["type"]
    text = h5py.check_string_dtype(item.dtype) is not None or item.dtype.kind == "S"
    if kind in {"NX_CHAR", "NX_DATE_TIME"} if text else item.dtype.kind not in KINDS.get(kind, ""):
        if not text:
            yield f"is {item.dtype}, not {kind}"
    elif text:
        yield f"is text, not {kind}"
    yield from _shape(item, element, lengths)
    yield from _units(item, element)
    values = element.find(NXDL + "enumeration")
    if values is not None and values.get("open") != "true":
        allowed = {value.attrib["value"] for value in values}
        if item.asstr()[()] not in allowed:
            yield f"is {item.asstr()[()]}, which is none of {', '.join(sorted(allowed))}"
    # NeXus has enumerations for single values only: codes of images stand in the text.
    names = h5py.check_enum_dtype(item.dtype)
    codes = {name: int(code) for code, name in CODE.findall(element.findtext(NXDL + "doc") or "")}
    if codes and item.dtype.kind in "iu":
        if names is not None and names != codes:
            yield f"means {names}, not {codes}"
        bits = 0 not in codes.values()
        if set(np.unique(item[()])) - set(range(sum(codes.values()) + 1) if bits else codes.values()):
            yield f"has other values than {codes}"
    own = COMMON | {"units"} | set(children(element, "attribute"))
    yield from (f"@{name}: no such attribute" for name in set(item.attrs) - own)
    yield from (f"@{name}: absent" for name in children(element, "attribute") if name not in item.attrs)


def _shape(item: h5py.Dataset, element: ET.Element, lengths: dict[str, int]) -> Iterator[str]:
    dimensions = element.find(NXDL + "dimensions")
    if dimensions is None:
        if item.shape != ():
            yield f"has shape {item.shape}, not one value"
        return
    if int(dimensions.attrib["rank"]) != item.ndim:
        yield f"has rank {item.ndim}, not {dimensions.attrib['rank']}"
        return
    for axis, dim in enumerate(dimensions.findall(NXDL + "dim")):
        symbol, _, more = dim.attrib["value"].partition("+")
        length = item.shape[axis] - int(more or 0)
        expected = int(symbol) if symbol.isdigit() else lengths.setdefault(symbol, length)
        if length != expected:
            wanted = f"{dim.attrib['value']} is {expected + int(more or 0)}"
            yield f"has {item.shape[axis]} along axis {axis}, where {wanted}"


def _units(item: h5py.Dataset, element: ET.Element) -> Iterator[str]:
    category, units = element.get("units"), item.attrs.get("units")
    if category in UNITLESS:
        if units is not None:
            yield f"has units {units}, and should have none"
        return
    exact = children(element, "attribute").get("units")
    allowed = UNITS[category or ""]
    if exact is not None:
        allowed = tuple(value.attrib["value"] for value in exact.iter(NXDL + "item"))
    if units not in allowed:
        yield f"has units {units}, not {' or '.join(allowed)}"
