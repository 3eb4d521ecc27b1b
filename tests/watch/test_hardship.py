"""One odd file, a journal that is deleted, a clock that is set back: none of it holds up the others."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import active_children
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import h5py
import pytest

import hitsieve
from hitsieve.errors import OutputError
from hitsieve.pipeline.apart import Apart, Hung, goes_on
from hitsieve.pipeline.watch import Journal
from hitsieve.pipeline.watch.watching import WatchRequest, watch
from hitsieve.pipeline.watch.work import Job, work
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.scicat import FakeSciCat

from .conftest import FACTS, TINY, Beamline, call, registered, token_of, until
from .test_killed import whole


def test_an_odd_master_holds_up_no_other(beamline: Beamline) -> None:
    """Whatever stands where groups should be: it becomes of this file alone."""
    odd, good = beamline.add("a", linked=False), beamline.add("b")
    with h5py.File(odd, "r+") as file:
        del file["entry/instrument/detector"]
        file["entry/instrument/detector"] = 1
    beamline.once()
    assert beamline.row(good).state == "done"
    assert "holds what cannot be understood" in beamline.row(odd).step("arrive").said


def test_a_data_file_that_changes_while_it_is_sieved_is_sieved_again(beamline: Beamline, tmp_path: Path) -> None:
    """What was sieved of a file that has changed since is never taken for the results of the run."""
    other = simulate(tmp_path / "other", SimulateSettings.model_validate(TINY | {"seed": 99}))
    master = beamline.add("a", linked=False)
    beamline.once()
    data = master.with_name("tiny_data_000002.h5")
    before = beamline.hashes()
    with Journal(beamline.journal) as journal:
        journal.retry(1, again=True)
        (row,) = journal.rows()
        # As it was before it changed: the watcher has not seen that yet.
        journal.renew(1, row.files)
    shutil.copyfile(other.data_files[1], data)
    os.utime(data, (time.time() + 5, time.time() + 5))
    assert beamline.once() == []
    assert beamline.row(master).state == "done"
    (now,) = beamline.hashes().values()
    assert [now] != [*before.values()]
    with h5py.File(master.parent / "hitsieve/tiny_hits.h5") as file:
        assert len(now) == len(file["entry/data/data"])


def test_what_changed_on_the_way_is_not_found_as_done(beamline: Beamline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that was away while a run was sieved has left images out of its results."""
    master = beamline.add("data", linked=False)
    shutil.rmtree(master.parent)
    key = whole(beamline, "data")
    lost = master.with_name("tiny_data_000002.h5")

    def comes_and_goes(*arguments: object, **named: object) -> object:
        lost.rename(lost.with_suffix(".away"))
        return real(*arguments, **named)

    from hitsieve.pipeline.watch import steps

    real = steps.run
    with monkeypatch.context() as patch:
        patch.setattr(steps, "run", comes_and_goes)
        work(Job(beamline.journal, key, beamline.settings))
    assert beamline.row_of(key).step("run").state == "failed"
    lost.with_suffix(".away").rename(lost)
    with Journal(beamline.journal) as journal:
        journal.wake(beamline.top)
    work(Job(beamline.journal, key, beamline.settings))
    assert beamline.row_of(key).state == "done"
    assert tuple(*beamline.hashes().values()) == beamline.expected()


def test_slow_looks_at_what_is_not_whole_hold_up_no_other(beamline: Beamline, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it took to look at them, the next look comes with the next look at the tree."""
    monkeypatch.setattr("hitsieve.pipeline.watch.watching.SHARE", 1e9)
    waits = beamline.add("a")
    waits.with_name("tiny_data_000002.h5").unlink()
    stop = Event()
    request = WatchRequest(beamline.top.absolute(), beamline.settings, beamline.journal)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, request, stop, beamline.processes)
        try:
            until(lambda: any("not there" in row.step("arrive").said for row in beamline.rows()))
            beamline.add("b")
            until(lambda: beamline.is_done(1))
        finally:
            stop.set()
        assert watching.result() == []


def test_a_journal_that_is_deleted_is_made_anew(beamline: Beamline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitsieve.pipeline.watch.watching.BEAT", 0.1)
    beamline.own = beamline.home / "own"
    beamline.own.mkdir()
    stop = Event()
    request = WatchRequest(beamline.top.absolute(), beamline.settings, beamline.journal)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, request, stop, beamline.processes)
        try:
            beamline.add("a")
            until(lambda: beamline.is_done(1))
            beamline.own.rename(beamline.home / "lost")
            beamline.own.mkdir()
            beamline.add("b")
            until(lambda: beamline.is_done(2))
        finally:
            stop.set()
        assert watching.result() == []
    assert len(beamline.entries()) == 2


def test_a_clock_that_is_set_back_delays_nothing(beamline: Beamline) -> None:
    """What failed later than now is tried now; whoever was alive later than now may be dead."""
    master = beamline.add("a")
    beamline.once()
    with sqlite3.connect(beamline.journal) as connection:
        later = time.time() + 86_400
        change = "UPDATE steps SET state = 'failed', ended = ?, next_try = ? WHERE name = 'verify'"
        connection.execute(change, (later, later + 10))
        connection.execute("INSERT INTO watchers VALUES (1, '/nowhere', ?, ?)", (later, later))
    connection.close()
    assert "nobody watches" in call(beamline, "status").stdout
    assert beamline.once() == []
    assert beamline.row(master).state == "done"


def test_what_does_not_go_on_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that never answers must not hold the watcher for ever; what takes its time may."""
    submit = ProcessPoolExecutor.submit

    def late(pool: ProcessPoolExecutor, *job: Any) -> Any:
        """Whoever gives the job may be kept from going on until it has long begun."""
        before, future = apart._steps.value, submit(pool, *job)
        until(lambda: job == (os.getpid,) or apart._steps.value != before)
        return future

    monkeypatch.setattr(ProcessPoolExecutor, "submit", late)
    with Apart() as apart:
        assert apart.do(abs, -1) == 1
        with pytest.raises(Hung, match="nothing went on in it for"):
            apart.do(time.sleep, 60, 0.5)
        assert apart.do(abs, -2, 60.0) == 2
        with pytest.raises(TimeoutError, match="its own"):
            apart.do(times_out, 0, 60.0)
        # By a clock that goes on with its steps alone, whatever else this computer does.
        clock = SimpleNamespace(monotonic=lambda: float(apart._steps.value))
        monkeypatch.setattr("hitsieve.pipeline.apart.time", clock)
        monkeypatch.setattr("hitsieve.pipeline.apart.LOOK", 0.01)
        assert apart.do(goes_slowly, 0, 15.0) == 20


def test_a_process_that_hangs_before_it_has_begun_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it imports may lie on the share that never answers."""
    monkeypatch.setattr("hitsieve.pipeline.apart.BEGIN", 0.1)
    monkeypatch.setattr("hitsieve.pipeline.apart.LOOK", 0.05)
    of_others = set(active_children())
    with Apart() as apart:
        apart.begin()
        (child,) = set(active_children()) - of_others
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(Hung):
            apart.do(abs, -1, 0.1)
        assert apart.do(abs, -1) == 1


STUBBORN = """
import os, signal
from multiprocessing.process import BaseProcess
from hitsieve.cli import main
from hitsieve.pipeline import apart

def stop(_):
    os.kill(os.getpid(), signal.SIGSTOP)

if __name__ == "__main__":
    BaseProcess.kill = lambda process: None
    apart.LOOK = apart.GOES = 0.05
    with apart.Apart() as one:
        for longest in (0.1, None):
            try:
                one.begin()
                if longest is None:
                    one.kill()
                one.do(stop, 0, longest)
            except apart.Hung:
                print("hung")
    main(["--version"])
"""


def test_what_outlives_its_end_is_waited_for_by_nobody(tmp_path: Path) -> None:
    """Some shares hold a process until they answer, whoever ends it: here nothing does."""
    script, said = tmp_path / "stubborn.py", tmp_path / "said"
    script.write_text(STUBBORN)
    with (
        said.open("w") as out,
        subprocess.Popen([sys.executable, str(script)], stdout=out, start_new_session=True) as started,
    ):
        try:
            code = started.wait(240)
        finally:
            os.killpg(started.pid, signal.SIGKILL)
    assert (code, said.read_text().split()) == (0, ["hung", "hung", hitsieve.__version__])


def times_out(_: int) -> None:
    raise TimeoutError("its own")


def goes_slowly(_: int) -> int:
    for _ in range(20):
        goes_on()
        time.sleep(0.05)
    return 20


def test_a_step_that_hangs_is_ended_told_and_tried_again(beamline: Beamline) -> None:
    """Whoever opens a pipe that nobody writes to waits for ever, as for a share that does not answer."""
    pipe = beamline.home / "pipe"
    os.mkfifo(pipe, 0o600)
    with FakeSciCat() as fake:
        token = token_of(fake, beamline.home)
        scicat = {"server": fake.url, "facts": FACTS, "outbox": beamline.home / "outbox.sqlite"}
        beamline.rooms = {"scicat": {**scicat, "token_file": beamline.home / "absent"}}
        master = beamline.add("a")
        beamline.once()
        assert beamline.is_held()
        # What comes before takes as long as it takes: only this step has so little time.
        beamline.rooms = {"scicat": {**scicat, "token_file": pipe}, "watch": {"hung": 2.0}}
        call(beamline, "retry", "--all")
        (left,) = beamline.once()
        assert left.next is not None
        assert (left.next.name, left.next.state) == ("scicat", "failed")
        assert "nothing went on in it for 2 s, once" in left.next.said
        assert left.next.next_try - (left.next.ended or 0.0) >= 1.9
        beamline.rooms = {"scicat": {**scicat, "token_file": token}}
        call(beamline, "retry", "--all")
        assert beamline.once() == []
        assert registered(fake)["datasets"] == 2
    assert beamline.row(master).state == "done"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_whoever_may_only_read_the_journal_is_shown_it() -> None:
    """Also when no watcher runs; to write it is another matter."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        with Journal(folder / "watch.sqlite") as journal:
            journal.see(Path("/data"), Path("/data/a_master.h5"))
        os.seteuid(65534)
        with Journal(folder / "watch.sqlite", create=False) as journal:
            assert len(journal.rows()) == 1
            with pytest.raises(OutputError, match="may not be written by this user"):
                journal.retry(1)
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


def test_a_damaged_journal_is_told_with_its_mend(beamline: Beamline) -> None:
    whole(beamline, "a")
    with beamline.journal.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert call(beamline, "status").stderr.count("the journal is damaged (move it away") == 1


def test_what_another_watcher_found_whole_stays_so(beamline: Beamline) -> None:
    """Two may look at a run at the same time, and the one that saw it before it was whole may say so later."""
    key = whole(beamline, "a")
    with Journal(beamline.journal) as journal:
        journal.wait(key, "arrive", "a data file is not there")
    assert beamline.row_of(key).step("arrive").state == "done"
    assert beamline.once() == []
    assert beamline.row_of(key).state == "done"


def test_status_says_since_when_a_step_is_at_work(beamline: Beamline) -> None:
    key = whole(beamline, "a")
    with Journal(beamline.journal) as journal:
        journal.begin(key, "run")
    assert f"run {key}: run now: since " in call(beamline, "status").stdout
    assert "was at work when its watcher ended" in call(beamline, "retry", str(key), "--again").stdout
