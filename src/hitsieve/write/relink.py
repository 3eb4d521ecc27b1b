"""Links of a copied master, so that they lead to the same files from its new folder."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from hitsieve.errors import SourceError
from hitsieve.write.attributes import copy_attributes
from hitsieve.write.stream import OutputStream
from hitsieve.write.virtual import link_name

Aliases = dict[tuple[int, int], list[tuple[h5py.Group, str]]]


def relink(stream: OutputStream, source: Path, folder: Path) -> None:
    """Rewrite the relative links of a copy of `source` that is to lie in `folder`.

    External links and sources of virtual data sets are named anew: relative where both share more than the root, else
    absolute. Absolute names stay.

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
    if source.parent.resolve() == folder.resolve():
        return
    with h5py.File(stream, "r+") as file:
        links, virtual = _found(file, source)
        for group, name in links:
            link = group.get(name, getlink=True)
            del group[name]
            group[name] = h5py.ExternalLink(_renamed(link.filename, source, folder), link.path)
        for places in virtual.values():
            _remake(places, source, folder)


def _found(file: h5py.File, source: Path) -> tuple[list[tuple[h5py.Group, str]], Aliases]:
    """External links to change, and virtual data sets to change with all of their names."""
    links: list[tuple[h5py.Group, str]] = []
    virtual: Aliases = {}
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
                if not Path(link.filename).is_absolute():
                    links.append((group, name))
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset) and _shows_beside(item, source):
                    virtual.setdefault(_identity(item), []).append((group, name))
    return links, virtual


def _shows_beside(item: h5py.Dataset, source: Path) -> bool:
    """Whether a data set shows files that are named relative to its own."""
    if item.external:
        raise SourceError(
            f"{source}: {item.name} stores its images in raw files beside it",
            mend="write the copy into the same folder",
        )
    if not item.is_virtual:
        return False
    names = (mapping.file_name for mapping in item.virtual_sources())
    return any(name != "." and not Path(name).is_absolute() for name in names)


def _remake(places: list[tuple[h5py.Group, str]], source: Path, folder: Path) -> None:
    """Make a virtual data set again over the same files, under all of its names."""
    group, name = places[0]
    old = group[name]
    before = old.id.get_create_plist()
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if old.fillvalue is not None:
        plist.set_fill_value(np.asarray(old.fillvalue, dtype=old.dtype))
    plist.set_fill_time(before.get_fill_time())
    for mapping in old.virtual_sources():
        shown = mapping.file_name if mapping.file_name == "." else _renamed(mapping.file_name, source, folder)
        space = _source_space(mapping, old.shape)
        plist.set_virtual(mapping.vspace, shown.encode(), mapping.dset_name.encode(), space)
    made = h5py.Dataset(h5py.h5d.create(group.id, None, old.id.get_type(), old.id.get_space(), plist))
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
    if Path(name).is_absolute():
        return name
    return link_name(source.parent / name, folder)


def _identity(item: h5py.HLObject) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr
