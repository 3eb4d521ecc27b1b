"""Probabilities of counts, of Student's t and of F: those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from hitsieve.verdict.chances import LARGE, at_least, at_most, f_above, student_below


@pytest.mark.parametrize("most", [1, 30, 1000, LARGE])
def test_probabilities_of_counts_are_those_of_scipy(most: float) -> None:
    random = np.random.default_rng(int(most))
    n = np.floor(random.uniform(0, most, 400))
    # Near what is expected, where both tails matter, and far from it.
    near = np.minimum(np.abs(n + random.normal(0, 2, 400) * np.sqrt(n + 1)), most)
    for expected in (near, random.uniform(0, most, 400)):
        assert at_most(n, expected) == pytest.approx(special.gammaincc(n + 1, expected), rel=1e-9, abs=1e-12)
        assert at_least(n + 1, expected) == pytest.approx(special.gammainc(n + 1, expected), rel=1e-9, abs=1e-12)


def test_counts_need_not_be_whole_nor_of_one_shape() -> None:
    n = np.array([[0.0], [0.3], [7.9]])
    expected = np.array([0.0, 0.2, 5.0, 40.0])
    assert at_most(n, expected) == pytest.approx(special.gammaincc(n + 1, expected), rel=1e-12, abs=1e-15)
    assert at_least(n + 0.1, expected) == pytest.approx(special.gammainc(n + 0.1, expected), rel=1e-12, abs=1e-15)
    assert at_least(3, 1e-3) == pytest.approx(special.gammainc(3, 1e-3), rel=1e-12)
    assert at_least([], []).shape == (0,)


def test_large_counts_are_as_right() -> None:
    n = np.array([3.0, 2e4, 1e7])
    expected = np.array([2.0, 2.01e4, 0.9999e7])
    assert at_least(n, expected).tolist() == special.gammainc(n, expected).tolist()


@pytest.mark.parametrize("free", [1.0, 1.5, 3.0, 18.0, 49.0])
def test_students_t_is_that_of_scipy(free: float) -> None:
    for t in (0.0, -1e-3, -0.3, -1.0, -2.5, -12.0, -1e4, -3e7):
        assert student_below(t, free) == pytest.approx(float(special.stdtr(free, t)), rel=1e-11)


@pytest.mark.parametrize(("free", "free_below"), [(1, 1), (1, 49), (2, 6), (5, 45), (25, 25), (40, 3), (63, 1)])
def test_f_is_that_of_scipy(free: int, free_below: int) -> None:
    for f in (0.0, 1e-9, 0.2, 1.0, 3.3, 40.0, 1e5):
        assert f_above(f, free, free_below) == pytest.approx(float(special.fdtrc(free, free_below, f)), rel=1e-11)
