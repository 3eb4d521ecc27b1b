"""A run that is stopped at any moment leaves nothing that looks like a result, and nothing in the way of the next."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from hitsieve.testing import Simulated

from .conftest import HITSIEVE, Hitsieve
from .reading import SUFFIXES, names, read

NAMES = {f"small{suffix}" for suffix in SUFFIXES}
REPEATS = 400
"""Times that the images are shown: with the slow reference finder, far more than a test waits."""
PATIENCE = 240
"""Longest time (s) that a test waits for what must come."""
STOPPED = {signal.SIGINT: (130, "stopped by Ctrl-C"), signal.SIGTERM: (143, "stopped by SIGTERM")}


@pytest.fixture(scope="module")
def endless(small: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A master that shows ten images many times; its outputs are called small_*."""
    folder = tmp_path_factory.mktemp("endless")
    path = folder / small.master.name
    for file in (small.master, small.data_files[0]):
        shutil.copy(file, folder)
    with h5py.File(path, "r+") as file:
        (_, *shape), dtype = file["entry/data/data"].shape, file["entry/data/data"].dtype
        del file["entry/data/data"]
        layout = h5py.VirtualLayout((10 * REPEATS, *shape), dtype)
        source = h5py.VirtualSource(small.data_files[0].name, "/entry/data/data", (10, *shape), dtype)
        for first in range(0, 10 * REPEATS, 10):
            layout[first : first + 10] = source
        file["entry/data"].create_virtual_dataset("data", layout)
        file["entry/instrument/detector/detectorSpecific/nimages"][...] = 10 * REPEATS
    return path


def slow(master: Path, out: Path, *flags: str) -> list[str]:
    """A run that lasts minutes."""
    return [HITSIEVE, "run", str(master), "-o", str(out), "--algorithm", "dispersion", *flags]


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for_temporaries(process: subprocess.Popen[str], out: Path) -> None:
    """Wait until the outputs are being written."""
    while process.poll() is None and not any(name.startswith(".small_hits.h5") for name in names(out)):
        time.sleep(0.02)


def assert_stopped(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    code, says = STOPPED[sent]
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, stderr
    assert stderr.splitlines()[-1].startswith(f"hitsieve: error: {says}")
    assert "Traceback" not in stderr
    assert stdout == ""


@pytest.mark.parametrize("sent", STOPPED)
def test_stopped_while_searching(endless: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """With several workers; the tests of the command line stop one."""
    out = tmp_path / "out"
    with started(slow(endless, out, "--workers", "3")) as process:
        wait_for_temporaries(process, out)
        time.sleep(0.1)
        process.send_signal(sent)
        assert_stopped(process, sent)
    assert not out.exists()


def test_killed_run_leaves_no_result_and_is_not_in_the_way(
    endless: Path, small: Simulated, hitsieve: Hitsieve, tmp_path: Path
) -> None:
    with started(slow(endless, tmp_path)) as process:
        wait_for_temporaries(process, tmp_path)
        time.sleep(0.2)
        process.kill()
        process.communicate(timeout=PATIENCE)
    left = names(tmp_path)
    assert left
    assert all(name.startswith(".small_") and name.endswith(".tmp") for name in left)
    again = hitsieve("run", small.master, "-o", tmp_path, "--quiet")
    assert again.returncode == 0, again.stderr
    assert names(tmp_path) - left == NAMES
    found = read(tmp_path, "small")
    assert found.summary.n_images == 40
    assert hitsieve("verify", found.hits, "--source", small.master).returncode == 0


def test_two_runs_into_one_folder_do_not_mix(
    endless: Path, small: Simulated, hitsieve: Hitsieve, tmp_path: Path
) -> None:
    with started(slow(endless, tmp_path)) as process:
        wait_for_temporaries(process, tmp_path)
        time.sleep(0.2)
        assert hitsieve("run", small.master, "-o", tmp_path, "--quiet").returncode == 0
        assert process.poll() is None
        before = {name: (tmp_path / name).read_bytes() for name in NAMES}
        process.send_signal(signal.SIGINT)
        assert_stopped(process, signal.SIGINT)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert read(tmp_path, "small").summary.n_images == 40


def test_stopped_run_keeps_the_outputs_that_it_should_replace(
    endless: Path, small: Simulated, hitsieve: Hitsieve, tmp_path: Path
) -> None:
    assert hitsieve("run", small.master, "-o", tmp_path, "--quiet").returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with started(slow(endless, tmp_path, "--overwrite")) as process:
        wait_for_temporaries(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert_stopped(process, signal.SIGTERM)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
