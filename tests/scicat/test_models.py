"""Every body that hitsieve makes is one that the models of scicat-sdk-py take, and the imitated SciCat as well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import BaseModel
from scicat_sdk_py.models.create_attachment_v3_dto import CreateAttachmentV3Dto
from scicat_sdk_py.models.create_dataset_dto import CreateDatasetDto
from scicat_sdk_py.models.create_job_dto import CreateJobDto
from scicat_sdk_py.models.create_orig_datablock_dto import CreateOrigDatablockDto
from scicat_sdk_py.models.credentials_dto import CredentialsDto
from scicat_sdk_py.models.partial_update_dataset_dto import PartialUpdateDatasetDto

from hitsieve.catalogue.scicat import Facts, Plan, SciCat, all_facts, ingest, read_facility
from hitsieve.catalogue.scicat.address import quoted
from hitsieve.catalogue.scicat.facts import TECHNIQUES
from hitsieve.pipeline.planning import plan_of
from hitsieve.testing.scicat import FakeSciCat, Seen
from scicat.conftest import USER, errand

MODELS: dict[str, Any] = {
    "POST /api/v3/auth/login": CredentialsDto,
    "POST /api/v4/datasets": CreateDatasetDto,
    "PATCH /api/v4/datasets/PID": PartialUpdateDatasetDto,
    "POST /api/v3/origdatablocks": CreateOrigDatablockDto,
    "POST /api/v3/datasets/PID/attachments": CreateAttachmentV3Dto,
    "POST /api/v4/jobs": CreateJobDto,
}
FULL = Facts(
    title="A title",
    description="What was done",
    sample_name="lysozyme",
    sample_id="H-1",
    proposal="20261234",
    pi="Ada Lovelace",
    pi_email="ada@example.org",
    owner="Charles Babbage",
    owner_email="charles@example.org",
    owner_group="p12345",
    access_groups=("slsx06sa", "other"),
    contact_email="contact@example.org",
    creation_location="/PSI/SLS/X06SA",
    instrument_id="x06sa",
    beam="synchrotron",
    delivery="lcp",
    techniques=tuple(TECHNIQUES),
    license="CC BY-SA 4.0",
    keywords=("a", "b"),
)


def variants(plan: Plan) -> Iterator[Plan]:
    """As little, and as much, as can be said of a run; for a server that takes few files at once; for an ingestor."""
    yield plan
    little = Facts(owner="A", owner_group="p12345", contact_email="a@example.org")
    yield replace(plan, facts=little, picture=None, archive=False)
    full = replace(plan, facts=FULL, archive=True, facility=read_facility("psi"))
    yield full
    few = plan.facility.limits.model_copy(update={"block_files": 1})
    yield replace(full, facility=plan.facility.model_copy(update={"limits": few}))
    yield replace(full, ingestor=True)
    known = dict.fromkeys(("hit_rate", "resolution", "cell_a", "detector", "title", "start_time", "pump"))
    yield replace(plan, record=plan.record.model_copy(update=known))


def name_of(seen: Seen) -> str:
    parts = seen.path.split("/")
    if len(parts) > 4 and parts[3] == "datasets":
        assert quoted(unquote(parts[4])) == parts[4]
        parts[4] = "PID"
    return f"{seen.method} {'/'.join(parts)}"


def unknown_fields(model: type[BaseModel], body: dict[str, Any]) -> set[str]:
    return set(body) - {field.alias or name for name, field in model.model_fields.items()}


def test_every_body_is_taken(plan: Plan) -> None:
    met = set()
    for variant in variants(plan):
        for version in ("v4", "v5"):
            with FakeSciCat(version) as fake, SciCat(fake.url, USER) as client:
                first = ingest(client, variant)
                assert first.raw is not None
                # Again, where the raw data are told of another verdict, so that they are changed.
                other = variant.record.model_copy(update={"id": "f" * 32, "hit_rate": 0.25})
                ingest(client, replace(variant, record=other, raw_pid=first.raw.pid, replace=True))
                for seen in fake.requests:
                    if seen.method == "GET":
                        continue
                    name, body = name_of(seen), seen.json
                    # The models read unknown fields as none; the server refuses them.
                    assert MODELS[name].from_dict(body) is not None
                    assert unknown_fields(MODELS[name], body) == set()
                    assert seen.status in (200, 201), body
                    met.add(name)
    assert met == set(MODELS)


def flat(table: dict[str, Any]) -> None:
    """As the facts of real servers want it: quantities of value, unit and name, under flat keys."""
    for key, quantity in table.items():
        assert not set(key) & set(".[]<>$"), key
        assert set(quantity) == {"value", "unit", "human_name"}, key
        assert isinstance(quantity["value"], str | int | float), key
        assert quantity["unit"] != "\N{MICRO SIGN}m"


def test_a_file_of_misses_is_not_sent(results: Path, tmp_path: Path) -> None:
    """All misses are nearly the raw data, which have a dataset; that they are kept is told of the hits."""
    copy = Path(shutil.copytree(results, tmp_path / "out"))
    (copy / "small_misses.h5").write_bytes(b"12345")
    summary = copy / "small_summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"miss_bytes": 4}))
    plan, _ = plan_of(errand(copy))
    assert "misses" in {file.kind for file in plan.record.files}
    assert {file.path for file in plan.derived.files} == {path.name for path in results.iterdir()}
    assert plan.derived_body(None)["scientificMetadata"]["miss_bytes"]["value"] == 4
    assert "miss_bytes" not in plan.raw_metadata()


def test_metadata_are_such_that_the_server_finds_them(plan: Plan) -> None:
    for variant in variants(plan):
        raw, derived = variant.raw_body(), variant.derived_body("20.500.1/raw")
        told = raw["scientificMetadata"], derived["scientificMetadata"]
        for table in told:
            flat(table)
            assert table["n_hits"]["value"] == plan.record.n_hits
        # One key has one name for people everywhere.
        assert all(told[0][key]["human_name"] == told[1][key]["human_name"] for key in told[0].keys() & told[1].keys())
        assert derived["inputDatasets"] == ["20.500.1/raw"]
        assert not {"relationships", "dataQualityMetrics"} & {*raw, *derived}


@pytest.mark.parametrize("lost", ["owner", "ownerGroup", "contactEmail", "sourceFolder", "creationTime", "datasetName"])
def test_what_the_server_needs_is_there(plan: Plan, lost: str) -> None:
    for variant in variants(plan):
        assert variant.raw_body()[lost]
        assert variant.derived_body("a/b")[lost]


@pytest.mark.parametrize(("said", "sent"), [("  ", None), ("a\x00b\x1b[", "a b ["), ("x" * 30_000, "x" * 20_000)])
def test_what_a_source_says_is_sent_as_far_as_it_can_be_shown(plan: Plan, said: str, sent: str | None) -> None:
    record = plan.record.model_copy(update={"sample_name": said, "experiment": said})
    facts = all_facts(record, [FULL.model_copy(update={"sample_name": None, "proposal": None})], plan.facility)
    assert (facts.sample_name, facts.proposal) == (sent, sent)
