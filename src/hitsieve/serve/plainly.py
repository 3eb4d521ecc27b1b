"""Opening just the file that may be shown, whatever is put in its place meanwhile."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from hitsieve.serve.refusals import Gone

_PACKED = (".gz", ".bz2")
"""Files that a reader knows by the end of their names only."""


def opened(path: Path) -> FileIO:
    """Open a file that is one: no link, no pipe.

    Parameters
    ----------
    path : Path
        Absolute, and without links: a folder that was put in place of one of its folders since it was looked at, as a
        link, is not followed.

    Raises
    ------
    Gone
        It cannot be opened, or is no file.
    """
    try:
        file = FileIO(str(path), opener=_plainly)
    except OSError as error:
        raise Gone(f"{path.name} cannot be opened: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Gone(f"{path.name} is no file any more")
    return file


def _plainly(name: str, flags: int) -> int:
    """Open a file, folder by folder, through no link."""
    *folders, last = Path(name).parts
    at = os.open(folders[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders[1:]:
            inner = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


def check_same(path: Path, handle: int) -> None:
    """See that a descriptor is of the file at a path.

    Parameters
    ----------
    path : Path
        As for `opened`.
    handle : int
        Of a file that was opened by this path, through whatever was there at that moment.

    Raises
    ------
    Gone
        It is another one.
    """
    with opened(path) as file:
        if not os.path.sameopenfile(file.fileno(), handle):
            raise Gone(f"{path.name} became another file while it was opened", mend="ask again")


@contextmanager
def held(path: Path) -> Iterator[Path]:
    """Another path of a file, by which it, and no other, is opened; it leads there in other processes, too.

    Parameters
    ----------
    path : Path
        As for `opened`.

    Raises
    ------
    Gone
        It cannot be opened, or is no file.
    """
    with opened(path) as file:
        there = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        if path.suffix.lower() not in _PACKED:
            yield there
            return
        with tempfile.TemporaryDirectory(prefix="hitsieve.") as folder:
            link = Path(folder) / f"held{path.suffix}"
            link.symlink_to(there)
            yield link
