"""Whatever happens to a beamline, in whatever order: in the end every run is done, once, and nothing is left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hitsieve.testing.scicat import FakeSciCat, Fault

from .conftest import ENDS, FACTS, PATIENCE, Beamline, Living, registered, token_of, until

FEW, MANY = 1, 200
DISK_MIB = 24


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system for the results, where one can be mounted; else a folder."""
    disk = tmp_path / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", disk]
    mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
    yield disk
    if mounted:
        subprocess.run(["umount", "-l", disk], check=True)


class Story:
    """Faults that strike a beamline, and watchers that come and go."""

    def __init__(self, beamline: Beamline, fake: FakeSciCat, disk: Path, seed: int) -> None:
        self.beamline, self.fake, self.disk = beamline, fake, disk
        self.random_of = random.Random(seed)
        self.watchers: list[Living] = []
        self.late: list[tuple[Path, bytes]] = []
        self.n_runs = self.n_kills = 0
        kinds: list[Callable[[], None]] = [
            self.kill,
            self.kill_child,
            self.second_watcher,
            self.stop,
            self.share_away,
            self.server_down,
            self.late_data,
        ]
        if os.path.ismount(disk):
            kinds.append(self.fill_disk)
        self.random_of.shuffle(kinds)
        self.kinds = kinds

    def go(self) -> None:
        self.begin()
        for fault in self.kinds:
            self.add_run()
            self.work()
            fault()
            self.pause()
            if self.random_of.random() < 0.7:
                self.mend()
            if not any(one.process.poll() is None for one in self.watchers):
                self.begin()
        self.mend()
        for one in self.watchers:
            self.end(one)

    def begin(self) -> None:
        self.watchers.append(Living(self.beamline))

    def add_run(self) -> None:
        if self.beamline.top.exists():
            self.beamline.add(f"run{self.n_runs}")
            self.n_runs += 1

    def work(self) -> None:
        """Let the watchers do some steps; where they cannot, not for long."""
        wanted = self.beamline.n_steps() + self.random_of.randint(0, 5)
        end = time.monotonic() + 5
        while self.beamline.n_steps() < wanted and time.monotonic() < end:
            time.sleep(0.02)
        self.pause()

    def pause(self) -> None:
        """For a span that only makes it random between which statements things happen."""
        time.sleep(self.random_of.uniform(0, 0.5))

    def mend(self) -> None:
        away = self.beamline.top.with_name("away")
        if away.exists():
            away.rename(self.beamline.top)
        (self.disk / "filler").unlink(missing_ok=True)
        self.fake.faults.clear()
        for path, content in self.late:
            path.write_bytes(content)
        self.late.clear()

    def end(self, one: Living) -> None:
        if one.process.poll() is None:
            one.kill()
            self.n_kills += 1

    def kill(self) -> None:
        self.end(self.random_of.choice(self.watchers))

    def kill_child(self) -> None:
        children = [pid for one in self.watchers for pid in one.children()]
        # It may have ended by itself.
        with suppress(ProcessLookupError):
            if children:
                os.kill(self.random_of.choice(children), signal.SIGKILL)
                self.n_kills += 1

    def second_watcher(self) -> None:
        self.begin()

    def stop(self) -> None:
        one = self.random_of.choice(self.watchers)
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            # It may take a second one, where it has only just begun.
            one.process.wait(timeout=PATIENCE)

    def share_away(self) -> None:
        if self.beamline.top.exists():
            self.beamline.top.rename(self.beamline.top.with_name("away"))

    def server_down(self) -> None:
        kinds = (Fault("drop"), Fault("drop", after=True), Fault("status", 500), Fault("status", 503))
        self.fake.faults.add(self.random_of.choice(kinds) for _ in range(40))

    def late_data(self) -> None:
        if not self.beamline.top.exists():
            return
        master = self.beamline.add(f"late{self.n_runs}", linked=False)
        self.n_runs += 1
        path = self.random_of.choice([master, *master.parent.glob("*_data_*")])
        content = path.read_bytes()
        path.write_bytes(content[: self.random_of.randint(0, len(content) - 1)])
        self.late.append((path, content))

    def fill_disk(self) -> None:
        left = shutil.disk_usage(self.disk).free
        keep = self.random_of.choice((0, 0, 100_000, 600_000))
        # Others write to it at the same time.
        with suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as file:
            file.write(bytes(max(0, left - keep)))


@pytest.mark.lasting
@pytest.mark.timeout(900)
@pytest.mark.parametrize("n", [FEW, pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(20_000)])])
def test_random_faults(beamline: Beamline, disk: Path, n: int) -> None:
    kills = runs = 0
    for seed in range(n):
        with FakeSciCat() as fake:
            token = token_of(fake, beamline.home)
            beamline.rooms = {
                "scicat": {
                    "server": fake.url,
                    "facts": FACTS,
                    "outbox": str(disk / "outbox.sqlite"),
                    "token_file": str(token),
                    "patience": 0.2,
                },
                "watch": {"output": f"{disk}/out/{{inside}}"},
            }
            (disk / "out").mkdir()
            # Half of the time the journal itself is on the disk that gets full.
            beamline.own = disk if seed % 2 else beamline.home
            story = Story(beamline, fake, disk, seed)
            try:
                story.go()
                finish(beamline, story)
            finally:
                for one in story.watchers:
                    one.kill()
            kills, runs = kills + story.n_kills, runs + story.n_runs
            beamline.log.unlink()
        for path in (beamline.top, disk / "out"):
            shutil.rmtree(path)
        for path in (*disk.glob("*.sqlite*"), *beamline.home.glob("*.sqlite*")):
            path.unlink()
        beamline.top.mkdir()
        print(f"{seed + 1} schedules, {runs} runs, {kills} kills", flush=True)


def finish(beamline: Beamline, story: Story) -> None:
    """The last watcher is not disturbed; what it leaves is what an undisturbed one would have left."""
    with Living(beamline) as last:
        n_steps = -1
        while n_steps < beamline.n_steps() and not beamline.is_done(story.n_runs):
            n_steps = beamline.n_steps()
            until(lambda: beamline.n_steps() > n_steps or beamline.is_held() or beamline.is_done(story.n_runs), 300)  # noqa: B023
        assert not beamline.is_held(), beamline.rows()
        assert last.stop() == 0
    assert len(beamline.rows()) == story.n_runs
    found = beamline.hashes()
    assert len(found) == story.n_runs
    assert {tuple(one) for one in found.values()} == {beamline.expected()}
    assert len(beamline.entries()) == story.n_runs
    counted = registered(story.fake)
    assert counted["datasets"] == 2 * story.n_runs
    assert counted["files"] == 7 * story.n_runs
    assert counted["pictures"] in (0, story.n_runs, 2 * story.n_runs)
    assert beamline.strays() == []
    out = story.disk / "out"
    folders = sorted(path for path in out.iterdir())
    assert len(folders) == story.n_runs
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == [f"tiny_{end}" for end in ENDS]
