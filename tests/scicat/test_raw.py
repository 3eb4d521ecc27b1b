"""Which raw dataset is meant, and what is told there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hitsieve.catalogue.scicat import OtherContent, Plan, Refused, Report, SciCat, ingest, quoted
from hitsieve.errors import HitsieveError, SourceError
from hitsieve.pipeline.planning import plan_of
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.settings import VerdictSettings
from hitsieve.testing.scicat import ACCOUNTS, FakeSciCat, Fault
from scicat.conftest import INGESTOR, USER, errand


def bring(fake: FakeSciCat, plan: Plan, credentials: Any = USER) -> Report:
    with SciCat(fake.url, credentials, patience=5.0, landing=0.0) as client:
        return ingest(client, plan)


def register(fake: FakeSciCat, plan: Plan, **given: Any) -> str:
    """A raw dataset as a facility makes it; its identifier."""
    body = {
        "type": "raw",
        "owner": "Ada Lovelace",
        "ownerGroup": "p12345",
        "contactEmail": "ada@example.org",
        "sourceFolder": plan.raw.folder,
        "creationTime": "2026-11-26T12:00:00Z",
        "datasetName": "small",
        "scientificMetadata": {"wavelength": {"value": 0.9, "unit": "angstrom"}, "note": {"value": "x", "unit": ""}},
    }
    with SciCat(fake.url, USER) as client:
        return str(client.post("/api/v4/datasets", body | given)["pid"])


def told(fake: FakeSciCat, pid: str, key: str) -> Any:
    return fake.dataset(pid)["scientificMetadata"].get(key, {}).get("value")


@pytest.mark.parametrize("version", ["v5", "v4"])
def test_the_facility_s_dataset_is_annotated(plan: Plan, version: Any) -> None:
    with FakeSciCat(version) as fake:
        pid = register(fake, plan)
        plan = replace(plan, archive=False)
        report = bring(fake, plan)
        assert report.raw is not None and report.derived is not None
        assert (report.raw.pid, report.raw.did) == (pid, "changed")
        assert told(fake, pid, "hit_rate") == plan.record.hit_rate
        assert told(fake, pid, "hit_rate_dark") is not None
        assert told(fake, pid, "note") == "x"
        assert fake.dataset(report.derived.pid)["inputDatasets"] == [pid]
        # What the facility says stays, and what it did not list hitsieve does not list either.
        assert told(fake, pid, "wavelength") == 0.9
        assert any("says otherwise, and was left so: wavelength" in text for text in report.warnings)
        assert {block["datasetId"] for block in fake.store.blocks} == {report.derived.pid}
        assert {one["datasetId"] for one in fake.store.attachments} == {report.derived.pid}
        (patch,) = [seen for seen in fake.requests if seen.method == "PATCH"]
        assert patch.content_type == "application/merge-patch+json"
        assert "/datasets/20.500.12269%2F" in patch.path
        n = len(fake.requests)
        again = bring(fake, plan)
        assert again.raw is not None and again.raw.did == "there"
        assert "PATCH" not in {seen.method for seen in fake.requests[n:]}


@pytest.mark.parametrize("version", ["v5", "v4"])
@pytest.mark.parametrize("ahead", [0.0, 7200.0, -7200.0])
def test_others_who_change_it_meanwhile_lose_nothing(plan: Plan, version: Any, ahead: float) -> None:
    """Be it in the same second, and whatever the clock of the server says."""
    with FakeSciCat(version, ahead=ahead) as fake:
        pid = register(fake, plan)
        theirs = {"note": {"value": "y", "unit": ""}, "n_hits": {"value": 7, "unit": "", "human_name": "Hits"}}

        class Late(SciCat):
            """Somebody writes between our reading and our first change."""

            def patch(self, *given: Any, **words: Any) -> Any:
                if "PATCH" not in {seen.method for seen in fake.requests}:
                    with SciCat(fake.url, USER) as other:
                        other.patch(f"/api/v4/datasets/{quoted(pid)}", {"scientificMetadata": theirs})
                return super().patch(*given, **words)

        with Late(fake.url, USER) as client:
            report = ingest(client, replace(plan, archive=False))
        assert (told(fake, pid, "note"), told(fake, pid, "n_hits")) == ("y", 7)
        assert told(fake, pid, "hit_rate") == plan.record.hit_rate
        assert [seen.status for seen in fake.requests if seen.method == "PATCH"] == [200, 412, 200]
        assert any("says otherwise, and was left so: n_hits" in text for text in report.warnings)
        before = fake.state()
        again = bring(fake, replace(plan, archive=False))
        assert again.raw is not None and again.derived is not None
        assert (again.raw.did, again.derived.did, fake.state()) == ("there", "there", before)


def test_an_ingestor_that_may_not_change_it(fake: FakeSciCat, plan: Plan) -> None:
    pid = register(fake, plan, accessGroups=["ingestor"])
    plan = replace(plan, archive=False, facts=plan.facts.model_copy(update={"access_groups": ("ingestor",)}))
    report = bring(fake, plan, INGESTOR)
    assert report.raw is not None and report.derived is not None
    assert (report.raw.pid, report.raw.did, report.derived.did) == (pid, "there", "created")
    assert told(fake, pid, "hit_rate") is None
    assert told(fake, report.derived.pid, "hit_rate") == plan.record.hit_rate
    assert any("the hit rate stands in the dataset of the hits only" in text for text in report.warnings)


def test_named_by_hand(fake: FakeSciCat, plan: Plan) -> None:
    pid = register(fake, plan, sourceFolder="/somewhere/else")
    plan = replace(plan, archive=False)
    report = bring(fake, replace(plan, raw_pid=pid))
    assert report.raw is not None and report.derived is not None
    assert (report.raw.pid, report.raw.did) == (pid, "changed")
    with pytest.raises(OtherContent, match="there is no such dataset"):
        bring(fake, replace(plan, raw_pid="20.500.12269/none"))
    with pytest.raises(OtherContent, match="of type derived, not raw"):
        bring(fake, replace(plan, raw_pid=report.derived.pid))


def test_several_for_one_folder(fake: FakeSciCat, plan: Plan) -> None:
    register(fake, plan)
    register(fake, plan)
    with pytest.raises(OtherContent, match=r"has 2 raw datasets for it.*--raw"):
        bring(fake, plan)
    assert len(fake.store.datasets) == 2


def test_a_folder_with_another_run(fake: FakeSciCat, plan: Plan) -> None:
    """Two runs of one folder: where hitsieve made their datasets each has its own, a facility's is not shared."""
    plan = replace(plan, archive=False)
    other = replace(plan, record=plan.record.model_copy(update={"id": "0" * 32, "source_path": "/raw/other.h5"}))
    pid = register(fake, plan)
    bring(fake, plan)
    before = fake.state()
    with pytest.raises(OtherContent, match="carries the facts of another run"):
        bring(fake, other)
    assert fake.state() == before
    report = bring(fake, replace(other, new_raw=True))
    assert report.raw is not None
    assert report.raw.pid != pid
    again = bring(fake, replace(other, new_raw=True))
    assert again.raw is not None and again.raw.pid == report.raw.pid


