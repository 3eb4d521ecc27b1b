"""Cuts a run where the level of its background steps, and says how high the steps are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHORTEST = 100
"""Images of the shortest stretch that is told."""
LEAST = float(np.log(1 / 0.75))
"""Least height of a step."""

_BLOCK = 10
_WINDOW = 12
"""Blocks before and after a step; more than twice the blocks of a blip."""
_SIGMAS = 6.0
"""Least height of a step over the spread of what images that know nothing of each other make."""
_WANDER = 6.0
"""Least height of a step over the spread of what the level does between steps."""
_HALF = _WINDOW // 2
_SPREAD = 1.4826
"""Standard deviation over median absolute deviation."""


def level_steps(logs: Floats) -> tuple[list[int], Floats]:
    """Cut a run where the logarithm of its level steps.

    Parameters
    ----------
    logs : array of float, shape (n,)

    Returns
    -------
    bounds : list of int
        First images of the stretches, and n; a stretch has 100 images or more, if the run has.
    levels : array of float, shape (stretches,)
        Level of each stretch, from that of the first on, by the steps alone: what a drift does within stretches is
        not in it.
    """
    n = len(logs) // _BLOCK
    window = min(_WINDOW, n // 2)
    if len(logs) < 2 * SHORTEST:
        return [0, len(logs)], np.zeros(1)
    blocks = np.median(logs[: n * _BLOCK].reshape(n, _BLOCK), axis=1)
    # Steps are in few of the differences of neighbouring blocks, however many stops there are.
    rough = float(np.median(np.abs(np.diff(blocks)))) * _SPREAD
    least = max(LEAST, _SIGMAS * rough * _of_medians(window))
    bounds = [0, *_edges(logs, blocks, window, least), len(logs)]
    bounds, heights = _merged(logs, bounds, least)
    wander = _wander(blocks, bounds)
    if len(bounds) > 2 and _WANDER * wander > least:
        bounds, heights = _merged(logs, bounds, _WANDER * wander)
    return bounds, np.concatenate([[0.0], np.cumsum(heights)])


def _of_medians(n: int) -> float:
    """Spread of the difference of two medians of n values, over that of the difference of two values."""
    return float(np.sqrt(np.pi / 2 / n))


def _edges(logs: Floats, blocks: Floats, window: int, least: float) -> list[int]:
    """Steps of the level, as the first images after them."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(blocks, window), axis=1)
    step = medians[window:] - medians[:-window]
    sign = np.where(step >= least, 1, np.where(step <= -least, -1, 0))
    starts = np.flatnonzero(np.diff(sign, prepend=0, append=0))
    found = []
    for a, b in pairwise(starts.tolist()):
        if sign[a]:
            block = int(a + np.abs(step[a:b]).argmax())
            near = (block + window) * _BLOCK
            found.append(_exact(logs, near, (float(medians[block]), float(medians[block + window]))))
    return sorted(set(found))


def _exact(logs: Floats, near: int, levels: tuple[float, float]) -> int:
    """Image at which the level steps from one value to the other."""
    before, after = levels
    reach = _HALF * _BLOCK
    first, last = max(near - reach, 1), min(near + reach, len(logs) - 1)
    part = logs[first:last]
    misfit = np.cumsum(np.abs(part - before) - np.abs(part - after))
    return first + int(np.concatenate([[0.0], misfit]).argmin())


def _height(logs: Floats, before: int, edge: int, after: int) -> float:
    """Height of the step at an edge between two others, from the images next to it."""
    reach = _WINDOW * _BLOCK
    return float(np.median(logs[edge : min(after, edge + reach)]) - np.median(logs[max(before, edge - reach) : edge]))


def _merged(logs: Floats, bounds: list[int], least: float) -> tuple[list[int], Floats]:
    """Bounds of stretches without short ones and low steps, and the heights of the steps."""
    bounds = list(bounds)
    heights = np.array([_height(logs, *bounds[i - 1 : i + 2]) for i in range(1, len(bounds) - 1)])
    while len(heights):
        sizes = np.diff(bounds)
        short = int(sizes.argmin())
        if sizes[short] < SHORTEST:
            # Of the two steps beside it the lower one goes; the run's ends are no steps.
            beside = [i for i in (short - 1, short) if 0 <= i < len(heights)]
            gone = min(beside, key=lambda i: abs(heights[i]))
        else:
            gone = int(np.abs(heights).argmin())
            if abs(heights[gone]) >= least:
                break
        del bounds[gone + 1]
        heights = np.delete(heights, gone)
        for i in (gone - 1, gone):
            if 0 <= i < len(heights):
                heights[i] = _height(logs, *bounds[i : i + 3])
    return bounds, heights


def _wander(blocks: Floats, bounds: list[int]) -> float:
    """Spread of the differences that the level makes within stretches, in half a window."""
    if len(blocks) < 2 * _HALF:
        return 0.0
    medians = np.median(np.lib.stride_tricks.sliding_window_view(blocks, _HALF), axis=1)
    middles = _BLOCK * (np.arange(len(medians) - _HALF) + _HALF)
    reach = _BLOCK * _HALF
    stretch = np.searchsorted(bounds, np.stack([middles - reach, middles + reach - 1]), side="right")
    within = np.abs(medians[_HALF:] - medians[:-_HALF])[stretch[0] == stretch[1]]
    return float(np.median(within)) * _SPREAD if len(within) else 0.0
