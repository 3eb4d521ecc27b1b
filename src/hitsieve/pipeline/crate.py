"""Packs the hit-only set of a finished run as an RO-Crate, with its DataCite record, to be published or archived."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hitsieve.catalogue import (
    ADDED,
    DATACITE_FILE,
    MANIFEST,
    METADATA,
    PREVIEW,
    CrateFile,
    Publication,
    Published,
    Record,
    crate_metadata,
    datacite,
    find_facts,
    join,
    manifest_line,
    preview,
    read_publication,
    require_rocrate,
)
from hitsieve.catalogue.scicat import read_facts
from hitsieve.errors import SettingsError, SourceError, VerificationError
from hitsieve.model import Problem
from hitsieve.pipeline.record import record_of, with_facts
from hitsieve.write import Packed, PackRequest, StoredResults, open_results, packing, pump_state_of, verify_hits

Step = Callable[[int, int], None]
_HDF5 = "application/x-hdf5"
_KINDS = {
    "_hits.h5": ("Hits, self-contained NXmx", _HDF5),
    "_images.parquet": ("Table of all images of the run", "application/vnd.apache.parquet"),
    "_summary.json": ("Numbers of the run", "application/json"),
}
"""By the end of a file's name: what it is, and its media type."""
_SHARED = ("title", "description", "license", "keywords")
"""Facts that are the same in SciCat."""
_MEGA = 10**6


@dataclass(frozen=True, slots=True)
class CrateRequest:
    """What a crate says, and where it goes."""

    publication: Publication
    output: Path | None = None
    """Folder, or zip archive (*.zip); None: <stem>_crate beside the results."""
    overwrite: bool = False
    facts: Path | None = None
    """File of facts, which says what the publication does not; None: that beside the results or the source, if any."""


@dataclass(frozen=True, slots=True)
class CrateReport:
    """What was packed."""

    path: Path
    files: tuple[Packed, ...]
    n_hits: int
    n_proven: int
    """Stored images that agree with their recorded SHA-256."""
    problems: tuple[Problem, ...]


def pack_crate(results: str | Path, request: CrateRequest, progress: Step | None = None) -> CrateReport:
    """Pack the hits of a finished run, its table and its summary; every stored image is proven before.

    Parameters
    ----------
    results : str or Path
        An output of `hitsieve run`, or a folder that holds those of one run.
    request : CrateRequest
    progress : callable, optional
        Called with the number of megabytes done and their total.

    Returns
    -------
    CrateReport

    Raises
    ------
    SettingsError
        The publication lacks what it must say, or the package rocrate is absent.
    SourceError
        The results cannot be opened, are not of one run, or hold no hits.
    VerificationError
        A stored image does not agree with its SHA-256; then nothing is written.
    OutputError
        The crate exists, or cannot be written; then nothing is left.
    """
    require_rocrate()
    with open_results(results) as stored:
        paths = _files(stored)
        publication, record = _told(request, record_of(stored.outputs, stored.summary))
        _check_said(publication, record)
        folder, stem = stored.outputs.summary.parent, stored.summary.source.stem
        inputs = (*stored.outputs, *stored.source_paths, *stored.source_files)
    target = request.output or folder / f"{stem}_crate"
    done = _Progress(progress, 2 * sum(path.stat().st_size for path in paths))
    pack_request = PackRequest(target, tuple(paths), ADDED, record.date, request.overwrite)
    with packing(pack_request, inputs) as pack:
        n_proven = sum(_prove(path, done) for path in paths)
        files = tuple(_described(pack.copy(path, done.add), state) for path, state in paths.items())
        day = publication.published or datetime.now(timezone.utc).date()
        published = Published(record, publication, files, day.isoformat())
        packed = pack.add(DATACITE_FILE, _json(datacite(published)))
        about = CrateFile(packed.name, "DataCite record", "application/json", packed.size, packed.sha256)
        pack.add(PREVIEW, preview(published, about).encode())
        pack.add(METADATA, _json(crate_metadata(published, about)))
        pack.add(MANIFEST, "".join(manifest_line(file.sha256, file.name) for file in pack.files).encode())
    return CrateReport(target, tuple(pack.files), record.n_hits, n_proven, tuple(_doubts(publication, target)))