def test_the_same_images_sieved_again(fake: FakeSciCat, plan: Plan) -> None:
    first = bring(fake, replace(plan, archive=False))
    record = plan.record.model_copy(update={"id": "1" * 32, "n_hits": 1, "hit_rate": 0.5, "indexing_rate": None})
    later = replace(plan, record=record, archive=False)
    before = fake.state()
    with pytest.raises(OtherContent, match=r"facts of another run of hitsieve .*--replace"):
        bring(fake, later)
    assert fake.state() == before
    report = bring(fake, replace(later, replace=True))
    assert first.raw is not None and report.raw is not None
    assert first.derived is not None and report.derived is not None
    assert report.raw.pid == first.raw.pid
    assert told(fake, report.raw.pid, "hit_rate") == 0.5
    assert told(fake, report.raw.pid, "indexing_rate") is None
    assert report.derived.pid != first.derived.pid
    assert told(fake, first.derived.pid, "hit_rate") == plan.record.hit_rate


def test_the_facts_of_other_images_are_never_replaced(fake: FakeSciCat, plan: Plan) -> None:
    plan = replace(plan, archive=False)
    first = bring(fake, plan)
    assert first.raw is not None
    record = plan.record.model_copy(update={"id": "2" * 32, "source_path": f"{plan.raw.folder}/other_master.h5"})
    before = fake.state()
    with pytest.raises(OtherContent, match=r"of other images, of small_master.h5; this one is of other_master.h5"):
        bring(fake, replace(plan, record=record, raw_pid=first.raw.pid, replace=True))
    assert fake.state() == before


