"""Makes the plan of what is to be in SciCat from the outputs of a run and the facts about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from hitsieve.catalogue import Record, find_facts
from hitsieve.catalogue.scicat import (
    DataFile,
    Errand,
    Facts,
    Files,
    Plan,
    all_facts,
    facts_of_texts,
    read_facility,
)
from hitsieve.catalogue.scicat import read_facts as read_facts_file
from hitsieve.errors import HitsieveError, SourceError
from hitsieve.pipeline.glance import glance
from hitsieve.pipeline.record import file_sha256, record_of
from hitsieve.write import (
    SUMMARY_SUFFIX,
    Outputs,
    Responsible,
    Summary,
    find_outputs,
    open_results,
    read_summary,
    responsible,
)

Progress = Callable[[int, int], None]


def summary_of(path: Path) -> Path:
    """The summary of a run, from one of its outputs or the folder that holds those of one run; absolute.

    Raises
    ------
    SourceError
        There is none, or there are several.
    """
    if path.name.endswith(SUMMARY_SUFFIX) and path.is_file():
        return path.absolute()
    if path.is_dir():
        # A rethink without hits leaves no annotated master, and is a run for all that.
        found = sorted(path.glob(f"[!.]*{SUMMARY_SUFFIX}"))
        if len(found) == 1:
            return found[0].absolute()
    return find_outputs(path).summary.absolute()


def read_run(place: Path) -> tuple[Outputs, Summary, Record]:
    """Outputs, numbers and record of a run, from its summary.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    summary = read_summary(place)
    outputs = Outputs.of(place.parent, place.name.removesuffix(SUMMARY_SUFFIX))
    return outputs, summary, record_of(outputs, summary)


def facts_of(errand: Errand, record: Record) -> Facts:
    """All that is known for SciCat: from flags, the file of facts, the source and the facility, in this order.

    The source is what the run's own files carry of it: it may be on tape by now.

    Raises
    ------
    MetadataError
        Something that SciCat needs is lacking.
    SettingsError
        The file of facts is wrong.
    """
    folders = (Path(record.place).parent, Path(record.source_path).parent)
    path = Path(errand.facts_file) if errand.facts_file else find_facts(record.stem, folders)
    given = [errand.facts, *([read_facts_file(path)] if path is not None else [])]
    return all_facts(record, [*given, _said_by_source(record)], read_facility(errand.facility))


def _said_by_source(record: Record) -> Facts:
    """What the source sends along under the names of facts, and whom it names.

    Who is named alone and without a role is responsible for the data: their owner.
    """
    folders = (Path(place).parent for place in (record.place, record.verdict_on) if place)
    masters = (Outputs.of(folder, record.stem).annotated for folder in folders)
    told = next((responsible(master) for master in masters if master.is_file()), Responsible())
    person = next((one for one in told.people if one.is_investigator), None)
    role = "pi"
    if person is None and len(told.people) == 1 and told.people[0].role is None:
        person, role = told.people[0], "owner"
    named = {} if person is None else {role: person.name, f"{role}_email": person.email}
    return facts_of_texts({**{name: text for name, text in named.items() if text}, **told.sent})


def plan_of(errand: Errand, *, progress: Progress | None = None) -> tuple[Plan, list[str]]:
    """What is to be in SciCat for an errand.

    Parameters
    ----------
    errand : Errand
    progress : callable, optional
        Called with the number of bytes that were hashed and of all.

    Returns
    -------
    plan : Plan
    list of str
        What the user should know, one line each.

    Raises
    ------
    SourceError
        The outputs cannot be read, or are not those that the errand is of.
    MetadataError, SettingsError
        As for `facts_of`.
    """
    outputs, summary, record = read_run(Path(errand.place))
    if record.id != errand.run:
        what = f"{errand.place}: holds another run than the one that was to be sent"
        raise SourceError(what, mend="call hitsieve ingest on it again")
    facts = facts_of(errand, record)
    told: list[str] = []
    if not facts.techniques:
        told.append("no technique is known: give --beam or --techniques")
    # All misses are nearly the raw data, which have a dataset already.
    names = [file.name for file in record.files if file.kind != "misses"]
    paths = [outputs.summary.parent / name for name in names]
    derived = _files(outputs.summary.parent, paths)
    raw = _raw_files(outputs, summary)
    hash_all = {"none": (), "hits": (derived,), "all": (derived, raw)}[errand.checksums]
    hashed = dict(zip(map(id, hash_all), _with_checksums(hash_all, progress), strict=True))
    plan = Plan(
        record=record,
        facts=facts,
        facility=read_facility(errand.facility),
        raw=hashed.get(id(raw), raw),
        derived=hashed.get(id(derived), derived),
        picture=_picture(outputs, told) if errand.picture else None,
        raw_pid=errand.raw_pid,
        new_raw=errand.new_raw,
        archive=errand.archive,
        replace=errand.replace,
        ingestor=errand.ingestor,
    )
    return plan, told


def _picture(outputs: Outputs, told: list[str]) -> bytes | None:
    if not outputs.annotated.is_file() or not outputs.hits.is_file():
        return None
    try:
        with open_results(outputs.summary) as stored:
            return glance(stored)
    except HitsieveError as error:
        told.append(f"no picture: {error}")
        return None


def _raw_files(outputs: Outputs, summary: Summary) -> Files:
    """The files of the source: those that hold images, and those that the user named."""
    if not outputs.annotated.is_file() and summary.verdict_on is not None:
        before = Path(summary.verdict_on)
        outputs = Outputs.of(before.parent, before.name.removesuffix(SUMMARY_SUFFIX))
    folder = Path(summary.source.path).parent
    if not outputs.annotated.is_file():
        return Files(str(folder), (), f"{outputs.annotated}: is absent, so the files of the source are not known")
    with open_results(outputs.summary) as stored:
        named = {*stored.source_files, *stored.source_paths}
    paths = sorted(path for path in named if not path.is_dir())
    return _files(Path(os.path.commonpath([path.parent for path in paths])), paths)


def _files(folder: Path, paths: Iterable[Path]) -> Files:
    """What the file system says of files."""
    files, gone = [], []
    for path in paths:
        try:
            told = path.stat()
        except OSError:
            gone.append(path)
            continue
        changed = datetime.fromtimestamp(told.st_mtime, tz=timezone.utc).isoformat(timespec="milliseconds")
        name = str(path.relative_to(folder))
        files.append(DataFile(name, told.st_size, changed.replace("+00:00", "Z")))
    more = f", and {len(gone) - 1:,} more" if len(gone) > 1 else ""
    return Files(str(folder), tuple(files), f"{gone[0]}: cannot be found{more}" if gone else "")


def _with_checksums(parts: Iterable[Files], progress: Progress | None) -> list[Files]:
    parts = list(parts)
    total, done = sum(file.size for part in parts for file in part.files), 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, max(total, done))

    hashed = []
    for part in parts:
        files = []
        for file in part.files:
            path = Path(part.folder, file.path)
            try:
                digest = file_sha256(path, step)
            except OSError as error:
                raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from error
            files.append(replace(file, chk=digest))
        hashed.append(replace(part, files=tuple(files)))
    return hashed
