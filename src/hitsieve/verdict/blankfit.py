"""Fits a negative binomial distribution to one mode of a histogram of counts.

The distribution has mean m and variance m (1 + f): f = 0 is Poisson's. Only counts of a window are used, and the
distribution is cut to that window, so that whatever lies above it (hits) has no say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_GRID = 13
_ZOOMS = 9
_MOST_EXCESS = 5.0
"""Largest square root of f."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A fitted mode."""

    first: int
    """First count of the window."""
    last: int
    """Last count of it."""
    mean: float
    excess: float
    """f: variance over mean, less 1."""
    misfit: float
    """Share of the window's images that lie in the wrong place (total variation distance)."""
    images: int
    """Images in the window."""


def log_pmf(mean: Floats, excess: Floats, size: int) -> Floats:
    """Log probability of counts 0 to size - 1; shape (*broadcast of mean and excess, size)."""
    mean, excess = (np.asarray(a, dtype=np.float64)[..., None] for a in np.broadcast_arrays(mean, excess))
    k = np.arange(size - 1)
    step = np.log((excess * k + mean) / ((1.0 + excess) * (k + 1.0)))
    small = excess < 1e-9
    zero = -mean * np.where(small, 1.0, np.log1p(excess) / np.where(small, 1.0, excess))
    return np.concatenate([zero, zero + np.cumsum(step, axis=-1)], axis=-1)


def upper_tail(mean: Floats, excess: Floats, size: int) -> Floats:
    """P(count >= k) for k = 0 to size - 1; shape as log_pmf."""
    p = np.exp(log_pmf(mean, excess, size))
    return np.clip(1.0 - np.cumsum(p, axis=-1) + p, 0.0, 1.0)


def log_likelihood(histogram: Counts, window: tuple[int, int], mean: Floats, excess: Floats) -> Floats:
    """Log likelihood of the counts in the window (first, last), given that they lie there, less f / 2.

    The penalty keeps a few images from making a tail of any length; it does not matter where there are many.
    """
    first, last = window
    logs = log_pmf(mean, excess, last + 1)[..., first:]
    seen = histogram[first : last + 1]
    top = logs.max(axis=-1, keepdims=True)
    inside = top[..., 0] + np.log(np.exp(logs - top).sum(axis=-1))
    return np.asarray(logs @ seen - seen.sum() * inside - 0.5 * np.asarray(excess))


def fit(histogram: Counts, window: tuple[int, int]) -> Mode:
    """Most likely distribution of the counts in the window (first, last), by a grid that closes in."""
    first, last = window
    seen = histogram[first : last + 1]
    centre = np.array([np.log(max(np.average(np.arange(first, last + 1), weights=seen), 0.01)), 1.0])
    half = np.array([2.0, 1.0])
    for _ in range(_ZOOMS):
        log_mean = centre[0] + half[0] * np.linspace(-1, 1, _GRID)
        root = np.unique(np.clip(centre[1] + half[1] * np.linspace(-1, 1, _GRID), 0.0, _MOST_EXCESS))
        value = log_likelihood(histogram, window, np.exp(log_mean)[:, None], root[None, :] ** 2)
        i, j = np.unravel_index(int(value.argmax()), value.shape)
        inner = np.array([0 < i < len(log_mean) - 1, 0 < j < len(root) - 1 or root[j] in (0.0, _MOST_EXCESS)])
        centre = np.array([log_mean[i], root[j]])
        half = np.where(inner, half / 3.0, half)
    mean, excess = float(np.exp(centre[0])), float(centre[1] ** 2)
    p = np.exp(log_pmf(np.array(mean), np.array(excess), last + 1))[first:]
    wrong = 0.5 * np.abs(seen / max(seen.sum(), 1) - p / max(p.sum(), 1e-300)).sum()
    return Mode(first, last, mean, excess, float(wrong), int(seen.sum()))


def likely(histogram: Counts, mode: Mode, drop: float) -> tuple[Floats, Floats]:
    """Means and excesses (a grid of points) whose log likelihood is within `drop` of the best."""
    window = (mode.first, mode.last)
    centre = np.array([np.log(mode.mean), np.sqrt(mode.excess)])
    low, high = centre - 0.5, centre + 0.5
    for _ in range(12):
        log_mean = np.linspace(low[0], high[0], 2 * _GRID + 1)
        root = np.unique(np.clip(np.linspace(low[1], high[1], 2 * _GRID + 1), 0.0, _MOST_EXCESS))
        value = log_likelihood(histogram, window, np.exp(log_mean)[:, None], root[None, :] ** 2)
        i, j = np.nonzero(value >= value.max() - drop)
        step = (high - low) / (2 * _GRID)
        new_low = np.array([log_mean[i.min()], root[j.min()]]) - 1.5 * step
        new_high = np.array([log_mean[i.max()], root[j.max()]]) + 1.5 * step
        settled = (
            np.all(new_low >= low) and np.all(new_high <= high) and np.all(new_high - new_low > 0.4 * (high - low))
        )
        if settled:
            break
        low, high = new_low, new_high
    mean, excess = np.exp(log_mean[i]), root[j] ** 2
    return np.append(mean, mode.mean), np.append(excess, mode.excess)
