"""Whatever goes wrong on the way, in the end everything is there, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import pytest

from hitsieve.catalogue.scicat import Journal, OtherContent, Plan, Report, SciCat, ingest
from hitsieve.errors import HitsieveError, ServerError
from hitsieve.testing.scicat import ACCOUNTS, FakeSciCat, Fault
from scicat.conftest import INGESTOR, USER

CLEAN = 15
"""More requests than bringing the run takes."""


class Empty(Protocol):
    """Gives a server that holds nothing."""

    def __call__(self, version: str = "v5") -> FakeSciCat: ...


def bring(fake: FakeSciCat, plan: Plan, credentials: Any = USER, **given: Any) -> Report:
    with SciCat(fake.url, credentials, patience=given.pop("patience", 5.0), landing=0.0) as client:
        return ingest(client, plan, **given)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, FakeSciCat]]:
    """A server of each version."""
    with FakeSciCat("v5") as v5, FakeSciCat("v4") as v4:
        yield {"v5": v5, "v4": v4}


@pytest.fixture
def empty(servers: dict[str, FakeSciCat]) -> Empty:
    """Give a server of a version, after it has forgotten all."""

    def forget(version: str = "v5") -> FakeSciCat:
        fake = servers[version]
        with fake.store.held() as store:
            for part in (store.datasets, store.blocks, store.attachments, store.jobs, store.sessions):
                part.clear()
        fake.faults.clear()
        fake.requests.clear()
        return fake

    return forget


@pytest.fixture(scope="module")
def whole(plan: Plan) -> dict[str, Any]:
    """What a server holds after one undisturbed ingestion."""
    with FakeSciCat() as fake:
        bring(fake, plan)
        return fake.state()


@pytest.mark.parametrize("version", ["v5", "v4"])
def test_twice_gives_one(plan: Plan, whole: dict[str, Any], version: Any) -> None:
    with FakeSciCat(version) as fake:
        first = bring(fake, plan)
        assert first.raw is not None and first.derived is not None
        assert (first.raw.did, first.derived.did, first.picture, first.archive) == ("created",) * 4
        assert (first.raw.n_files, first.derived.n_files) == (4, 4)
        assert first.warnings == []
        assert fake.state() == whole
        n = len(fake.requests)
        again = bring(fake, plan)
        assert again.raw is not None and again.derived is not None
        assert (again.raw.did, again.derived.did, again.picture, again.archive) == ("there",) * 4
        assert {seen.method for seen in fake.requests[n:] if "login" not in seen.path} == {"GET"}
        assert fake.state() == whole


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("v5", Fault("drop")),
        ("v4", Fault("drop", after=True)),
        ("v5", Fault("status", 503)),
        ("v4", Fault("status", 500, after=True)),
        ("v5", Fault("expire")),
        ("v4", Fault("expire")),
    ],
    ids=["cut", "cut-after", "503", "500-after", "expired", "expired-v4"],
)
def test_any_fault_at_any_request(empty: Empty, plan: Plan, whole: dict[str, Any], version: str, fault: Fault) -> None:
    for place in range(CLEAN):
        fake = empty(version)
        fake.fail_next(place, Fault("none"))
        fake.fail_next(1, fault)
        bring(fake, plan)
        assert fake.state() == whole, f"the fault struck {fake.faults.struck[-1]}"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_stopped_at_any_request_and_called_again(empty: Empty, plan: Plan, whole: dict[str, Any], after: bool) -> None:
    """Without any patience the first fault ends the session, as kill -9 would: nothing of it is remembered."""
    stopped = 0
    for place in range(CLEAN):
        fake = empty()
        fake.fail_next(place, Fault("none"))
        fake.fail_next(1, Fault("drop", after=after))
        try:
            bring(fake, plan, patience=0.0)
        except ServerError:
            stopped += 1
        fake.faults.clear()
        bring(fake, plan)
        assert fake.state() == whole, f"the fault struck {fake.faults.struck[-1]}"
    assert stopped > 10


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_ingestor_that_may_not_look(empty: Empty, plan: Plan, after: bool) -> None:
    """Identifiers are chosen, and the journal remembers the rest; what may have been sent is never sent again."""
    facility = plan.facility.model_copy(update={"pid_prefix": "20.500.11935"})
    plan = replace(plan, facility=facility, ingestor=True, archive=False)
    done = refused = 0
    for place in range(CLEAN):
        kept: dict[str, Any] = {}

        def save(steps: Any, kept: dict[str, Any] = kept) -> None:
            kept.clear()
            kept.update(steps)

        fake = empty()
        fake.fail_next(place, Fault("none"))
        fake.fail_next(1, Fault("drop", after=after))
        for _ in range(2):
            try:
                bring(fake, plan, INGESTOR, journal=Journal(kept, save), patience=0.0)
                done += 1
            except OtherContent:
                refused += 1
            except ServerError:
                pass
        state = fake.state()
        assert sorted(one["type"] for one in state["datasets"]) in (["derived", "raw"], ["raw"], [])
        files = [(block["datasetId"], file["path"]) for block in state["blocks"] for file in block["dataFileList"]]
        assert len(files) == len(set(files))
    assert done > 10
    # Of a block whose answer was lost nobody can know whether it is there.
    assert refused == 2


def test_half_a_registration_is_completed(fake: FakeSciCat, plan: Plan, whole: dict[str, Any]) -> None:
    """Blocks that are split otherwise, or by another program, are completed file by file."""
    bring(fake, plan)
    with fake.store.held() as store:
        for block in store.blocks:
            lost = block["dataFileList"].pop()
            block["size"] -= lost["size"]
    report = bring(fake, plan)
    assert report.raw is not None and report.derived is not None
    assert (report.raw.n_files, report.derived.n_files) == (1, 1)
    files = [(block["datasetId"], file["path"]) for block in fake.store.blocks for file in block["dataFileList"]]
    assert len(files) == len(set(files)) == 8


def test_files_of_another_size_stop_it(fake: FakeSciCat, plan: Plan) -> None:
    bring(fake, plan)
    with fake.store.held() as store:
        store.blocks[0]["dataFileList"][0]["size"] += 1
    before = fake.state()
    with pytest.raises(OtherContent, match=r"bytes in SciCat, .* in /.*nothing was changed"):
        bring(fake, plan)
    assert fake.state() == before


def test_what_is_listed_twice_is_told(fake: FakeSciCat, plan: Plan) -> None:
    bring(fake, plan)
    with fake.store.held() as store:
        store.blocks.append(dict(store.blocks[0], _id="again", id="again"))
    assert any("lists 4 of its files more than once" in text for text in bring(fake, plan).warnings)


def test_no_rights(plan: Plan) -> None:
    accounts = (replace(ACCOUNTS[0], groups=("other",)),)
    with FakeSciCat(accounts=accounts) as fake, pytest.raises(HitsieveError, match="403"):
        bring(fake, plan)
