"""Finds the unit cell that the hits of a finished run agree on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from hitsieve.errors import MetadataError, SettingsError, SourceError
from hitsieve.index import FoundCell, find_cells, reciprocal_vectors
from hitsieve.model import ImageResults, Run, SpotFlag
from hitsieve.pipeline.reopen import reopen
from hitsieve.settings import IndexSettings
from hitsieve.write import StoredResults, open_results

MIN_SPOTS = 15
"""Fewest counted spots of a hit that is tried."""
FEWEST = 2
"""Fewest such hits: one agrees with nothing."""

Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CellRequest:
    """Where to look for a cell."""

    max_hits: int = 200
    """Most hits that are tried, evenly spread over the run."""
    min_length: float | None = None
    """Shortest vector of the cell (angstrom); None: as in the run. Likewise the longest."""
    max_length: float | None = None
    workers: int = 0
    """Threads; 0: one a core."""
    source: tuple[Path, ...] = ()
    """Where the original run is, if it has moved."""


@dataclass(frozen=True, slots=True)
class CellReport:
    """Which cells hits agree on."""

    groups: tuple[FoundCell, ...]
    """Largest first; empty where no two images agree."""
    images: tuple[npt.NDArray[np.int64], ...]
    """Of each group: indices in the run of the images that agree."""
    n_hits: int
    n_enough: int
    """Hits with a wavelength and enough spots to be tried."""
    n_tried: int


def find_cell_of_run(results: str | Path, request: CellRequest, progress: Step | None = None) -> CellReport:
    """Search hits of a finished run without a known cell, and compare their cells.

    Parameters
    ----------
    results : str or Path
        An output of `hitsieve run`, or a folder that holds those of one run. Of the hit-only file of one pump state,
        only its hits are searched.
    request : CellRequest
    progress : callable, optional
        Called with the number of images done and their total.

    Returns
    -------
    CellReport

    Raises
    ------
    SourceError
        The results or the original run cannot be opened, or too few hits have enough spots.
    MetadataError
        The run has no geometry or no wavelength.
    SettingsError
        The limits of the cell lengths, or the number of hits, make no sense.
    """
    if request.max_hits < FEWEST:
        raise SettingsError(
            f"--max-hits {request.max_hits}: one hit agrees with nothing", mend=f"give {FEWEST} or more"
        )
    with open_results(results) as stored:
        settings = _settings(stored.settings.index, request)
        hits = stored.hits
        with reopen(stored, request.source) as opened:
            run = opened.run
        _check_indexable(run)
        enough = hits[(stored.column("n_spots_counted")[hits] >= MIN_SPOTS) & run.beam.known(hits)]
        if len(enough) < FEWEST:
            raise SourceError(
                f"{stored.outputs.summary}: {len(enough)} of {len(hits)} hits have {MIN_SPOTS} spots or more, "
                f"and a cell is what at least {FEWEST} agree on",
                mend="search a longer run, or a lower threshold, with hitsieve run",
            )
        chosen = enough[np.linspace(0, len(enough) - 1, min(request.max_hits, len(enough))).round().astype(np.int64)]
        qs = _vectors(run, stored, chosen)
    with ThreadPoolExecutor(request.workers or len(os.sched_getaffinity(0))) as pool:
        try:
            groups = find_cells(qs, settings, map=_told(pool, progress))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    images = tuple(chosen[group.images] for group in groups)
    return CellReport(groups, images, len(hits), len(enough), len(chosen))


def _settings(recorded: IndexSettings, request: CellRequest) -> IndexSettings:
    """The settings of the run with other lengths, where they are given."""
    given = {"min_length": request.min_length, "max_length": request.max_length}
    values = {**recorded.model_dump(), **{name: value for name, value in given.items() if value is not None}}
    try:
        return IndexSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        # Limits of one length come without its name and value, that of the pair with both.
        where = "".join(f"--{str(name).replace('_', '-')} {values[str(name)]:g}: " for name in first["loc"])
        least, most = (IndexSettings.model_fields[name].metadata[0] for name in given)
        raise SettingsError(
            where + first["msg"].removeprefix("Value error, "),
            mend=f"--min-length from {least.ge}, --max-length to {most.le} angstrom, the first below the second",
        ) from None


def _check_indexable(run: Run) -> None:
    lacks = "detector geometry" if not run.detector.panels else "wavelength" if run.beam.wavelength is None else None
    if lacks:
        raise MetadataError(
            f"{run.path}: the {lacks} is unknown, and with it the cell",
            mend="run hitsieve run again with --geometry or --set",
        )


def _vectors(run: Run, stored: StoredResults, images: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
    """q of the counted spots of each image."""
    results: ImageResults = stored.read(images)
    out = []
    for i, image in enumerate(images.tolist()):
        spots = results.spots_of(i)
        counted = (spots.flags & (SpotFlag.ICE | SpotFlag.OUT_OF_RANGE)) == 0
        out.append(reciprocal_vectors(run.detector, run.beam, spots.x[counted], spots.y[counted], image=image))
    return out


def _told(
    pool: ThreadPoolExecutor, progress: Step | None
) -> Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]:
    """The map of a pool that tells how far it is."""

    def mapped(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        for done, result in enumerate(pool.map(function, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield result

    return mapped
