"""A tree in which runs appear, and what is known of it afterwards."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import h5py
import httpx
import pytest

from hitsieve.catalogue import Catalogue
from hitsieve.cli.commands import call as run_command
from hitsieve.errors import OutputError
from hitsieve.pipeline import run
from hitsieve.pipeline.watch import BeamlineSettings, Journal, RunRow
from hitsieve.pipeline.watch.processes import Processes
from hitsieve.pipeline.watch.watching import WatchRequest, watch
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.testing.scicat import FakeSciCat

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))
TINY = {"name": "tiny", "detector": "test-256k", "images": 6, "images_per_file": 3, "hit_fraction": 0.5, "seed": 4}
PATIENCE = 240.0
FACTS = {"pi": "Ada Lovelace", "pi_email": "ada@example.org", "owner_group": "p12345", "beam": "synchrotron"}
ENDS = ("annotated.h5", "hits.h5", "images.parquet", "summary.json")


def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something to be so, generously."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


@dataclass
class Beamline:
    """A folder in which runs appear, and the files that watching it leaves elsewhere."""

    home: Path
    made: Simulated
    processes: Processes
    rooms: dict[str, Any] = field(default_factory=dict)
    own: Path | None = None
    """Where journal and catalogue are; by default beside the folder."""

    @property
    def top(self) -> Path:
        return self.home / "data"

    @property
    def journal(self) -> Path:
        return (self.own or self.home) / "watch.sqlite"

    @property
    def catalogue(self) -> Path:
        return (self.own or self.home) / "catalogue.sqlite"

    @property
    def log(self) -> Path:
        return self.home / "log.txt"

    @property
    def settings(self) -> BeamlineSettings:
        quick = {"settle": 0.2, "rescan": 1.0, "retry_first": 0.3, "retry_longest": 2.0, "stop_wait": 20.0}
        rooms: dict[str, Any] = {
            "workers": 1,
            "verdict": {"min_spots": 8, "second_look": 0},
            "index": {"indexing": "off"},
            "catalogue": {"catalogue": self.catalogue},
        }
        given = {name: {**rooms.get(name, {}), **table} for name, table in self.rooms.items()}
        given["watch"] = {**quick, "journal": self.journal, **self.rooms.get("watch", {})}
        return BeamlineSettings.model_validate(rooms | given)

    def config(self) -> Path:
        """The settings as a file, for commands."""
        path = self.home / "beamline.toml"
        lines = []
        for room, table in self.settings.model_dump(mode="json", exclude_unset=True, exclude_none=True).items():
            if isinstance(table, dict):
                lines += [f"[{room}]", *(f"{name} = {_toml(value)}" for name, value in table.items())]
            else:
                lines.insert(0, f"{room} = {_toml(table)}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def add(self, name: str, *, linked: bool = True) -> Path:
        """A run appears; its master."""
        folder = self.top / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in (*self.made.data_files, self.made.master):
            if linked:
                (folder / path.name).hardlink_to(path)
            else:
                shutil.copyfile(path, folder / path.name)
        return folder / self.made.master.name

    def once(self) -> list[RunRow]:
        """Watch until nothing is left to be done."""
        return watch(WatchRequest(self.top.absolute(), self.settings, self.journal, once=True), Event(), self.processes)

    def rows(self) -> list[RunRow]:
        try:
            with Journal(self.journal) as journal:
                return journal.rows()
        except OutputError:
            # On a full disk, not even reading is always possible.
            return []

    def row(self, master: Path) -> RunRow:
        (row,) = [row for row in self.rows() if row.path == master]
        return row

    def row_of(self, key: int) -> RunRow:
        (row,) = [row for row in self.rows() if row.key == key]
        return row

    def is_done(self, n: int) -> bool:
        """Whether so many runs are done."""
        return self.journal.exists() and sum(row.state == "done" for row in self.rows()) == n

    def n_steps(self) -> int:
        """Steps that are done, of all runs."""
        rows = self.rows() if self.journal.exists() else []
        return sum(step.state == "done" for row in rows for step in row.steps)

    def is_held(self) -> bool:
        """Whether some run waits for somebody."""
        return any(row.state == "held" for row in self.rows())

    def expected(self) -> tuple[str, ...]:
        """Hashes of the stored images that are hits, as an undisturbed run has them."""
        folder = self.home / "expected"
        if not folder.exists():
            write = self.settings.write.model_copy(update={"output": folder})
            catalogue = self.settings.catalogue.model_copy(update={"no_catalogue": True})
            run([self.made.master], self.settings.run.model_copy(update={"write": write, "catalogue": catalogue}))
        with h5py.File(folder / "tiny_hits.h5") as file:
            return tuple(sorted(_hashes(file)))

    def hashes(self) -> dict[str, list[str]]:
        """Of every run that has outputs, by its folder, the hashes of its hits."""
        found = {}
        for path in sorted(self.home.rglob("*_hits.h5")):
            if path.parent != self.home / "expected":
                with h5py.File(path) as file:
                    found[str(path.relative_to(self.home))] = sorted(_hashes(file))
        return found

    def entries(self) -> list[tuple[str, int, int]]:
        """What the catalogue has."""
        with Catalogue(self.catalogue) as catalogue:
            found = [catalogue.record(one.facts["id"]) for one in catalogue.search("")]
        return sorted((one.source_path, one.n_images or 0, one.n_hits or 0) for one in found)

    def strays(self) -> list[Path]:
        """Files below the watched folder that are neither of a source nor whole outputs."""
        known = {path.name for path in (self.made.master, *self.made.data_files)} | {f"tiny_{end}" for end in ENDS}
        return sorted(path for path in self.top.rglob("*") if path.is_file() and path.name not in known)


def _hashes(file: h5py.File) -> list[str]:
    """Hashes of the stored chunks of the hits."""
    import hashlib

    images = file["entry/data/data"]
    return [hashlib.sha256(images.id.read_direct_chunk((i, 0, 0))[1]).hexdigest() for i in range(len(images))]


def _toml(value: Any) -> str:
    import json

    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


class Living:
    """`hitsieve watch` as a process."""

    def __init__(self, beamline: Beamline, *flags: str, env: dict[str, str] | None = None) -> None:
        self.beamline = beamline
        command = [HITSIEVE, "watch", str(beamline.top), "--config", str(beamline.config()), *flags]
        self.log = beamline.log
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | (env or {}))

    def __enter__(self) -> Living:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def workers(self) -> list[int]:
        """Processes that do its work, or look into files for it."""
        place = Path(f"/proc/{self.process.pid}/task")
        try:
            begun = [int(pid) for task in place.iterdir() for pid in (task / "children").read_text().split()]
            return [pid for pid in begun if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        except OSError:
            return []

    def kill(self) -> None:
        """kill -9; what it has begun ends by itself."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Six images in two data files; never changed."""
    return simulate(tmp_path_factory.mktemp("tiny"), SimulateSettings.model_validate(TINY))


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Processes that do the work of one watcher after the other."""
    with Processes(1) as begun:
        yield begun


@pytest.fixture
def beamline(tiny: Simulated, processes: Processes, tmp_path: Path) -> Beamline:
    """A folder without any run yet."""
    made = Beamline(tmp_path, tiny, processes)
    made.top.mkdir()
    return made


def call(beamline: Beamline, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of hitsieve with the settings of a beamline, in this process."""
    out, said = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        code = run_command([*arguments, "--config", str(beamline.config())])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), said.getvalue())


def token_of(fake: FakeSciCat, folder: Path) -> Path:
    """A file with a token of the imitated server."""
    account = {"username": "user", "password": "secret"}
    answer = httpx.post(f"{fake.url}/api/v3/auth/login", json=account).json()
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text(answer["access_token"])
    return path


def registered(fake: FakeSciCat) -> dict[str, int]:
    """How much of each kind a server holds; nothing of it twice."""
    with fake.store.held() as store:
        datasets, blocks = list(store.datasets.values()), list(store.blocks)
        kinds = [(one["type"], one["sourceFolder"]) for one in datasets]
        listed = [(block["datasetId"], file["path"]) for block in blocks for file in block["dataFileList"]]
        pictures = [one["datasetId"] for one in store.attachments]
    for one in (kinds, listed, pictures):
        assert len(one) == len(set(one)), one
    return {"datasets": len(kinds), "files": len(listed), "pictures": len(pictures)}
