"""Whether an HDF5 file holds all that it shows: nothing of it lies in another file."""

from __future__ import annotations

from collections.abc import Iterator

import h5py


def leads_elsewhere(file: h5py.File) -> Iterator[str]:
    """What of an open file lies in other files, in words.

    Yields
    ------
    str
        Each external link, virtual dataset and dataset in external storage, with the file that it leads to.
    """
    yield from _group(file["/"], "", set())


def _group(group: h5py.Group, place: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    info = h5py.h5o.get_info(group.id)
    if (info.fileno, info.addr) in seen:
        return
    seen.add((info.fileno, info.addr))
    for name in group:
        path = f"{place}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{path} is a link to {link.filename}"
        elif isinstance(link, h5py.HardLink):
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from _group(item, path, seen)
            elif isinstance(item, h5py.Dataset):
                yield from _dataset(item, path)


def _dataset(item: h5py.Dataset, path: str) -> Iterator[str]:
    if item.is_virtual:
        files = sorted({source.file_name for source in item.virtual_sources()} - {"."})
        yield f"{path} shows what lies in {', '.join(files[:3]) or 'another dataset'}"
    elif item.external:
        yield f"{path} lies in {item.external[0][0]}"
