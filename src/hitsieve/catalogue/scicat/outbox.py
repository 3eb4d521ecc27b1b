"""What is to be sent to SciCat, kept in a file until it is there: which run and which facts, never how to log in."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hitsieve.catalogue.filesystem import is_on_network
from hitsieve.catalogue.local import beside_catalogue
from hitsieve.catalogue.scicat.facts import Facts
from hitsieve.catalogue.scicat.journal import Mark
from hitsieve.errors import OutputError, SourceError
from hitsieve.model import Closing

APPLICATION = 0x48495458
"""Marks an SQLite file as an outbox of hitsieve."""
LAYOUT = 1
WAIT = 30.0
"""Seconds to wait for another writer."""
State = Literal["waiting", "refused", "sent"]
_OTHER = "name another file with --outbox or HITSIEVE_OUTBOX"


class Errand(BaseModel):
    """What is to be sent, in terms of a run."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    server: str
    """URL of SciCat's backend."""
    run: str
    """Identity of the run."""
    place: str
    """Its summary, absolute."""
    facility: str = "generic"
    """Whose conventions hold."""
    facts: Facts = Facts()
    """As given with the command."""
    facts_file: str | None = None
    """TOML file with more, absolute."""
    raw_pid: str | None = None
    """Identifier of the raw dataset."""
    new_raw: bool = False
    archive: bool = False
    replace: bool = False
    ingestor: bool = False
    insecure: bool = False
    """http to another computer is allowed."""
    checksums: Literal["hits", "all", "none"] = "hits"
    """Of which files SHA-256 are sent."""
    picture: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """An errand and what became of it."""

    key: int
    errand: Errand
    state: State
    reason: str
    """Why it waits, or was refused."""
    added: str
    """When it was entered first (UTC, ISO 8601)."""
    n_tries: int
    steps: Mapping[str, Mark]
    """What was sent of it, for accounts that may not look."""


def default_outbox() -> Path:
    """HITSIEVE_OUTBOX, or outbox.sqlite beside the local catalogue.

    Raises
    ------
    OutputError
        The user has no home.
    """
    return beside_catalogue("HITSIEVE_OUTBOX", "outbox.sqlite", what="outbox", mend=_OTHER)


class Outbox(Closing):
    """The file with the errands; made if absent. Close it, or use it in a `with` statement.

    Raises
    ------
    SourceError
        It is no outbox, or of a later version of hitsieve.
    OutputError
        It cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._claims = os.open(path.with_name(f"{path.name}.claims"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OutputError(f"{path}: the outbox cannot be made: {why}", mend=_OTHER) from error
        try:
            with self._using():
                self._connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
                self._prepare()
        except BaseException:
            os.close(self._claims)
            raise

    def put(self, errand: Errand) -> Entry:
        """Enter an errand; one that is there for the same server and run is replaced, but what was sent stays known."""
        with self._using():
            self._connection.execute(
                "INSERT INTO errands (server, run, errand, state, reason, added, tries, steps) "
                "VALUES (?, ?, ?, 'waiting', '', ?, 0, '{}') "
                "ON CONFLICT (server, run) DO UPDATE SET errand = excluded.errand, state = 'waiting', reason = ''",
                (errand.server, errand.run, errand.model_dump_json(), _now()),
            )
        (entry,) = self._entries("server = ? AND run = ?", (errand.server, errand.run))
        return entry

    def entries(self, *states: State) -> list[Entry]:
        """Errands in one of the states, the oldest first."""
        return self._entries(f"state IN ({', '.join('?' * len(states))})", states)

    def settle(self, key: int, state: State, reason: str = "") -> None:
        """Say what became of an errand."""
        with self._using():
            self._connection.execute(
                "UPDATE errands SET state = ?, reason = ?, tries = tries + 1 WHERE key = ?", (state, reason, key)
            )

    def remember(self, key: int, steps: Mapping[str, Mark]) -> None:
        """Keep what was sent of an errand."""
        with self._using():
            self._connection.execute("UPDATE errands SET steps = ? WHERE key = ?", (json.dumps(dict(steps)), key))

    def drop(self, key: int) -> None:
        """Take an errand out; what was sent of it stays known, for it cannot always be looked for."""
        with self._using():
            self._connection.execute("DELETE FROM errands WHERE key = ? AND steps = '{}'", (key,))
            self._connection.execute("UPDATE errands SET state = 'sent', reason = '' WHERE key = ?", (key,))

    @contextmanager
    def claimed(self, key: int) -> Iterator[bool]:
        """Keep other processes from an errand; False where one of them has it. A process that dies lets go of it."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, key)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            with suppress(OSError):
                fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, key)

    def _entries(self, where: str, values: tuple[object, ...]) -> list[Entry]:
        with self._using():
            rows = self._connection.execute(
                f"SELECT key, errand, state, reason, added, tries, steps FROM errands WHERE {where} "  # noqa: S608
                "ORDER BY key",
                values,
            ).fetchall()
        try:
            return [
                Entry(key, Errand.model_validate_json(errand), state, reason, added, tries, json.loads(steps))
                for key, errand, state, reason, added, tries, steps in rows
            ]
        except ValueError as error:
            what = f"{self.path}: holds what this version of hitsieve cannot read: {error}"
            raise SourceError(what, mend=f"update hitsieve, or {_OTHER}") from error

    def _prepare(self) -> None:
        connection = self._connection
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not empty and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise SourceError(f"{self.path}: is not an outbox of hitsieve", mend=_OTHER)
        if layout > LAYOUT:
            raise SourceError(f"{self.path}: is an outbox of a later version of hitsieve", mend="update hitsieve")
        if empty and not is_on_network(self.path):
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
        # An errand that is said to wait must survive a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS errands (key INTEGER PRIMARY KEY, server TEXT NOT NULL, run TEXT NOT NULL, "
            "errand TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, added TEXT NOT NULL, "
            "tries INTEGER NOT NULL, steps TEXT NOT NULL, UNIQUE (server, run))"
        )
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute("COMMIT")

    @contextmanager
    def _using(self) -> Iterator[None]:
        """What SQLite says becomes an error with its mend."""
        try:
            yield
        except sqlite3.Error as error:
            if "not a database" in str(error):
                raise SourceError(f"{self.path}: is not an outbox of hitsieve", mend=_OTHER) from error
            raise OutputError(f"{self.path}: the outbox cannot be used: {error}", mend=_OTHER) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        os.close(self._claims)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
