"""The file of the journal: its tables, how it is opened, and what is wrong with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hitsieve.errors import HitsieveError, OutputError, SourceError

WAIT = 30.0
"""Seconds to wait for another writer."""
OTHER = "name another file as watch.journal in the settings, or HITSIEVE_JOURNAL"

APPLICATION = 0x48495457
"""Marks an SQLite file as a journal of hitsieve."""
LAYOUT = 1
_RUNS = (
    "CREATE TABLE IF NOT EXISTS runs (key INTEGER PRIMARY KEY, top TEXT NOT NULL, path TEXT NOT NULL, "
    "identity TEXT NOT NULL, found REAL NOT NULL, folder TEXT, stem TEXT NOT NULL, files TEXT NOT NULL, begun REAL, "
    "as_it_is INTEGER NOT NULL, n_images INTEGER, n_hits INTEGER, gone TEXT NOT NULL, UNIQUE (path, identity))"
)
_STEPS = (
    "CREATE TABLE IF NOT EXISTS steps (run INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL, "
    "state TEXT NOT NULL, attempts INTEGER NOT NULL, deaths INTEGER NOT NULL, started REAL, ended REAL, "
    "said TEXT NOT NULL, mend TEXT NOT NULL, next_try REAL NOT NULL, PRIMARY KEY (run, place)) WITHOUT ROWID"
)
_WATCHERS = (
    "CREATE TABLE IF NOT EXISTS watchers (pid INTEGER, top TEXT, started REAL, seen REAL, PRIMARY KEY (pid, top))"
)
_FIRST = "CREATE INDEX IF NOT EXISTS open_steps ON steps (run, place) WHERE state != 'done'"
TABLES = (_RUNS, _STEPS, _WATCHERS, _FIRST)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file; where nobody is at it, and it may only be read, what is in the file itself."""
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "readonly database" not in str(error):
            raise
        # A write-ahead log beside it cannot be made.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    return connection


def wrong(path: Path, error: sqlite3.Error) -> HitsieveError:
    """What SQLite says, with its mend."""
    said = str(error)
    if "not a database" in said:
        return SourceError(f"{path}: is not a journal of hitsieve", mend=OTHER)
    if "readonly database" in said:
        what = f"{path}: the journal may not be written by this user"
        return OutputError(what, mend="be the user that the watcher runs as, as with sudo -u")
    if "malformed" in said:
        what = f"{path}: the journal is damaged"
        return OutputError(what, mend="move it away and start the watcher anew, which takes results as they are")
    return OutputError(f"{path}: the journal cannot be used: {error}", mend=OTHER)
