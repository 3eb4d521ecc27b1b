"""Tells images of a running jet from those of a stopped one by their background, and by their spots."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from hitsieve.verdict.blankfit import Floats

Bools = npt.NDArray[np.bool_]

_FEWEST = 50
"""Images that a level is known from, at least."""
_BRIGHTER = 1.1
"""Ratio of backgrounds from which images of more spots may be those of a running jet, the others of a stopped one."""
_FAR_BRIGHTER = 1.5
"""Ratio from which they are: crystals do not make so much background."""
_SPREADS_APART = 1.5
"""Spreads of the logarithm of the others' background by which they are brighter at least."""


def as_bright(few: Floats, many: Floats) -> bool:
    """Whether images of many spots have no more background than those of few: the jet runs alike in both."""
    few, many = few[np.isfinite(few)], many[np.isfinite(many)]
    if min(len(few), len(many)) < _FEWEST:
        return False
    usual = float(np.median(few))
    return usual > 0 and float(np.median(many)) < _BRIGHTER * usual


def level_between(few: Floats, many: Floats) -> float | None:
    """The level between images of few and of many spots, where the latter are brighter by far; None where not."""
    few, many = few[np.isfinite(few)], many[np.isfinite(many)]
    if min(len(few), len(many)) < _FEWEST:
        return None
    low, high = float(np.median(few)), float(np.median(many))
    if low <= 0 or high < _FAR_BRIGHTER * low:
        return None
    spread = _spread(np.log(np.maximum(few, 1e-3 * low)))
    return sqrt(low * high) if np.log(high / low) >= _SPREADS_APART * spread else None


def jet_running(background: Floats, searched: Bools) -> Bools:
    """Images at the upper of two clearly separate levels of background; all where there is one level."""
    everything = np.ones(len(background), dtype=np.bool_)
    known = searched & np.isfinite(background)
    typical = float(np.quantile(background[known], 0.9)) if known.any() else 0.0
    if known.sum() < 2 * _FEWEST or typical <= 0:
        return everything
    logs = np.log(np.maximum(background, 1e-3 * typical))
    values = logs[known]
    cut = _split(values)
    low, high = values[values < cut], values[values >= cut]
    if min(len(low), len(high)) < _FEWEST:
        return everything
    gap = float(np.median(high) - np.median(low))
    if gap < np.log(2.0) or gap < 5.0 * sqrt(0.5 * (_spread(low) ** 2 + _spread(high) ** 2)):
        return everything
    return np.asarray(~known | (logs >= max(cut, float(np.median(high)) - 3.0 * _spread(high))))


def _split(values: Floats) -> float:
    """The cut into two groups whose means lie farthest apart (Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62)."""
    seen, edges = np.histogram(values, 128)
    below, sums = np.cumsum(seen), np.cumsum(seen * (edges[1:] + edges[:-1]) / 2)
    n, total = below[-1], sums[-1]
    two = (below > 0) & (below < n)
    between = np.zeros(len(seen))
    between[two] = (total * below[two] / n - sums[two]) ** 2 / (below[two] * (n - below[two]))
    return float(edges[1 + int(between.argmax())])


def _spread(values: Floats) -> float:
    """Standard deviation by quartiles."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low) / 1.349
