"""Whole commands on a simulated run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest

from cli.conftest import HITSIEVE, Hitsieve
from hitsieve.cli.progress import describe
from hitsieve.pipeline import Progress
from hitsieve.testing import Simulated
from hitsieve.write import Summary

NAMES = {"small_hits.h5", "small_annotated.h5", "small_images.parquet", "small_summary.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def summary_of(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "small_summary.json").read_text())


def test_run_leaves_four_files_and_names_them(
    hitsieve: Hitsieve, process: Hitsieve, simulated: Simulated, tmp_path: Path
) -> None:
    out = tmp_path / "a folder"
    result = process("run", simulated.master, "-o", out)
    assert result.returncode == 0, result.stderr
    assert names(out) == NAMES
    for name in NAMES:
        assert str(out / name) in result.stdout
    summary = summary_of(out)
    assert f"hits        {summary.n_hits}" in result.stdout
    assert "40 of 40 images" in result.stderr
    assert summary.resolution_hits is not None
    assert f"resolution  {summary.resolution_hits.p50:.2f} angstrom" in result.stdout
    assert f"spots       {summary.n_spots_median_hits:.0f} a hit" in result.stdout
    kept = next(line.split() for line in result.stdout.splitlines() if line.startswith("kept "))
    # kept 1.23 MB of 4.56 MB in hits, and 20 misses ...
    in_bytes = {"kB": 1e3, "MB": 1e6}
    assert float(kept[1]) * in_bytes[kept[2]] == pytest.approx(summary.hit_bytes, rel=0.01)
    assert float(kept[4]) * in_bytes[kept[5]] == pytest.approx(summary.source_bytes, rel=0.01)
    assert int(kept[9]) == summary.audit.n > 0
    assert summary.n_hits + summary.n_misses == 40
    truth = pq.read_table(simulated.truth)
    clear = sum(n >= 20 for n in truth["n_spots_snr6"].to_pylist())
    assert clear > 0
    assert summary.n_hits >= clear
    # What to call next is printed as a shell takes it.
    look, why = (shlex.split(line) for line in result.stdout.splitlines()[-2:])
    assert look == ["look", "hitsieve", "report", str(out / "small_hits.h5")]
    assert why[:3] == ["ask", "why", "hitsieve"]
    assert hitsieve(*why[3:], "--no-picture", cwd=tmp_path).stdout.startswith("image 0 of small\n")


@pytest.mark.parametrize(("seconds", "says"), [(0.01, "1,200"), (6.4, "1.9"), (200.0, "0.06")])
def test_slow_images_are_not_none_a_second(seconds: float, says: str) -> None:
    assert describe(Progress(12, 20, 3, 9, seconds)).startswith(f"{says} images/s, hit rate 25.00 %")


def test_json_is_all_of_stdout(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    result = hitsieve("run", simulated.master, "-o", tmp_path, "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    assert json.loads(result.stdout) == json.loads((tmp_path / "small_summary.json").read_text())


def test_quiet_says_nothing(process: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    result = process("run", simulated.master, "-o", tmp_path, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_verbose_logs_on_stderr(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    result = hitsieve("run", simulated.master, "-o", tmp_path, "--json", "--verbose")
    assert "hitsieve: INFO: " in result.stderr
    assert str(simulated.master) in result.stderr
    assert json.loads(result.stdout)["n_images"] == 40


def test_flags_win_over_the_file_and_both_are_recorded(
    hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("workers = 1\n[spots]\nsnr = 7.5\n[verdict]\nmin_spots = 11\nd_min = 2.5\n")
    out = tmp_path / "out"
    flags = ["--min-spots", "12", "--set", "distance=0.2", "--set", "sample_name=lysozyme", "--no-ice"]
    result = hitsieve("run", simulated.master, "--config", config, "-o", out, *flags)
    assert result.returncode == 0, result.stderr
    settings = summary_of(out).settings
    assert settings["workers"] == 1
    assert settings["spots"]["snr"] == 7.5
    assert settings["verdict"]["min_spots"] == 12
    assert settings["verdict"]["d_min"] == 2.5
    assert settings["verdict"]["ice"] is False
    assert settings["source"]["set"] == ["distance=0.2", "sample_name=lysozyme"]
    assert settings["spots"]["min_pixels"] == 2


def test_missing_metadata_are_warnings(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    result = hitsieve("run", simulated.data_files[0], "-o", tmp_path, "--json")
    assert result.returncode == 0
    warnings = result.stderr.splitlines()
    assert warnings
    assert all(line.startswith("hitsieve: warning: ") for line in warnings)
    assert len(set(warnings)) == len(warnings)
    assert any("wavelength" in line for line in warnings)
    assert len(json.loads(result.stdout)["problems"]) == len(warnings)


def test_warnings_come_before_the_work(endless: list[str], tmp_path: Path) -> None:
    command = [HITSIEVE, *endless, "-o", str(tmp_path / "out"), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.terminate()
        rest = process.stderr.readlines()
    assert process.returncode == 143
    assert rest[-1].startswith("hitsieve: error: stopped by SIGTERM")
    warnings = [first, *rest[:-1]]
    assert all(line.startswith("hitsieve: warning: ") for line in warnings)
    assert any("wavelength" in line for line in warnings)
    assert len(set(warnings)) == len(warnings)


def test_existing_output_is_kept_unless_told(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    hits = tmp_path / "small_hits.h5"
    hits.write_bytes(b"mine")
    refused = hitsieve("run", simulated.master, "-o", tmp_path)
    assert refused.returncode == 4
    assert str(hits) in refused.stderr
    assert "--overwrite" in refused.stderr
    assert hits.read_bytes() == b"mine"
    assert names(tmp_path) == {"small_hits.h5"}
    assert hitsieve("run", simulated.master, "-o", tmp_path, "--overwrite").returncode == 0
    assert names(tmp_path) == NAMES


@pytest.mark.parametrize("content", [None, b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n"])
def test_input_that_cannot_be_read(hitsieve: Hitsieve, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad_master.h5"
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out"
    result = hitsieve("run", path, "-o", out)
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr
    assert not out.exists() or not names(out)


def test_output_that_cannot_be_written(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = hitsieve("run", simulated.master, "-o", blocked / "out")
    assert result.returncode == 4
    assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1
    assert str(blocked) in result.stderr


def test_verify(hitsieve: Hitsieve, process: Hitsieve, simulated: Simulated, tmp_path: Path) -> None:
    assert hitsieve("run", simulated.master, "-o", tmp_path, "--quiet").returncode == 0
    hits = tmp_path / "small_hits.h5"
    summary = summary_of(tmp_path)
    proven = process("verify", hits, "--source", simulated.master)
    assert proven.returncode == 0, proven.stderr
    assert f"{summary.n_hits} hits and {summary.audit.n} audited misses agree" in proven.stdout
    with h5py.File(hits) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(0)
    with hits.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 1]))
    refuted = hitsieve("verify", hits)
    assert refuted.returncode == 5
    assert "hits row 0" in refuted.stderr
    assert "SHA-256" in refuted.stderr
    assert refuted.stdout == ""


def test_verify_refuses_other_files(hitsieve: Hitsieve, simulated: Simulated) -> None:
    result = hitsieve("verify", simulated.master)
    assert result.returncode == 5
    assert "not a hit-only file" in result.stderr


def test_simulate(hitsieve: Hitsieve, process: Hitsieve, tmp_path: Path) -> None:
    arguments = [
        "simulate",
        tmp_path,
        "--name",
        "tiny",
        "--detector",
        "test-256k",
        "--images",
        "3",
        "--hit-fraction",
        "1",
    ]
    result = process(*arguments)
    assert result.returncode == 0, result.stderr
    assert {Path(line).name for line in result.stdout.splitlines()} == names(tmp_path)
    with h5py.File(tmp_path / "tiny_master.h5") as file:
        assert len(file["entry/data/data"]) == 3
    again = hitsieve(*arguments)
    assert again.returncode == 4
    assert "exists" in again.stderr


def test_simulate_weak(hitsieve: Hitsieve, tmp_path: Path) -> None:
    flags = ["--preset", "weak", "--detector", "test-256k", "--images", "12", "--photons", "20", "40"]
    result = hitsieve("simulate", tmp_path, *flags)
    assert result.returncode == 0, result.stderr
    images = pq.read_table(tmp_path / "weak_truth.parquet")
    spots = pq.read_table(tmp_path / "weak_truth_spots.parquet")
    n_spots = [row["n_spots"] for row in images.to_pylist() if row["state"] == "hit"]
    assert n_spots
    assert 10 <= min(n_spots) <= max(n_spots) <= 60
    assert 20 <= min(spots["photons"].to_pylist()) <= max(spots["photons"].to_pylist()) <= 40


@pytest.mark.lasting
def test_demo(hitsieve: Hitsieve, process: Hitsieve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = tmp_path / "user.sqlite"
    monkeypatch.setenv("HITSIEVE_CATALOGUE", str(user))
    result = process("demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    demo = tmp_path / "hitsieve-demo"
    assert {"demo_master.h5", "demo_hits.h5", "demo_annotated.h5", "demo_images.parquet"} <= names(demo)
    truth = next(line for line in result.stdout.splitlines() if line.startswith("Against the truth"))
    found, clear = _first_two(truth)
    n_true = pq.read_table(demo / "demo_truth.parquet")["state"].to_pylist().count("hit")
    assert 0 < found == clear
    assert "called 0 of" in truth
    assert f" of all {n_true} hits" in truth
    advice = next(line.split() for line in result.stdout.splitlines() if line.strip().startswith("hitsieve verify"))
    assert hitsieve(*advice[1:], cwd=tmp_path).returncode == 0
    # It keeps its own catalogue, and leaves the user's alone.
    found = hitsieve("search", "hit_rate > 1 %", "--catalogue", demo / "catalogue.sqlite")
    assert str(demo / "demo_summary.json") in found.stdout
    assert not user.exists()


def _first_two(line: str) -> tuple[int, int]:
    numbers = [int(word) for word in line.replace(";", " ").split() if word.isdigit()]
    return numbers[0], numbers[1]


def test_reader_that_goes_away(simulated: Simulated, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [HITSIEVE, "run", str(simulated.master), "-o", str(tmp_path), "--json"]
        result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert result.returncode == 141
    assert result.stderr == ""
    assert names(tmp_path) == NAMES
