"""The images: where they are, whether they are alike, and whether they can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hitsieve.check.decoding import why_not_decoded
from hitsieve.check.findings import Severity, legible
from hitsieve.check.reading import (
    FAILURES,
    Broken,
    at_path,
    kind_of,
    link_of,
    locate,
    member,
    names_in,
    shape_of,
    short,
    text_attribute,
    why_not_there,
)
from hitsieve.check.subject import Subject

PARTS = re.compile(r"data_\d+")
DEEPEST = 8
"""Virtual data sets that show virtual data sets, at most."""
DECODED = 32
"""Files of a run of which images are decoded, evenly chosen."""


@dataclass(frozen=True, slots=True)
class Images:
    """What the images of an entry are like."""

    n: int
    shape: tuple[int, ...]
    """Of one image: (slow, fast), or more."""


def check_images(subject: Subject) -> Images | None:
    """Check the images of an entry.

    Returns
    -------
    Images or None
        What they are like; None where there are none to compare with.
    """
    found: list[tuple[str, h5py.Dataset]] = []
    n_broken = 0
    for place, item in _shown(subject):
        if isinstance(item, h5py.Dataset):
            found.append((place, item))
        else:
            n_broken += 1
            subject.find("images", place, item.why if isinstance(item, Broken) else "is a group where images belong")
    alike = [(place, item, shape) for place, item in found if (shape := _usable(subject, place, item))]
    if not alike:
        _tell_absent(subject, bool(found) or n_broken > 0)
        return None
    whole = [one for one in alike if one[0].endswith("/data")] or alike
    first = whole[0][2]
    for place, item, shape in alike:
        if shape[1:] != first[1:]:
            subject.find(
                "images", place, f"has images of {_by(shape[1:])} pixels, where {whole[0][0]} has {_by(first[1:])}"
            )
        elif item.dtype != whole[0][1].dtype:
            told = f"holds {item.dtype}, where {whole[0][0]} holds {whole[0][1].dtype}"
            subject.find("images", place, told)
    _check_stored(subject, [(place, item) for place, item, _ in alike])
    if n_broken:
        return Images(-1, first[1:])
    return Images(sum(shape[0] for _, _, shape in whole), first[1:])


def _shown(subject: Subject) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | Broken]]:
    """All that an entry shows as its images."""
    for group in subject.groups("entry/data"):
        names = list(names_in(group))
        signal = text_attribute(group, "signal")
        wanted = [name for name in names if name == "data" or PARTS.fullmatch(name)]
        if not wanted and signal in names:
            wanted = [signal]
        for name in wanted:
            item = member(group, name)
            if item is not None:
                yield f"{group.name}/{name}", item


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


def _check_stored(subject: Subject, found: list[tuple[str, h5py.Dataset]]) -> None:
    """Follow virtual data sets to the files, see that all is there, and decode some images."""
    stored: dict[tuple[str, str], tuple[str, h5py.Dataset]] = {}
    follow = _Follow(subject)
    for place, item in found:
        for inner, dataset in follow.stored(place, item, 0):
            stored.setdefault((str(dataset.file.filename), str(dataset.name)), (inner, dataset))
    chosen = list(stored.values())
    if len(chosen) > DECODED:
        chosen = [chosen[int(i)] for i in np.linspace(0, len(chosen) - 1, DECODED).round()]
    for place, dataset in stored.values():
        _check_written(subject, place, dataset)
    for place, dataset in chosen:
        _decode(subject, place, dataset)
    follow.close()


def _check_written(subject: Subject, place: str, item: h5py.Dataset) -> None:
    """Count images that were never written."""
    try:
        shape, chunks = shape_of(item) or (), item.chunks
        if 0 in shape or item.external:
            return
        if chunks is None:
            if item.id.get_storage_size() == 0:
                subject.find("written", place, f"none of its {shape[0]:,} images was ever written")
            return
        whole = int(np.prod([-(-n // c) for n, c in zip(shape, chunks, strict=True)], dtype=object))
        there = int(item.id.get_num_chunks())
    except FAILURES as error:
        subject.find("images", place, f"its index of chunks cannot be read: {short(error)}")
        return
    if there < whole:
        one_each = len(shape) == 3 and chunks == (1, *shape[1:])
        what = "images were" if one_each else "parts (chunks) were"
        subject.find("written", place, f"{whole - there:,} of {whole:,} {what} never written")


def _decode(subject: Subject, place: str, item: h5py.Dataset) -> None:
    """Decode the first and the last image."""
    shape = shape_of(item) or ()
    if 0 in shape or not shape:
        return
    n = shape[0] if len(shape) > 2 else 1
    for image in dict.fromkeys((0, n - 1)):
        why = why_not_decoded(item, image)
        if why:
            subject.find("images", place, f"image {image:,} cannot be read: {legible(why)}")
            return


class _Follow:
    """Follows virtual data sets to those that store their images, each file opened once."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._open: dict[Path, h5py.File | str] = {}

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            if isinstance(file, h5py.File):
                file.close()

    def stored(self, place: str, item: h5py.Dataset, depth: int) -> Iterator[tuple[str, h5py.Dataset]]:
        """Data sets that store what a data set shows, with places to tell of them; what is wrong is told."""
        try:
            is_virtual = item.is_virtual
            sources = item.virtual_sources() if is_virtual else []
            outside = item.external or ()
        except FAILURES as error:
            self._subject.find("images", place, f"its layout cannot be read: {short(error)}")
            return
        if not is_virtual:
            self._check_outside(place, item, [name for name, _, _ in outside])
            yield place, item
            return
        if depth > DEEPEST:
            self._subject.find("sources", place, "is a virtual data set that shows itself")
            return
        self._check_covered(place, item, sources)
        seen: set[tuple[str, str]] = set()
        for source in sources:
            key = (source.file_name, source.dset_name)
            if key in seen or "%" in source.file_name.replace("%%", ""):
                continue
            seen.add(key)
            found = self._source(place, item, *key)
            if found is None:
                continue
            inner = place if source.file_name == "." else f"{place} ({Path(source.file_name).name}:{source.dset_name})"
            self._check_extent(place, source, found)
            yield from self.stored(inner, found, depth + 1)

    def _check_outside(self, place: str, item: h5py.Dataset, names: list[str]) -> None:
        here = Path(item.file.filename)
        for name in names:
            why = why_not_there(locate(name, here))
            if why:
                self._subject.find("sources", place, f"stores its images in {legible(name)}, which {why}")

    def _source(self, place: str, item: h5py.Dataset, name: str, dataset: str) -> h5py.Dataset | None:
        """A source of a virtual data set; None, and told, where it is not there."""
        if name == ".":
            found = at_path(item.file["/"], dataset)
        else:
            path = locate(name, Path(item.file.filename))
            file = self._opened(path)
            if isinstance(file, str):
                self._subject.find("sources", place, f"shows images of {legible(name)}, which {file}")
                return None
            found = at_path(file["/"], dataset)
        if not isinstance(found, h5py.Dataset) or shape_of(found) is None:
            self._subject.find(
                "sources", place, f"shows {legible(dataset)} of {legible(name)}, which has no such data set"
            )
            return None
        return found

    def _opened(self, path: Path) -> h5py.File | str:
        """An open file, or why it cannot be opened."""
        if path not in self._open:
            why = why_not_there(path)
            if why:
                self._open[path] = why
            else:
                try:
                    self._open[path] = h5py.File(path, "r", locking=False)
                except FAILURES as error:
                    self._open[path] = f"HDF5 cannot open ({short(error)})"
        return self._open[path]

    def _check_extent(self, place: str, source: h5py.h5d.VDSmap, found: h5py.Dataset) -> None:
        """Compare what a mapping says of its source with the source."""
        real = shape_of(found) or ()
        try:
            stated = tuple(source.src_space.shape)
            points = int(source.vspace.get_select_npoints())
        except FAILURES:
            return
        # A source that is shown whole is stored without its shape.
        if not stated:
            fits, shown = points <= int(np.prod(real, dtype=object)), f"{points:,} pixels"
        else:
            fits = len(stated) == len(real) and stated[1:] == real[1:] and stated[0] <= real[0]
            shown = _by(stated)
        if not fits:
            told = f"shows {shown} of {legible(source.file_name)}, which has {_by(real)}"
            self._subject.find("sources", place, told)

    def _check_covered(self, place: str, item: h5py.Dataset, sources: list[h5py.h5d.VDSmap]) -> None:
        """Count images that no source stands for."""
        shape = shape_of(item) or ()
        try:
            points = sum(int(source.vspace.get_select_npoints()) for source in sources)
        except FAILURES:
            return
        size = int(np.prod(shape, dtype=object)) if shape else 0
        if size > 0 and points < size:
            pixels = max(int(np.prod(shape[1:], dtype=object)), 1)
            lost = -(-(size - points) // pixels)
            self._subject.find("written", place, f"{lost:,} of {shape[0]:,} images have no source")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)


def links_of_images(subject: Subject) -> Iterator[tuple[str, h5py.ExternalLink]]:
    """External links among the images of an entry."""
    for group in subject.groups("entry/data"):
        for name in names_in(group):
            link = link_of(group, name)
            if isinstance(link, h5py.ExternalLink):
                yield f"{group.name}/{name}", link
