"""Images searched by a cluster, or in several goes, give what this process gives in one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import hitsieve
from clusters import job_of, started
from hitsieve import pipeline
from hitsieve.errors import OutputError, ServerError, SettingsError
from hitsieve.model import Beam, Detector, ImageTable, Run
from hitsieve.pipeline.cluster.worker import Found, search_unit
from hitsieve.pipeline.resuming import FoundStore
from hitsieve.pipeline.units import LEAST, SHARE, SIZE, dwindling, units
from hitsieve.settings import ClusterSettings, RunSettings, SourceSettings, WriteSettings
from hitsieve.source import open_run
from hitsieve.spots import Searched, build_finder
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import open_results

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))
PATIENCE = 240
"""Longest time (s) that a test waits for what must come."""
ABOUT = {"name": "many", "detector": "test-256k", "images": 240, "images_per_file": 8, "hit_fraction": 0.2, "seed": 3}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """240 small images in thirty files; never changed."""
    return simulate(tmp_path_factory.mktemp("many"), SimulateSettings.model_validate(ABOUT))


@pytest.fixture(scope="module")
def here(many: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a run by this process."""
    folder = tmp_path_factory.mktemp("here")
    pipeline.run([many.master], settings(folder))
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers."""
    with started() as made:
        yield made


def settings(folder: Path, **cluster: object) -> RunSettings:
    chosen = ClusterSettings.model_validate(cluster)
    return RunSettings(write=WriteSettings(output=folder), cluster=chosen, workers=1)


def assert_same(folder: Path, other: Path) -> None:
    """All that is said of every image, and the hashes of the hits, are the same; and nothing else is there."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}
    tables = [pq.read_table(place / "many_images.parquet") for place in (folder, other)]
    assert tables[0].equals(tables[1])
    with open_results(folder) as one, open_results(other) as two:
        spots = [stored.read(np.arange(len(stored))).spots for stored in (one, two)]
        for name in ("x", "y", "intensity", "snr", "h", "lattice"):
            assert np.array_equal(getattr(spots[0], name), getattr(spots[1], name))
    hashes = []
    for place in (folder, other):
        with h5py.File(place / "many_hits.h5") as file:
            hashes.append(file["entry/hit_finding/sha256"][:].tolist())
    assert hashes[0] == hashes[1]


def test_a_cluster_finds_the_same(many: Simulated, here: Path, cluster: LocalCluster, tmp_path: Path) -> None:
    report = pipeline.run([many.master], settings(tmp_path / "out", scheduler=cluster.scheduler_address))
    assert report.summary.n_hits > 20
    assert_same(tmp_path / "out", here)


def test_workers_that_die_lose_nothing(many: Simulated, here: Path, cluster: LocalCluster, tmp_path: Path) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            while not over.wait(0.3) and len(killed) < 3:
                pids = client.run(os.getpid)
                if pids:
                    killed.append(pids[sorted(pids)[len(killed) % len(pids)]])
                    os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    begun = False

    def begin(_: object) -> None:
        nonlocal begun
        if not begun:
            begun = True
            killer.start()

    pipeline.run([many.master], settings(tmp_path / "out", scheduler=cluster.scheduler_address), progress=begin)
    over.set()
    killer.join()
    assert_same(tmp_path / "out", here)


def test_a_worker_of_another_version_is_refused(
    many: Simulated, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hitsieve, "__version__", "9.9")
    with pytest.raises(ServerError, match=r"has hitsieve .* and the run is of 9\.9"):
        pipeline.run([many.master], settings(tmp_path / "out", scheduler=cluster.scheduler_address))
    assert not (tmp_path / "out").exists()


def test_a_worker_that_sees_other_files_is_refused(many: Simulated, cluster: LocalCluster, tmp_path: Path) -> None:
    # As on a computer whose file system of that name is another one: here the run changes after it was opened.
    folder = tmp_path / "run"
    folder.mkdir()
    for path in (many.master, *many.data_files):
        (folder / path.name).hardlink_to(path)
    master = folder / many.master.name
    chosen = settings(tmp_path / "out", scheduler=cluster.scheduler_address)
    with pytest.raises(ServerError, match="sees other files"):
        pipeline.run([master], chosen, opened=lambda _: (folder / many.data_files[3].name).unlink())
    assert not (tmp_path / "out").exists()


