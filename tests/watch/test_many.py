"""Many runs at a time: the first need not wait for the last to be found, the newest goes first, and all are counted."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.pipeline.watch import Journal
from hitsieve.pipeline.watch.finding import Finder, LookedInto
from hitsieve.pipeline.watch.metrics import Metrics
from hitsieve.pipeline.watch.processes import Processes
from hitsieve.pipeline.watch.rows import Stamp

from .conftest import Beamline, until


def test_the_first_are_seen_to_while_others_are_looked_for(beamline: Beamline, monkeypatch: pytest.MonkeyPatch) -> None:
    beamline.rooms = {"watch": {"settle": 0.0}}
    for name in "abz":
        beamline.add(name)
    # A file that holds its own images may be shown by another, and another name of a master is none of its own.
    (beamline.top / "a/alone.h5").hardlink_to(beamline.made.data_files[0])
    (beamline.top / "b/link.h5").symlink_to("tiny_master.h5")
    real, done = Finder._look, []

    def slow(finder: Finder, path: Path) -> LookedInto:
        if path.parent.name == "z" and not done:
            until(lambda: beamline.is_done(1))
            done.extend(row.path.parent.name for row in beamline.rows())
        return real(finder, path)

    monkeypatch.setattr("hitsieve.pipeline.watch.finding.EARLY", 0.0)
    monkeypatch.setattr(Finder, "_look", slow)
    assert beamline.once() == []
    assert done == ["a", "b"]
    assert [row.state for row in beamline.rows()] == ["done"] * 3
    assert {tuple(one) for one in beamline.hashes().values()} == {beamline.expected()}


def show(path: Path, link: h5py.ExternalLink | h5py.VirtualLayout) -> None:
    """A master with images that lie elsewhere."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "data"})
        if isinstance(link, h5py.VirtualLayout):
            data.create_virtual_dataset("data", link)
        else:
            data["data"] = link


def test_what_another_file_shows_is_no_run_for_a_moment(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two is looked at first."""
    monkeypatch.setattr("hitsieve.pipeline.watch.finding.EARLY", 0.0)
    with h5py.File(tmp_path / "x_000001.h5", "w") as file:
        file["data"] = np.zeros((4, 8, 8), np.uint16)
    for shown, shows in (("a_vds.h5", "a.nxs"), ("b.h5", "b.nxs")):
        layout = h5py.VirtualLayout((4, 8, 8), np.uint16)
        layout[:] = h5py.VirtualSource("x_000001.h5", "data", layout.shape, np.uint16)
        show(tmp_path / shown, layout)
        show(tmp_path / shows, h5py.ExternalLink(shown, "entry/data/data"))
    early: list[str] = []
    finder = Finder(tmp_path, (), processes.looking, lambda: None)
    found = finder.find(lambda some: early.extend(path.name for path in some))
    assert {path.name for path in found.masters} == {"a.nxs", "b.nxs"}
    assert early == ["a.nxs", "b.nxs"]


def test_the_newest_goes_first(tmp_path: Path) -> None:
    top, at = tmp_path, int(time.time())
    ages = {"a": 100, "b": 7, "c": 90_000, "d": 7}
    with Journal(tmp_path / "watch.sqlite") as journal:
        journal.see(top, *(top / name for name in ages))
        for row in journal.open(top):
            stamp = Stamp(str(row.path), 1, at - ages[row.path.name])
            journal.arrive(row, [stamp], (tmp_path, row.path.name), ["run"])
        order = [row.path.name for row in journal.due(top, time.time(), 4)]
        assert order == ["b", "d", "a", "c"]
        assert [row.path.name for row in journal.due(top, time.time(), 1)] == ["b"]


def read(metrics: Metrics) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=240) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_runs_are_counted_for_prometheus(beamline: Beamline, tmp_path: Path) -> None:
    beamline.add("a")
    other = beamline.add("b")
    waiting = beamline.add("c")
    waiting.with_name("tiny_data_000002.h5").unlink()
    (other.parent / "hitsieve").mkdir()
    (other.parent / "hitsieve/tiny_summary.json").write_text("somebody's own")
    beamline.once()
    with Journal(beamline.journal) as journal:
        journal.beat(beamline.top, time.time())
    with Metrics("127.0.0.1:0", beamline.journal, beamline.top) as metrics:
        found = read(metrics)
        beamline.journal.rename(tmp_path / "away")
        assert read(metrics) == {"hitsieve_watch_journal_readable": 0.0}
        assert not beamline.journal.exists()
        beamline.journal.mkdir()
        assert read(metrics) == {"hitsieve_watch_journal_readable": 0.0}
    states = {name: n for name, n in found.items() if name.startswith("hitsieve_watch_runs{") and n}
    assert states == {f'hitsieve_watch_runs{{state="{state}"}}': 1.0 for state in ("done", "held", "waiting")}
    assert found['hitsieve_watch_troubled_runs{state="held",step="run"}'] == 1.0
    assert found['hitsieve_watch_troubled_runs{state="failed",step="run"}'] == 0.0
    assert found['hitsieve_watch_attempts_in_vain_total{step="run"}'] == 1.0
    assert found['hitsieve_watch_attempts_in_vain_total{step="check"}'] == 0.0
    assert (found["hitsieve_watch_images"], found["hitsieve_watch_journal_readable"]) == (6.0, 1.0)
    assert 0 < found["hitsieve_watch_hits"] < 6
    # What waits for somebody does not count as old.
    with Journal(tmp_path / "away") as journal:
        age = time.time() - journal.rows("path = ?", (str(waiting),))[0].found
    assert 0 < found["hitsieve_watch_oldest_seconds"] <= age
    assert 0 <= found["hitsieve_watch_alive_seconds"] <= age
