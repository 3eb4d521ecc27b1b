"""From one HDF5 file to its images: which dataset or links hold them, in each style of master file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model import DROPPED_FIELD, DataFile, Problem
from hitsieve.model.named import named_file
from hitsieve.source.access import FileUnavailable, reading
from hitsieve.source.fields import Fields, as_text, groups_of_class, member, names_in, nx_class
from hitsieve.source.layout import Fault, Layout, LayoutBuilder, check_alike
from hitsieve.source.virtual import index

NUMBERED = re.compile(r"data_(\d+)$")


@dataclass(frozen=True, slots=True)
class Opened:
    """The images of one file."""

    style: str
    layout: Layout


def entry_of(file: h5py.File) -> h5py.Group | None:
    """The file's NXentry: the default one, else the first, else the group `entry`."""
    named = as_text(file.attrs.get("default"))
    default = member(file, named) if named else None
    if isinstance(default, h5py.Group) and nx_class(default) == "NXentry":
        return default
    entries = groups_of_class(file, "NXentry")
    found = entries[0] if entries else member(file, "entry")
    return found if isinstance(found, h5py.Group) else None


def index_file(file: h5py.File, path: Path) -> Opened:
    """Index the images of an open file.

    Raises
    ------
    SourceError
        It holds no images, none of its data files can be used, or they do not fit together.
    """
    entry = entry_of(file)
    for group in data_groups(entry):
        numbered = sorted((n for n in names_in(group) if NUMBERED.search(n)), key=_number)
        for name in dict.fromkeys((as_text(group.attrs.get("signal")) or "data", "data")):
            if name in group and name not in numbered:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    return _checked(Opened("external", _index_links(group, [name], path, entry)), path, entry)
                found = _images(group, name)
                if found is not None:
                    return _checked(_index_one(found, path), path, entry)
        if numbered:
            links = any(isinstance(group.get(name, getlink=True), h5py.ExternalLink) for name in numbered)
            layout = _index_links(group, numbered, path, entry)
            return _checked(Opened("external" if links else "single", layout), path, entry)
    return _index_only_stack(file, path)


def _number(name: str) -> int:
    match = NUMBERED.search(name)
    return int(match.group(1)) if match else 0


def data_groups(entry: h5py.Group | None) -> list[h5py.Group]:
    """Groups that may hold the images, likeliest first."""
    if entry is None:
        return []
    groups = [member(entry, "data"), *groups_of_class(entry, "NXdata")]
    for instrument in groups_of_class(entry, "NXinstrument"):
        groups += groups_of_class(instrument, "NXdetector")
    groups.append(entry)
    unique: list[h5py.Group] = []
    for group in groups:
        if isinstance(group, h5py.Group) and group not in unique:
            unique.append(group)
    return unique


