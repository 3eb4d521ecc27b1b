"""Axes and the chains that depends_on makes of them."""

from __future__ import annotations

import h5py
import numpy as np

from hitsieve.check.findings import Severity, legible
from hitsieve.check.reading import (
    at_path,
    attribute,
    kind_of,
    member,
    names_in,
    numbers,
    shape_of,
    text_attribute,
    text_of,
    value_of,
)
from hitsieve.check.rules import units
from hitsieve.check.subject import Subject, of_class

_MODULE = ("fast_pixel_direction", "slow_pixel_direction", "module_offset")
_NO_AXES = ("_end", "_increment_set", "_weight", "_errors")
_UNIT = 1e-3
"""Most by which the length of a vector may differ from 1: writers round."""


def check_chains(subject: Subject) -> None:
    """Check every axis that sample, detector and modules depend on, and every chain to its end."""
    starts = [
        (item, text_of(value_of(item)))
        for place in ("entry/sample", "entry/instrument/detector")
        for group in subject.groups(place)
        if isinstance(item := member(group, "depends_on"), h5py.Dataset)
    ]
    for item, first in starts:
        if first:
            _follow(subject, str(item.name), item.parent, first)
    for axis in _axes(subject):
        _check_axis(subject, axis)
        first = text_attribute(axis, "depends_on")
        if first:
            _follow(subject, f"{axis.name}@depends_on", axis.parent, first)
        elif f"{axis.name}@depends_on" not in subject.told:
            told = "is absent, so that the chain has no end"
            subject.find("chain", f"{axis.name}@depends_on", told)


def _axes(subject: Subject) -> list[h5py.Dataset]:
    """All axes of the modules, the sample and the detector, each once."""
    found = [
        item
        for module in subject.groups("entry/instrument/detector/module")
        for name in _MODULE
        if isinstance(item := member(module, name), h5py.Dataset)
    ]
    for place in ("entry/sample", "entry/instrument/detector", "entry/instrument"):
        for group in subject.groups(place):
            for axes in of_class(group, "transformations", "NXtransformations"):
                for name in names_in(axes):
                    item = member(axes, name)
                    if isinstance(item, h5py.Dataset) and not name.endswith(_NO_AXES):
                        found.append(item)
    return list({str(item.name): item for item in found}.values())


def _follow(subject: Subject, place: str, group: h5py.Group, first: str) -> None:
    """Walk a chain from its first axis to its end."""
    seen: list[str] = []
    here, path = group, first
    while path != ".":
        target = at_path(here, path)
        if not isinstance(target, h5py.Dataset):
            # Only the link that is wrong is told, once, not each chain that goes through it.
            if not seen:
                told = "a group" if isinstance(target, h5py.Group) else "nothing"
                subject.find("chain", place, f"names {legible(path)}, which is {told}")
            return
        name = str(target.name)
        if name in seen:
            loop = seen[seen.index(name) :]
            # Every chain that leads into a loop would tell of it.
            if f"{min(loop)}@depends_on" not in subject.told:
                told = f"is a loop: {' -> '.join([*loop, name])}"
                subject.find("chain", f"{min(loop)}@depends_on", told)
            return
        seen.append(name)
        here, path = target.parent, text_attribute(target, "depends_on")
        if not path:
            if f"{name}@depends_on" not in subject.told and len(seen) == 1:
                subject.find("chain", f"{name}@depends_on", "is absent, so that the chain has no end")
            return


def _check_axis(subject: Subject, axis: h5py.Dataset) -> None:
    """Type, vector, units and values of one axis."""
    name = str(axis.name)
    if kind_of(axis) not in "iuf" or (not shape_of(axis) and shape_of(axis) != ()):
        if name not in subject.told:
            subject.find("axis", name, "holds no numbers", severity=Severity.ERROR)
        return
    kind = text_attribute(axis, "transformation_type")
    if kind not in ("translation", "rotation") and f"{name}@transformation_type" not in subject.told:
        told = f"is {legible(kind)!r}, neither translation nor rotation" if kind else "is absent"
        subject.find("axis", f"{name}@transformation_type", told, severity=Severity.ERROR)
    _check_vector(subject, axis)
    stated, wanted = text_attribute(axis, "units"), {"translation": "length", "rotation": "angle"}.get(kind)
    if wanted and f"{name}@units" not in subject.told and stated.lower() not in units()[wanted]:
        told = f"is {legible(stated)!r}, no known unit of {wanted}" if stated else "is absent"
        mend = f"use one of {', '.join(list(units()[wanted])[:4])}"
        subject.find("axis", f"{name}@units", told, mend=mend, severity=Severity.ERROR)
    values = numbers(value_of(axis))
    if values is not None and not np.isfinite(values).all() and kind:
        subject.find("axis", name, "has values that are no numbers (NaN or infinite)")


def _check_vector(subject: Subject, axis: h5py.Dataset) -> None:
    name = str(axis.name)
    place = f"{name}@vector"
    if place not in subject.told:
        vector = numbers(attribute(axis, "vector"))
        if vector is None or len(vector) != 3 or not np.isfinite(vector).all() or not vector.any():
            told = "is absent" if vector is None else "is not three numbers that make a direction"
            subject.find("axis", place, told, severity=Severity.ERROR)
        elif abs(float(np.linalg.norm(vector)) - 1) > _UNIT:
            subject.find("axis", place, f"has length {np.linalg.norm(vector):.4g}, not 1")
    offset = numbers(attribute(axis, "offset"))
    if offset is None or f"{name}@offset" in subject.told or not offset.any():
        return
    if len(offset) != 3 or not np.isfinite(offset).all():
        subject.find("axis", f"{name}@offset", "is not three numbers", severity=Severity.ERROR)
    stated = text_attribute(axis, "offset_units")
    if stated.lower() not in units()["length"]:
        told = f"is {legible(stated)!r}, no known unit of length" if stated else "is absent, where offset is not 0"
        subject.find("axis", f"{name}@offset_units", told)
