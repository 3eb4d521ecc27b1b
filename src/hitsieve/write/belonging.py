"""Whether files are outputs of one run: each states when that run ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.write.metadata import entry_of
from hitsieve.write.outputs import Outputs
from hitsieve.write.places import open_output
from hitsieve.write.process import SUBSET, contents_of
from hitsieve.write.summary import Summary

NO_DATE = "no date"


Admit = Callable[[Path], AbstractContextManager[Path | None]]
"""Gives another path by which a file is opened; None for one that is not to be opened."""


def check_one_run(outputs: Outputs, summary: Summary, annotated: tuple[str, int], admit: Admit = nullcontext) -> None:
    """Refuse outputs that were not written together.

    Parameters
    ----------
    outputs : Outputs
    summary : Summary
    annotated : (str, int)
        What the annotated master states: the date, and of how many images it is.
    admit : callable, optional
        For whoever may open some files only: hits that may not be opened are passed over.

    Raises
    ------
    SourceError
        They are of different runs, or the hit-only file is only a chosen part of the hits.
    """
    stated = {outputs.annotated: annotated[0]}
    if annotated[1] != summary.n_images:
        stated[outputs.annotated] = f"{annotated[1]} images"
    if outputs.hits.is_file():
        with admit(outputs.hits) as there:
            if there is not None:
                stated[outputs.hits] = of_images(there)[0]
    for path, date in stated.items():
        if date != summary.date.isoformat():
            raise SourceError(
                f"{path}: is not of the same run as {outputs.summary.name}",
                mend="keep the outputs of each run together, as they were written",
            )


def pump_state_of(named: Path, outputs: Outputs, summary: Summary) -> str | None:
    """Pump state of the file that the user named, where it is the hit-only file of one; None of other outputs.

    Raises
    ------
    SourceError
        The file is of another run than the outputs that it lies beside, by its date.
    """
    date, state = summary.date.isoformat(), None
    if named.name.endswith(".parquet"):
        date = table_date(named)
    elif named.name.endswith("_misses.h5"):
        date = of_images(named)[0]
    elif named.name.endswith("_hits.h5") and named.name != outputs.hits.name:
        date, state = of_images(named)
    if date != summary.date.isoformat():
        raise SourceError(
            f"{named}: is not of the same run as {outputs.summary.name}, it may be left of an earlier one",
            mend=f"name another output of the run, such as {outputs.summary.name}",
        )
    return state


def table_date(path: Path) -> str:
    """When the run of a table ended, as the table states it.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: cannot be read as a table of hitsieve: {error}", mend="copy it again") from error
    return bytes(found.get(b"date", NO_DATE.encode())).decode()


def of_images(path: Path) -> tuple[str, str | None]:
    """Date and pump state that a file of hits or misses states.

    Raises
    ------
    SourceError
        It is a chosen part of the hits, or cannot be read.
    """
    with open_output(path, "*_hits.h5") as hits:
        process = f"{entry_of(hits)}/hit_finding"
        if isinstance(hits.get(process), h5py.Group) and contents_of(hits[process]) == SUBSET:
            raise SourceError(
                f"{path}: is a chosen part of the hits of a run, not one of its outputs",
                mend="name the run's own files",
            )
        date, state = hits.get(f"{process}/date"), hits.get(f"{process}/pump_state")
        return (
            str(date.asstr()[()]) if isinstance(date, h5py.Dataset) else NO_DATE,
            str(state.asstr()[()]) if isinstance(state, h5py.Dataset) else None,
        )
