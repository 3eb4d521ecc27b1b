"""Which files below a folder are runs. Files are looked into in another process, once, unless they change."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.pipeline.apart import Apart, Died
from hitsieve.pipeline.watch.rows import Stamp
from hitsieve.source import Looked, choose_masters, hdf5_files, look, open_run

LookedInto = Looked | str
"""What a file is like, or why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies below the folder."""

    masters: dict[Path, tuple[Path, ...]]
    """Runs, with the other files that hold their images."""
    bad: dict[Path, str]
    """Files that cannot be read, or not yet, with the reason."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Whether all is there that a run announces."""

    lacks: str
    """What is not; empty where all is."""
    files: tuple[Path, ...]
    """Data files."""


class Finder:
    """Looks at one tree, again and again.

    Parameters
    ----------
    top : Path
        The folder; absolute.
    leave_out : tuple of str
        Patterns of names of folders that are not looked into.
    apart : Apart
        The process in which files are looked into: one that brings HDF5 down brings down nothing else.
    step : callable
        Called often on the way.
    """

    def __init__(self, top: Path, leave_out: tuple[str, ...], apart: Apart, step: Callable[[], None]) -> None:
        self._top, self._leave_out, self._apart, self._step = top, leave_out, apart, step
        self._known: dict[Path, tuple[Stamp, LookedInto]] = {}

    def find(self) -> Found:
        """All runs that are there now."""
        bad: dict[Path, str] = {}
        looked: list[Looked] = []
        there: dict[Path, tuple[Stamp, LookedInto]] = {}
        for path in self._files(bad):
            self._step()
            stamp = Stamp.of(path)
            if stamp is None:
                continue
            before = self._known.get(path)
            seen = before[1] if before is not None and before[0] == stamp else self._look(path)
            if isinstance(seen, str):
                bad[path] = seen
            else:
                # What cannot be read yet may be readable soon, though nothing tells from outside.
                there[path] = (stamp, seen)
                looked.append(seen)
        self._known = there
        return Found({one.path: one.images_in for one in choose_masters(looked)}, bad)

    def whole(self, path: Path) -> Whole:
        """Whether all is there that a run announces."""
        try:
            return self._apart.do(is_whole, path)
        except Died as died:
            return Whole(str(died), ())

    def _files(self, bad: dict[Path, str]) -> Iterator[Path]:
        # A folder that cannot be read is told as what it is; its files are not known to be gone.
        for path in hdf5_files([self._top], [], bad.__setitem__):
            inside = path.relative_to(self._top).parts[:-1]
            if not any(fnmatch.fnmatchcase(name, pattern) for name in inside for pattern in self._leave_out):
                yield path

    def _look(self, path: Path) -> LookedInto:
        try:
            return self._apart.do(look_into, path)
        except Died as died:
            return str(died)


def look_into(path: Path) -> LookedInto:
    """What a file is like, or why it cannot be read."""
    try:
        return look(path)
    except SourceError as error:
        return str(error)


def is_whole(path: Path) -> Whole:
    """Whether all images are there that a run announces, and readable as far as that shows without decoding."""
    try:
        with open_run(path) as opened:
            images = opened.run.images
            files = tuple(file.path.absolute() for file in opened.run.files)
    except SourceError as error:
        return Whole(str(error), ())
    lacking = images.missing | images.unreadable
    if not lacking:
        return Whole("", files)
    first = min(lacking)
    return Whole(f"{len(lacking):,} of {len(images):,} images are not there, first {first}: {lacking[first]}", files)


def inside(name: str, top: Path) -> Path | None:
    """The file below a folder that a name means; None where it means none there.

    A name may lead anywhere, by `..` or by links: what is not below the folder is not looked at. Writers may see the
    folder at another place: then the name says nothing, and the whole tree is looked at as after any event.
    """
    if "\0" in name:
        return None
    path = Path(os.path.normpath(top / name))
    try:
        below = path.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):
        return None
    return path if below and path.is_relative_to(top) else None
