"""A small run to call the command on."""

from __future__ import annotations

import h5py
import pytest

from calling import HITSIEVE, Hitsieve, Result
from hitsieve.testing import Simulated, SimulateSettings, simulate

__all__ = ["HITSIEVE", "Hitsieve", "Result"]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 40 small images, about a third of them hits."""
    folder = tmp_path_factory.mktemp("simulated")
    return simulate(folder, SimulateSettings(name="small", detector="test-256k", images=40, hit_fraction=0.3))


@pytest.fixture(scope="session")
def endless(simulated: Simulated) -> list[str]:
    """Arguments of a run that takes far longer than any test waits: many images, and the slow reference finder."""
    path = simulated.master.with_name("endless.h5")
    with h5py.File(simulated.data_files[0]) as file:
        images = file["entry/data/data"]
        shape, dtype = images.shape, images.dtype
    repeats = 500
    layout = h5py.VirtualLayout((repeats * shape[0], *shape[1:]), dtype)
    for k in range(repeats):
        source = h5py.VirtualSource(simulated.data_files[0].name, "entry/data/data", shape)
        layout[k * shape[0] : (k + 1) * shape[0]] = source
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    return ["run", str(path), "--algorithm", "dispersion", "--workers", "1"]
