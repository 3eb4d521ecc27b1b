"""The file under examination: its entry, its groups by class, and what has been found so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from hitsieve.check.findings import Finding, Severity, legible
from hitsieve.check.reading import Broken, Member, link_of, member, names_in, text_attribute, text_of, value_of
from hitsieve.check.rules import Place, RuleBook

ABSENT = "is absent: "
"""How a finding begins where something is simply not there."""
HIT_FINDING = "NXhit_finding"
Sink = Callable[[Finding], None]


@dataclass(slots=True)
class Subject:
    """One entry of one file.

    Parameters
    ----------
    path : Path
        The file.
    entry : h5py.Group
        Its NXmx entry.
    book : RuleBook
        All rules.
    sets : sequence of str
        Rule sets that are asked for.
    tell : callable
        Takes each finding as it is made: whatever comes next may bring HDF5 down.
    """

    path: Path
    entry: h5py.Group
    book: RuleBook
    sets: Sequence[str]
    tell: Sink
    root: h5py.Group | None = None
    """Root of the file, which the entry may be linked from."""
    step: Callable[[], None] = lambda: None
    """Called now and then, as a sign of life."""
    n_images: int | None = None
    """Images of the entry, once they are counted."""
    told: set[str] = field(default_factory=set)
    """Places that something was said of: a second line about them would say the same."""
    _groups: dict[str, list[h5py.Group]] = field(init=False, default_factory=dict)

    def find(
        self, check: str, place: str, what: str, *, mend: str | None = None, severity: Severity | None = None
    ) -> None:
        """Report what a check of several places found; nothing where its rule set is not asked for."""
        rule = self.book.checks[check]
        sets = tuple(name for name in self.sets if name == rules_of(rule.rules, name))
        if not sets:
            return
        worst = rule.severity if severity is None else severity
        self._tell(Finding(worst, check, sets, (legible(place),), legible(what), legible(mend or rule.mend)))

    def lack(
        self, rule: Place, place: str, what: str, severity: Severity | None = None, mend: str | None = None
    ) -> None:
        """Report that what a place asks for is not there, or not as it should be.

        Parameters
        ----------
        rule : Place
            What asks for it.
        place : str
            Where in the file.
        what : str
            What is wrong.
        severity : Severity, optional
            That of what is absent, where not given.
        mend : str, optional
            That of the rule, where not given.
        """
        asking = rule.sets(self.sets, asking=severity is None)
        worst = rule.severity(self.sets) if severity is None else severity
        if asking and worst is not None:
            absent = what.startswith(ABSENT)
            found = Finding(worst, rule.place, asking, (legible(place),), legible(what), mend or rule.mend, absent)
            self._tell(found)

    def _tell(self, finding: Finding) -> None:
        self.told.add(finding.place)
        self.tell(finding)

    def groups(self, place: str) -> list[h5py.Group]:
        """Groups that a place stands for; without those of a missing parent."""
        if place == "entry":
            return [self.entry]
        if place not in self._groups:
            parent, _, name = place.rpartition("/")
            self._groups[place] = [found for group in self.groups(parent) for found in self._named(group, name)]
        return self._groups[place]

    def forget(self) -> None:
        """Look groups up again: the file was changed."""
        self._groups.clear()

    def _named(self, group: h5py.Group, name: str) -> list[h5py.Group]:
        """Members of a group that are of the class of a usual name, or have it and no class."""
        if name == "hit_finding":
            return hit_findings(group)
        wanted = self.book.classes.get(name)
        if wanted is None:
            found = member(group, name)
            return [found] if isinstance(found, h5py.Group) else []
        return of_class(group, name, wanted)


def rules_of(rules: str, name: str) -> str:
    """Rule set of a check among those asked for: the Gold Standard is NXmx, and its checks are those of NXmx."""
    return name if rules == name or (rules, name) == ("nxmx", "gold") else ""


def of_class(group: h5py.Group, name: str, nx_class: str) -> list[h5py.Group]:
    """Members that are of a class, in the order of their names; else the one of the usual name without a class."""
    found = []
    unclassed: Member = None
    for own in names_in(group):
        if not could_be_group(group, own):
            continue
        item = member(group, own)
        if not isinstance(item, h5py.Group):
            continue
        stated = text_attribute(item, "NX_class")
        if stated == nx_class:
            found.append(item)
        elif not stated and own == name:
            unclassed = item
    if not found and isinstance(unclassed, h5py.Group):
        return [unclassed]
    return found


def hit_findings(entry: h5py.Group) -> list[h5py.Group]:
    """Groups of hit information: of class NXhit_finding, or NXprocess that says it follows it, or of that name."""
    found = []
    for name in names_in(entry):
        item = member(entry, name) if could_be_group(entry, name) else None
        if not isinstance(item, h5py.Group):
            continue
        stated = member(item, "definition")
        definition = text_of(value_of(stated)) if isinstance(stated, h5py.Dataset) else None
        nx_class = text_attribute(item, "NX_class")
        if name == "hit_finding" or nx_class == HIT_FINDING or (nx_class, definition) == ("NXprocess", HIT_FINDING):
            found.append(item)
    return found


def could_be_group(group: h5py.Group, name: str) -> bool:
    """Whether a member can be a group, told without opening data sets, of which large virtual ones take long."""
    link = link_of(group, name)
    if isinstance(link, h5py.ExternalLink):
        # Master files link thousands of data sets, and hardly ever a group.
        return re.fullmatch(r"data_\d+", name) is None
    try:
        return group.get(name, getclass=True) is h5py.Group
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return False


def entries_of(file: h5py.File) -> list[h5py.Group]:
    """NXentry groups of a file; else the group entry without a class."""
    return of_class(file["/"], "entry", "NXentry")


def broken(found: Member) -> str:
    """Why a member cannot be opened; nothing where it can."""
    return found.why if isinstance(found, Broken) else ""
