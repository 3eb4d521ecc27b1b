"""Opening HDF5 files read-only, with a plain word for each way in which that can fail."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.filters import register_filters

register_filters()

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS})
HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".cxi"})


class FileUnavailable(SourceError):
    """One file of a run cannot be used; a run of many files can go on without it.

    Parameters
    ----------
    missing : bool
        True where the file is not there, False where it is there but cannot be read.
    """

    def __init__(self, what: str, *, mend: str = "", missing: bool) -> None:
        super().__init__(what, mend=mend)
        self.missing = missing


def check_file(path: Path) -> None:
    """Raise FileUnavailable unless `path` is a finished, readable, non-empty file."""
    if path.name.endswith(".tmp"):
        raise FileUnavailable(
            f"{path}: is still being written (its name ends in .tmp)",
            mend="wait until the writer has finished and renamed it",
            missing=False,
        )
    try:
        if path.is_dir():
            raise FileUnavailable(
                f"{path}: is a folder", mend="name the master file or the data files in it", missing=False
            )
        if path.exists() and not path.is_file():
            # To open a pipe would wait for its writer.
            raise FileUnavailable(f"{path}: is no plain file", mend="name a file", missing=False)
        with path.open("rb"):
            size = path.stat().st_size
    except FileNotFoundError:
        raise FileUnavailable(f"{path}: there is no such file", mend="check the path", missing=True) from None
    except PermissionError:
        raise FileUnavailable(
            f"{path}: no permission to read it", mend="ask its owner for read access", missing=False
        ) from None
    except OSError as error:
        raise FileUnavailable(
            f"{path}: cannot be read: {error.strerror}", mend="check the file system", missing=False
        ) from None
    if size == 0:
        raise FileUnavailable(f"{path}: is empty", mend="copy it again from its origin", missing=False)


def has_signature(path: Path) -> bool:
    """Whether the file starts, or starts after a user block, as HDF5 files do; it may be damaged all the same."""
    with path.open("rb") as file:
        size = path.stat().st_size
        position = 0
        while position + len(SIGNATURE) <= size:
            file.seek(position)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            position = max(512, 2 * position)
    return False


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file read-only.

    Raises
    ------
    FileUnavailable
        It is absent, forbidden, a folder, unfinished, not HDF5, truncated, damaged or open for writing elsewhere.
    """
    check_file(path)
    if not has_signature(path):
        raise FileUnavailable(
            f"{path}: is not an HDF5 file", mend="name a NeXus/HDF5 master, data files or images", missing=False
        )
    try:
        return _opened(path)
    except (OSError, RuntimeError) as error:
        text = str(error)
        if "truncated" in text:
            raise FileUnavailable(
                f"{path}: is truncated (shorter than its header says)",
                mend="copy it again from its origin, or wait until it is complete",
                missing=False,
            ) from None
        if "unable to lock file" in text and _errno(text) in NO_LOCKS:
            raise FileUnavailable(
                f"{path}: cannot be opened, file locking is not supported here",
                mend="set HDF5_USE_FILE_LOCKING=BEST_EFFORT",
                missing=False,
            ) from None
        if "unable to lock file" in text or "file is already open for write" in text:
            raise FileUnavailable(
                f"{path}: is open for writing in another program",
                mend="wait until it is closed; after a crash of its writer, mend a copy with h5clear",
                missing=False,
            ) from None
        raise damaged(path, text) from None


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        # It is open in this process already, without a lock: HDF5 wants it opened in one way only.
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file read-only for a `with` statement; damage that HDF5 meets on the way is told as on opening.

    Raises
    ------
    FileUnavailable
        It cannot be opened, as `open_hdf5` says, or what it holds is damaged.
    """
    with open_hdf5(path) as file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
            raise damaged(path, str(error)) from None


def damaged(path: Path, reason: str) -> FileUnavailable:
    """The error for a file whose content makes no sense."""
    reason = " ".join(reason.split())
    return FileUnavailable(
        f"{path}: is damaged, HDF5 cannot read it ({reason})", mend="copy it again from its origin", missing=False
    )


def _errno(text: str) -> int | None:
    """The system's error number in an HDF5 error message."""
    match = re.search(r"errno = (\d+)", text)
    return int(match.group(1)) if match else None
