"""The command as a user calls it, and a small run to call it on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hitsieve.testing import Simulated, SimulateSettings, simulate

Result = subprocess.CompletedProcess[str]
Hitsieve = Callable[..., Result]

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))


@pytest.fixture(scope="session")
def hitsieve() -> Hitsieve:
    """Call hitsieve with arguments; text of both streams and the exit code."""

    def call(*arguments: str | Path, cwd: Path | None = None) -> Result:
        command = [HITSIEVE, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)

    return call


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 40 small images, about a third of them hits."""
    folder = tmp_path_factory.mktemp("simulated")
    return simulate(folder, SimulateSettings(name="small", detector="test-256k", images=40, hit_fraction=0.3))
