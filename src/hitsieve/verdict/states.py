"""Hit rates of the pump states of a time-resolved run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import PumpStates, State
from hitsieve.verdict.rate import hit_rate, rate_interval

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StateRates:
    """What is known of the images of one pump state."""

    name: str
    n_images: int
    n_hits: int
    n_misses: int
    hit_rate: float | None
    """None where no image was searched."""
    hit_rate_interval: Interval | None
    """95 % interval (low, high)."""
    n_indexed: int
    """Hits with a lattice."""
    indexing_rate: float | None
    """n_indexed / n_hits; None without hits or where the run is not indexed."""
    indexing_rate_interval: Interval | None
    """95 % interval (low, high)."""
    n_spots_median_hits: float | None
    resolution_median_hits: float | None
    """Median over the hits that have a resolution estimate (angstrom)."""


def rates_by_state(
    pump: PumpStates,
    state: npt.NDArray[np.uint8],
    n_lattices: npt.NDArray[np.int32],
    n_spots: npt.NDArray[np.int32],
    resolution: npt.NDArray[np.float32],
) -> tuple[StateRates, ...]:
    """Sum up each pump state, in the order of `pump.names`; a state without images has counts of 0.

    Parameters
    ----------
    pump : PumpStates
    state : array of uint8, shape (images,)
        Values of State.
    n_lattices, n_spots : array of int32, shape (images,)
        As in ImageResults; n_lattices is -1 everywhere in a run that is not indexed.
    resolution : array of float32, shape (images,)
        Resolution estimates (angstrom); NaN where there is none.

    Returns
    -------
    tuple of StateRates
    """
    indexing = bool((n_lattices >= 0).any())
    found = []
    for number, name in enumerate(pump.names):
        mine = np.flatnonzero(pump.code == number)
        searched = mine[(state[mine] == State.HIT) | (state[mine] == State.MISS)]
        hits = mine[state[mine] == State.HIT]
        n_hits, n_misses = len(hits), int((state[mine] == State.MISS).sum())
        n_indexed = int((n_lattices[hits] > 0).sum())
        found.append(
            StateRates(
                name=name,
                n_images=len(mine),
                n_hits=n_hits,
                n_misses=n_misses,
                hit_rate=hit_rate(n_hits, n_misses),
                hit_rate_interval=rate_interval(state[searched] == State.HIT),
                n_indexed=n_indexed,
                indexing_rate=hit_rate(n_indexed, n_hits - n_indexed) if indexing else None,
                indexing_rate_interval=rate_interval(n_lattices[hits] > 0) if indexing else None,
                n_spots_median_hits=_median(n_spots[hits]),
                resolution_median_hits=_median(resolution[hits]),
            )
        )
    return tuple(found)


def _median(values: npt.NDArray[np.int32] | npt.NDArray[np.float32]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
