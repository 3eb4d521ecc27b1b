"""Which files of an archive are runs: masters, and files that hold a run alone; not the data files of others."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.model.named import named_file, plain_name
from hitsieve.source.access import HDF5_SUFFIXES, reading
from hitsieve.source.fields import groups_of_class, member, names_in
from hitsieve.source.nxmx import NUMBERED, data_groups, entry_of

DATA_FILE = re.compile(r"_data_\d+\.\w+$")
"""Name of a data file of DECTRIS' or Jungfraujoch's: it is not opened."""
OURS = ("hit_finding", "source_files")
"""What every HDF5 output of hitsieve has in its entry."""


@dataclass(frozen=True, slots=True)
class Master:
    """A run in an archive."""

    path: Path
    """Absolute."""
    modified: float
    """When its files last changed (s since 1970), as far as they are there."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one file is like."""

    path: Path
    images_in: tuple[Path, ...]
    """Other files that hold its images."""
    is_run: bool


def find_masters(
    folders: Sequence[Path],
    leave_out: Sequence[Path],
    *,
    bad: Callable[[Path, str], None],
    step: Callable[[int], None] | None = None,
) -> list[Master]:
    """Find the runs in folders and below them.

    A run is an HDF5 file that shows images of other files, by links or a virtual dataset, or one that holds images and
    describes an instrument, and that is itself shown by no other. Of several that show the same files the first by name
    is taken. Outputs of hitsieve are left out.

    Parameters
    ----------
    folders : sequence of Path
    leave_out : sequence of Path
        Folders that are not entered.
    bad : callable
        Called with each file or folder that cannot be read, and the reason.
    step : callable, optional
        Called with the number of files looked at, after each.

    Returns
    -------
    list of Master
        In order of their folders and names.
    """
    found: list[Looked] = []
    for n, path in enumerate(hdf5_files(folders, leave_out, bad), start=1):
        if step is not None:
            step(n)
        try:
            found.append(look(path))
        except SourceError as error:
            bad(path, str(error))
    return [Master(one.path, _last_modified(one)) for one in choose_masters(found)]


def choose_masters(found: Sequence[Looked]) -> Iterator[Looked]:
    """Those files that are runs, and are shown by no other; of several that show the same files, the first."""
    seen: set[frozenset[Path]] = set()
    shown = {image for looked in found for image in looked.images_in}
    runs = [looked for looked in found if looked.is_run]
    there = {looked.path for looked in runs}
    for looked in runs:
        path = looked.path
        real = path.resolve()
        files = frozenset(looked.images_in)
        # Of a file and links to it the file is taken; of links alone, the first.
        linked = path.is_symlink() and real in there
        if linked or real in shown or (files or frozenset({real})) in seen:
            continue
        seen.add(files or frozenset({real}))
        yield looked


def _last_modified(looked: Looked) -> float:
    return max(_modified(file) for file in (looked.path, *looked.images_in))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def hdf5_files(folders: Sequence[Path], leave_out: Sequence[Path], bad: Callable[[Path, str], None]) -> Iterator[Path]:
    """Files that may be runs, by their names, in order."""
    skipped = {path.resolve() for path in leave_out}

    def remember(error: OSError) -> None:
        bad(Path(error.filename), f"cannot be read: {error.strerror}")

    for top in folders:
        for folder, below, names in os.walk(top.absolute(), onerror=remember):
            # To resolve a name asks the system for each folder above it.
            below[:] = sorted(name for name in below if not skipped or (Path(folder) / name).resolve() not in skipped)
            for name in sorted(names):
                path = Path(folder) / name
                if path.suffix.lower() in HDF5_SUFFIXES and not name.startswith(".") and not DATA_FILE.search(name):
                    yield path


def look(path: Path) -> Looked:
    """Look at the structure of one file; no image is read.

    Raises
    ------
    SourceError
        It cannot be read, or not yet.
    """
    with reading(path) as file:
        entry = entry_of(file)
        if entry is None or all(name in entry for name in (OURS[0], f"{OURS[0]}/{OURS[1]}")):
            return Looked(path, (), False)
        own = False
        for group in data_groups(entry):
            elsewhere = tuple(dict.fromkeys(_elsewhere(group, path)))
            if elsewhere:
                return Looked(path, elsewhere, True)
            own = own or any(isinstance(item, h5py.Dataset) and item.ndim == 3 for item in _candidates(group))
        described = any(groups_of_class(entry, "NXinstrument")) or member(entry, "instrument") is not None
        return Looked(path, (), own and described)


def _elsewhere(group: h5py.Group, path: Path) -> Iterator[Path]:
    """Other files in which images of a group lie."""
    for name in names_in(group):
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            if NUMBERED.search(name) or name == "data":
                yield named_file(link.filename, path).resolve()
            continue
        item = member(group, name) if name == "data" or NUMBERED.search(name) else None
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            names = dict.fromkeys(source.file_name for source in item.virtual_sources())
            yield from (named_file(plain_name(name), path).resolve() for name in names if name != ".")


def _candidates(group: h5py.Group) -> Iterator[object]:
    return (member(group, name) for name in names_in(group) if name == "data" or NUMBERED.search(name))
