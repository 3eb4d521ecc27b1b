"""The images: where they are, and whether they are alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h5py

from hitsieve.check.findings import Severity, legible
from hitsieve.check.reading import Broken, kind_of, member, names_in, shape_of, text_attribute
from hitsieve.check.stored import StoredImages, by, evenly
from hitsieve.check.subject import Subject

PARTS = re.compile(r"data_\d+")


@dataclass(frozen=True, slots=True)
class Images:
    """What the images of an entry are like."""

    n: int
    """-1 where some of them cannot be reached."""
    shape: tuple[int, ...]
    """Of one image: (slow, fast), or more."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A data set of images."""

    place: str
    shape: tuple[int, ...]
    dtype: str


def check_images(subject: Subject) -> Images | None:
    """Check the images of an entry.

    Returns
    -------
    Images or None
        What they are like; None where there are none to compare with.
    """
    alike: list[_Part] = []
    n_broken = n_useless = 0
    stored = StoredImages(subject)
    places = _places(subject)
    chosen = evenly(len(places))
    for number, (group, name) in enumerate(places):
        # A data set that is let go lets its file go, too: there may be thousands.
        item, place = member(group, name), f"{group.name}/{name}"
        if not isinstance(item, h5py.Dataset):
            n_broken += 1
            subject.find("images", place, item.why if isinstance(item, Broken) else "is a group where images belong")
            continue
        shape = _usable(subject, place, item)
        if shape:
            alike.append(_Part(place, shape, str(item.dtype)))
            stored.check(place, item, decode=number in chosen)
        else:
            n_useless += 1
    if not alike:
        _tell_absent(subject, n_broken + n_useless > 0)
        return None
    whole = [part for part in alike if part.place.endswith("/data")] or alike
    first = whole[0]
    for part in alike:
        if part.shape[1:] != first.shape[1:]:
            told = f"has images of {by(part.shape[1:])} pixels, where {first.place} has {by(first.shape[1:])}"
            subject.find("images", part.place, told)
        elif part.dtype != first.dtype:
            subject.find("images", part.place, f"holds {part.dtype}, where {first.place} holds {first.dtype}")
    n = -1 if n_broken else sum(part.shape[0] for part in whole)
    return Images(n, first.shape[1:])


def _places(subject: Subject) -> list[tuple[h5py.Group, str]]:
    """Groups and names of all that an entry shows as its images."""
    places = []
    for group in subject.groups("entry/data"):
        names = list(names_in(group))
        signal = text_attribute(group, "signal")
        wanted = [name for name in names if name == "data" or PARTS.fullmatch(name)]
        if not wanted and signal in names:
            wanted = [signal]
        places += [(group, name) for name in wanted]
    return places


def _usable(subject: Subject, place: str, item: h5py.Dataset) -> tuple[int, ...]:
    """Shape (images, ...) of a data set of images; nothing where it is none."""
    shape = shape_of(item)
    if shape is None or kind_of(item) not in "iuf":
        told = "holds nothing" if shape is None else "holds no numbers"
        if place not in subject.told:
            subject.find("images", place, told)
        return ()
    if len(shape) == 2:
        subject.find("images", place, "has no axis for the images", severity=Severity.WARNING)
        return (1, *shape)
    if len(shape) not in (3, 4):
        subject.find("images", place, f"has {len(shape)} dimensions, not (images, slow, fast)")
        return ()
    if 0 in shape:
        subject.find("written", place, "holds no images" if shape[0] == 0 else "has images of no pixels")
    return shape


def _tell_absent(subject: Subject, said: bool) -> None:
    for group in subject.groups("entry/data"):
        why = text_attribute(group, "data_absent")
        place = f"{group.name}/data"
        if why and not said:
            subject.told.add(place)
            subject.find("written", place, f"is absent: {legible(why)}")
