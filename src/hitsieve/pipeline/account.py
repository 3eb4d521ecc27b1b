"""Why one image is, or is not, a hit: the facts, in words and as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    place: str
    """File, dataset and row of the original; empty where no file is known."""
    rule: HitRuleSummary
    verdict: VerdictSettings
    min_indexed: int
    """Fewest counted spots with which a lattice is looked for."""
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


def numbers(account: Account) -> dict[str, Any]:
    """Give the facts as data for JSON; what is unknown is None."""
    results = account.results
    found: dict[str, Any] = {
        "run": account.stem,
        "image": account.image,
        "hit": account.hit,
        "state": account.state.name.lower(),
        "reason": results.reasons.get(account.image),
        "original": account.place or None,
        "rule": account.rule.model_dump(mode="json"),
        "pump": account.pump,
        "segment": None if account.segment is None else account.segment.model_dump(mode="json"),
        "picture": None if account.picture is None else str(account.picture),
    }
    if not account.searched:
        return found
    again = account.again
    return found | {
        "n_strong": int(results.n_strong[0]),
        "n_spots": int(results.n_spots[0]),
        "n_spots_kept": len(results.spots),
        "n_spots_counted": account.counted,
        "n_spots_ice": int(results.n_spots_ice[0]),
        "n_spots_out_of_range": account.flagged(SpotFlag.OUT_OF_RANGE),
        "n_saturated": int(results.n_saturated[0]),
        "max_count": int(results.max_count[0]),
        "background": _known(float(results.background[0])),
        "background_median": account.background_median,
        "resolution": _known(float(results.resolution[0])),
        "lattices": None if account.n_lattices < 0 else _lattices(results),
        "rejected": None if again is None else _rejected(again.rejected),
        "differs": None if again is None else again.differs,
    }


def _lattices(results: ImageResults) -> list[dict[str, Any]]:
    lattices = results.lattices
    return [
        {
            "cell": lattices.cell[i].tolist(),
            "A": lattices.A[i].tolist(),
            "n_indexed": int(lattices.n_indexed[i]),
            "residual": float(lattices.residual[i]),
            "chance": float(lattices.chance[i]),
        }
        for i in range(len(lattices))
    ]


def _rejected(rejected: Rejected) -> dict[str, Any]:
    weak_snr = None if rejected.weak_snr is None else list(rejected.weak_snr)
    return {"small": rejected.small, "large": rejected.large, "weak": rejected.weak, "weak_snr": weak_snr}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
