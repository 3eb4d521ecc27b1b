"""The hit rate's interval is Wilson's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hitsieve.verdict import hit_rate, wilson_interval


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
