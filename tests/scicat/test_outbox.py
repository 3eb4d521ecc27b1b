"""The file in which errands wait."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hitsieve.catalogue.scicat import Errand, Facts, Outbox, default_outbox, facility_names, read_facility
from hitsieve.errors import OutputError, SettingsError, SourceError

ERRAND = Errand(server="https://a.org", run="1" * 32, place="/out/a_summary.json", facts=Facts(owner="Ada"))


def test_an_errand_is_kept_until_it_is_sent(own_outbox: Path) -> None:
    assert default_outbox() == own_outbox
    with Outbox(own_outbox) as outbox:
        entry = outbox.put(ERRAND)
        assert (entry.state, entry.errand, entry.n_tries) == ("waiting", ERRAND, 0)
        outbox.remember(entry.key, {"dataset x": "done"})
        outbox.settle(entry.key, "waiting", "it rains")
    with Outbox(own_outbox) as outbox:
        (again,) = outbox.entries("waiting")
        assert (again.reason, again.n_tries, again.steps) == ("it rains", 1, {"dataset x": "done"})
        changed = outbox.put(ERRAND.model_copy(update={"archive": True}))
        assert (changed.key, changed.errand.archive, changed.steps) == (again.key, True, {"dataset x": "done"})
        outbox.settle(again.key, "sent")
        assert outbox.entries("waiting", "refused") == []
        outbox.put(ERRAND.model_copy(update={"server": "https://b.org"}))
        assert len(outbox.entries("waiting", "sent")) == 2


def test_one_process_has_an_errand_at_a_time(own_outbox: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hitsieve.catalogue.scicat import Outbox\n"
        "with Outbox(Path(sys.argv[1])) as outbox, outbox.claimed(int(sys.argv[2])) as mine: print(mine)"
    )

    def other(key: int) -> str:
        command = [sys.executable, "-c", code, str(own_outbox), str(key)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with Outbox(own_outbox) as outbox:
        key = outbox.put(ERRAND).key
        with outbox.claimed(key) as mine:
            assert mine
            assert other(key) == "False"
            assert other(key + 1) == "True"
        assert other(key) == "True"


def test_files_that_are_no_outbox(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"no database " * 200)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    for path in (text, other):
        with pytest.raises(SourceError, match="is not an outbox of hitsieve"):
            Outbox(path)
    later = tmp_path / "later.sqlite"
    Outbox(later).close()
    with sqlite3.connect(later) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SourceError, match="of a later version"):
        Outbox(later)
    with pytest.raises(OutputError, match="the outbox cannot be made"):
        Outbox(text / "below" / "outbox.sqlite")


def test_what_another_version_left_is_told(own_outbox: Path) -> None:
    with Outbox(own_outbox) as outbox:
        outbox.put(ERRAND)
    with sqlite3.connect(own_outbox) as connection:
        connection.execute("""UPDATE errands SET errand = '{"server": "x", "facts": {"shoe_size": 42}}'""")
    connection.close()
    with Outbox(own_outbox) as outbox, pytest.raises(SourceError, match="holds what this version of hitsieve cannot"):
        outbox.entries("waiting")


def test_facilities_are_whole() -> None:
    assert {"generic", "psi"} <= set(facility_names())
    for name in facility_names():
        facility = read_facility(name)
        assert facility.name == name
        assert facility.limits.block_files <= 20_000
        assert facility.limits.block_bytes <= 200_000_000_000
    with pytest.raises(SettingsError, match="no facility 'cern' is known"):
        read_facility("cern")
