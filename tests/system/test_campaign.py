"""A whole archive is sieved, and its overview says what its runs hold and what to fetch first."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from hitsieve.catalogue import Catalogue
from hitsieve.testing import SimulateSettings, simulate

from .conftest import Hitsieve

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))
RATES = (0.0, 0.3, 0.6)
ABOUT = {"detector": "test-256k", "images": 12, "images_per_file": 4}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of three files each, from without to many hits, and a file that is none; never changed."""
    top = tmp_path_factory.mktemp("archive")
    for i, rate in enumerate(RATES):
        about = ABOUT | {"name": f"run{i}", "hit_fraction": rate, "seed": i}
        simulate(top / f"visit{i % 2}", SimulateSettings.model_validate(about))
    (top / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    return top


@pytest.fixture
def command(archive: Path, tmp_path: Path) -> list[str | Path]:
    rest = ["--catalogue", tmp_path / "catalogue.sqlite", "--workers", "1"]
    return ["campaign", archive, "-o", tmp_path / "out", *rest]


def test_an_archive_is_sieved_and_told(
    hitsieve: Hitsieve, archive: Path, command: list[str | Path], tmp_path: Path
) -> None:
    before = hitsieve(*command, "--estimate", "--json")
    cost = json.loads(before.stdout)
    assert (before.returncode, cost["n_runs"], cost["n_files"], cost["n_images"]) == (3, 3, 9, 36)
    assert (cost["n_done"], cost["n_tried"]) == (0, 36)
    assert cost["seconds"] >= 36 / cost["images_per_second"] > 0
    assert [Path(path).name for path, _ in cost["bad"]] == ["broken.h5"]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "catalogue.sqlite").exists()
    done = hitsieve(*command)
    assert done.returncode == 3
    out = tmp_path / "out"
    whole = json.loads((out / "campaign.json").read_text())
    summaries = {path: json.loads(path.read_text()) for path in out.rglob("*_summary.json")}
    runs = whole["runs"]
    assert {Path(run["summary"]) for run in runs} == set(summaries)
    for run in runs:
        summary = summaries[Path(run["summary"])]
        same = ("n_images", "n_hits", "n_misses", "n_unreadable", "n_missing", "hit_rate")
        assert {name: run[name] for name in same} == {name: summary[name] for name in same}
        assert [run["hit_rate_low"], run["hit_rate_high"]] == summary["hit_rate_interval"]
        files = sorted(archive.rglob(f"{summary['source']['stem']}_data_*.h5"))
        assert run["source_bytes"] == sum(path.stat().st_size for path in files)
        assert run["hit_bytes"] == Path(run["summary"].replace("_summary.json", "_hits.h5")).stat().st_size
    assert [run["hit_rate"] for run in runs] == sorted((run["hit_rate"] for run in runs), reverse=True)
    totals, hits = whole["totals"], sum(summary["n_hits"] for summary in summaries.values())
    assert (totals["n_runs"], totals["n_images"], totals["n_hits"], totals["n_files"]) == (3, 36, hits, 9)
    assert [Path(one["path"]).name for one in whole["without"]] == ["broken.h5"]
    page = (out / "campaign.html").read_text()
    assert f"{hits} hits among 36 images of 3 runs, in 9 files" in page
    assert all(f'<td class="number">{run["n_hits"]}</td>' in page for run in runs)
    assert page.count("<i class=") == 9 + 5
    assert not re.search(r"<script|https?://(?!www.w3)", page)
    assert f"{hits} hits among 36 images of 3 runs, in 9 files" in done.stdout.splitlines()
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        assert len(catalogue) == 3


def test_files_are_in_the_order_in_which_to_fetch_them(
    hitsieve: Hitsieve, command: list[str | Path], tmp_path: Path
) -> None:
    hitsieve(*command)
    with (tmp_path / "out" / "campaign_files.csv").open() as file:
        files = list(csv.DictReader(file))
    worth = [int(one["hits"]) / int(one["bytes"]) for one in files]
    assert worth == sorted(worth, reverse=True)
    assert worth[0] > worth[-1] == 0
    hits = bytes_ = 0
    for one in files:
        hits, bytes_ = hits + int(one["hits"]), bytes_ + int(one["bytes"])
        assert (int(one["hits_so_far"]), int(one["bytes_so_far"])) == (hits, bytes_)
        with h5py.File(one["path"]) as data:
            assert int(one["images"]) == len(data["entry/data/data"])
    assert sum(int(one["images"]) for one in files) == 36


