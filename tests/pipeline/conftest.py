"""A small run to work on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 150 small images in three files, about a quarter of them hits."""
    settings = SimulateSettings(
        name="small", detector="test-256k", images=150, images_per_file=60, hit_fraction=0.25, seed=3
    )
    return simulate(tmp_path_factory.mktemp("simulated"), settings)


@pytest.fixture
def sender() -> Iterator[StreamSender]:
    """A detector with one socket; what nobody took does not hold up the test."""
    made = StreamSender(["tcp://127.0.0.1:*"])
    yield made
    made.close(0)
