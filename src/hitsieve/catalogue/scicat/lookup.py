"""What is in SciCat already: looked for before anything is sent, and after a request that had no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from hitsieve.catalogue.scicat.address import NO_SCICAT, quoted
from hitsieve.catalogue.scicat.answers import Refused
from hitsieve.catalogue.scicat.bodies import MARK, RUN, SOURCE, Body
from hitsieve.catalogue.scicat.client import SciCat

MOST = 1000
"""Most datasets that are looked through."""
_FAILED = ("failed", "error", "cancel")


def _time(text: str) -> str:
    datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text


class _Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(alias_generator=to_camel)


class _Dataset(_Answer):
    """What is read of a dataset."""

    pid: str
    source_folder: str | None = None
    keywords: list[str] | None = None
    input_datasets: list[str] | None = None
    scientific_metadata: dict[str, Any] | None = None
    datasetlifecycle: dict[str, Any] | None = None
    updated_at: Annotated[str, AfterValidator(_time)] | None = None


class _File(_Answer):
    """What is read of a file."""

    path: str
    size: int


class _Block(_Answer):
    """What is read of a block of files."""

    data_file_list: list[_File] | None = None


def dataset(client: SciCat, pid: str) -> Body | None:
    """A dataset; None where there is none.

    Raises
    ------
    NotPermitted
        The account may not read it.
    """
    path = f"/api/v4/datasets/{quoted(pid)}"
    try:
        found = client.get(path)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    if found is None:
        return None
    _check(client, path, _Dataset, [found])
    if found["pid"] != pid:
        raise _unlike(client, path)
    return dict(found)


def raw_datasets(client: SciCat, folder: str) -> list[Body]:
    """Raw datasets of a folder that the account may read."""
    found = _datasets(client, "raw", {"sourceFolder": folder})
    return [one for one in found if (one.get("sourceFolder") or "").rstrip("/") == folder.rstrip("/")]


def raw_datasets_of(client: SciCat, run: str) -> list[Body]:
    """Raw datasets that carry the facts of a run, wherever their files are."""
    return _of_run(client, "raw", run)


def derived_datasets(client: SciCat, run: str) -> list[Body]:
    """Datasets with the hits of a run, the oldest first."""
    return sorted(_of_run(client, "derived", run), key=lambda one: str(one.get("createdAt", "")))


def files_of(client: SciCat, pid: str) -> list[tuple[str, int]]:
    """Path and size of each file of a dataset, as often as it is listed."""
    blocks = blocks_of(client, pid)
    return [(str(file["path"]), int(file["size"])) for block in blocks for file in block.get("dataFileList") or []]


def blocks_of(client: SciCat, pid: str) -> list[Body]:
    """Blocks of files of a dataset, as they were registered."""
    return checked_blocks(client, f"/api/v3/datasets/{quoted(pid)}/origdatablocks")


def checked_blocks(client: SciCat, path: str) -> list[Body]:
    """Blocks of files that a path lists."""
    found = listed(client, path)
    _check(client, path, _Block, found)
    return found


def captions_of(client: SciCat, pid: str) -> list[str]:
    """Captions of the pictures of a dataset."""
    return [str(one.get("caption", "")) for one in listed(client, f"/api/v3/datasets/{quoted(pid)}/attachments")]


def archive_job(client: SciCat, pid: str) -> Body | None:
    """A job that archives a dataset, and has not failed; None where there is none."""
    where = {"type": "archive", "jobParams.datasetList.pid": pid}
    for job in listed(client, "/api/v4/jobs", {"filter": {"where": where}}):
        given = job.get("jobParams")
        listed_there = given.get("datasetList") if isinstance(given, dict) else None
        named = [one for one in listed_there if isinstance(one, dict)] if isinstance(listed_there, list) else []
        status = str(job.get("statusCode") or job.get("statusMessage") or "").lower()
        if any(one.get("pid") == pid for one in named) and not any(word in status for word in _FAILED):
            return job
    return None


def value_of(found: Mapping[str, Any], key: str) -> Any:
    """Value of a key of scientificMetadata; None where there is none."""
    told = (found.get("scientificMetadata") or {}).get(key)
    return told.get("value") if isinstance(told, dict) else None


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether hitsieve made a dataset."""
    return MARK in (found.get("keywords") or ())


def of_source(found: Sequence[Body], file: str) -> list[Body]:
    """Those raw datasets that are of one source file."""
    return [one for one in found if value_of(one, SOURCE) == file]


def _of_run(client: SciCat, kind: str, run: str) -> list[Body]:
    found = _datasets(client, kind, {f"scientificMetadata.{RUN}.value": run})
    return [one for one in found if value_of(one, RUN) == run]


def _datasets(client: SciCat, kind: str, where: Mapping[str, Any]) -> list[Body]:
    """Datasets of a kind; one that was not asked for would be changed for another."""
    path = "/api/v4/datasets"
    found = listed(client, path, {"filter": {"where": {"type": kind, **where}, "limits": {"limit": MOST}}})
    _check(client, path, _Dataset, found)
    return [one for one in found if one.get("type") == kind]


def listed(client: SciCat, path: str, params: Mapping[str, Any] | None = None) -> list[Body]:
    """What a path lists.

    Raises
    ------
    Refused
        The server refuses, or answers with something else than a list.
    """
    found = client.get(path, params)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _unlike(client, path)
    return found


def _check(client: SciCat, path: str, model: type[_Answer], found: Sequence[Any]) -> None:
    """Refuse what has not the types that are read."""
    try:
        for one in found:
            model.model_validate(one)
    except ValidationError:
        raise _unlike(client, path) from None


def _unlike(client: SciCat, path: str) -> Refused:
    return Refused(f"{client.url}: answers GET {path}, but not as SciCat does", status=200, mend=NO_SCICAT)
