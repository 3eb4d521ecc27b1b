"""Whether SciCat says that files are in the archive: on tape, or on the disk in front of it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from hitsieve.catalogue.scicat import lookup
from hitsieve.catalogue.scicat.address import quoted
from hitsieve.catalogue.scicat.answers import Refused
from hitsieve.catalogue.scicat.bodies import Body
from hitsieve.catalogue.scicat.client import SciCat

ARCHIVED = ("datasetOnArchiveDisk", "datasetOnTape")
"""What `archiveStatusMessage` is, once an archive job has ended well."""
_SLACK = 2.0
"""Seconds by which times of files may differ: some file systems round them."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it is here."""

    path: str
    """Absolute."""
    size: int
    modified: float
    """s since 1970."""


@dataclass(frozen=True, slots=True)
class InArchive:
    """What SciCat says of a dataset and of files that should be in it."""

    pid: str
    server: str
    lifecycle: Mapping[str, Any]
    n_files: int
    """Files that the dataset lists."""
    n_packages: int
    """Packages that the archive made of it; 0 where it lists none."""
    reasons: tuple[str, ...]
    """Why the files are not known to be there; none where they are."""


def in_archive(client: SciCat, folder: str, files: Sequence[LocalFile], pid: str | None = None) -> InArchive:
    """Ask whether the raw dataset of a folder is archived, with each of some files as it is here.

    Parameters
    ----------
    client : SciCat
    folder : str
        Absolute; that of the source.
    files : sequence of LocalFile
    pid : str, optional
        The dataset, where it cannot be found by its folder.

    Raises
    ------
    ServerError
        The server does not answer or refuses, or has no such dataset, or several.
    """
    found = _dataset(client, folder, pid)
    name, top = str(found["pid"]), str(found.get("sourceFolder") or "")
    cycle = found.get("datasetlifecycle") or {}
    listed = lookup.blocks_of(client, name)
    packages = _packages(client, name)
    reasons = [*_not_archived(cycle), *_not_listed(files, _by_path(listed, top), f"not among the files of {name}")]
    if packages:
        reasons += _not_listed(files, _by_path(packages, top), f"not in the packages that the archive made of {name}")
    n = sum(len(block.get("dataFileList") or []) for block in listed)
    return InArchive(name, client.url, dict(cycle), n, len(packages), tuple(reasons))


def _dataset(client: SciCat, folder: str, pid: str | None) -> Mapping[str, Any]:
    if pid is not None:
        found = lookup.dataset(client, pid)
        if found is None:
            raise Refused(f"{client.url}: has no dataset {pid}", status=404, mend="mend --raw")
        return found
    every = lookup.raw_datasets(client, folder)
    if len(every) != 1:
        which = f"{len(every)} raw datasets" if every else "no raw dataset that this account may read"
        raise Refused(f"{client.url}: has {which} of {folder}", status=404, mend="name it with --raw")
    return every[0]


def _not_archived(cycle: Mapping[str, Any]) -> Iterator[str]:
    """What of the life cycle speaks against it."""
    message = str(cycle.get("archiveStatusMessage") or "")
    if message not in ARCHIVED:
        yield f"the dataset is not archived: its archiveStatusMessage is {message or 'empty'}"
    for name, wanted in (("archivable", False), ("retrievable", True)):
        if cycle.get(name) is not wanted:
            yield f"the dataset is not archived: {name} is {cycle.get(name)}, not {wanted}"


def _not_listed(files: Sequence[LocalFile], listed: Mapping[str, list[Mapping[str, Any]]], where: str) -> Iterator[str]:
    """Files that are not listed once, with the size that they have here, and not changed since."""
    for file in files:
        entries = listed.get(file.path, [])
        if not entries:
            yield f"{file.path}: is {where}"
        elif len(entries) > 1:
            yield f"{file.path}: is listed {len(entries)} times"
        elif int(entries[0].get("size") or -1) != file.size:
            yield f"{file.path}: has {file.size:,} bytes, in SciCat {entries[0].get('size')}"
        elif (then := _seconds(entries[0].get("time"))) is not None and file.modified > then + _SLACK:
            yield f"{file.path}: has changed since it was registered ({entries[0].get('time')})"


def _packages(client: SciCat, pid: str) -> list[Body]:
    """What the archive made of the dataset; nothing where the server does not say it."""
    try:
        return lookup.listed(client, f"/api/v3/datasets/{quoted(pid)}/datablocks")
    except Refused as error:
        if error.status == 404:
            return []
        raise


def _by_path(blocks: Sequence[Mapping[str, Any]], top: str) -> dict[str, list[Mapping[str, Any]]]:
    """Files of blocks by absolute path."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for block in blocks:
        for file in block.get("dataFileList") or []:
            path = posixpath.normpath(posixpath.join(top, str(file.get("path", ""))))
            found.setdefault(path, []).append(file)
    return found


def _seconds(text: object) -> float | None:
    try:
        then = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=timezone.utc)).timestamp()