def test_one_cluster_serves_all_runs(hitsieve: Hitsieve, command: list[str | Path], tmp_path: Path) -> None:
    config = tmp_path / "cluster.toml"
    config.write_text('[cluster]\nscheduler = "local"\n')
    hitsieve(*command, "--config", config)
    whole = json.loads((tmp_path / "out" / "campaign.json").read_text())
    asked = [json.loads(Path(run["summary"]).read_text())["settings"]["cluster"] for run in whole["runs"]]
    assert len(asked) == len(RATES)
    assert len({one["scheduler"] for one in asked}) == 1
    assert asked[0]["scheduler"].startswith("tcp://127.0.0.1:")


def test_workers_that_die_and_a_killed_campaign_lose_nothing(
    hitsieve: Hitsieve, archive: Path, command: list[str | Path], tmp_path: Path
) -> None:
    hitsieve(*command)
    out, place = tmp_path / "there", tmp_path / "there.sqlite"
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as made:
        workers = [nanny.pid for nanny in made.workers.values()]
        again = [
            "campaign",
            archive,
            "-o",
            out,
            "--catalogue",
            place,
            "--scheduler",
            made.scheduler_address,
            "--resume",
        ]
        with subprocess.Popen([HITSIEVE, *map(str, again), "--quiet"]) as process:
            wait_for(lambda: any_file(out, ".scan") or process.poll() is not None)
            os.kill(workers[0], signal.SIGKILL)
            wait_for(lambda: any_file(out, "_summary.json") or process.poll() is not None)
            process.kill()
        os.kill(workers[1], signal.SIGKILL)
        done = hitsieve(*again)
    assert done.returncode == 3, done.stderr
    assert [path for path in out.rglob(".*") if path.is_file()] == []
    for table in (tmp_path / "out").rglob("*_images.parquet"):
        other = out / table.relative_to(tmp_path / "out")
        assert pq.read_table(table).equals(pq.read_table(other))
        assert hashes(table) == hashes(other)
    totals = [json.loads((folder / "campaign.json").read_text())["totals"] for folder in (tmp_path / "out", out)]
    assert [one | {"hit_bytes": 0} for one in totals] == [totals[0] | {"hit_bytes": 0}] * 2
    assert totals[0]["n_runs"] == len(RATES)
    with Catalogue(place) as catalogue:
        assert len(catalogue) == len(RATES)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def any_file(folder: Path, ending: str) -> bool:
    """Whether there is such a file; folders may go meanwhile."""
    return any(name.endswith(ending) for _, _, names in os.walk(folder) for name in names)


def hashes(table: Path) -> list[bytes]:
    with h5py.File(table.with_name(table.name.replace("_images.parquet", "_hits.h5"))) as file:
        found: list[bytes] = file["entry/hit_finding/sha256"][:].tolist()
    return found


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], 6, "tcp://127.0.0.1:1: no Dask scheduler answers"),
        (["--scheduler", "head"], 2, "'head' is no address of a Dask scheduler"),
        (["--scheduler", "local", "--slurm"], 2, "--scheduler and --slurm exclude each other"),
    ],
)
def test_where_no_cluster_is_to_be_had_nothing_is_begun(
    hitsieve: Hitsieve, command: list[str | Path], tmp_path: Path, flags: list[str], code: int, said: str
) -> None:
    for estimate in ([], ["--estimate"]):
        done = hitsieve(*command, *flags, *estimate)
        assert (done.returncode, done.stderr.count(said)) == (code, 1)
    assert not (tmp_path / "out").exists()


