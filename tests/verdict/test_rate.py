"""The hit rate's interval is Wilson's, of as many images as bursts of hits leave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hitsieve.verdict import hit_rate, rate_interval, wilson_interval


@given(st.integers(1, 10_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_agrees_with_scipy(case: tuple[int, int]) -> None:
    hits, n = case
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(hits, n)
    assert interval is not None
    assert interval == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)
    assert 0.0 <= interval[0] <= hits / n <= interval[1] <= 1.0


@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_ends_are_exact(n: int) -> None:
    none, all_ = wilson_interval(0, n), wilson_interval(n, n)
    assert none is not None and all_ is not None
    assert none[0] == 0.0 < none[1] < 1.0
    assert 0.0 < all_[0] < all_[1] == 1.0


def test_nothing_searched() -> None:
    assert wilson_interval(0, 0) is None
    assert hit_rate(0, 0) is None


def test_rate_is_of_searched_images() -> None:
    assert hit_rate(1, 3) == 0.25
    assert hit_rate(0, 3) == 0.0
    assert hit_rate(3, 0) == 1.0


def in_bursts(random: np.random.Generator, n: int, length: int) -> npt.NDArray[np.bool_]:
    """Hits in 5 % of n images, all of them in bursts that last a fifth of the time."""
    rate = np.zeros(n)
    place, on = 0, bool(random.random() < 0.2)
    while place < n:
        lasts = int(random.geometric(1 / (length if on else 4 * length)))
        rate[place : place + lasts] = 0.25 if on else 0.0
        place, on = place + lasts, not on
    return random.random(n) < rate


@pytest.mark.parametrize(("length", "least"), [(0, 0.93), (50, 0.87), (300, 0.8)])
def test_interval_holds_the_rate_where_hits_come_in_bursts(length: int, least: float) -> None:
    random = np.random.default_rng(length)
    held = 0
    for _ in range(150):
        yes = in_bursts(random, 20_000, length) if length else random.random(20_000) < 0.05
        low, high = rate_interval(yes) or (0.0, 0.0)
        assert low <= yes.mean() <= high
        held += low <= 0.05 <= high
    assert held >= least * 150


def test_few_images_and_equal_images_are_as_independent_ones() -> None:
    yes = np.arange(150) % 4 == 0
    assert rate_interval(yes) == wilson_interval(int(yes.sum()), 150)
    assert rate_interval(np.ones(1000, dtype=np.bool_)) == wilson_interval(1000, 1000)
    assert rate_interval(np.zeros(0, dtype=np.bool_)) is None


def test_a_slow_drift_hardly_widens_it() -> None:
    random = np.random.default_rng(1)
    drifting = random.random(20_000) < np.linspace(0.02, 0.08, 20_000)
    low, high = rate_interval(drifting) or (0.0, 1.0)
    narrow = wilson_interval(int(drifting.sum()), 20_000) or (0.0, 0.0)
    assert high - low < 1.5 * (narrow[1] - narrow[0])