def test_another_verdict_is_a_dataset_of_its_own(fake: FakeSciCat, plan: Plan, results: Path, tmp_path: Path) -> None:
    rethink(results, RethinkRequest(VerdictSettings(min_spots=60), tmp_path / "strict"))
    strict, _ = plan_of(errand(tmp_path / "strict"))
    with pytest.raises(OtherContent, match=f"ingest the run first, {results}"):
        bring(fake, strict)
    assert fake.store.datasets == {}
    first = bring(fake, replace(plan, archive=False))
    report = bring(fake, strict)
    assert first.raw is not None and report.raw is not None
    assert first.derived is not None and report.derived is not None
    assert (report.raw.pid, report.raw.did) == (first.raw.pid, "there")
    assert report.derived.pid != first.derived.pid
    assert fake.dataset(report.derived.pid)["inputDatasets"] == [first.raw.pid]
    assert told(fake, report.derived.pid, "min_spots") == 60
    assert told(fake, first.raw.pid, "hit_rate") == plan.record.hit_rate


def test_files_that_are_gone(fake: FakeSciCat, plan: Plan) -> None:
    lost = replace(plan, archive=False, raw=replace(plan.raw, files=(), lacking="/raw/a.h5: cannot be found"))
    with pytest.raises(SourceError, match=r"/raw/a.h5: cannot be found.*--raw"):
        bring(fake, lost)
    assert fake.store.datasets == {}
    bring(fake, replace(plan, archive=False))
    again = bring(fake, lost)
    assert again.raw is not None and again.raw.did == "there"


def test_archived_already(fake: FakeSciCat, plan: Plan) -> None:
    bring(fake, replace(plan, archive=False))
    with fake.store.held() as store:
        for one in store.datasets.values():
            one["datasetlifecycle"] |= {"archivable": False, "archiveStatusMessage": "missing files"}
    report = bring(fake, plan)
    assert report.archive == "left alone"
    assert any("cannot be archived, SciCat says: missing files" in text for text in report.warnings)
    with fake.store.held() as store:
        for one in store.datasets.values():
            one["datasetlifecycle"] |= {"retrievable": True, "archiveStatusMessage": "datasetOnArchiveDisk"}
    assert bring(fake, plan).archive == "there"
    assert fake.store.jobs == []


def test_a_dataset_that_the_server_does_not_archive_is_a_warning(fake: FakeSciCat, plan: Plan) -> None:
    bring(fake, replace(plan, archive=False))
    with fake.store.held() as store:
        for one in store.datasets.values():
            del one["datasetlifecycle"]["archivable"]
    report = bring(fake, plan)
    assert (report.archive, fake.store.jobs) == ("left alone", [])
    said = 'Invalid value for "datasetlifecycle.archivable"'
    assert any("cannot be archived, SciCat says: " in text and said in text for text in report.warnings)


def test_a_job_that_the_server_does_not_take_is_an_error(fake: FakeSciCat, plan: Plan) -> None:
    fake.fail_next(1, Fault("status", 400, only="POST /api/v4/jobs"))
    with pytest.raises(Refused, match=r"a fault on purpose.*leave out --archive"):
        bring(fake, plan)
    assert fake.store.jobs == []
    assert bring(fake, plan).archive == "created"


def test_picture_that_is_refused_is_a_warning(fake: FakeSciCat, plan: Plan) -> None:
    fake.fail_next(3, Fault("status", 413, only="POST /api/v3/datasets"))
    report = bring(fake, plan)
    assert report.archive == "created"
    assert any("no picture" in text for text in report.warnings)


def test_blocks_keep_the_limits(fake: FakeSciCat, plan: Plan) -> None:
    limits = plan.facility.limits.model_copy(update={"block_files": 3})
    plan = replace(plan, facility=plan.facility.model_copy(update={"limits": limits}), archive=False)
    report = bring(fake, plan)
    assert report.raw is not None
    assert (report.raw.n_blocks, report.raw.n_files) == (2, 4)
    assert fake.dataset(report.raw.pid)["numberOfFiles"] == 4
    assert all(len(block["dataFileList"]) <= 3 for block in fake.store.blocks)
    before = fake.state()
    small = limits.model_copy(update={"dataset_files": 3})
    with pytest.raises(HitsieveError, match="a dataset may have 3"):
        bring(fake, replace(plan, facility=plan.facility.model_copy(update={"limits": small})))
    assert fake.state() == before


def test_a_group_that_is_not_mine(plan: Plan) -> None:
    accounts = (replace(ACCOUNTS[0], groups=("other",)),)
    with FakeSciCat(accounts=accounts) as fake:
        with pytest.raises(HitsieveError, match=r"POST /api/v4/datasets: 403"):
            bring(fake, plan)
        assert fake.store.datasets == {}
