"""Which files below a folder are runs. Files are looked into in another process, once, unless they change."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.pipeline.apart import Apart, Died
from hitsieve.pipeline.watch.rows import Stamp
from hitsieve.source import Looked, choose_masters, hdf5_files, look, open_run

LONGEST = 300.0
"""Time (s) that it may take to look into one file: a share that is away may never answer."""
EARLY = 2.0
"""Time (s) after which some of what was found is told, though not all is."""
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

    def find(self, early: Callable[[Mapping[Path, tuple[Path, ...]]], None]) -> Found:
        """All runs that are there now.

        Parameters
        ----------
        early : callable
            Called on the way with some of the runs that were not known: where there are many, the first need not wait
            for the last to be looked at.
        """
        bad: dict[Path, str] = {}
        looked: list[Looked] = []
        there: dict[Path, tuple[Stamp, LookedInto]] = {}
        fresh = _Fresh()
        for path in self._files(bad):
            self._step()
            if (found := fresh.take(path)) is not None:
                early(found)
            stamp = Stamp.of(path)
            if stamp is None:
                continue
            before = self._known.get(path)
            is_known = before is not None and before[0] == stamp
            seen = before[1] if before is not None and is_known else self._look(path)
            if isinstance(seen, str):
                bad[path] = seen
                continue
            # What cannot be read yet may be readable soon, though nothing tells from outside.
            self._known[path] = there[path] = (stamp, seen)
            looked.append(seen)
            fresh.add(seen, is_known=is_known)
        self._known = there
        return Found({one.path: one.images_in for one in choose_masters(looked)}, bad)

    def whole(self, path: Path) -> Whole:
        """Whether all is there that a run announces."""
        try:
            return self._apart.do(is_whole, path, LONGEST)
        except Died as died:
            return Whole(str(died), ())

    def _files(self, bad: dict[Path, str]) -> Iterator[Path]:
        # A folder that cannot be read is told as what it is; its files are not known to be gone.
        for path in hdf5_files([self._top], [], bad.__setitem__):
            inside = path.relative_to(self._top).parts[:-1] if self._leave_out else ()
            if not any(fnmatch.fnmatchcase(name, pattern) for name in inside for pattern in self._leave_out):
                yield path

    def _look(self, path: Path) -> LookedInto:
        try:
            return self._apart.do(look_into, path, LONGEST)
        except Died as died:
            return str(died)


class _Fresh:
    """Runs that a look at the tree has found so far, and that were not known before."""

    def __init__(self) -> None:
        self._looked: list[Looked] = []
        self._taken: set[frozenset[Path]] = set()
        self._shown: set[Path] = set()
        self._told = time.monotonic()

    def add(self, looked: Looked, *, is_known: bool) -> None:
        self._shown.update(looked.images_in)
        if not is_known:
            self._looked.append(looked)
        elif looked.images_in:
            self._taken.add(frozenset(looked.images_in))

    def take(self, coming: Path) -> dict[Path, tuple[Path, ...]] | None:
        """Runs that can be taken in before a file is looked at; None where it is too soon for that.

        Whether a file that holds its own images is shown by another one is known in the end only, and so is which of
        several names of a file is taken. A file that shows others has mostly a name that begins alike: what such a
        name follows waits for it.
        """
        if not self._looked or time.monotonic() - self._told < EARLY:
            return None
        found, later = {}, [one for one in self._looked if _begins_alike(one.path, coming)]
        for one in choose_masters(self._looked):
            files = frozenset(one.images_in)
            is_odd = one.path.is_symlink() or one.path.resolve() in self._shown
            if files and files not in self._taken and one not in later and not is_odd:
                self._taken.add(files)
                found[one.path] = one.images_in
        self._looked, self._told = later, time.monotonic()
        return found


def _begins_alike(path: Path, other: Path) -> bool:
    return path.parent == other.parent and other.name.startswith(path.stem)


def look_into(path: Path) -> LookedInto:
    """What a file is like, or why it cannot be read."""
    try:
        return look(path)
    except SourceError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever one file holds, it becomes of this file alone
        return _odd(path, error)


def is_whole(path: Path) -> Whole:
    """Whether all images are there that a run announces, and readable as far as that shows without decoding."""
    try:
        with open_run(path) as opened:
            images = opened.run.images
            files = tuple(file.path.absolute() for file in opened.run.files)
    except SourceError as error:
        return Whole(str(error), ())
    except Exception as error:  # noqa: BLE001 - as above
        return Whole(_odd(path, error), ())
    lacking = images.missing | images.unreadable
    if not lacking:
        return Whole("", files)
    first = min(lacking)
    return Whole(f"{len(lacking):,} of {len(images):,} images are not there, first {first}: {lacking[first]}", files)


def _odd(path: Path, error: Exception) -> str:
    return f"{path}: holds what cannot be understood ({type(error).__name__}: {' '.join(str(error).split())})"


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
