"""One small simulated run that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hitsieve.testing import Simulated, SimulateSettings, simulate


@pytest.fixture(scope="session")
def small_settings() -> SimulateSettings:
    """Settings of the small run."""
    return SimulateSettings(
        name="small",
        images=24,
        images_per_file=10,
        seed=7,
        detector="test-256k",
        hit_fraction=0.5,
        second_lattice=0.3,
        jet_stops=("4:8",),
        pump="dark:1,light:3",
    )


@pytest.fixture(scope="session")
def small(small_settings: SimulateSettings, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """The small run on disk."""
    folder: Path = tmp_path_factory.mktemp("small")
    return simulate(folder, small_settings)
