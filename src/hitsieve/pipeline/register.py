"""Enters finished runs into the local catalogue."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitsieve.catalogue import Catalogue, Record, default_catalogue, find_facts
from hitsieve.errors import HitsieveError, SettingsError, SourceError
from hitsieve.model import Problem
from hitsieve.pipeline.record import record_of, with_facts
from hitsieve.settings import CatalogueSettings
from hitsieve.write import SUMMARY_SUFFIX, Outputs, Summary, read_summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of one summary."""

    path: Path
    what: Literal["added", "updated", "skipped", "removed"]
    why: str


def known_record(outputs: Outputs, summary: Summary) -> Record:
    """What is entered of a run: its record, with what a file of facts beside results or source says besides.

    Raises
    ------
    SourceError
        An output is there but cannot be read.
    """
    record = record_of(outputs, summary)
    path = find_facts(record.stem, (Path(record.place).parent, Path(record.source_path).parent))
    if path is None:
        return record
    # It loads what a run without such a file does not need.
    from hitsieve.catalogue.scicat import read_facts

    try:
        return with_facts(record, read_facts(path))
    except SettingsError as error:
        _log.warning("%s", error)
        return record


def register(outputs: Outputs, summary: Summary, settings: CatalogueSettings) -> tuple[Problem, ...]:
    """Enter a run that has just ended; what hinders that is a problem, and never makes the run fail."""
    if settings.no_catalogue:
        return ()
    try:
        with Catalogue(settings.catalogue or default_catalogue(), create=True) as catalogue:
            catalogue.add(known_record(outputs, summary))
    except HitsieveError as error:
        return (Problem(str(outputs.summary), f"is not in the catalogue: {error.what}", error.mend or _LATER),)
    except (OSError, ValueError) as error:
        return (Problem(str(outputs.summary), f"is not in the catalogue: {error}", _LATER),)
    return ()


def enter(paths: Sequence[Path], place: Path, *, progress: Callable[[int, int], None] | None = None) -> list[Entered]:
    """Enter the runs whose summaries are named, or lie in a folder or below it.

    Parameters
    ----------
    paths : sequence of Path
        Folders and summaries.
    place : Path
        The catalogue; made if absent.
    progress : callable, optional
        Called with the number done and the number of all, after each.

    Raises
    ------
    SourceError
        One of the paths does not exist, or holds no summary.
    OutputError
        The catalogue cannot be written.
    """
    done: list[Entered] = []
    found = list(dict.fromkeys(summary for path in paths for summary in _summaries(path, done)))
    with Catalogue(place, create=True) as catalogue:
        for i, path in enumerate(found):
            done.append(_enter(path, catalogue))
            if progress is not None:
                progress(i + 1, len(found))
    return done


_LATER = "enter it later, with hitsieve catalog add"


def _enter(path: Path, catalogue: Catalogue) -> Entered:
    try:
        summary = read_summary(path)
        record = known_record(Outputs.of(path.parent, path.name.removesuffix(SUMMARY_SUFFIX)), summary)
    except SourceError as error:
        return Entered(path, "skipped", str(error))
    except (OSError, ValueError) as error:
        return Entered(path, "skipped", f"its facts make no record: {error}")
    change = catalogue.add(record)
    return Entered(path, change.what, change.why)


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from error


def _summaries(path: Path, lost: list[Entered]) -> list[Path]:
    """Summaries at or below a path, in order; folders that cannot be read are remembered."""
    if _is(Path.is_file, path):
        if not path.name.endswith(SUMMARY_SUFFIX):
            raise SourceError(f"{path}: is not a summary of a run", mend="name a folder, or a *_summary.json file")
        return [path.absolute()]
    if not _is(Path.is_dir, path):
        raise SourceError(f"{path}: there is no such file or folder", mend="name a folder with results of hitsieve run")

    def remember(error: OSError) -> None:
        lost.append(Entered(Path(error.filename), "skipped", f"cannot be read: {error.strerror}"))

    found = [
        Path(folder) / name
        for folder, _, names in os.walk(path.absolute(), onerror=remember)
        for name in names
        if name.endswith(SUMMARY_SUFFIX) and not name.startswith(".")
    ]
    if not found and not lost:
        raise SourceError(f"{path}: holds no results of hitsieve run", mend="name a folder above *_summary.json files")
    return sorted(found)
