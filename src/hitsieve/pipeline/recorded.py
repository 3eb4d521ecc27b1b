"""What the outputs of a run say about one of its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.model import Place, State
from hitsieve.pipeline.account import Account
from hitsieve.write import StoredResults


def recorded(stored: StoredResults, image: int) -> Account:
    """What the outputs say about an image.

    Parameters
    ----------
    stored : StoredResults
    image : int
        Index in the run.

    Raises
    ------
    SourceError
        The run has no such image.
    """
    results = stored.read([image])
    summary, settings = stored.summary, stored.settings
    row, hits_file = _row(stored, image) or (None, stored.hits_file)
    segments = () if summary.segments is None else summary.segments.segments
    pump = int(results.pump[0])
    place = original_place(stored, image)
    return Account(
        stem=summary.source.stem,
        image=image,
        results=results,
        hit=row,
        hits_file=hits_file.name,
        place="" if place is None else str(place),
        rule=summary.rule,
        verdict=settings.verdict,
        min_indexed=settings.index.min_indexed,
        rethought=summary.verdict_on is not None,
        segment=next((segment for segment in segments if segment.first <= image <= segment.last), None),
        resolved=summary.facts.n_panels > 0 and summary.facts.wavelength is not None,
        background_median=summary.background_median,
        pump=stored.pump.names[pump] if stored.pump is not None and pump >= 0 else None,
    )


def original_place(stored: StoredResults, image: int) -> Place | None:
    """Where the original of an image was when the run was searched; None where no file is known."""
    file, row = (int(stored.read_column(name, [image])[0]) for name in ("source_file", "source_row"))
    return None if file < 0 else Place(stored.source_files[file], stored.source_datasets[file], row)


def _row(stored: StoredResults, image: int) -> tuple[int, Path] | None:
    """Row and hit-only file of an image: the file in use where it has it, else that of all hits."""
    found = _place_among(stored.hits, image)
    if found is not None:
        return found, stored.hits_file
    if stored.pump_state is None:
        return None
    found = _place_among(np.flatnonzero(stored.column("state") == State.HIT), image)
    return None if found is None else (found, stored.outputs.hits)


def _place_among(hits: npt.NDArray[np.int64], image: int) -> int | None:
    row = int(np.searchsorted(hits, image))
    return row if row < len(hits) and hits[row] == image else None