def test_what_a_worker_cannot_read_or_keeps_is_searched_here(
    many: Simulated, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A name that leads each process to a folder of its own, as each computer has its own file systems.
    master = Path("/proc/self/cwd") / many.master.name
    monkeypatch.chdir(many.master.parent)
    job = job_of(master)
    empty, stuck = tmp_path / "empty", tmp_path / "stuck"
    for folder in (empty, stuck):
        folder.mkdir()
    for path in many.data_files:
        os.mkfifo(stuck / path.name)
    with (
        started() as made,
        Client(made.scheduler_address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=PATIENCE)
        client.run(os.chdir, str(many.master.parent))
        assert all(isinstance(found, Found) for found in client.run(search_unit, job, np.arange(1)).values())
        pids = client.run(os.getpid)
        one = min(pids)
        client.run(os.chdir, str(empty), workers=[one])
        report = pipeline.run([master], settings(tmp_path / "out", scheduler=made.scheduler_address))
        assert report.summary.n_unreadable == 0
        assert caplog.text.count("cannot read what is read here") == 1
        assert_same(tmp_path / "out", here)
        client.run(os.chdir, str(stuck), workers=[one])
        pipeline.run([master], settings(tmp_path / "again", scheduler=made.scheduler_address, wait=1.0))
        assert "they are searched here" in caplog.text
        assert_same(tmp_path / "again", here)
        os.kill(pids[one], signal.SIGKILL)


def test_a_worker_keeps_runs_open_that_come_in_turn(many: Simulated, tmp_path: Path) -> None:
    jobs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        for path in (many.master, *many.data_files):
            (tmp_path / name / path.name).hardlink_to(path)
        jobs.append(job_of(tmp_path / name / many.master.name))
    assert all(isinstance(search_unit(job, np.arange(1)), Found) for job in jobs)
    jobs[0].paths[0].unlink()
    assert isinstance(search_unit(jobs[0], np.arange(1)), Found)


def test_without_workers_or_scheduler(many: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(0) as empty:
        address = empty.scheduler_address
        with pytest.raises(ServerError, match=r"no worker for 0\.2 s"):
            pipeline.run([many.master], settings(tmp_path / "out", scheduler=address, wait=0.2))
    with pytest.raises(ServerError, match="no Dask scheduler answers"):
        pipeline.run([many.master], settings(tmp_path / "out", scheduler=address))
    for wrong in ("nonsense", "http://localhost:1", "tcp://localhost:99999"):
        with pytest.raises(SettingsError, match="is no address of a Dask scheduler"):
            pipeline.run([many.master], settings(tmp_path / "out", scheduler=wrong))
    with pytest.raises(SettingsError, match="exclude each other"):
        pipeline.run([many.master], settings(tmp_path / "out", scheduler="local", slurm=True))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(SettingsError, match="--slurm needs dask_jobqueue"):
        pipeline.run([many.master], settings(tmp_path / "out", slurm=True))
    assert not (tmp_path / "out").exists()


SBATCH = """#!/bin/sh
# The commands of a job, run where it was sent from; as with Slurm, the file may go once it is sent.
cp "$1" {job}
setsid sh {job} >{log} 2>&1 </dev/null & echo $! >>{pids}
echo "Submitted batch job 17"
"""


def test_slurm_starts_workers(many: Simulated, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_, log, pids = tmp_path / "bin", tmp_path / "log", tmp_path / "pids"
    bin_.mkdir()
    (bin_ / "sbatch").write_text(SBATCH.format(job=tmp_path / "job", log=log, pids=pids))
    (bin_ / "scancel").write_text(f"#!/bin/sh\nfor pid in $(cat {pids}); do kill -- -$pid; done\n")
    for path in bin_.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    jobs = {"cores": 1, "memory": "1 GiB", "directives": ["--qos=x"], "prologue": [f"touch {tmp_path}/begun"]}
    try:
        pipeline.run([many.master], settings(tmp_path / "out", slurm=True, jobs=jobs, wait=120))
    finally:
        subprocess.run([bin_ / "scancel"], check=False, capture_output=True)
    assert (tmp_path / "begun").exists()
    assert_same(tmp_path / "out", here)


def test_ctrl_c_ends_a_wait_for_slurm(many: Simulated, tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "sbatch").write_text(f"#!/bin/sh\ntouch {tmp_path}/sent\necho Submitted batch job 17\n")
    (bin_ / "scancel").write_text(f"#!/bin/sh\necho $@ >{tmp_path}/taken\n")
    for path in bin_.iterdir():
        path.chmod(0o755)
    command = [HITSIEVE, "run", str(many.master), "-o", str(tmp_path / "out"), "--slurm"]
    path = {"PATH": f"{bin_}:{os.environ['PATH']}"}
    with subprocess.Popen(command, env=os.environ | path, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "sent").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in said
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from hitsieve.pipeline.resuming import FoundStore
keep, kept = FoundStore.put, []
def put(*given):
    keep(*given)
    kept.append(given)
    if len(kept) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
FoundStore.put = put
from hitsieve.cli import main
main()
"""
"""The command, which is killed as soon as it has kept three parts of what it found."""


@pytest.mark.parametrize("flags", [[], ["--min-count", "9"]])
def test_a_killed_run_goes_on(many: Simulated, here: Path, tmp_path: Path, flags: list[str]) -> None:
    out = tmp_path / "out"
    arguments = ["run", str(many.master), "-o", str(out), "--workers", "1", "--resume", "--quiet", *flags]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False).returncode == -signal.SIGKILL
    kept = list(out.glob(".many.found/*/*.npz"))
    assert len(kept) == 3
    kept[0].write_bytes(b"PK cut off")
    report = pipeline.run([many.master], settings(out, resume=True))
    if not flags:
        for path in out.glob(".*.tmp"):
            path.unlink()
        assert_same(out, here)
    assert report.summary.n_images == 240
    assert not (out / ".many.found").exists()


def test_what_was_found_before_is_not_searched_again(many: Simulated, tmp_path: Path) -> None:
    chosen = RunSettings().spots
    with open_run([many.master]) as source:
        finder = build_finder(source.run, chosen)
        images = np.array([-1, 5, 4, 100], dtype=np.int64)
        found = Searched.joined(list(finder.scan(source.run, images, 1, 64)))
        store = FoundStore(tmp_path / "found", source.run, chosen)
        assert store.get(images) is None
        store.put(images, found)
        again = store.get(images)
        assert again is not None
        assert again.reasons == found.reasons == {0: ""}
        assert all(
            np.array_equal(getattr(again, name), getattr(found, name), equal_nan=name == "background")
            for name in ("n_spots", "offsets", "x", "snr", "background", "flags")
        )
        assert store.get(images[::-1].copy()) is None
        other = FoundStore(tmp_path / "found", source.run, chosen.model_copy(update={"min_count": 9}))
        assert other.get(images) is None


def test_what_cannot_be_kept_leaves_nothing(many: Simulated, tmp_path: Path) -> None:
    chosen, images = RunSettings().spots, np.arange(2)
    with open_run([many.master]) as source:
        found = Searched.joined(list(build_finder(source.run, chosen).scan(source.run, images, 1, 64)))
        store = FoundStore(tmp_path, source.run, chosen)
    # As on a disk that is all but full.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            store.put(images, found)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("sample_name=other", True),
        ("beam_center_x=100", False),
        ("distance=0.2", False),
        ("wavelength=3", False),
        ("saturation_value=20", False),
        ("underload_value=3", False),
    ],
)
def test_what_is_found_hangs_on_the_detector(many: Simulated, tmp_path: Path, value: str, known: bool) -> None:
    chosen, images = RunSettings().spots, np.arange(2)
    with open_run([many.master]) as source:
        found = Searched.joined(list(build_finder(source.run, chosen).scan(source.run, images, 1, 64)))
        FoundStore(tmp_path, source.run, chosen).put(images, found)
    with open_run([many.master], SourceSettings(set=(value,))) as source:
        assert (FoundStore(tmp_path, source.run, chosen).get(images) is not None) == known


def in_files(file: npt.NDArray[np.int64]) -> Run:
    """A run whose images are in these files, of which only the numbers matter."""
    zeros = np.zeros(len(file), dtype=np.int64)
    table = ImageTable(file=file.astype(np.int32), row=zeros, offset=zeros, size=zeros)
    return Run(Path("many"), "many", (), table, np.dtype("i2"), Detector((2, 2)), Beam(), "single")


@given(
    st.lists(st.integers(-1, 59)),
    st.integers(1, 9),
    st.lists(st.integers(0, 3), min_size=60, max_size=60),
    st.booleans(),
)
def test_units_hold_all_images_once(images: list[int], size: int, files: list[int], even: bool) -> None:
    asked, run = np.array(images, dtype=np.int64), in_files(np.array(files))
    parts = units(run, asked, size) if even else list(dwindling(run, asked, lambda: size))
    assert np.array_equal(np.concatenate([asked[:0], *(asked[part] for part in parts)]), asked)
    for part in parts:
        here = asked[part]
        assert 1 <= len(here) <= (size if even else SIZE)
        assert len(set(run.images.file[here[here >= 0]].tolist())) <= 1


@given(st.integers(1, 50_000), st.integers(1, 400))
def test_units_dwindle_so_that_nobody_waits_for_long(n: int, takers: int) -> None:
    run, images = in_files(np.zeros(n, dtype=np.int64)), np.arange(n)
    sizes = [part.stop - part.start for part in dwindling(run, images, lambda: takers)]
    assert sum(sizes) == n
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == min(n, SIZE, max(LEAST, n // (SHARE * takers)))
    assert sizes[-1] <= LEAST


def test_who_comes_later_gets_a_share() -> None:
    run, images = in_files(np.zeros(4000, dtype=np.int64)), np.arange(4000)
    there = 1
    parts = dwindling(run, images, lambda: there)
    assert next(parts) == slice(0, 256)
    there = 100
    assert next(parts) == slice(256, 256 + LEAST)
