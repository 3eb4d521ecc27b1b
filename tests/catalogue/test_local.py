"""The local catalogue: what goes in comes out, whoever writes beside us, and from any version."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from catalogue.making import many, record, with_cell
from hitsieve.catalogue import Catalogue, Order, Record, default_catalogue
from hitsieve.catalogue.filesystem import is_on_network
from hitsieve.errors import OutputError, SettingsError, SourceError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "catalogue.sqlite"


def ids(catalogue: Catalogue, query: str) -> set[str]:
    return {found.facts["id"] for found in catalogue.search(query)}


def test_what_goes_in_comes_out(path: Path) -> None:
    records = many(40)
    with Catalogue(path, create=True) as catalogue:
        assert {catalogue.add(one).what for one in records} == {"added"}
    with Catalogue(path) as catalogue:
        assert len(catalogue) == 40
        found = catalogue.search("")
        assert [one.facts["date"] for one in found] == sorted((r.date for r in records), reverse=True)
        for one in records:
            assert catalogue.record(one.id) == one
            facts = next(f.facts for f in found if f.facts["id"] == one.id)
            assert {name: getattr(one, name) for name in facts} == facts


def test_a_run_is_entered_once(path: Path, tmp_path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        assert catalogue.add(record(1)).what == "added"
        assert catalogue.add(record(1)).what == "skipped"
        changed = catalogue.add(record(1, title="with a title"))
        assert (changed.what, changed.why) == ("updated", "its facts changed")
        assert ids(catalogue, '"with title"') == {record(1).id}
        assert len(catalogue) == 1


def test_a_run_that_moved_and_a_copy(path: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "a_summary.json", tmp_path / "b_summary.json"
    here.touch()
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(record(1, place=str(here)))
        copy = catalogue.add(record(1, place=str(there)))
        assert (copy.what, copy.why) == ("skipped", f"is in the catalogue already, at {here}")
        here.unlink()
        moved = catalogue.add(record(1, place=str(there)))
        assert (moved.what, moved.why) == ("updated", f"moved from {here}")
        again = catalogue.add(record(2, place=str(there)))
        assert (again.what, again.why) == ("updated", "another run was at this place")
        assert ids(catalogue, "") == {record(2).id}
        # Two that are known meet at one place.
        catalogue.add(record(3))
        assert catalogue.add(record(3, place=str(there))).what == "updated"
        assert ids(catalogue, "") == {record(3).id}
        assert ids(catalogue, '"run"') == {record(3).id}


def test_removing_touches_only_what_is_named(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        for number in (1, 11, 2):
            catalogue.add(record(number))
        assert catalogue.remove(Path("/data/run_1")) == ("/data/run_1/run_1_summary.json",)
        assert catalogue.remove(Path("/data/run_2/run_2_summary.json")) == ("/data/run_2/run_2_summary.json",)
        assert catalogue.remove(Path("/data/run_2")) == ()
        assert ids(catalogue, "") == ids(catalogue, '"run"') == {record(11).id}
        with pytest.raises(SourceError, match="has no run"):
            catalogue.record(record(1).id)


def _write(path: Path, first: int) -> None:
    for number in range(first, first + 12):
        # Half of the runs are entered by two writers.
        with Catalogue(path, create=True) as catalogue:
            catalogue.add(with_cell(number, (79, 79, 38, 90, 90, 90), title=f"run {number}"))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_writers_at_once(path: Path, mode: str) -> None:
    """Processes make one catalogue and fill it; a reader sees it whole all the while.

    delete: without a write-ahead log, as on a network file system.
    """
    if mode == "delete":
        Catalogue(path, create=True).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, 6 * k)) for k in range(6)]
    for writer in writers:
        writer.start()
    seen = [0]
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            with Catalogue(path) as catalogue:
                seen.append(len(catalogue.search("cell ~ 79,79,38,90,90,90 and 'run'")))
                assert len(catalogue) >= seen[-1]
        writers[0].join(0.02)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen == sorted(seen)
    with Catalogue(path) as catalogue:
        assert ids(catalogue, "'run' and cell ~ 79,79,38,90,90,90") == {record(n).id for n in range(42)}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        wanted = "delete" if is_on_network(path) else mode
        assert connection.execute("PRAGMA journal_mode").fetchone() == (wanted,)


def test_an_interrupted_writer_leaves_nothing(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(record(1))
        with pytest.raises(AttributeError), pytest.warns(UserWarning, match="title"):
            catalogue.add(record(2).model_copy(update={"title": 5}))
        assert ids(catalogue, "") == {record(1).id}
        assert catalogue.add(record(2)).what == "added"


def test_tables_of_another_version_are_made_anew(path: Path) -> None:
    """Facts of an older or a later version, with other columns, are no obstacle: the records are kept whole."""
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(with_cell(1, (79, 79, 38, 90, 90, 90), title="lysozyme", hit_rate=0.25))
    with sqlite3.connect(path) as connection:
        text = json.loads(connection.execute("SELECT record FROM runs").fetchone()[0])
        text["fact_of_the_future"] = 3
        connection.execute("UPDATE runs SET record = ?", (json.dumps(text),))
        connection.execute("DROP TABLE facts")
        connection.execute("CREATE TABLE facts (key INTEGER PRIMARY KEY, something REAL)")
        connection.execute("UPDATE notes SET value = 'other' WHERE name = 'form'")
    with Catalogue(path) as catalogue:
        assert ids(catalogue, "hit_rate = 25 % and cell ~ 79,79,38,90,90,90 and 'lyso'") == {record(1).id}


def test_a_later_layout_is_not_touched(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(record(1))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    for create in (True, False):
        with pytest.raises(SourceError, match="later version"):
            Catalogue(path, create=create)


def test_without_a_search_for_words(path: Path) -> None:
    """An SQLite without FTS5 finds words by looking; one that has it catches up with what the other wrote."""
    with Catalogue(path, create=True, words=False) as catalogue:
        catalogue.add(record(1, title="Lysozyme in LCP"))
        assert ids(catalogue, '"lyso lcp"') == {record(1).id}
        assert ids(catalogue, '"lyso jet"') == set()
    with Catalogue(path) as catalogue:
        assert ids(catalogue, '"lyso lcp"') == {record(1).id}
    with Catalogue(path, create=True, words=False) as catalogue:
        catalogue.add(record(2, title="Lysozyme in a jet"))
        catalogue.remove(Path(record(1).place))
    with Catalogue(path) as catalogue:
        assert ids(catalogue, '"lyso"') == {record(2).id}


@pytest.mark.parametrize("content", [b"no database" * 100, b""])
def test_another_file_is_refused_or_begun(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    if content:
        with pytest.raises(SourceError, match="not a catalogue"):
            Catalogue(path, create=True)
        assert path.read_bytes() == content
    else:
        with Catalogue(path, create=True) as catalogue:
            assert len(catalogue) == 0


def test_a_database_of_others_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(SourceError, match="is not a catalogue of hitsieve"):
        Catalogue(path, create=True)
    assert path.read_bytes() == before


def test_absent_and_impossible_places(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no catalogue yet"):
        Catalogue(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        Catalogue(tmp_path / "file" / "x.sqlite", create=True)
    with pytest.raises(OutputError, match="cannot be used"):
        Catalogue(tmp_path, create=True)


def test_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HITSIEVE_CATALOGUE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_catalogue() == tmp_path / "hitsieve" / "catalogue.sqlite"
    monkeypatch.setenv("XDG_DATA_HOME", "~no-such-user/share")
    with pytest.raises(OutputError, match="no folder for the catalogue is known"):
        default_catalogue()
    monkeypatch.setenv("HITSIEVE_CATALOGUE", "mine.sqlite")
    assert default_catalogue() == Path.cwd() / "mine.sqlite"


def test_network_file_systems(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"
        "2 1 0:2 / /home rw shared:2 - nfs4 server:/home rw\n"
        "3 2 0:3 / /home/fast\\040disk rw - xfs /dev/sdb rw\n"
    )
    assert not is_on_network(Path("/data/x"), mounts)
    assert is_on_network(Path("/home/me/x"), mounts)
    assert not is_on_network(Path("/home/fast disk/x"), mounts)
    assert is_on_network(Path("/x"), tmp_path / "absent")


@pytest.fixture
def disk(make_disk: Callable[[str], Path]) -> Path:
    """A file system of its own."""
    return make_disk("50%")


def test_reading_without_the_right_to_write(disk: Path) -> None:
    place = disk / "catalogue.sqlite"
    with Catalogue(place, create=True) as catalogue:
        catalogue.add(with_cell(1, (79, 79, 38, 90, 90, 90)))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with Catalogue(place) as catalogue:
        assert ids(catalogue, "cell ~ 79,79,38,90,90,90 and 'run'") == {record(1).id}
    with pytest.raises(OutputError, match="cannot be"), Catalogue(place, create=True) as catalogue:
        catalogue.add(record(2))


def test_one_of_another_version_that_may_not_be_written(disk: Path) -> None:
    place = disk / "catalogue.sqlite"
    with Catalogue(place, create=True) as catalogue:
        catalogue.add(record(1))
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("UPDATE notes SET value = 'other' WHERE name = 'form'")
        connection.commit()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(SourceError, match=r"another version of hitsieve \(who may write it"), Catalogue(place):
        pass


def test_a_full_disk(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=300k", disk], check=True)
    with Catalogue(disk / "catalogue.sqlite", create=True) as catalogue:
        with pytest.raises(OutputError, match="free some space"):
            for number in range(1000):
                catalogue.add(record(number, title="x" * 10_000))
        n = len(catalogue)
        assert n > 0
        assert len(ids(catalogue, "'run'")) == n


def test_a_damaged_catalogue(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        catalogue.add_all(many(200))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(SourceError, match="enter the runs again"), Catalogue(path) as catalogue:
        catalogue.search("hit_rate > 0")


@pytest.mark.parametrize(
    "change",
    [
        "[]",
        {"hit_rate": float("nan")},
        {"hit_rate": 5},
        {"n_images": 10**400},
        {"hit_bytes": 2**63},
        {"settings": {"a": "\ud800"}},
        "{",
    ],
)
def test_a_damaged_record_is_named(path: Path, change: dict[str, Any] | str) -> None:
    good, wrong = many(2)
    with Catalogue(path, create=True) as catalogue:
        catalogue.add_all([good, wrong])
    text = change if isinstance(change, str) else json.dumps(json.loads(wrong.model_dump_json()) | change)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET record = ? WHERE id = ?", (text, wrong.id))
    connection.close()
    with Catalogue(path) as catalogue:
        for look in (lambda: catalogue.part(""), lambda: catalogue.record(wrong.id)):
            with pytest.raises(SourceError, match=wrong.place) as told:
                look()
            assert f"hitsieve catalog remove {wrong.place}" in told.value.mend
        assert catalogue.record(good.id) == good
        assert catalogue.add(wrong).what == "updated"
        assert catalogue.record(wrong.id) == wrong


def test_a_cell_that_cannot_be_is_no_lattice(path: Path) -> None:
    """Whatever a record says, it is entered; only what can be compared is compared."""
    strange = with_cell(1, (79, 79, 38, 10, 90, 170))
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(strange)
        assert isinstance(catalogue.record(strange.id), Record)
        assert ids(catalogue, "cell is known") == {strange.id}
        assert ids(catalogue, "cell ~ 79,79,38,90,90,90") == set()


@pytest.mark.parametrize("order", [Order(), Order("hit_rate"), Order("sample_name", down=False)])
def test_parts_of_what_is_found(path: Path, order: Order) -> None:
    """Parts joined are what the query finds, each once; what is not known comes last."""
    with Catalogue(path, create=True) as catalogue:
        catalogue.add_all(many(60))
        wanted = ids(catalogue, "n_hits > 200")
        parts = [catalogue.part("n_hits > 200", order, first=first, most=7) for first in range(0, 63, 7)]
    joined = [one for part in parts for one, _ in part.records]
    assert {part.n_found for part in parts} == {len(wanted)}
    assert len(joined) == len(wanted) and {one.id for one in joined} == wanted
    field = order.field or "date"
    values = [getattr(one, field) for one in joined]
    known = [str(value).lower() if isinstance(value, str) else value for value in values if value is not None]
    assert known == sorted(known, reverse=order.down)
    assert None not in values[: len(known)]


def test_parts_of_a_lattice_are_the_nearest_first(path: Path) -> None:
    query = "cell ~ 79,79,38,90,90,90 within 5 %"
    with Catalogue(path, create=True) as catalogue:
        catalogue.add_all(many(60))
        wanted = [(one.facts["id"], one.strain) for one in catalogue.search(query)]
        part = catalogue.part(query, most=len(wanted))
    assert wanted and [(one.id, strain) for one, strain in part.records] == wanted


def test_no_such_field_to_sort_by(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue, pytest.raises(SettingsError, match="no field to sort by"):
        catalogue.part("", Order('id"; DROP TABLE runs; --'))


def test_extents(path: Path) -> None:
    with Catalogue(path, create=True) as catalogue:
        assert catalogue.extents(["n_images", "resolution"]) == {"n_images": None, "resolution": None}
        catalogue.add_all([record(1, n_images=100, resolution=2.0), record(2, resolution=1.5), record(3)])
        assert catalogue.extents(["n_images", "resolution"]) == {"n_images": (100, 100), "resolution": (1.5, 2.0)}


def test_read_only(path: Path) -> None:
    with pytest.raises(SourceError, match="no catalogue yet"):
        Catalogue(path, read_only=True)
    with Catalogue(path, create=True) as catalogue:
        catalogue.add(record(1))
    with Catalogue(path, read_only=True) as catalogue:
        assert len(catalogue) == 1 and catalogue.known("x") is None
        with pytest.raises(SourceError, match="readonly"):
            catalogue.add(record(2))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE notes SET value = 'another' WHERE name = 'form'")
    with pytest.raises(SourceError, match="another version"):
        Catalogue(path, read_only=True)
    Catalogue(path).close()
    Catalogue(path, read_only=True).close()
