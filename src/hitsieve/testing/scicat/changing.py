"""How a data set is made from a body, changed by one, and shown."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from hitsieve.testing.scicat.bodies import NewDataset
from hitsieve.testing.scicat.quantities import with_si
from hitsieve.testing.scicat.refusal import Refusal
from hitsieve.testing.scicat.store import Document, Version, in_utc

_TIMES = ("creationTime", "startTime", "endTime")
_EMPTY: Document = {
    "accessGroups": [],
    "size": 0,
    "packedSize": 0,
    "numberOfFiles": 0,
    "numberOfFilesArchived": 0,
    "isPublished": False,
    "keywords": [],
    "techniques": [],
    "sharedWith": [],
    "relationships": [],
    "scientificMetadata": {},
}
"""What the server puts where nothing is said."""
_LIFECYCLE: Document = {
    "archivable": True,
    "retrievable": False,
    "publishable": False,
    "isOnCentralDisk": True,
    "archiveStatusMessage": "datasetCreated",
    "retrieveStatusMessage": "",
    "archiveReturnMessage": {},
    "retrieveReturnMessage": {},
    "retrieveIntegrityCheck": False,
}
_ONE_OF_MANY = {
    "proposalIds": "proposalId",
    "sampleIds": "sampleId",
    "instrumentIds": "instrumentId",
    "principalInvestigators": "principalInvestigator",
}
"""Version 3 has the first of each list under a name of its own."""


def new_dataset(given: NewDataset) -> Document:
    """The document of a data set, with all that the server adds."""
    document = _EMPTY | _tidied(given.model_dump(exclude_none=True))
    return document | {"datasetlifecycle": with_lifecycle(document.get("datasetlifecycle") or {})}


def with_lifecycle(given: Document) -> Document:
    """A life cycle with the defaults in place of what is absent or null."""
    return _LIFECYCLE | {name: value for name, value in given.items() if value is not None}


def change(dataset: Document, body: Document, *, merge: bool) -> Document:
    """What a PATCH makes of the fields of a data set.

    Parameters
    ----------
    dataset : dict
        As it is; not changed.
    body : dict
    merge : bool
        It is a merge patch (RFC 7386): tables are merged, null resets. Else each field is replaced whole, and null
        changes nothing.

    Raises
    ------
    Refusal
        400: a quantity would lose its value or its unit.
    """
    halves = _halves(body, dataset, ())
    if halves:
        names = ", ".join(halves)
        raise Refusal(
            400,
            f"Original dataset {dataset['pid']} contains both value and unit in {names}. "
            "Please provide both when updating.",
        )
    if not merge:
        return _tidied({name: value for name, value in body.items() if value is not None})
    tidied = _tidied(body)
    changed = {name: _merged(dataset.get(name), value) for name, value in tidied.items()}
    return {name: _EMPTY.get(name) if value is None else value for name, value in changed.items()}


def check_unmodified(dataset: Document, since: str | None, version: Version) -> None:
    """See that a data set is as old as the client thinks; a time that is no time is passed over.

    The header has whole seconds, the data set milliseconds. Version 4 refuses the very time of the change, too.

    Raises
    ------
    Refusal
        412: it was changed later.
    """
    moment = _moment(since)
    if moment is None:
        return
    updated = datetime.fromisoformat(dataset["updatedAt"].replace("Z", "+00:00"))
    if updated > moment or (version == "v4" and updated == moment):
        raise Refusal(412, "Update error due to failed if-modified-since condition")


def shown(document: Document, *, api: int = 4) -> Document:
    """A document as an answer has it."""
    answer = {name: value for name, value in document.items() if name != "_order"}
    if api == 3:
        answer |= {one: answer[many][0] for many, one in _ONE_OF_MANY.items() if answer.get(many)}
    return answer


def _tidied(fields: Document) -> Document:
    """Times in UTC, no slash at the end of folders, SI units beside the others."""
    tidied = dict(fields)
    for name in _TIMES:
        if tidied.get(name) is not None:
            tidied[name] = in_utc(tidied[name])
    if tidied.get("sourceFolder"):
        tidied["sourceFolder"] = tidied["sourceFolder"].rstrip("/") or "/"
    if tidied.get("scientificMetadata") is not None:
        tidied["scientificMetadata"] = with_si(tidied["scientificMetadata"])
    return tidied


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _halves(body: Document, dataset: Any, path: tuple[str, ...]) -> list[str]:
    """Places where a quantity has value and unit, and the body gives only one of them."""
    found = []
    for name, value in body.items():
        if not isinstance(value, dict):
            continue
        there = dataset.get(name) if isinstance(dataset, dict) else None
        whole = isinstance(there, dict) and there.get("value") is not None and there.get("unit") is not None
        given = [part for part in ("value", "unit") if value.get(part) is not None]
        if whole and len(given) == 1:
            found.append(".".join((*path, name)))
        found += _halves(value, there, (*path, name))
    return found


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    for reader in (parsedate_to_datetime, lambda given: datetime.fromisoformat(given.replace("Z", "+00:00"))):
        try:
            moment = reader(text)
        except ValueError:
            continue
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return None
