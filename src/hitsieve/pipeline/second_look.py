"""A second, more sensitive look at misses: how many of them are hits that were missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hitsieve.index import CellIndexer, index_unknown
from hitsieve.model import UnitCell
from hitsieve.pipeline.lattices import candidates
from hitsieve.pipeline.searcher import Images, Searcher
from hitsieve.settings import RunSettings, SpotSettings
from hitsieve.spots import Searched
from hitsieve.verdict import rate_spots

SNR = 4.5
"""A strong pixel and a spot need no more than this, and `MIN_COUNT` counts."""
MIN_COUNT = 3
CHANCE = 1e-5
"""Largest probability of a false lattice: of the misses that are looked at, none is to be called a hit by chance."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What a second look at misses found."""

    n: int
    """Misses looked at."""
    hits: Images
    """Those with a lattice (index in the run)."""
    how: str


def look_again(
    searcher: Searcher, misses: Images, cell: UnitCell | None, settings: RunSettings
) -> Callable[[], SecondLook]:
    """Begin to search misses again with lower thresholds, and to index what is found; what is returned waits for it.

    Parameters
    ----------
    searcher : Searcher
    misses : array of int
        Images (index in the run).
    cell : UnitCell or None
        What is looked for; None: any cell.
    settings : RunSettings
        Those of the run; thresholds that are lower stay.
    """
    run, spots, index = searcher.opened.run, sensitive(settings.spots), settings.index
    strict = index.model_copy(update={"max_chance": min(CHANCE, index.max_chance)})
    finder = searcher.finder.retuned(spots)
    indexer = None if cell is None else CellIndexer(cell.parameters, cell.centring, strict)

    def found(image: int) -> bool:
        file = run.files[int(run.images.file[image])]
        stored = run.images.offset[image] >= 0 and file.codec is not None
        searched = (
            finder.find_stored(searcher.opened.stored(image), file.codec)
            if stored and file.codec is not None
            else finder.find(searcher.opened.pixels(image))
        )
        return any(indexed(image, searched))

    def indexed(image: int, searched: Searched) -> list[bool]:
        these = np.array([image], dtype=np.int64)
        rated = rate_spots(
            these, searched.offsets, (searched.x, searched.y), (run.detector, run.beam), settings.verdict
        )
        chosen = candidates(run, these, searched, rated, index.min_indexed)
        if indexer is not None:
            return [bool(indexer.index(q)) for q in chosen.q]
        return [index_unknown(q, strict) is not None for q in chosen.q]

    answers = searcher.pool.map(found, misses.tolist())
    how = (
        f"spots of snr {spots.spot_snr:g}, pixels of snr {spots.snr:g} and {spots.min_count} counts, and a lattice of "
        + ("any cell" if cell is None else f"the cell {cell}")
        + f" with a chance below {strict.max_chance:g}"
    )
    return lambda: SecondLook(len(misses), misses[np.fromiter(answers, dtype=np.bool_, count=len(misses))], how)


def sensitive(spots: SpotSettings) -> SpotSettings:
    """Settings that find weaker spots."""
    lower = {
        "algorithm": "radial",
        "snr": min(SNR, spots.snr),
        "spot_snr": min(SNR, spots.spot_snr),
        "min_count": min(MIN_COUNT, spots.min_count),
    }
    return SpotSettings.model_validate(spots.model_dump() | lower)
