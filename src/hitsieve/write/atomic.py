"""Outputs appear whole or not at all: temporaries beside them, fsync, then all renames together."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hitsieve.errors import OutputError
from hitsieve.write.stream import OutputStream

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)
_STOPPING: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MENDS = {
    errno.ENOSPC: "free some space or choose another folder with --output",
    errno.EDQUOT: "the quota is used up; free some space or choose another folder with --output",
    errno.EACCES: "choose a folder that you may write to with --output",
    errno.EPERM: "choose a folder that you may write to with --output",
    errno.EROFS: "choose a folder on a file system that can be written, with --output",
    errno.ENOENT: "no folder can be made there; choose another folder with --output",
    errno.ENOTDIR: "choose another folder with --output",
    errno.EEXIST: "give --overwrite, or another folder with --output",
    errno.EISDIR: "move the folder away, or choose another one with --output",
    errno.ENAMETOOLONG: "choose another folder with --output, or give the input a shorter name",
    errno.EBUSY: "another program, or a mount, holds it; choose another folder with --output",
}
_WHY = {
    errno.ENOSPC: "no space left on device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "a part of the path does not exist",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "output exists",
    errno.EISDIR: "a folder has this name",
    errno.ENAMETOOLONG: "the name is too long",
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
        why = _WHY.get(number or 0) or (os.strerror(number).lower() if number else str(error))
        mend = _MENDS.get(number or 0, "see that the disk is whole and has space")
        raise OutputError(f"{path}: cannot be written: {why}", mend=mend) from error


def same_file(a: Path, b: Path) -> bool:
    """Whether both names lead to one existing file."""
    try:
        return a.samefile(b)
    except OSError:
        return False


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and the like until the block has ended; then they act as ever."""
    # Python runs its handlers, and raises KeyboardInterrupt, in the main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        came.append(number)

    handlers = {number: signal.getsignal(number) for number in _STOPPING}
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


class OutputFiles:
    """A set of outputs that becomes visible together.

    In a `with` statement it does when the block ends without an error; else nothing is left of it.
    Until then each lies beside its place as `.<name>.<random>.tmp`; what an output replaces is set aside as
    `.<name>.<random>.old` for the moment of the renames. Nothing else in the folder is touched.

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
        self._overwrite = overwrite
        self._folder = self.finals[0].parent
        self._made: list[Path] = []
        self._streams: dict[Path, OutputStream] = {}
        self._temporaries: dict[Path, Path] = {}
        existing = [path for path in self.finals if os.path.lexists(path)]
        if existing:
            sources = list(inputs)
            for path in existing:
                if any(same_file(path, source) for source in sources):
                    raise OutputError(f"{path}: is a file of the input", mend="choose another folder with --output")
            self._check_free()
        with writing(self._folder):
            self._make_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.abort()
            return
        try:
            for final in self.finals:
                self.check(final)
            self.sync()
            # From the first rename on, an interruption must find all outputs or none.
            with signals_held():
                self.commit()
        except BaseException:
            self.abort()
            raise

    def _check_free(self) -> None:
        """Raise OutputError where an output would replace what it must not."""
        for path in self.finals:
            if not os.path.lexists(path):
                continue
            if path.is_dir():
                with writing(path):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not self._overwrite:
                raise OutputError(f"{path}: output exists", mend=_MENDS[errno.EEXIST])

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
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def open(self, final: Path) -> OutputStream:
        """Make the temporary of an output.

        Raises
        ------
        OutputError
            It cannot be made.
        """
        with writing(final):
            temporary = _beside(final, "tmp")
            # An interruption in between must not leave what nobody knows of.
            self._temporaries[final] = temporary
            self._streams[final] = OutputStream(temporary)
        return self._streams[final]

    def check(self, final: Path) -> None:
        """Raise OutputError where a write to an output has failed."""
        stream = self._streams.get(final)
        if stream is not None:
            with writing(final):
                stream.check()

    def commit(self) -> None:
        """Rename all temporaries, which `sync` brought to the disk; on failure the folder is as it was before.

        Raises
        ------
        OutputError
            A file cannot be renamed, or an output came to be in the meantime.
        """
        self._check_free()
        moved: list[tuple[Path, Path]] = []
        aside: list[Path] = []
        done = False
        try:
            for final in self.finals:
                with writing(final):
                    if os.path.lexists(final):
                        old = _beside(final, "old")
                        _move(final, old, moved)
                        aside.append(old)
                    _move(self._temporaries[final], final, moved)
            done = True
        finally:
            if not done:
                _undo(moved)
        self._tidy(aside)

    def sync(self) -> None:
        """Bring all temporaries to the disk and close them.

        Raises
        ------
        OutputError
            A file cannot be brought to the disk.
        """
        for final in self.finals:
            with writing(final):
                _sync(self._temporaries[final])
        self._close()

    def _tidy(self, aside: Sequence[Path]) -> None:
        """What is left to do once the outputs are in place; no failure of it undoes them."""
        for old in aside:
            try:
                old.unlink()
            except OSError as error:
                _log.warning("%s: the replaced output cannot be removed: %s; remove it by hand", old, error)
        try:
            _sync(self._folder)
        except OSError as error:
            _log.warning("%s: the folder cannot be brought to the disk: %s; the outputs are whole", self._folder, error)

    def abort(self) -> None:
        """Remove the temporaries, and the folder where it was made for them."""
        for temporary in self._temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._close()
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()


def remove_leftovers(finals: Iterable[Path], *, replaced: bool = False) -> None:
    """Remove what a process that was killed left beside its outputs; nobody else may be writing them.

    Parameters
    ----------
    finals : iterable of Path
        The outputs.
    replaced : bool
        The outputs are whole: remove also those that were set aside for them.
    """
    suffix = "(tmp|old)" if replaced else "tmp"
    for final in finals:
        pattern = re.compile(rf"\.{re.escape(final.name)}\.[0-9a-f]{{8}}\.{suffix}")
        with suppress(OSError):
            for path in [path for path in final.parent.iterdir() if pattern.fullmatch(path.name)]:
                path.unlink(missing_ok=True)


def _beside(final: Path, suffix: str) -> Path:
    """Make a hidden name beside an output that nobody else has."""
    while True:
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}.{suffix}")
        if not os.path.lexists(path):
            return path


def _move(before: Path, after: Path, moved: list[tuple[Path, Path]]) -> None:
    before.replace(after)
    moved.append((before, after))


def _undo(moved: Sequence[tuple[Path, Path]]) -> None:
    for before, after in reversed(moved):
        try:
            after.replace(before)
        except OSError as error:
            _log.warning("%s: cannot be moved back to %s: %s", after, before, error)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
