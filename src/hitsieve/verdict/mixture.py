"""Explains the lower end of a histogram of counts by blanks and hits at once.

The spots of a blank are Poisson about a mean that varies from image to image, by a gamma distribution (which makes a
negative binomial one) or by a log-normal one. A hit has the spots of a crystal besides: of these nothing is taken for
granted but that they spread widely. So a tail that falls off may be of blanks, but one that stops falling is of hits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt

import numpy as np

from hitsieve.verdict.blankfit import Counts, Floats, log_pmf

MOST = 400
"""Counts of a histogram: 0 to MOST - 1."""
DROP_95 = 1.92
"""Value below the best of the distributions that are kept: half the 95 % quantile of chi squared."""

_LEAST_TOP = 40
_BIN = 12
"""Counts from 2 _BIN up are binned by ever more: the bin of k is k / _BIN wide."""
_FIRST_RATIO = 2.5
"""Ratio of the spots at the tips of the second and first bump; bumps near the blanks would pass for their tail."""
_RATIO = 1.6
"""Ratio at the other bumps."""
_GRID = (11, 9)
"""Points of a grid in mean and spread."""
_ZOOMS = 7
_STEPS = 40
_STILL = 1e-4
"""Change of the shares below which no further step is taken."""
_HALF = 0.5
"""Images that a bump loses in each step: those with hardly any end at none."""
_TELLING = 1000
"""Most images that count: more would only tell that neither blanks nor hits are quite as they are thought to be."""
_FEWEST = 0.002
"""Least mean of blanks."""
_CLUSTERED = 3.0
"""Most that the variance over mean of blanks, less 1, is above their mean."""
_COVER = 0.98
"""Share of the blanks that lie where they are compared with what was seen."""
_OTHERS = 48
"""Most distributions that are tried besides."""


@dataclass(frozen=True, slots=True)
class Also:
    """Negative binomial distributions that are tried besides; shape (n,)."""

    mean: Floats
    excess: Floats
    handicap: float
    """Value by which they may be worse than the others."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Distributions of blanks, best first, that explain counts about as well as any; shape (n,) where not said."""

    value: Floats
    """Log likelihood, less what the variance, and each bump of hits in use, cost."""
    mean: Floats
    excess: Floats
    """Variance over mean, less 1."""
    tails: Floats
    """P(count >= k) of a blank; shape (n, MOST)."""
    images: int
    """Images that are blanks by the best one."""
    misfit: float
    """Share of the images where the blanks are that lie in the wrong place (total variation distance), by the best."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Distributions of blanks with a mean and a spread; both shape (n,), pmf (n, size)."""

    spreads: tuple[float, float]
    pmf: Callable[[Floats, Floats, int], Floats]
    excess: Callable[[Floats, Floats], Floats]


@cache
def _poisson() -> tuple[Floats, Floats]:
    """Logarithms of means, shape (m,), and the probability of each count, shape (m, MOST)."""
    logs, k = np.arange(np.log(1e-3), np.log(4.0 * MOST), 0.1), np.arange(MOST)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, MOST)))])
    return logs, np.exp(k * logs[:, None] - np.exp(logs)[:, None] - factorials)


def _log_normal(mean: Floats, spread: Floats, size: int) -> Floats:
    logs, poisson = _poisson()
    middle = np.log(mean) - spread**2 / 2
    weights = np.exp(-0.5 * ((logs - middle[:, None]) / spread[:, None]) ** 2)
    return np.asarray((weights / weights.sum(axis=1, keepdims=True)) @ poisson[:, :size])


def _gamma(mean: Floats, spread: Floats, size: int) -> Floats:
    return np.asarray(np.exp(log_pmf(mean, spread**2, size)))


_GAMMA = _Family((0.0, 5.0), _gamma, lambda mean, spread: np.asarray(spread**2))
# Where the logarithm spreads by less, it is as good as a gamma distribution; jets and beams spread by less than 0.8.
_LOG_NORMAL = _Family((0.1, 0.8), _log_normal, lambda mean, spread: np.asarray(mean * np.expm1(spread**2)))


