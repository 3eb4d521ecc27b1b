"""The command as a user calls it, and simulated runs to call it on."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from hitsieve.cli.commands import call as run_command
from hitsieve.testing import Simulated, SimulateSettings, simulate

Result = subprocess.CompletedProcess[str]
Hitsieve = Callable[..., Result]

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))

SMALL = {"name": "small", "detector": "test-256k", "images": 40, "images_per_file": 10, "hit_fraction": 0.4, "seed": 5}


@pytest.fixture(scope="session")
def hitsieve() -> Hitsieve:
    """Call hitsieve with arguments; text of both streams and the exit code."""

    def call(*arguments: str | Path) -> Result:
        command = [HITSIEVE, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    return call


@pytest.fixture(scope="session")
def inside() -> Hitsieve:
    """As `hitsieve`, in this process: where how the command starts and ends is not the point."""

    def call(*arguments: str | Path) -> Result:
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said):
            code = run_command(list(map(str, arguments)))
        return Result(arguments, code, out.getvalue(), said.getvalue())

    return call


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 40 small images in four data files; never changed."""
    return simulate(tmp_path_factory.mktemp("small"), SimulateSettings.model_validate(SMALL))


@pytest.fixture
def mine(small: Simulated, tmp_path: Path) -> Simulated:
    """A copy of that run, to do damage to."""
    folder = tmp_path / "run"
    shutil.copytree(small.master.parent, folder)
    return Simulated(
        master=folder / small.master.name,
        data_files=tuple(folder / path.name for path in small.data_files),
        truth=folder / small.truth.name,
        truth_spots=folder / small.truth_spots.name,
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)
