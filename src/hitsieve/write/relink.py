"""Links of a copied master, so that they lead to the same files from its new folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model.named import named_file, plain_name, shown_name
from hitsieve.write.attributes import copy_attributes
from hitsieve.write.places import open_source
from hitsieve.write.stream import OutputStream
from hitsieve.write.virtual import link_name

Aliases = dict[tuple[int, int], list[tuple[h5py.Group, str]]]


def relink(stream: OutputStream, source: Path, folder: Path) -> None:
    """Rewrite the relative links of a copy of `source` that is to lie in `folder`.

    External links and sources of virtual data sets are named anew: relative where both share more than the root, else
    absolute. Absolute names stay where they lead to a file.

    Parameters
    ----------
    stream : OutputStream
        The copy.
    source : Path
        The file that it is a copy of.
    folder : Path
        Where it is to lie.

    Raises
    ------
    SourceError
        Images are stored in raw files beside the master, to which HDF5 cannot link anew.
    """
    if source.parent.resolve() == folder.resolve() and not source.is_symlink():
        return
    with h5py.File(stream, "r+") as file, open_source(source) as original:
        virtual: Aliases = {}
        # What is changed must not be walked through at the same time.
        for group, name, item in list(_outside(file)):
            if item is None:
                link = group.get(name, getlink=True)
                del group[name]
                group[name] = h5py.ExternalLink(_renamed(link.filename, source, folder), link.path)
            elif item.external:
                raise SourceError(
                    f"{source}: {item.name} stores its images in raw files beside it",
                    mend="write the copy into the same folder",
                )
            else:
                virtual.setdefault(_identity(item), []).append((group, name))
        for places in virtual.values():
            _remake(places, original, source, folder)


def shown_files(source: Path) -> list[Path]:
    """All files that a file links, or shows or stores images in."""
    found: list[Path] = []
    with open_source(source) as file:
        for group, name, item in _outside(file):
            if item is None:
                names = [group.get(name, getlink=True).filename]
            elif item.external:
                names = [own for own, _, _ in item.external]
            else:
                names = [plain_name(mapping.file_name) for mapping in item.virtual_sources()]
            found += [named_file(own, source) for own in names if own != "."]
    return found


def _outside(file: h5py.File) -> Iterator[tuple[h5py.Group, str, h5py.Dataset | None]]:
    """All names that lead to other files: of external links (None), and of data sets that show or store them there."""
    seen: set[tuple[int, int]] = set()
    waiting = [file["/"]]
    while waiting:
        group = waiting.pop()
        if _identity(group) in seen:
            continue
        seen.add(_identity(group))
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield group, name, None
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                    yield group, name, item


def _remake(places: list[tuple[h5py.Group, str]], original: h5py.File, source: Path, folder: Path) -> None:
    """Make a virtual data set again over the same files, under all of its names."""
    group, name = places[0]
    old = group[name]
    # To tell an extent that its sources give HDF5 opens them, which it cannot do from a stream.
    model = original[old.name]
    before = old.id.get_create_plist()
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if old.fillvalue is not None:
        plist.set_fill_value(np.asarray(old.fillvalue, dtype=old.dtype))
    plist.set_fill_time(before.get_fill_time())
    for mapping in old.virtual_sources():
        shown = _renamed_shown(mapping.file_name, source, folder)
        space = _source_space(mapping, model.shape)
        plist.set_virtual(mapping.vspace, shown.encode(), mapping.dset_name.encode(), space)
    made = h5py.Dataset(h5py.h5d.create(group.id, None, old.id.get_type(), model.id.get_space(), plist))
    copy_attributes(old, made)
    for owner, own in places:
        del owner[own]
        owner[own] = made


def _source_space(mapping: h5py.h5d.VDSmap, shape: tuple[int, ...]) -> h5py.h5s.SpaceID:
    """What a mapping shows of its source; HDF5 does not store the shape of one that is shown whole."""
    if mapping.src_space.shape:
        return mapping.src_space
    row = int(np.prod(shape[1:], dtype=np.int64))
    n = int(mapping.vspace.get_select_npoints())
    return h5py.h5s.create_simple((n // row, *shape[1:]) if row and n % row == 0 else (n,))


def _renamed(name: str, source: Path, folder: Path) -> str:
    found = named_file(name, source)
    if Path(name).is_absolute() and (found == Path(name) or not found.exists()):
        return name
    return link_name(found, folder)


def _renamed_shown(name: str, source: Path, folder: Path) -> str:
    """Name a source of a virtual data set anew: HDF5 takes %b in it for a number, and %% for a percent sign."""
    if name == ".":
        return name
    if "%" not in name.replace("%%", ""):
        return shown_name(_renamed(plain_name(name), source, folder))
    if Path(name).is_absolute():
        return name
    # The folder of a file that is named by a pattern is no part of the pattern.
    above, _, pattern = name.rpartition("/")
    there = shown_name(link_name(source.parent / plain_name(above), folder))
    return f"{there}/{pattern}"


def _identity(item: h5py.HLObject) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr
