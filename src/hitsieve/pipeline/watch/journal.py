"""The journal: one row a run and one a step, in an SQLite file that outlives whoever writes it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from hitsieve.catalogue import beside_catalogue
from hitsieve.catalogue.filesystem import is_on_network
from hitsieve.errors import OutputError, SourceError
from hitsieve.model import Closing
from hitsieve.pipeline.watch.layout import APPLICATION, LAYOUT, OTHER, TABLES, connect, wrong
from hitsieve.pipeline.watch.rows import ARRIVE, Gone, RunRow, Stamp, State, Step, number_of

_OF_RUN = "key, top, path, identity, found, folder, stem, files, begun, as_it_is, n_images, n_hits, gone"
_OF_STEP = "name, state, attempts, deaths, started, ended, said, mend, next_try"
_OPEN = "SELECT run FROM steps WHERE state != 'done'"
_DUE = (
    # With min(), SQLite takes the other columns from the row that has it: the first step that is not done.
    "SELECT run FROM (SELECT run, state, next_try, ended, min(place) FROM steps WHERE state != 'done' GROUP BY run) "
    # What ended later than now did so before the clock was set back: its time would never come.
    "WHERE state = 'running' OR (state IN ('waiting', 'failed') AND (next_try <= ? OR ended > ?))"
)
_TROUBLED = "SELECT run FROM steps WHERE state != 'done' AND state IN ('failed', 'held')"
_WRITTEN = "CAST(substr(identity, instr(identity, ':') + 1) AS INTEGER)"
"""When the master was last changed."""
_BELOW = "substr(path, 1, length(?)) = ?"
HEARD = 60.0
"""Time (s) for which a watcher that says nothing is taken to be alive; it says something far more often."""


@dataclass(frozen=True, slots=True)
class Alive:
    """A watcher that has said so."""

    pid: int
    top: Path
    started: float
    """s since 1970, as below."""
    seen: float


def default_journal() -> Path:
    """HITSIEVE_JOURNAL, or watch.sqlite beside the local catalogue.

    Raises
    ------
    OutputError
        The user has no home.
    """
    return beside_catalogue("HITSIEVE_JOURNAL", "watch.sqlite", what="journal", mend=OTHER)


class Journal(Closing):
    """The file; close it, or use it in a `with` statement.

    Parameters
    ----------
    path : Path
    create : bool
        Make it if it is absent.

    Raises
    ------
    SourceError
        It is no journal, of a later version of hitsieve, or not there.
    OutputError
        It cannot be made or written.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not path.exists():
            mend = "start hitsieve watch, or name the journal with --journal or the settings with --config"
            raise SourceError(f"{path}: there is no journal", mend=mend)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: the journal cannot be made: {error.strerror}", mend=OTHER) from error
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def reopen(self) -> bool:
        """Open the file that is there now, where it is not the one that was opened, or make it; whether that was so."""
        if number_of(self.path) == self._opened:
            return False
        self.close()
        self._open()
        return True

    def _open(self) -> None:
        with self._using():
            self._connection = connect(self.path)
            self._prepare()
        self._opened = number_of(self.path)

    # What is known.

    def row(self, key: int) -> RunRow | None:
        """One run; None where there is none of this number."""
        return next(iter(self.rows("key = ?", (key,))), None)

    def rows(self, where: str = "1", values: Sequence[object] = ()) -> list[RunRow]:
        """Runs for which a condition holds, in the order in which they were found."""
        with self._using(), self._together("BEGIN"):
            runs = self._connection.execute(f"SELECT {_OF_RUN} FROM runs WHERE {where} ORDER BY key", values).fetchall()  # noqa: S608
            chosen = f"SELECT key FROM runs WHERE {where}"  # noqa: S608
            found = self._connection.execute(
                f"SELECT run, {_OF_STEP} FROM steps WHERE run IN ({chosen}) ORDER BY run, place",  # noqa: S608
                values,
            ).fetchall()
        steps: dict[int, list[Step]] = {}
        for run, *rest in found:
            steps.setdefault(run, []).append(Step(*rest))
        return [_row(values, steps.get(values[0], ())) for values in runs]

    def due(self, top: Path, now: float, most: int) -> list[RunRow]:
        """Whole runs below a folder with something to be done now, that of the newest master first."""
        which = f"{_BELOW} AND identity != '' AND gone = '' AND key IN ({_DUE})"
        first = f"key IN (SELECT key FROM runs WHERE {which} ORDER BY {_WRITTEN} DESC, key LIMIT ?)"  # noqa: S608
        rows = self.rows(first, (*_below(top), now, now, most))
        return sorted(rows, key=lambda row: (-row.files[0].seconds, row.key))

    def open(self, top: Path) -> list[RunRow]:
        """Runs below a folder that are not whole yet."""
        # The last condition holds for all of them, and finds them among many that are done.
        return self.rows(f"{_BELOW} AND identity = '' AND gone = '' AND key IN ({_OPEN})", _below(top))

    def troubled(self, top: Path) -> list[RunRow]:
        """Runs below a folder of which a step failed or is held."""
        return self.rows(f"{_BELOW} AND gone = '' AND key IN ({_TROUBLED})", _below(top))

    def knows(self, top: Path) -> bool:
        """Whether there are runs below a folder."""
        with self._using():
            found = self._connection.execute(f"SELECT 1 FROM runs WHERE {_BELOW} LIMIT 1", _below(top))  # noqa: S608
            return found.fetchone() is not None

    def places_of_done(self, top: Path) -> list[tuple[Path, str]]:
        """Where the outputs of runs are of which all is done: folders, and what the names begin with."""
        with self._using():
            found = self._connection.execute(
                f"SELECT folder, stem FROM runs WHERE {_BELOW} AND folder NOT NULL AND key NOT IN ({_OPEN})",  # noqa: S608
                _below(top),
            ).fetchall()
        return [(Path(folder), stem) for folder, stem in found]

    def identities(self, path: Path) -> set[str]:
        """All identities that a master has had; that of one that is not whole yet is empty."""
        with self._using():
            found = self._connection.execute("SELECT identity FROM runs WHERE path = ?", (str(path),)).fetchall()
        return {identity for (identity,) in found}

    def others_begun(self, row: RunRow) -> bool:
        """Whether another run has begun to write outputs of the same names, from the same master."""
        with self._using():
            found = self._connection.execute(
                "SELECT count(*) FROM runs WHERE folder = ? AND stem = ? AND path = ? AND key != ? AND begun NOT NULL",
                (str(row.folder), row.stem, str(row.path), row.key),
            ).fetchone()
        return bool(found[0])

    # How runs come and go.

    def see(self, top: Path, *paths: Path) -> None:
        """Enter runs that are not whole yet, those that are not there."""
        with self._using(), self._together():
            for path in paths:
                cursor = self._connection.execute(
                    "INSERT OR IGNORE INTO runs (top, path, identity, found, folder, stem, files, as_it_is, gone) "
                    "VALUES (?, ?, '', ?, NULL, '', '[]', 0, '')",
                    (str(top), str(path), time.time()),
                )
                if cursor.rowcount:
                    self._add_steps(int(cursor.lastrowid or 0), (ARRIVE,))

    def arrive(self, row: RunRow, files: Sequence[Stamp], place: tuple[Path, str], steps: Sequence[str]) -> None:
        """A run is whole: from now on it is this one, and what takes the place of its master is another one.

        Parameters
        ----------
        row : RunRow
        files : sequence of Stamp
            The master, and the data files.
        place : (Path, str)
            Folder and prefix of the outputs.
        steps : sequence of str
            Those to come.
        """
        now = time.time()
        with self._using(), self._together():
            told = json.dumps([astuple(stamp) for stamp in files])
            identity = files[0].identity
            changed = self._connection.execute(
                "UPDATE OR IGNORE runs SET identity = ?, files = ?, folder = ?, stem = ? "
                "WHERE key = ? AND identity = ''",
                (identity, told, str(place[0]), place[1], row.key),
            ).rowcount
            if not changed:
                # Another watcher was faster, or the master is again what it was before.
                self._forget(row.key)
                return
            self._connection.execute(
                "UPDATE steps SET state = 'done', started = ?, ended = ?, said = '', mend = '' WHERE run = ?",
                (row.found, now, row.key),
            )
            self._add_steps(row.key, steps, after=1)
            self._connection.execute(
                f"UPDATE runs SET gone = 'replaced' WHERE path = ? AND key != ? AND gone = '' AND key IN ({_OPEN})",  # noqa: S608
                (str(row.path), row.key),
            )

    def forget(self, row: RunRow) -> None:
        """Take out what turned out to be no run, or is gone before it was whole."""
        with self._using(), self._together():
            self._forget(row.key)

    def mark(self, key: int, gone: Gone) -> None:
        """See no more to a run."""
        with self._using():
            self._connection.execute("UPDATE runs SET gone = ? WHERE key = ?", (gone, key))

    # How far steps are.

    def begin(self, key: int, name: str) -> None:
        """A step begins."""
        self._set(key, name, "state = 'running', attempts = attempts + 1, started = ?, ended = NULL", (time.time(),))

    def own(self, key: int) -> None:
        """What lies where the outputs of a run go is its own, and of it as it is now if it was written from now on."""
        with self._using():
            self._connection.execute("UPDATE runs SET begun = ? WHERE key = ?", (time.time(), key))

    def renew(self, key: int, files: Sequence[Stamp]) -> None:
        """The files of a run have changed since it was found whole; outputs of its own are of what they were."""
        told, change = (
            json.dumps([astuple(stamp) for stamp in files]),
            "begun = CASE WHEN begun IS NULL THEN NULL ELSE ? END",
        )
        with self._using():
            self._connection.execute(f"UPDATE runs SET files = ?, {change} WHERE key = ?", (told, time.time(), key))  # noqa: S608

    def count(self, key: int, n_images: int, n_hits: int) -> None:
        """Say what a run holds."""
        with self._using():
            self._connection.execute("UPDATE runs SET n_images = ?, n_hits = ? WHERE key = ?", (n_images, n_hits, key))

    def done(self, key: int, name: str, said: str = "") -> None:
        """A step is done."""
        change = "state = 'done', ended = ?, said = ?, mend = '', deaths = 0, next_try = 0"
        self._set(key, name, change, (time.time(), said))

    def wait(self, key: int, name: str, said: str = "", mend: str = "") -> None:
        """A step waits; it was not begun, or was stopped on its way."""
        self._set(key, name, "state = 'waiting', ended = ?, said = ?, mend = ?", (time.time(), said, mend))

    def fail(self, key: int, name: str, said: tuple[str, str], state: State, next_try: float = 0.0) -> None:
        """A step has failed, for a reason and with its mend: is tried again then, or held."""
        change = "state = ?, ended = ?, said = ?, mend = ?, next_try = ?"
        self._set(key, name, change, (state, time.time(), *said, next_try))

    def died(self, key: int) -> Step | None:
        """The process that was at a run has died; the step that it was at, with how often that happened."""
        with self._using():
            self._connection.execute("UPDATE steps SET deaths = deaths + 1 WHERE run = ? AND state = 'running'", (key,))
        row = self.row(key)
        return row.next if row is not None else None

    def wake(self, top: Path) -> None:
        """Try at once what was to be tried later."""
        with self._using():
            below = f"SELECT key FROM runs WHERE {_BELOW}"  # noqa: S608
            change = f"UPDATE steps SET next_try = 0 WHERE state = 'failed' AND run IN ({below})"  # noqa: S608
            self._connection.execute(change, _below(top))

    def retry(self, key: int, *, as_it_is: bool = False, again: bool = False) -> None:
        """See to a run again that failed or is held: where it stands, or from its start."""
        fresh = "state = 'waiting', deaths = 0, next_try = 0, said = '', mend = ''"
        with self._using(), self._together():
            which = "state != 'running'" if again else "state IN ('failed', 'held')"
            self._connection.execute(
                f"UPDATE steps SET {fresh} WHERE run = ? AND {which} AND (name != ? OR state != 'done')",  # noqa: S608
                (key, ARRIVE),
            )
            # What was stuck has its time anew.
            self._connection.execute(
                "UPDATE runs SET found = ?, as_it_is = max(as_it_is, ?) WHERE key = ?", (time.time(), as_it_is, key)
            )
            if again:
                self._connection.execute("UPDATE runs SET begun = ?, gone = '' WHERE key = ?", (time.time(), key))

    # Who is there.

    def beat(self, top: Path, started: float) -> None:
        """Say that the watcher of this process is alive."""
        with self._using():
            self._connection.execute("DELETE FROM watchers WHERE abs(seen - ?) > ?", (time.time(), HEARD))
            self._connection.execute(
                "INSERT OR REPLACE INTO watchers VALUES (?, ?, ?, ?)", (os.getpid(), str(top), started, time.time())
            )

    def leave(self, top: Path) -> None:
        """The watcher of this process ends."""
        with self._using():
            self._connection.execute("DELETE FROM watchers WHERE pid = ? AND top = ?", (os.getpid(), str(top)))

    def watchers(self) -> list[Alive]:
        """Watchers that said something lately; their processes may be in a container, and not be seen from here."""
        with self._using():
            now = time.time()
            rows = self._connection.execute(
                "SELECT pid, top, started, seen FROM watchers WHERE abs(seen - ?) < ? ORDER BY pid", (now, HEARD)
            ).fetchall()
        return [Alive(pid, Path(top), *when) for pid, top, *when in rows]

    def _forget(self, key: int) -> None:
        self._connection.execute("DELETE FROM steps WHERE run = ?", (key,))
        self._connection.execute("DELETE FROM runs WHERE key = ?", (key,))

    def _add_steps(self, key: int, names: Sequence[str], after: int = 0) -> None:
        self._connection.executemany(
            "INSERT INTO steps VALUES (?, ?, ?, 'waiting', 0, 0, NULL, NULL, '', '', 0)",
            [(key, place, name) for place, name in enumerate(names, start=after)],
        )

    def _set(self, key: int, name: str, change: str, values: Iterable[object]) -> None:
        # What another watcher has done meanwhile stays done.
        with self._using():
            self._connection.execute(
                f"UPDATE steps SET {change} WHERE run = ? AND name = ? AND state != 'done'",  # noqa: S608 - written here
                (*values, key, name),
            )

    def _prepare(self) -> None:
        connection = self._connection
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not empty and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise SourceError(f"{self.path}: is not a journal of hitsieve", mend=OTHER)
        if layout > LAYOUT:
            raise SourceError(f"{self.path}: is a journal of a later version of hitsieve", mend="update hitsieve")
        # What is said to be done must be so after a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        if layout == LAYOUT:
            return
        if empty and not is_on_network(self.path):
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
        with self._together():
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            for table in TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")

    @contextmanager
    def _together(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """All of it or nothing."""
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have undone it already.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _using(self) -> Iterator[None]:
        """What SQLite says becomes an error with its mend."""
        try:
            yield
        except sqlite3.Error as error:
            raise wrong(self.path, error) from error


def _below(top: Path) -> tuple[str, str]:
    """Values of _BELOW."""
    prefix = f"{str(top).rstrip('/')}/"
    return prefix, prefix


def _row(values: Sequence[Any], steps: Iterable[Step]) -> RunRow:
    told: dict[str, Any] = dict(zip(_OF_RUN.split(", "), values, strict=True))
    told |= {"top": Path(told["top"]), "path": Path(told["path"]), "as_it_is": bool(told["as_it_is"])}
    told["folder"] = None if told["folder"] is None else Path(told["folder"])
    told["files"] = tuple(Stamp(*stamp) for stamp in json.loads(told["files"]))
    return RunRow(**told, steps=tuple(steps))
