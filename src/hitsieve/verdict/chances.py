"""Probabilities of counts, of Student's t and of F.

SciPy has them, but takes longer to import than a short run to do. It is asked where numbers are so large that their
series are long: where a run has those, it is long as well.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGE = 1e4
"""Counts from which on SciPy is asked."""
_ENOUGH = 1e-15
_TINY = 1e-300
_MOST = 10_000
"""Terms; even of the largest counts a tenth of them suffices."""


def at_most(n: npt.ArrayLike, expected: npt.ArrayLike) -> Floats:
    """Probability of n or fewer where so many are expected (Poisson): Q(n + 1, expected), for any n >= 0."""
    a, x = np.broadcast_arrays(np.asarray(n, dtype=np.float64) + 1, np.asarray(expected, dtype=np.float64))
    return _gamma(a, x)[1]


def at_least(n: npt.ArrayLike, expected: npt.ArrayLike) -> Floats:
    """Probability of n or more where so many are expected (Poisson): P(n, expected), for any n > 0."""
    a, x = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(expected, dtype=np.float64))
    return _gamma(a, x)[0]


def _gamma(a: Floats, x: Floats) -> tuple[Floats, Floats]:
    """The regularised incomplete gamma functions P and Q (DLMF 8.2.4)."""
    if a.size and max(float(a.max()), float(x.max())) > LARGE:
        from scipy.special import gammainc, gammaincc

        return np.asarray(gammainc(a, x)), np.asarray(gammaincc(a, x))
    shape, a, x = a.shape, a.ravel(), x.ravel()
    logs = np.log(np.maximum(x, _TINY))
    front = (x > 0) * np.exp(a * logs - x - np.array([lgamma(one + 1) for one in a.tolist()]))
    below = x < a + 1
    p, q = np.zeros(a.shape), np.zeros(a.shape)
    p[below] = front[below] * _series(a[below], x[below])
    q[~below] = (front * a)[~below] * _fraction(a[~below], x[~below])
    q[below], p[~below] = 1 - p[below], 1 - q[~below]
    return p.reshape(shape), q.reshape(shape)


def _series(a: Floats, x: Floats) -> Floats:
    """Sum of x^k / (a + 1) ... (a + k) from k = 0 on (DLMF 8.7.1)."""
    term = total = np.ones(a.shape)
    for k in range(1, _MOST):
        term = term * (x / (a + k))
        total = total + term
        if not (term > _ENOUGH * total).any():
            break
    return total


def _fraction(a: Floats, x: Floats) -> Floats:
    """Gamma(a, x) exp(x) x^-a as a continued fraction (DLMF 8.9.2), by the way of Lentz."""
    b = x + 1 - a
    c, d = np.full(a.shape, 1 / _TINY), 1 / b
    value = d
    for k in range(1, _MOST):
        step = -k * (k - a)
        b = b + 2
        d, c = 1 / _apart(step * d + b), _apart(b + step / c)
        value = value * (d * c)
        if not (np.abs(d * c - 1) > _ENOUGH).any():
            break
    return value


def _apart(values: Floats) -> Floats:
    """Values, none of them 0."""
    return np.where(np.abs(values) < _TINY, _TINY, values)


def student_below(t: float, free: float) -> float:
    """Probability that Student's t is below one that is 0 or less."""
    square = t * t
    return 0.5 * _beta(free / 2, 0.5, free / (free + square), square / (free + square))


def f_above(f: float, free: float, free_below: float) -> float:
    """Probability that F, of so many degrees of freedom above and below the line, is above f, which is 0 or more."""
    whole = free_below + free * f
    return _beta(free_below / 2, free / 2, free_below / whole, free * f / whole)


def _beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I of x, and `rest` = 1 - x (DLMF 8.17.22)."""
    if x <= 0 or rest <= 0:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, rest, x)
    along = log(x) if x < 0.5 else log1p(-rest)
    across = log(rest) if rest < 0.5 else log1p(-x)
    front = exp(a * along + b * across + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for k in range(1, _MOST):
        for step in (
            k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k)),
            -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1)),
        ):
            d, c = 1 / ((1 + step * d) or _TINY), (1 + step / c) or _TINY
            value *= d * c
        if abs(d * c - 1) < _ENOUGH:
            break
    return front * value
