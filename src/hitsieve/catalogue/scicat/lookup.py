"""What is in SciCat already: looked for before anything is sent, and after a request that had no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hitsieve.catalogue.scicat.address import quoted
from hitsieve.catalogue.scicat.bodies import MARK, RUN, SOURCE, Body
from hitsieve.catalogue.scicat.client import Refused, SciCat

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
    found = client.get(f"/api/v3/datasets/{quoted(pid)}/origdatablocks")
    blocks = [block for block in found or [] if isinstance(block, dict)]
    return [(str(file["path"]), int(file["size"])) for block in blocks for file in block.get("dataFileList") or []]


def captions_of(client: SciCat, pid: str) -> list[str]:
    """Captions of the pictures of a dataset."""
    found = client.get(f"/api/v3/datasets/{quoted(pid)}/attachments")
    return [str(one.get("caption", "")) for one in found or [] if isinstance(one, dict)]


def archive_job(client: SciCat, pid: str) -> Body | None:
    """A job that archives a dataset, and has not failed; None where there is none."""
    where = {"type": "archive", "jobParams.datasetList.pid": pid}
    found = client.get("/api/v4/jobs", {"filter": {"where": where}})
    for job in found or []:
        listed = (job.get("jobParams") or {}).get("datasetList") or []
        status = str(job.get("statusCode") or job.get("statusMessage") or "").lower()
        if any(one.get("pid") == pid for one in listed) and not any(word in status for word in _FAILED):
            return dict(job)
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
    found = client.get("/api/v4/datasets", {"filter": {"where": where, "limits": {"limit": MOST}}})
    return [one for one in found or [] if isinstance(one, dict) and one.get("pid")]
