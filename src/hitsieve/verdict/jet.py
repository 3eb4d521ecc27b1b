"""Says of the stretches of a run whether the jet ran, from their levels of background and their hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.verdict.chances import at_least, at_most
from hitsieve.verdict.steps import LEAST, level_steps

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

RUNNING, STOPPED, UNKNOWN, LOWER = range(4)
"""What the jet does; LOWER is unknown too, at a level below that of the stretches beside it."""

_DEEP = float(np.log(1 / 0.33))
"""Fall of the background that few beams make that stay on: hits need not prove a stop, if they do not deny it."""
_FALL = float(np.log(1 / 0.55))
"""Fall of the background after which the jet is not taken to run without hits that say so."""
_ALIKE = float(np.log(1 / 0.9))
_CHANCE = 0.05
"""Largest probability of so few hits in a lowered beam where the jet stopped, after such a fall..."""
_RARE = 1e-3
"""...or after a lesser step."""
_FEIGNED = 0.01
"""Largest probability that blanks are taken for as many hits as show a running jet."""
_COMMON = 0.05
"""Share of the images at a level that others may be compared with even if it shows no hits."""
_CERTAIN_RATE = 1e-4
"""Share of blanks in which a lattice is found, at most."""
_EDGE = 10
"""Images at each edge of a stretch whose hits do not count: the edge is not known better."""
_NEAR = 5000
"""Images to either side that say how many hits there are with the jet running."""
_BURST = 100


@dataclass(frozen=True, slots=True)
class _Hits:
    """Hits of one kind, of each image; and the share of blanks that are taken for such."""

    hit: Bools
    false_rate: float

    def count(self, first: Numbers, last: Numbers) -> Floats:
        """Hits of stretches."""
        total = np.concatenate([[0], np.cumsum(self.hit)])
        return np.asarray(total[last] - total[first], dtype=np.float64)

    def shown(self, n: npt.ArrayLike, sizes: npt.ArrayLike) -> Bools:
        """Whether n hits among so many images are more than blanks would feign."""
        n = np.asarray(n)
        return np.asarray((n > 0) & (at_least(np.maximum(n, 1), self.false_rate * np.asarray(sizes)) <= _FEIGNED))


def jet(logs: Floats, hit: Bools, certain: Bools, false_rate: float) -> npt.NDArray[np.int8]:
    """What the jet does in each image: RUNNING, STOPPED, UNKNOWN or LOWER.

    Parameters
    ----------
    logs : array of float, shape (n,)
        Logarithm of the background.
    hit, certain : arrays of bool, shape (n,)
        Hits, and hits with a lattice.
    false_rate : float
        Share of blanks that the spot rule takes for hits, at most.
    """
    bounds, levels = level_steps(logs)
    first, last = np.array(bounds[:-1]), np.array(bounds[1:])
    inner = np.where(last - first > 2 * _EDGE, _EDGE, 0)
    first, last = first + inner, last - inner
    sizes = (last - first).astype(np.float64)
    kinds = [_Hits(hit, false_rate), _Hits(certain, _CERTAIN_RATE)]
    shown = np.any([hits.shown(hits.count(first, last), sizes) for hits in kinds], axis=0)
    fall = _falls(levels, shown | _common(levels, np.diff(bounds)))
    reference = np.repeat(shown | (fall < LEAST), np.diff(bounds))
    telling = [hits for hits in kinds if hits.shown(hits.hit[reference].sum(), reference.sum())]
    out = np.where(fall >= _FALL, LOWER, UNKNOWN)
    if telling:
        said = [_missing(hits, first, last, fall, reference) for hits in telling]
        few = np.min([chance for chance, _ in said], axis=0)
        sides = np.array([side for _, side in said])
        gone = (sides.min(axis=0) < 0) & (sides.max(axis=0) <= 0)
        stopped = (fall >= _DEEP) & gone | (few <= np.where(fall >= _FALL, _CHANCE, _RARE))
        out[fall < _FALL] = RUNNING
        out[stopped & (fall >= LEAST)] = STOPPED
        out[shown] = RUNNING
    return np.repeat(out.astype(np.int8), np.diff(bounds))


def _missing(hits: _Hits, first: Numbers, last: Numbers, fall: Floats, reference: Bools) -> tuple[Floats, Numbers]:
    """How probable so few hits are in each stretch if the beam was lowered, and what they are rather like.

    A beam of a share of the brightness has that share of the hits. Hits come in bursts: so counts are divided by
    their variance over their mean. The second is -1 where the hits are rather like those of blanks, 1 where they are
    rather like those nearby, and 0 where those nearby are no more than blanks feign.
    """
    n, sizes = hits.count(first, last), (last - first).astype(np.float64)
    running = hits.hit[reference]
    place = np.concatenate([[0], np.cumsum(reference)])
    low, high = np.maximum(place[first] - _NEAR, 0), np.minimum(place[last] + _NEAR, len(running))
    rate = _Hits(running, 0.0).count(low, high) / np.maximum(high - low, 1)
    bursts = np.add.reduceat(running, np.arange(0, len(running), _BURST), dtype=np.float64)[:-1]
    spread = max(float(bursts.var(ddof=1) / max(bursts.mean(), 1e-9)), 1.0) if len(bursts) > 4 else 1.0
    chance = at_most(n / spread, rate * sizes * np.exp(-fall) / spread)
    false = hits.false_rate
    # Where the two Poisson distributions, of blanks and of the rate nearby, are as probable.
    more = np.maximum(rate, 1.001 * false)
    side = np.where(n <= sizes * (more - false) / np.log(more / false), -1, 1)
    return chance, np.where(rate > false, side, 0)


def _common(levels: Floats, sizes: Numbers) -> Bools:
    """Stretches at whose level a fair share of the images is."""
    order = np.argsort(levels)
    below = np.concatenate([[0], np.cumsum(sizes[order])])
    low, high = (np.searchsorted(levels[order], levels + by) for by in (-LEAST, LEAST))
    return np.asarray(below[high] - below[low] >= _COMMON * sizes.sum())


def _falls(levels: Floats, usable: Bools) -> Floats:
    """How far each stretch lies below the next higher usable one before or after it; 0 where there is none.

    Levels that differ by little more than chance are one.
    """
    falls = np.zeros(len(levels))
    for order in (range(len(levels)), range(len(levels) - 1, -1, -1)):
        higher: list[int] = []
        for k in order:
            while higher and levels[higher[-1]] <= levels[k]:
                higher.pop()
            above = next((j for j in reversed(higher) if levels[j] > levels[k] + _ALIKE), k)
            falls[k] = max(falls[k], levels[above] - levels[k])
            if usable[k]:
                higher.append(k)
    return falls
