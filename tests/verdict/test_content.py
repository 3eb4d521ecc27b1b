"""Time line, ice and saturation of a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitsieve.model import State
from hitsieve.verdict import ice_share, saturated_share, timeline, with_ice


@given(st.integers(0, 700), st.integers(1, 120))
def test_bins_hold_every_image_once_and_nearly_equally_many(n: int, bins: int) -> None:
    rng = np.random.default_rng(n)
    state = rng.integers(0, 4, n)
    n_lattices = np.where(rng.random(n) < 0.5, 1, 0)
    line = timeline(state, n_lattices, np.ones(n), bins)
    assert len(line.first) == min(bins, n)
    sizes = np.diff([*line.first, n])
    assert n == 0 or (line.first[0] == 0 and sizes.min() >= 1 and sizes.max() - sizes.min() <= 1)
    assert sum(line.n_hits) == np.count_nonzero(state == State.HIT)
    assert sum(line.n_searched) == np.count_nonzero(state <= State.HIT)
    assert sum(line.n_indexed) == np.count_nonzero((state == State.HIT) & (n_lattices > 0))


def test_time_line() -> None:
    state = np.array([State.MISS, State.HIT, State.HIT, State.MISSING, State.MISSING, State.UNREADABLE])
    line = timeline(state, np.array([1, 2, 0, -1, -1, -1]), np.array([1.0, 2.0, 5.0, np.nan, np.nan, np.nan]), 3)
    assert line.first == (0, 2, 4)
    assert line.n_searched == (2, 1, 0)
    assert line.n_hits == (1, 1, 0)
    assert line.n_indexed == (1, 0, 0)
    assert line.background == (1.5, 5.0, None)


def test_image_with_ice() -> None:
    n_ice, n_counted = np.array([4, 5, 5, 12, 12]), np.array([0, 5, 6, 0, 90])
    assert with_ice(n_ice, n_counted).tolist() == [False, True, False, True, False]


def test_ice_share() -> None:
    known = np.array([3.0, np.nan, np.nan])
    assert ice_share(np.array([9, 0, -1]), np.array([0, 0, -1]), known) == pytest.approx(0.5)
    assert ice_share(np.array([0, 0, -1]), np.array([9, 0, -1]), np.full(3, np.nan)) is None
    assert ice_share(np.array([-1]), np.array([-1]), np.array([np.nan])) is None


def test_saturated_share() -> None:
    assert saturated_share(np.array([0, 3, 0, 1, -1])) == pytest.approx(0.5)
    assert saturated_share(np.array([-1, -1])) is None
