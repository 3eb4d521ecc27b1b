"""The hit rate and its interval."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""Standard normal quantile of 97.5 %."""
BLOCKS = 20
"""Parts of a run whose rates are compared with those of their neighbours: long, so that they hardly share a burst."""
FEWEST_BLOCKS, PER_BLOCK = 10, 20
"""Fewest of them, and fewest images of one, that tell how alike neighbouring images are."""


def hit_rate(hits: int, misses: int) -> float | None:
    """Share of hits among the images that could be searched; None without any."""
    return hits / (hits + misses) if hits + misses else None


def wilson_interval(hits: float, n: float) -> tuple[float, float] | None:
    """95 % score interval (low, high) of a proportion, for independent draws; None for n = 0.

    Wilson, J. Am. Stat. Assoc. 22 (1927) 209; unlike the normal interval it is never empty nor outside [0, 1], which
    matters at the low hit rates of serial crystallography.
    """
    if n == 0:
        return None
    p, z2 = hits / n, Z_95 * Z_95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the formula is exact but for rounding.
    return (0.0 if hits == 0 else max(0.0, centre - half), 1.0 if hits == n else min(1.0, centre + half))


def rate_interval(yes: npt.NDArray[np.bool_]) -> tuple[float, float] | None:
    """95 % interval (low, high) of the rate of yes among images in the order of the run; None without any.

    Crystals come in bursts, so images side by side say less than as many independent ones: Wilson's interval is taken
    for n / `scatter` images.
    """
    apart = scatter(yes)
    return wilson_interval(float(np.count_nonzero(yes)) / apart, len(yes) / apart)


def scatter(yes: npt.NDArray[np.bool_]) -> float:
    """How much more the rates of neighbouring parts of a run differ than by chance; 1 where no more, or unknown.

    The mean square of successive differences (von Neumann, Ann. Math. Stat. 12 (1941) 367), over what it is for
    independent images: a slow drift, which belongs to the rate of the whole, hardly counts.

    Parameters
    ----------
    yes : array of bool, shape (n,)
        In the order of the run.
    """
    n, n_yes = len(yes), int(np.count_nonzero(yes))
    blocks = min(BLOCKS, n // PER_BLOCK)
    if blocks < FEWEST_BLOCKS or n_yes in (0, n):
        return 1.0
    edges = np.arange(blocks + 1) * n // blocks
    sizes = np.diff(edges)
    rates = np.add.reduceat(np.asarray(yes, dtype=np.float64), edges[:-1]) / sizes
    p = n_yes / n
    chance = p * (1 - p) * (1 / sizes[1:] + 1 / sizes[:-1])
    return max(1.0, float(np.mean(np.diff(rates) ** 2 / chance)))
