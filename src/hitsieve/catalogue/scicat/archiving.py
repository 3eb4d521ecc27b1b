"""Asks for a dataset to be archived, once."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from hitsieve.catalogue.scicat import lookup
from hitsieve.catalogue.scicat.answers import NotPermitted, Refused
from hitsieve.catalogue.scicat.bodies import archive_job
from hitsieve.catalogue.scicat.client import SciCat
from hitsieve.catalogue.scicat.facts import Facts
from hitsieve.catalogue.scicat.plan import Did

UNREAD = "let the account read it, by a group in --access-groups that it is in"
_ON_TAPE = ("datasetonarchivedisk", "datasetontape", "datasetonarchivetape")


def ask_to_archive(client: SciCat, pid: str, facts: Facts, warn: Callable[[str], None]) -> Did:
    """Make the job that archives a dataset, unless there is one, or it is archived; that it cannot be is a warning.

    Raises
    ------
    Unavailable
        The server does not answer.
    Refused
        It takes no such job, whatever the state of the dataset.
    """
    try:
        found = lookup.dataset(client, pid) or {}
        job = lookup.archive_job(client, pid)
    except NotPermitted:
        warn(f"{pid}: the account may not see whether it is archived: no job was made ({UNREAD})")
        return "left alone"
    cycle = found.get("datasetlifecycle") or {}
    status = str(cycle.get("archiveStatusMessage", "")).lower()
    if job is not None or cycle.get("retrievable") or status in _ON_TAPE:
        return "there"
    if cycle.get("archivable") is False:
        warn(f"{pid}: cannot be archived, SciCat says: {cycle.get('archiveStatusMessage') or 'not archivable'}")
        return "left alone"
    try:
        client.post("/api/v4/jobs", archive_job(pid, facts), landed=lambda: lookup.archive_job(client, pid))
    except Refused as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
        if not _is_unfit(client, pid, error):
            mend = "the datasets are there; see what jobs this SciCat takes, or leave out --archive"
            raise Refused(error.what, status=error.status, mend=mend) from None
        # It may have become so since it was looked at; everything else is there.
        warn(f"{pid}: cannot be archived, SciCat says: {error.what}")
        return "left alone"
    return "created"


def _is_unfit(client: SciCat, pid: str, error: Refused) -> bool:
    """Whether it is for the state of the dataset that a job is refused: the server says so, or it is seen."""
    if "archivable" in error.what:
        return True
    found = lookup.dataset(client, pid) or {}
    return (found.get("datasetlifecycle") or {}).get("archivable") is False
