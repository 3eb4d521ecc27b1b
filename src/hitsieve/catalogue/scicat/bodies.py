"""What is sent to SciCat, made from a record, facts and files: pure, so that it can be shown before it is sent.

Keys of scientificMetadata are flat, and each value has a unit and a name for people: the search finds nothing else.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from hitsieve.catalogue.record import Record, homes
from hitsieve.catalogue.scicat.facility import Limits
from hitsieve.catalogue.scicat.facts import PANET, TECHNIQUES, Facts
from hitsieve.errors import SettingsError

Body = dict[str, Any]
MARK = "hitsieve"
"""Keyword of each dataset that hitsieve made."""
RUN = "hitsieve_id"
"""Key of the run whose facts a dataset carries."""
SOURCE = "source_file"
"""Key of the file that was sieved, in the folder of a raw dataset."""
MEASURED = (
    *("sample_name", "sample_id", "facility", "n_files"),
    *("detector", "distance", "wavelength", "photon_energy", "source_bytes"),
)
"""Fields of the measurement, which others may have told of a raw dataset before."""
_OF_OUTPUTS = ("hit_bytes", "miss_bytes", "n_audit", "hits_digest", "seconds")
"""Fields that say nothing of raw data."""
_MOST_BYTES = 12_000_000
"""Of the body of a block; the server takes 16 MB, and answers more with a fault."""
_PIDS = uuid.UUID("6f1b6d34-5a0c-5c35-9f0d-1c9e3b3a7d52")
"""Namespace of the identifiers that are made from a run."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a dataset."""

    path: str
    """In the folder of the dataset."""
    size: int
    time: str
    """When it was last changed (UTC, ISO 8601)."""
    chk: str | None = None
    """SHA-256, hexadecimal; None where it was not computed."""

    def body(self) -> Body:
        """As SciCat has it."""
        known = {"path": self.path, "size": self.size, "time": self.time, "chk": self.chk}
        return {name: value for name, value in known.items() if value is not None}


def scientific(record: Record, *, raw: bool) -> dict[str, Body]:
    """Flat scientificMetadata of the record of a run; what is not known has no key.

    Parameters
    ----------
    record : Record
    raw : bool
        For the raw data: without what is true of the outputs only.
    """
    found: dict[str, Body] = {}
    for home in homes():
        value, key = getattr(record, home.field), home.scicat if raw else home.key
        if value is None or value == () or not key or key.startswith("/") or (raw and home.field in _OF_OUTPUTS):
            continue
        found[key] = _quantity(_plain(value, home.field), home.about.unit, home.about.human)
    rates = (
        ("hit_rate", "Hit rate"),
        ("hit_rate_low", "Hit rate, lower limit"),
        ("hit_rate_high", "Hit rate, upper limit"),
        ("indexing_rate", "Indexing rate"),
        ("n_images", "Images"),
        ("n_hits", "Hits"),
    )
    for state in record.pump_states:
        end = re.sub(r"[^A-Za-z0-9_-]+", "_", state.name)
        for name, human in rates:
            if (value := getattr(state, name)) is not None:
                found.setdefault(f"{name}_{end}", _quantity(value, "", f"{human}, {state.name}"))
    return found


def raw_body(
    record: Record, facts: Facts, folder: str, files: Sequence[DataFile], lifecycle: Mapping[str, Any]
) -> Body:
    """The raw dataset of a run, where it is not in SciCat yet."""
    newest = max((file.time for file in files), default=record.date.isoformat())
    return _known(
        _common(record, facts)
        | {
            "type": "raw",
            "datasetName": _name(record, facts),
            "sourceFolder": folder,
            "creationTime": _time(record.end_time) or _time(record.start_time) or newest,
            "startTime": _time(record.start_time),
            "endTime": _time(record.end_time),
            "description": facts.description,
            "datasetlifecycle": dict(lifecycle),
            "scientificMetadata": raw_metadata(record, facts, folder),
        }
    )


def raw_metadata(record: Record, facts: Facts, folder: str) -> dict[str, Body]:
    """scientificMetadata of the raw dataset."""
    return scientific(record, raw=True) | _sample(facts) | {SOURCE: source_file(record, folder)}


def source_file(record: Record, folder: str) -> Body:
    """What tells the runs of one folder apart."""
    return _quantity(record.source_path.removeprefix(folder).lstrip("/"), "", "Source file")


def derived_body(record: Record, facts: Facts, folder: str, raw_pid: str | None) -> Body:
    """The dataset with the hits only."""
    name = _name(record, facts)
    return _known(
        _common(record, facts)
        | {
            "type": "derived",
            "datasetName": f"{name}: hits" if record.verdict_on is None else f"{name}: hits, another verdict",
            "sourceFolder": folder,
            "creationTime": _utc(record.date),
            "description": facts.description,
            "dataFormat": "NXmx",
            "inputDatasets": [raw_pid] if raw_pid else [],
            "usedSoftware": [f"{record.program} {record.version}"],
            "jobParameters": {"settings": record.settings, "overrides": record.overrides},
            "scientificMetadata": scientific(record, raw=False) | _sample(facts) | _title(facts),
        }
    )