def test_a_file_that_two_runs_show_is_fetched_once(archive: Path, tmp_path: Path, hitsieve: Hitsieve) -> None:
    both = tmp_path / "both"
    both.mkdir()
    for path in archive.glob("visit*/run2_*.h5"):
        (both / path.name).hardlink_to(path)
    shutil.copy(both / "run2_master.h5", both / "part_master.h5")
    with h5py.File(both / "part_master.h5", "r+") as file:
        whole = file["entry/data/data"]
        part = h5py.VirtualLayout((4, *whole.shape[1:]), whole.dtype)
        part[:] = h5py.VirtualSource("run2_data_000001.h5", "entry/data/data", (4, *whole.shape[1:]))
        del file["entry/data/data"]
        file["entry/data"].create_virtual_dataset("data", part)
    rest = ["--catalogue", tmp_path / "catalogue.sqlite", "--workers", "1"]
    done = hitsieve("campaign", both, "-o", tmp_path / "out", *rest)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert sorted(Path(file["path"]).name for file in told["files"]) == [f"run2_data_00000{i}.h5" for i in (1, 2, 3)]
    totals = told["totals"]
    assert (totals["n_runs"], totals["n_files"], totals["n_images"], totals["n_shared_files"]) == (2, 3, 16, 1)
    assert totals["source_bytes"] == sum(path.stat().st_size for path in both.glob("run2_data_*"))
    assert "1 file is shown by several runs: its images are counted in each" in done.stdout


def test_what_is_done_is_not_done_again(hitsieve: Hitsieve, command: list[str | Path], tmp_path: Path) -> None:
    assert hitsieve(*command, "--quiet").stdout == ""
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_hits.h5")}
    overview = (out / "campaign.json").read_bytes()
    (out / "campaign.json").unlink()
    again = hitsieve(*command)
    assert "4 runs: 3 known already, 1 failed" in again.stdout.splitlines()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*_hits.h5")} == before
    assert (out / "campaign.json").read_bytes() == overview
    told = hitsieve(*command, "--estimate").stdout.splitlines()
    assert "0 runs to sieve, 0 files, 0 images; 3 runs have results already" in told
    assert hitsieve(*command, "--json").stdout.encode() == overview


def test_a_name_that_is_no_text_is_told_as_well(process: Hitsieve, tmp_path: Path) -> None:
    archive, name = tmp_path / "archive", b"b\xff.h5"
    archive.mkdir()
    Path(os.fsdecode(bytes(archive) + b"/" + name)).write_bytes(b"no HDF5")
    done = process("campaign", archive, "-o", tmp_path / "out", "--catalogue", tmp_path / "catalogue.sqlite")
    assert done.returncode == 3
    whole = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert [os.fsencode(Path(one["path"]).name) for one in whole["without"]] == [name]


def test_names_of_files_stay_words_on_the_page(hitsieve: Hitsieve, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "<script>alert(1)<"
    simulate(folder, SimulateSettings.model_validate(ABOUT | {"name": "run", "hit_fraction": 0.5}))
    flags = ["--catalogue", tmp_path / "catalogue.sqlite", "--workers", "1"]
    assert hitsieve("campaign", tmp_path / "archive", "-o", tmp_path / "out", *flags).returncode == 0
    page = (tmp_path / "out" / "campaign.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page


@pytest.mark.parametrize("flags", [["--bandwidth", "0"], ["--workers", "-1"]])
def test_wrong_usage(hitsieve: Hitsieve, archive: Path, tmp_path: Path, flags: list[str]) -> None:
    assert hitsieve("campaign", archive, "-o", tmp_path / "out", *flags).returncode == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_without_runs(hitsieve: Hitsieve, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for flags in ([], ["--estimate"]):
        done = hitsieve("campaign", tmp_path / "empty", "-o", tmp_path / "out", *flags)
        assert done.returncode == 3
        assert f"{tmp_path / 'empty'}: no run is in it" in done.stderr
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_there_are_told(hitsieve: Hitsieve, archive: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for path in archive.glob("visit*/run2_*.h5"):
        (part / path.name).hardlink_to(path)
    (part / "run2_data_000002.h5").unlink()
    done = hitsieve("campaign", part, "-o", tmp_path / "out", "--catalogue", tmp_path / "c.sqlite", "--workers", "1")
    assert "4 images of 1 run are missing or unreadable" in done.stdout.splitlines()


def test_no_such_folder(hitsieve: Hitsieve, tmp_path: Path) -> None:
    done = hitsieve("campaign", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert f"{tmp_path / 'nowhere'}: there is no such folder" in done.stderr
    assert not (tmp_path / "out").exists()
