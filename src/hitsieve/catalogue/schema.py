"""Tables of the local catalogue: one that lasts, and those that are made from it.

`runs` holds each record whole, as JSON. `facts` has a column for each field that can be searched by, `words` the words
of title, sample and path. Both are made anew where a version of hitsieve has other fields than the one that made them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from hitsieve.catalogue.celldistance import CENTRINGS, reduced_metric
from hitsieve.catalogue.query import FIELDS
from hitsieve.catalogue.record import Record
from hitsieve.catalogue.sql import SEPARATOR, WORDS, instant
from hitsieve.errors import SourceError
from hitsieve.model.cells import why_impossible

APPLICATION = 0x48495453
"""Marks an SQLite file as a catalogue of hitsieve."""
LAYOUT = 1
"""Version of the table that lasts; a later one is not touched."""
METRIC = ("g0", "g1", "g2", "g3", "g4", "g5")
"""Columns of the reduced metric of the lattice."""
_KNOWN = frozenset(Record.model_fields)
_FORM = json.dumps([2, [(name, home.kind) for name, home in FIELDS.items()], METRIC, WORDS])
"""What `facts` and `words` are made like; the number changes when their making does."""


def is_prepared(connection: sqlite3.Connection, *, words: bool) -> bool:
    """Whether all tables are there, in the form of this version."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0 or _note(connection, "form") != _FORM:
        return False
    return not words or _note(connection, "words") == "whole"


def prepare(connection: sqlite3.Connection, *, words: bool) -> None:
    """Make the tables that are absent or of another form, in a transaction of the caller."""
    if is_prepared(connection, words=words):
        return
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(
            "CREATE TABLE runs (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place TEXT NOT NULL UNIQUE, "
            "added TEXT NOT NULL, record TEXT NOT NULL)"
        )
        connection.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
    _make_facts(connection)
    if words:
        _make_words(connection)
    _write_note(connection, "form", _FORM)


def read_record(place: str, text: str) -> Record:
    """The record in a row; facts that only another version of hitsieve knows are passed over.

    Parameters
    ----------
    place, text : str
        The columns of these names.

    Raises
    ------
    SourceError
        It is damaged, or was written by something else.
    """
    try:
        # Unlike that of Python, this parser lets no text through that cannot be shown.
        values = from_json(text)
        return Record.model_validate({name: value for name, value in values.items() if name in _KNOWN})
    except (ValueError, AttributeError) as error:
        why = error.errors()[0]["loc"][0] if isinstance(error, ValidationError) else "it is no record"
        raise SourceError(
            f"what the catalogue has of {place} is damaged ({why})",
            mend=f"hitsieve catalog remove {place}, then enter it with hitsieve catalog add",
        ) from None


def put_facts(connection: sqlite3.Connection, key: int, record: Record, *, words: bool) -> None:
    """Write what is searched of a record, in place of what was there."""
    columns = ("key", *FIELDS, *METRIC)
    values = (key, *(_stored(record, name) for name in FIELDS), *(_metric(record) or (None,) * len(METRIC)))
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    connection.execute(f"INSERT OR REPLACE INTO facts ({names}) VALUES ({marks})", values)  # noqa: S608 - our own names
    if not words:
        # Who can will make them anew.
        _write_note(connection, "words", "stale")
        return
    connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
    text = [(getattr(record, name) or "").replace("_", " ") for name in WORDS]
    names, marks = ", ".join(WORDS), ", ".join("?" * len(WORDS))
    connection.execute(f"INSERT INTO words (rowid, {names}) VALUES (?, {marks})", (key, *text))  # noqa: S608 - our own names


def drop_facts(connection: sqlite3.Connection, key: int, *, words: bool) -> None:
    """Remove what is searched of a run."""
    connection.execute("DELETE FROM facts WHERE key = ?", (key,))
    if words:
        connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
    else:
        _write_note(connection, "words", "stale")


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite can search for words."""
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.probe USING fts5(text)")
        connection.execute("DROP TABLE temp.probe")
    except sqlite3.Error:
        return False
    return True


def _make_facts(connection: sqlite3.Connection) -> None:
    types = {"number": "NUMERIC", "text": "TEXT", "time": "TEXT", "names": "TEXT"}
    columns = [f'"{name}" {types[home.kind or "text"]}' for name, home in FIELDS.items()]
    connection.execute("DROP TABLE IF EXISTS facts")
    connection.execute(
        f"CREATE TABLE facts (key INTEGER PRIMARY KEY, {', '.join(columns)}, {', '.join(f'{g} REAL' for g in METRIC)})"
    )
    # Lattices are looked for by this alone, without the rows.
    connection.execute(f"CREATE INDEX lattices ON facts ({', '.join(METRIC)})")
    for key, record in _records(connection):
        put_facts(connection, key, record, words=False)


def _make_words(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS words")
    connection.execute(f"CREATE VIRTUAL TABLE words USING fts5({', '.join(WORDS)})")
    for key, record in _records(connection):
        put_facts(connection, key, record, words=True)
    _write_note(connection, "words", "whole")


def _records(connection: sqlite3.Connection) -> Iterator[tuple[int, Record]]:
    for key, place, text in connection.execute("SELECT key, place, record FROM runs").fetchall():
        yield key, read_record(place, text)


def _note(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _write_note(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def _stored(record: Record, name: str) -> Any:
    value, kind = getattr(record, name), FIELDS[name].kind
    if value is None:
        return None
    if kind == "time":
        return instant(value)
    return SEPARATOR.join(("", *value, "")) if kind == "names" else value


def _metric(record: Record) -> tuple[float, ...] | None:
    cell = record.cell
    if cell is None or record.centring not in CENTRINGS or why_impossible(cell):
        return None
    return reduced_metric(cell, record.centring)
