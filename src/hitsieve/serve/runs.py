"""Runs by their ids: the facts that the catalogue has of them, and their files, if they may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hitsieve.catalogue import Catalogue, Record, default_catalogue
from hitsieve.errors import SourceError
from hitsieve.serve.kept import Kept
from hitsieve.serve.plainly import check_same, held
from hitsieve.serve.refusals import Forbidden, Gone, NotFound, Refusal
from hitsieve.settings import ServeSettings
from hitsieve.write import SUMMARY_SUFFIX, Outputs, StoredResults, Summary, open_results, read_summary

MOST_KEPT = 64
"""Values that are kept from one request to the next, of all runs together."""
MOST_LARGE = 8
"""Likewise, of those that take tens of megabytes for a run of a million images."""
MOST_SUMMARY = 64 << 20
"""Bytes of a summary; its size does not grow with the run."""
_ID = re.compile(r"[0-9a-f]{32}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served:
    """A run whose summary is there and may be shown."""

    record: Record
    outputs: Outputs
    """Paths that may be opened; a file may be absent."""
    summary: Summary


class Runs:
    """All runs of a catalogue, and what may be read of them.

    Parameters
    ----------
    settings : ServeSettings
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.place = settings.catalogue or default_catalogue()
        """The catalogue."""
        self._roots = settings.root
        self._kept = Kept(MOST_KEPT)
        self._large = Kept(MOST_LARGE)

    @property
    def confined(self) -> bool:
        """Whether only what lies in some folders is shown."""
        return bool(self._roots)

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        """The catalogue, opened read-only for one request.

        Raises
        ------
        SourceError
            There is none, or it cannot be read.
        """
        with Catalogue(self.place, read_only=True) as opened:
            yield opened

    def record(self, identity: str) -> Record:
        """Facts of a run.

        Raises
        ------
        NotFound
            The catalogue has no such run.
        """
        wrong = f"there is no run {identity[:40]!r} in the catalogue"
        if not _ID.fullmatch(identity):
            raise NotFound(wrong, mend="a run is called by 32 hexadecimal digits, as the page of all runs does")
        with self.catalogue() as catalogue:
            found = catalogue.known(identity)
        if found is None:
            raise NotFound(wrong, mend="it may have been removed; look for it on the page of all runs")
        return found

    def served(self, identity: str) -> Served:
        """A run with its summary and the paths of its files.

        Raises
        ------
        NotFound, Gone, Forbidden
            There is no such run, its summary is gone, or its folder is not to be shown.
        SourceError
            The summary is damaged.
        """
        record = self.record(identity)
        path = self.allowed(Path(record.place), of=record)
        if not path.name.endswith(SUMMARY_SUFFIX):
            raise Forbidden(f"{path.name} is no summary of a run")
        stem = path.name.removesuffix(SUMMARY_SUFFIX)
        stamp = _stamp(path)
        if stamp is None or stamp[1] > MOST_SUMMARY:
            raise Forbidden(f"{path.name} is too large to be a summary")
        summary = self._kept.get(("summary", path, stamp), lambda: self._summary(path, record))
        states = summary.pump.states if summary.pump else ()
        # Names in a summary are text that anybody may have written: only those of outputs of this run are its files.
        own = re.compile(rf"{re.escape(stem)}_[A-Za-z0-9.+=-]+_hits\.h5")
        names = [state.hits_file for state in states if state.hits_file and own.fullmatch(state.hits_file)]
        outputs = Outputs.of(path.parent, stem, misses=(path.parent / f"{stem}_misses.h5").is_file())
        outputs = replace(outputs, pump_hits=tuple(path.parent / name for name in names))
        return Served(record, outputs, summary)

    def _summary(self, path: Path, record: Record) -> Summary:
        with self.holding(path, of=record) as held_one:
            return read_summary(held_one)

    def open_results(self, served: Served) -> StoredResults:
        """The results of a run, open; to be closed by the caller.

        Raises
        ------
        Gone, Forbidden
            Its annotated master is not there any more, or is not to be shown.
        SourceError
            They are damaged.
        """
        self.allowed(served.outputs.annotated, of=served.record)
        with ExitStack() as undo:
            stored = undo.enter_context(open_results(served.outputs.summary, lambda path: self._admitted(path, served)))
            self.check_opened(served.outputs.annotated, stored.fileno(), of=served.record)
            if stored.summary != served.summary:
                raise Gone(f"{served.outputs.summary.name} changed while it was read", mend="ask again")
            undo.pop_all()
        return stored

    @contextmanager
    def _admitted(self, path: Path, served: Served) -> Iterator[Path | None]:
        """As `holding`; None for a file that is not to be shown: the others are, without it."""
        try:
            self.allowed(path, of=served.record)
        except Refusal:
            yield None
            return
        with self.holding(path, of=served.record) as there:
            yield there

    def remember(self, served: Served, what: str, make: Callable[[], T], *, large: bool = False) -> T:
        """Something that is made of the files of a run, kept until its summary or its table changes.

        Parameters
        ----------
        served : Served
        what : str
            Tells it from other things of this run.
        make : callable
            Makes it; it must need no closing.
        large : bool
            Few of such things are kept.
        """
        stamps = tuple(
            _stamp(path) for path in (served.outputs.summary, served.outputs.images, served.outputs.annotated)
        )
        kept = self._large if large else self._kept
        return kept.get((what, served.outputs.summary, stamps), make)

    def file(self, identity: str, name: str) -> Path:
        """A file of a run, by its name.

        Raises
        ------
        NotFound, Gone, Forbidden
            There is no such run, it has no such file, the file is gone, or it is not to be shown.
        """
        served = self.served(identity)
        path = next((path for path in served.outputs if path.name == name), None)
        if path is None:
            raise NotFound(f"run {served.record.stem} has no file {name[:80]!r}", mend="see the page of the run")
        return self.allowed(path, of=served.record)

    def allowed(self, path: Path, *, of: Record, source: bool = False) -> Path:
        """The path, with all its symbolic links followed, if it may be opened.

        Parameters
        ----------
        path : Path
        of : Record
            The run that it belongs to.
        source : bool
            It is a file that the run was made from, and no output: without roots it may lie anywhere.

        Raises
        ------
        Gone
            It is not there, or is no file.
        Forbidden
            It lies outside what is shown.
        """
        try:
            real = path.resolve(strict=True)
        except (FileNotFoundError, NotADirectoryError):
            mend = "bring it back, or take the run out of the catalogue with hitsieve catalog remove"
            raise Gone(f"{path.name} is not there any more", mend=mend) from None
        except (OSError, RuntimeError, ValueError):
            raise Forbidden(f"{path.name} cannot be read") from None
        if not real.is_file():
            raise Gone(f"{path.name} is no file any more")
        roots = self._roots or (() if source else (_real(Path(of.place).parent),))
        if roots and not any(root in real.parents for root in roots):
            raise Forbidden(f"{path.name} lies outside the folders that are shown", mend="add its folder with --root")
        return real

    @contextmanager
    def holding(self, path: Path, *, of: Record, source: bool = False) -> Iterator[Path]:
        """A path by which just the file is opened that may be: what replaces it, or a folder of it, since is not.

        Parameters
        ----------
        path, of, source
            As for `allowed`. Of a source that may lie anywhere, it is the path itself.

        Raises
        ------
        Gone, Forbidden
            As `allowed`.
        SourceError
            As the caller does, with the name of the file as it was given.
        """
        real = self.allowed(path, of=of, source=source)
        if source and not self._roots:
            yield path
            return
        with held(real) as there:
            try:
                yield there
            except SourceError as error:
                raise SourceError(error.what.replace(str(there), str(path)), mend=error.mend) from None

    def check_opened(self, path: Path, handle: int, *, of: Record) -> None:
        """See that a file that was opened by its path, through whatever was there, is one that may be shown.

        Parameters
        ----------
        path : Path
        handle : int
            Descriptor of the open file.
        of : Record
            The run that it belongs to.

        Raises
        ------
        Gone, Forbidden
            As `allowed`; or it is another file.
        """
        check_same(self.allowed(path, of=of), handle)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
