"""What the models of scicat-sdk-py refuse, the imitated SciCat refuses; they are made from the backend's description.

It refuses more, as the server does: fields that it does not know, addresses that are none, times that are numbers.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from scicat_sdk_py.models.create_attachment_v3_dto import CreateAttachmentV3Dto
from scicat_sdk_py.models.create_dataset_dto import CreateDatasetDto
from scicat_sdk_py.models.create_job_dto import CreateJobDto
from scicat_sdk_py.models.create_orig_datablock_dto import CreateOrigDatablockDto
from scicat_sdk_py.models.credentials_dto import CredentialsDto
from scicat_sdk_py.models.partial_update_dataset_dto import PartialUpdateDatasetDto
from scicat_sdk_py.models.partial_update_dataset_lifecycle_dto import PartialUpdateDatasetLifecycleDto

from hitsieve.testing.scicat.bodies import (
    Body,
    Credentials,
    DatasetChange,
    Lifecycle,
    NewAttachment,
    NewBlock,
    NewDataset,
    NewJob,
    read,
)
from hitsieve.testing.scicat.refusal import Refusal

DATASET = {
    "type": "raw",
    "owner": "A. Person",
    "ownerGroup": "p12345",
    "contactEmail": "a.person@example.org",
    "sourceFolder": "/data",
    "creationTime": "2026-11-26T12:00:00Z",
    "datasetName": "run 1",
}
FILE = {"path": "a.h5", "size": 10, "time": "2026-11-26T12:00:00Z"}
PAIRS: list[tuple[type[BaseModel], type[Body], dict[str, Any]]] = [
    (CreateDatasetDto, NewDataset, DATASET),
    (PartialUpdateDatasetDto, DatasetChange, {}),
    (PartialUpdateDatasetLifecycleDto, Lifecycle, {}),
    (CreateOrigDatablockDto, NewBlock, {"datasetId": "a/b", "size": 10, "dataFileList": [FILE]}),
    (CreateAttachmentV3Dto, NewAttachment, {"caption": "hits", "ownerGroup": "p12345"}),
    (CreateJobDto, NewJob, {"type": "archive", "jobParams": {"datasetList": []}}),
    (CredentialsDto, Credentials, {"username": "user", "password": "secret"}),
]
VALUES: list[Any] = [
    *(None, 3, 2.5, True, "x", "", "2026-11-26", "a@example.org"),
    *([], ["x"], [3], [{}], [{"pid": "a", "name": "b"}], [{"pid": "a", "name": 3}], [FILE], [{**FILE, "size": "10"}]),
    *([{**FILE, "chk": 3}], [{"path": "a"}], {}, {"a": 1}, {"archivable": True}, {"archivable": "yes"}),
    *([{"identifier": "a"}], [{"identifier": 3}], {"archiveStatusMessage": 3}),
]


def takes_model(model: Any, body: dict[str, Any]) -> bool:
    try:
        model.from_dict(body)
    except (ValidationError, TypeError):
        # Some of the models' own code takes the types for granted.
        return False
    return True


def takes_fake(model: type[Body], body: dict[str, Any]) -> bool:
    try:
        read(model, body)
    except Refusal:
        return False
    return True


@pytest.mark.parametrize(("theirs", "ours", "good"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_what_the_models_refuse_is_refused(theirs: type[BaseModel], ours: type[Body], good: dict[str, Any]) -> None:
    assert takes_model(theirs, good) and takes_fake(ours, good)
    refused = 0
    names = [field.alias or name for name, field in theirs.model_fields.items()]
    for name in names:
        lacking = {key: value for key, value in good.items() if key != name}
        for body in (lacking, *({**good, name: value} for value in VALUES)):
            if not takes_model(theirs, body):
                refused += 1
                assert not takes_fake(ours, body), body
    assert refused > len(names)


@pytest.mark.parametrize(("theirs", "ours", "good"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_fields_are_those_of_the_models(theirs: type[BaseModel], ours: type[Body], good: dict[str, Any]) -> None:
    assert {field.alias or name for name, field in theirs.model_fields.items()} == set(ours.model_fields)


@pytest.mark.parametrize(
    ("theirs", "ours", "body"),
    [
        # The server forbids unknown fields; the models pass over them.
        (CreateDatasetDto, NewDataset, {**DATASET, "hitRate": 0.5}),
        # Checked by the server, but not in its description.
        (CreateDatasetDto, NewDataset, {**DATASET, "contactEmail": "nobody"}),
        (CreateDatasetDto, NewDataset, {**DATASET, "sourceFolder": ""}),
        (CreateDatasetDto, NewDataset, {**DATASET, "size": 2.5}),
        # The models read numbers as seconds; the server wants a text.
        (CreateDatasetDto, NewDataset, {**DATASET, "creationTime": 1764158400}),
        (
            CreateOrigDatablockDto,
            NewBlock,
            {"datasetId": "a", "size": 1, "dataFileList": [{**FILE, "metadata": {"a": 1}}]},
        ),
    ],
)
def test_where_the_server_is_stricter(theirs: type[BaseModel], ours: type[Body], body: dict[str, Any]) -> None:
    assert takes_model(theirs, body)
    assert not takes_fake(ours, body)
