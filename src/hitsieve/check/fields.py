"""Checks of single places: there or not, of the right type, size and units, and saying something."""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np

from hitsieve.check.findings import Severity, legible
from hitsieve.check.reading import (
    Broken,
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
from hitsieve.check.rules import TYPES, WORDS, Place, units
from hitsieve.check.subject import ABSENT, Subject
from hitsieve.check.times import moment_of, why_no_time

_KINDS = {"text": "SO", "date": "SO", "zone": "SO", "bool": "biu", "int": "iu", "float": "fiu", "number": "iuf"}
_HEAVY = frozenset({"data", "pixel_mask", "flatfield"})
"""Fields that are images, whose values are looked at elsewhere or not at all."""


def check_places(subject: Subject) -> None:
    """Check all groups, fields and attributes that have a place."""
    for rule in subject.book.of(subject.sets):
        if "@" in rule.place:
            _check_attribute(subject, rule)
        elif rule.is_group:
            _check_group(subject, rule)
        else:
            _check_field(subject, rule)


def _check_group(subject: Subject, rule: Place) -> None:
    parents = subject.groups(rule.owner)
    for parent in parents:
        # A group behind an external link has the name that it has there.
        found = [group for group in subject.groups(rule.place) if len(parents) == 1 or _is_in(group, parent)]
        place = f"{parent.name}/{rule.name}"
        for group in found:
            if not text_attribute(group, "NX_class") and rule.name in subject.book.classes:
                wanted = subject.book.classes[rule.name]
                subject.find("class", str(group.name), f"has no NX_class; it should be {wanted}")
        if found:
            continue
        other = _elsewhere(subject, rule)
        if other:
            subject.lack(rule, place, f"is absent; the file has it at {other}", Severity.WARNING, "move it, or link it")
            continue
        there = member(parent, rule.name)
        if isinstance(there, h5py.Dataset):
            subject.lack(rule, place, "is a data set where a group belongs")
        elif isinstance(there, Broken):
            subject.lack(rule, place, there.why)
        elif isinstance(there, h5py.Group):
            stated = text_attribute(there, "NX_class")
            wanted = subject.book.classes.get(rule.name, "")
            subject.lack(rule, place, f"is of class {stated}; it should be {wanted}")
        else:
            subject.lack(rule, place, f"{ABSENT}{rule.what}{_needed(subject, rule)}")


def _is_in(group: h5py.Group, parent: h5py.Group) -> bool:
    return str(group.name).rpartition("/")[0] == str(parent.name).rstrip("/")


def _needed(subject: Subject, rule: Place) -> str:
    """What a group that is absent would have to hold."""
    names = [below.name for below in subject.book.below(rule.place) if below.severity(subject.sets) is Severity.ERROR]
    return f" (it holds {', '.join(names)})" if names else ""


def _elsewhere(subject: Subject, rule: Place) -> str:
    """Where else a file has what a place asks for; nothing where nowhere."""
    for place in rule.elsewhere:
        if rule.is_group:
            groups = subject.groups(place)
            if groups:
                return str(groups[0].name)
            continue
        owner, _, name = place.rpartition("/")
        for group in subject.groups(owner):
            if isinstance(member(group, name), h5py.Dataset):
                return f"{group.name}/{name}"
    return ""


def _check_field(subject: Subject, rule: Place) -> None:
    for group in subject.groups(rule.owner):
        place = f"{group.name}/{rule.name}"
        found = member(group, rule.name)
        if isinstance(found, h5py.Dataset):
            _check_content(subject, rule, found, place)
        elif isinstance(found, h5py.Group):
            subject.lack(rule, place, "is a group where a field belongs", _as_bad(subject, rule))
        elif isinstance(found, Broken):
            subject.lack(rule, place, found.why, _as_bad(subject, rule))
        elif not _instead(group, rule):
            other = _elsewhere(subject, rule)
            if other:
                told = f"is absent; the file has it at {other}"
                subject.lack(rule, place, told, Severity.WARNING, "move it, or link it")
            else:
                subject.lack(rule, place, f"{ABSENT}{rule.what}")


def _instead(group: h5py.Group, rule: Place) -> bool:
    """Whether a group has another field that says the same."""
    return any(re.fullmatch(pattern, name) for pattern in rule.instead for name in names_in(group))


def _as_bad(subject: Subject, rule: Place) -> Severity:
    """How bad it is that something is wrong with a field: as if it were absent, and a warning where it may be."""
    return max(rule.severity(subject.sets) or Severity.WARNING, Severity.WARNING)


def _check_content(subject: Subject, rule: Place, item: h5py.Dataset, place: str) -> None:
    """Type, rank, size, value and units of a field that is there."""
    bad = _as_bad(subject, rule)
    kind, shape = kind_of(item), shape_of(item)
    if shape is None:
        subject.lack(rule, place, f"holds nothing: {rule.what}", rule.severity(subject.sets) and bad)
        return
    if kind not in _KINDS[rule.type]:
        subject.lack(
            rule, place, f"holds {_words(kind)}, not {TYPES[rule.type]}", bad, "have the writer store the right type"
        )
        return
    if rule.rank and len(shape) not in rule.rank:
        told = f"has {len(shape)} dimensions, not {' or '.join(map(str, rule.rank))}"
        subject.lack(rule, place, told, bad, "have the writer store the right shape")
        return
    if rule.name in _HEAVY or rule.rows:
        return
    if 0 in shape:
        # Of no images there are no values.
        if subject.n_images != 0:
            subject.lack(rule, place, f"holds no values: {rule.what}", bad)
        return
    value = value_of(item)
    problem = _unset(rule, value) or _wrong_value(rule, value)
    if problem:
        absent = rule.severity(subject.sets)
        severity = absent if problem in _SAYS_NOTHING and absent is not None else bad
        subject.lack(rule, place, f"{problem}: {rule.what}", severity)
        return
    if rule.type in ("date", "zone"):
        _check_time(subject, rule, value, place)
    if rule.units:
        _check_units(subject, rule, item, place)


_EMPTY, _NOT_SET, _TOO_MUCH = "is empty", "is not set (0, negative or NaN)", "cannot be read, or is far too large"
_SAYS_NOTHING = frozenset({_EMPTY, _NOT_SET})


def _unset(rule: Place, value: Any) -> str:
    """Why a value says nothing; nothing where it says something."""
    if value is None:
        return _TOO_MUCH
    if rule.type in WORDS:
        texts = [text_of(one) for one in np.asarray(value, dtype=object).ravel().tolist()]
        return _EMPTY if not any(texts) else ""
    found = numbers(value)
    if found is None:
        return _TOO_MUCH
    # A spectrum, or a run of many images, may have single values that say nothing.
    if rule.positive and not np.any(np.isfinite(found) & (found > 0)):
        return _NOT_SET
    return _NOT_SET if rule.type in ("float", "number") and not np.any(np.isfinite(found)) else ""


def _wrong_value(rule: Place, value: Any) -> str:
    """Why a value is none that the rule allows; nothing where it is."""
    if rule.size and np.size(value) not in rule.size:
        # One row an image is as good as one for all.
        last = np.shape(value)[-1:] if np.ndim(value) == 2 else ()
        if not (last and int(last[0]) in rule.size):
            return f"has {np.size(value)} values, not {' or '.join(map(str, rule.size))}"
    if rule.type == "bool":
        found = numbers(value)
        return "" if found is not None and np.isin(found, (0, 1)).all() else "is neither true (1) nor false (0)"
    if rule.values:
        text = text_of(value)
        if text not in rule.values:
            return f"is {legible(text)!r}, not {' or '.join(rule.values)}"
    return ""


def _words(kind: str) -> str:
    words = {"S": "text", "O": "text or references", "V": "a compound or opaque type", "b": "true or false"}
    return words.get(kind, "whole numbers" if kind in "iu" else "numbers" if kind == "f" else "an unknown type")


def _check_units(subject: Subject, rule: Place, item: h5py.HLObject, place: str) -> None:
    """Units are there, known, and of the right kind."""
    stated = text_attribute(item, "units")
    known = units()[rule.units]
    severity = Severity.ERROR if rule.severity(subject.sets) is Severity.ERROR else None
    if not stated:
        first = next(iter(known))
        mend = f'give it the attribute units, such as "{first}"'
        subject.find("units", f"{place}@units", "is absent", severity=severity, mend=mend)
    elif stated.lower() not in known:
        kinds = [kind for kind, names in units().items() if stated.lower() in names]
        told = f"is {legible(stated)!r}, " + (
            f"a unit of {kinds[0].replace('_', ' ')}, not of {rule.units.replace('_', ' ')}"
            if kinds
            else f"which is no known unit of {rule.units.replace('_', ' ')}"
        )
        subject.find(
            "units", f"{place}@units", told, severity=severity, mend=f"use one of {', '.join(list(known)[:6])}"
        )


def _check_time(subject: Subject, rule: Place, value: Any, place: str) -> None:
    text = next((text for one in np.asarray(value, dtype=object).ravel().tolist() if (text := text_of(one))), "")
    why = why_no_time(rule.type, text)
    if why:
        subject.find("time", place, f"is {legible(text)!r}, {why}", severity=_as_bad(subject, rule))
        return
    moment = moment_of(text)
    if rule.type == "date" and moment is not None and moment.tzinfo is None:
        subject.find("time", place, f"has no time zone ({legible(text)})")


def _check_attribute(subject: Subject, rule: Place) -> None:
    owner = rule.owner
    group_place, _, name = owner.rpartition("/")
    items: list[h5py.HLObject] = []
    if not group_place or (owner in subject.book.places and subject.book.places[owner].is_group):
        items = list(subject.groups(owner))
    else:
        found = (member(group, name) for group in subject.groups(group_place))
        items = [item for item in found if isinstance(item, h5py.Dataset)]
    for item in items:
        place = f"{item.name}@{rule.name}"
        value = attribute(item, rule.name)
        if value is None:
            subject.lack(rule, place, f"{ABSENT}{rule.what}")
            continue
        text = text_of(value)
        right = text is not None if rule.type == "text" else numbers(value) is not None
        if not right:
            subject.lack(rule, place, f"is not {TYPES[rule.type]}: {rule.what}", _as_bad(subject, rule))
            continue
        problem = _unset(rule, value) or _wrong_value(rule, value)
        if problem:
            subject.lack(rule, place, f"{problem}: {rule.what}", _as_bad(subject, rule))
