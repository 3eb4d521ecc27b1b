"""The folder of received series: whose it is, what was left in it, and how what is proven goes."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hitsieve.write import writing

_log = logging.getLogger(__name__)
_PROVEN = re.compile(r"\..+\.[0-9a-f]{8}\.proven")
_BLOCK = 512
"""Bytes of a block, as `stat` counts them: files have holes where images are missing."""


def check_folders(output: Path, spool: Path) -> None:
    """Refuse folders that cannot be written before the detector starts, not after.

    Raises
    ------
    OutputError
        One of them cannot be made, or not be written.
    """
    for folder in (output, spool):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))


def claimed(folder: Path) -> bool:
    """Make the folder of a series; whether nobody else has."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        _log.debug("%s: %s; the first image will tell", folder, error)
    return True


@contextmanager
def left_empty(folder: Path | None) -> Iterator[None]:
    """Remove a folder of our own in the end, if nothing is in it."""
    try:
        yield
    finally:
        if folder is not None:
            with suppress(OSError):
                folder.rmdir()


def remove_series(folder: Path) -> None:
    """Remove a series all of which is proven to be in its outputs.

    It gets another name first. Whoever is killed on the way leaves nothing that looks like a received series, and what
    is left is known as proven: `sweep` removes it.

    Raises
    ------
    OSError
    """
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.proven")
    folder.rename(aside)
    # The new name must be on the disk before anything of it goes.
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    # Another program that has just started may sweep it at the same time.
    with suppress(FileNotFoundError):
        shutil.rmtree(aside)


def sweep(spool: Path) -> None:
    """Remove what was proven, and was being removed when the program was killed."""
    for left in spool.glob(".*.proven"):
        if _PROVEN.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def tell_left(spool: Path, busy: Collection[str] = ()) -> None:
    """Say which series lie in the spool folder, and how much room they take: a full one costs images.

    Parameters
    ----------
    spool : Path
    busy : collection of str, optional
        Names of series that this program is at.
    """
    folders = [path for path in sorted(spool.glob("[!.]*")) if path.is_dir() and path.name not in busy]
    series = {path: _size(path) for path in folders}
    series = {path: size for path, size in series.items() if size}
    if not series:
        return
    masters = [master for path in series for master in sorted(path.glob("*_master.h5"))]
    see = f"hitsieve run {masters[0]} --misses keep -o FOLDER" if masters else "no image of them can be read"
    _log.warning(
        "%d series in %s, %s in all, were received before and are not sieved or not proven, or another hitsieve live "
        "is at it; %s is free; see to them, and remove them: %s",
        len(series),
        spool,
        _in_words(sum(series.values())),
        _in_words(free_bytes(spool)),
        see,
    )


def free_bytes(spool: Path) -> int:
    """Room that is left for received images; 0 where nobody can say."""
    try:
        return shutil.disk_usage(spool).free
    except OSError:
        return 0


def _size(folder: Path) -> int:
    """Bytes that the files of a series take on the disk."""
    size = 0
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                size += path.stat().st_blocks * _BLOCK
    return size


def _in_words(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
