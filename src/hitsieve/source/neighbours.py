"""What files of a run have to do with others: those that they link to, and those beside them that link to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.source.access import HDF5_SUFFIXES, reading, resolve
from hitsieve.source.masters import DATA_FILE


def linked_from(files: Sequence[Path]) -> list[Path]:
    """Other files that are there and of which these HDF5 files show something: calibrations, for example.

    Parameters
    ----------
    files : sequence of Path
        Absolute, without symbolic links.
    """
    found = {target for path in files for target in _targets(path)}
    return sorted(path for path in found - set(files) if path.is_file())


def linking_to(files: Sequence[Path]) -> list[Path]:
    """HDF5 files in the folders of these files that show something of them, and are none of them.

    Files called as data files are, and those that cannot be read, are passed over.
    """
    own = set(files)
    folders = sorted({path.parent for path in files})
    beside = (path for folder in folders for path in sorted(folder.glob("*")) if path.suffix.lower() in HDF5_SUFFIXES)
    others = (path for path in beside if path.resolve() not in own and not DATA_FILE.search(path.name))
    return [path for path in others if not path.name.startswith(".") and not own.isdisjoint(_targets(path))]


def _targets(path: Path) -> set[Path]:
    """Files that one HDF5 file shows something of; none where it cannot be read."""
    try:
        with reading(path) as file:
            return {resolve(name, path).resolve() for name in _names(file) if name != "."}
    except (SourceError, ValueError):
        return set()


def _names(file: h5py.File) -> set[str]:
    """Names of other files in links, virtual datasets and external storage."""
    names: set[str] = set()

    def link(_: str, one: object) -> None:
        if isinstance(one, h5py.ExternalLink):
            names.add(one.filename)

    def item(_: str, one: object) -> None:
        if isinstance(one, h5py.Dataset):
            names.update(source.file_name for source in (one.virtual_sources() if one.is_virtual else ()))
            names.update(part[0] for part in one.external or ())

    file.visititems_links(link)
    file.visititems(item)
    return names
