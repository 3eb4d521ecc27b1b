"""Places of files, as provenance names them, and the opening of those of the source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py


def absolute_names(paths: Iterable[Path]) -> list[str]:
    """Absolute names, without symbolic links; quick also for the many files of a run of single images."""
    folders: dict[Path, Path] = {}
    names = []
    for path in paths:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        there = folders[path.parent] / path.name
        names.append(str(there.resolve() if there.is_symlink() else there))
    return names


def open_source(path: Path) -> h5py.File:
    """Open an HDF5 file of the source read-only, without a lock, or as it is already open in this process.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")
