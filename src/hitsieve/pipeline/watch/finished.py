"""When a run is taken for finished: all that it announces is there, and nothing of it changes any more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from hitsieve.pipeline.watch.finding import Finder
from hitsieve.pipeline.watch.journal import Journal
from hitsieve.pipeline.watch.rows import ARRIVE, RunRow, Stamp, stamps_of
from hitsieve.pipeline.watch.settings import BeamlineSettings, folder_for
from hitsieve.pipeline.watch.steps import steps_of
from hitsieve.source import stem_of

_HOUR = 3600.0
_STUCK = "stuck: "
_TAKE = "complete its files; or hitsieve retry --as-it-is takes it without them; or hitsieve retry --forget"
Stamps = tuple[Stamp | None, ...]


class Candidate:
    """A run that is not whole yet, as it is seen from outside."""

    def __init__(self) -> None:
        self.files: tuple[Path, ...] = ()
        """Files other than the master that hold its images, as far as is known."""
        self.unreadable = ""
        """Why the master cannot be read, or not yet."""
        self._stamps: Stamps | None = None
        self._since = 0.0
        self.refused: Stamps | None = None
        """As it was when it was found not to be whole."""

    def quiet_for(self, path: Path) -> tuple[float, Stamps]:
        """For how long (s) nothing of it has changed under the eyes of this watcher, and how it is.

        No clock of another computer has a say in this.
        """
        stamps, now = stamps_of((path, *self.files)), time.monotonic()
        if stamps != self._stamps:
            self._stamps, self._since = stamps, now
        return now - self._since, stamps


class Arrivals:
    """Runs that are not whole yet, and when they are."""

    def __init__(self, top: Path, settings: BeamlineSettings, finder: Finder) -> None:
        self._top, self._settings, self._finder = top, settings, finder
        self._candidates: dict[Path, Candidate] = {}
        self.told: set[Path] = set()
        """Files of which their writer has said that they are finished."""

    def update(self, masters: Mapping[Path, tuple[Path, ...]], bad: Mapping[Path, str]) -> None:
        """Take in what was found."""
        for path in (*masters, *bad):
            candidate = self._candidates.setdefault(path, Candidate())
            candidate.files = masters.get(path, candidate.files)
            candidate.unreadable = bad.get(path, "")
            # A file may have become readable without looking changed from outside.
            candidate.refused = None

    def look(self, journal: Journal, row: RunRow) -> bool:
        """Look at one of them; whether it is whole, and entered as such."""
        candidate = self._candidates.setdefault(row.path, Candidate())
        quiet, stamps = candidate.quiet_for(row.path)
        lacks = candidate.unreadable or (f"{row.path}: is not there" if stamps[0] is None else "")
        if not lacks and candidate.refused == stamps and not self._takes(row):
            lacks = row.step(ARRIVE).said.removeprefix(_STUCK)
        if lacks:
            self._wait(journal, row, lacks)
            return False
        if quiet < self._settings.watch.settle and row.path not in self.told:
            return False
        whole = self._finder.whole(row.path)
        takes = self._takes(row)
        if whole.lacks and not takes:
            candidate.refused = stamps
            self._wait(journal, row, whole.lacks)
            return False
        files = stamps_of((row.path, *(path for path in whole.files if path != row.path)))
        # What was not seen from outside may have changed while it was looked into.
        same = files[0] == stamps[0] and (takes or None not in files)
        if same:
            self._enter(journal, row, files)
        return same

    def may_come(self, row: RunRow) -> bool:
        """Whether one of them needs nothing but to be looked at for longer."""
        candidate = self._candidates.get(row.path)
        return candidate is not None and not candidate.unreadable and candidate.refused is None

    def keep(self, paths: set[Path]) -> None:
        """Forget all others."""
        self._candidates = {path: one for path, one in self._candidates.items() if path in paths}
        self.told &= paths

    def _enter(self, journal: Journal, row: RunRow, files: Stamps) -> None:
        stem = stem_of([row.path])
        folder = folder_for(row.path, self._top, stem, self._settings.watch)
        there = [stamp for stamp in files if stamp is not None]
        self.told.discard(row.path)
        journal.arrive(row, there, (folder, stem), steps_of(self._settings))

    def _takes(self, row: RunRow) -> bool:
        """Whether it is taken as it is."""
        sieves = self._settings.watch.incomplete == "sieve"
        return row.as_it_is or (sieves and self._is_old(row))

    def _is_old(self, row: RunRow) -> bool:
        return time.time() - row.found > self._settings.watch.give_up * _HOUR

    def _wait(self, journal: Journal, row: RunRow, why: str) -> None:
        """Say why it waits, where that was not known; after a long time, that it is stuck."""
        step = row.step(ARRIVE)
        if self._is_old(row):
            if step.state != "held":
                journal.fail(row.key, ARRIVE, (_STUCK + why, _TAKE), "held")
        elif (step.state, step.said) != ("waiting", why):
            journal.wait(row.key, ARRIVE, why)
