"""A finished run with pump states, whose record and files can be looked at."""

from __future__ import annotations

import pytest

from hitsieve.pipeline import RunReport, run
from hitsieve.settings import RunSettings
from hitsieve.testing import SimulateSettings, simulate

SMALL = SimulateSettings(name="small", detector="test-256k", images=60, hit_fraction=0.4, pump="dark:1,light:1")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """A finished run of 60 images in two pump states; never changed."""
    folder = tmp_path_factory.mktemp("finished")
    made = simulate(folder / "raw", SMALL)
    rooms = {
        "source": {"pump": "dark:1,light:1", "set": ["sample_name=lysozyme"]},
        "write": {"output": folder / "out", "split_pump": True},
    }
    return run([made.master], RunSettings.model_validate(rooms))
