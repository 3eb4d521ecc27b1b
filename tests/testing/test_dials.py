"""DIALS reads simulated runs: its spots are the true ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import hdf5plugin
import pyarrow.parquet as pq
import pytest

from hitsieve.testing import SimulateSettings, simulate

pytestmark = pytest.mark.skipif(shutil.which("dials.import") is None, reason="DIALS is not installed")


def _dials(folder: Path, *command: str) -> str:
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
    # DIALS runs on its own Python, to which this one's settings mean nothing.
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("style", ["vds", "vds-strided", "single"])
def test_dials_imports_every_image(style: str, tmp_path: Path) -> None:
    settings = {"images": 5, "images_per_file": 2, "detector": "test-256k", "style": style}
    simulate(tmp_path, SimulateSettings.model_validate(settings))
    told = _dials(tmp_path, "dials.import", "simulated_master.h5")
    assert "num images: 5" in told
    assert "FormatNXmx" in told


@pytest.mark.long
def test_dials_finds_the_spots(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulateSettings(images=1, detector="jungfrau-1m", hit_fraction=1, spots=(100, 100)))
    _dials(tmp_path, "dials.import", "simulated_master.h5")
    told = _dials(tmp_path, "dials.find_spots", "imported.expt")
    found = int(told.split("Saved ")[1].split()[0])
    true = pq.read_table(made.truth)["n_spots_snr6"][0].as_py()
    assert found == pytest.approx(true, rel=0.5)