def _images(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The member, if it looks like images: a stack, or one image of counts."""
    item = member(group, name)
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iufb":
        return None
    return item if item.ndim >= 3 or (item.ndim == 2 and item.dtype.kind in "iu") else None


def _index_one(dataset: h5py.Dataset, path: Path) -> Opened:
    if dataset.is_virtual:
        return Opened("vds", index(dataset, path))
    return Opened("single", index(dataset, path))


def _index_only_stack(file: h5py.File, path: Path) -> Opened:
    """Images of a file that is not NXmx, if one stack of integers is all it holds."""
    stacks: list[h5py.Dataset] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.dtype.kind in "iu":
            stacks.append(item)

    file.visititems(visit)
    if len(stacks) != 1:
        names = ", ".join(str(s.name) for s in stacks[:4])
        what = f"{len(stacks)} stacks of images ({names}) and no NXmx entry that says which" if stacks else "no images"
        raise SourceError(f"{path}: holds {what}", mend="name an NXmx master file, or its data files")
    opened = _index_one(stacks[0], path)
    problem = Problem(str(path), f"is not NXmx; its only stack of integers, {stacks[0].name}, is taken as the images")
    return replace(opened, layout=replace(opened.layout, problems=(*opened.layout.problems, problem)))


def announced(entry: h5py.Group | None) -> int | None:
    """Images that the detector was told to take: nimages times ntrigger."""
    fields = Fields(Path())
    for detector in _detectors(entry):
        for group in (member(detector, "detectorSpecific"), detector):
            n = fields.number(group, "nimages")
            if n is not None and n >= 1:
                triggers = fields.number(group, "ntrigger")
                return int(n) * (int(triggers) if triggers is not None and triggers >= 1 else 1)
    return None


def _detectors(entry: h5py.Group | None) -> Iterator[Any]:
    for instrument in groups_of_class(entry, "NXinstrument") or [member(entry, "instrument")]:
        yield from groups_of_class(instrument, "NXdetector") or [member(instrument, "detector")]


def _dropped_before_disk(entry: h5py.Group | None) -> str | None:
    """By which rule images of a received series were dropped before they were written; None: none were."""
    fields = Fields(Path())
    found = (fields.text(member(detector, "detectorSpecific"), DROPPED_FIELD) for detector in _detectors(entry))
    return next((rule for rule in found if rule), None)


def _checked(opened: Opened, path: Path, entry: h5py.Group | None) -> Opened:
    """Add a problem where the announced number of images is not the one on disk."""
    there = int(np.count_nonzero(opened.layout.fault < 0))
    n = announced(entry)
    if n is None or n == there:
        return opened
    what = f"announces {n} images (nimages x ntrigger), {there} of {len(opened.layout)} are there"
    mend = "look for lost data files, or a run that was stopped" if n > there else ""
    if dropped := _dropped_before_disk(entry):
        what, mend = f"{what}: {dropped}", ""
    problem = Problem(str(path), what, mend)
    return replace(opened, layout=replace(opened.layout, problems=(*opened.layout.problems, problem)))


def _index_links(group: h5py.Group, names: list[str], path: Path, entry: h5py.Group | None) -> Layout:
    """Images of the numbered members of a group, most often links to data files."""
    parts: list[tuple[Path, Callable[[], Layout], str]] = []
    for name in names:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            target = named_file(link.filename, path)
            parts.append((target, _opener(target, link.path), link.path))
        else:
            parts.append((path, _member_opener(group, name, path), f"{group.name}/{name}"))
    return join(parts, path, announced(entry))


def _opener(target: Path, name: str) -> Callable[[], Layout]:
    def open_part() -> Layout:
        with reading(target) as file:
            item = member(file, name)
            if not isinstance(item, h5py.Dataset):
                raise FileUnavailable(f"{target}: has no dataset {name}", mend="check the links", missing=True)
            return index(item, Path(item.file.filename))

    return open_part


def _member_opener(group: h5py.Group, name: str, path: Path) -> Callable[[], Layout]:
    def open_part() -> Layout:
        item = member(group, name)
        if not isinstance(item, h5py.Dataset):
            raise FileUnavailable(f"{path}: {group.name}/{name} leads nowhere", mend="check the links", missing=True)
        return index(item, path)

    return open_part


def join(parts: list[tuple[Path, Callable[[], Layout], str]], master: Path, total: int | None) -> Layout:
    """Open parts in order and join them; images of parts that cannot be used are counted where the count is known.

    Parameters
    ----------
    parts : list of (path, opener, dataset)
        The data files in order.
    master : Path
        What the user named, for messages.
    total : int, optional
        Number of announced images.

    Raises
    ------
    SourceError
        No part can be used, or they hold images of different kinds.
    """
    good: list[tuple[Path, Layout]] = []
    opened: list[Layout | FileUnavailable] = []
    for path, open_part, _ in parts:
        try:
            good.append((path, open_part()))
            opened.append(good[-1][1])
        except FileUnavailable as error:
            opened.append(error)
    if not good:
        first = next(e for e in opened if isinstance(e, FileUnavailable))
        which = "its data file" if len(parts) == 1 else f"none of its {len(parts)} data files"
        state = "cannot be used" if len(parts) == 1 else "can be used"
        raise SourceError(f"{master}: {which} {state}: {first.what}", mend=first.mend)
    check_alike(good)
    counts = _counts([len(p) if isinstance(p, Layout) else None for p in opened], total)
    builder = LayoutBuilder(sum(n or 0 for n in counts), good[0][1].shape, good[0][1].dtype)
    start = 0
    for (path, _, dataset), part, n in zip(parts, opened, counts, strict=True):
        if isinstance(part, Layout):
            rows = np.arange(len(part), dtype=np.int64)
            builder.place(rows + start, part, rows)
            builder.report(part.problems)
        else:
            at = start + np.arange(n or 0, dtype=np.int64)
            lost_file = DataFile(path, dataset, len(at), None)
            builder.fail(at, Fault(part.missing, part.what), lost_file, at - start)
            lost = "an unknown number of images is" if n is None else f"{n} images are"
            state = "missing" if part.missing else "unreadable"
            counted = " and not counted" if n is None else ""
            builder.report([Problem(str(master), f"{lost} {state}{counted}: data file {part.what}", part.mend)])
        start += n or 0
    return builder.build()


def _counts(found: list[int | None], total: int | None) -> list[int | None]:
    """Images of each file; of a file that cannot be used, only where the others or the announced total tell.

    Every file but the last holds the same number of images, so the others tell how many a lost one held.
    """
    inner = {n for n in found[:-1] if n is not None}
    full = inner.pop() if len(inner) == 1 else None
    left = total - sum(n for n in found if n is not None) if total is not None else 0
    last, lost = len(found) - 1, [i for i, n in enumerate(found) if n is None]
    counts = list(found)
    for i in lost:
        if left > 0 and (full is not None or i == lost[-1]):
            counts[i] = left if full is None else min(full, left)
        elif total is None and i != last:
            counts[i] = full
        left -= counts[i] or 0
    return counts
