"""Rates of each pump state."""

from __future__ import annotations

import numpy as np
import pytest

from hitsieve.model import PumpStates, State
from hitsieve.verdict import StateRates, rates_by_state, wilson_interval

NAN = np.nan


def rates(codes: list[int], state: list[int], n_lattices: list[int]) -> tuple[StateRates, ...]:
    n = len(codes)
    return rates_by_state(
        PumpStates(("dark", "light", "never"), np.array(codes, dtype=np.int16), "test"),
        np.array(state, dtype=np.uint8),
        np.array(n_lattices, dtype=np.int32),
        np.arange(10, 10 + n, dtype=np.int32),
        np.where(np.arange(n) % 2, NAN, 2.0 + np.arange(n) / 10).astype(np.float32),
    )


def test_counts_rates_and_medians() -> None:
    hit, miss = State.HIT, State.MISS
    state = [hit, miss, hit, State.UNREADABLE, State.MISSING, hit, miss, hit]
    dark, light, never = rates([0, 0, 0, 0, 1, 1, 1, -1], state, [1, 2, 0, -1, -1, 3, 0, 1])
    assert (dark.name, dark.n_images, dark.n_hits, dark.n_misses) == ("dark", 4, 2, 1)
    assert dark.hit_rate == 2 / 3
    assert dark.hit_rate_interval == wilson_interval(2, 3)
    # A lattice in a miss is no indexed hit.
    assert (dark.n_indexed, dark.indexing_rate, dark.indexing_rate_interval) == (1, 0.5, wilson_interval(1, 2))
    assert dark.n_spots_median_hits == 11.0
    assert dark.resolution_median_hits == pytest.approx(2.1)
    assert (light.n_images, light.n_hits, light.n_misses, light.hit_rate) == (3, 1, 1, 0.5)
    assert light.resolution_median_hits is None
    assert never == StateRates("never", 0, 0, 0, None, None, 0, None, None, None, None)


def test_run_that_is_not_indexed_has_no_indexing_rate() -> None:
    dark, _, _ = rates([0, 0, 0], [State.HIT, State.HIT, State.MISS], [-1, -1, -1])
    assert (dark.n_hits, dark.n_indexed, dark.indexing_rate, dark.indexing_rate_interval) == (2, 0, None, None)
