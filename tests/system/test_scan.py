"""Whole archives are sieved once, however often the work is cut off."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import LocalCluster

from hitsieve.catalogue import Catalogue
from hitsieve.errors import ServerError
from hitsieve.pipeline.archive import Scanned, ScanRequest, ScanSteps, scan
from hitsieve.pipeline.cluster import joining, starting
from hitsieve.settings import RunSettings
from hitsieve.source import find_masters
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .conftest import HITSIEVE, Hitsieve
from .reading import names

TINY = {"name": "tiny", "detector": "test-256k", "images": 6, "images_per_file": 3, "hit_fraction": 0.5, "seed": 4}
N = 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Six images in two data files; never changed."""
    return simulate(tmp_path_factory.mktemp("tiny"), SimulateSettings.model_validate(TINY))


@pytest.fixture
def archive(tiny: Simulated, tmp_path: Path) -> Path:
    """Six such runs in a tree."""
    for i in range(N):
        folder = tmp_path / "archive" / f"visit{i % 3}" / f"run{i}"
        folder.mkdir(parents=True)
        for path in (tiny.master, *tiny.data_files):
            (folder / path.name).hardlink_to(path)
    return tmp_path / "archive"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "catalogue.sqlite"
    monkeypatch.setenv("HITSIEVE_CATALOGUE", str(path))
    return path


def command(archive: Path, out: Path, *flags: str) -> list[str]:
    return [HITSIEVE, "catalog", "add", str(archive), "--scan", "-o", str(out), "--workers", "1", *flags]


def facts(place: Path) -> list[tuple[Any, ...]]:
    """What a catalogue has of each run, but for when and where it was sieved."""
    with Catalogue(place) as catalogue:
        found = [catalogue.record(one.facts["id"]) for one in catalogue.search("")]
    return sorted((one.source_path, one.n_images, one.n_hits, one.hits_digest, Path(one.place).name) for one in found)


def test_a_scan_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(
    hitsieve: Hitsieve, archive: Path, tmp_path: Path, place: Path
) -> None:
    whole = hitsieve(*command(archive, tmp_path / "whole", "--catalogue", str(tmp_path / "whole.sqlite"))[1:])
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.splitlines()[-2] == f"{N} runs: {N} sieved now"
    out = tmp_path / "out"
    last = out / "visit2" / "run5"
    last.mkdir(parents=True)
    null = subprocess.DEVNULL
    # As the last run is claimed by another scan, this one is not done before it is killed, however late that is.
    with (last / ".tiny.scan").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(command(archive, out), stdout=null, stderr=null) as scan:
            while scan.poll() is None and len(list(out.rglob("*_summary.json"))) < 3:
                time.sleep(0.01)
            scan.kill()
    done = len(list(out.rglob("*_summary.json")))
    assert 3 <= done < N
    (last / ".tiny_hits.h5.0123abcd.tmp").write_text("left by a killed process")
    again = json.loads(hitsieve(*command(archive, out, "--json")[1:]).stdout)
    what = [one["what"] for one in again]
    assert (what.count("known") + what.count("entered"), what.count("sieved")) == (done, N - done)
    assert facts(place) == facts(tmp_path / "whole.sqlite")
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left == {f"tiny_{end}" for end in ("hits.h5", "annotated.h5", "images.parquet", "summary.json")}
    (out / "visit0" / "run0" / ".tiny.scan").touch()
    (out / "visit0" / "run0" / ".tiny_hits.h5.0123abcd.tmp").write_text("left by one that was killed at the very end")
    assert f"{N} known already" in hitsieve(*command(archive, out)[1:]).stdout
    assert not [path for path in out.rglob(".*") if path.is_file()]
    third = hitsieve(*command(archive, tmp_path / "elsewhere")[1:])
    assert third.stdout.splitlines()[-2] == f"{N} runs: {N} known already"
    assert not (tmp_path / "elsewhere").exists()


