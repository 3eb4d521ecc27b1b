"""Fills an open file from a template, and says what was filled and what was left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hitsieve.check.findings import legible
from hitsieve.check.reading import (
    FAILURES,
    Broken,
    at_path,
    attribute,
    holds_something,
    identity,
    link_of,
    member,
    numbers,
    short,
    text_attribute,
    text_of,
    value_of,
)
from hitsieve.check.rules import WORDS, Place, rule_book
from hitsieve.check.subject import Subject, entries_of
from hitsieve.check.template import Given, check_given
from hitsieve.errors import SettingsError, SourceError

BY = "user (hitsieve check --fix)"
"""Attribute `source` of what was filled."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of one value of a template."""

    place: str
    """In the file."""
    done: bool
    what: str
    """What was done, or why it was left."""


def fill(stream: BinaryIO | Any, given: Sequence[Given], *, overwrite: bool, name: Path) -> list[Filled]:
    """Write the values of a template into a file that may be changed.

    Parameters
    ----------
    stream : binary file
        The file: a copy, never the original.
    given : sequence of Given
        The template.
    overwrite : bool
        Replace values that are there.
    name : Path
        What messages call the file.

    Returns
    -------
    list of Filled
        One for each value.

    Raises
    ------
    SettingsError
        A place is not in the file, or several are.
    SourceError
        The file cannot be changed.
    """
    try:
        file = h5py.File(stream, "r+")
    except FAILURES as error:
        raise SourceError(
            f"{name}: HDF5 cannot change it ({short(error)})", mend="copy it again from its origin"
        ) from error
    with file:
        entries = entries_of(file)
        if not entries:
            raise SourceError(f"{name}: has no entry (NXentry)", mend="give the master file of a run")
        subject = Subject(name, entries[0], rule_book(), (), lambda _: None, root=file["/"])
        # Attributes come after the fields that they belong to.
        ordered = sorted(given, key=lambda one: "@" in one.place)
        return [_Filling(subject, one, overwrite=overwrite).fill() for one in ordered]


class _ElsewhereError(Exception):
    """What is to be filled is not in the file itself."""


