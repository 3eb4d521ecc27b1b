"""The catalogue of all runs on this computer, or of a group: one SQLite file, for many readers and writers at once."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import starmap
from pathlib import Path

from hitsieve.catalogue.conditions import Condition
from hitsieve.catalogue.filesystem import is_on_network
from hitsieve.catalogue.found import LATEST, Change, Found, Order, Part, facts_of
from hitsieve.catalogue.nearby import near_table
from hitsieve.catalogue.query import FIELDS, parse
from hitsieve.catalogue.record import Record
from hitsieve.catalogue.schema import (
    APPLICATION,
    LAYOUT,
    drop_facts,
    has_fts5,
    is_prepared,
    prepare,
    put_facts,
    read_record,
)
from hitsieve.catalogue.sql import where
from hitsieve.errors import HitsieveError, OutputError, SourceError
from hitsieve.model import Closing

WAIT = 30.0
"""Seconds to wait for another writer."""
CACHE_KIB = 65536
"""Most memory for pages: the facts of a hundred thousand runs."""
_IDENTITY = "PRAGMA application_id"


def default_catalogue() -> Path:
    """HITSIEVE_CATALOGUE, or hitsieve/catalogue.sqlite in the user's folder for data (XDG).

    Raises
    ------
    OutputError
        The user has no home.
    """
    named = os.environ.get("HITSIEVE_CATALOGUE")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    try:
        if named:
            return Path(named).expanduser().absolute()
        return Path(data).expanduser().absolute() / "hitsieve" / "catalogue.sqlite"
    except RuntimeError as error:
        raise OutputError(f"no folder for the catalogue is known: {error}", mend=_OTHER) from error


def beside_catalogue(variable: str, name: str, *, what: str, mend: str) -> Path:
    """The file that an environment variable names, or one of this name beside the local catalogue.

    Parameters
    ----------
    variable : str
    name : str
    what, mend : str
        What the file is, and how another is named, for the error.

    Raises
    ------
    OutputError
        The user has no home.
    """
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser().absolute() if named else default_catalogue().with_name(name)
    except RuntimeError as error:
        raise OutputError(f"no folder for the {what} is known: {error}", mend=mend) from error


class Catalogue(Closing):
    """The local catalogue; close it, or use it in a `with` statement.

    Parameters
    ----------
    path : Path
        The file.
    create : bool
        Make it, and its folder, where it is absent.
    read_only : bool
        Write nothing at all; a catalogue whose tables are not those of this version is an error then.
    words : bool
        Use SQLite's search for words (FTS5) where it has it. Without, words are looked for anywhere in the text.

    Raises
    ------
    SourceError
        It is absent, is no catalogue, or is of a later version of hitsieve.
    OutputError
        It is to be made, and cannot be.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False, words: bool = True) -> None:
        self.path = path
        if not _exists(path, unseen=False):
            if not create:
                mend = "hitsieve run enters each run, hitsieve catalog add those that are finished"
                raise SourceError(f"{path}: there is no catalogue yet", mend=mend)
            self._make_folder()
        self._read_only = not create and (read_only or not os.access(path, os.W_OK))
        self._failure: type[HitsieveError] = OutputError if create else SourceError
        with self._using():
            self._connection = self._connect(create=create)
        try:
            with self._using():
                self._words = words and has_fts5(self._connection)
                self._check()
        except BaseException:
            self._connection.close()
            raise

    def add(self, record: Record) -> Change:
        """Enter a run, or say why it is there already.

        Raises
        ------
        OutputError
            The catalogue cannot be written.
        """
        return self.add_all([record])[0]

    def add_all(self, records: Sequence[Record]) -> list[Change]:
        """Enter several runs, all or none; what became of each.

        Raises
        ------
        OutputError
            The catalogue cannot be written.
        """
        with self._writing() as connection:
            return [self._add(connection, record) for record in records]

    def remove(self, place: Path) -> tuple[str, ...]:
        """Remove the run whose summary is at a place, or all whose summaries lie below it; no file is touched.

        Returns
        -------
        Places of the runs removed.
        """
        with self._writing() as connection:
            rows = connection.execute("SELECT key, place FROM runs ORDER BY place").fetchall()
            gone = [(key, text) for key, text in rows if place == Path(text) or place in Path(text).parents]
            for key, _ in gone:
                self._drop(connection, "key = ?", (key,))
        return tuple(text for _, text in gone)

    def search(self, query: str) -> list[Found]:
        """Runs that a query finds, those nearest to its first cell first, else the latest first.

        Raises
        ------
        SettingsError
            The query is wrong, with its place.
        SourceError
            The catalogue cannot be read.
        """
        condition = parse(query)
        near: list[dict[int, float]] = []
        with self._using(), self._reading() as connection:
            sql, values = self._where(connection, condition, near)
            names = ", ".join(f'"{name}"' for name in FIELDS)
            text = f"SELECT key, {names} FROM facts WHERE {sql} ORDER BY date DESC, key DESC"  # noqa: S608 - our own names
            rows = connection.execute(text, values).fetchall()
        strains = near[0] if near else {}
        found = [Found(facts_of(row[1:]), strains.get(row[0])) for row in rows]
        return sorted(found, key=lambda one: math.inf if one.strain is None else one.strain) if near else found

    def part(self, query: str, order: Order = LATEST, *, first: int = 0, most: int = 50) -> Part:
        """Whole records of some of the runs that a query finds, in order.

        Parameters
        ----------
        query : str
        order : Order
        first, most : int
            Which of them.

        Raises
        ------
        SettingsError
            The query is wrong, with its place, or there is no such field to sort by.
        SourceError
            The catalogue cannot be read.
        """
        condition = parse(query)
        near: list[dict[int, float]] = []
        with self._using(), self._reading() as connection:
            sql, values = self._where(connection, condition, near)
            n_found = connection.execute(f"SELECT count(*) FROM facts WHERE {sql}", values).fetchone()[0]  # noqa: S608
            # Keys alone are sorted, not the whole records.
            order_by = order.sql(near=bool(near))
            text = f"SELECT key FROM facts WHERE {sql} ORDER BY {order_by} LIMIT ? OFFSET ?"  # noqa: S608 - our own names
            keys = [key for (key,) in connection.execute(text, [*values, most, first])]
            rows = [
                connection.execute("SELECT place, record FROM runs WHERE key = ?", (key,)).fetchone() for key in keys
            ]
        strains = near[0] if near else {}
        found = zip(starmap(read_record, rows), map(strains.get, keys), strict=True)
        return Part(tuple(found), int(n_found))

    def extents(self, fields: Sequence[str]) -> dict[str, tuple[float, float] | None]:
        """Least and largest value of fields that are numbers, over all runs; None where no run has one."""
        asked = ", ".join(f'min("{FIELDS[name].field}"), max("{FIELDS[name].field}")' for name in fields)
        with self._using():
            row = self._connection.execute(f"SELECT {asked} FROM facts").fetchone()  # noqa: S608 - names of fields
        pairs = zip(row[::2], row[1::2], strict=True)
        return {name: None if pair[0] is None else pair for name, pair in zip(fields, pairs, strict=True)}

    def record(self, identity: str) -> Record:
        """The whole record of a run.

        Raises
        ------
        SourceError
            There is none.
        """
        found = self.known(identity)
        if found is None:
            raise SourceError(f"{self.path}: has no run {identity}", mend="see hitsieve catalog list")
        return found

    def known(self, identity: str) -> Record | None:
        """The whole record of a run, if there is one."""
        with self._using():
            row = self._connection.execute("SELECT place, record FROM runs WHERE id = ?", (identity,)).fetchone()
        return None if row is None else read_record(*row)

    def id_at(self, place: str) -> str | None:
        """Id of the run whose summary is at a place, if there is one."""
        with self._using():
            row = self._connection.execute("SELECT id FROM runs WHERE place = ?", (place,)).fetchone()
        return None if row is None else str(row[0])

    def places_by_source(self) -> dict[str, list[str]]:
        """Summaries of all runs, by the file that was sieved."""
        with self._using():
            rows = self._connection.execute("SELECT f.source_path, r.place FROM runs r JOIN facts f USING (key)")
            places: dict[str, list[str]] = {}
            for source, place in rows:
                places.setdefault(source, []).append(place)
        return places

    def __len__(self) -> int:
        with self._using():
            return int(self._connection.execute("SELECT count(*) FROM runs").fetchone()[0])

    def _add(self, connection: sqlite3.Connection, record: Record) -> Change:
        row = connection.execute("SELECT key, place, record FROM runs WHERE id = ?", (record.id,)).fetchone()
        if row is None:
            replaced = connection.execute("SELECT key FROM runs WHERE place = ?", (record.place,)).fetchone()
            self._put(connection, replaced[0] if replaced else None, record)
            return Change("updated", "another run was at this place") if replaced else Change("added", "")
        key, place, text = row
        if place == record.place and _is(place, text, record):
            return Change("skipped", "is in the catalogue as it is")
        if place != record.place and _exists(Path(place), unseen=True):
            return Change("skipped", f"is in the catalogue already, at {place}")
        self._drop(connection, "place = ? AND id <> ?", (record.place, record.id))
        self._put(connection, key, record)
        return Change("updated", "its facts changed" if place == record.place else f"moved from {place}")

    def _drop(self, connection: sqlite3.Connection, which: str, values: tuple[object, ...]) -> None:
        for (key,) in connection.execute(f"SELECT key FROM runs WHERE {which}", values).fetchall():  # noqa: S608
            connection.execute("DELETE FROM runs WHERE key = ?", (key,))
            drop_facts(connection, key, words=self._words)

    def _put(self, connection: sqlite3.Connection, key: int | None, record: Record) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        values = (key, record.id, record.place, now, record.model_dump_json())
        made = connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", values).lastrowid
        put_facts(connection, int(made or 0), record, words=self._words)

    def _where(
        self, connection: sqlite3.Connection, condition: Condition, near: list[dict[int, float]]
    ) -> tuple[str, list[object]]:
        return where(condition, lambda cell: near_table(connection, cell, near), has_words=self._words)

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'ro' if self._read_only else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None)
        try:
            connection.execute(_IDENTITY).fetchone()
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except sqlite3.OperationalError:
            # A write-ahead log beside it cannot be made; what is in the file itself can be read.
            connection.close()
            connection = sqlite3.connect(f"{uri.split('?', maxsplit=1)[0]}?immutable=1", uri=True, isolation_level=None)
        return connection

    def _check(self) -> None:
        """See that this is a catalogue, and make its tables where they are absent or of another version."""
        connection = self._connection
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not empty and connection.execute(_IDENTITY).fetchone()[0] != APPLICATION:
            raise SourceError(f"{self.path}: is not a catalogue of hitsieve", mend="name another file with --catalogue")
        if layout > LAYOUT:
            raise SourceError(
                f"{self.path}: is a catalogue of a later version of hitsieve",
                mend="update hitsieve, or name another file with --catalogue",
            )
        if self._read_only:
            if not is_prepared(connection, words=self._words):
                what = f"{self.path}: was made by another version of hitsieve"
                raise SourceError(what, mend="who may write it brings it up to date with hitsieve catalog list")
            return
        if empty and not is_on_network(self.path):
            # Readers then do not wait for writers; it needs memory that is shared, which network file systems have not.
            self._write_ahead()
        if not is_prepared(connection, words=self._words):
            with self._writing():
                pass

    def _write_ahead(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # Another process is making the catalogue at this moment, and does it.
            return

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer can interrupt, on tables that are made as they should be."""
        with self._using():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                prepare(self._connection, words=self._words)
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state, and leaves nothing."""
        self._connection.execute("BEGIN")
        try:
            yield self._connection
        finally:
            self._connection.rollback()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """What SQLite says becomes an error with its mend."""
        try:
            yield
        except sqlite3.Error as error:
            kind = self._failure
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
                raise SourceError(f"{self.path}: is not a catalogue of hitsieve", mend=_OTHER) from error
            mend = next((mend for word, mend in _MENDS.items() if word in str(error)), _OTHER)
            raise kind(f"{self.path}: the catalogue cannot be used: {error}", mend=mend) from error

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"{self.path}: the catalogue cannot be made: {(error.strerror or str(error)).lower()}"
            raise OutputError(why, mend=_OTHER) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


_OTHER = "name another file with --catalogue or HITSIEVE_CATALOGUE"
_MENDS = {
    "locked": "try again when the other program is done",
    "full": "free some space",
    "malformed": "move it away, and enter the runs again with hitsieve catalog add",
}
"""By a word of what SQLite says."""


def _is(place: str, text: str, record: Record) -> bool:
    """Whether a row holds a record; one that is damaged is written anew."""
    try:
        return read_record(place, text) == record
    except SourceError:
        return False


def _exists(path: Path, *, unseen: bool) -> bool:
    """Whether a file is there; `unseen` where this user may not know."""
    try:
        return path.exists()
    except OSError:
        return unseen
