"""What is in SciCat already: looked for before anything is sent, and after a request that had no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hitsieve.catalogue.scicat.address import NO_SCICAT, quoted
from hitsieve.catalogue.scicat.answers import Refused
from hitsieve.catalogue.scicat.bodies import MARK, RUN, SOURCE, Body
from hitsieve.catalogue.scicat.client import SciCat

MOST = 1000
"""Most datasets that are looked through."""
_FAILED = ("failed", "error", "cancel")


def dataset(client: SciCat, pid: str) -> Body | None:
    """A dataset; None where there is none.

    Raises
    ------
    NotPermitted
        The account may not read it.
    """
    try:
        found = client.get(f"/api/v4/datasets/{quoted(pid)}")
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return found if isinstance(found, dict) else None


def raw_datasets(client: SciCat, folder: str) -> list[Body]:
    """Raw datasets of a folder that the account may read."""
    return _datasets(client, {"type": "raw", "sourceFolder": folder})


def raw_datasets_of(client: SciCat, run: str) -> list[Body]:
    """Raw datasets that carry the facts of a run, wherever their files are."""
    return _datasets(client, {"type": "raw", f"scientificMetadata.{RUN}.value": run})


def derived_datasets(client: SciCat, run: str) -> list[Body]:
    """Datasets with the hits of a run, the oldest first."""
    found = _datasets(client, {"type": "derived", f"scientificMetadata.{RUN}.value": run})
    return sorted(found, key=lambda one: str(one.get("createdAt", "")))


def files_of(client: SciCat, pid: str) -> list[tuple[str, int]]:
    """Path and size of each file of a dataset, as often as it is listed."""
    blocks = blocks_of(client, pid)
    return [(str(file["path"]), int(file["size"])) for block in blocks for file in block.get("dataFileList") or []]


def blocks_of(client: SciCat, pid: str) -> list[Body]:
    """Blocks of files of a dataset, as they were registered."""
    return listed(client, f"/api/v3/datasets/{quoted(pid)}/origdatablocks")


def captions_of(client: SciCat, pid: str) -> list[str]:
    """Captions of the pictures of a dataset."""
    return [str(one.get("caption", "")) for one in listed(client, f"/api/v3/datasets/{quoted(pid)}/attachments")]


def archive_job(client: SciCat, pid: str) -> Body | None:
    """A job that archives a dataset, and has not failed; None where there is none."""
    where = {"type": "archive", "jobParams.datasetList.pid": pid}
    for job in listed(client, "/api/v4/jobs", {"filter": {"where": where}}):
        named = (job.get("jobParams") or {}).get("datasetList") or []
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


def _datasets(client: SciCat, where: Mapping[str, Any]) -> list[Body]:
    found = listed(client, "/api/v4/datasets", {"filter": {"where": where, "limits": {"limit": MOST}}})
    return [one for one in found if one.get("pid")]


def listed(client: SciCat, path: str, params: Mapping[str, Any] | None = None) -> list[Body]:
    """What a path lists.

    Raises
    ------
    Refused
        The server refuses, or answers with something else than a list.
    """
    found = client.get(path, params)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Refused(f"{client.url}: answers GET {path}, but not as SciCat does", status=200, mend=NO_SCICAT)
    return found
