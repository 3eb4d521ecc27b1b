"""Tables of the journal."""

from __future__ import annotations

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
