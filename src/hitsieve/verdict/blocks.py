"""Tests that stay honest where neighbouring images are alike: they judge by the scatter between blocks of images."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from hitsieve.verdict.chances import f_above, student_below

Values = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MOST_BLOCKS = 50
"""Most blocks for a difference between states."""
TREND_BLOCKS = 20
"""Most blocks for a trend: long, so that blocks side by side hardly share a burst."""
FEWEST_BLOCKS = 8


def rounds(code: Codes, n_states: int) -> Codes:
    """First positions of the rounds of a sequence of states, each with all states in it.

    A round begins with a change of state, at the first after which the round before has all states; images after the
    last complete round belong to it. Shape (rounds,); empty where not all states occur.
    """
    starts = np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1]) if len(code) else np.zeros(0, np.int64)
    every, seen, open_from = (1 << n_states) - 1, 0, 0
    found: list[int] = []
    for start, state in zip(starts.tolist(), code[starts].tolist(), strict=True):
        if seen == every:
            found.append(open_from)
            open_from, seen = start, 0
        seen |= 1 << state
    if seen == every:
        found.append(open_from)
    return np.array(found, dtype=np.int64)


def merged(starts: Codes, weight: Values, most: int) -> Codes:
    """Block of each of n positions: rounds side by side are merged to `most` blocks or fewer, of about equal weight.

    Parameters
    ----------
    starts : array of int, shape (rounds,)
        As from `rounds`.
    weight : array of float, shape (n,)
        0 or more, of each position.
    most : int
    """
    before = (np.cumsum(weight) - weight)[starts]
    wanted = np.linspace(0.0, float(weight.sum()), most, endpoint=False)
    nearest = np.searchsorted(before, wanted)
    chosen = starts[np.unique(nearest[nearest < len(starts)])]
    first = np.zeros(len(weight), dtype=np.int64)
    first[chosen[chosen > 0]] = 1
    return np.cumsum(first)


def between_states(y: Values, code: Codes, t: Values, block: Codes) -> float:
    """Probability that the mean of y differs between states as much by chance.

    In each block, the sum of y of a state is compared with what the block's mean and the run's linear trend let
    expect (the scores of Cochran, Mantel and Haenszel for y of 0 and 1, of van Elteren for ranks). Hotelling's T2
    tests whether the mean of these scores over the blocks is 0, with their covariance from the scatter over blocks.

    Parameters
    ----------
    y : array of float, shape (n,)
        Not all alike.
    code : array of int, shape (n,)
        State, 0 to S - 1; each is in every block.
    t : array of float, shape (n,)
        Position in the run.
    block : array of int, shape (n,)
        0 to B - 1, B >= S.
    """
    y = (y - y.mean()) / y.std()
    n_states, n_blocks = int(code.max()) + 1, int(block.max()) + 1
    cell = block * n_states + code

    def sums(weights: Values) -> Values:
        return np.bincount(cell, weights, n_states * n_blocks).reshape(n_blocks, n_states).astype(np.float64)

    n, of_y, of_t = sums(np.ones(len(y))), sums(y), sums(t)
    here = n.sum(axis=1)
    mean_y, mean_t = of_y.sum(axis=1) / here, of_t.sum(axis=1) / here
    slope = _slope(mean_t, mean_y, here)
    scores = (of_y - n * mean_y[:, None] - slope * (of_t - n * mean_t[:, None]))[:, :-1]
    # Blocks can agree to the last image, and be no less right for it: what independent images would scatter counts
    # as one block more, so that there always is a scatter to judge by.
    alone = np.diag(n.mean(axis=0)) - (n / here[:, None]).T @ n / n_blocks
    covariance = np.atleast_2d(np.cov(scores, rowvar=False)) + alone[:-1, :-1] / n_blocks
    mean, free = scores.mean(axis=0), n_states - 1
    t2 = n_blocks * float(mean @ np.linalg.solve(covariance, mean))
    return f_above(t2 * (n_blocks - free) / (free * (n_blocks - 1)), free, n_blocks - free)


def ranked(values: Values) -> Values:
    """Ranks from 1 on; equal values share the mean of theirs."""
    # scipy.stats has this too, but takes longer to import than a short run to do.
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    ranks: Values = (last - (times - 1) / 2)[place]
    return ranks


def _slope(x: Values, y: Values, weight: Values) -> float:
    dx = x - np.average(x, weights=weight)
    square = float(np.sum(weight * dx * dx))
    return float(np.sum(weight * dx * y)) / square if square > 0 else 0.0


def along_run(y: Values, n_blocks: int) -> float:
    """Probability that y, in the order of the run, rises or falls as steadily by chance.

    The means of blocks of equally many values are ranked, and the correlation of rank and position (Spearman) is
    judged by Student's t. Where neighbouring blocks are alike, fewer of them are independent, n (1 - r) / (1 + r)
    (Bayley and Hammersley, J. R. Stat. Soc. Suppl. 8 (1946) 184), r being the lag-one correlation of the ranks less
    a cubic, which takes out the drift itself, freed of the bias that this brings. It is 1 where the blocks are alike.
    """
    means = [float(part.mean()) for part in np.array_split(y, n_blocks)]
    if max(means) - min(means) <= 1e-12 * max(map(abs, means)):
        return 1.0
    ranks = ranked(np.array(means))
    rest, alike, found = _lag_one(n_blocks)
    rough = rest @ ranks
    square = float(rough @ rough)
    measured = float(rough[1:] @ rough[:-1]) / square if square > 1e-9 else -1.0
    r = float(np.interp(measured + 1 / n_blocks, found, alike))
    free = max(n_blocks * (1 - r) / (1 + r), 3.0) - 2
    spearman = min(abs(float(np.corrcoef(ranks, np.arange(n_blocks))[0, 1])), 1 - 1e-15)
    chance = 2 * student_below(-spearman * math.sqrt(free / (1 - spearman**2)), free)
    # No order is rarer than one of all orders.
    return max(chance, 2 / math.factorial(n_blocks))


@cache
def _lag_one(n: int) -> tuple[Values, Values, Values]:
    """What is left of n values less their cubic, as a matrix; and lag-one correlations r with what is then measured.

    The second is the ratio of expectations for a first-order autoregression.
    """
    basis, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, n), 4))
    rest = np.eye(n) - basis @ basis.T
    alike = np.linspace(0.0, 0.95, 60)
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariances = [rest @ r**lag @ rest for r in alike]
    found = [float(np.trace(c, offset=1) / np.trace(c)) for c in covariances]
    return rest, alike, np.array(found)
