"""The hit rate and its interval."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""Standard normal quantile of 97.5 %."""


def hit_rate(hits: int, misses: int) -> float | None:
    """Share of hits among the images that could be searched; None without any."""
    return hits / (hits + misses) if hits + misses else None


def wilson_interval(hits: int, n: int) -> tuple[float, float] | None:
    """95 % score interval (low, high) of a proportion; None for n = 0.

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
