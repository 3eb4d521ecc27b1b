"""Outputs appear whole or not at all: temporaries beside them, fsync, then all renames together."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hitsieve.errors import OutputError
from hitsieve.write.stream import OutputStream

_MENDS = {
    errno.ENOSPC: "free some space or choose another folder with --output",
    errno.EDQUOT: "the quota is used up; free some space or choose another folder with --output",
    errno.EACCES: "choose a folder that you may write to with --output",
    errno.EPERM: "choose a folder that you may write to with --output",
    errno.EROFS: "the file system is read-only; choose another folder with --output",
    errno.EAGAIN: "another program has the file open; wait for it, or choose another folder with --output",
    errno.ENOTDIR: "part of the path is a file; choose another folder with --output",
    errno.EEXIST: "part of the path is a file; choose another folder with --output",
}
_WHY = {
    errno.ENOSPC: "no space left on device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "read-only file system",
    errno.EAGAIN: "locked by another program",
}


def error_number(error: OSError | RuntimeError) -> int | None:
    """Errno behind an exception; HDF5 gives it in the text only."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures to write `path` into OutputError with its mend."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = error_number(error)
        why = _WHY.get(number or 0) or str(error)
        mend = _MENDS.get(number or 0, "see that the disk is whole and has space")
        raise OutputError(f"{path}: cannot be written: {why}", mend=mend) from error


def same_file(a: Path, b: Path) -> bool:
    """Whether both names lead to one existing file."""
    try:
        return a.samefile(b)
    except OSError:
        return False


class OutputFiles:
    """A set of outputs that becomes visible together.

    Parameters
    ----------
    finals : sequence of Path
        The outputs, all in one folder, which is made if absent.
    overwrite : bool
        Replace outputs that exist.
    inputs : iterable of Path
        Files that must never be written.

    Raises
    ------
    OutputError
        An output exists, is an input, or the folder cannot be made.
    """

    def __init__(self, finals: Sequence[Path], *, overwrite: bool, inputs: Iterable[Path]) -> None:
        self.finals = tuple(finals)
        self._folder = self.finals[0].parent
        self._made: list[Path] = []
        self._streams: dict[Path, OutputStream] = {}
        existing = [path for path in self.finals if path.exists()]
        if existing:
            sources = list(inputs)
            for path in existing:
                if any(same_file(path, source) for source in sources):
                    raise OutputError(f"{path}: is a file of the input", mend="choose another folder with --output")
            if not overwrite:
                raise OutputError(
                    f"{existing[0]}: output exists", mend="give --overwrite, or another folder with --output"
                )
        with writing(self._folder):
            self._make_folder()

    def _make_folder(self) -> None:
        absent = []
        folder = self._folder
        while not folder.exists():
            absent.append(folder)
            folder = folder.parent
        for new in reversed(absent):
            with suppress(FileExistsError):
                new.mkdir()
                self._made.append(new)
        if not self._folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._folder))
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))

    @staticmethod
    def temporary(final: Path) -> Path:
        """Name under which an output is written."""
        return final.with_name(final.name + ".tmp")

    def open(self, final: Path) -> OutputStream:
        """Make the temporary of an output, and lock it.

        Raises
        ------
        OutputError
            It cannot be made, or another program is writing it.
        """
        with writing(final):
            self._streams[final] = OutputStream(self.temporary(final))
        return self._streams[final]

    def check(self, final: Path) -> None:
        """Raise OutputError where a write to an output has failed."""
        stream = self._streams.get(final)
        if stream is not None:
            with writing(final):
                stream.check()

    def commit(self) -> None:
        """Bring all temporaries to the disk, then rename them; on failure the folder is as it was before.

        Raises
        ------
        OutputError
            A file cannot be brought to the disk or renamed.
        """
        for final in self.finals:
            with writing(final):
                _sync(self.temporary(final))
        self._close()
        moved: list[tuple[Path, Path]] = []
        done = False
        try:
            for final in self.finals:
                with writing(final):
                    if final.exists():
                        _move(final, final.with_name(final.name + ".old"), moved)
                    _move(self.temporary(final), final, moved)
            done = True
        finally:
            if not done:
                for before, after in reversed(moved):
                    after.replace(before)
        for final in self.finals:
            final.with_name(final.name + ".old").unlink(missing_ok=True)
        with writing(self._folder):
            _sync(self._folder)

    def abort(self) -> None:
        """Remove the temporaries, and the folder where it was made for them."""
        for final in self._streams:
            with suppress(OSError):
                self.temporary(final).unlink(missing_ok=True)
        self._close()
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()


def _move(before: Path, after: Path, moved: list[tuple[Path, Path]]) -> None:
    before.replace(after)
    moved.append((before, after))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
