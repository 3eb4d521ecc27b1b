"""A second, more sensitive look at misses: how many of them are hits that were missed."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from hitsieve.index import CellIndexer, index_unknown
from hitsieve.model import Looked, SecondLook, State, UnitCell
from hitsieve.pipeline.lattices import candidates
from hitsieve.pipeline.searcher import Images, Searcher
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import RunSettings, SpotSettings
from hitsieve.spots import Searched
from hitsieve.verdict import rate_spots, wilson_interval
from hitsieve.write import MissedSummary

Step = Callable[[], None]
SNR = 4.5
"""A strong pixel and a spot need no more than this, and `MIN_COUNT` counts."""
MIN_COUNT = 3
CHANCE = 1e-5
"""Largest probability of a false lattice: of the misses that are looked at, none is to be called a hit by chance."""


def draw(misses: Images, audit: Images, settings: RunSettings) -> Images:
    """Draw the misses that are looked at again, without replacement: those that are kept, and more, or some of them.

    Parameters
    ----------
    misses : int64, shape (m,)
        Images (index in the run) to draw from, sorted.
    audit : int64, shape (k,)
        Those of them that are kept verbatim.
    settings : RunSettings
        `second_look`, `second_look_fraction` and `audit_seed`.

    Returns
    -------
    int64, shape (min(second_look, max(k, ceil(second_look_fraction * m))),)
        Sorted.
    """
    verdict = settings.verdict
    wanted = min(verdict.second_look, max(len(audit), ceil(verdict.second_look_fraction * len(misses))))
    # Another stream than that which drew the audit sample: what is added must not hang on what is there.
    rng = np.random.default_rng([settings.write.audit_seed, 1])
    if wanted <= len(audit):
        return np.sort(rng.choice(audit, wanted, replace=False))
    more = rng.choice(np.setdiff1d(misses, audit), wanted - len(audit), replace=False)
    return np.sort(np.concatenate([audit, more]))


def missed_hits(look: SecondLook, tally: Tally) -> MissedSummary | None:
    """Estimate how many hits are among the misses; None where none of these was looked at.

    The verdict in `tally` may be another than that by which images were drawn. Those that are no misses by it are left
    out. Of its misses that were none then, those with a lattice are lost hits; nothing is known of the others.
    """
    misses, indexed = tally.state == State.MISS, tally.n_lattices > 0
    shows = look.looked[misses & ~indexed & (look.looked != Looked.OUTSIDE)]
    n, n_hits = int((shows >= Looked.NOTHING).sum()), int((shows == Looked.LATTICE).sum())
    interval = wilson_interval(n_hits, n)
    if interval is None:
        return None
    n_indexed, n_left = int((misses & indexed).sum()), len(shows) - n
    n_unknown = int(misses.sum()) - n_indexed - len(shows)
    lost = n_indexed + len(shows) * n_hits / n
    # What was seen is known: chance is in the others only.
    ends = [n_indexed + min(max(len(shows) * share, n_hits), n_hits + n_left) for share in interval]
    kept = int((tally.state == State.HIT).sum())
    shares = [number / (kept + number) if kept + number else None for number in (lost, *ends)]
    return MissedSummary(
        n=n,
        n_hits=n_hits,
        rate=n_hits / n,
        interval=interval,
        n_indexed=n_indexed,
        n_unknown=n_unknown,
        n_lost=lost,
        n_lost_interval=(ends[0], ends[1]),
        lost_share=shares[0],
        lost_share_interval=None if shares[1] is None or shares[2] is None else (shares[1], shares[2]),
        how=look.how,
    )


def look_again(
    searcher: Searcher, misses: Images, drawn: Images, cell: UnitCell | None, settings: RunSettings
) -> Callable[[Step], SecondLook]:
    """Begin to search misses again with lower thresholds, and to index what is found; what is returned waits for it.

    It calls what it is given after each image.

    Parameters
    ----------
    searcher : Searcher
    misses : array of int
        Images (index in the run) that were drawn from.
    drawn : array of int
        Those that are looked at.
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

    answers = searcher.pool.map(found, drawn.tolist())
    how = (
        f"spots of snr {spots.spot_snr:g}, pixels of snr {spots.snr:g} and {spots.min_count} counts, and a lattice of "
        + ("any cell" if cell is None else f"the cell {cell}")
        + f" with a chance below {strict.max_chance:g}"
    )

    def finish(step: Step) -> SecondLook:
        looked = np.full(len(run), Looked.OUTSIDE, dtype=np.uint8)
        looked[misses] = Looked.NOT_DRAWN
        for image, shows in zip(drawn.tolist(), answers, strict=True):
            looked[image] = Looked.LATTICE if shows else Looked.NOTHING
            step()
        return SecondLook(looked, how)

    return finish


def sensitive(spots: SpotSettings) -> SpotSettings:
    """Settings that find weaker spots."""
    lower = {
        "algorithm": "radial",
        "snr": min(SNR, spots.snr),
        "spot_snr": min(SNR, spots.spot_snr),
        "min_count": min(MIN_COUNT, spots.min_count),
    }
    return SpotSettings.model_validate(spots.model_dump() | lower)
