"""A small run to work on."""

from __future__ import annotations

import pytest

from hitsieve.testing import Simulated, SimulateSettings, simulate


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 150 small images in three files, about a quarter of them hits."""
    settings = SimulateSettings(
        name="small", detector="test-256k", images=150, images_per_file=60, hit_fraction=0.25, seed=3
    )
    return simulate(tmp_path_factory.mktemp("simulated"), settings)