class _Filling:
    """The writing of one value."""

    def __init__(self, subject: Subject, given: Given, *, overwrite: bool) -> None:
        self._subject = subject
        self._given = given
        self._overwrite = overwrite
        root = identity(subject.root)
        self._file = None if root is None else root[0]

    def fill(self) -> Filled:
        try:
            group, rule = self._target()
            if "@" in self._given.place:
                return self._attribute(group, rule)
            return self._field(group, rule)
        except _ElsewhereError as error:
            return Filled(self._given.place, False, str(error))
        except FAILURES as error:
            raise SourceError(
                f"{self._subject.path}: {self._given.place} cannot be written ({short(error)})",
                mend="copy the file again from its origin",
            ) from error

    def _require_own(self, item: h5py.HLObject) -> None:
        """See that an object lies in the copy: HDF5 opens what is behind links for writing, too."""
        own, there = self._file, identity(item)
        if own is None or there is None or there[0] != own:
            raise _ElsewhereError("lies in another file")

    def _wrong(self, what: str, mend: str) -> SettingsError:
        return SettingsError(f"template, line {self._given.line}: {self._given.place} {what}", mend=mend)

    def _target(self) -> tuple[h5py.Group, Place]:
        """The group that gets the value, made where it is absent, and the rule."""
        given = self._given
        path = given.place.partition("@")[0]
        if given.rule is not None:
            owner = given.rule.owner if "@" not in given.place else _group_of(given.rule)
            return self._one(owner), given.rule
        above = path.rpartition("/")[0]
        item = at_path(self._subject.entry, above or "/")
        if isinstance(item, Broken):
            raise _ElsewhereError(f"is behind a link that {item.why}")
        if not isinstance(item, h5py.Group):
            raise self._wrong("lies in a group that the file lacks", "name a group of the file")
        self._require_own(item)
        name = given.place.rpartition("/")[2]
        for rule in self._subject.book.places.values():
            if rule.place.rpartition("/")[2] == name and item in self._subject.groups(_group_of(rule)):
                check_given(f"template, line {given.line}: {given.place}", rule, given.value, given.units)
                return item, rule
        raise self._wrong("is no place that NXmx has", "docs/reference/checks.md lists the places")

    def _one(self, owner: str) -> h5py.Group:
        groups = self._subject.groups(owner)
        if len(groups) > 1:
            names = ", ".join(str(group.name) for group in groups[:4])
            raise self._wrong(
                f"stands for {len(groups)} groups of the file ({names})", "give a path that begins with /"
            )
        if groups:
            self._require_own(groups[0])
            return groups[0]
        above, _, name = owner.rpartition("/")
        parent = self._one(above)
        link = link_of(parent, name)
        if isinstance(link, h5py.ExternalLink):
            raise _ElsewhereError(f"lies in another file, {legible(link.filename)}")
        if name in parent:
            raise self._wrong(f"cannot be made: {parent.name}/{name} is something else", "mend the file first")
        made = parent.create_group(name)
        made.attrs["NX_class"] = self._subject.book.classes.get(name, "NXcollection")
        self._subject.forget()
        return made

    def _field(self, group: h5py.Group, rule: Place) -> Filled:
        there = member(group, rule.name)
        place = f"{group.name}/{rule.name}"
        kept: dict[str, Any] = {}
        if isinstance(there, h5py.Group):
            return Filled(place, False, "is a group in the file")
        if isinstance(there, Broken) and not self._overwrite:
            return Filled(place, False, there.why)
        if isinstance(there, h5py.Dataset):
            value = value_of(there)
            if value is None and holds_something(there):
                return Filled(place, False, "is there, and cannot be read here")
            if _says(value):
                same = _same(value, self._given.value) and text_attribute(there, "units") == self._given.units
                if same or not self._overwrite:
                    return Filled(place, False, "is there already" if same else _told(there, value))
            kept = {name: found for name in there.attrs if (found := attribute(there, name)) is not None}
        if there is not None:
            del group[rule.name]
        made = group.create_dataset(rule.name, data=_stored(rule, self._given.value))
        for name, found in kept.items():
            made.attrs[name] = found
        if self._given.units:
            made.attrs["units"] = self._given.units
        made.attrs["source"] = BY
        unit = f" {self._given.units}" if self._given.units else ""
        return Filled(
            place, True, f"is {self._given.value}{unit}" + (", in place of what was there" if there is not None else "")
        )

    def _attribute(self, group: h5py.Group, rule: Place) -> Filled:
        field = rule.owner.rpartition("/")[2]
        item = (
            group
            if group is not None
            and rule.owner in self._subject.book.places
            and self._subject.book.places[rule.owner].is_group
            else member(group, field)
        )
        place = f"{group.name}/{field}@{rule.name}"
        if not isinstance(item, h5py.Dataset | h5py.Group):
            return Filled(place, False, "belongs to a field that the file lacks")
        self._require_own(item)
        value = attribute(item, rule.name)
        if value is not None and _says(value) and not self._overwrite:
            same = _same(value, self._given.value)
            return Filled(place, False, "is there already" if same else f"is {legible(value)} in the file")
        item.attrs[rule.name] = _stored(rule, self._given.value)
        return Filled(place, True, f"is {self._given.value}")


def _group_of(rule: Place) -> str:
    """Place of the group that has a field, or the field of an attribute."""
    place = rule.place.partition("@")[0]
    if "@" in rule.place and place in rule_book().places and rule_book().places[place].is_group:
        return place
    return place.rpartition("/")[0]


def _stored(rule: Place, value: Any) -> Any:
    if rule.type in WORDS or rule.type == "bool":
        return value
    return np.asarray(value, dtype=np.float64 if rule.type == "float" else None)


def _says(value: Any) -> bool:
    """Whether a value says anything: empty text does not."""
    if value is None:
        return False
    text = text_of(value)
    return bool(text) if text is not None else bool(np.size(value))


def _same(value: Any, given: Any) -> bool:
    text = text_of(value)
    if text is not None:
        return bool(text == given)
    found, wanted = numbers(value), numbers(given)
    return found is not None and wanted is not None and found.shape == wanted.shape and bool(np.allclose(found, wanted))


def _told(item: h5py.Dataset, value: Any) -> str:
    unit = text_attribute(item, "units")
    shown = text_of(value)
    return f"is {legible(value if shown is None else shown)}{f' {legible(unit)}' if unit else ''} in the file"
