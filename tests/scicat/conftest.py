"""A finished run, what is to be in SciCat of it, and servers that imitate SciCat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hitsieve.catalogue.scicat import Credentials, Errand, Facts, Plan
from hitsieve.pipeline import RunReport, run
from hitsieve.pipeline.ingest import errand_of
from hitsieve.pipeline.planning import plan_of
from hitsieve.settings import RunSettings
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.scicat import FakeSciCat

FACTS = Facts(pi="Ada Lovelace", pi_email="ada@example.org", owner_group="p12345", beam="synchrotron", sample_id="H-1")
USER = Credentials(user="user", password=SecretStr("secret"))
INGESTOR = Credentials(user="ingestor", password=SecretStr("secret"))
SMALL = SimulateSettings(name="small", detector="test-256k", images=60, hit_fraction=0.4, images_per_file=20)


def errand(results: Path, url: str = "http://localhost", **given: object) -> Errand:
    """What is asked for of a run."""
    values = {"server": url, "run": "", "place": "", "facts": FACTS} | given
    return errand_of(results, Errand.model_validate(values))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """A finished run of 60 images in two pump states; never changed."""
    folder = tmp_path_factory.mktemp("scicat")
    made = simulate(folder / "raw", SMALL)
    rooms = {"source": {"pump": "dark:1,light:1"}, "write": {"output": folder / "out"}}
    return run([made.master], RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}}))


@pytest.fixture(scope="session")
def results(finished: RunReport) -> Path:
    """The folder of its outputs."""
    return finished.outputs.summary.parent


@pytest.fixture(scope="session")
def plan(results: Path) -> Plan:
    """All that is to be in SciCat of it."""
    return plan_of(errand(results, archive=True))[0]


@pytest.fixture
def fake() -> Iterator[FakeSciCat]:
    """A server of version 5 that holds nothing."""
    with FakeSciCat() as server:
        yield server


@pytest.fixture(autouse=True)
def own_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's outbox, which does not exist yet; nothing of the user's account is in the environment."""
    for name in [name for name in os.environ if name.startswith("HITSIEVE_SCICAT")]:
        monkeypatch.delenv(name)
    path = tmp_path / "outbox.sqlite"
    monkeypatch.setenv("HITSIEVE_OUTBOX", str(path))
    return path
