"""Places of files, as provenance names them, and the opening of those of the source and of finished outputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py

from hitsieve.errors import SourceError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


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
    """Open an HDF5 file read-only, without a lock, or as it is already open in this process.

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


def open_output(path: Path, kind: str) -> h5py.File:
    """Open a finished HDF5 output read-only.

    Parameters
    ----------
    path : Path
    kind : str
        Pattern of the name of such a file, for the mend.

    Raises
    ------
    SourceError
        It is absent, or cannot be opened, in plain words.
    """
    again = "copy it again, or write it again with hitsieve run"
    try:
        with path.open("rb") as file:
            head = file.read(len(_SIGNATURE))
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file", mend=f"give a {kind} file") from None
    except IsADirectoryError:
        raise SourceError(f"{path}: is a folder", mend=f"give a {kind} file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from None
    if not head:
        raise SourceError(f"{path}: is empty", mend=again)
    if head != _SIGNATURE[: len(head)]:
        raise SourceError(f"{path}: is not an HDF5 file", mend=f"give a {kind} file")
    try:
        return open_source(path)
    except (OSError, RuntimeError) as error:
        cut = len(head) < len(_SIGNATURE) or "truncated" in str(error)
        state = "is truncated" if cut else "is damaged: HDF5 cannot open it"
        raise SourceError(f"{path}: {state}", mend=again) from error
