"""Runs are seen to as soon as they are whole, and once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from hitsieve.cli.commands import call as run_command
from hitsieve.testing.scicat import FakeSciCat

from .conftest import FACTS, Beamline, Living, call, token_of, until


def test_runs_are_sieved_checked_proven_entered_and_registered(beamline: Beamline) -> None:
    masters = [beamline.add("visit1/a"), beamline.add("visit2/b")]
    (beamline.top / "visit1/raw").mkdir()
    (beamline.top / "visit1/raw/skipped.h5").write_bytes(b"none of our business")
    with FakeSciCat() as fake:
        token = token_of(fake, beamline.home)
        beamline.rooms = {
            "scicat": {
                "server": fake.url,
                "facts": FACTS,
                "outbox": beamline.home / "outbox.sqlite",
                "token_file": token,
            },
            "watch": {"output": "{top}/../results/{inside}", "leave_out": ["ra?"]},
        }
        assert beamline.once() == []
        assert [row.state for row in beamline.rows()] == ["done", "done"]
        assert [step.name for step in beamline.rows()[0].steps] == [
            "arrive", "run", "check", "verify", "catalogue", "scicat"
        ]  # fmt: skip
        state = fake.state()
        assert beamline.once() == []
        assert fake.state() == state
    assert sorted(one["type"] for one in state["datasets"]) == ["derived", "derived", "raw", "raw"]
    assert [path for path, *_ in beamline.entries()] == [str(path) for path in masters]
    results = beamline.home / "results"
    there = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    ends = ("hits.h5", "annotated.h5", "images.parquet", "summary.json")
    assert there == {f"{run}/tiny_{end}" for run in ("visit1/a", "visit2/b") for end in ends}
    first = beamline.row(masters[0])
    assert first.step("verify").said.endswith("stored images are as in the source")
    assert (first.n_images, first.n_hits) == (6, beamline.entries()[0][2])


def test_a_living_watcher_sees_runs_as_they_come_and_ends_when_asked(beamline: Beamline) -> None:
    with Living(beamline) as living:
        until(lambda: "watching" in living.log.read_text())
        beamline.add("a")
        until(lambda: beamline.is_done(1))
        told = json.loads(call(beamline, "status", "--json").stdout)
        assert [one["pid"] for one in told["watchers"]] == [living.process.pid]
        assert [run["state"] for run in told["runs"]] == ["done"]
        assert living.stop() == 0
    text = living.log.read_text()
    assert "tiny_master.h5: done: " in text
    after = call(beamline, "status")
    assert after.returncode == 0
    assert "1 runs: 1 done; 6 images" in after.stdout
    assert "nobody watches" in after.stdout
    assert beamline.strays() == []


def test_a_run_waits_until_it_is_whole(beamline: Beamline) -> None:
    """Data files that are absent or cut short are waited for, and so is a master that cannot be read yet."""
    master = beamline.add("a", linked=False)
    lost = master.with_name("tiny_data_000002.h5")
    content = lost.read_bytes()
    whole = master.read_bytes()
    lost.unlink()
    assert beamline.once() == []
    assert "not there" in beamline.row(master).step("arrive").said
    lost.write_bytes(content[: len(content) // 2])
    assert beamline.once() == []
    assert beamline.row(master).state == "waiting"
    lost.write_bytes(content)
    master.write_bytes(whole[: len(whole) // 2])
    assert beamline.once() == []
    assert beamline.row(master).state == "waiting"
    assert not (master.parent / "hitsieve").exists()
    master.write_bytes(whole)
    assert beamline.once() == []
    assert beamline.row(master).state == "done"


def test_what_stays_incomplete_is_told_as_stuck_and_can_be_taken(beamline: Beamline) -> None:
    master = beamline.add("a", linked=False)
    master.with_name("tiny_data_000002.h5").unlink()
    beamline.rooms = {"watch": {"give_up": 1e-6}}
    (left,) = beamline.once()
    assert left.state == "held"
    shown = call(beamline, "status", "--failed")
    assert shown.returncode == 3
    assert "stuck: 3 of 6 images are not there" in shown.stdout
    assert "retry --as-it-is" in shown.stdout
    assert call(beamline, "retry", str(master), "--as-it-is").returncode == 0
    assert beamline.once() == []
    row = beamline.row(master)
    assert (row.state, row.n_images) == ("done", 6)


def test_a_master_that_is_replaced_is_a_run_of_its_own(beamline: Beamline) -> None:
    master = beamline.add("a", linked=False)
    beamline.once()
    before = (master.parent / "hitsieve/tiny_summary.json").read_text()
    os.utime(master, (master.stat().st_mtime + 5, master.stat().st_mtime + 5))
    beamline.once()
    rows = beamline.rows()
    assert [(row.path, row.state) for row in rows] == [(master, "done")] * 2
    assert rows[0].identity != rows[1].identity
    assert (master.parent / "hitsieve/tiny_summary.json").read_text() != before
    assert len(beamline.entries()) == 1
    assert beamline.strays() == []


def test_what_cannot_mend_itself_is_held_until_somebody_mends_it(beamline: Beamline) -> None:
    """Bad input stops nothing else, and is tried again on demand; so is what would replace the results of others."""
    good, other = beamline.add("good"), beamline.add("other")
    (other.parent / "hitsieve").mkdir()
    (other.parent / "hitsieve/tiny_hits.h5").write_text("somebody's own")
    beamline.rooms = {"source": {"mask": str(beamline.home / "mask.npy")}}
    held = beamline.once()
    assert {(row.path, row.state, row.next and row.next.attempts) for row in held} == {
        (good, "held", 1),
        (other, "held", 1),
    }
    beamline.rooms = {}
    assert call(beamline, "retry", "--all").returncode == 0
    (left,) = beamline.once()
    assert (left.path, left.state) == (other, "held")
    assert "is there, and is no output of this run" in left.next.said if left.next else ""
    assert (other.parent / "hitsieve/tiny_hits.h5").read_text() == "somebody's own"
    (other.parent / "hitsieve/tiny_hits.h5").unlink()
    call(beamline, "retry", str(left.key))
    assert beamline.once() == []
    assert beamline.row(good).state == beamline.row(other).state == "done"


def test_retry_again_and_forget(beamline: Beamline) -> None:
    master = beamline.add("a")
    beamline.once()
    summary = master.parent / "hitsieve/tiny_summary.json"
    before = summary.read_text()
    beamline.rooms = {"verdict": {"min_spots": 9999, "second_look": 0}, "spots": {"max_spots": 10000}}
    assert call(beamline, "retry", "1", "--again").returncode == 0
    beamline.once()
    assert json.loads(summary.read_text())["n_hits"] == 0 != json.loads(before)["n_hits"]
    shutil.rmtree(summary.parent)
    call(beamline, "retry", "1", "--forget")
    assert beamline.once() == []
    assert call(beamline, "status").stdout.startswith("run")
    assert "1 forgotten" in call(beamline, "status").stdout
    assert not summary.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[watch]\nsetle = 5\n", "unknown key watch.setle, did you mean watch.settle?"),
        ("[watch]\noutput = 'results'\n", "begins neither with /"),
        ("[watch]\noutput = '/out/{visit}'\n", "{visit} means nothing"),
        ("[write]\noutput = 'out'\n", "watch.output says where outputs go"),
        ("facility = 'x06sa'\n", "no facility 'x06sa' is known"),
        ("[scicat]\nserver = 'https://scicat.example.org'\n", "who registers runs in SciCat is not known"),
        ("[watch]\nnotify = 'nonsense'\n", "no address to receive from"),
    ],
)
def test_settings_that_make_no_sense(
    tmp_path: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "beamline.toml"
    config.write_text(text)
    for name in [name for name in os.environ if name.startswith("HITSIEVE_SCICAT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HITSIEVE_JOURNAL", str(tmp_path / "watch.sqlite"))
    assert run_command(["watch", str(tmp_path), "--config", str(config), "--once"]) == 2
    assert says in capsys.readouterr().err


def test_folders_and_journals_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["watch", str(tmp_path / "none")], ["status"], ["retry", "--all"]):
        monkeypatch.setenv("HITSIEVE_JOURNAL", str(tmp_path / f"{arguments[0]}.sqlite"))
        assert run_command(arguments) == 3
        assert "there is no" in capsys.readouterr().err
