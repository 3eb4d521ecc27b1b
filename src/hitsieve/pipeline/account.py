"""Why one image is, or is not, a hit: the facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hitsieve.model import ImageResults, SpotFlag, State
from hitsieve.settings import VerdictSettings
from hitsieve.write import HitRuleSummary, SegmentSummary


@dataclass(frozen=True, slots=True)
class Rejected:
    """Groups of touching strong pixels that are no spots."""

    small: int
    """With too few pixels."""
    large: int
    """With too many."""
    weak: int
    """Of the right size, with too low a snr."""
    weak_snr: tuple[float, float] | None
    """Lowest and highest snr of the weak ones; None without any."""


@dataclass(frozen=True, slots=True)
class Again:
    """What the original image shows when it is searched again."""

    differs: str
    """In words: how the spots found now differ from those recorded; empty where they do not."""
    rejected: Rejected


@dataclass(frozen=True, slots=True)
class Account:
    """All that is known about one image and its verdict."""

    stem: str
    image: int
    results: ImageResults
    """Of this image alone."""
    hit: int | None
    """Row in the hit-only file; None of an image that is no hit."""
    hits_file: str
    """Name of that file."""
    place: str
    """File, dataset and row of the original; empty where no file is known."""
    rule: HitRuleSummary
    verdict: VerdictSettings
    min_indexed: int
    """Fewest counted spots with which a lattice is looked for."""
    rethought: bool
    """The verdict is of hitsieve rethink: lattices were found when other spots may have counted."""
    segment: SegmentSummary | None
    resolved: bool
    """Resolutions are known: the run has geometry and a wavelength."""
    background_median: float | None
    """Of the run's images."""
    pump: str | None
    again: Again | None = None
    """None where the original was not, or could not be, searched again."""
    picture: Path | None = None

    @property
    def state(self) -> State:
        """Of the image."""
        return State(int(self.results.state[0]))

    @property
    def searched(self) -> bool:
        """Whether it could be read."""
        return self.state in (State.HIT, State.MISS)

    @property
    def differs(self) -> str:
        """In words: how the image is not the one that is recorded; empty where it is, or was not searched again."""
        return "" if self.again is None else self.again.differs

    @property
    def counted(self) -> int:
        """Spots that count."""
        return int(self.results.n_spots_counted[0])

    @property
    def n_lattices(self) -> int:
        """Lattices found; -1 where the run was not indexed."""
        return int(self.results.n_lattices[0])

    def flagged(self, flag: SpotFlag) -> int:
        """Kept spots with a flag."""
        return int(np.count_nonzero(self.results.spots.flags & int(flag)))

    def indexed_and_counted(self, lattice: int) -> int:
        """Kept spots of a lattice that count."""
        left_out = SpotFlag.OUT_OF_RANGE | (SpotFlag.ICE if self.verdict.ice else SpotFlag(0))
        spots = self.results.spots
        return int(np.count_nonzero((spots.lattice == lattice) & (spots.flags & int(left_out) == 0)))

    @property
    def only_ice(self) -> int:
        """Kept spots that would count if it were not for ice bands."""
        if not self.verdict.ice:
            return 0
        either = self.results.spots.flags & int(SpotFlag.ICE | SpotFlag.OUT_OF_RANGE)
        return int(np.count_nonzero(either == int(SpotFlag.ICE)))

    @property
    def by_spots(self) -> bool:
        """Whether enough spots can make it a hit."""
        return self.rule.rule != "indexed"