class _Window:
    """The counts that are explained, in bins, and the bumps that hits may make in them."""

    def __init__(self, histogram: Counts, lattices: Counts, first: int, peak: int) -> None:
        self.last = min(MOST - 1, max(_LEAST_TOP, ceil(4 * (peak + 5 * sqrt(peak + 1)))))
        edges = [first]
        while edges[-1] <= self.last:
            edges.append(edges[-1] + max(1, (edges[-1] - first) // _BIN))
        self._starts = np.array(edges[:-1])
        everything = histogram + lattices
        self.images = int(everything[first : self.last + 1].sum())
        self.seen = self._binned(everything[None].astype(np.float64))[0]
        self._known = np.add.reduceat(lattices[: self.last + 1], self._starts) / max(self.images, 1)
        self.hits = self._binned(_bumps(peak, self.last))
        self._telling = min(self.images, _TELLING)

    def _binned(self, rows: Floats) -> Floats:
        inside = np.add.reduceat(rows[:, : self.last + 1], self._starts, axis=1)
        return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-300))

    def profile(self, pmf: Floats, shares: Floats) -> tuple[Floats, Floats]:
        """Values of blanks with this pmf, shape (n, counts), and their best shares of blanks and bumps.

        `shares` is where the search for these starts.
        """
        blanks = self._binned(pmf)
        shares = np.broadcast_to(shares, (len(pmf), len(self.hits) + 1))
        for _ in range(_STEPS):
            ratio = self.seen / np.maximum(self.mixed(blanks, shares), 1e-300)
            gain = np.concatenate([(blanks * ratio).sum(axis=1, keepdims=True), ratio @ self.hits.T], axis=1)
            # The plain step of expectation and maximisation is shares * gain; it climbs up to a power of 2.
            before, shares = shares, shares * gain * np.sqrt(gain)
            shares[:, 1:] = np.maximum(shares[:, 1:] - _HALF / self._telling, 0.0)
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
            if np.abs(shares - before).max() < _STILL:
                break
        mixed = np.maximum(self.mixed(blanks, shares), 1e-300)
        fit = np.log(mixed) @ self.seen - self._denied(1.0 - shares[:, :1] * blanks / mixed)
        return self._telling * fit - (shares[:, 1:] > 0).sum(axis=1), shares

    def _denied(self, hits: Floats) -> Floats:
        """What it costs that more images have a lattice than are hits; by the share of hits in each bin."""
        known = self._known / np.maximum(self.seen, 1e-300)
        hits = np.clip(hits, 1e-9, known)
        lattice = known * np.log(np.maximum(known, 1e-300) / np.maximum(hits, 1e-300))
        none = (1.0 - known) * np.log(np.maximum(1.0 - known, 1e-300) / np.maximum(1.0 - hits, 1e-300))
        return np.asarray((lattice + none) @ self.seen)

    def mixed(self, blanks: Floats, shares: Floats) -> Floats:
        return np.asarray(shares[:, :1] * blanks + shares[:, 1:] @ self.hits)

    def misfit(self, pmf: Floats, shares: Floats) -> float:
        """Misfit where the blanks are, of one pmf, shape (MOST,)."""
        blanks = self._binned(pmf[None])
        wrong = np.abs(self.seen - self.mixed(blanks, shares[None])[0])
        here = np.cumsum(blanks[0]) - blanks[0] < _COVER
        return float(0.5 * wrong[here].sum() / max(self.seen[here].sum(), 1e-300))

    def start(self) -> Floats:
        n = len(self.hits)
        return np.append(0.7, np.full(n, 0.3 / n))


def _bumps(peak: int, last: int) -> Floats:
    """Triangles in the logarithm of the spots beyond the peak, shape (n, last + 1); all of the first flank is on top.

    The first has its tip where the blanks end about: narrower ones would pass for the blanks themselves.
    """
    spots = np.arange(last + 1) - peak
    tips = [max(2.0, sqrt(peak + 1.0))]
    while tips[-1] < last - peak:
        tips.append((_RATIO if len(tips) > 1 else _FIRST_RATIO) * tips[-1])
    at = np.log(np.array(tips) + 1.0)
    heights = np.array([np.interp(np.log(np.maximum(spots, 0) + 1.0), at, one) for one in np.eye(len(at))])
    heights[:, spots < 1] = 0.0
    return np.asarray(heights[heights.sum(axis=1) > 0])


