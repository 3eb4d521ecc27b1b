"""A changed copy of a file: stored bytes as they are, links that still lead to the same files, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from hitsieve.errors import OutputError
from hitsieve.write.atomic import OutputFiles, same_file
from hitsieve.write.relink import relink, shown_files
from hitsieve.write.stream import OutputStream

_BLOCK = 1 << 24

Made = TypeVar("Made")


def changed_copy(
    source: Path,
    target: Path,
    change: Callable[[OutputStream], Made],
    *,
    overwrite: bool,
    keep: Iterable[Path] = (),
) -> Made:
    """Copy a file byte by byte, lead its relative links right, and change the copy.

    Parameters
    ----------
    source : Path
        The file, which is only read.
    target : Path
        The copy.
    change : callable
        Takes the copy before it has its name, and changes it.
    overwrite : bool
        Replace the copy if it exists; never one of the files that `source` links or shows.
    keep : iterable of Path
        Other files that must not be replaced.

    Returns
    -------
    object
        What `change` gave.

    Raises
    ------
    OutputError
        The copy exists, is the source, or cannot be written; then nothing is left of it.
    """
    if same_file(source, target):
        raise OutputError(f"{target}: is the file itself, which is never changed", mend="choose another --output")
    with OutputFiles((target,), overwrite=overwrite, inputs=(source, *keep, *shown_files(source))) as files:
        stream = files.open(target)
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                stream.write(block)
                files.check(target)
        try:
            relink(stream, source, target.parent)
            made = change(stream)
        finally:
            # A full disk is the reason of whatever HDF5 says of it.
            files.check(target)
    return made
