"""All links of a file, and whether its structure can be read at all."""

from __future__ import annotations

from pathlib import Path

import h5py

from hitsieve.check.findings import Severity
from hitsieve.check.reading import (
    Broken,
    can_be_listed,
    identity,
    is_plain_data_set,
    link_of,
    member,
    names_in,
)
from hitsieve.check.subject import Subject

MOST = 200_000
"""Objects that are looked at."""


def check_links(subject: Subject, root: h5py.Group) -> None:
    """Visit every object of the file once, and try every link that was not tried before.

    Files behind external links are opened, but not walked through.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [("", root)]
    looked = 0
    while waiting:
        path, group = waiting.pop()
        own = identity(group)
        if own is None or own in seen:
            continue
        seen.add(own)
        if not can_be_listed(group):
            subject.find("file", path or "/", "its members cannot be listed: the structure of the file is damaged")
            continue
        for name in names_in(group):
            looked += 1
            subject.step()
            if looked > MOST:
                subject.find(
                    "file", "/", f"has more than {MOST:,} objects; the rest was not looked at", severity=Severity.NOTE
                )
                return
            place = f"{path}/{name}"
            link = link_of(group, name)
            # A data set of the file itself is not opened: a large virtual one takes HDF5 long.
            found = None if is_plain_data_set(group, name) else member(group, name)
            if isinstance(found, Broken):
                _tell(subject, place, link, found)
            elif isinstance(link, h5py.ExternalLink):
                _tell_absolute(subject, place, link)
            elif isinstance(found, h5py.Group) and isinstance(link, h5py.HardLink):
                waiting.append((place, found))


def _tell(subject: Subject, place: str, link: object, found: Broken) -> None:
    if place in subject.told:
        return
    if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
        subject.find("links", place, found.why)
    else:
        subject.find("file", place, found.why)


def _tell_absolute(subject: Subject, place: str, link: h5py.ExternalLink) -> None:
    if Path(link.filename).is_absolute():
        subject.find("absolute-link", place, f"names {link.filename} absolutely")