def test_bad_files_are_told_and_stop_nothing(hitsieve: Hitsieve, archive: Path, tmp_path: Path, place: Path) -> None:
    for i in range(3, N):
        shutil.rmtree(archive / f"visit{i % 3}" / f"run{i}")
    (archive / "visit0" / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    (archive / "visit1" / "text.nxs").write_text("no HDF5")
    for path in (archive / "visit1" / "run1").glob("*_data_*"):
        path.unlink()
    with h5py.File(archive / "visit2" / "processed.h5", "w") as file:
        file["entry/process/numbers"] = np.arange(5)
    done = hitsieve(*command(archive, tmp_path / "out")[1:])
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[-2] == "5 runs: 2 sieved now, 3 failed"
    failed = {line.split(":")[0] for line in lines if line.startswith("failed")}
    bad = (archive / "visit0" / "broken.h5", archive / "visit1" / "text.nxs", archive / "visit1/run1/tiny_master.h5")
    assert failed == {f"failed  {path}" for path in bad}
    assert [line.count(str(path)) for path in bad for line in lines if line.startswith(f"failed  {path}:")] == [1] * 3
    assert len(facts(place)) == 2
    assert not list((tmp_path / "out").rglob(".*"))


def test_changed_runs_are_sieved_again_and_claimed_ones_left(
    hitsieve: Hitsieve, archive: Path, tmp_path: Path, place: Path
) -> None:
    for i in range(3, N):
        shutil.rmtree(archive / f"visit{i % 3}" / f"run{i}")
    out = tmp_path / "out"
    assert hitsieve(*command(archive, out)[1:]).returncode == 0
    changed = archive / "visit0" / "run0" / "tiny_data_000002.h5"
    content = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(content)
    os.utime(changed, (time.time() + 5, time.time() + 5))
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    told = json.loads(
        hitsieve(*command(archive, blocked / "out", "--catalogue", str(blocked) + "s", "--json")[1:]).stdout
    )
    assert {
        (one["what"], "tiny.scan: cannot be written: a part of the path is a file" in one["why"]) for one in told
    } == {("failed", True)}
    lock = out / "visit0" / "run0" / ".tiny.scan"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held = hitsieve(*command(archive, out)[1:])
    assert (
        "claimed " in held.stdout and held.stdout.splitlines()[-2] == "3 runs: 2 known already, 1 left to another scan"
    )
    again = hitsieve(*command(archive, out)[1:])
    assert again.stdout.splitlines()[-2] == "3 runs: 1 sieved now, 2 known already"
    assert len(facts(place)) == 3
    assert not lock.exists()


def test_a_run_that_changes_while_it_is_sieved_is_sieved_again(tiny: Simulated, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in (tiny.master, *tiny.data_files):
        shutil.copy2(path, folder / path.name)
    request = ScanRequest((folder,), tmp_path / "out", RunSettings(workers=1), tmp_path / "catalogue.sqlite")

    def scanned(working: Callable[..., None]) -> list[str]:
        return [one.what for one in scan(request, ScanSteps(ignore, ignore, ignore, working))]

    # As where the detector still writes.
    assert scanned(lambda _: (folder / tiny.data_files[1].name).touch()) == ["sieved"]
    assert scanned(ignore) == ["sieved"]
    assert scanned(ignore) == ["known"]


def test_two_at_a_time_share_the_work(archive: Path, tmp_path: Path, place: Path) -> None:
    out = tmp_path / "out"
    both = [subprocess.Popen(command(archive, out, "--json"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=200)[0]) for process in both]
    what = [[one["what"] for one in result] for result in results]
    assert sum(one.count("sieved") for one in what) == N
    assert all("failed" not in one for one in what)
    assert len(facts(place)) == N
    assert {path.name for path in out.rglob(".*")} == set()


def test_masters_are_told_from_what_they_show(tmp_path: Path) -> None:
    for style in ("vds", "external", "single"):
        simulate(tmp_path / style, SimulateSettings.model_validate(TINY | {"style": style}))
    (tmp_path / "renamed").mkdir()
    for path in (tmp_path / "vds").glob("*.h5"):
        shutil.copy(path, tmp_path / "renamed" / path.name)
    # Data files whose names say nothing are told by the master that shows them.
    data = sorted((tmp_path / "external").glob("*_data_*"))
    with h5py.File(tmp_path / "external" / "tiny_master.h5", "r+") as file:
        for number, path in enumerate(data, start=1):
            path.rename(path.with_name(f"part{number}.h5"))
            del file[f"entry/data/data_{number:06d}"]
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(f"part{number}.h5", "/entry/data/data")
    with h5py.File(tmp_path / "vds" / "tiny_second.h5", "w") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        for number, path in enumerate(sorted((tmp_path / "vds").glob("*_data_*")), start=1):
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(path.name, "/entry/data/data")
    # Links lead to what is found without them; a pipe would be waited for.
    for style, name in (("vds", "a.h5"), ("single", "b.h5")):
        (tmp_path / name).symlink_to(tmp_path / style / "tiny_master.h5")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.h5")
    bad: list[Path] = []
    found = find_masters([tmp_path], [tmp_path / "renamed"], bad=lambda path, why: bad.append(path))
    assert [str(one.path.relative_to(tmp_path)) for one in found] == [
        "external/tiny_master.h5",
        "single/tiny_master.h5",
        "vds/tiny_master.h5",
    ]
    assert bad == [tmp_path / "pipe.h5"]


class Coming:
    """A cluster of one worker, a thread of this process, at one address, which comes and goes."""

    def __init__(self) -> None:
        self.port = next(port for port in range(20000 + os.getpid() % 9000, 32000) if is_free(port))
        self._there: LocalCluster | None = None

    def come(self) -> None:
        self._there = LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            scheduler_port=self.port,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        )

    def go(self) -> None:
        if self._there is not None:
            self._there.close()
            self._there = None


def is_free(port: int) -> bool:
    """Ports below those that the system gives out by itself stay free while nobody listens there."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def coming(monkeypatch: pytest.MonkeyPatch) -> Iterator[Coming]:
    # However busy the machine is, what is there answers in time.
    for module in (starting, joining):
        monkeypatch.setattr(module, "CONNECT", 240.0)
    one = Coming()
    yield one
    one.go()


def three(archive: Path, tmp_path: Path, port: int, patience: float) -> ScanRequest:
    """The scan of three runs by a cluster."""
    folders = tuple(archive / f"visit{i}" / f"run{i}" for i in range(3))
    about = {"workers": 1, "cluster": {"scheduler": f"tcp://127.0.0.1:{port}", "patience": patience}}
    return ScanRequest(folders, tmp_path / "out", RunSettings.model_validate(about), tmp_path / "catalogue.sqlite")


def ignore(*_: object) -> None:
    """Nothing is shown."""


def test_a_cluster_that_goes_is_waited_for(
    archive: Path, tmp_path: Path, coming: Coming, caplog: pytest.LogCaptureFixture
) -> None:
    request = three(archive, tmp_path, coming.port, patience=600)
    waited: list[int] = []
    done: list[str] = []

    def after(n: int, _: int, one: Scanned) -> None:
        done.append(one.what)
        if n < 3:
            coming.go()

    def comes_again() -> None:
        waited.append(len(done))
        if waited.count(len(done)) == 1:
            if len(done) == 2:
                raise KeyboardInterrupt
            coming.come()

    coming.come()
    steps = ScanSteps(ignore, ignore, after, ignore, comes_again)
    with pytest.raises(KeyboardInterrupt):
        scan(request, steps)
    assert done == ["sieved", "sieved"]
    assert caplog.text.count("it is waited for, up to 600 s") == 2
    assert caplog.text.count("there is a cluster again") == 1
    assert not list((tmp_path / "out").rglob(".*"))
    coming.come()
    again = scan(request, ScanSteps(ignore, ignore, ignore, ignore))
    assert [one.what for one in again] == ["known", "known", "sieved"]


def test_a_cluster_that_does_not_come_again_is_waited_for_once(archive: Path, tmp_path: Path, coming: Coming) -> None:
    coming.come()
    request = three(archive, tmp_path, coming.port, patience=0.1)
    scanned = scan(request, ScanSteps(ignore, ignore, lambda *_: coming.go(), ignore))
    assert [one.what for one in scanned] == ["sieved", "failed", "failed"]
    assert scanned[1].why == scanned[2].why
    assert "no Dask scheduler answers" in scanned[2].why


def test_workers_of_another_version_are_told_before_the_first_run(
    archive: Path, tmp_path: Path, coming: Coming, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming.come()
    request = three(archive, tmp_path, coming.port, patience=600)
    # As a worker says it that has none, and one that has another.
    for says, told in (("hitsieve:nothing", "has no hitsieve"), ("platform:__version__", "has hitsieve")):
        with monkeypatch.context() as patched:
            patched.setattr(joining, "VERSION", says)
            with pytest.raises(ServerError, match=rf"the worker on 127\.0\.0\.1 {told}.*, and this is"):
                scan(request, ScanSteps(ignore, ignore, ignore, ignore))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "x", "--scan"],
        ["list", "--scan", "-o", "out"],
        ["add", "x", "-o", "out"],
        ["add", "--scan", "-o", "out"],
    ],
)
def test_wrong_usage(hitsieve: Hitsieve, place: Path, arguments: list[str]) -> None:
    done = hitsieve("catalog", *arguments)
    assert (done.returncode, "--scan" in done.stderr) == (2, True)
    assert not place.exists()
    assert names(place.parent) == set()
