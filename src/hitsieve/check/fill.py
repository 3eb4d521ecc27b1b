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
    Member,
    at_path,
    attribute,
    holds_something,
    identity,
    is_shown,
    member,
    numbers,
    short,
    text_attribute,
    text_of,
    value_of,
)
from hitsieve.check.rules import WORDS, Place, rule_book
from hitsieve.check.subject import Subject, entries_of, group_of, is_group
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
        subjects = [Subject(name, entry, rule_book(), (), lambda _: None, root=file["/"]) for entry in entries]
        # Attributes come after the fields that they belong to.
        ordered = sorted(given, key=lambda one: "@" in one.place)
        done = [_Filling(subjects, one, overwrite=overwrite).fill() for one in ordered]
    return [Filled(legible(one.place), one.done, legible(one.what)) for one in done]


class _ElsewhereError(Exception):
    """What is to be filled is not in the file itself."""


class _Filling:
    """The writing of one value."""

    def __init__(self, subjects: Sequence[Subject], given: Given, *, overwrite: bool) -> None:
        self._subjects = subjects
        self._subject = subjects[0]
        self._given = given
        self._overwrite = overwrite
        root = identity(self._subject.root)
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
        return SettingsError(f"{self._given.where} {what}", mend=mend)

    def _target(self) -> tuple[h5py.Group, Place]:
        """The group that gets the value, made where it is absent, and the rule."""
        given = self._given
        if given.rule is not None:
            if len(self._subjects) > 1:
                names = ", ".join(legible(one.entry.name) for one in self._subjects[:4])
                told = f"stands for {len(self._subjects)} entries of the file ({names})"
                raise self._wrong(told, "give a path that begins with /")
            return self._one(group_of(given.rule)), given.rule
        path = given.place.partition("@")[0]
        above, _, field = path.rpartition("/")
        name = given.place.removeprefix(f"{above}/")
        for subject in self._subjects:
            for rule in subject.book.places.values():
                of_group = "@" in rule.place and is_group(rule.owner)
                own = f"@{rule.name}" if of_group else rule.place.rpartition("/")[2]
                if own != (name.removeprefix(field) if of_group else name):
                    continue
                item = at_path(subject.entry, (path if of_group else above) or "/")
                if isinstance(item, Broken):
                    raise _ElsewhereError(f"is behind a link that {item.why}")
                if isinstance(item, h5py.Group) and item in subject.groups(group_of(rule)):
                    self._require_own(item)
                    check_given(given.where, rule, given.value, given.units)
                    return item, rule
        if isinstance(at_path(self._subject.entry, above or "/"), h5py.Group):
            raise self._wrong("is no place that NXmx has", "docs/reference/checks.md lists the places")
        raise self._wrong("lies in a group that the file lacks", "name a group of the file")

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
        there = member(parent, name)
        if isinstance(there, Broken):
            raise _ElsewhereError(there.why)
        if there is not None:
            raise self._wrong(f"cannot be made: {parent.name}/{name} is something else", "mend the file first")
        made = parent.create_group(name)
        made.attrs["NX_class"] = self._subject.book.classes.get(name, "NXcollection")
        self._subject.forget()
        return made

    def _field(self, group: h5py.Group, rule: Place) -> Filled:
        there = member(group, rule.name)
        place = f"{group.name}/{rule.name}"
        why = self._why_it_stays(there)
        if why:
            return Filled(place, False, why)
        kept: dict[str, Any] = {}
        if isinstance(there, h5py.Dataset):
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

    def _why_it_stays(self, there: Member) -> str:
        """Why what is there is not to be replaced; nothing where it may be."""
        if isinstance(there, h5py.Group):
            return "is a group in the file"
        if isinstance(there, Broken):
            return "" if self._overwrite else there.why
        return self._why_a_value_stays(there) if isinstance(there, h5py.Dataset) else ""

    def _why_a_value_stays(self, there: h5py.Dataset) -> str:
        if is_shown(there):
            return "is there, and shows other files"
        value = value_of(there)
        if value is None and holds_something(there):
            return "is there, and cannot be read here"
        if not _says(value):
            return ""
        if _same(value, self._given.value) and text_attribute(there, "units") == self._given.units:
            return "is there already"
        return "" if self._overwrite else _told(there, value)

    def _attribute(self, group: h5py.Group, rule: Place) -> Filled:
        of_group = is_group(rule.owner)
        field = rule.owner.rpartition("/")[2]
        item = group if of_group else member(group, field)
        place = f"{group.name}@{rule.name}" if of_group else f"{group.name}/{field}@{rule.name}"
        if isinstance(item, Broken):
            return Filled(place, False, item.why)
        if not isinstance(item, h5py.Dataset | h5py.Group):
            return Filled(place, False, "belongs to a field that the file lacks")
        self._require_own(item)
        value = attribute(item, rule.name)
        if value is not None and _says(value) and not self._overwrite:
            same = _same(value, self._given.value)
            return Filled(place, False, "is there already" if same else f"is {legible(value)} in the file")
        item.attrs[rule.name] = _stored(rule, self._given.value)
        return Filled(place, True, f"is {self._given.value}")


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
