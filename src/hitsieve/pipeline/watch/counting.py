"""How many runs of a journal are how far: counted by the database, for journals get long."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.pipeline.watch.layout import connect, wrong

_BELOW = "substr(path, 1, length(?)) = ?"
_FIRST = "(SELECT state FROM steps WHERE run = key AND state != 'done' ORDER BY place LIMIT 1)"
"""State of the first step of a run that is not done; NULL where all are."""
_STATES = (
    f"SELECT CASE WHEN gone != '' THEN gone ELSE coalesce({_FIRST}, 'done') END AS how, count(*) "  # noqa: S608 - here
    f"FROM runs WHERE {_BELOW} GROUP BY how"
)
_TROUBLED = (
    "SELECT name, state, count(*) FROM steps JOIN runs ON run = key "  # noqa: S608
    f"WHERE state IN ('failed', 'held') AND gone = '' AND {_BELOW} GROUP BY name, state"
)
_ATTEMPTS = (
    "SELECT name, sum(attempts - (attempts > 0 AND state IN ('done', 'running'))) "  # noqa: S608
    f"FROM steps JOIN runs ON run = key WHERE {_BELOW} GROUP BY name"
)
_OLDEST = f"SELECT min(found) FROM runs WHERE gone = '' AND {_FIRST} != 'held' AND {_BELOW}"  # noqa: S608
_IMAGES = f"SELECT coalesce(sum(n_images), 0), coalesce(sum(n_hits), 0) FROM runs WHERE {_BELOW}"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Counts:
    """What is known of the runs below one folder."""

    runs: dict[str, int]
    """By state."""
    troubled: dict[tuple[str, str], int]
    """Runs by the step that they stand at, and whether it failed or is held."""
    in_vain: dict[str, int]
    """Attempts at each step that came to nothing, those included that somebody stopped."""
    oldest: float | None
    """When the first of the runs was found that are neither done nor held (s since 1970), as below."""
    images: int
    hits: int
    heard: float | None
    """When a watcher of the folder last said that it is alive."""


def count(journal: Path, top: Path) -> Counts:
    """Count the runs below a folder.

    Raises
    ------
    HitsieveError
        The journal cannot be read.
    """
    if not journal.exists():
        raise SourceError(f"{journal}: there is no journal", mend="start hitsieve watch")
    prefix = f"{str(top).rstrip('/')}/"
    below = (prefix, prefix)
    try:
        with closing(connect(journal)) as connection:
            ((images, hits),) = connection.execute(_IMAGES, below).fetchall()
            (oldest,) = connection.execute(_OLDEST, below).fetchone()
            (heard,) = connection.execute("SELECT max(seen) FROM watchers WHERE top = ?", (str(top),)).fetchone()
            return Counts(
                runs=dict(connection.execute(_STATES, below).fetchall()),
                troubled={(name, state): n for name, state, n in connection.execute(_TROUBLED, below)},
                in_vain=dict(connection.execute(_ATTEMPTS, below).fetchall()),
                oldest=oldest,
                images=images,
                hits=hits,
                heard=heard,
            )
    except sqlite3.Error as error:
        raise wrong(journal, error) from error