def explain(histogram: Counts, lattices: Counts, first: int, peak: int, also: Also) -> Explained:
    """Find the distributions of blanks that explain the counts from `first` up, each with the hits that suit it best.

    Parameters
    ----------
    histogram, lattices : array of int, shape (MOST,)
        Images without and with a lattice. The latter are hits, and show what counts hits have.
    first : int
        First count that is explained.
    peak : int
        Count of most blanks.
    also : Also
    """
    window = _Window(histogram, lattices, first, peak)
    few = np.argsort(also.excess, kind="stable")[
        np.unique(np.linspace(0, len(also.excess) - 1, _OTHERS).astype(np.int64))
    ]
    parts = [_search(window, peak, family) for family in (_GAMMA, _LOG_NORMAL)]
    parts.append(_tried(window, _GAMMA, (also.mean[few], np.sqrt(also.excess[few])), window.start()))
    best = max(parts, key=lambda part: part.value.max())
    least = best.value.max() - DROP_95
    kept = [part.kept(least - allowed) for part, allowed in zip(parts, (0.0, 0.0, also.handicap), strict=True)]
    value, mean, excess, pmf = (np.concatenate(rows) for rows in zip(*kept, strict=True))
    order = np.argsort(-value, kind="stable")
    value, mean, excess, pmf = value[order], mean[order], excess[order], pmf[order]
    shares = best.shares[int(best.value.argmax())]
    return Explained(
        value=value,
        mean=mean,
        excess=excess,
        tails=np.clip(1.0 - np.cumsum(pmf, axis=1) + pmf, 0.0, 1.0),
        images=round(float(shares[0]) * window.images),
        misfit=window.misfit(pmf[0], shares),
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """Distributions of a family and what they are worth; shape (n,), of the shares (n, 1 + bumps)."""

    family: _Family
    mean: Floats
    spread: Floats
    excess: Floats
    value: Floats
    shares: Floats

    def kept(self, least: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Value, mean, excess and pmf, shape (n, MOST), of those of at least this value."""
        k = self.value >= least
        return self.value[k], self.mean[k], self.excess[k], self.family.pmf(self.mean[k], self.spread[k], MOST)


def _tried(window: _Window, family: _Family, points: tuple[Floats, Floats], shares: Floats) -> _Tried:
    mean, spread = points
    excess = family.excess(mean, spread)
    value, found = window.profile(family.pmf(mean, spread, window.last + 1), shares)
    # Means that spread cost little; a variance that they cannot make, that of spots in clusters, costs more.
    value = np.where(excess <= _CLUSTERED + mean, value - excess / np.maximum(1.0, 0.5 + 0.5 * mean), -np.inf)
    return _Tried(family, mean, spread, excess, value, found)


def _search(window: _Window, peak: int, family: _Family) -> _Tried:
    """Those about as good as the best of a family, by a grid that closes in on them."""
    low = np.array([np.log(max(0.6 * peak, _FEWEST)), family.spreads[0]])
    high = np.array([np.log(4.0 * (peak + 1)), family.spreads[1]])
    shares = window.start()
    for _ in range(_ZOOMS):
        mean, spread = (np.linspace(a, b, n) for a, b, n in zip(low, high, _GRID, strict=True))
        points = [axis.ravel() for axis in np.meshgrid(np.exp(mean), spread, indexing="ij")]
        tried = _tried(window, family, (points[0], points[1]), shares)
        best = int(tried.value.argmax())
        # A bump that has no images gets none again: each starts with a few.
        shares = 0.98 * tried.shares[best] + 0.02 / tried.shares.shape[1]
        i, j = np.nonzero((tried.value >= tried.value[best] - DROP_95).reshape(_GRID))
        step = 1.2 * (high - low) / (np.array(_GRID) - 1)
        new_low = np.maximum(np.array([mean[i.min()], spread[j.min()]]) - step, [np.log(_FEWEST), family.spreads[0]])
        new_high = np.minimum(np.array([mean[i.max()], spread[j.max()]]) + step, [np.inf, family.spreads[1]])
        inside = np.all(new_low >= low - 1e-9) and np.all(new_high <= high + 1e-9)
        if inside and np.all(new_high - new_low > 0.45 * (high - low)):
            break
        low, high = new_low, new_high
    return tried
