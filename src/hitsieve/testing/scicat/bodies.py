"""Bodies of requests as the server takes them: known fields of known types, and nothing else."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hitsieve.testing.scicat.refusal import Refusal

_EMAIL = re.compile(r"[^@\s;]+@[^@\s;]+\.[^@\s;]+")


def _date(text: str) -> str:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError("must be a valid ISO 8601 date string") from error
    return text


def _emails(text: str) -> str:
    if not all(_EMAIL.fullmatch(part.strip()) for part in text.split(";")):
        raise ValueError("must be an email, or several with ; between")
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("should not be empty")
    return text


Date = Annotated[str, AfterValidator(_date)]
Emails = Annotated[str, AfterValidator(_emails)]
Texts = list[str]
Table = dict[str, Any]


class Body(BaseModel):
    """A body; null is as good as absent for what is not required."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Technique(Body):
    """A technique of PaNET."""

    pid: str
    name: str


class Lifecycle(Body):
    """Where the files of a data set are in their life."""

    archivable: bool | None = None
    retrievable: bool | None = None
    publishable: bool | None = None
    dateOfDiskPurging: Date | None = None
    archiveRetentionTime: Date | None = None
    dateOfPublishing: Date | None = None
    publishedOn: Date | None = None
    isOnCentralDisk: bool | None = None
    archiveStatusMessage: str | None = None
    retrieveStatusMessage: str | None = None
    archiveReturnMessage: Table | None = None
    retrieveReturnMessage: Table | None = None
    exportedTo: str | None = None
    retrieveIntegrityCheck: bool | None = None
    storageLocation: str | None = None


class RelationshipV4(Body):
    """A related data set, as servers of version 4 take it."""

    pid: str
    relationship: str


class RelationshipV5(Body):
    """A related item, as servers of version 5 take it."""

    identifier: str
    identifierType: str | None = None
    relationship: str | None = None
    entityType: str | None = None
    externalId: str | None = None


class Ownable(Body):
    """Who may see it."""

    ownerGroup: str
    accessGroups: Texts | None = None
    instrumentGroup: str | None = None


class _Optional(Body):
    """What a data set need not have."""

    owner: str | None = None
    ownerEmail: Emails | None = None
    orcidOfOwner: str | None = None
    sourceFolderHost: str | None = None
    size: int | None = None
    packedSize: int | None = None
    numberOfFiles: int | None = None
    numberOfFilesArchived: int | None = None
    validationStatus: str | None = None
    keywords: Texts | None = None
    description: str | None = None
    classification: str | None = None
    license: str | None = None
    isPublished: bool | None = None
    techniques: list[Technique] | None = None
    sharedWith: Texts | None = None
    relationships: list[RelationshipV4 | RelationshipV5] | None = None
    datasetlifecycle: Lifecycle | None = None
    scientificMetadata: Table | None = None
    scientificMetadataSchema: str | None = None
    scientificMetadataValid: bool | None = None
    comment: str | None = None
    dataQualityMetrics: float | None = None
    principalInvestigators: Texts | None = None
    startTime: Date | None = None
    endTime: Date | None = None
    creationLocation: str | None = None
    dataFormat: str | None = None
    proposalIds: Texts | None = None
    sampleIds: Texts | None = None
    instrumentIds: Texts | None = None
    inputDatasets: Texts | None = None
    usedSoftware: Texts | None = None
    jobParameters: Table | None = None
    jobLogData: str | None = None
    runNumber: str | None = None


class NewDataset(_Optional, Ownable):
    """`POST /api/v4/datasets`. `owner` is not required here: without it the server fails later, with 500."""

    type: str
    pid: str | None = None
    contactEmail: Emails
    sourceFolder: Annotated[str, AfterValidator(_not_empty)]
    creationTime: Date
    datasetName: str


class DatasetChange(_Optional):
    """`PATCH /api/v4/datasets/{pid}`: any of the fields, but for pid and type."""

    ownerGroup: str | None = None
    accessGroups: Texts | None = None
    instrumentGroup: str | None = None
    contactEmail: Emails | None = None
    sourceFolder: str | None = None
    creationTime: Date | None = None
    datasetName: str | None = None


class DataFile(Body):
    """One file of a block."""

    path: str
    size: int | float
    time: Date
    chk: str | None = None
    uid: str | None = None
    gid: str | None = None
    perm: str | None = None
    type: str | None = None
    metadata: Annotated[Table, Field(max_length=0)] | None = None


class NewBlock(Body):
    """`POST /api/v3/origdatablocks`, and v4's."""

    datasetId: str
    size: int | float
    dataFileList: Annotated[list[DataFile], Field(min_length=1)]
    chkAlg: str | None = None
    ownerGroup: str | None = None
    accessGroups: Texts | None = None
    instrumentGroup: str | None = None
    isPublished: bool | None = None


class NewAttachment(Ownable):
    """`POST /api/v3/datasets/{pid}/attachments`."""

    caption: str
    thumbnail: str | None = None
    id: str | None = None
    datasetId: str | None = None
    proposalId: str | None = None
    sampleId: str | None = None


class NewJob(Body):
    """`POST /api/v4/jobs`."""

    type: str
    jobParams: Table
    ownerUser: str | None = None
    ownerGroup: str | None = None
    contactEmail: Emails | None = None


class Credentials(Body):
    """`POST /api/v3/auth/login`."""

    username: str
    password: str


Model = TypeVar("Model", bound=Body)


def read(model: type[Model], body: object) -> Model:
    """Take a body, or say all that is wrong with it.

    Raises
    ------
    Refusal
        400, with a line for each field.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Refusal(400, [_line(part["loc"], part["type"], part["msg"]) for part in error.errors()]) from None


def _line(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return f"property {name} should not exist"
    return f"{name}: {message.removeprefix('Value error, ').removeprefix('Input ')}"
