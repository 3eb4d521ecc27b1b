"""Misses that were dropped before they were written, and the random sample of misses that was not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hitsieve.pipeline.searcher import Images
from hitsieve.settings import RunSettings
from hitsieve.write import VetoSummary

_STREAM = 2
"""Of the random numbers: another than those of the audit sample and the second look of stored runs."""


@dataclass(frozen=True, slots=True)
class Veto:
    """The rule by which images are dropped before they are written: sure misses, but for a random sample of them.

    Whether an image is in the sample hangs on nothing but its number and the seed: neither on what else comes, nor on
    the order, nor on who asks.
    """

    min_spots: int
    """Images with fewer counted spots are misses."""
    fraction: float
    """Share of the misses that is kept at random."""
    seed: int

    @classmethod
    def of(cls, settings: RunSettings, min_spots: int, n_images: int | None) -> Veto:
        """The rule for a series of which so many images are announced; the sample is large enough if all are misses."""
        write = settings.write
        least = 0.0 if n_images is None else min(1.0, write.audit_min / n_images)
        return cls(min_spots, max(write.audit_fraction, least), write.audit_seed)

    def samples(self, image: int) -> bool:
        """Whether an image is kept although it may be a miss."""
        return float(np.random.default_rng([self.seed, _STREAM, image]).random()) < self.fraction

    def __str__(self) -> str:
        return (
            f"misses (fewer than {self.min_spots} counted spots) were dropped before they were written, but for a "
            f"random sample of {self.fraction:.4g} of them (seed {self.seed})"
        )


@dataclass(frozen=True, slots=True)
class Dropped:
    """What nobody has any more, or will not have when a run is done."""

    veto: Veto | None = None
    """None: no image was dropped before it was written."""
    images: Images = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Misses (index in the run) that were, sorted; what was found on them is known."""
    rest: bool = False
    """What no output holds goes when the run is done."""

    def audit(self, misses: Images) -> Images | None:
        """The random sample of a run's misses, all of which were written; None where it is drawn in the end."""
        if self.veto is None:
            return None
        return misses[np.fromiter(map(self.veto.samples, misses.tolist()), dtype=np.bool_, count=len(misses))]

    def count(self, n_misses: int, n_audit: int, n_unreadable: int) -> int:
        """Images of which nothing is kept."""
        if not self.rest:
            return len(self.images)
        # Nobody has looked at what a veto could not read: it stays.
        return n_misses - n_audit + (n_unreadable if self.veto is None else 0)

    def summary(self) -> VetoSummary | None:
        """What the outputs say of the veto."""
        if self.veto is None:
            return None
        veto = self.veto
        return VetoSummary(
            min_spots=veto.min_spots, n=len(self.images), fraction=veto.fraction, seed=veto.seed, statement=str(veto)
        )
