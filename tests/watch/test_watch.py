"""Runs are seen to as soon as they are whole, and once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from threading import Event, Thread

import cbor2
import pytest
import zmq

from hitsieve.cli.commands import call as run_command
from hitsieve.errors import OutputError, SourceError
from hitsieve.pipeline.apart import Died, Hung
from hitsieve.pipeline.watch import BeamlineSettings, Step, facility_names, with_facility
from hitsieve.pipeline.watch.finding import inside
from hitsieve.pipeline.watch.mending import judge
from hitsieve.pipeline.watch.notices import LARGEST, Notices
from hitsieve.pipeline.watch.steps import check_scicat
from hitsieve.pipeline.watch.watching import WatchRequest, watch
from hitsieve.testing.scicat import FakeSciCat, Fault

from .conftest import ENDS, FACTS, PATIENCE, Beamline, Living, call, registered, token_of, until


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
    place = beamline.home / "notify"
    with socket(AF_UNIX, SOCK_DGRAM) as manager:
        manager.bind(str(place))
        manager.settimeout(PATIENCE)
        with Living(beamline, env={"NOTIFY_SOCKET": str(place)}) as living:
            assert manager.recv(100) == b"READY=1"
            see_one_and_end(beamline, living)
        said = [manager.recv(100)]
        while said[-1] != b"STOPPING=1":
            said.append(manager.recv(100))
    after = call(beamline, "status")
    assert after.returncode == 0
    assert "1 run: 1 done; 6 images" in after.stdout
    assert "nobody watches" in after.stdout
    assert beamline.strays() == []


def see_one_and_end(beamline: Beamline, living: Living) -> None:
    beamline.add("a")
    until(lambda: beamline.is_done(1))
    told = json.loads(call(beamline, "status", "--json").stdout)
    assert [one["pid"] for one in told["watchers"]] == [living.process.pid]
    assert [run["state"] for run in told["runs"]] == ["done"]
    # That it is in the journal does not mean that the watcher has heard of it.
    until(lambda: "tiny_master.h5: done: " in living.log.read_text())
    assert living.stop() == 0


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


def test_what_stays_incomplete_is_taken_where_that_is_wanted(beamline: Beamline) -> None:
    master = beamline.add("a", linked=False)
    master.with_name("tiny_data_000001.h5").unlink()
    beamline.rooms = {"watch": {"give_up": 1e-6, "incomplete": "sieve"}}
    assert beamline.once() == []
    assert (beamline.row(master).state, beamline.row(master).n_images) == ("done", 6)


def test_without_the_extra(tmp_path: Path) -> None:
    """Who has not installed what watching needs is told how."""
    program = "import sys; sys.modules['watchfiles'] = None; from hitsieve.cli import main; main()"
    command = [sys.executable, "-c", program, "watch", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 2
    assert "pip install cbor2 prometheus-client pyzmq watchfiles" in result.stderr


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
    # What is wrong with a source is believed when it is found a second time; what is in the way, at once.
    until(lambda: all(row.state == "held" for row in beamline.once()))
    assert [beamline.row(one).step("run").attempts for one in (good, other)] == [2, 1]
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
        ("[watch]\noutput = '/out/{stem:q}'\n", "{stem:q} means nothing"),
        ("[write]\noutput = 'out'\n", "watch.output says where outputs go"),
        ("facility = 'x06sa'\n", "no facility 'x06sa' is known"),
        ("[scicat]\nserver = 'https://scicat.example.org'\n", "who registers runs in SciCat is not known"),
        ("[watch]\nnotify = 'nonsense'\n", "no address to receive from"),
        ("[watch]\nmetrics = ':many'\n", "metrics cannot be served at ':many'"),
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


def test_the_writer_is_believed_only_where_to_look(beamline: Beamline) -> None:
    """A file that it names is not waited for to settle; what it says besides, and of other places, does nothing."""
    outside = beamline.home / "outside.h5"
    shutil.copyfile(beamline.made.master, outside)
    with zmq.Context() as context, context.socket(zmq.PUB) as writer:
        port = writer.bind_to_random_port("tcp://127.0.0.1")
        beamline.rooms = {"watch": {"settle": 100_000.0, "notify": f"tcp://127.0.0.1:{port}"}}
        master = beamline.add("a")
        beamline.add("b")
        messages = [
            b"",
            b"\xff\xff",
            b"[" * 100_000,
            json.dumps({"file": "../outside.h5", "n": 1}).encode(),
            json.dumps(["/etc/passwd.h5", "a\0.h5", str(outside)]).encode(),
            cbor2.dumps({"deep": [{"name": "a/tiny_master.h5"}]}),
        ]
        stop = Event()
        request = WatchRequest(beamline.top.absolute(), beamline.settings, beamline.journal)
        watcher = Thread(target=watch, args=(request, stop, beamline.processes))
        watcher.start()
        try:
            # A subscriber is known some time after it has connected.
            until(lambda: [writer.send(message) for message in messages] and beamline.is_done(1))
        finally:
            stop.set()
            watcher.join()
    assert {row.path.parent.name: row.state for row in beamline.rows()} == {"a": "done", "b": "waiting"}
    assert beamline.row(master).state == "done"


def test_a_writer_that_says_too_much_at_once_is_heard_again() -> None:
    """ZeroMQ cuts it off for good: it is called anew, as a detector is."""
    told: list[str] = []
    with zmq.Context() as context, context.socket(zmq.PUB) as writer:
        port = writer.bind_to_random_port("tcp://127.0.0.1")
        with Notices(f"tcp://127.0.0.1:{port}", "sub", told.extend):
            # A subscriber is known some time after it has connected.
            until(lambda: writer.send(b"/data/first.h5\n") or "/data/first.h5" in told)
            writer.send(b"x" * (LARGEST + 1))
            until(lambda: writer.send(b"second.h5") or "second.h5" in told)


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    top = tmp_path / "data"
    (top / "below").mkdir(parents=True)
    (top / "link").symlink_to(tmp_path)
    assert inside("below/a.h5", top) == inside(f"{top}/below/../below/a.h5", top) == top / "below/a.h5"
    for name in ("../a.h5", "/etc/a.h5", "link/a.h5", "below/../../a.h5", "a\0.h5"):
        assert inside(name, top) is None


def test_a_full_disk_is_waited_for(beamline: Beamline, small_disk: Path) -> None:
    beamline.rooms = {"watch": {"output": f"{small_disk}/out"}}
    beamline.add("a")
    (left,) = beamline.once()
    assert left.state == "failed" and left.next is not None
    assert "no space left on device" in left.next.said
    assert [*small_disk.iterdir()] == []
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    call(beamline, "retry", "--all")
    assert beamline.once() == []
    assert sorted(path.name for path in (small_disk / "out").iterdir()) == [f"tiny_{end}" for end in ENDS]


def test_a_share_that_is_away_is_not_taken_for_an_empty_folder(beamline: Beamline) -> None:
    beamline.add("a")
    beamline.once()
    call(beamline, "retry", "1", "--again")
    beamline.top.rename(beamline.home / "away")
    (left,) = beamline.once()
    assert left.state == "failed" and "is not there" in (left.next.said if left.next else "")
    assert not beamline.top.exists()
    (beamline.home / "away").rename(beamline.top)
    call(beamline, "retry", "--all")
    assert beamline.once() == []
    # Results that are to lie on another share wait for that one.
    beamline.rooms = {"watch": {"output": f"{beamline.home}/absent/{{inside}}"}}
    beamline.add("b")
    (left,) = beamline.once()
    assert f"{beamline.home}/absent: is not there" in (left.next.said if left.next else "")
    assert not (beamline.home / "absent").exists()


def test_a_server_that_is_down_holds_up_nothing_else(beamline: Beamline) -> None:
    with FakeSciCat() as fake:
        token = token_of(fake, beamline.home)
        outbox = beamline.home / "outbox.sqlite"
        scicat = {"server": fake.url, "facts": FACTS, "outbox": outbox, "token_file": token, "patience": 0.1}
        beamline.rooms = {"scicat": scicat, "watch": {"retry_first": 1000.0, "retry_longest": 1000.0}}
        fake.faults.add([Fault("drop")] * 1000)
        for name in "ab":
            beamline.add(name)
        left = beamline.once()
        assert [(row.state, row.next.name if row.next else "") for row in left] == [("failed", "scicat")] * 2
        assert len(beamline.entries()) == 2
        assert "it waits in the outbox" in call(beamline, "status").stdout
        assert "2 to be tried again" in call(beamline, "status").stdout
        fake.faults.clear()
        call(beamline, "retry", "--all")
        assert beamline.once() == []
        assert registered(fake) == {"datasets": 4, "files": 14, "pictures": registered(fake)["pictures"]}


@pytest.mark.parametrize("name", facility_names())
def test_facilities_are_settings(name: str) -> None:
    """And what a beamline says itself wins over them."""
    settings = BeamlineSettings.model_validate(with_facility({"facility": name}))
    assert settings.facility == name
    check_scicat(settings.scicat)
    own = with_facility({"facility": name, "scicat": {"facility": "generic"}, "watch": {"settle": 1}})
    assert BeamlineSettings.model_validate(own).scicat.facility == "generic"
    assert own.get("scicat", {}).get("facts") == with_facility({"facility": name})["scicat"].get("facts")


def test_a_process_that_dies_again_and_again_is_held(beamline: Beamline) -> None:
    """A file that brings HDF5 down must not be tried for ever, and a fault of ours not either."""
    beamline.add("a")
    beamline.once()
    (row,), watch_settings = beamline.rows(), beamline.settings.watch
    for deaths, state in ((1, "failed"), (4, "failed"), (5, "held")):
        step = Step("run", "running", attempts=deaths, deaths=deaths)
        assert judge(Died("it has died"), row, step, watch_settings).state == state
    old = replace(row, found=0.0)
    for one, state in ((row, "failed"), (old, "held")):
        assert judge(Hung("it hung"), one, Step("run", "running", 9, deaths=9), watch_settings).state == state
    for attempts, state in ((1, "failed"), (3, "held")):
        assert judge(ValueError(), row, Step("run", "running", attempts=attempts), watch_settings).state == state
    first, second = (judge(OutputError("full"), row, Step("run", "running", n), watch_settings) for n in (1, 2))
    now = time.time()
    assert 0 < first.next_try - now <= 0.3 < second.next_try - now <= 0.6
    assert judge(SourceError("bad"), row, Step("run", "running", 1), watch_settings).state == "failed"
    assert judge(SourceError("bad"), row, Step("run", "running", 2, said="bad"), watch_settings).state == "held"
    away = SourceError("bad")
    away.__cause__ = OSError(errno.ESTALE, "stale")
    assert judge(away, row, Step("run", "running", 1), watch_settings).state == "failed"
