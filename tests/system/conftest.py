"""Simulated runs to call the command on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from calling import HITSIEVE, Hitsieve, Result
from hitsieve.testing import Simulated, SimulateSettings, simulate

__all__ = ["HITSIEVE", "SMALL", "Hitsieve", "Result"]

SMALL = {"name": "small", "detector": "test-256k", "images": 40, "images_per_file": 10, "hit_fraction": 0.4, "seed": 5}


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
