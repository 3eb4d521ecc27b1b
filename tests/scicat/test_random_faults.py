"""Whatever faults strike, in whatever order, and however often the program dies: in the end all is there, once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from hitsieve.catalogue.scicat import Credentials, Journal, Plan, Report, SciCat, ingest
from hitsieve.catalogue.scicat.journal import Mark
from hitsieve.errors import ServerError
from hitsieve.testing.scicat import FakeSciCat, Fault
from scicat.conftest import INGESTOR, USER

FAULTS = [
    Fault("drop"),
    Fault("drop", after=True),
    *(Fault("status", status) for status in (500, 502, 503, 504, 401, 403, 412, 429)),
    *(Fault("status", status, after=True) for status in (500, 502, 504)),
    Fault("expire"),
    Fault("slow", seconds=0.01),
]
MOST_SESSIONS = 30


class Killed(BaseException):
    """The process dies between two requests."""


class Story:
    """One server that holds nothing, and a user who calls again until it is done."""

    def __init__(self, fake: FakeSciCat, seed: int, credentials: Credentials = USER) -> None:
        store = fake.store
        store.version = "v4" if seed % 2 else "v5"
        for held in (store.datasets, store.blocks, store.attachments, store.jobs, fake.requests, fake.faults.struck):
            held.clear()
        fake.faults.clear()
        self.fake = fake
        self.random_of = random.Random(seed)
        self.steps: dict[str, Mark] = {}
        self.n_killed = self.n_failed = 0
        self.patience = 0.5 if seed % 10 == 0 else 0.0
        chosen = [self.random_of.choice(FAULTS) if self.random_of.random() < 0.3 else Fault("none") for _ in range(25)]
        fake.faults.add(chosen)
        self.connect = lambda: SciCat(fake.url, credentials, patience=self.patience)

    def until_done(self, plan: Plan, *, heeds_warnings: bool = True, most: int = MOST_SESSIONS) -> bool:
        """Call again, and, as a user does who heeds warnings, until there are none; whether it came to an end."""
        client = self.connect()
        try:
            for _ in range(most):
                try:
                    report = self.session(client, plan)
                except ServerError:
                    self.n_failed += 1
                except Killed:
                    self.n_killed += 1
                    client.close()
                    client = self.connect()
                else:
                    if not (heeds_warnings and report.warnings):
                        return True
        finally:
            client.close()
        return False

    def session(self, client: SciCat, plan: Plan) -> Report:
        """One call, which may die after any request but the last."""
        dies_at = self.random_of.choice((0, 0, *range(1, 12)))

        def progress(done: int, _: int) -> None:
            if done == dies_at and self.fake.faults.n_waiting:
                raise Killed

        return ingest(client, plan, journal=Journal(self.steps, self.save), progress=progress)

    def save(self, steps: Mapping[str, Mark]) -> None:
        self.steps = dict(steps)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSciCat]:
    with FakeSciCat() as server:
        yield server


@pytest.fixture(scope="module")
def whole(plan: Plan) -> dict[str, Any]:
    """What a server holds after one undisturbed ingestion."""
    with FakeSciCat() as server, SciCat(server.url, USER) as client:
        ingest(client, plan)
        return server.state()


@pytest.mark.parametrize("part", range(5))
def test_random_faults_and_deaths(fake: FakeSciCat, plan: Plan, whole: dict[str, Any], part: int) -> None:
    struck = killed = failed = 0
    for seed in range(10 * part, 10 * part + 10):
        story = Story(fake, seed)
        assert story.until_done(plan), (seed, fake.faults.struck)
        assert fake.state() == whole, (seed, fake.faults.struck)
        struck, killed = struck + len(fake.faults.struck), killed + story.n_killed
        failed += story.n_failed
    assert struck > 20
    assert killed > 0
    assert failed > 10


def test_an_ingestor_that_may_not_look_doubles_nothing(fake: FakeSciCat, plan: Plan) -> None:
    """It cannot always go on, for it cannot see what was carried out; it says so, and sends nothing twice."""
    facility = plan.facility.model_copy(update={"pid_prefix": "20.500.11935"})
    plan = replace(plan, facility=facility, ingestor=True, archive=False)
    whole = stopped = 0
    for seed in range(101, 110):
        if Story(fake, seed, INGESTOR).until_done(plan, heeds_warnings=False, most=10):
            whole += 1
        else:
            stopped += 1
        state = fake.state()
        assert len(state["datasets"]) <= 2
        listed = [(block["datasetId"], file["path"]) for block in state["blocks"] for file in block["dataFileList"]]
        assert len(listed) == len(set(listed))
        assert len(state["attachments"]) <= 2
    assert whole > 3
    assert stopped > 0