def _files(stored: StoredResults) -> dict[Path, str | None]:
    """Files of the crate: those of the hits, each with its pump state, the table and the summary; all of one run."""
    outputs, where = stored.outputs, stored.outputs.summary
    if stored.pump_state is not None:
        what = f"{stored.hits_file}: holds the hits of one pump state, a crate those of the whole run"
        raise SourceError(what, mend=f"name {where}")
    if not len(stored.hits):
        mend = "give it other rules with hitsieve rethink, or search again with hitsieve run"
        raise SourceError(f"{where}: nothing to export: the run has no hits", mend=mend)
    states: dict[Path, str | None] = {}
    for path in (outputs.hits, *outputs.pump_hits, outputs.images, outputs.summary):
        if not path.is_file():
            raise SourceError(f"{path}: is absent", mend="keep the outputs of a run together; a crate holds them all")
        states[path] = pump_state_of(path, outputs, stored.summary)
    return states


def _told(request: CrateRequest, record: Record) -> tuple[Publication, Record]:
    """What is known for a publication, and the record: what the user says first, then the file of facts."""
    path = request.facts or find_facts(record.stem, (Path(record.place).parent, Path(record.source_path).parent))
    if path is None:
        return request.publication, record
    facts = read_facts(path)
    shared = {name: value for name in _SHARED if (value := getattr(facts, name))}
    flags = request.publication
    return join(flags, read_publication(path, shared, flags)), with_facts(record, facts)


def _check_said(publication: Publication, record: Record) -> None:
    """Raise SettingsError where what must be said is not, naming all of it."""
    needed = {
        "a title (--title)": publication.title or record.title,
        "its creators (--creator)": publication.creators,
        "a licence (--license)": publication.license,
        "a publisher (--publisher)": publication.publisher,
    }
    lacking = [name for name, value in needed.items() if not value]
    if lacking:
        *most, last = lacking
        named = f"{', '.join(most)} and {last}" if most else last
        mend = "give these flags, or a TOML file that says them, with --facts"
        raise SettingsError(f"{record.place}: to be published the run lacks {named}", mend=mend)


def _prove(path: Path, done: _Progress) -> int:
    """Number of stored images that agree with their hashes; all of them do, of a file that has any."""
    n = 0
    if path.suffix == ".h5":
        report = verify_hits(path)
        if not report.ok:
            first = report.failures[0]
            what = f"{path}: {len(report.failures):,} of {report.n:,} images are damaged, first {first.group} row "
            mend = "copy the file again, or write it again with hitsieve run; hitsieve verify lists them"
            raise VerificationError(f"{what}{first.row}: {first.reason}", mend=mend)
        n = report.n
    done.add(path.stat().st_size)
    return n


def _described(packed: Packed, state: str | None) -> CrateFile:
    what, media_type = next(about for end, about in _KINDS.items() if packed.name.endswith(end))
    if state is not None:
        what = f"{what}: those of pump state {state}"
    return CrateFile(packed.name, what, media_type, packed.size, packed.sha256, nxmx=media_type == _HDF5)


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _doubts(publication: Publication, target: Path) -> Iterator[Problem]:
    """What makes the crate harder to find than it need be."""
    without = [creator.name for creator in publication.creators if creator.orcid is None]
    if without:
        what = f"no ORCID iD is known of {'; '.join(without)}"
        yield Problem(str(target), what, "give --creator 'Family, Given <ORCID iD>'")
    if publication.raw is None:
        yield Problem(str(target), "nothing says where the raw data are found", "give their DOI or handle with --raw")


class _Progress:
    """Counts bytes, and tells megabytes."""

    def __init__(self, tell: Step | None, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def add(self, n: int) -> None:
        """Count bytes."""
        self._done += n
        if self._tell is not None:
            self._tell(self._done // _MEGA, self._total // _MEGA)
