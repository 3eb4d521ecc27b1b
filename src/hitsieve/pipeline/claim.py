"""Several processes see to the runs of one folder: who is at a run, and whether its results are there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.write import Outputs, Summary, read_summary, writing


def finished(outputs: Outputs) -> Summary | None:
    """Summary of results that are there; None where they are not, or not whole."""
    if not all(path.is_file() for path in outputs):
        return None
    try:
        return read_summary(outputs.summary)
    except SourceError:
        return None


def lock_of(folder: Path, stem: str) -> Path:
    """The file by which a run is claimed; it is there while somebody is at the run, or was killed at it."""
    return folder / f".{stem}.scan"


@contextmanager
def claimed(folder: Path, stem: str) -> Iterator[bool]:
    """Hold a run against other processes for a `with` statement; False where another has it. It ends with this process.

    Parameters
    ----------
    folder : Path
        Where the outputs are, or will be; made if absent, and removed again if nothing is in it.
    stem : str
        Prefix of their names.

    Raises
    ------
    OutputError
        Nothing can be written there.
    """
    path = lock_of(folder, stem)
    made: list[Path] = []
    with writing(path):
        for absent in [*_absent(folder)]:
            with suppress(FileExistsError):
                absent.mkdir()
                made.insert(0, absent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    mine = False
    try:
        mine = _lock(handle, path)
        yield mine
    finally:
        if mine:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        os.close(handle)
        for empty in made:
            with suppress(OSError):
                empty.rmdir()


def _absent(folder: Path) -> Iterator[Path]:
    """The folder and those above it that are not there, from the top."""
    if not folder.exists():
        yield from _absent(folder.parent)
        yield folder


def _lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Without locks two may do the same work; the outputs of one of them appear.
        return True
    try:
        # Whoever had it before may have removed the file in between.
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
