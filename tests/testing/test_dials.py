"""DIALS reads simulated runs: its spots are the true ones."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dialsprograms import dials, needs_dials
from hitsieve.testing import SimulateSettings, simulate

pytestmark = [pytest.mark.dials, needs_dials]


@pytest.mark.parametrize("style", ["vds", "vds-strided", "single"])
def test_dials_imports_every_image(style: str, tmp_path: Path) -> None:
    settings = {"images": 5, "images_per_file": 2, "detector": "test-256k", "style": style}
    simulate(tmp_path, SimulateSettings.model_validate(settings))
    told = dials(tmp_path, "dials.import", "simulated_master.h5")
    assert "num images: 5" in told
    assert "FormatNXmx" in told


@pytest.mark.long
def test_dials_finds_the_spots(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulateSettings(images=1, detector="jungfrau-1m", hit_fraction=1, spots=(100, 100)))
    dials(tmp_path, "dials.import", "simulated_master.h5")
    told = dials(tmp_path, "dials.find_spots", "imported.expt")
    found = int(told.split("Saved ")[1].split()[0])
    true = pq.read_table(made.truth)["n_spots_snr6"][0].as_py()
    assert found == pytest.approx(true, rel=0.5)
