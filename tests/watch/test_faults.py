"""Whatever happens to a beamline, in whatever order: in the end every run is done, once, and nothing is left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hitsieve.testing.scicat import FakeSciCat, Fault

from .conftest import ENDS, FACTS, PATIENCE, Beamline, Living, registered, token_of, until

FEW, MANY = 8, 200
"""Faults, all of which strike."""
DISK_MIB = 24
STUCK = 3.0
"""Longest time (s) between two faults: watchers may have nothing that they can do."""


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
        self.asked: set[Living] = set()
        """Watchers that somebody has ended."""
        self.late: list[tuple[Path, bytes]] = []
        self.n_runs = 0
        self.struck: Counter[str] = Counter()

    def go(self, rounds: int) -> None:
        """Every kind of fault so many times, in any order, while runs appear."""
        kinds: list[Callable[[], None]] = [
            self.kill,
            self.kill_child,
            self.second_watcher,
            self.stop,
            self.share_away,
            self.server_down,
            self.late_data,
        ]
        if os.path.ismount(self.disk):
            kinds.append(self.fill_disk)
        kinds *= rounds
        self.random_of.shuffle(kinds)
        self.begin()
        for n, fault in enumerate(kinds):
            if n % 2 == 0:
                self.add_run()
            self.work()
            fault()
            self.struck[fault.__name__] += 1
            self.pause()
            if self.random_of.random() < 0.7:
                self.mend()
            if not self.living():
                self.begin()
        self.mend()
        for one in self.living():
            self.end(one)

    def begin(self) -> None:
        self.watchers.append(Living(self.beamline))

    def living(self) -> list[Living]:
        """Watchers that have not ended."""
        return [one for one in self.watchers if one.process.poll() is None]

    def any_living(self) -> Living:
        """One of them; where none is, as one may have ended where it could not begin, one that begins."""
        if not self.living():
            self.mend()
            self.begin()
        return self.random_of.choice(self.living())

    def add_run(self) -> None:
        self.see_share()
        self.beamline.add(f"run{self.n_runs}")
        self.n_runs += 1

    def see_share(self) -> None:
        """What strikes the share finds it there."""
        if not self.beamline.top.exists():
            self.mend()

    def work(self) -> None:
        """Let the watchers do some steps; where they cannot, not for long."""
        n_steps = self.beamline.n_steps()
        wanted, end = n_steps + self.random_of.randint(0, 4), time.monotonic() + STUCK
        while n_steps < wanted and time.monotonic() < end:
            time.sleep(0.05)
            if (now := self.beamline.n_steps()) > n_steps:
                n_steps, end = now, time.monotonic() + STUCK
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
        self.asked.add(one)
        one.kill()

    def kill(self) -> None:
        self.end(self.any_living())

    def kill_child(self) -> None:
        """One of those that do the work; a watcher has them soon after it has begun."""
        until(lambda: self.any_living().workers())
        os.kill(self.random_of.choice([pid for one in self.living() for pid in one.workers()]), signal.SIGKILL)

    def second_watcher(self) -> None:
        self.any_living()
        self.begin()

    def stop(self) -> None:
        one = self.any_living()
        self.asked.add(one)
        one.stop()

    def share_away(self) -> None:
        self.see_share()
        self.beamline.top.rename(self.beamline.top.with_name("away"))

    def server_down(self) -> None:
        kinds = (Fault("drop"), Fault("drop", after=True), Fault("status", 500), Fault("status", 503))
        self.fake.faults.add(self.random_of.choice(kinds) for _ in range(40))

    def late_data(self) -> None:
        """A file that its writer is still at."""
        self.see_share()
        master = self.beamline.add(f"late{self.n_runs}", linked=False)
        self.n_runs += 1
        path = self.random_of.choice([master, *master.parent.glob("*_data_*")])
        content = path.read_bytes()
        path.write_bytes(content[: self.random_of.randint(0, len(content) - 1)])
        self.late.append((path, content))

    def fill_disk(self) -> None:
        if (self.disk / "filler").exists():
            self.mend()
        left = shutil.disk_usage(self.disk).free
        keep = self.random_of.choice((0, 0, 100_000, 600_000))
        # Others write to it at the same time.
        with suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as file:
            file.write(bytes(max(0, left - keep)))


@pytest.mark.lasting
@pytest.mark.parametrize(
    "least",
    [
        pytest.param(FEW, marks=pytest.mark.timeout(900)),
        pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(20_000)]),
    ],
)
def test_random_faults(beamline: Beamline, disk: Path, least: int) -> None:
    """In many schedules each kind of fault strikes twice in one, so that faults meet what others have left."""
    struck: Counter[str] = Counter()
    seed = runs = began = fell = 0
    while struck.total() < least:
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
                story.go(1 if least == FEW else 2)
                finish(beamline, story)
            finally:
                for one in story.watchers:
                    one.kill()
            struck, runs, began = struck + story.struck, runs + story.n_runs, began + len(story.watchers)
            fell += sum(one not in story.asked for one in story.watchers)
            said = beamline.log.read_text()
            beamline.log.unlink()
        for path in (beamline.top, disk / "out"):
            shutil.rmtree(path)
        for path in (*disk.glob("*.sqlite*"), *beamline.home.glob("*.sqlite*")):
            path.unlink()
        beamline.top.mkdir()
        assert "Traceback" not in said
        seed += 1
        counted = f"{seed} schedules, {runs} runs, {began} watchers, of which {fell} ended by themselves"
        print(f"{counted}; {struck.total()} faults: {dict(struck)}", flush=True)


def finish(beamline: Beamline, story: Story) -> None:
    """The last watcher is not disturbed; what it leaves is what an undisturbed one would have left."""
    with Living(beamline) as last:
        n_steps, since = -1, time.monotonic()
        while not beamline.is_done(story.n_runs):
            assert not beamline.is_held(), beamline.rows()
            # As long as it goes on, it may take its time.
            if (now := beamline.n_steps()) != n_steps:
                n_steps, since = now, time.monotonic()
            assert time.monotonic() - since < PATIENCE, beamline.rows()
            time.sleep(0.2)
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
