"""Killed between any two statements, and begun again: the end is that of a run that nobody disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitsieve.pipeline.watch import Journal
from hitsieve.pipeline.watch.rows import Stamp
from hitsieve.pipeline.watch.settings import folder_for
from hitsieve.pipeline.watch.steps import steps_of
from hitsieve.testing.scicat import FakeSciCat

from .conftest import ENDS, FACTS, Beamline, registered, token_of

FEW, MANY = 4, 200


class Killer:
    """Does jobs, and is killed at them."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("killing.py"))
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, beamline: Beamline, key: int, kill_at: int | None) -> Any:
        """What came of it and how many lines it took; None where it was killed."""
        settings = beamline.settings.model_dump(mode="json", exclude_unset=True)
        said = {"journal": str(beamline.journal), "key": key, "settings": settings, "kill_at": kill_at}
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(said), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    begun = Killer()
    yield begun
    begun.close()


def whole(beamline: Beamline, name: str) -> int:
    """Enter a run as whole; its number."""
    master = beamline.add(name)
    files = [stamp for path in (master, *sorted(master.parent.glob("*_data_*"))) if (stamp := Stamp.of(path))]
    with Journal(beamline.journal) as journal:
        journal.see(beamline.top, master)
        (row,) = journal.open(beamline.top)
        place = folder_for(master, beamline.top, "tiny", beamline.settings.watch)
        journal.arrive(row, files, (place, "tiny"), steps_of(beamline.settings))
    return row.key


@pytest.mark.lasting
@pytest.mark.parametrize(
    "n",
    [
        pytest.param(FEW, marks=pytest.mark.timeout(900)),
        pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_killed_anywhere(beamline: Beamline, killer: Killer, n: int) -> None:
    random_of = random.Random(n)
    with FakeSciCat() as fake:
        token = token_of(fake, beamline.home)
        outbox = beamline.home / "outbox.sqlite"
        beamline.rooms = {
            "scicat": {"server": fake.url, "facts": FACTS, "outbox": str(outbox), "token_file": str(token)}
        }
        undisturbed = whole(beamline, "undisturbed")
        what, lines = killer.do(beamline, undisturbed, None)
        assert what == "seen to" and lines > 500
        one = registered(fake)
        assert one["datasets"] == 2
        kills = 0
        for number in range(n):
            key = whole(beamline, f"run{number}")
            for _ in range(random_of.choice((1, 1, 2))):
                kills += killer.do(beamline, key, random_of.randint(1, lines)) is None
            while beamline.row_of(key).state != "done":
                assert beamline.row_of(key).state != "held", beamline.row_of(key)
                killer.do(beamline, key, None)
        assert kills >= n * 0.7, kills
        (expected,) = {tuple(one) for one in beamline.hashes().values()}
        assert expected
        assert len(beamline.hashes()) == len(beamline.entries()) == n + 1
        assert len({(images, hits) for _, images, hits in beamline.entries()}) == 1
        assert registered(fake) == {kind: (n + 1) * count for kind, count in one.items()}
    # Whoever was killed after all was done may have left its lock, which the next watcher removes; and nothing else.
    assert beamline.once() == []
    assert beamline.strays() == []
    for row in beamline.rows():
        assert row.folder is not None
        assert sorted(path.name for path in row.folder.iterdir()) == [f"tiny_{end}" for end in ENDS]
    print(f"{kills} kills in {n} runs, over {lines} lines each")