def own_pid(prefix: str, kind: str, what: str) -> str:
    """An identifier that is always the same for one dataset: it cannot be made twice."""
    return f"{prefix.rstrip('/')}/{uuid.uuid5(_PIDS, f'{kind} {what}')}"


def blocks(pid: str, files: Iterable[DataFile], facts: Facts, limits: Limits) -> list[Body]:
    """The files of a dataset in blocks that the server takes; always the same ones for the same files.

    Raises
    ------
    SettingsError
        There are more files than a dataset may have.
    """
    ordered = sorted(files, key=lambda file: file.path)
    if len(ordered) > limits.dataset_files:
        what = f"{pid}: has {len(ordered):,} files, a dataset may have {limits.dataset_files:,}"
        raise SettingsError(what, mend="pack the images into fewer files, or choose another --facility")
    return [_block(pid, part, facts) for part in _parts(ordered, limits)]


def attachment(caption: str, png: bytes, facts: Facts) -> Body:
    """A picture of a dataset."""
    text = base64.b64encode(png).decode("ascii")
    return {
        "thumbnail": f"data:image/png;base64,{text}",
        "caption": caption,
        "ownerGroup": facts.owner_group,
        "accessGroups": list(facts.access_groups),
    }


def archive_job(pid: str, facts: Facts) -> Body:
    """The job that brings a dataset to tape."""
    return {
        "type": "archive",
        "jobParams": {"datasetList": [{"pid": pid, "files": []}]},
        "ownerGroup": facts.owner_group,
        "contactEmail": facts.contact_email,
    }


def _parts(files: Sequence[DataFile], limits: Limits) -> Iterator[list[DataFile]]:
    part: list[DataFile] = []
    size = body = 0
    for file in files:
        length = len(json.dumps(file.body())) + 2
        full = len(part) >= limits.block_files or size + file.size > limits.block_bytes or body + length > _MOST_BYTES
        if part and full:
            yield part
            part, size, body = [], 0, 0
        part.append(file)
        size, body = size + file.size, body + length
    if part:
        yield part


def _block(pid: str, files: Sequence[DataFile], facts: Facts) -> Body:
    body: Body = {
        "datasetId": pid,
        "size": sum(file.size for file in files),
        "ownerGroup": facts.owner_group,
        "accessGroups": list(facts.access_groups),
        "dataFileList": [file.body() for file in files],
    }
    return body | ({"chkAlg": "sha256"} if any(file.chk for file in files) else {})


def _common(record: Record, facts: Facts) -> Body:
    """What raw and derived datasets have alike."""
    return {
        "owner": facts.owner,
        "ownerEmail": facts.owner_email or (facts.pi_email if facts.owner == facts.pi else None),
        "ownerGroup": facts.owner_group,
        "accessGroups": list(facts.access_groups),
        "contactEmail": facts.contact_email,
        "principalInvestigators": [facts.pi] if facts.pi else [],
        "creationLocation": facts.creation_location,
        "proposalIds": [facts.proposal] if facts.proposal else [],
        "sampleIds": [facts.sample_id] if facts.sample_id else [],
        "instrumentIds": [facts.instrument_id] if facts.instrument_id else [],
        "license": facts.license,
        "keywords": list(dict.fromkeys((MARK, *facts.keywords))),
        "techniques": [{"pid": PANET + TECHNIQUES[word][0], "name": TECHNIQUES[word][1]} for word in facts.techniques],
        "runNumber": record.stem,
    }


def _sample(facts: Facts) -> dict[str, Body]:
    told = {"sample_name": (facts.sample_name, "Sample"), "sample_id": (facts.sample_id, "Sample id")}
    return {key: _quantity(value, "", human) for key, (value, human) in told.items() if value}


def _title(facts: Facts) -> dict[str, Body]:
    return {"title": _quantity(facts.title, "", "Title")} if facts.title else {}


def _name(record: Record, facts: Facts) -> str:
    return facts.title or record.title or record.stem


def _quantity(value: Any, unit: str, human: str) -> Body:
    return {"value": value, "unit": unit, "human_name": human}


def joint(field: str) -> str:
    """What stands between the words of a list; sentences are on lines of their own, for they have commas."""
    return "\n" if field == "problems" else ", "


def _plain(value: Any, field: str) -> Any:
    if isinstance(value, datetime):
        return _utc(value)
    return joint(field).join(map(str, value)) if isinstance(value, tuple) else value


def _utc(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str | None) -> str | None:
    """A time as the source states it, where SciCat can read it."""
    try:
        datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return text


def _known(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None and value not in ([], {})}
