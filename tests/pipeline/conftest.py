"""A small run to work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.live import receiving
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender


@pytest.fixture(scope="session")
def _sieving() -> Iterator[Apart]:
    """Another process, which is begun when it is first needed."""
    with Apart() as apart:
        yield apart


@pytest.fixture
def own_process() -> None:
    """For a test of what the process that sieves says, or of what befalls it: it is begun in the test."""


@pytest.fixture(autouse=True)
def _one_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _sieving: Apart) -> None:
    """Receivers have one process that sieves, as one has for all its series: to start it takes most of the time."""
    if "own_process" not in request.fixturenames:
        monkeypatch.setattr(receiving, "Apart", lambda: nullcontext(_sieving))


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
